//! People who forward, answer, move and delete, and Microsoft's own purge.

use crate::door::World;
use crate::mail::{ADMIN, GRAPH, raw};
use serde_json::{Value, json};

const GRACE: &str = "grace.hopper@contoso.example";

#[tokio::test(flavor = "multi_thread")]
async fn forwards_and_answers_carry_the_thread_and_the_content() {
    let world = World::start().await;
    let app = world.app(&["Mail.Read"], false).await;
    let token = world.token(&app, GRAPH).await;
    world.deliver(&[ADMIN], &raw("one@acme.example", "Invoice")).await;
    let sent = world.act(json!({"user": ADMIN, "act": "forward", "to": [GRACE], "message": "one@acme.example"})).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    world.idle().await;
    let forwarded =
        world.graph(&token, &format!("/users/{GRACE}/messages?$expand=attachments")).await.rows()[0].clone();
    assert_eq!(
        (&forwarded["subject"], &forwarded["internetMessageId"]),
        (&json!("FW: Invoice"), &sent.json()["message_id"])
    );
    assert!(forwarded["body"]["content"].as_str().unwrap().contains("http://bad.example/"));
    assert_eq!(forwarded["attachments"][0]["contentBytes"], "JVBERi0=");
    let back = world.act(json!({"user": GRACE, "act": "reply", "text": "Do not open it"})).await;
    assert_eq!(back.status, 200, "{}", back.text);
    world.idle().await;
    let mine = world
        .graph(&token, &format!("/users/{ADMIN}/messages?$select=subject,conversationId,parentFolderId,isRead"))
        .await
        .rows();
    assert_eq!(mine.len(), 3, "what came, what went, what came back");
    assert!(mine.iter().all(|m| m["conversationId"] == mine[0]["conversationId"]), "{mine:?}");
    assert!(mine.iter().any(|m| m["subject"] == "RE: FW: Invoice" && m["isRead"] == false));
    // a report: the message as it is, attached
    let report = json!({"user": ADMIN, "act": "forward_as_attachment", "to": ["info@contoso.example"], "message": "one@acme.example"});
    assert_eq!(world.act(report).await.status, 200);
    world.idle().await;
    let at = "/users/info@contoso.example/messages";
    let got = world.graph(&token, at).await.rows()[0]["id"].as_str().unwrap().to_owned();
    let parts = world.graph(&token, &format!("{at}/{got}/attachments")).await.rows();
    let inner = format!("{at}/{got}/attachments/{}/$value", parts[0]["id"].as_str().unwrap());
    let inner = world.graph(&token, &inner).await;
    assert_eq!(inner.text.trim_end(), raw("one@acme.example", "Invoice").trim_end());
    for (act, status) in [("dance", 400), ("forward", 400)] {
        assert_eq!(world.act(json!({"user": ADMIN, "act": act})).await.status, status, "{act}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_it_everywhere_within_two_days() {
    let world = World::start().await;
    world.deliver(&[ADMIN, GRACE], &raw("one@x.example", "one")).await;
    world.act(json!({"user": GRACE, "act": "read"})).await;
    let zap = format!("/tenants/{}/zap", world.tenant);
    let unread = json!({"message": "<one@x.example>", "to": "junk", "unread_only": true});
    assert_eq!(world.control(&zap, unread).await.json()["moved"], 1);
    assert_eq!(world.all_mail(ADMIN).await[0]["folder"], "junkemail");
    let all = json!({"message": "<one@x.example>", "to": "quarantine"});
    assert_eq!(world.control(&zap, all.clone()).await.json()["moved"], 2);
    assert!(world.all_mail(GRACE).await.is_empty());
    let held = world.control_get(&format!("/tenants/{}/quarantine", world.tenant)).await.json();
    assert_eq!(held.as_array().unwrap().len(), 2);
    world.deliver(&[GRACE], &raw("one@x.example", "one")).await;
    world.advance(49 * 3600).await;
    assert_eq!(world.control(&zap, all).await.json()["moved"], 0);
}

/// What became of everything, without ids that differ from run to run.
async fn habits(seed: u64) -> Vec<String> {
    let world = World::start().await;
    let people = json!({"seed": seed, "read": 0.5, "forward": 0.2, "reply": 0.1, "move": 0.2, "delete": 0.2, "within_secs": 600});
    world.control(&format!("/tenants/{}/people", world.tenant), people).await;
    for n in 0..10 {
        world.deliver(&["*"], &raw(&format!("{n}@x.example"), "plain")).await;
    }
    for _ in 0..20 {
        world.idle().await;
        world.advance(60).await;
    }
    world.idle().await;
    let mut rows = Vec::new();
    let users = world.graph_portal("GET", "/users?$top=999&$select=mail", Value::Null).await.rows();
    for user in users.iter().filter_map(|u| u["mail"].as_str()) {
        for m in world.all_mail(user).await {
            rows.push(format!("{user} {} {} {}", m["message_id"], m["folder"], m["is_read"]));
        }
    }
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn one_seed_is_one_story() {
    let (one, again, other) = (habits(7).await, habits(7).await, habits(8).await);
    assert!(one.len() > 400, "{}", one.len());
    assert!(one.iter().any(|r| r.contains("deleteditems")) && one.iter().any(|r| r.contains("Projects")));
    assert!(one.iter().any(|r| r.contains("fw-")) && one.iter().any(|r| r.contains("re-")));
    assert_eq!(one, again);
    assert_ne!(one, other);
}
