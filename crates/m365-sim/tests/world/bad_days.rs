//! Lag, weather and faults: what a client has to stand.

use crate::door::{App, World};
use serde_json::{Value, json};
use std::time::Duration;

const EXCHANGE: &str = "https://outlook.office365.com";
const GRAPH: &str = "https://graph.microsoft.com";

async fn admin(world: &World) -> (App, String) {
    let app = world.app(&["Exchange.ManageAsApp", "Application.ReadWrite.All", "Domain.ReadWrite.All"], true).await;
    let token = world.token(&app, EXCHANGE).await;
    (app, token)
}

fn rule(name: &str) -> Value {
    json!({"Name": name, "PrependSubject": "x"})
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_exchange_lag_and_writers_do_not() {
    let world = World::start().await;
    let (_, token) = admin(&world).await;
    world.switches(json!({"exo_replication_delay_secs": 60})).await;
    let names = async || {
        let rows = world.exchange(&token, "Get-TransportRule", json!({})).await.rows();
        rows.iter().map(|r| r["Name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(",")
    };
    assert_eq!(world.exchange(&token, "New-TransportRule", rule("one")).await.status, 200);
    assert_eq!(names().await, "", "not yet seen");
    let again = world.exchange(&token, "New-TransportRule", rule("one")).await;
    assert!(again.text.contains("already exists"), "{}", again.text);
    let portal = world.portal("Get-TransportRule", json!({})).await.json();
    assert_eq!(portal[0]["Name"], "one", "the scenario itself sees the truth");
    world.advance(40).await;
    assert_eq!(world.exchange(&token, "New-TransportRule", rule("two")).await.status, 200);
    world.advance(30).await;
    assert_eq!(names().await, "one", "seventy seconds after the first, thirty after the second");
    world.advance(31).await;
    assert_eq!(names().await, "one,two");
    let gone = json!({"Identity": "one", "Confirm": false});
    assert_eq!(world.exchange(&token, "Remove-TransportRule", gone.clone()).await.status, 200);
    assert_eq!(names().await, "one,two", "what is gone is still shown");
    assert_eq!(world.exchange(&token, "Remove-TransportRule", gone).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_graph_lag_and_writers_do_not() {
    let world = World::start().await;
    let (app, _) = admin(&world).await;
    let token = world.token(&app, GRAPH).await;
    world.switches(json!({"graph_replication_delay_secs": 60})).await;
    let at = |path: &str| format!("{}/v1.0{path}", world.sim.endpoints.graph);
    let domain = json!({"id": "t-1.vendor.example"});
    assert_eq!(world.post(&token, &at("/domains"), domain.clone()).await.status, 201);
    assert_eq!(world.graph(&token, "/domains/t-1.vendor.example").await.status, 404, "not yet seen");
    assert_eq!(world.post(&token, &at("/domains"), domain).await.status, 409);
    let made = world.post(&token, &at("/applications"), json!({"displayName": "Late"})).await.json();
    let path = format!("/applications/{}", made["id"].as_str().unwrap());
    assert_eq!(world.graph(&token, &path).await.status, 404);
    assert_eq!(world.graph_portal("GET", &path, Value::Null).await.status, 200, "the scenario itself sees the truth");
    world.advance(61).await;
    assert_eq!(world.graph(&token, "/domains/t-1.vendor.example").await.status, 200);
    assert_eq!(world.graph(&token, &path).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_if_changes_nothing() {
    let world = World::start().await;
    let (_, token) = admin(&world).await;
    let mut only_asked = rule("asked");
    only_asked["WhatIf"] = true.into();
    assert_eq!(world.exchange(&token, "New-TransportRule", only_asked).await.status, 200);
    assert!(world.exchange(&token, "Get-TransportRule", json!({})).await.rows().is_empty());
}

/// The dangerous case: said 504, and it was done.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_may_be_carried_out_although_504_is_said() {
    let world = World::start().await;
    let (app, token) = admin(&world).await;
    world
        .control(
            "/faults",
            json!({"door": "exchange", "matching": "New-TransportRule", "answer": "504", "after": true, "times": 1}),
        )
        .await;
    assert_eq!(world.exchange(&token, "New-TransportRule", rule("done")).await.status, 504);
    assert!(world.exchange(&token, "New-TransportRule", rule("done")).await.text.contains("already exists"));
    world.control("/faults", json!({"door": "exchange", "answer": "504", "times": 1})).await;
    assert_eq!(world.exchange(&token, "New-TransportRule", rule("undone")).await.status, 504);
    assert_eq!(world.exchange(&token, "New-TransportRule", rule("undone")).await.status, 200);
    let graph = world.token(&app, GRAPH).await;
    let at = format!("{}/v1.0/domains", world.sim.endpoints.graph);
    world
        .control(
            "/faults",
            json!({"door": "graph", "matching": "POST /v1.0/domains", "answer": "503", "after": true, "times": 1}),
        )
        .await;
    assert_eq!(world.post(&graph, &at, json!({"id": "x.vendor.example"})).await.status, 503);
    assert_eq!(world.post(&graph, &at, json!({"id": "x.vendor.example"})).await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_exchanges_own_forms_of_trouble() {
    let world = World::start().await;
    let (_, token) = admin(&world).await;
    world.control("/faults", json!({"door": "exchange", "answer": "timeout", "after": true, "times": 1})).await;
    let waiting = world.exchange(&token, "New-TransportRule", rule("silent"));
    assert!(tokio::time::timeout(Duration::from_millis(500), waiting).await.is_err(), "there is no answer");
    assert!(world.exchange(&token, "New-TransportRule", rule("silent")).await.text.contains("already exists"));
    let mut told = Vec::new();
    for answer in ["concurrency", "transient"] {
        world.control("/faults", json!({"door": "exchange", "answer": answer, "times": 1})).await;
        let told_now = world.exchange(&token, "Get-TransportRule", json!({})).await;
        told.push(format!("{} {}", told_now.status, told_now.text));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn weather_is_at_the_doors() {
    let world = World::start().await;
    let (app, token) = admin(&world).await;
    world.switches(json!({"exo_transient_rate": 0.5})).await;
    let mut statuses = std::collections::BTreeMap::<u16, u32>::new();
    for _ in 0..60 {
        *statuses.entry(world.exchange(&token, "Get-ArcConfig", json!({})).await.status).or_default() += 1;
    }
    assert!((15..45).contains(&statuses[&200]), "{statuses:?}");
    assert!(statuses[&503] > 0 && statuses[&504] > 0 && statuses[&400] > 0, "{statuses:?}");
    world.switches(json!({"exo_transient_rate": 1.0, "transient_after_rate": 1.0})).await;
    assert_eq!(world.exchange(&token, "New-TransportRule", rule("lost answer")).await.status, 504);
    let rules = world.portal("Get-TransportRule", json!({})).await.json();
    assert_eq!(rules[0]["Name"], "lost answer", "it was carried out");
    world.switches(json!({"exo_transient_rate": 0.0, "graph_transient_rate": 1.0})).await;
    let graph = world.token(&app, GRAPH).await;
    assert!([503, 504].contains(&world.graph(&graph, "/domains").await.status));
    world.switches(json!({"graph_transient_rate": 0.0, "throttle_rate": 1.0})).await;
    for answer in [world.graph(&graph, "/domains").await, world.exchange(&token, "Get-ArcConfig", json!({})).await] {
        assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (429, "1"));
    }
}
