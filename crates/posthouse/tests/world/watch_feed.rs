//! The audit feed as Microsoft gives it: late, twice, out of order, not at all. It says who; what is wrong is seen
//! without it.

use crate::harness::{World, until};
use crate::tamper::{IN, OUT, STRIP, repair, run};
use crate::watched::*;
use jiff::SignedDuration;
use serde_json::{Value, json};

fn look(world: &World) -> Value {
    let output = world.command(&["--json", "watch", "contoso"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn disable(world: &World, by: &str, rule: &str) {
    theirs(world, by, "Disable-TransportRule", &json!({"Identity": rule, "Confirm": false})).await;
}

async fn blamed(world: &World, object: &str, who: &str) -> Value {
    until(&format!("{who} to be named for {object}"), async || {
        about(world, object).is_some_and(|a| text(&a).contains(who))
    })
    .await;
    about(world, object).unwrap()
}

/// Every record twice and in no order: one alert, at once, though the next look is an hour away; and what we do
/// ourselves is nobody's tampering.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_makes_a_look_at_once_and_twice_the_record_is_once_the_alert() {
    let mut world = World::connected().await;
    switches(&world, json!({"activity_duplicates": 1.0, "activity_reordered": true})).await;
    rhythm(&mut world, "every_secs = 3600\nfeed_secs = 1").await;
    let last_look = || world.json(&["status", "contoso"])["watch"]["last_look"]["at"].to_string();
    until("the first look", async || last_look() != "null").await;
    // our own acts come by the feed as well
    assert_eq!(run(&world, &["tenant", "rollout", "contoso", "--inbound", "off"]).0, Some(0));
    repair(&world);
    assert_eq!(run(&world, &["tenant", "rollout", "contoso", "--inbound", "everyone"]).0, Some(0));
    repair(&world);
    let now = jiff::Timestamp::now();
    disable(&world, "second.admin@contoso.example", OUT).await;
    let alert =
        blamed(&world, OUT, "Done by second.admin@contoso.example from 203.0.113.9 with Disable-TransportRule at")
            .await;
    assert!(time(&alert, "first").duration_since(now) < SignedDuration::from_secs(10), "{alert}");
    disable(&world, "third.admin@contoso.example", STRIP).await;
    let other = blamed(&world, STRIP, "Done by third.admin@contoso.example").await;
    let all = world.json(&["alerts", "--all"]);
    let told: Vec<_> = all.as_array().unwrap().iter().filter(|a| a["kind"] == "tampered").collect();
    assert_eq!(told.len(), 2, "{all:#}");
    for alert in [&alert, &other] {
        assert!(alert["count"].as_u64().unwrap() <= 2, "{alert}");
    }
    assert!(!all.to_string().contains("Posthouse Mail Flow"), "our own acts were blamed: {all:#}");
    repair(&world);
    all_over(&world).await;
}

/// The alert is not kept waiting for the record, and tells more when it has come; who did something to the same rule
/// before is not blamed for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_record_makes_the_alert_better_and_an_old_one_makes_no_culprit() {
    let world = watched().await;
    disable(&world, "bob@contoso.example", IN).await;
    blamed(&world, IN, "Done by bob@contoso.example").await;
    repair(&world);
    all_over(&world).await;
    switches(&world, json!({"activity_latency_secs": 3600})).await;
    disable(&world, "alice@contoso.example", IN).await;
    let first = alerted(&world, IN).await;
    assert!(text(&first).contains("not known yet: the audit feed comes late"), "{first}");
    world.door.post("/clock/advance", json!({"secs": 3700})).await.unwrap();
    let then = blamed(&world, IN, "Done by alice@contoso.example from 203.0.113.9").await;
    assert_eq!((&first["id"], &first["first"], &then["count"]), (&then["id"], &then["first"], &json!(2)), "{then}");
    repair(&world);
    all_over(&world).await;
    // the other way round: the log is off, and the feed still knows of alice
    switches(&world, json!({"activity_latency_secs": 0})).await;
    theirs(
        &world,
        "carol@contoso.example",
        "Set-AdminAuditLogConfig",
        &json!({"UnifiedAuditLogIngestionEnabled": false}),
    )
    .await;
    disable(&world, "carol@contoso.example", IN).await;
    let dark = alerted(&world, IN).await;
    assert!(text(&dark).contains("cannot be seen: the tenant's audit log is off"), "{dark}");
    repair(&world);
    all_over(&world).await;
    // and on again
    disable(&world, "dora@contoso.example", IN).await;
    blamed(&world, IN, "Done by dora@contoso.example").await;
}

/// A feed that is throttled or broken keeps nobody from looking, and what it then tells is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_cannot_be_read_hides_who_and_nothing_else() {
    let world = watched().await;
    let fault = json!({"door": "activity", "matching": "subscriptions/content", "answer": "429", "retry_after_secs": 1, "times": 3});
    world.door.post("/faults", fault).await.unwrap();
    let broken = json!({"door": "activity", "matching": "subscriptions/content", "answer": "500", "times": 30});
    world.door.post("/faults", broken).await.unwrap();
    until("the trouble to be known", async || look(&world)["feed_trouble"].is_string()).await;
    disable(&world, "eve@contoso.example", OUT).await;
    let alert = alerted(&world, OUT).await;
    assert!(text(&alert).contains("cannot be seen: the activity feed: 500 AF50000"), "{alert}");
    let better = blamed(&world, OUT, "Done by eve@contoso.example").await;
    assert_eq!(alert["id"], better["id"]);
    until("no trouble", async || look(&world)["feed_trouble"].is_null()).await;
    assert_eq!(look(&world)["feed_gaps"], json!([]), "a trouble that passed is no gap");
}

/// Microsoft keeps content for seven days; what is older when we come back nobody can tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_week_without_reading_is_a_gap_that_is_told() {
    let mut world = watched().await;
    disable(&world, "fay@contoso.example", STRIP).await;
    blamed(&world, STRIP, "Done by fay@contoso.example").await;
    repair(&world);
    all_over(&world).await;
    world.gateway.kill();
    world.door.post("/clock/advance", json!({"secs": 9 * 86_400})).await.unwrap();
    world.restart_gateway().await;
    until("the gap to be known", async || !look(&world)["feed_gaps"].as_array().unwrap().is_empty()).await;
    let gaps = look(&world)["feed_gaps"].clone();
    assert_eq!(gaps.as_array().unwrap().len(), 2, "one for each kind of content: {gaps}");
    let (code, status) = run(&world, &["status", "contoso"]);
    assert!(status.contains("nobody can say who did something in Audit.Exchange from "), "{code:?} {status}");
    // and it goes on from here
    disable(&world, "gil@contoso.example", STRIP).await;
    blamed(&world, STRIP, "Done by gil@contoso.example").await;
}
