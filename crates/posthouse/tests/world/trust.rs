//! Law 8: nothing is relayed for whoever cannot prove to be Exchange Online sending for a connected tenant.

use crate::harness::{HOSTNAME, World};
use serde_json::json;

fn a_message(id: &str) -> Vec<u8> {
    format!("From: pat@acme.example\r\nSubject: relay me\r\nMessage-ID: <{id}@acme.example>\r\n\r\nhello\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_connector_is_refused_for_now() {
    let world = World::connected().await;
    let other = world.tenant_id(1);
    let run = async |cmdlet: &str, parameters: serde_json::Value| world.door.post(&format!("/tenants/{other}/exchange"), json!({"cmdlet": cmdlet, "parameters": parameters})).await.unwrap();
    run("New-OutboundConnector", json!({"Name": "theirs", "ConnectorType": "OnPremises", "IsTransportRuleScoped": true, "UseMXRecord": false, "SmartHosts": [HOSTNAME], "TlsSettings": "DomainValidation", "TlsDomain": HOSTNAME})).await;
    let guess = format!("v1;{};{};in", world.tenant_id(0), "0".repeat(64));
    run("New-TransportRule", json!({"Name": "steal", "RouteMessageOutboundConnector": "theirs", "SetHeaderName": "X-Posthouse-Route", "SetHeaderValue": guess, "StopRuleProcessing": true})).await;
    let to = world.endpoints["tenants"][1]["admin"]["user"].as_str().unwrap().to_owned();
    world.door.send_from_internet("pat@acme.example", &[to.clone()], &a_message("stolen"), false).await.unwrap();
    world.door.idle(60).await.unwrap();
    assert!(world.door.mailbox(&to, false).await.unwrap().is_empty());
    let queue = world.door.get("/queue", &[]).await.unwrap();
    assert!(queue.to_string().contains("451 4.7.1"), "{queue}");
    let alerts = world.json(&["alerts"]);
    assert!(alerts.as_array().unwrap().iter().any(|a| a["kind"] == "not_attributed"), "{alerts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_with_a_wrong_or_missing_secret_is_refused_for_now() {
    let world = World::connected().await;
    let tenant = world.tenant_id(0);
    let to = world.json_directory_addresses().await[3].clone();
    for (id, change) in [("wrong", json!({"SetHeaderValue": format!("v1;{tenant};{};in", "0".repeat(64))})), ("missing", json!({"SetHeaderName": null, "SetHeaderValue": null}))] {
        let mut parameters = change.as_object().unwrap().clone();
        parameters.insert("Identity".into(), "Posthouse inbound".into());
        world.door.post(&format!("/tenants/{tenant}/exchange"), json!({"cmdlet": "Set-TransportRule", "parameters": parameters})).await.unwrap();
        world.door.send_from_internet("pat@acme.example", &[to.clone()], &a_message(id), false).await.unwrap();
        world.door.idle(60).await.unwrap();
        let queue = world.door.get("/queue", &[]).await.unwrap().to_string();
        assert!(queue.contains("451 4.7.1"), "{id}: {queue}");
    }
    assert!(world.door.mailbox(&to, false).await.unwrap().iter().all(|m| !m.message_id.contains("wrong") && !m.message_id.contains("missing")));
}
