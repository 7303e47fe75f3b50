//! Outside scanners that fail, and lists: mail goes on as the operator and the tenant chose, and nothing is lost.

use crate::harness::{World, until};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TO: &str = "admin@contoso.example";

async fn configured(sections: &str) -> World {
    let mut world = World::connected().await;
    let before = std::fs::read_to_string(&world.config).unwrap();
    std::fs::write(&world.config, format!("{before}{sections}")).unwrap();
    world.restart_gateway().await;
    world
}

fn clamd(at: &str, more: &str) -> String {
    format!("[[engine]]\nkind = \"clamd\"\naddress = \"{at}\"\nbudget_millis = 300\n{more}\n")
}

/// An address at which nobody is yet.
fn nowhere() -> String {
    format!("127.0.0.1:{}", engines::started::free_port())
}

/// Says of everything that it is clean, as clamd does, and counts what it was asked but for Posthouse's own question.
async fn clean(at: &str) -> Arc<AtomicUsize> {
    let (listener, asked) = (TcpListener::bind(at).await.unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let count = count.clone();
            tokio::spawn(async move {
                let mut question = Vec::new();
                while !question.ends_with(&[0; 4]) && !question.starts_with(b"zVERSION\0") {
                    if socket.read_buf(&mut question).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let text = String::from_utf8_lossy(&question);
                assert!(!text.contains("X-Posthouse-"), "secrets were told: {text}");
                count.fetch_add(usize::from(text.contains("acme.example")), Ordering::Relaxed);
                let version = text.starts_with("zVERSION");
                let _ = socket.write_all(if version { b"ClamAV 1.0/1/x\0" } else { b"stream: OK\0" }).await;
            });
        }
    });
    asked
}

async fn send(world: &World, id: &str, to: &str, body: &str) {
    let raw = format!(
        "From: pat@acme.example\r\nTo: all@contoso.example\r\nSubject: {id}\r\nMessage-ID: <{id}@acme.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n{body}\r\n"
    );
    world.door.send_from_internet("pat@acme.example", &[to.to_owned()], raw.as_bytes(), false).await.unwrap();
    world.door.idle(60).await.unwrap();
}

async fn arrived(world: &World, id: &str) -> Vec<String> {
    let all = world.door.mailbox(TO, false).await.unwrap();
    let ours = all.into_iter().filter(|m| m.message_id.contains(id));
    ours.map(|m| String::from_utf8_lossy(&m.raw).into_owned()).collect()
}

fn held(world: &World, id: &str) -> usize {
    let all = world.json(&["held", "list"]);
    all.as_array().unwrap().iter().filter(|h| h["message_id"].as_str().unwrap().contains(id)).count()
}

fn told(world: &World, subject: &str) -> usize {
    let alerts = world.json(&["alerts"]);
    alerts.as_array().unwrap().iter().filter(|a| a["kind"] == "engine" && a["subject"] == subject).count()
}

/// How the gateway sees its scanners, and the exit code.
fn shown(world: &World) -> (Value, i32) {
    let output = world.command(&["--json", "engines"]).output().unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.code().unwrap())
}

/// The tenant refuses the unjudged: mail waits at Exchange Online until the scanner is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_that_is_needed_and_down_has_mail_wait() {
    let at = nowhere();
    let world = configured(&clamd(&at, "")).await;
    send(&world, "waits", TO, "hello").await;
    let queue: Value = world.door.get("/queue", &[]).await.unwrap();
    assert!(queue.to_string().contains("451 4.3.0"), "{queue}");
    assert_eq!(arrived(&world, "waits").await.len(), 0);
    // what the others find needs no other opinion
    let bad = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat();
    send(&world, "bad", TO, &bad).await;
    assert_eq!(held(&world, "bad"), 1);
    until("the alert", async || told(&world, "the scanner clamd fails") == 1).await;
    let (seen, code) = shown(&world);
    assert_eq!((&seen["engines"][0]["state"], code), (&json!("failing"), 2), "{seen}");
    let (_, page) = world.page("/metrics").await;
    assert!(page.contains("posthouse_engines{engine=\"clamd\",state=\"failing\"} 1"), "{page}");
    assert!(page.contains("posthouse_engine_faults_total{engine=\"clamd\""), "{page}");
    clean(&at).await;
    until("the message in the mailbox", async || {
        world.door.post("/queue/retry", json!({})).await.unwrap();
        world.door.idle(60).await.unwrap();
        arrived(&world, "waits").await.len() == 1
    })
    .await;
    until("the good news", async || told(&world, "the scanner clamd works again") == 1).await;
    let (seen, code) = shown(&world);
    let engine = &seen["engines"][0];
    assert_eq!(
        (&engine["state"], &engine["version"], code),
        (&json!("healthy"), &json!("ClamAV 1.0/1/x"), 0),
        "{seen}"
    );
    assert_eq!(told(&world, "the scanner clamd fails"), 1);
}

/// Whatever the tenant chose: marked as unjudged, and told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_that_may_be_missing_lets_mail_pass_marked() {
    let at = nowhere();
    let world = configured(&clamd(&at, "on_fault = \"pass\"")).await;
    send(&world, "passes", TO, "hello").await;
    let seen = arrived(&world, "passes").await;
    assert_eq!(seen.len(), 1, "it did not pass");
    let story = world.json(&["trace", "--message-id", "passes@acme.example"]);
    assert_eq!((&story[0]["judged"], &story[0]["engines"][0]["engine"]), (&json!(false), &json!("clamd")), "{story}");
    assert!(story[0]["engines"][0]["fault"].as_str().unwrap().contains("cannot be reached"), "{story}");
    let (_, page) = world.page("/metrics").await;
    assert!(page.contains("verdict=\"unjudged\",category=\"clean\"} 1"), "{page}");
    // a clean one, and its parts: asked once
    let asked = clean(&at).await;
    until("the scanner in use", async || shown(&world).0["engines"][0]["state"] == "healthy").await;
    let people = world.json_directory_addresses().await;
    for person in &people[5..8] {
        send(&world, "parts", person, "hello").await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let parts = world.json(&["trace", "--message-id", "parts@acme.example"]);
    let whole =
        parts.as_array().unwrap().iter().filter(|p| p["judged"] == true && p["outcome"] == "handed_back").count();
    assert_eq!(whole, 3, "{parts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_address_is_held_and_a_list_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.txt");
    std::fs::write(&file, "# ours\nlisted.example\n").unwrap();
    let list = format!("[[list]]\nname = \"ours\"\nkind = \"url\"\nsource = \"{}\"\n", file.display());
    let world = configured(&list).await;
    send(&world, "bad", TO, "<a href=https://a.listed.example/x>go</a>").await;
    send(&world, "good", TO, "<a href=https://other.example/x>go</a>").await;
    assert_eq!((held(&world, "bad"), held(&world, "good"), arrived(&world, "good").await.len()), (1, 0, 1));
    let story = world.json(&["trace", "--message-id", "bad@acme.example"]);
    assert_eq!(
        story[0]["findings"][0]["summary"],
        "a link leads to \"listed.example\", which stands on the list \"ours\""
    );
    let (seen, code) = shown(&world);
    assert_eq!((&seen["lists"][0]["entries"], code), (&json!(1), 0), "{seen}");
}
