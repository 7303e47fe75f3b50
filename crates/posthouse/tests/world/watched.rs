//! What the tests of the running watch share: a world that is looked at every second, other people who change things,
//! and the alerts that come of it.

use crate::harness::{World, until};
use jiff::Timestamp;
use serde_json::{Value, json};

pub const ADDRESS: &str = "203.0.113.9";

/// `[watch]` as the test needs it; the gateway starts again with it.
pub async fn rhythm(world: &mut World, settings: &str) {
    let before = std::fs::read_to_string(&world.config).unwrap();
    let (rest, _) = before.split_once("[watch]").unwrap();
    std::fs::write(&world.config, format!("{rest}[watch]\n{settings}\n")).unwrap();
    world.restart_gateway().await;
}

/// Connected, looked at every second.
pub async fn watched() -> World {
    let mut world = World::connected().await;
    rhythm(&mut world, "every_secs = 1\nfeed_secs = 1").await;
    world
}

pub async fn switches(world: &World, change: Value) {
    world.door.patch("/switches", change).await.unwrap();
}

/// Somebody else at the Exchange door.
pub async fn theirs(world: &World, by: &str, cmdlet: &str, parameters: &Value) {
    let body = json!({"cmdlet": cmdlet, "parameters": parameters, "by": by, "client_ip": ADDRESS});
    let path = format!("/tenants/{}/exchange", world.tenant_id(0));
    world.door.post(&path, body).await.unwrap_or_else(|e| panic!("{cmdlet} {parameters}: {e:#}"));
}

/// Somebody else at Graph's.
pub async fn graph(world: &World, tenant: usize, by: &str, method: &str, path: &str, body: Value) -> Value {
    let sent = json!({"method": method, "path": path, "body": body, "by": by, "client_ip": ADDRESS});
    let door = format!("/tenants/{}/graph", world.tenant_id(tenant));
    world.door.post(&door, sent).await.unwrap_or_else(|e| panic!("{method} {path}: {e:#}"))
}

/// Ids of our application and of its service principal.
pub async fn application(world: &World, tenant: usize) -> (String, String) {
    let id = async |list: &str| {
        let all = graph(world, tenant, "reader", "GET", list, Value::Null).await;
        let all = all.as_array().or_else(|| all["value"].as_array()).cloned().unwrap();
        let ours = all.iter().find(|a| a["displayName"] == "Posthouse Mail Flow").unwrap_or_else(|| panic!("{all:?}"));
        ours["id"].as_str().unwrap().to_owned()
    };
    (id("/applications").await, id("/servicePrincipals").await)
}

/// Alerts that are not over, the newest first.
pub fn open_alerts(world: &World) -> Vec<Value> {
    let all = world.json(&["alerts", "--all"]);
    all.as_array().unwrap().iter().filter(|a| a["ended"].is_null()).cloned().collect()
}

pub fn about(world: &World, object: &str) -> Option<Value> {
    open_alerts(world).into_iter().find(|a| a["subject"].as_str().unwrap().contains(object))
}

pub async fn alerted(world: &World, object: &str) -> Value {
    until(&format!("an alert about {object}"), async || about(world, object).is_some()).await;
    about(world, object).unwrap()
}

pub async fn all_over(world: &World) {
    let tampered = || open_alerts(world).into_iter().filter(|a| a["kind"] != "healed").collect::<Vec<_>>();
    until("the end of all alerts", async || tampered().is_empty()).await;
}

pub fn time(alert: &Value, key: &str) -> Timestamp {
    alert[key].as_str().unwrap().parse().unwrap()
}

pub fn text(alert: &Value) -> &str {
    alert["text"].as_str().unwrap()
}

/// A message from outside, and one to the outside, arrive and stand in our journal.
pub async fn mail_flows(world: &World, name: &str) {
    let people = world.json_directory_addresses().await;
    let user = &people[1];
    let raw = format!("From: pat@acme.example\r\nTo: {user}\r\nMessage-ID: <in-{name}@acme.example>\r\n\r\nx\r\n");
    world.door.send_from_internet("pat@acme.example", std::slice::from_ref(user), raw.as_bytes(), false).await.unwrap();
    let raw = format!("From: {user}\r\nTo: pat@acme.example\r\nMessage-ID: <out-{name}@contoso.example>\r\n\r\nx\r\n");
    world.door.submit(&world.tenant_id(0), user, &["pat@acme.example".into()], raw.as_bytes()).await.unwrap();
    for (id, to, outside) in [
        (format!("in-{name}@acme.example"), user.as_str(), false),
        (format!("out-{name}@contoso.example"), "pat@acme.example", true),
    ] {
        until(&format!("{id} to arrive"), async || {
            world.door.mailbox(to, outside).await.is_ok_and(|all| all.iter().any(|m| m.message_id.contains(&id)))
        })
        .await;
        until(&format!("{id} in the journal"), async || {
            !world.json(&["trace", "--message-id", &id]).as_array().unwrap().is_empty()
        })
        .await;
    }
}
