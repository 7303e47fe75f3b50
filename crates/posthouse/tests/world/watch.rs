//! The running watch: every tamper of the table within an interval, with and without the audit log, and a week of other
//! people's work without an alert.

use crate::harness::{World, until};
use crate::tamper::{FROM, IN, STRIP, repair, run, table};
use crate::watched::*;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A look, in a debug build beside other tests on two cores; the interval of a second comes on top.
const LOOK: SignedDuration = SignedDuration::from_secs(5);

/// One change by somebody else, and what it must be told as.
#[derive(Clone)]
struct Tamper {
    severity: &'static str,
    object: String,
    door: &'static str,
    what: String,
    parameters: Value,
    /// Where no plan of ours repairs it: what the person does who did it.
    undo: Option<(&'static str, Value)>,
    /// What has to be out of the way before.
    first: Option<(&'static str, Value)>,
}

impl Tamper {
    fn of((severity, object, cmdlet, parameters): (&'static str, &str, &str, Value)) -> Tamper {
        let object = if object == "order" { "the order" } else { object }.to_owned();
        Tamper { severity, object, door: "exchange", what: cmdlet.into(), parameters, undo: None, first: None }
    }
    /// Rows that touch the same object cannot be told apart in one look.
    fn meets(&self, other: &Tamper) -> bool {
        let order = |t: &Tamper| t.object == "the order";
        let alone = |t: &Tamper| order(t) || t.first.is_some();
        // a rule of others stands above ours only while ours are there
        let apart = self.undo.is_some() != other.undo.is_some();
        self.object == other.object || apart || alone(self) || alone(other)
    }
    async fn done(&self, world: &World, by: &str) {
        if let Some((cmdlet, parameters)) = &self.first {
            theirs(world, by, cmdlet, parameters).await;
        }
        match self.door {
            "exchange" => theirs(world, by, &self.what, &self.parameters).await,
            _ => drop(graph(world, 0, by, self.door, &self.what, self.parameters.clone()).await),
        }
    }
}

/// The rows of the table, and what only the doors of this file can do.
async fn tampers(world: &World) -> Vec<Tamper> {
    let mut all: Vec<Tamper> = table().into_iter().map(Tamper::of).collect();
    let (app, _) = application(world, 0).await;
    let domain = "contoso.connect.posthouse.example";
    let add = |object: &str, what: &str, parameters| Tamper::of(("medium", object, what, parameters));
    let spoof = world.exchange("Get-TenantAllowBlockListSpoofItems", json!({})).await;
    let ids: Vec<_> = spoof.as_array().unwrap().iter().map(|r| r["Identity"].clone()).collect();
    assert_eq!(ids.len(), 2, "{spoof}");
    all.push(Tamper::of((
        "low",
        "trusted ARC sealer",
        "Set-ArcConfig",
        json!({"Identity": "Default", "ArcTrustedSealers": [" "]}),
    )));
    all.push(add(
        "spoof allow",
        "Remove-TenantAllowBlockListSpoofItems",
        json!({"Identity": "Default", "Ids": ids, "Confirm": false}),
    ));
    all.push(add("audit log", "Set-AdminAuditLogConfig", json!({"UnifiedAuditLogIngestionEnabled": false})));
    let graph = |severity, object: &str, door, what: String, parameters| Tamper {
        door,
        ..Tamper::of((severity, object, &what, parameters))
    };
    all.push(graph(
        "high",
        "credentials of the application",
        "POST",
        format!("/applications/{app}/addPassword"),
        json!({"passwordCredential": {"displayName": "mine"}}),
    ));
    all.push(graph(
        "low",
        "application “",
        "PATCH",
        format!("/applications/{app}"),
        json!({"displayName": "Something else"}),
    ));
    // Microsoft lets nobody remove a domain that a connector names
    all.push(Tamper {
        first: Some(("Remove-InboundConnector", json!({"Identity": FROM, "Confirm": false}))),
        ..graph("high", "accepted domain", "DELETE", format!("/domains/{domain}"), Value::Null)
    });
    let gone = |name: &str| json!({"Identity": name, "Confirm": false});
    let rule = |name: &str, more: Value| {
        let mut rule = json!({"Name": name, "SubjectContainsWords": ["secret"], "Priority": 0});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    let connector = |name: &str, more: Value| {
        let mut connector =
            json!({"Name": name, "ConnectorType": "OnPremises", "SenderDomains": ["*"], "RequireTls": true});
        connector.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        connector
    };
    let by_person = |object: &str, what: &str, parameters, undo: &'static str| Tamper {
        undo: Some((undo, gone(object))),
        ..add(object, what, parameters)
    };
    all.push(by_person(
        "Executives",
        "New-TransportRule",
        rule("Executives", json!({"StopRuleProcessing": true, "PrependSubject": "!"})),
        "Remove-TransportRule",
    ));
    all.push(by_person(
        "Signatures",
        "New-TransportRule",
        rule("Signatures", json!({"RouteMessageOutboundConnector": "Other gateway"})),
        "Remove-TransportRule",
    ));
    all.push(by_person(
        "Rival by name",
        "New-InboundConnector",
        connector("Rival by name", json!({"TlsSenderCertificateName": domain})),
        "Remove-InboundConnector",
    ));
    all.push(by_person(
        "Rival by address",
        "New-InboundConnector",
        connector("Rival by address", json!({"SenderIPAddresses": ["127.0.50.0/24"]})),
        "Remove-InboundConnector",
    ));
    // together: no way out and no way back
    all.push(Tamper::of(("high", IN, "Remove-TransportRule", gone(IN))));
    all.push(Tamper::of(("high", FROM, "Set-InboundConnector", json!({"Identity": FROM, "Enabled": false}))));
    all
}

fn in_batches(all: Vec<Tamper>) -> Vec<Vec<Tamper>> {
    let mut batches: Vec<Vec<Tamper>> = Vec::new();
    for tamper in all {
        match batches.iter_mut().find(|batch| batch.iter().all(|other| !other.meets(&tamper))) {
            Some(batch) => batch.push(tamper),
            None => batches.push(vec![tamper]),
        }
    }
    batches
}

/// Each is told within an interval as what it is, with who did it from where, or that nobody can know; repaired, it is over.
async fn every_tamper_is_told(auditing: bool) {
    let world = watched().await;
    theirs(&world, "setup", "New-OutboundConnector", &json!({"Name": "Other gateway", "ConnectorType": "Partner", "IsTransportRuleScoped": true, "UseMXRecord": false, "SmartHosts": ["mx.other.example"], "TlsSettings": "EncryptionOnly"})).await;
    let mut all = tampers(&world).await;
    assert!(all.len() >= 55, "{}", all.len());
    if !auditing {
        all.retain(|t| t.object != "audit log");
    }
    let dark = Tamper::of((
        "medium",
        "audit log",
        "Set-AdminAuditLogConfig",
        json!({"UnifiedAuditLogIngestionEnabled": false}),
    ));
    let mut wrong = Vec::new();
    for batch in in_batches(all) {
        eprintln!("{}", batch.iter().map(|t| format!("{} {}", t.object, t.what)).collect::<Vec<_>>().join(", "));
        // what an earlier batch did stays in no feed of this one
        let with_log = auditing && batch.iter().all(|t| t.object != "audit log");
        if !auditing {
            dark.done(&world, "first.admin@contoso.example").await;
        }
        let mut done = Vec::new();
        for (n, tamper) in batch.iter().enumerate() {
            let by = format!("admin.{n}@contoso.example");
            tamper.done(&world, &by).await;
            done.push((tamper, by, Timestamp::now()));
        }
        for (tamper, by, at) in &done {
            let alert = alerted(&world, &tamper.object).await;
            let name = format!("{} {}", tamper.what, tamper.parameters);
            if alert["severity"] != tamper.severity {
                wrong.push(format!("{name}: {} expected, {alert}", tamper.severity));
            }
            let late = time(&alert, "first").duration_since(*at);
            if late > SignedDuration::from_secs(1) + LOOK {
                wrong.push(format!("{name}: told after {late:#}"));
            }
            let blame = if with_log {
                format!("Done by {by} from {ADDRESS} with ")
            } else {
                "Who did it cannot be seen: ".into()
            };
            let blamed = async || about(&world, &tamper.object).is_some_and(|a| text(&a).contains(&blame));
            let deadline = Instant::now() + Duration::from_secs(15);
            while !blamed().await {
                if Instant::now() > deadline {
                    wrong.push(format!("{name}: “{blame}” expected, {:?}", about(&world, &tamper.object)));
                    break;
                }
            }
            let repaired_by = if tamper.undo.is_some() { "Repair: " } else { "Repair: posthouse plan " };
            if !text(&alert).contains("Effect: ") || !text(&alert).contains(repaired_by) {
                wrong.push(format!("{name}: {alert}"));
            }
        }
        for (cmdlet, parameters) in batch.iter().filter_map(|t| t.undo.as_ref()) {
            theirs(&world, "who.did.it@contoso.example", cmdlet, parameters).await;
        }
        repair(&world);
        all_over(&world).await;
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tamper_is_told_in_time_with_who_did_it() {
    every_tamper_is_told(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tamper_is_told_in_time_while_the_audit_log_is_off() {
    every_tamper_is_told(false).await;
}

/// The n-th thing that somebody does in a week and that is none of our business.
async fn unrelated(world: &World, n: usize) {
    let by = format!("admin.{}@contoso.example", n % 5);
    let (name, round) = (format!("Theirs {}", n % 7), n / 7);
    let words = json!([format!("w{n}")]);
    match round % 7 {
        0 => theirs(world, &by, "New-TransportRule", &json!({"Name": format!("{name} {round}"), "SubjectContainsWords": words, "PrependSubject": "x", "Priority": 3 + n % 2})).await,
        1 => theirs(world, &by, "Set-TransportRule", &json!({"Identity": format!("{name} {}", round - 1), "Comments": format!("round {n}"), "StopRuleProcessing": n.is_multiple_of(2)})).await,
        2 => theirs(world, &by, "Set-TransportRule", &json!({"Identity": format!("{name} {}", round - 2), "Priority": 3 + n % 4})).await,
        3 => theirs(world, &by, "Disable-TransportRule", &json!({"Identity": format!("{name} {}", round - 3), "Confirm": false})).await,
        4 => theirs(world, &by, "New-InboundConnector", &json!({"Name": format!("Partner {n}"), "ConnectorType": "Partner", "SenderDomains": [format!("p{n}.example")], "RequireTls": true})).await,
        5 => {
            let path = format!("/tenants/{}", world.tenant_id(0));
            world.door.post(&format!("{path}/users"), json!({"upn": format!("new.{n}@contoso.example"), "display_name": format!("New {n}"), "addresses": [format!("new.{n}@contoso.example")]})).await.unwrap();
            world.door.post(&format!("{path}/groups"), json!({"name": format!("Team {n}"), "add": [format!("new.{n}@contoso.example")]})).await.unwrap();
        }
        _ => theirs(world, &by, "Set-OrganizationConfig", &json!({"RejectDirectSend": n.is_multiple_of(2)})).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_of_other_peoples_work_tells_nothing() {
    let world = watched().await;
    switches(&world, json!({"activity_duplicates": 0.1, "activity_reordered": true, "activity_late": 0.1})).await;
    let before = world.json(&["alerts", "--all"]).as_array().unwrap().len();
    let last_look = || world.json(&["status", "contoso"])["watch"]["last_look"]["at"].to_string();
    for n in 0..504 {
        unrelated(&world, n).await;
        // seven days in steps of twenty minutes, and a look at each eighteenth of it at least
        world.door.post("/clock/advance", json!({"secs": 1200})).await.unwrap();
        if n % 28 == 27 {
            let last = last_look();
            until("the watch to look on", async || last_look() != last).await;
        }
    }
    let alerts = world.json(&["alerts", "--all"]);
    assert_eq!(alerts.as_array().unwrap().len(), before, "{alerts:#}");
    let look = world.json(&["watch", "contoso"]);
    assert_eq!(
        (&look["drift"], &look["unknown"], &look["feed_trouble"]),
        (&json!([]), &json!([]), &Value::Null),
        "{look:#}"
    );
    // and the same watch, on the same day, sees what counts
    theirs(
        &world,
        "second.admin@contoso.example",
        "Disable-TransportRule",
        &json!({"Identity": STRIP, "Confirm": false}),
    )
    .await;
    alerted(&world, STRIP).await;
    // its record may be one of the late ones
    world.door.post("/clock/advance", json!({"secs": 700})).await.unwrap();
    until("the blame", async || {
        about(&world, STRIP).is_some_and(|a| text(&a).contains("second.admin@contoso.example from 203.0.113.9"))
    })
    .await;
    assert_eq!(run(&world, &["audit", "verify"]).0, Some(0));
}
