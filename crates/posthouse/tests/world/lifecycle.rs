//! Connecting, refusing, demonstrating, taking back.

use crate::harness::{World, posthouse};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_holds_every_expectation() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let output = posthouse().args(["demo", "--exit", "--report"]).arg(&report).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["ok"], true, "{said}");
    assert!(report["messages"].as_array().unwrap().len() >= 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_global_administrator_is_refused_and_nothing_is_touched() {
    let world = World::start().await;
    let tenant = world.tenant_id(0);
    let before = world.door.get("/audit", &[("tenant", &tenant)]).await.unwrap();
    let user = world.endpoints["tenants"][0]["user"].clone();
    let (name, password) = (user["user"].as_str().unwrap(), user["password"].as_str().unwrap());
    let (ok, events) = world.connect_as(name, password).await;
    assert!(!ok);
    let said = events.join("\n");
    assert!(said.contains("Global Administrator"), "{said}");
    let after = world.door.get("/audit", &[("tenant", &tenant)]).await.unwrap();
    assert_eq!(before, after, "the tenant was touched");
    assert_eq!(world.json(&["tenant", "list"]), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_twice_changes_nothing_the_second_time() {
    let world = World::connected().await;
    let tenant = world.tenant_id(0);
    let rules = async || {
        world
            .door
            .post(&format!("/tenants/{tenant}/exchange"), json!({"cmdlet": "Get-TransportRule", "parameters": {}}))
            .await
            .unwrap()
    };
    let before = rules().await;
    let (ok, events) = world.connect(0).await;
    assert!(ok, "{}", events.join("\n"));
    let guids = |v: &Value| serde_json::to_string(v).unwrap().matches("Posthouse inbound").count();
    let after = rules().await;
    assert_eq!(guids(&before), guids(&after), "rules were made twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_leaves_nothing_of_ours() {
    let world = World::connected().await;
    let tenant = world.tenant_id(0);
    let output = world.command(&["tenant", "disconnect", &tenant]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for cmdlet in ["Get-TransportRule", "Get-InboundConnector", "Get-OutboundConnector", "Get-AcceptedDomain"] {
        let left = world
            .door
            .post(&format!("/tenants/{tenant}/exchange"), json!({"cmdlet": cmdlet, "parameters": {}}))
            .await
            .unwrap();
        assert!(!left.to_string().to_lowercase().contains("posthouse"), "{cmdlet} still shows {left}");
    }
    assert_eq!(world.json(&["tenant", "list"]), json!([]));
}
