//! Plans approved by their id, stages, the tamper table, self-heal: against the simulated tenant, through the real
//! command line.

use crate::harness::{World, until};
use serde_json::{Value, json};

pub const IN: &str = "Posthouse inbound";
pub const OUT: &str = "Posthouse outbound";
pub const STRIP: &str = "Posthouse strip";
pub const FROM: &str = "Posthouse from gateway";
pub const TO: &str = "Posthouse to gateway";

pub fn run(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = world.command(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

/// `--json`, whatever the exit code.
pub fn said(world: &World, args: &[&str]) -> Value {
    let output = world.command(&[&["--json"], args].concat()).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

pub fn repair(world: &World) {
    let plan = said(world, &["plan", "contoso"]);
    let (code, text) = run(world, &["apply", "contoso", "--plan", plan["id"].as_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}\n{plan:#}");
}

/// object × property, what somebody does, and how sure it is that protection is impaired.
#[rustfmt::skip]
pub fn table() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let set = |name: &str, key: &str, value: Value| json!({"Identity": name, key: value});
    let gone = |name: &str| json!({"Identity": name, "Confirm": false});
    const RULE: &str = "Set-TransportRule";
    const INBOUND: &str = "Set-InboundConnector";
    const OUTBOUND: &str = "Set-OutboundConnector";
    vec![
        ("high", IN, "Remove-TransportRule", gone(IN)),
        ("high", OUT, "Remove-TransportRule", gone(OUT)),
        ("high", STRIP, "Remove-TransportRule", gone(STRIP)),
        ("high", IN, "Disable-TransportRule", gone(IN)),
        ("high", OUT, "Disable-TransportRule", gone(OUT)),
        ("high", STRIP, "Disable-TransportRule", gone(STRIP)),
        ("high", IN, RULE, set(IN, "Mode", json!("Audit"))),
        ("high", OUT, RULE, set(OUT, "Mode", json!("AuditAndNotify"))),
        ("high", STRIP, RULE, set(STRIP, "Mode", json!("Audit"))),
        ("high", IN, RULE, set(IN, "SetHeaderValue", json!("forged"))),
        ("high", OUT, RULE, set(OUT, "SetHeaderValue", json!("forged"))),
        ("high", IN, RULE, set(IN, "SetHeaderName", json!("X-Other"))),
        ("high", IN, RULE, json!({"Identity": IN, "ExceptIfHeaderMatchesMessageHeader": null, "ExceptIfHeaderMatchesPatterns": null})),
        ("high", OUT, RULE, json!({"Identity": OUT, "ExceptIfHeaderMatchesMessageHeader": null, "ExceptIfHeaderMatchesPatterns": null})),
        ("high", IN, RULE, set(IN, "ExceptIfHeaderMatchesPatterns", json!([".*"]))),
        ("high", IN, RULE, set(IN, "DeleteMessage", json!(true))),
        ("high", OUT, RULE, set(OUT, "RedirectMessageTo", json!(["anna@contoso.example"]))),
        ("high", IN, RULE, json!({"Identity": IN, "HeaderContainsMessageHeader": "X-Never", "HeaderContainsWords": ["never"]})),
        ("high", STRIP, RULE, set(STRIP, "RemoveHeader", json!("X-Other"))),
        ("high", STRIP, RULE, set(STRIP, "HeaderMatchesPatterns", json!(["^never$"]))),
        ("high", "order", RULE, set(STRIP, "Priority", json!(0))),
        ("high", FROM, INBOUND, set(FROM, "Enabled", json!(false))),
        ("high", FROM, INBOUND, set(FROM, "TlsSenderCertificateName", json!("*.evil.example"))),
        ("high", FROM, INBOUND, set(FROM, "RequireTls", json!(false))),
        ("high", FROM, INBOUND, set(FROM, "SenderDomains", json!(["evil.example"]))),
        ("high", FROM, INBOUND, set(FROM, "CloudServicesMailEnabled", json!(true))),
        ("high", FROM, INBOUND, set(FROM, "TreatMessagesAsInternal", json!(true))),
        ("high", TO, OUTBOUND, set(TO, "SmartHosts", json!(["mx.evil.example"]))),
        ("high", TO, OUTBOUND, set(TO, "TlsDomain", json!("mx.evil.example"))),
        ("high", TO, OUTBOUND, json!({"Identity": TO, "TlsSettings": "EncryptionOnly", "TlsDomain": null})),
        ("high", "accepted domain", "Set-AcceptedDomain", json!({"Identity": "contoso.connect.posthouse.example", "DomainType": "Authoritative"})),
        ("medium", IN, RULE, set(IN, "ExceptIfFrom", json!(["boss@acme.example"]))),
        ("medium", OUT, RULE, set(OUT, "ExceptIfSentTo", json!(["boss@acme.example"]))),
        ("medium", IN, RULE, set(IN, "ExceptIfSubjectContainsWords", json!(["invoice"]))),
        ("medium", IN, RULE, set(IN, "ExceptIfSenderDomainIs", json!(["acme.example"]))),
        ("medium", IN, RULE, set(IN, "RecipientDomainIs", json!(["contoso.example"]))),
        ("medium", IN, RULE, set(IN, "SubjectContainsWords", json!(["invoice"]))),
        ("medium", OUT, RULE, set(OUT, "ExceptIfFromScope", json!("InOrganization"))),
        ("medium", IN, RULE, set(IN, "StopRuleProcessing", json!(false))),
        ("medium", IN, RULE, set(IN, "RuleErrorAction", json!("Ignore"))),
        ("medium", OUT, RULE, set(OUT, "SenderAddressLocation", json!("Header"))),
        ("medium", IN, RULE, set(IN, "ExpiryDate", json!("2026-12-24T00:00:00"))),
        ("medium", STRIP, RULE, set(STRIP, "ExceptIfSubjectContainsWords", json!(["invoice"]))),
        ("medium", TO, OUTBOUND, set(TO, "CloudServicesMailEnabled", json!(true))),
        ("low", IN, RULE, set(IN, "Comments", json!("who made this?"))),
        ("low", IN, RULE, set(IN, "Name", json!("Posthouse inbound (do not touch)"))),
        ("low", OUT, RULE, set(OUT, "SetAuditSeverity", json!("High"))),
        ("low", FROM, INBOUND, set(FROM, "Comment", json!("who made this?"))),
        ("low", TO, OUTBOUND, set(TO, "Comment", json!("who made this?"))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tamper_of_the_table_is_graded_and_repaired_by_its_plan() {
    let world = World::connected().await;
    assert_eq!(run(&world, &["watch", "contoso"]).0, Some(0));
    let mut wrong = Vec::new();
    let table = table();
    assert!(table.len() >= 40);
    for (severity, object, cmdlet, parameters) in table {
        world.exchange(cmdlet, parameters.clone()).await;
        let look = said(&world, &["watch", "contoso"]);
        let worst = look["drift"][0].clone();
        let about = worst["object"].as_str().unwrap_or_default();
        if worst["severity"] != severity || !about.contains(object) {
            wrong.push(format!("{cmdlet} {parameters}: expected {severity} {object}, seen {look}"));
        }
        repair(&world);
        if run(&world, &["watch", "contoso"]).0 != Some(0) {
            wrong.push(format!("{cmdlet} {parameters} was not repaired"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let acts = said(&world, &["audit", "list"]);
    assert!(acts.as_array().unwrap().len() > 40, "{acts}");
    assert_eq!(run(&world, &["audit", "verify"]).0, Some(0));
}

/// A rule of somebody else above ours that stops processing is told; what others do below is none of our business.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_is_told_only_where_it_matters() {
    let world = World::connected().await;
    let rule = json!({"Name": "Executives", "SubjectContainsWords": ["secret"], "StopRuleProcessing": true, "PrependSubject": "!", "Priority": 0});
    world.exchange("New-TransportRule", rule).await;
    let look = said(&world, &["watch", "contoso"]);
    assert_eq!(look["drift"][0]["severity"], "medium", "{look}");
    assert!(look["drift"][0]["object"].as_str().unwrap().contains("Executives"), "{look}");
    world.exchange("Set-TransportRule", json!({"Identity": "Executives", "Priority": 3})).await;
    assert_eq!(run(&world, &["watch", "contoso"]).0, Some(0));
    // a week of other people's work, without an alert
    for n in 0..500 {
        let name = format!("Theirs {}", n % 7);
        let (cmdlet, parameters) = match (n / 7) % 5 {
            0 => (
                "New-TransportRule",
                json!({"Name": format!("Theirs {n}"), "SubjectContainsWords": [format!("w{n}")], "PrependSubject": "x", "Priority": 3 + n % 2}),
            ),
            1 => (
                "Set-TransportRule",
                json!({"Identity": name, "Comments": format!("round {n}"), "StopRuleProcessing": n % 2 == 0}),
            ),
            2 => ("Set-TransportRule", json!({"Identity": name, "Priority": 3 + n % 4})),
            3 => (
                if n % 2 == 0 { "Disable-TransportRule" } else { "Enable-TransportRule" },
                json!({"Identity": name, "Confirm": false}),
            ),
            _ => (
                "New-InboundConnector",
                json!({"Name": format!("Partner {n}"), "ConnectorType": "Partner", "SenderDomains": [format!("p{n}.example")], "RequireTls": true}),
            ),
        };
        world.exchange(cmdlet, parameters).await;
        if n % 25 == 0 {
            let (code, text) = run(&world, &["watch", "contoso"]);
            assert_eq!(code, Some(0), "after {n} changes: {text}");
        }
    }
    let (code, text) = run(&world, &["watch", "contoso"]);
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_plan_is_refused_and_nothing_is_done() {
    let world = World::connected().await;
    let (code, text) = run(&world, &["apply", "contoso", "--plan", "0123456789abcdef"]);
    assert!(code == Some(1) && text.contains("no plan 0123456789abcdef"), "{text}");
    world.exchange("Set-TransportRule", json!({"Identity": IN, "Mode": "Audit"})).await;
    let plan = said(&world, &["plan", "contoso"])["id"].as_str().unwrap().to_owned();
    world.exchange("Disable-TransportRule", json!({"Identity": OUT, "Confirm": false})).await;
    let (code, text) = run(&world, &["apply", "contoso", "--plan", &plan]);
    assert!(
        code == Some(1) && text.contains("stale") && text.contains("enable mail flow rule “Posthouse outbound”"),
        "{text}"
    );
    let rules = world.exchange("Get-TransportRule", json!({})).await;
    assert_eq!(rules[0]["Mode"], "Audit", "a refused plan did something: {rules}");
    // a create that was not answered is looked for before it is tried again
    world.exchange("Remove-TransportRule", json!({"Identity": STRIP, "Confirm": false})).await;
    repair(&world);
    let rules = world.exchange("Get-TransportRule", json!({})).await;
    let names: Vec<_> = rules.as_array().unwrap().iter().map(|r| r["Name"].as_str().unwrap()).collect();
    assert_eq!(names, [IN, OUT, STRIP]);
    let receipts = said(&world, &["tenant", "receipts", "contoso"]);
    let last = receipts.as_array().unwrap().last().unwrap();
    assert_eq!((last["by"].as_str(), last["answer"].as_str()), (Some("apply"), Some("done")), "{last}");
    assert!(!receipts.to_string().contains("v1;"), "a receipt tells a secret");
}

/// Off, audit only, pilot, everyone, and back; mail goes as the stage says.
#[tokio::test(flavor = "multi_thread")]
async fn mail_is_routed_as_far_as_the_rollout_says() {
    let world = World::connected().await;
    let people = world.json_directory_addresses().await;
    let groups = world.exchange("Get-DistributionGroup", json!({"ResultSize": "Unlimited"})).await;
    let group = groups[0]["PrimarySmtpAddress"].as_str().unwrap().to_lowercase();
    let members =
        world.exchange("Get-DistributionGroupMember", json!({"Identity": group, "ResultSize": "Unlimited"})).await;
    let member = members[0]["PrimarySmtpAddress"].as_str().unwrap().to_lowercase();
    let inside = |address: &String| {
        members
            .as_array()
            .unwrap()
            .iter()
            .any(|m| m["PrimarySmtpAddress"].as_str().is_some_and(|a| a.eq_ignore_ascii_case(address)))
    };
    let other = people.iter().find(|p| !inside(p)).unwrap().clone();
    let seen = async |name: &str, to: &str| -> bool {
        let id = format!("{name}-{}@acme.example", to.split('@').next().unwrap());
        let raw = format!("From: pat@acme.example\r\nTo: {to}\r\nMessage-ID: <{id}>\r\n\r\nx\r\n");
        world.door.send_from_internet("pat@acme.example", &[to.to_owned()], raw.as_bytes(), false).await.unwrap();
        world.door.idle(30).await.unwrap();
        let delivered = world.door.mailbox(to, false).await.unwrap();
        assert!(delivered.iter().any(|m| m.message_id.contains(&id)), "{id} did not arrive");
        !world.json(&["trace", "--message-id", &id]).as_array().unwrap().is_empty()
    };
    let stage = |args: &[&str]| {
        let (code, text) = run(&world, &[&["tenant", "rollout", "contoso"], args].concat());
        assert_eq!(code, Some(0), "{text}");
        repair(&world);
    };
    let (code, text) = run(&world, &["tenant", "rollout", "contoso", "--inbound", "pilot"]);
    assert!(code == Some(1) && text.contains("pilot group"), "{text}");
    stage(&["--inbound", "off"]);
    assert!(!seen("off", &member).await);
    stage(&["--inbound", "audit"]);
    assert!(!seen("audit", &member).await);
    stage(&["--inbound", "pilot", "--pilot", &group]);
    assert!(seen("pilot", &member).await && !seen("pilot", &other).await);
    stage(&["--inbound", "everyone", "--exclude", &group]);
    assert!(!seen("excluded", &member).await && seen("excluded", &other).await);
    stage(&["--exclude-nobody"]);
    assert!(seen("everyone", &member).await && seen("everyone", &other).await);
    stage(&["--inbound", "off", "--outbound", "off"]);
    assert!(!seen("back", &other).await);
    assert_eq!(run(&world, &["plan", "contoso"]).0, Some(0));
}

/// The watch inside `serve`: told once, healed where allowed, not against somebody who means it, not in a pause.
#[tokio::test(flavor = "multi_thread")]
async fn the_watch_tells_heals_and_gives_way() {
    let mut world = World::connected().await;
    let slow = std::fs::read_to_string(&world.config).unwrap();
    std::fs::write(&world.config, slow.replace("every_secs = 3600", "every_secs = 1\nfeed_secs = 1")).unwrap();
    world.restart_gateway().await;
    let alerts = |world: &World, kind: &str| -> Vec<Value> {
        let all = world.json(&["alerts"]);
        all.as_array().unwrap().iter().filter(|a| a["kind"] == kind).cloned().collect()
    };
    let audit = json!({"Identity": IN, "Mode": "Audit"});
    world.exchange("Set-TransportRule", audit.clone()).await;
    until("an alert", async || !alerts(&world, "tampered").is_empty()).await;
    let told = alerts(&world, "tampered");
    assert!(told[0]["severity"] == "high" && told[0]["text"].as_str().unwrap().contains("--plan"), "{told:?}");
    assert_eq!(
        world.exchange("Get-TransportRule", json!({})).await[0]["Mode"],
        "Audit",
        "healed without being allowed"
    );

    assert_eq!(run(&world, &["tenant", "self-heal", "contoso", "on"]).0, Some(0));
    let enforced = async || world.exchange("Get-TransportRule", json!({})).await[0]["Mode"] == "Enforce";
    until("healing", enforced).await;
    world.exchange("Set-TransportRule", audit.clone()).await;
    until("healing again", enforced).await;
    // the third time somebody means it
    world.exchange("Set-TransportRule", audit.clone()).await;
    until("giving way", async || alerts(&world, "healed").iter().any(|a| a["severity"] == "high")).await;
    assert!(!enforced().await);

    assert_eq!(run(&world, &["pause", "contoso", "--hours", "1", "--why", "break-glass"]).0, Some(0));
    repair(&world);
    let before = alerts(&world, "tampered").len();
    world.exchange("Disable-TransportRule", json!({"Identity": OUT, "Confirm": false})).await;
    let reads = async || world.door.get("/trace", &[]).await.map(|_| ()).is_ok();
    until("the world to be there", reads).await;
    assert_eq!(alerts(&world, "tampered").len(), before, "told in a pause");
    assert_eq!(run(&world, &["resume", "contoso"]).0, Some(0));
    until("healing after the pause", async || {
        world.exchange("Get-TransportRule", json!({})).await[1]["State"] == "Enabled"
    })
    .await;
}
