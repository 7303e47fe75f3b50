//! Law 7 with real kills: whatever moment SIGKILL picks, every message is in exactly the right mailboxes or
//! held; duplicates only where the kill fell between Microsoft's acceptance and our answer, and they are counted.

use crate::harness::{World, until};
use std::collections::HashMap;
use std::time::Duration;

const MESSAGES: usize = 2_000;
const KILLS: usize = 12;
const UNDER_WAY: usize = 16;

/// A small generator: the moments of death differ from run to run only by its seed, which is printed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn message(number: usize, to: &str) -> Vec<u8> {
    let body = if number.is_multiple_of(10) {
        ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat()
    } else {
        format!("Message number {number}.\r\n{}", "text ".repeat(200))
    };
    format!("From: Pat <pat@acme.example>\r\nTo: {to}\r\nSubject: number {number}\r\nMessage-ID: <kill-{number}@acme.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n{body}\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_when_the_gateway_is_killed_at_random_moments() {
    let mut world = World::connected().await;
    let seed = std::env::var("KILL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(u64::from(std::process::id()));
    println!("KILL_SEED={seed}");
    let mut dice = Dice(seed);
    let people: Vec<String> = world.json_directory_addresses().await;
    let sender = {
        let (door, people) = (world.door.clone(), people.clone());
        tokio::spawn(async move {
            for first in (0..MESSAGES).step_by(UNDER_WAY) {
                let mut under_way = tokio::task::JoinSet::new();
                for number in first..(first + UNDER_WAY).min(MESSAGES) {
                    let (door, to) = (door.clone(), people[number % people.len()].clone());
                    under_way.spawn(async move {
                        door.send_from_internet(
                            "pat@acme.example",
                            std::slice::from_ref(&to),
                            &message(number, &to),
                            false,
                        )
                        .await
                        .unwrap();
                    });
                }
                while let Some(done) = under_way.join_next().await {
                    done.unwrap();
                }
            }
        })
    };
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(300 + dice.roll(900))).await; // the moment of death, not a wait
        world.restart_gateway().await;
        world.door.post("/queue/retry", serde_json::json!({})).await.unwrap();
    }
    sender.await.unwrap();
    until("an empty queue", async || {
        world.door.post("/queue/retry", serde_json::json!({})).await.unwrap();
        world.door.idle(30).await.unwrap();
        world.door.get("/queue", &[]).await.unwrap().as_array().is_some_and(Vec::is_empty)
    })
    .await;
    check(&world, &people).await;
}

async fn check(world: &World, people: &[String]) {
    let held = world.json(&["held", "list"]);
    let mut times_held: HashMap<String, usize> = HashMap::new();
    for one in held.as_array().unwrap() {
        *times_held.entry(one["message_id"].as_str().unwrap().trim_matches(['<', '>']).to_owned()).or_default() += 1;
    }
    let mut delivered: HashMap<String, Vec<String>> = HashMap::new();
    for address in people {
        for stored in world.door.mailbox(address, false).await.unwrap() {
            let id = stored.message_id.trim_matches(['<', '>']).to_owned();
            if id.starts_with("kill-") {
                delivered.entry(id).or_default().push(address.clone());
            }
        }
    }
    // Exchange Online's own trace: which messages it had to send again because no answer came
    let mut unanswered: HashMap<String, usize> = HashMap::new();
    for event in world.door.get("/trace", &[]).await.unwrap().as_array().unwrap() {
        if event["event"] == "Defer" {
            *unanswered
                .entry(event["message_id"].as_str().unwrap().trim_matches(['<', '>']).to_owned())
                .or_default() += 1;
        }
    }
    let mut duplicates = 0;
    for number in 0..MESSAGES {
        let (id, right) = (format!("kill-{number}@acme.example"), &people[number % people.len()]);
        let boxes = delivered.get(&id).cloned().unwrap_or_default();
        if number % 10 == 0 {
            assert_eq!(boxes, Vec::<String>::new(), "{id} should be held and was delivered");
            assert_eq!(times_held.get(&id), Some(&1), "{id} should be held exactly once");
        } else {
            assert!(!boxes.is_empty(), "{id} is lost");
            assert!(boxes.iter().all(|b| b == right), "{id} is in {boxes:?}, belongs to {right}");
            let again = unanswered.get(&id).copied().unwrap_or(0);
            assert!(
                boxes.len() <= 1 + again,
                "{id} is there {} times, but was sent again only {again} times",
                boxes.len()
            );
            duplicates += boxes.len() - 1;
        }
    }
    println!("{MESSAGES} messages, {KILLS} kills, {} sent again, {duplicates} duplicates", unanswered.len());
    assert!(!unanswered.is_empty(), "no kill fell into the stream: this run shows nothing");
    assert!(duplicates <= KILLS * 2 * UNDER_WAY, "{duplicates} duplicates are more than were under way at the kills");
}
