//! A forged mark does not skip the check; a rule without its exception ends in the loop guard, not in a storm.

use crate::harness::World;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_lost_its_exception_ends_in_the_loop_guard() {
    let world = World::connected().await;
    let tenant = world.tenant_id(0);
    let change = json!({"cmdlet": "Set-TransportRule", "parameters": {"Identity": "Posthouse inbound", "ExceptIfHeaderMatchesMessageHeader": null, "ExceptIfHeaderMatchesPatterns": null}});
    world.door.post(&format!("/tenants/{tenant}/exchange"), change).await.unwrap();
    let to = world.json_directory_addresses().await[1].clone();
    let raw = format!(
        "From: pat@acme.example\r\nTo: {to}\r\nSubject: round and round\r\nMessage-ID: <loop@acme.example>\r\n\r\nhello\r\n"
    );
    world.door.send_from_internet("pat@acme.example", std::slice::from_ref(&to), raw.as_bytes(), false).await.unwrap();
    assert!(world.door.idle(60).await.unwrap(), "the world does not come to rest: a storm");
    let journeys = world.json(&["trace", "--message-id", "loop@acme.example"]);
    let journeys = journeys.as_array().unwrap().clone();
    let visits: Vec<_> = journeys.iter().map(|j| j["visits"].as_u64().unwrap()).collect();
    assert_eq!(visits, vec![3, 2, 1], "newest first");
    assert!(journeys[0]["reply"].as_str().unwrap().starts_with("554 5.4.6"), "{}", journeys[0]["reply"]);
    let alerts = world.json(&["alerts"]);
    assert!(alerts.as_array().unwrap().iter().any(|a| a["kind"] == "loop"), "{alerts}");
}
