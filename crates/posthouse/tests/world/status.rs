//! The status tells what mail did, by Exchange's trace and our journal, and never what a setting says.

use crate::harness::World;
use serde_json::{Value, json};

const IN: &str = "Posthouse inbound";

/// Exit code and `--json`.
fn status(world: &World) -> (i32, Value) {
    let output = world.command(&["--json", "status", "contoso"]).output().unwrap();
    let said = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), said)
}

fn text(world: &World) -> String {
    let output = world.command(&["status", "contoso"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn carry_out(world: &World, args: &[&str]) {
    let output = world.command(&[&["tenant", "rollout", "contoso"], args].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan = world.command(&["--json", "plan", "contoso"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let applied = world.command(&["apply", "contoso", "--plan", plan["id"].as_str().unwrap()]).output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

async fn from_outside(world: &World, id: &str, to: &str) {
    let raw =
        format!("From: pat@acme.example\r\nTo: {to}\r\nSubject: x\r\nMessage-ID: <{id}@acme.example>\r\n\r\nx\r\n");
    world.door.send_from_internet("pat@acme.example", &[to.to_owned()], raw.as_bytes(), false).await.unwrap();
    world.door.idle(30).await.unwrap();
    let delivered = world.door.mailbox(to, false).await.unwrap();
    assert!(delivered.iter().any(|m| m.message_id.contains(id)), "{id} did not arrive");
}

async fn to_outside(world: &World, id: &str, from: &str) {
    let raw = format!(
        "From: {from}\r\nTo: pat@acme.example\r\nSubject: x\r\nMessage-ID: <{id}@contoso.example>\r\n\r\nx\r\n"
    );
    world.door.submit(&world.tenant_id(0), from, &["pat@acme.example".into()], raw.as_bytes()).await.unwrap();
    world.door.idle(30).await.unwrap();
}

/// Skips with this reason, as the status names them.
fn skips<'s>(status: &'s Value, reason: &str) -> Vec<&'s Value> {
    let all = status["measured"]["skips"].as_array().unwrap_or_else(|| panic!("not measured: {status}"));
    all.iter().filter(|s| s["reason"] == reason).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passed_is_measured_and_a_rule_that_was_switched_off_is_named() {
    let world = World::connected().await;
    let people = world.json_directory_addresses().await;
    for (n, person) in people[1..4].iter().enumerate() {
        from_outside(&world, &format!("seen-{n}"), person).await;
        to_outside(&world, &format!("sent-{n}"), person).await;
    }
    // mail within the tenant is not ours to see
    let raw = format!("From: {}\r\nTo: {}\r\nMessage-ID: <inside@x>\r\n\r\nx\r\n", people[1], people[2]);
    world.door.submit(&world.tenant_id(0), &people[1], &[people[2].clone()], raw.as_bytes()).await.unwrap();
    world.door.idle(30).await.unwrap();
    let (code, said) = status(&world);
    for way in ["inbound", "outbound"] {
        let measured = &said["measured"][way];
        assert_eq!((&measured["messages"], &measured["passed_percent"]), (&json!(3), &json!(100)), "{said:#}");
    }
    assert_eq!(said["measured"]["not_ours"], 1, "{said:#}");
    assert!(said["measured"]["probes"].as_u64().unwrap() >= 2, "{said:#}");
    assert_eq!((code, &said["wrong"], &said["unknown"]), (0, &json!([]), &json!([])), "{said:#}");
    assert_eq!(said["applied"], json!({"inbound": "everyone", "outbound": "everyone"}));
    let shown = text(&world);
    assert!(
        shown.contains("100 % of the last hour's mail came by") && shown.ends_with("all is as wished\n"),
        "{shown}"
    );
    assert!(!shown.contains("v1;") && !said.to_string().contains("v1;"), "a status tells a secret");

    // a second administrator; the wish stays what it is
    world.exchange("Disable-TransportRule", json!({"Identity": IN, "Confirm": false})).await;
    from_outside(&world, "unseen-1", &people[1]).await;
    from_outside(&world, "unseen-2", &people[2]).await;
    let (code, said) = status(&world);
    assert_eq!(code, 2, "{said:#}");
    let skipped = skips(&said, "ours_differs");
    assert_eq!(skipped.len(), 2, "{said:#}");
    let named = |id: &str, to: &str| {
        skipped.iter().any(|s| s["message_id"] == format!("{id}@acme.example") && s["recipient"] == to)
    };
    assert!(named("unseen-1", &people[1]) && named("unseen-2", &people[2]), "{said:#}");
    assert!(skipped[0]["object"].as_str().unwrap().contains(IN) && skipped[0]["what"] == "is disabled", "{said:#}");
    assert_eq!(said["measured"]["inbound"]["passed_percent"], 60);
    assert_eq!(said["measured"]["outbound"]["passed_percent"], 100);
    assert_eq!((&said["wished"]["inbound"], &said["applied"]["inbound"]), (&json!("everyone"), &json!("off")));
    let shown = text(&world);
    assert!(shown.contains("2 skipped: mail flow rule “Posthouse inbound” is disabled"), "{shown}");
    assert!(shown.contains("BUT APPLIED: inbound Off"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_in_the_pilot_and_who_is_left_out_skip_as_wished() {
    let world = World::connected().await;
    let people = world.json_directory_addresses().await;
    let groups = world.exchange("Get-DistributionGroup", json!({"ResultSize": "Unlimited"})).await;
    let group = groups[0]["PrimarySmtpAddress"].as_str().unwrap().to_lowercase();
    let members =
        world.exchange("Get-DistributionGroupMember", json!({"Identity": group, "ResultSize": "Unlimited"})).await;
    let members: Vec<String> = members
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|m| m["PrimarySmtpAddress"].as_str().map(str::to_lowercase))
        .collect();
    let other = people.iter().find(|p| !members.contains(p)).unwrap();

    carry_out(&world, &["--inbound", "pilot", "--pilot", &group]);
    from_outside(&world, "pilot", &members[0]).await;
    from_outside(&world, "later", other).await;
    let (code, said) = status(&world);
    assert_eq!(skips(&said, "not_in_pilot")[0]["recipient"], other.as_str(), "{said:#}");
    assert_eq!(said["measured"]["inbound"]["passed"], 1, "{said:#}");
    assert_eq!(said["applied"]["inbound"], "pilot");
    assert_eq!(code, 0, "it was wished so: {said:#}");

    carry_out(&world, &["--inbound", "everyone", "--exclude", &group]);
    from_outside(&world, "left-out", &members[0]).await;
    let (code, said) = status(&world);
    let left_out = skips(&said, "excluded");
    assert!(left_out.iter().any(|s| s["message_id"] == "left-out@acme.example"), "{said:#}");
    assert_eq!(left_out[0]["group"], group.as_str());
    // who was not in the pilot then is in now: what explains it is that the rules were changed since
    assert!(skips(&said, "before_change").iter().any(|s| s["message_id"] == "later@acme.example"), "{said:#}");
    assert_eq!(code, 0, "{said:#}");
    assert!(text(&world).contains(&format!("in the excluded group {group}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_cannot_be_read_is_unknown_and_not_all_right() {
    let world = World::connected().await;
    let fault =
        |answer: &str| json!({"door": "exchange", "matching": "Get-MessageTraceV2", "answer": answer, "times": 1000});
    world.door.post("/faults", fault("400")).await.unwrap();
    let (code, said) = status(&world);
    assert_eq!(code, 1, "{said:#}");
    assert!(said["measured"]["unknown_because"].as_str().is_some_and(|b| b.contains("Get-MessageTraceV2")), "{said:#}");
    assert!(said["unknown"][0].as_str().unwrap().starts_with("mail: unknown because"), "{said:#}");
    assert!(text(&world).contains("inbound      unknown because"), "{}", text(&world));
    // the same when something is known to be wrong as well: that is the worse news
    world.exchange("Disable-TransportRule", json!({"Identity": IN, "Confirm": false})).await;
    assert_eq!(status(&world).0, 2);
}
