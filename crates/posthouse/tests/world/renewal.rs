//! Credentials, certificates and secrets are renewed by plan, and mail notices nothing of it; many tenants by one file.

use crate::harness::World;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn run(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = world.command(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

fn plan(world: &World) -> Value {
    let output = world.command(&["--json", "plan", "contoso"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn apply(world: &World) -> String {
    let plan = plan(world);
    let (code, text) = run(world, &["apply", "contoso", "--plan", plan["id"].as_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}\n{plan:#}");
    text
}

fn message(id: &str) -> Vec<u8> {
    format!("From: pat@acme.example\r\nTo: admin@contoso.example\r\nMessage-ID: <{id}>\r\n\r\nx\r\n").into_bytes()
}

/// Messages from outside one after the other until told to stop; how many there were.
fn stream(world: &World, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    let door = world.door.clone();
    tokio::spawn(async move {
        let mut sent = 0;
        while !stop.load(Ordering::SeqCst) {
            let id = format!("steady-{sent}@acme.example");
            let to = ["admin@contoso.example".to_owned()];
            door.send_from_internet("pat@acme.example", &to, &message(&id), false).await.unwrap();
            sent += 1;
        }
        sent
    })
}

/// Each arrived once, by way of us.
async fn all_came_by(world: &World, sent: usize) {
    assert!(sent > 3, "only {sent} messages were under way");
    assert!(world.door.idle(60).await.unwrap());
    let inbox = world.door.mailbox("admin@contoso.example", false).await.unwrap();
    for n in 0..sent {
        let id = format!("steady-{n}@acme.example");
        assert_eq!(inbox.iter().filter(|m| m.message_id.contains(&id)).count(), 1, "{id} in the mailbox");
        let journeys = world.json(&["trace", "--message-id", &id]);
        let all = journeys.as_array().unwrap();
        assert!(all.iter().any(|j| j["outcome"] == "handed_back"), "{id}: {journeys}");
        assert!(all.iter().all(|j| j["visits"] == 1), "{id} went round: {journeys}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_ends_is_renewed_by_plan_while_mail_flows() {
    let world = World::connected().await;
    let application = |world: &World| plan(world)["changes"].as_array().unwrap().len();
    assert_eq!(application(&world), 0);
    let token = async || world.exchange("Get-TransportRule", json!({})).await[0]["SetHeaderValue"].clone();
    let (before, stop) = (token().await, Arc::new(AtomicBool::new(false)));
    let streaming = stream(&world, stop.clone());
    let (code, text) = run(&world, &["tenant", "rotate", "contoso", "application", "certificate", "secrets"]);
    assert_eq!(code, Some(0), "{text}");
    let wished = plan(&world);
    let objects: Vec<&str> =
        wished["changes"].as_array().unwrap().iter().map(|c| c["object"].as_str().unwrap()).collect();
    assert_eq!(
        objects,
        [
            "certificate of the application",
            "return certificate contoso.connect.posthouse.example",
            "mail flow rule “Posthouse inbound”",
            "mail flow rule “Posthouse outbound”"
        ]
    );
    assert!(!wished.to_string().contains(before.as_str().unwrap()), "a plan tells a secret");
    apply(&world);
    assert_ne!(token().await, before, "the rule stamps the old secret");
    assert_eq!(application(&world), 0, "{:#}", plan(&world));
    stop.store(true, Ordering::SeqCst);
    all_came_by(&world, streaming.await.unwrap()).await;
    // the application signs in with the new certificate; the old one is still beside it
    let (code, text) = run(&world, &["watch", "contoso"]);
    assert_eq!(code, Some(0), "{text}");
    let listed = graph(&world, "GET", "/applications").await;
    let ours = listed["value"].as_array().unwrap().iter().find(|a| a["displayName"] == "Posthouse Mail Flow").unwrap();
    assert_eq!(ours["keyCredentials"].as_array().unwrap().len(), 2, "{ours}");
    let (code, text) = run(&world, &["tenant", "rotate", "contoso", "secrets"]);
    assert_eq!(code, Some(0), "a second rotation: {text}");
}

/// The rules of before are in effect for another minute: what carries their token is taken, and what goes back carries
/// the mark that they know.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_written_only_when_the_rules_know_it() {
    let world = World::connected().await;
    world.door.patch("/switches", json!({"rule_effective_delay_secs": 60})).await.unwrap();
    assert_eq!(run(&world, &["tenant", "rotate", "contoso", "secrets"]).0, Some(0));
    let stop = Arc::new(AtomicBool::new(false));
    let streaming = stream(&world, stop.clone());
    let id = plan(&world)["id"].as_str().unwrap().to_owned();
    let mut applying = world
        .command(&["--json", "apply", "contoso", "--plan", &id])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(applying.stdout.take().unwrap()));
    let waited = tokio::task::spawn_blocking(move || {
        lines.map_while(Result::ok).find(|line| line.contains("until the rule that knows the new secret"))
    });
    assert!(waited.await.unwrap().is_some(), "it did not wait for the rules");
    world.door.post("/clock/advance", json!({"secs": 120})).await.unwrap();
    let code = tokio::task::spawn_blocking(move || applying.wait().unwrap().code()).await.unwrap();
    assert_eq!(code, Some(0));
    stop.store(true, Ordering::SeqCst);
    all_came_by(&world, streaming.await.unwrap()).await;
}

async fn graph(world: &World, method: &str, path: &str) -> Value {
    let tenant = world.tenant_id(0);
    let answer =
        world.door.post(&format!("/tenants/{tenant}/graph"), json!({"method": method, "path": path})).await.unwrap();
    if answer["body"].is_object() { answer["body"].clone() } else { answer }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tenants_follow_a_file_ring_by_ring() {
    let world = World::connected().await;
    let (ok, events) = world.connect(1).await;
    assert!(ok, "{}", events.join("\n"));
    let file = world.config.with_file_name("tenants.toml");
    let write = |contoso: &str, tailspin: &str| {
        let text = format!(
            "rings = [\"pilot\", \"everybody\"]\n[[tenant]]\nname = \"tailspin.example\"\nring = \"pilot\"\n{tailspin}\n[[tenant]]\nname = \"contoso\"\nring = \"everybody\"\n{contoso}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    let by_file = |more: &[&str]| run(&world, &[&["tenant", "apply", "--file", file.to_str().unwrap()], more].concat());
    write("", "");
    assert_eq!(by_file(&[]).0, Some(0));
    write("outbound = \"off\"", "inbound = \"audit\"");
    let (code, text) = by_file(&[]);
    assert!(code == Some(2) && text.contains("ring pilot") && text.contains("Audit"), "{text}");
    let state = async |tenant: usize, rule: usize, key: &str| -> Value {
        let id = world.tenant_id(tenant);
        let asked = json!({"cmdlet": "Get-TransportRule", "parameters": {}});
        world.door.post(&format!("/tenants/{id}/exchange"), asked).await.unwrap()[rule][key].clone()
    };
    assert_eq!(state(1, 0, "Mode").await, "Enforce", "shown, and done all the same");
    assert_eq!(by_file(&["--ring", "pilot", "--yes"]).0, Some(0));
    assert_eq!((state(1, 0, "Mode").await, state(0, 1, "State").await), (json!("Audit"), json!("Enabled")));
    // a ring that does not come through keeps the next from beginning
    write("outbound = \"off\"", "inbound = \"pilot\"\npilot_groups = [\"nobody@tailspin.example\"]");
    let (code, text) = by_file(&["--yes"]);
    assert!(code == Some(1) && text.contains("nobody@tailspin.example") && text.contains("no later ring"), "{text}");
    assert_eq!(state(0, 1, "State").await, "Enabled");
    write("outbound = \"off\"", "");
    assert_eq!(by_file(&["--yes"]).0, Some(0));
    assert_eq!(state(0, 1, "State").await, "Disabled");
    assert_eq!(by_file(&[]).0, Some(0));
}

/// As an administrator adds a domain in the portal.
async fn gain(world: &World, domain: &str) {
    let tenant = world.tenant_id(0);
    let ask = async |method: &str, path: &str, body: Value| {
        let asked = json!({"method": method, "path": path, "body": body});
        let answer = world.door.post(&format!("/tenants/{tenant}/graph"), asked).await.unwrap();
        if answer["body"].is_object() { answer["body"].clone() } else { answer }
    };
    ask("POST", "/domains", json!({"id": domain})).await;
    let records = ask("GET", &format!("/domains/{domain}/verificationDnsRecords"), Value::Null).await;
    let proof = records["value"].as_array().unwrap().iter().find_map(|r| r["text"].as_str()).unwrap().to_owned();
    world.door.post("/dns/record", json!({"name": domain, "type": "TXT", "values": [proof]})).await.unwrap();
    ask("POST", &format!("/domains/{domain}/verify"), json!({})).await;
    ask("PATCH", &format!("/domains/{domain}"), json!({"supportedServices": ["Email"]})).await;
}

/// A domain that came after connecting: told, routed by the next plan, and until then nobody's mail is refused for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_the_tenant_gains_is_told_and_covered() {
    let world = World::connected().await;
    gain(&world, "wingtip.example").await;
    let (code, text) = run(&world, &["watch", "contoso"]);
    assert!(code == Some(2) && text.contains("wingtip.example") && text.contains("Medium"), "{text}");
    let list = world.json(&["tenant", "list"]);
    assert!(list[0]["domains"].to_string().contains("wingtip.example"), "{list}");
    apply(&world);
    let rules = world.exchange("Get-TransportRule", json!({})).await;
    assert!(rules[0]["RecipientDomainIs"].to_string().contains("wingtip.example"), "{rules}");
    assert_eq!(run(&world, &["watch", "contoso"]).0, Some(0));
}
