//! Delta queries over the messages of a folder.

use crate::door::World;
use crate::mail::{ADMIN, raw, token};
use serde_json::{Value, json};

/// Pages until the delta link: their rows and the link.
async fn round(world: &World, token: &str, from: &str, headers: &[&str]) -> (Vec<Value>, String) {
    let (mut rows, mut at) = (Vec::new(), from.to_owned());
    loop {
        let page = world.ask(token, "GET", &at, Value::Null, headers).await;
        rows.extend(page.rows());
        let json = page.json();
        match json["@odata.nextLink"].as_str() {
            Some(next) => at = next.to_owned(),
            None => return (rows, json["@odata.deltaLink"].as_str().unwrap().to_owned()),
        }
    }
}

fn told(rows: &[Value]) -> Vec<String> {
    let mut told: Vec<String> = rows
        .iter()
        .map(|r| match r["@removed"]["reason"].as_str() {
            Some(reason) => format!("-{reason}"),
            None => r["subject"].as_str().unwrap_or("?").to_owned(),
        })
        .collect();
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_tells_what_came_changed_and_left() {
    let world = World::start().await;
    let token = token(&world, &["Mail.Read"]).await;
    for n in 0..25 {
        world.deliver(&[ADMIN], &raw(&format!("{n}@x.example"), &format!("m{n:02}"))).await;
    }
    let fixed = "Prefer: IdType=\"ImmutableId\"";
    let at = format!("/users/{ADMIN}/mailFolders/inbox/messages/delta?$select=subject,isRead");
    world.switches(json!({"delta_empty_pages": true})).await;
    let (rows, link) = round(&world, &token, &at, &["Prefer: odata.maxpagesize=7", fixed]).await;
    assert_eq!(rows.len(), 25);
    assert!(rows[0].get("receivedDateTime").is_none() && rows[0]["id"].is_string());
    let page = world.ask(&token, "GET", &at, Value::Null, &["Prefer: odata.maxpagesize=7"]).await;
    assert!(page.rows().is_empty(), "Q52");
    world.switches(json!({"delta_empty_pages": false})).await;
    let (_, created) = round(&world, &token, &format!("{at}&changeType=created"), &[fixed]).await;
    world.act(json!({"user": ADMIN, "act": "read", "message": "3@x.example"})).await;
    world.act(json!({"user": ADMIN, "act": "junk", "message": "4@x.example"})).await;
    world.act(json!({"user": ADMIN, "act": "junk", "message": "5@x.example"})).await;
    world.act(json!({"user": ADMIN, "act": "move", "message": "5@x.example", "folder": "inbox"})).await;
    world.deliver(&[ADMIN], &raw("new@x.example", "new")).await;
    let (rows, link) = round(&world, &token, &link, &[fixed]).await;
    assert_eq!(told(&rows), ["-deleted", "m03", "m05", "new"], "what came back was never away by its immutable id");
    let (rows, _) = round(&world, &token, &created, &[]).await;
    assert_eq!(told(&rows), ["m05", "new"], "only what came into the folder");
    let (rows, link) = round(&world, &token, &link, &[fixed]).await;
    assert_eq!(told(&rows), Vec::<String>::new());
    // the state that a token means is forgotten
    world.control("/mail-delta/void", Value::Null).await;
    let expired = world.ask(&token, "GET", &link, Value::Null, &[]).await;
    assert_eq!((expired.status, expired.json()["error"]["code"].as_str()), (410, Some("SyncStateNotFound")));
    let (rows, _) = round(&world, &token, &format!("{at}&$top=50"), &[]).await;
    assert_eq!(rows.len(), 25);
    let since = format!("{at}&$filter=receivedDateTime ge 2099-01-01T00:00:00Z");
    assert_eq!(round(&world, &token, &since, &[]).await.0.len(), 0);
    for wrong in ["$filter=isRead eq true", "$search=\"x\"", "$deltatoken=zzz"] {
        let path = format!("/users/{ADMIN}/mailFolders/inbox/messages/delta?{wrong}");
        assert_eq!(world.graph(&token, &path).await.status, 400, "{wrong}");
    }
    let (folders, link) = round(&world, &token, &format!("/users/{ADMIN}/mailFolders/delta"), &[]).await;
    assert!(folders.iter().any(|f| f["displayName"] == "Inbox"));
    world.act(json!({"user": ADMIN, "act": "move", "folder": "Projects"})).await;
    let (folders, _) = round(&world, &token, &link, &[]).await;
    assert_eq!(folders.iter().map(|f| f["displayName"].as_str().unwrap()).collect::<Vec<_>>(), ["Projects"]);
}
