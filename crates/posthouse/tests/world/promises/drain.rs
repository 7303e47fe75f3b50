//! Disconnecting while mail comes in: rules stay in effect for a while after they were switched off, and what was
//! routed by them still finds its way back.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_while_a_tenant_is_disconnected() {
    let world = World::connected().await;
    world.door.patch("/switches", json!({"rule_effective_delay_secs": 60})).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let clock = weather::hasten(&world, &over, 1, 100);
    let sender = {
        let (door, over) = (world.door.clone(), over.clone());
        tokio::spawn(async move {
            let (mut count, to) = (0, ["admin@contoso.example".to_owned()]);
            while !over.load(Ordering::Relaxed) {
                let raw = format!("From: pat@acme.example\r\nMessage-ID: <drain-{count}@acme.example>\r\n\r\nx\r\n");
                let reply = door.send_from_internet("pat@acme.example", &to, raw.as_bytes(), false).await.unwrap();
                assert!(reply.to_string().contains("250"), "{reply}");
                count += 1;
                // the pace of the mail, not a wait
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            count
        })
    };
    let said = disconnect(&world).await;
    over.store(true, Ordering::Relaxed);
    let count = sender.await.unwrap();
    clock.await.unwrap();
    assert!(said.contains("mail is still under way"), "it did not wait: {said}");
    let order = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
    assert!(order("still under way") < order("remove inbound connector"));
    world.door.post("/queue/retry", json!({})).await.unwrap();
    assert!(world.door.idle(30).await.unwrap(), "mail is stuck");
    let mailbox = world.door.mailbox("admin@contoso.example", false).await.unwrap();
    for n in 0..count {
        let id = format!("drain-{n}@acme.example");
        let copies = mailbox.iter().filter(|m| m.message_id.trim_matches(['<', '>']) == id).count();
        assert_eq!(copies, 1, "{id} of {count}");
    }
    let journeys = world.json(&["trace", "--address", "pat@acme.example", "--limit", "5000"]);
    let came_by = list(&journeys).len();
    assert!(came_by > 10 && came_by < count, "{came_by} of {count} came by");
    assert_eq!(world.door.mailbox("pat@acme.example", true).await.unwrap().len(), 0, "something bounced");
}
