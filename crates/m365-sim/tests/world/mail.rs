//! Messages and folders of a mailbox through Graph.

use crate::door::World;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::time::Instant;

pub const GRAPH: &str = "https://graph.microsoft.com";
pub const ADMIN: &str = "admin@contoso.example";
const FIXED: &str = "Prefer: IdType=\"ImmutableId\"";

pub fn raw(id: &str, subject: &str) -> String {
    format!(
        "From: Pat <pat@acme.example>\r\nTo: <{ADMIN}>\r\nSubject: {subject}\r\nMessage-ID: <{id}>\r\nDate: Mon, 02 Mar 2026 08:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Invoice at <a href=\"http://bad.example/\">here</a></p>\r\n--b\r\nContent-Type: application/pdf; name=\"invoice.pdf\"\r\nContent-Disposition: attachment; filename=\"invoice.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\nSubject: inner\r\n\r\ninside\r\n--b--\r\n"
    )
}

pub async fn token(world: &World, roles: &[&str]) -> String {
    let app = world.app(roles, false).await;
    world.token(&app, GRAPH).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_message_is_found_read_and_byte_identical() {
    let world = World::start().await;
    let token = token(&world, &["Mail.ReadWrite"]).await;
    let mail = json!({"from": "pat@acme.example", "to": [ADMIN], "raw": raw("one@acme.example", "Rechnung")});
    assert_eq!(world.control("/internet/send", mail).await.status, 200);
    world.idle().await;
    let stored = world.all_mail(ADMIN).await;
    let at = format!("/users/{ADMIN}/messages");
    let found =
        world.graph(&token, &format!("{at}?$filter=internetMessageId eq '%3Cone@acme.example%3E'")).await.rows();
    assert_eq!(found.len(), 1);
    let m = &found[0];
    assert_eq!(
        (m["subject"].as_str(), m["from"]["emailAddress"]["address"].as_str(), m["isRead"].as_bool()),
        (Some("Rechnung"), Some("pat@acme.example"), Some(false))
    );
    assert_eq!((m["hasAttachments"].as_bool(), m["body"]["contentType"].as_str()), (Some(true), Some("html")));
    assert_eq!(m["sentDateTime"], "2026-03-02T08:00:00Z");
    let id = m["id"].as_str().unwrap();
    let mime = world.graph(&token, &format!("{at}/{id}/$value")).await;
    assert_eq!(STANDARD.encode(mime.text.as_bytes()), stored[0]["raw_base64"].as_str().unwrap());
    assert_eq!(mime.headers["content-type"], "text/plain");
    let headers = world.graph(&token, &format!("{at}/{id}?$select=internetMessageHeaders")).await.json();
    assert!(headers["internetMessageHeaders"].as_array().unwrap().iter().any(|h| h["name"] == "Received"));
    assert!(headers.get("subject").is_none() && m.get("internetMessageHeaders").is_none());
    // attachments: a file with its bytes, a message with its MIME
    let parts = world.graph(&token, &format!("{at}/{id}/attachments")).await.rows();
    assert_eq!(parts.len(), 2);
    assert_eq!((parts[0]["name"].as_str(), parts[0]["contentBytes"].as_str()), (Some("invoice.pdf"), Some("JVBERi0=")));
    assert_eq!(
        (&parts[1]["@odata.type"], &parts[1]["name"]),
        (&json!("#microsoft.graph.itemAttachment"), &json!("inner"))
    );
    let inner = parts[1]["id"].as_str().unwrap();
    let inner = world.graph(&token, &format!("{at}/{id}/attachments/{inner}/$value")).await;
    assert_eq!(inner.text, "Subject: inner\r\n\r\ninside");
    let with = world.graph(&token, &format!("{at}/{id}?$select=subject&$expand=attachments")).await.json();
    assert_eq!(with["attachments"].as_array().unwrap().len(), 2);
    for (query, count) in [
        ("$filter=receivedDateTime ge 2026-01-01T00:00:00Z and hasAttachments eq true", 1),
        ("$filter=from/emailAddress/address eq 'PAT@acme.example'", 1),
        ("$filter=contains(subject,'rechnung')", 1),
        ("$filter=isRead eq true", 0),
        ("$search=\"subject:rechnung\"", 1),
        ("$search=\"nothing\"", 0),
        ("$top=5&$orderby=receivedDateTime desc", 1),
    ] {
        assert_eq!(world.graph(&token, &format!("{at}?{query}")).await.rows().len(), count, "{query}");
    }
    let complex = world.graph(&token, &format!("{at}?$filter=isRead eq false&$orderby=receivedDateTime")).await;
    assert_eq!((complex.status, complex.json()["error"]["code"].as_str()), (400, Some("InefficientFilter")));
    let wrong = world.graph(&token, &format!("{at}/{}", id.to_lowercase())).await;
    assert_eq!((wrong.status, wrong.json()["error"]["code"].as_str()), (400, Some("ErrorInvalidIdMalformed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_changes_the_usual_id_and_not_the_immutable_one() {
    let world = World::start().await;
    let token = token(&world, &["Mail.ReadWrite"]).await;
    world.deliver(&[ADMIN], &raw("one@x.example", "one")).await;
    let at = format!("/users/{ADMIN}/messages");
    let ask = async |method: &str, path: &str, body: Value, headers: &[&str]| {
        world.ask(&token, method, path, body, headers).await
    };
    let first = ask("GET", &at, Value::Null, &[]).await.rows()[0].clone();
    let fixed = ask("GET", &at, Value::Null, &[FIXED]).await.rows()[0]["id"].as_str().unwrap().to_owned();
    let id = first["id"].as_str().unwrap();
    assert_ne!(id, fixed);
    let path = format!("{at}/{id}");
    // changed where it is: the id stays, the change key does not
    let read = json!({"isRead": true, "categories": ["Held"], "flag": {"flagStatus": "flagged"}});
    let changed = ask("PATCH", &path, read, &[]).await.json();
    assert_eq!(
        (&changed["isRead"], &changed["categories"][0], &changed["id"]),
        (&json!(true), &json!("Held"), &first["id"])
    );
    assert_ne!(changed["changeKey"], first["changeKey"]);
    let stale = format!("If-Match: {}", first["@odata.etag"].as_str().unwrap());
    assert_eq!(ask("DELETE", &path, Value::Null, &[&stale]).await.status, 412);
    let subject = ask("PATCH", &path, json!({"subject": "new"}), &[]).await;
    assert_eq!((subject.status, subject.json()["error"]["code"].as_str()), (400, Some("ErrorInvalidPropertySet")));
    let moved = ask("POST", &format!("{path}/move"), json!({"destinationId": "junkemail"}), &[]).await;
    assert_eq!(moved.status, 201);
    let moved = moved.json();
    assert_ne!(moved["id"], first["id"]);
    let old = ask("GET", &path, Value::Null, &[]).await;
    assert_eq!((old.status, old.json()["error"]["code"].as_str()), (404, Some("ErrorItemNotFound")));
    let same = ask("GET", &format!("{at}/{fixed}"), Value::Null, &[FIXED]).await.json();
    assert_eq!((same["id"].as_str(), same["categories"][0].as_str()), (Some(fixed.as_str()), Some("Held")));
    // both forms say the same
    let both = json!({"inputIds": [moved["id"]], "sourceIdType": "restId", "targetIdType": "restImmutableEntryId"});
    let both = ask("POST", &format!("/users/{ADMIN}/translateExchangeIds"), both, &[]).await.rows();
    assert_eq!(both[0]["targetId"].as_str(), Some(fixed.as_str()));
    // deleted step by step, then for good
    let path = format!("{at}/{fixed}");
    let copy = ask("POST", &format!("{path}/copy"), json!({"destinationId": "inbox"}), &[FIXED]).await;
    assert_eq!((copy.status, copy.json()["id"] == fixed.as_str()), (201, false));
    let folder = async || {
        world.all_mail(ADMIN).await.iter().find(|m| m["immutable_id"] == fixed.as_str()).map(|m| m["folder"].clone())
    };
    assert_eq!(ask("DELETE", &path, Value::Null, &[]).await.status, 204);
    assert_eq!(folder().await, Some(json!("deleteditems")));
    assert_eq!(ask("DELETE", &path, Value::Null, &[]).await.status, 204);
    assert_eq!(folder().await, Some(json!("recoverableitemsdeletions")));
    assert_eq!(ask("GET", &at, Value::Null, &[]).await.rows().len(), 1, "only the copy is still seen");
    let there = format!("/users/{ADMIN}/mailFolders('recoverableitemsdeletions')/messages");
    assert_eq!(ask("GET", &there, Value::Null, &[]).await.rows().len(), 1);
    assert_eq!(ask("DELETE", &path, Value::Null, &[]).await.status, 403, "not from Deletions");
    assert_eq!(ask("POST", &format!("{path}/permanentDelete"), Value::Null, &[]).await.status, 204);
    let back = ask("POST", &format!("{path}/move"), json!({"destinationId": "inbox"}), &[]).await;
    assert_eq!(back.json()["error"]["code"], "ErrorMoveCopyFailed", "what was purged does not come back");
    world.switches(json!({"graph_purges": "hidden"})).await;
    assert_eq!(ask("GET", &path, Value::Null, &[]).await.status, 404);
    let hold = format!("/tenants/{}/mailboxes", world.tenant);
    world.control(&hold, json!({"address": ADMIN, "hold": true})).await;
    world.switches(json!({"hold_permanent_delete": "refuse"})).await;
    let copy = copy.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(ask("POST", &format!("{at}/{copy}/permanentDelete"), Value::Null, &[]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_drafts() {
    let world = World::start().await;
    let token = token(&world, &["Mail.ReadWrite", "Mail.Send"]).await;
    let at = format!("/users/{ADMIN}/mailFolders");
    let ask = async |method: &str, path: &str, body: Value| world.ask(&token, method, path, body, &[]).await;
    let made = ask("POST", &at, json!({"displayName": "Held by gateway", "isHidden": true})).await;
    assert_eq!((made.status, made.json()["isHidden"].as_bool()), (201, Some(true)));
    let again = ask("POST", &at, json!({"displayName": "held BY gateway"})).await;
    assert_eq!((again.status, again.json()["error"]["code"].as_str()), (409, Some("ErrorFolderExists")));
    let named = "$filter=displayName eq 'Held by gateway'";
    assert_eq!(world.graph(&token, &format!("{at}?{named}")).await.rows().len(), 0, "hidden");
    assert_eq!(world.graph(&token, &format!("{at}?includeHiddenFolders=true&{named}")).await.rows().len(), 1);
    let child = format!("{at}/inbox/childFolders");
    let bills = ask("POST", &child, json!({"displayName": "Bills"})).await.json();
    assert_eq!(world.graph(&token, &child).await.rows()[0]["id"], bills["id"]);
    assert_eq!(world.graph(&token, &format!("{at}/inbox")).await.json()["childFolderCount"], 1);
    // an inbox rule puts mail there
    let rules = json!({"address": ADMIN, "rules": [{"subject_contains": "bill", "folder": "Paid"}]});
    assert_eq!(world.control(&format!("/tenants/{}/mailboxes", world.tenant), rules).await.status, 200);
    world.deliver(&[ADMIN], &raw("bill@x.example", "Your Bill")).await;
    assert_eq!(world.all_mail(ADMIN).await[0]["folder"], "Paid");
    // a draft by MIME stays one; by JSON with the flags it is a message that was received
    let mime = STANDARD.encode(raw("mime@x.example", "by MIME"));
    let draft = ask("POST", &format!("/users/{ADMIN}/messages"), Value::String(mime)).await;
    assert_eq!((draft.status, draft.json()["isDraft"].as_bool()), (201, Some(true)));
    let body = json!({"subject": "Notice", "body": {"contentType": "html", "content": "<b>pulled</b>"}, "from": {"emailAddress": {"address": "security@contoso.example"}},
        "toRecipients": [{"emailAddress": {"address": ADMIN}}], "isRead": false,
        "singleValueExtendedProperties": [{"id": "Integer 0x0E07", "value": "4"}, {"id": "SystemTime 0x0E06", "value": "2026-03-02T08:00:00Z"}]});
    let notice = ask("POST", &format!("{at}/inbox/messages"), body).await.json();
    assert_eq!(
        (&notice["isDraft"], &notice["receivedDateTime"], &notice["isRead"]),
        (&json!(false), &json!("2026-03-02T08:00:00Z"), &json!(false))
    );
    // sent, with a copy in Sent Items and one at the recipient's
    let to = "grace.hopper@contoso.example";
    let mail = json!({"message": {"subject": "Hello", "body": {"contentType": "text", "content": "hi"}, "toRecipients": [{"emailAddress": {"address": to}}]}});
    assert_eq!(ask("POST", &format!("/users/{ADMIN}/sendMail"), mail).await.status, 202);
    world.idle().await;
    assert_eq!(world.all_mail(to).await[0]["subject"], "Hello");
    assert!(world.all_mail(ADMIN).await.iter().any(|m| m["folder"] == "sentitems" && m["is_read"] == true));
    let renamed = format!("{at}/{}", bills["id"].as_str().unwrap());
    assert_eq!(ask("PATCH", &renamed, json!({"displayName": "Invoices"})).await.json()["displayName"], "Invoices");
    assert_eq!(
        (ask("DELETE", &renamed, Value::Null).await.status, ask("GET", &renamed, Value::Null).await.status),
        (204, 404)
    );
    assert_eq!(ask("DELETE", &format!("{at}/inbox"), Value::Null).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_messages_in_three_hundred_mailboxes() {
    let world = World::start().await;
    let seed = json!({"users": 300});
    world.control(&format!("/tenants/{}/seed", world.tenant), seed).await;
    let token = token(&world, &["Mail.Read"]).await;
    let began = Instant::now();
    let everybody: Vec<String> = (0..300).map(|n| format!("crowd-{n:05}@contoso.example")).collect();
    let filler = "x".repeat(50_000);
    let mail = format!("{}{filler}\r\n", raw("{n}@bulk.example", "bulk {n}"));
    let before = resident_kib();
    let path = format!("/tenants/{}/deliver", world.tenant);
    let done = world.control(&path, json!({"to": everybody, "raw": mail, "count": 34})).await.json();
    assert_eq!((done["messages"].as_u64(), done["mailboxes"].as_u64()), (Some(34), Some(300)));
    let delivered = began.elapsed();
    let grown = resident_kib().saturating_sub(before);
    let mut seen = 0;
    for address in &everybody {
        let page = world.graph(&token, &format!("/users/{address}/messages?$top=100&$select=id,subject")).await;
        seen += page.rows().len();
    }
    assert_eq!(seen, 10_200);
    println!(
        "10,200 messages of 50 KB delivered in {delivered:?}, listed in {:?}, {grown} KiB more",
        began.elapsed() - delivered
    );
    // 34 messages of 50 KB are 1.7 MB; a copy for each mailbox would be 510 MB
    assert!(grown < 150_000, "{grown} KiB");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:"));
    line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse().ok()).unwrap_or(0)
}
