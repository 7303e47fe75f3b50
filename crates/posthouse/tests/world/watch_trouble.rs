//! What somebody takes from our application, probes that do not come back, self-heal that knows its limits, and two
//! tenants that do not feel one another.

use crate::harness::{World, until};
use crate::notices::Receiver;
use crate::tamper::{IN, OUT, STRIP, TO, repair, run, said};
use crate::watched::*;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const BY: &str = "second.admin@contoso.example";
const ACTIVITY_FEED_READ: &str = "594c1fb6-4f81-4475-ae41-0c394909246c";
const GROUP_READ_ALL: &str = "5b567255-7703-4780-807c-7be8301ae99b";

fn list(answer: &Value) -> Vec<Value> {
    answer.as_array().or_else(|| answer["value"].as_array()).cloned().unwrap_or_else(|| panic!("{answer}"))
}

async fn revoke(world: &World, role: &str) {
    let (_, principal) = application(world, 0).await;
    let path = format!("/servicePrincipals/{principal}/appRoleAssignments");
    let all = list(&graph(world, 0, BY, "GET", &path, Value::Null).await);
    let one = all.iter().find(|a| a["appRoleId"] == role).unwrap_or_else(|| panic!("{all:?}"));
    graph(world, 0, BY, "DELETE", &format!("{path}/{}", one["id"].as_str().unwrap()), Value::Null).await;
}

async fn take_role(world: &World) {
    let (_, principal) = application(world, 0).await;
    let all = list(&graph(world, 0, BY, "GET", "/directoryRoles", Value::Null).await);
    let role = all.iter().find(|r| r["displayName"] == "Exchange Administrator").unwrap();
    let path = format!("/directoryRoles/{}/members/{principal}/$ref", role["id"].as_str().unwrap());
    graph(world, 0, BY, "DELETE", &path, Value::Null).await;
}

async fn take(world: &World, what: &str) {
    let (app, principal) = application(world, 0).await;
    match what {
        "disabled" => {
            graph(world, 0, BY, "PATCH", &format!("/servicePrincipals/{principal}"), json!({"accountEnabled": false}))
                .await
        }
        "no principal" => graph(world, 0, BY, "DELETE", &format!("/servicePrincipals/{principal}"), Value::Null).await,
        "no credential" => {
            graph(world, 0, BY, "PATCH", &format!("/applications/{app}"), json!({"keyCredentials": []})).await
        }
        _ => graph(world, 0, BY, "DELETE", &format!("/applications/{app}"), Value::Null).await,
    };
}

/// Told at the first refusal, mail goes on, the status says so; after an administrator has signed in it is over.
async fn lost_and_found(world: &World, name: &str, object: &str, at: Timestamp, who_is_seen: bool) {
    let alert = alerted(world, object).await;
    assert_eq!((&alert["kind"], &alert["severity"]), (&json!("permissions_lost"), &json!("high")), "{alert}");
    let late = time(&alert, "first").duration_since(at);
    assert!(late < SignedDuration::from_secs(6), "{name}: told after {late:#}");
    assert!(text(&alert).contains("posthouse tenant connect"), "{alert}");
    if who_is_seen {
        until("the blame", async || {
            about(world, object).is_some_and(|a| text(&a).contains(&format!("Done by {BY} from {ADDRESS}")))
        })
        .await;
    }
    mail_flows(world, name).await;
    let output = world.command(&["--json", "status", "contoso"]).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        output.status.code() == Some(2) && status["wrong"].to_string().contains(object.trim_end_matches('“')),
        "{status:#}"
    );
    let before = world.json(&["alerts", "--all"]).as_array().unwrap().len();
    let (ok, events) = world.connect(0).await;
    assert!(ok, "{name}: {}", events.join("\n"));
    all_over(world).await;
    let after = world.json(&["alerts", "--all"]);
    assert_eq!(after.as_array().unwrap().len(), before, "{name} was told again: {after:#}");
    let look = said(world, &["watch", "contoso"]);
    assert_eq!((&look["drift"], &look["unknown"]), (&json!([]), &json!([])), "{name}: {look:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_permission_or_role_is_told_and_an_administrator_gives_it_back() {
    let world = watched().await;
    for (role, name) in
        [(GROUP_READ_ALL, "permission Group.Read.All"), (ACTIVITY_FEED_READ, "permission ActivityFeed.Read")]
    {
        let at = Timestamp::now();
        revoke(&world, role).await;
        lost_and_found(&world, role, name, at, role == GROUP_READ_ALL).await;
    }
    let at = Timestamp::now();
    take_role(&world).await;
    lost_and_found(&world, "role", "permission Exchange Administrator", at, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_was_taken_away_is_told_and_an_administrator_gives_it_back() {
    let world = watched().await;
    for what in ["disabled", "no credential", "no principal", "no application"] {
        let at = Timestamp::now();
        take(&world, what).await;
        lost_and_found(&world, &what.replace(' ', "-"), "application “", at, false).await;
    }
}

/// Microsoft's clock is more than a year ahead: nothing renewed the certificate, and the application is shut out.
#[tokio::test(flavor = "multi_thread")]
async fn an_ended_credential_is_told_and_mail_goes_on() {
    let world = watched().await;
    world.door.post("/clock/advance", json!({"secs": 400 * 86_400})).await.unwrap();
    let alert = alerted(&world, "application “").await;
    assert_eq!((&alert["kind"], &alert["severity"]), (&json!("permissions_lost"), &json!("high")), "{alert}");
    assert!(text(&alert).contains("our certificate is not taken"), "{alert}");
    mail_flows(&world, "ended").await;
}

/// Nothing was taken back, so everything is as it was before, and is watched as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_disconnecting_that_was_refused_leaves_the_tenant_watched() {
    let world = watched().await;
    take_role(&world).await;
    alerted(&world, "permission Exchange Administrator").await;
    let refused = world.command(&["tenant", "disconnect", "contoso"]).output().unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stdout).contains("nothing else was taken back"), "{refused:?}");
    revoke(&world, GROUP_READ_ALL).await;
    alerted(&world, "permission Group.Read.All").await;
    mail_flows(&world, "refused").await;
}

/// Where mail goes back to is Microsoft's to say, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn the_host_that_takes_mail_back_is_read_again() {
    let mut world = World::connected().await;
    let host = |world: &World| world.json(&["tenant", "list"])[0]["return_host"].clone();
    let before = host(&world);
    rhythm(&mut world, "every_secs = 3600\nhost_secs = 1").await;
    graph(&world, 0, BY, "PATCH", "/domains/contoso.onmicrosoft.com", json!({"isDefault": true})).await;
    until("another host", async || host(&world) != before).await;
    mail_flows(&world, "moved").await;
    let acts = world.json(&["audit", "list"]).to_string();
    assert!(acts.contains("mail goes back to contoso-onmicrosoft"), "{acts}");
}

/// Looks until so many more were written down.
async fn looks(world: &World, many: usize) {
    let mut seen = std::collections::BTreeSet::new();
    until("the looks", async || {
        let output = world.command(&["--json", "status", "contoso"]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        seen.insert(status["watch"]["last_look"]["at"].to_string());
        seen.len() > many
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn self_heal_leaves_a_wish_alone_and_does_not_try_what_it_cannot() {
    let world = watched().await;
    assert_eq!(run(&world, &["tenant", "self-heal", "contoso", "on"]).0, Some(0));
    assert_eq!(run(&world, &["tenant", "rollout", "contoso", "--outbound", "off"]).0, Some(0));
    looks(&world, 4).await;
    assert_eq!(open_alerts(&world), Vec::<Value>::new(), "a wish is no tampering");
    let state = async |n: usize| world.exchange("Get-TransportRule", json!({})).await[n]["State"].clone();
    assert_eq!(state(1).await, "Enabled", "a wish was carried out by nobody's order");
    repair(&world);
    assert_eq!(state(1).await, "Disabled");
    take(&world, "no application").await;
    alerted(&world, "application “").await;
    let count = |args: &[&str]| world.json(args).as_array().unwrap().len();
    let before = (count(&["audit", "list"]), count(&["tenant", "receipts", "contoso"]));
    let alert = about(&world, "application “").unwrap();
    looks(&world, 20).await;
    assert_eq!((count(&["audit", "list"]), count(&["tenant", "receipts", "contoso"])), before);
    assert_eq!(about(&world, "application “").unwrap()["count"], alert["count"]);
}

/// Exchange shows old copies for a while: what was healed is not healed again because of one, and nobody is suspected.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_is_no_second_tampering() {
    let world = watched().await;
    assert_eq!(run(&world, &["tenant", "self-heal", "contoso", "on"]).0, Some(0));
    switches(&world, json!({"exo_replication_delay_secs": 10})).await;
    theirs(&world, BY, "Set-TransportRule", &json!({"Identity": IN, "Mode": "Audit"})).await;
    theirs(&world, BY, "Disable-TransportRule", &json!({"Identity": STRIP, "Confirm": false})).await;
    let healed = async || {
        let rules = world.exchange("Get-TransportRule", json!({})).await;
        rules[0]["Mode"] == "Enforce" && rules[2]["State"] == "Enabled"
    };
    until("healing", healed).await;
    assert!(about(&world, IN).is_some(), "it still reads as before");
    all_over(&world).await;
    let receipts = world.json(&["tenant", "receipts", "contoso"]);
    let by_heal = receipts.as_array().unwrap().iter().filter(|r| r["by"] == "self-heal").count();
    assert_eq!(by_heal, 2, "{receipts:#}");
    let alerts = world.json(&["alerts", "--all"]);
    let asked = alerts.as_array().unwrap().iter().any(|a| a["kind"] == "healed" && a["severity"] == "high");
    assert!(!asked, "{alerts:#}");
}

/// By the clock, out of sight of the settings: what mail does. Told by a way that is not mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_does_not_come_back_is_told_by_webhook_and_one_that_does_shows_in_the_status() {
    let (receiver, address) = Receiver::start(0).await;
    let mut world = World::connected().await;
    let secret = world.config.with_file_name("webhook.secret");
    std::fs::write(&secret, "5e0c8a2f-never-to-be-seen-anywhere-0011223344\n").unwrap();
    let webhook = format!(
        "[notify]\nleast = \"low\"\n[[notify.webhook]]\nurl = \"http://{address}/\"\nsecret_file = \"{}\"",
        secret.display()
    );
    let often = "every_secs = 1\nfeed_secs = 1\nprobe_secs = 1\nprobe_patience_secs = 4";
    rhythm(&mut world, &format!("{often}\n{webhook}")).await;
    let probes = || said(&world, &["status", "contoso"])["probes"].as_array().cloned().unwrap_or_default();
    let connected = probes();
    until("probes by the clock", async || probes().len() == 2 && probes()[1]["sent"] != connected[1]["sent"]).await;
    for probe in probes() {
        assert_eq!((&probe["through_us"], &probe["wrong"]), (&json!(true), &Value::Null), "{probe}");
        assert_eq!(probe["arrived"], 1, "{probe}");
        assert!(probe["seconds"].as_f64().unwrap() > 0.0, "{probe}");
        if probe["direction"] == "out" {
            assert_eq!(probe["secret_gone"], true, "{probe}");
            assert!(probe["authentication"].as_str().is_some_and(|a| a.contains("spf=")), "{probe}");
        }
    }
    assert!(open_alerts(&world).is_empty());
    theirs(&world, BY, "Set-OutboundConnector", &json!({"Identity": TO, "SmartHosts": ["mx.evil.example"]})).await;
    let alert = alerted(&world, "probe inbound").await;
    assert_eq!((&alert["kind"], &alert["severity"]), (&json!("probe_lost"), &json!("high")), "{alert}");
    until("the webhook", async || receiver.bodies().iter().any(|b| b["kind"] == "probe_lost")).await;
    repair(&world);
    all_over(&world).await;
    // the way out is fine, and the way back is not
    let fault = json!({"door": "smtp_data", "matching": "peer=127.0.50.1", "answer": "550 5.7.64 TenantAttribution; Relay Access Denied", "times": 100_000});
    world.door.post("/faults", fault).await.unwrap();
    let alert = alerted(&world, "probe ").await;
    assert_eq!(alert["kind"], "probe_lost", "{alert}");
}

/// The tenant at the other end of the list is throttled, then loses its application.
#[tokio::test(flavor = "multi_thread")]
async fn the_trouble_of_one_tenant_is_not_the_others() {
    let world = watched().await;
    let (ok, events) = world.connect(1).await;
    assert!(ok, "{}", events.join("\n"));
    let other = world.tenant_id(1);
    let fault = |door: &str, answer: &str, delay: u64| json!({"door": door, "matching": format!("tenant={other}"), "answer": answer, "retry_after_secs": 1, "delay_ms": delay, "times": 100_000});
    let disable = async |rule: &str| {
        let at = Timestamp::now();
        theirs(&world, BY, "Disable-TransportRule", &json!({"Identity": rule, "Confirm": false})).await;
        let alert = alerted(&world, rule).await;
        let late = time(&alert, "first").duration_since(at);
        assert!(late < SignedDuration::from_secs(6), "told after {late:#}");
        assert_eq!(alert["tenant"], world.tenant_id(0));
    };
    let theirs_of_other =
        || open_alerts(&world).into_iter().filter(|a| a["tenant"] == other.as_str()).collect::<Vec<_>>();
    world.door.post("/faults", fault("exchange", "429", 0)).await.unwrap();
    disable(IN).await;
    assert_eq!(theirs_of_other(), Vec::<Value>::new(), "being throttled is nobody's tampering");
    world.clear_faults().await;
    world.door.post("/faults", fault("exchange", "timeout", 2000)).await.unwrap();
    disable(OUT).await;
    world.clear_faults().await;
    let (app, _) = application(&world, 1).await;
    graph(&world, 1, "root@tailspin.example", "DELETE", &format!("/applications/{app}"), Value::Null).await;
    disable(STRIP).await;
    until("the other's alert", async || !theirs_of_other().is_empty()).await;
    assert!(theirs_of_other().iter().all(|a| a["kind"] == "permissions_lost"), "{:?}", theirs_of_other());
    let ours = open_alerts(&world).into_iter().filter(|a| a["tenant"] == world.tenant_id(0));
    assert!(ours.clone().all(|a| a["kind"] == "tampered") && ours.count() == 3);
}
