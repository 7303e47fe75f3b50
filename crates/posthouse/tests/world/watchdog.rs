//! Bounded fail-open: the gateway is killed or fails while `posthouse watchdog` lives, and the other way round. A minute of
//! the watchdog's lasts 0.3 s here, so that ten minutes are three seconds.

use crate::harness::{World, until};
use crate::notices::Receiver;
use crate::tamper::{IN, OUT, TO, repair, run, said};
use crate::watched::*;
use serde_json::{Value, json};

const BY: &str = "second.admin@contoso.example";
const RHYTHM: &str =
    "every_secs = 1\nfeed_secs = 1\nprobe_patience_secs = 6\nwatchdog_secs = 1\nwatchdog_minute_millis = 300";
const IS_OFF: &str = "routing is off by the watchdog";
const FAILS: &str = "the gateway does not work";
const NOT_OFF: &str = "routing could not be turned off";
const STAYS_OFF: &str = "routing stays off";
const UNCHECKED: &str = "mail was delivered unchecked";

/// Connected, watched every second, fail-open after ten minutes.
async fn guarded(more: &str) -> World {
    let mut world = World::connected().await;
    rhythm(&mut world, &format!("{RHYTHM}\n{more}")).await;
    assert_eq!(run(&world, &["tenant", "fail-open", "contoso", "--after", "10m"]).0, Some(0));
    world
}

fn status(world: &World) -> Value {
    said(world, &["status", "contoso"])
}

async fn keeps_watch(world: &World) {
    until("the watchdog's first round", async || status(world)["fail_open"]["inbound"]["gateway"] == "healthy").await;
}

/// Rounds of the watchdog until so many more were made.
async fn rounds(world: &World, many: usize) {
    let mut seen = std::collections::BTreeSet::new();
    until("rounds of the watchdog", async || {
        seen.insert(status(world)["fail_open"]["looked"].to_string());
        seen.len() > many
    })
    .await;
}

/// The rule as the simulator's own export has it.
async fn rule(world: &World, tenant: usize, name: &str) -> Value {
    let path = format!("/tenants/{}/export", world.tenant_id(tenant));
    let url = format!("{}{path}", world.endpoints["control"].as_str().unwrap());
    let text = reqwest::Client::new().get(url).send().await.unwrap().text().await.unwrap();
    let export: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let all = export["exchange"]["transportRules"].as_array().cloned().unwrap();
    all.into_iter().find(|r| r["Name"] == name).unwrap_or_else(|| panic!("no rule {name}: {export:#}"))
}

/// It takes everybody's mail, and not probes alone.
async fn takes_mail(world: &World, tenant: usize, name: &str) -> bool {
    let rule = rule(world, tenant, name).await;
    let probes_alone = rule["HeaderContainsWords"].as_array().is_some_and(|words| !words.is_empty());
    rule["State"] == "Enabled" && !probes_alone
}

async fn is_off(world: &World) {
    until("routing to be off", async || {
        let off = status(world)["fail_open"]["off"]["phase"] == "closed";
        off && rule(world, 0, IN).await["State"] == "Disabled" && rule(world, 0, OUT).await["State"] == "Disabled"
    })
    .await;
}

async fn is_on(world: &World) {
    until("routing to be on", async || {
        let on = status(world)["fail_open"]["off"].is_null();
        on && takes_mail(world, 0, IN).await && takes_mail(world, 0, OUT).await
    })
    .await;
}

async fn arrives(world: &World, id: &str, to: &str, outside: bool) {
    until(&format!("{id} to arrive"), async || {
        world.door.mailbox(to, outside).await.is_ok_and(|all| all.iter().any(|m| m.message_id.contains(id)))
    })
    .await;
}

async fn send_in(world: &World, id: &str, to: &str) {
    let raw = format!("From: pat@acme.example\r\nTo: {to}\r\nMessage-ID: <{id}@acme.example>\r\n\r\nx\r\n");
    world.door.send_from_internet("pat@acme.example", &[to.to_owned()], raw.as_bytes(), false).await.unwrap();
}

async fn send_out(world: &World, id: &str, from: &str) {
    let raw = format!("From: {from}\r\nTo: pat@acme.example\r\nMessage-ID: <{id}@contoso.example>\r\n\r\nx\r\n");
    world.door.submit(&world.tenant_id(0), from, &["pat@acme.example".into()], raw.as_bytes()).await.unwrap();
}

async fn queue(world: &World) -> Vec<Value> {
    world.door.get("/queue", &[]).await.unwrap().as_array().cloned().unwrap()
}

fn in_journal(world: &World, id: &str) -> bool {
    !world.json(&["trace", "--message-id", id]).as_array().unwrap().is_empty()
}

fn all_about(world: &World, subject: &str) -> Vec<Value> {
    let all = world.json(&["alerts", "--all"]);
    all.as_array().unwrap().iter().filter(|a| a["subject"] == subject).cloned().collect()
}

/// The way of a whole outage. What waited for us when routing went off is delivered without us where Exchange Online asks
/// its rules again, and by us where it does not (Q56).
async fn outage(resubmit_hours: i64) {
    let (receiver, address) = Receiver::start(0).await;
    let mut world = World::connected().await;
    let secret = world.config.with_file_name("webhook.secret");
    std::fs::write(&secret, "5e0c8a2f-never-to-be-seen-anywhere-0011223344\n").unwrap();
    let webhook = format!(
        "[notify]\nleast = \"high\"\n[[notify.webhook]]\nurl = \"http://{address}/\"\nsecret_file = \"{}\"",
        secret.display()
    );
    rhythm(&mut world, &format!("{RHYTHM}\n{webhook}")).await;
    assert_eq!(run(&world, &["tenant", "fail-open", "contoso", "--after", "10m"]).0, Some(0));
    switches(&world, json!({"resubmit_hours": resubmit_hours})).await;
    let people = world.json_directory_addresses().await;
    let _watchdog = world.watchdog();
    keeps_watch(&world).await;
    let before = status(&world);
    assert_eq!(
        (&before["fail_open"]["after_minutes"], &before["fail_open"]["unattended"]),
        (&json!(10), &json!(false))
    );

    world.gateway.kill();
    send_in(&world, "waited", &people[1]).await;
    until("it to wait", async || queue(&world).await.len() == 1).await;
    let alert = alerted(&world, FAILS).await;
    assert_eq!((&alert["kind"], &alert["severity"]), (&json!("fail_open"), &json!("high")), "{alert}");
    is_off(&world).await;
    let alert = alerted(&world, IS_OFF).await;
    assert_eq!((&alert["kind"], &alert["severity"]), (&json!("fail_open"), &json!("high")), "{alert}");
    assert!(text(&alert).contains("delivered UNCHECKED") && text(&alert).contains("inbound and outbound"), "{alert}");
    let off = status(&world);
    let told = off["wrong"].to_string();
    assert!(told.contains("routing is off by the watchdog since") && told.contains("delivered unchecked"), "{off:#}");
    assert_eq!(off["wished"]["inbound"], "everyone", "the wish stays");
    assert_eq!(off["set_up"]["drift"], json!([]), "what the watchdog did is no drift");
    let receipts = world.json(&["tenant", "receipts", "contoso"]);
    let ours = receipts.as_array().unwrap().iter().filter(|r| r["by"] == "watchdog").collect::<Vec<_>>();
    assert!(ours.len() == 2 && ours.iter().all(|r| r["plan"].as_str().is_some_and(|p| p.len() == 16)), "{receipts:#}");
    // what comes now goes past us at once
    send_in(&world, "past-in", &people[2]).await;
    send_out(&world, "past-out", &people[3]).await;
    arrives(&world, "past-in", &people[2], false).await;
    arrives(&world, "past-out", "pat@acme.example", true).await;
    assert!(!in_journal(&world, "past-in@acme.example"));
    // told again while it lasts, although the process whose work notices are is dead
    until("the second alert", async || all_about(&world, IS_OFF).len() >= 2).await;
    until("the webhook", async || receiver.bodies().iter().any(|b| b["subject"] == IS_OFF)).await;
    if resubmit_hours > 0 {
        world.door.post("/clock/advance", json!({"secs": resubmit_hours * 3600 + 60})).await.unwrap();
        arrives(&world, "waited", &people[1], false).await;
        assert!(!in_journal(&world, "waited@acme.example"));
    }

    world.restart_gateway().await;
    is_on(&world).await;
    world.door.post("/queue/retry", json!({})).await.unwrap();
    arrives(&world, "waited", &people[1], false).await;
    assert_eq!(in_journal(&world, "waited@acme.example"), resubmit_hours == 0);
    mail_flows(&world, "again").await;
    until("the end of the alerts", async || [IS_OFF, FAILS].iter().all(|s| about(&world, s).is_none())).await;
    let on = status(&world);
    let window = &on["fail_open"]["windows"][0];
    assert_eq!(window["directions"], json!(["inbound", "outbound"]), "{on:#}");
    let end = alerted(&world, UNCHECKED).await;
    assert_eq!(end["severity"], "medium", "{end}");
    // by the clock of Microsoft, which was not moved
    if resubmit_hours == 0 {
        // it counts anew half an hour of its own after the end, when its rounds come to it
        let (began, patience) = (std::time::Instant::now(), std::time::Duration::from_secs(180));
        loop {
            let now = status(&world);
            if now["fail_open"]["windows"][0]["count"]["Ok"] == 2 {
                break;
            }
            assert!(began.elapsed() < patience, "{now:#}");
        }
        let named: Vec<String> = status(&world)["fail_open"]["windows"][0]["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["message_id"].as_str().unwrap().to_owned())
            .collect();
        assert!(named.iter().any(|id| id.starts_with("past-in")) && named.iter().any(|id| id.starts_with("past-out")));
        assert!(text(&about(&world, UNCHECKED).unwrap()).contains("2 messages were delivered unchecked"));
    }
    assert_eq!(run(&world, &["audit", "verify"]).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_gateway_is_passed_by_and_what_waited_is_delivered_without_us() {
    outage(12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_gateway_is_passed_by_and_what_waited_comes_to_us_when_it_lives() {
    outage(0).await;
}

/// Tailspin asked for it, Contoso did not; the same gateway dies for both.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_turned_off_for_a_tenant_that_did_not_ask() {
    let mut world = World::connected().await;
    let (ok, events) = world.connect(1).await;
    assert!(ok, "{}", events.join("\n"));
    rhythm(&mut world, RHYTHM).await;
    for (after, code) in [("9m", Some(2)), ("soon", Some(2)), ("10m", Some(0))] {
        assert_eq!(run(&world, &["tenant", "fail-open", "tailspin", "--after", after]).0, code, "{after}");
    }
    // nobody keeps watch yet, and that is told for whom it matters
    until("the warning", async || about(&world, "no watchdog runs").is_some()).await;
    assert_eq!(about(&world, "no watchdog runs").unwrap()["tenant"], world.tenant_id(1));
    let _watchdog = world.watchdog();
    until("somebody to keep watch", async || about(&world, "no watchdog runs").is_none()).await;
    world.gateway.kill();
    until("Tailspin's routing to be off", async || rule(&world, 1, IN).await["State"] == "Disabled").await;
    assert!(takes_mail(&world, 0, IN).await && takes_mail(&world, 0, OUT).await);
    let contoso = world.tenant_id(0);
    let theirs: Vec<Value> = open_alerts(&world).into_iter().filter(|a| a["tenant"] == contoso.as_str()).collect();
    assert_eq!(theirs, Vec::<Value>::new());
    let shown = status(&world);
    assert_eq!((&shown["fail_open"]["after_minutes"], &shown["fail_open"]["off"]), (&Value::Null, &Value::Null));
    let list = world.json(&["tenant", "list"]);
    let closed = |n: usize| {
        let id = world.tenant_id(n);
        list.as_array().unwrap().iter().find(|t| t["id"] == id.as_str()).unwrap()["closed_by_watchdog"].clone()
    };
    assert_eq!((closed(0), closed(1)), (json!([]), json!(["inbound", "outbound"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_exchange_cannot_be_asked_nothing_is_turned_off_and_it_is_told() {
    let mut world = guarded("").await;
    let _watchdog = world.watchdog();
    keeps_watch(&world).await;
    let fault = json!({"door": "exchange", "matching": "", "answer": "503", "times": 100_000});
    world.door.post("/faults", fault).await.unwrap();
    world.gateway.kill();
    let alert = alerted(&world, NOT_OFF).await;
    assert_eq!((&alert["kind"], &alert["severity"]), (&json!("fail_open"), &json!("high")), "{alert}");
    assert!(takes_mail(&world, 0, IN).await && takes_mail(&world, 0, OUT).await);
    let receipts = world.json(&["tenant", "receipts", "contoso"]);
    assert!(receipts.as_array().unwrap().iter().all(|r| r["by"] != "watchdog"), "{receipts:#}");
    world.clear_faults().await;
    is_off(&world).await;
    until("the end of the alert", async || about(&world, NOT_OFF).is_none()).await;
}

/// Three times a day; then it stays off until a person says otherwise, and the person's word stands.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_fails_again_and_again_is_left_off_and_a_person_turns_it_on() {
    let mut world = guarded("").await;
    let _watchdog = world.watchdog();
    keeps_watch(&world).await;
    for _ in 0..2 {
        world.gateway.kill();
        is_off(&world).await;
        world.restart_gateway().await;
        is_on(&world).await;
    }
    world.gateway.kill();
    is_off(&world).await;
    world.restart_gateway().await;
    let alert = alerted(&world, STAYS_OFF).await;
    assert_eq!(alert["severity"], "high", "{alert}");
    rounds(&world, 8).await;
    assert!(!takes_mail(&world, 0, IN).await && !status(&world)["fail_open"]["off"].is_null());
    // nothing of a pause, a wish or the watch turns it on
    let look = said(&world, &["watch", "contoso"]);
    assert_eq!(look["drift"], json!([]), "{look:#}");
    let plan = said(&world, &["plan", "contoso"]);
    assert_eq!(plan["changes"].as_array().unwrap().len(), 2, "{plan:#}");
    repair(&world);
    is_on(&world).await;
    mail_flows(&world, "by-hand").await;
    until("the end of the alerts", async || [IS_OFF, STAYS_OFF, FAILS].iter().all(|s| about(&world, s).is_none()))
        .await;
    rounds(&world, 5).await;
    assert!(takes_mail(&world, 0, IN).await && takes_mail(&world, 0, OUT).await);
}

/// A small generator: the moments of death differ from run to run only by its seed, which is printed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Killed (SIGKILL) at random moments while it turns routing off and on again: whatever moment it is, it ends as it should.
#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_that_is_killed_between_its_steps_ends_what_it_began() {
    let mut world = guarded("").await;
    let seed = std::env::var("KILL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(u64::from(std::process::id()));
    println!("KILL_SEED={seed}");
    let mut dice = Dice(seed);
    let mut watchdog = world.watchdog();
    keeps_watch(&world).await;
    for kills in [10, 14] {
        if kills == 10 {
            world.gateway.kill()
        } else {
            world.restart_gateway().await
        }
        for n in 0..kills {
            // the moment of death, not a wait; long enough that some of it is done each time
            tokio::time::sleep(std::time::Duration::from_millis(300 + n * 250 + dice.roll(900))).await;
            watchdog.kill();
            watchdog = world.watchdog();
        }
        if kills == 10 { is_off(&world).await } else { is_on(&world).await }
    }
    mail_flows(&world, "after-the-kills").await;
    until("the end of the alerts", async || [IS_OFF, FAILS, NOT_OFF].iter().all(|s| about(&world, s).is_none())).await;
    assert_eq!(said(&world, &["watch", "contoso"])["drift"], json!([]));
    assert_eq!(run(&world, &["audit", "verify"]).0, Some(0));
}

/// The process lives and the way back does not: inbound mail alone is refused, for a fault of ours. Then everything else
/// goes on: somebody else's change is told and healed, what the watchdog did is not, and what a person did it leaves.
#[tokio::test(flavor = "multi_thread")]
async fn one_direction_goes_off_alone_and_the_rest_is_watched_and_healed() {
    let world = guarded("").await;
    assert_eq!(run(&world, &["tenant", "self-heal", "contoso", "on"]).0, Some(0));
    let _watchdog = world.watchdog();
    keeps_watch(&world).await;
    let people = world.json_directory_addresses().await;
    let fault = json!({"door": "smtp_data", "matching": "peer=127.0.50.1", "answer": "550 5.7.64 TenantAttribution; Relay Access Denied", "times": 100_000});
    world.door.post("/faults", fault).await.unwrap();
    for (n, user) in people.iter().take(6).enumerate() {
        send_in(&world, &format!("refused-{n}"), user).await;
    }
    until("inbound to be off", async || {
        world.door.post("/queue/retry", json!({})).await.unwrap();
        status(&world)["fail_open"]["off"]["phase"] == "closed"
    })
    .await;
    let off = status(&world);
    assert_eq!(off["fail_open"]["off"]["directions"], json!(["inbound"]), "{off:#}");
    assert!(off["fail_open"]["off"]["why"].as_str().unwrap().contains("refused for a fault of ours"), "{off:#}");
    assert!(!takes_mail(&world, 0, IN).await && takes_mail(&world, 0, OUT).await);
    // somebody else's work
    theirs(&world, BY, "Set-OutboundConnector", &json!({"Identity": TO, "Comment": "who made this?"})).await;
    until("it to be told", async || !all_about_object(&world, TO).is_empty()).await;
    until("it to be healed", async || {
        let connectors = world.exchange("Get-OutboundConnector", json!({})).await;
        let ours = connectors.as_array().unwrap().iter().find(|c| c["Name"] == TO).cloned().unwrap();
        ours["Comment"].as_str().is_some_and(|c| c.contains("Made by Posthouse"))
    })
    .await;
    assert!(!takes_mail(&world, 0, IN).await, "self-heal undid the watchdog");
    // a person in Exchange's own pages, in a break of a person's
    assert_eq!(run(&world, &["pause", "contoso", "--hours", "1"]).0, Some(0));
    theirs(
        &world,
        BY,
        "Set-TransportRule",
        &json!({"Identity": IN, "HeaderContainsMessageHeader": null, "HeaderContainsWords": null}),
    )
    .await;
    theirs(&world, BY, "Enable-TransportRule", &json!({"Identity": IN, "Confirm": false})).await;
    rounds(&world, 6).await;
    assert!(takes_mail(&world, 0, IN).await, "the watchdog acted in a pause");
    world.clear_faults().await;
    assert_eq!(run(&world, &["resume", "contoso"]).0, Some(0));
    is_on(&world).await;
    mail_flows(&world, "healed").await;
    until("the end of the alert", async || about(&world, IS_OFF).is_none()).await;
}

fn all_about_object(world: &World, object: &str) -> Vec<Value> {
    let all = world.json(&["alerts", "--all"]);
    all.as_array().unwrap().iter().filter(|a| a["subject"].as_str().unwrap().contains(object)).cloned().collect()
}

/// A person begins to turn it on while the gateway is still dead, and is cut off: that is the watchdog's affair again.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_a_person_that_was_cut_off_leaves_the_watchdog_its_work() {
    let mut world = guarded("").await;
    let _watchdog = world.watchdog();
    keeps_watch(&world).await;
    world.gateway.kill();
    is_off(&world).await;
    let plan = said(&world, &["plan", "contoso"]);
    let mut apply = world.command(&["apply", "contoso", "--plan", plan["id"].as_str().unwrap()]).spawn().unwrap();
    until("the rules to take probes", async || rule(&world, 0, OUT).await["State"] == "Enabled").await;
    assert!(!takes_mail(&world, 0, IN).await && !takes_mail(&world, 0, OUT).await, "opened before it was proven");
    apply.kill().unwrap();
    apply.wait().unwrap();
    world.restart_gateway().await;
    is_on(&world).await;
    mail_flows(&world, "cut-off").await;
    until("the end of the alerts", async || [IS_OFF, FAILS].iter().all(|s| about(&world, s).is_none())).await;
    assert_eq!(said(&world, &["watch", "contoso"])["drift"], json!([]));
}

/// Connecting and disconnecting are a person's word, too.
#[tokio::test(flavor = "multi_thread")]
async fn connect_and_disconnect_win_over_the_watchdog() {
    let mut world = guarded("").await;
    let mut watchdog = world.watchdog();
    keeps_watch(&world).await;
    world.gateway.kill();
    is_off(&world).await;
    watchdog.kill();
    world.restart_gateway().await;
    let (ok, events) = world.connect(0).await;
    assert!(ok, "{}", events.join("\n"));
    is_on(&world).await;
    let _watchdog = world.watchdog();
    until("the end of the alert", async || about(&world, IS_OFF).is_none()).await;
    assert!(takes_mail(&world, 0, IN).await, "the watchdog undid a person");
    mail_flows(&world, "connected").await;
    world.gateway.kill();
    is_off(&world).await;
    world.restart_gateway().await;
    let (code, said) = run(&world, &["tenant", "disconnect", "contoso"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(world.json(&["tenant", "list"]), json!([]));
    assert!(about(&world, IS_OFF).is_none());
}
