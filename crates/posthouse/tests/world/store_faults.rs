//! The store fails in every way it can: Exchange Online hears 4xx and keeps the mail, nothing is lost, nothing is twice.

use crate::harness::{World, until};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use std::path::PathBuf;

const TO: &str = "admin@contoso.example";

fn data(world: &World) -> PathBuf {
    world.config.parent().unwrap().join("data")
}

fn bad() -> String {
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat()
}

async fn send(world: &World, id: &str, body: &str) {
    let raw = format!(
        "From: pat@acme.example\r\nTo: {TO}\r\nSubject: {id}\r\nMessage-ID: <{id}@acme.example>\r\n\r\n{body}\r\n"
    );
    world.door.send_from_internet("pat@acme.example", &[TO.to_owned()], raw.as_bytes(), false).await.unwrap();
    world.door.idle(60).await.unwrap();
}

async fn copies(world: &World, id: &str) -> usize {
    let all = world.door.mailbox(TO, false).await.unwrap();
    all.into_iter().filter(|m| m.message_id.contains(id)).count()
}

fn held(world: &World, id: &str) -> usize {
    let all = world.json(&["held", "list"]);
    all.as_array().unwrap().iter().filter(|h| h["message_id"].as_str().unwrap().contains(id)).count()
}

async fn queue(world: &World) -> String {
    world.door.get("/queue", &[]).await.unwrap().to_string()
}

async fn comes_through(world: &World, id: &str) {
    until("the message held, once", async || {
        world.door.post("/queue/retry", json!({})).await.unwrap();
        world.door.idle(60).await.unwrap();
        queue(world).await == "[]"
    })
    .await;
    assert_eq!((held(world, id), copies(world, id).await), (1, 0));
    assert!(world.door.mailbox("pat@acme.example", true).await.unwrap().is_empty(), "the sender was bounced");
}

fn told(world: &World) -> bool {
    let alerts = world.json(&["alerts"]);
    alerts.as_array().unwrap().iter().any(|a| a["subject"] == "the store does not work")
}

/// What is clean needs no body and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn the_place_of_bodies_is_gone() {
    let world = World::connected().await;
    let (bodies, away) = (data(&world).join("bodies"), data(&world).join("away"));
    std::fs::rename(&bodies, &away).unwrap();
    std::fs::write(&bodies, "a file where the folder was").unwrap();
    send(&world, "gone", &bad()).await;
    assert!(queue(&world).await.contains("451 4.3.0"), "{}", queue(&world).await);
    send(&world, "clean", "hello").await;
    assert_eq!((copies(&world, "clean").await, copies(&world, "gone").await), (1, 0));
    std::fs::remove_file(&bodies).unwrap();
    std::fs::rename(&away, &bodies).unwrap();
    assert!(told(&world));
    assert_eq!(held(&world, "gone"), 0);
    comes_through(&world, "gone").await;
}

/// Somebody holds the database's lock: a backup that hangs, a second process. What is clean goes on without its story
/// for the moment, and the story is written when it can be.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_locked() {
    let world = World::connected().await;
    let url = format!("sqlite://{}", data(&world).join("posthouse.db").display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    send(&world, "locked", &bad()).await;
    assert!(queue(&world).await.contains("451 4.3"), "{}", queue(&world).await);
    let began = std::time::Instant::now();
    send(&world, "clean", "hello").await;
    assert_eq!(copies(&world, "clean").await, 1);
    assert!(began.elapsed().as_secs() < 8, "a clean message waited {:?} for the journal", began.elapsed());
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    comes_through(&world, "locked").await;
    until("the story of the clean message", async || {
        let told = world.json(&["trace", "--message-id", "clean@acme.example"]);
        told.as_array().is_some_and(|all| all.len() == 1 && all[0]["outcome"] == "handed_back")
    })
    .await;
}

/// No file may grow beyond 8 MiB: every write beyond fails, as on a disk that is full.
#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_room_for_a_body() {
    let mut world = World::connected().await;
    world.restart_gateway_within("trap '' XFSZ; ulimit -f 16384").await;
    let large = format!("{}\r\n{}", bad(), "all work and no play\r\n".repeat(450_000));
    let raw = format!(
        "From: pat@acme.example\r\nTo: {TO}\r\nSubject: full\r\nMessage-ID: <full@acme.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{large}\r\n--b\r\nContent-Type: application/octet-stream; name=x.com\r\n\r\n{}\r\n--b--\r\n",
        bad()
    );
    world.door.send_from_internet("pat@acme.example", &[TO.to_owned()], raw.as_bytes(), false).await.unwrap();
    world.door.idle(60).await.unwrap();
    assert!(queue(&world).await.contains("451 4.3.0"), "{}", queue(&world).await);
    assert!(told(&world));
    send(&world, "clean", "hello").await;
    assert_eq!((copies(&world, "clean").await, held(&world, "full")), (1, 0));
    world.restart_gateway().await;
    comes_through(&world, "full").await;
    let bodies = std::fs::read_dir(data(&world).join("bodies")).unwrap();
    let parts: Vec<_> =
        bodies.map(|f| f.unwrap().file_name()).filter(|n| n.to_string_lossy().ends_with(".part")).collect();
    assert!(parts.len() <= 2, "unfinished bodies pile up: {parts:?}");
}

/// The way back takes the connection and says nothing: our answer comes within the budget, and Exchange Online keeps
/// the mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_is_silent_costs_no_more_than_the_budget() {
    let mut world = World::connected().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let before = std::fs::read_to_string(&world.config).unwrap();
    let port = |line: &str| line.starts_with("return_port");
    let ours = format!("return_port = {}\nbudget_secs = 2", silent.local_addr().unwrap().port());
    let changed: Vec<&str> = before.lines().map(|line| if port(line) { ours.as_str() } else { line }).collect();
    std::fs::write(&world.config, changed.join("\n")).unwrap();
    world.restart_gateway().await;
    let began = std::time::Instant::now();
    send(&world, "silent", "hello").await;
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    let waiting: Value = world.door.get("/queue", &[]).await.unwrap();
    assert!(waiting.to_string().contains("451 4.3.2") || waiting.to_string().contains("451 4.4.1"), "{waiting}");
    std::fs::write(&world.config, before).unwrap();
    world.restart_gateway().await;
    until("the message in the mailbox", async || {
        world.door.post("/queue/retry", json!({})).await.unwrap();
        world.door.idle(60).await.unwrap();
        copies(&world, "silent").await == 1
    })
    .await;
}
