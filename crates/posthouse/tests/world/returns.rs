//! The way back fails in every way it can: nothing is lost, nobody hears a lie, and the right people are told.

use crate::door::Stored;
use crate::harness::{World, until};
use serde_json::{Value, json};

/// Our gateway's address towards Exchange Online: faults that name it strike on the way back only.
const GATEWAY: &str = "peer=127.0.50.1";

async fn fault(world: &World, door: &str, matching: &str, answer: &str, times: u32) {
    let fault = json!({"door": door, "matching": format!("{matching} && {GATEWAY}"), "answer": answer, "times": times});
    world.door.post("/faults", fault).await.unwrap();
}

async fn send(world: &World, id: &str, to: &[&str]) {
    let raw = format!(
        "From: pat@acme.example\r\nTo: {}\r\nSubject: {id}\r\nMessage-ID: <{id}@acme.example>\r\n\r\nhello\r\n",
        to.join(", ")
    );
    let to: Vec<String> = to.iter().map(|t| (*t).to_owned()).collect();
    world.door.send_from_internet("pat@acme.example", &to, raw.as_bytes(), false).await.unwrap();
    world.door.idle(60).await.unwrap();
}

async fn copies(world: &World, address: &str, id: &str) -> Vec<Stored> {
    let all = world.door.mailbox(address, false).await.unwrap();
    all.into_iter().filter(|m| m.message_id.contains(id)).collect()
}

fn journeys(world: &World, id: &str) -> Vec<Value> {
    world.json(&["trace", "--message-id", &format!("{id}@acme.example")]).as_array().unwrap().clone()
}

fn has_alert(world: &World, kind: &str) -> bool {
    world.json(&["alerts"]).as_array().unwrap().iter().any(|a| a["kind"] == kind)
}

async fn queue(world: &World) -> String {
    world.door.get("/queue", &[]).await.unwrap().to_string()
}

async fn retry(world: &World) {
    world.door.post("/queue/retry", json!({})).await.unwrap();
    world.door.idle(60).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exchange_refuses_for_now_waits_in_exchange() {
    let world = World::connected().await;
    let to = "admin@contoso.example";
    fault(&world, "smtp_data", "", "451 4.7.500 Server busy. Please try again later", 1).await;
    send(&world, "busy", &[to]).await;
    assert!(queue(&world).await.contains("451 4.7.500 Server busy"), "{}", queue(&world).await);
    assert_eq!(copies(&world, to, "busy").await.len(), 0);
    retry(&world).await;
    assert_eq!(copies(&world, to, "busy").await.len(), 1);
    let outcomes: Vec<_> = journeys(&world, "busy").iter().map(|j| j["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("handed_back"), json!("deferred")], "one entry a journey, newest first");
}

/// 5.7.64 speaks of the set-up: a bounce would tell every sender that our operator made a mistake.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_set_up_bounces_nothing_and_raises_an_alert() {
    let world = World::connected().await;
    let to = "admin@contoso.example";
    fault(&world, "smtp_rcpt", "admin@", "550 5.7.64 TenantAttribution; Relay Access Denied [SIM]", 1).await;
    send(&world, "setup", &[to]).await;
    assert!(queue(&world).await.contains("451 4.3.5"), "{}", queue(&world).await);
    assert!(has_alert(&world, "return_configuration"));
    assert!(world.door.mailbox("pat@acme.example", true).await.unwrap().is_empty(), "the sender was bounced");
    assert!(journeys(&world, "setup")[0]["returned"].as_str().unwrap().contains("5.7.64"));
    retry(&world).await;
    assert_eq!(copies(&world, to, "setup").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exchange_refuses_for_good_is_bounced_by_exchange() {
    let world = World::connected().await;
    fault(&world, "smtp_rcpt", "admin@", "550 5.2.2 Mailbox full", 1).await;
    send(&world, "full", &["admin@contoso.example"]).await;
    assert_eq!(queue(&world).await, "[]");
    let bounces = world.door.mailbox("pat@acme.example", true).await.unwrap();
    assert_eq!(bounces.len(), 1);
    assert!(String::from_utf8_lossy(&bounces[0].raw).contains("5.2.2"), "the sender reads Exchange's reason");
    assert_eq!(journeys(&world, "full")[0]["outcome"], "refused");
}

/// The other answers that speak of the set-up, wherever in the dialogue they fall.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_about_the_set_up_is_ever_a_bounce() {
    let world = World::connected().await;
    let to = "admin@contoso.example";
    let answers = [
        ("smtp_mail", "550 5.7.51 TenantInboundAttribution; There is a partner connector configured"),
        ("smtp_rcpt", "550 5.7.68 TenantInboundAttribution; Direct Send not allowed"),
        ("smtp_data", "550 5.7.711 Access denied, bad inbound connector. AS(2204)"),
        ("smtp_data", "550 5.7.705 Access denied, tenant has exceeded threshold"),
    ];
    for (n, (door, answer)) in answers.iter().enumerate() {
        let id = format!("setup-{n}");
        fault(&world, door, "", answer, 1).await;
        send(&world, &id, &[to]).await;
        assert!(queue(&world).await.contains("451 4.3.5"), "{answer}: {}", queue(&world).await);
        retry(&world).await;
        assert_eq!(copies(&world, to, &id).await.len(), 1, "{answer}");
    }
    assert!(world.door.mailbox("pat@acme.example", true).await.unwrap().is_empty(), "the sender was bounced");
}

/// Exchange Online will not hear of a refusal for some: those are held, nobody tries them again, and a person is told.
#[tokio::test(flavor = "multi_thread")]
async fn recipients_refused_for_good_beside_others_wait_for_a_person() {
    let world = World::connected().await;
    let people = world.json_directory_addresses().await;
    let (one, two) = (&people[5], &people[6]);
    fault(&world, "smtp_rcpt", two, "550 5.2.2 Mailbox full", 1).await;
    send(&world, "some", &[one, two]).await;
    assert_eq!(queue(&world).await, "[]");
    assert_eq!((copies(&world, one, "some").await.len(), copies(&world, two, "some").await.len()), (1, 0));
    let held = world.json(&["held", "list"]);
    assert_eq!(held[0]["reason"], "refused_for_good", "{held}");
    assert_eq!(held[0]["envelope"]["recipients"][0]["address"], *two, "{held}");
    let alerts = world.json(&["alerts", "--all"]).to_string();
    assert!(alerts.contains("refused it for good for 1") && alerts.contains("5.2.2"), "{alerts}");
    assert!(world.json(&["held", "release", held[0]["id"].as_str().unwrap()])["released"] == true);
    world.door.idle(60).await.unwrap();
    assert_eq!((copies(&world, one, "some").await.len(), copies(&world, two, "some").await.len()), (1, 1));
}

/// Hop count exceeded: Exchange Online's own words go back, and a person must look.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_exchange_sees_is_told() {
    let world = World::connected().await;
    fault(&world, "smtp_data", "", "554 5.4.14 Hop count exceeded - possible mail loop ATTR34", 1).await;
    send(&world, "hops", &["admin@contoso.example"]).await;
    assert_eq!(journeys(&world, "hops")[0]["outcome"], "refused");
    assert!(has_alert(&world, "loop"));
}

/// One answer cannot say "taken" and "not now": the others are held, and delivered once by their release.
#[tokio::test(flavor = "multi_thread")]
async fn recipients_refused_beside_others_are_held_and_released() {
    let world = World::connected().await;
    let people = world.json_directory_addresses().await;
    let (one, two) = (&people[5], &people[6]);
    fault(&world, "smtp_rcpt", two, "450 4.2.1 Mailbox busy", 1).await;
    send(&world, "mixed", &[one, two]).await;
    assert_eq!(queue(&world).await, "[]");
    assert_eq!((copies(&world, one, "mixed").await.len(), copies(&world, two, "mixed").await.len()), (1, 0));
    let held = world.json(&["held", "list"]);
    assert_eq!(held[0]["reason"], "refused_for_now", "{held}");
    assert_eq!(held[0]["envelope"]["recipients"].as_array().unwrap().len(), 1, "{held}");
    let id = held[0]["id"].as_str().unwrap();
    let released = world.json(&["held", "release", id]);
    assert_eq!(released["released"], true, "{released}");
    world.door.idle(60).await.unwrap();
    let arrived = copies(&world, two, "mixed").await;
    assert_eq!((copies(&world, one, "mixed").await.len(), arrived.len()), (1, 1));
    assert!(!String::from_utf8_lossy(&arrived[0].raw).contains("X-Posthouse-Pass"), "the mark was not taken off");
    assert_eq!(world.json(&["held", "list"]), json!([]));
}

/// Exchange Online hands one message over in parts, each for some of its recipients: one judgement, one item that waits.
#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_one_message_share_one_judgement() {
    let world = World::connected().await;
    let people = world.json_directory_addresses().await;
    let lie = "<a href=\"https://evil.example/x\">www.mybank.example</a>";
    for (id, body) in [("parts-bad", lie), ("parts-good", "hello")] {
        let raw = format!(
            "From: pat@acme.example\r\nTo: all@contoso.example\r\nSubject: {id}\r\nMessage-ID: <{id}@acme.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n{body}\r\n"
        );
        for person in &people[5..8] {
            let to = [person.clone()];
            world.door.send_from_internet("pat@acme.example", &to, raw.as_bytes(), false).await.unwrap();
        }
        world.door.idle(60).await.unwrap();
        let all = journeys(&world, id);
        let judged: Vec<_> = all.iter().filter(|j| j["judged_with"].is_null()).collect();
        assert_eq!((all.len(), judged.len()), (3, 1), "{all:#?}");
        for part in all.iter().filter(|j| !j["judged_with"].is_null()) {
            assert_eq!(part["judged_with"], judged[0]["id"]);
            assert_eq!((&part["findings"], &part["outcome"]), (&judged[0]["findings"], &judged[0]["outcome"]));
        }
    }
    let held = world.json(&["held", "list"]);
    assert_eq!(held.as_array().unwrap().len(), 1, "{held}");
    assert_eq!(held[0]["envelope"]["recipients"].as_array().unwrap().len(), 3, "{held}");
    assert!(world.json(&["held", "release", held[0]["id"].as_str().unwrap()])["released"] == true);
    world.door.idle(60).await.unwrap();
    for person in &people[5..8] {
        assert_eq!(
            (copies(&world, person, "parts-bad").await.len(), copies(&world, person, "parts-good").await.len()),
            (1, 1)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_tried_again() {
    let world = World::connected().await;
    let to = "admin@contoso.example";
    for (door, id) in [("smtp_mail", "dropped-mail"), ("smtp_rcpt", "dropped-rcpt"), ("smtp_data", "dropped-data")] {
        fault(&world, door, "", "drop", 1).await;
        send(&world, id, &[to]).await;
        until("the message in the mailbox", async || {
            retry(&world).await;
            copies(&world, to, id).await.len() == 1
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_gateway_is_down_mail_waits_in_exchange() {
    let mut world = World::connected().await;
    world.gateway.kill();
    send(&world, "down", &["admin@contoso.example"]).await;
    assert!(queue(&world).await.contains("450 4.4.316 Connection refused"), "{}", queue(&world).await);
    world.restart_gateway().await;
    retry(&world).await;
    assert_eq!(copies(&world, "admin@contoso.example", "down").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_message_is_shown_released_and_deleted() {
    let world = World::connected().await;
    let lie = "<a href=\"https://evil.example/x\">www.mybank.example</a>";
    for id in ["held-one", "held-two"] {
        let raw = format!(
            "From: pat@acme.example\r\nSubject: {id}\r\nMessage-ID: <{id}@acme.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n{lie}\r\n"
        );
        let to = ["admin@contoso.example".to_owned()];
        world.door.send_from_internet("pat@acme.example", &to, raw.as_bytes(), false).await.unwrap();
        world.door.idle(60).await.unwrap();
    }
    let held = world.json(&["held", "list"]);
    let id_of = |subject: &str| {
        let found = held.as_array().unwrap().iter().find(|h| h["subject"] == subject).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (id_of("held-one"), id_of("held-two"));
    let raw = world.command(&["held", "show", &one, "--raw"]).output().unwrap().stdout;
    let raw = String::from_utf8_lossy(&raw).into_owned();
    assert!(raw.contains(lie), "{raw}");
    assert!(!raw.contains("X-Posthouse-Route"), "a secret rests on the disk");
    assert_eq!(world.json(&["held", "release", &one])["released"], true);
    world.json(&["held", "delete", &two]);
    world.door.idle(60).await.unwrap();
    assert_eq!(copies(&world, "admin@contoso.example", "held-one").await.len(), 1);
    assert_eq!(copies(&world, "admin@contoso.example", "held-two").await.len(), 0);
    assert_eq!(world.json(&["held", "list"]), json!([]));
    assert!(!world.command(&["held", "release", &one]).output().unwrap().status.success(), "it is gone");
}
