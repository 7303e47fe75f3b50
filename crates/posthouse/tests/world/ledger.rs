//! The ledger accounts for every message, whatever became of it, and finds what is made to go missing on either side.

use crate::harness::World;
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

const PAT: &str = "pat@acme.example";

/// Exit code, `--json`, and what it said on the way.
fn check(world: &World, grace: &str) -> (i32, Value, String) {
    let args = ["--json", "ledger", "check", "contoso", "--since", "1h", "--grace", grace];
    let output = world.command(&args).output().unwrap();
    let progress = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{progress}"));
    (output.status.code().unwrap(), said, progress)
}

fn text(world: &World) -> String {
    let output = world.command(&["ledger", "check", "contoso", "--since", "1h", "--grace", "0s"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn counts(said: &Value) -> [u64; 3] {
    ["missing_here", "missing_there", "doubled"].map(|side| said[side]["count"].as_u64().unwrap())
}

async fn come_in(world: &World, id: &str, to: &[&String], body: &str) {
    let raw = format!(
        "From: {PAT}\r\nSubject: {id}\r\nMessage-ID: <{id}@acme.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n{body}\r\n"
    );
    let to: Vec<String> = to.iter().map(|t| (*t).clone()).collect();
    world.door.send_from_internet(PAT, &to, raw.as_bytes(), false).await.unwrap();
    world.door.idle(60).await.unwrap();
}

async fn go_out(world: &World, id: &str, from: &str, to: &[&str]) {
    let raw = format!("From: {from}\r\nSubject: {id}\r\nMessage-ID: <{id}@contoso.example>\r\n\r\nx\r\n");
    let to: Vec<String> = to.iter().map(|t| (*t).to_owned()).collect();
    world.door.submit(&world.tenant_id(0), from, &to, raw.as_bytes()).await.unwrap();
    world.door.idle(60).await.unwrap();
}

/// On the way back only, once.
async fn refuse(world: &World, door: &str, matching: &str, answer: &str) {
    let matching = format!("{matching} && peer=127.0.50.1");
    let fault = json!({"door": door, "matching": matching, "answer": answer, "times": 1});
    world.door.post("/faults", fault).await.unwrap();
}

async fn retry(world: &World) {
    world.door.post("/queue/retry", json!({})).await.unwrap();
    world.door.idle(60).await.unwrap();
}

fn held_as(world: &World, subject: &str) -> String {
    let held = world.json(&["held", "list"]);
    let one = held.as_array().unwrap().iter().find(|h| h["subject"] == subject).unwrap_or_else(|| panic!("{held:#}"));
    one["id"].as_str().unwrap().to_owned()
}

fn carry_out(world: &World, args: &[&str]) {
    assert!(world.command(&[&["tenant", "rollout", "contoso"], args].concat()).output().unwrap().status.success());
    let plan = world.command(&["--json", "plan", "contoso"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let applied = world.command(&["apply", "contoso", "--plan", plan["id"].as_str().unwrap()]).output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

/// As nothing but a disk or a person with the database's file can.
async fn forget_journeys(world: &World, message_id: &str) {
    let file = world.config.with_file_name("data").join("posthouse.db");
    let mut database = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let done = sqlx::query("DELETE FROM journeys WHERE message_id=$1").bind(message_id).execute(&mut database).await;
    assert_eq!(done.unwrap().rows_affected(), 1);
}

/// Somebody of a group of the tenant, and the group.
async fn grouped(world: &World) -> (String, String) {
    let groups = world.exchange("Get-DistributionGroup", json!({"ResultSize": "Unlimited"})).await;
    let group = groups[0]["PrimarySmtpAddress"].as_str().unwrap().to_lowercase();
    let asked = json!({"Identity": group, "ResultSize": "Unlimited"});
    let members = world.exchange("Get-DistributionGroupMember", asked).await;
    (members[0]["PrimarySmtpAddress"].as_str().unwrap().to_lowercase(), group)
}

/// A message for each end that one can have; 17 counted once for each recipient.
async fn traffic(world: &mut World, people: &[&String], left_out: &String) {
    let lie = "<a href=\"https://evil.example/x\">www.mybank.example</a>";
    come_in(world, "forks", people, "x").await;
    come_in(world, "half", &[people[0], left_out], "x").await;
    go_out(world, "out", people[1], &[PAT, "sam@acme.example"]).await;
    for id in ["stays", "freed", "binned"] {
        come_in(world, id, &[people[0]], lie).await;
    }
    assert_eq!(world.json(&["held", "release", &held_as(world, "freed")])["released"], true);
    world.json(&["held", "delete", &held_as(world, "binned")]);
    refuse(world, "smtp_rcpt", people[2], "550 5.2.2 Mailbox full").await;
    come_in(world, "full", &[people[2]], "x").await;
    refuse(world, "smtp_data", "", "451 4.7.500 Server busy").await;
    come_in(world, "busy", &[people[2]], "x").await;
    retry(world).await;
    refuse(world, "smtp_rcpt", people[1], "450 4.2.1 Mailbox busy").await;
    come_in(world, "mixed", &[people[0], people[1]], "x").await;
    refuse(world, "smtp_rcpt", people[1], "450 4.2.1 Mailbox busy").await;
    assert!(!world.command(&["held", "release", &held_as(world, "mixed")]).output().unwrap().status.success());
    assert_eq!(world.json(&["held", "release", &held_as(world, "mixed")])["released"], true);
    world.gateway.kill();
    come_in(world, "down", &[people[1]], "x").await;
    world.restart_gateway().await;
    retry(world).await;
    refuse(world, "smtp_data", "", "451 4.7.500 Server busy").await;
    come_in(world, "waits", &[people[0]], "x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_accounted_for_and_what_goes_missing_is_found() {
    let mut world = World::connected().await;
    let all = world.json_directory_addresses().await;
    let (left_out, group) = grouped(&world).await;
    let asked = json!({"Identity": group, "ResultSize": "Unlimited"});
    let members = world.exchange("Get-DistributionGroupMember", asked).await.to_string().to_lowercase();
    let people: Vec<&String> = all.iter().filter(|p| !members.contains(p.as_str())).take(3).collect();
    assert_eq!(people.len(), 3, "{members}");
    carry_out(&world, &["--exclude", &group]);
    traffic(&mut world, &people, &left_out).await;

    let (code, said, progress) = check(&world, "0s");
    assert_eq!((code, counts(&said)), (0, [0, 0, 0]), "{said:#}");
    let states = json!({"handed_back": 9, "released": 2, "held": 1, "deleted": 1, "refused": 1, "deferred": 1});
    assert_eq!((&said["entered"], &said["states"], &said["traced"]), (&json!(15), &states, &json!(15)), "{said:#}");
    assert_eq!(said["left_out"], json!([{"count": 1, "reason": "excluded", "group": group}]), "{said:#}");
    assert!(said["probes"].as_u64().unwrap() >= 2, "{said:#}");
    assert!(progress.contains("messages so far"), "{progress}");
    assert!(text(&world).contains("; trace: 15; missing here 0, missing there 0, doubled 0"), "{}", text(&world));
    assert_eq!(world.json(&["ledger", "show", "contoso", "--since", "1h"])["states"], states);

    // a line of our journal is gone
    forget_journeys(&world, "forks@acme.example").await;
    let (code, said, _) = check(&world, "0s");
    assert_eq!((code, counts(&said)), (2, [3, 0, 0]), "one for each recipient: {said:#}");
    let missing = &said["missing_here"]["listed"][0];
    assert_eq!((&missing["message_id"], &missing["why"]), (&json!("forks@acme.example"), &json!("no_journal")));
    // Microsoft says 250, and loses it
    world.door.patch("/switches", json!({"lose_returned": true})).await.unwrap();
    come_in(&world, "lost", &[people[0]], "x").await;
    world.door.patch("/switches", json!({"lose_returned": false})).await.unwrap();
    let (code, said, progress) = check(&world, "0s");
    assert_eq!((code, counts(&said)), (2, [3, 1, 0]), "{said:#}");
    let missing = &said["missing_there"]["listed"][0];
    assert_eq!((&missing["message_id"], &missing["why"]), (&json!("lost@acme.example"), &json!("not_returned")));
    assert!(progress.contains("asking for 1 messages one by one"), "{progress}");
    let shown = text(&world);
    assert!(shown.contains("MISSING HERE: 3\n  <forks@acme.example>"), "{shown}");
    assert!(shown.contains("MISSING THERE: 1\n  <lost@acme.example>"), "{shown}");
    // what is so new may only be late
    let (code, said, _) = check(&world, "1h");
    assert_eq!((code, counts(&said), &said["too_new"]), (0, [0, 0, 0], &json!(4)), "{said:#}");
    unread(&world).await;
}

/// A trace that is not read wholly makes nothing missing; one that is throttled is waited for.
async fn unread(world: &World) {
    let fault = |answer: &str, secs: u64, times: u64| json!({"door": "exchange", "matching": "Get-MessageTraceV2", "answer": answer, "retry_after_secs": secs, "times": times});
    world.door.post("/faults", fault("429", 1, 2)).await.unwrap();
    let (code, said, _) = check(world, "0s");
    assert_eq!((code, counts(&said), &said["unknown"]), (2, [3, 1, 0], &json!([])), "it waits: {said:#}");
    for (fault, because) in
        [(fault("429", 86_400, 1000), "asks to wait 86400 s"), (fault("400", 1, 1000), "Get-MessageTraceV2")]
    {
        world.door.post("/faults", fault).await.unwrap();
        let (code, said, _) = check(world, "0s");
        assert_eq!((code, counts(&said)), (1, [0, 0, 0]), "{said:#}");
        assert!(said["unknown"][0].as_str().unwrap().contains(because), "{said:#}");
        assert!(text(world).ends_with("NOT ALL COULD BE CHECKED\n"), "{}", text(world));
        world.clear_faults().await;
    }
}

/// Exchange Online sends again what was taken twice; the ledger says which, and why.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_delivered_twice_is_named() {
    let world = World::connected().await;
    let people = world.json_directory_addresses().await;
    // Microsoft has it, and the connection breaks before we hear so
    let fault =
        json!({"door": "smtp_data", "matching": "peer=127.0.50.1", "answer": "drop", "after": true, "times": 1});
    world.door.post("/faults", fault).await.unwrap();
    come_in(&world, "twice", &[&people[1]], "x").await;
    retry(&world).await;
    let copies = world.door.mailbox(&people[1], false).await.unwrap();
    let copies = copies.iter().filter(|m| m.message_id.contains("twice")).count();
    assert_eq!(copies, 2, "{:#}", world.json(&["trace", "--message-id", "twice@acme.example"]));
    let (code, said, _) = check(&world, "0s");
    assert_eq!((code, counts(&said)), (2, [0, 0, 1]), "{said:#}");
    assert_eq!(said["doubled"]["listed"][0]["why"], "unjournalled", "{said:#}");
}
