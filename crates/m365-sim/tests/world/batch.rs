//! `$batch`, and throttling of each application at each mailbox.

use crate::door::World;
use crate::mail::{ADMIN, raw, token};
use serde_json::{Value, json};

async fn batch(world: &World, token: &str, requests: Value) -> (u16, Vec<Value>) {
    let answer = world.ask(token, "POST", "/$batch", json!({"requests": requests}), &[]).await;
    let mut rows = answer.json()["responses"].as_array().cloned().unwrap_or_default();
    rows.sort_by_key(|r| r["id"].as_str().map(str::to_owned));
    (answer.status, rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_requests_each_with_its_own_status() {
    let world = World::start().await;
    let token = token(&world, &["Mail.ReadWrite"]).await;
    world.deliver(&[ADMIN], &raw("one@x.example", "one")).await;
    let id = world.all_mail(ADMIN).await[0]["immutable_id"].as_str().unwrap().to_owned();
    let at = format!("/users/{ADMIN}/messages");
    let body = json!({"destinationId": "deleteditems"});
    let headers = json!({"Content-Type": "application/json"});
    let (status, rows) = batch(&world, &token, json!([
        {"id": "1", "method": "GET", "url": format!("{at}?$filter=internetMessageId eq '<one@x.example>'&$select=id")},
        {"id": "2", "method": "POST", "url": format!("{at}/{id}/move"), "body": body, "headers": headers, "dependsOn": ["1"]},
        {"id": "3", "method": "GET", "url": format!("{at}/{id}/$value"), "dependsOn": ["2"]},
        {"id": "4", "method": "GET", "url": format!("{at}/AAMkADxx")},
        {"id": "5", "method": "DELETE", "url": format!("{at}/{id}"), "dependsOn": ["4"]},
        {"id": "6", "method": "POST", "url": format!("{at}/{id}/move"), "body": body},
    ])).await;
    let statuses: Vec<_> = rows.iter().map(|r| r["status"].as_u64().unwrap()).collect();
    assert_eq!((status, statuses), (200, vec![200, 201, 200, 400, 424, 400]));
    assert_eq!(rows[0]["body"]["value"].as_array().unwrap().len(), 1);
    assert_eq!(rows[2]["headers"]["Content-Type"], "text/plain");
    assert!(rows[2]["body"].as_str().unwrap().starts_with("RnJvbTog"), "MIME in base64");
    assert_eq!(world.all_mail(ADMIN).await[0]["folder"], "deleteditems");
    let many: Vec<Value> = (0..21).map(|n| json!({"id": n.to_string(), "method": "GET", "url": at})).collect();
    assert_eq!(batch(&world, &token, many.into()).await.0, 400);
    let twice = json!([{"id": "a", "method": "GET", "url": at}, {"id": "A", "method": "GET", "url": at}]);
    assert_eq!(batch(&world, &token, twice).await.0, 400);
    let circle = json!([{"id": "a", "method": "GET", "url": at, "dependsOn": ["b"]}, {"id": "b", "method": "GET", "url": at, "dependsOn": ["a"]}]);
    assert_eq!(batch(&world, &token, circle).await.0, 400);
    // one of them is throttled; the batch as a whole is not
    let fault = json!({"door": "graph", "matching": "DELETE", "answer": "429", "retry_after_secs": 7, "times": 1});
    world.control("/faults", fault).await;
    let gone = format!("{at}/{id}");
    let (status, rows) = batch(
        &world,
        &token,
        json!([{"id": "1", "method": "GET", "url": gone}, {"id": "2", "method": "DELETE", "url": gone}]),
    )
    .await;
    assert_eq!((status, &rows[1]["status"], &rows[1]["headers"]["Retry-After"]), (200, &json!(429), &json!("7")));
}

#[tokio::test(flavor = "multi_thread")]
async fn four_at_once_at_one_mailbox_and_so_many_in_ten_minutes() {
    let world = World::start().await;
    let token = token(&world, &["Mail.Read"]).await;
    world.switches(json!({"mail_request_ms": 300, "mailbox_requests_max": 12})).await;
    let at = format!("/users/{ADMIN}/messages");
    // eight at once: four are let in, as long as each takes
    let answers = futures_util::future::join_all((0..8).map(|_| world.graph(&token, &at))).await;
    let refused: Vec<_> = answers.iter().filter(|a| a.status == 429).collect();
    assert_eq!(refused.len(), 4);
    let error = &refused[0].json()["error"];
    assert_eq!(
        (error["code"].as_str(), error["message"].as_str()),
        (Some("ApplicationThrottled"), Some("Application is over its MailboxConcurrency limit."))
    );
    assert_eq!(refused[0].headers["retry-after"], "1");
    // a batch keeps to four by itself, and another mailbox is another limit
    let eight: Vec<Value> = (0..8).map(|n| json!({"id": n.to_string(), "method": "GET", "url": at})).collect();
    let (_, rows) = batch(&world, &token, eight.into()).await;
    assert!(rows.iter().all(|r| r["status"] == 200), "{rows:?}");
    let over = world.graph(&token, &at).await;
    assert_eq!(over.status, 429, "the thirteenth");
    let wait: i64 = over.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=600).contains(&wait), "{wait}");
    assert_eq!(world.graph(&token, "/users/info@contoso.example/messages").await.status, 200);
    world.advance(u64::try_from(wait).unwrap()).await;
    assert_eq!(world.graph(&token, &at).await.status, 200);
    let meters = world.control_get("/meters").await.json();
    let most = meters.as_array().unwrap().iter().map(|m| m["most_at_once"].as_u64().unwrap()).max();
    assert_eq!(most, Some(4));
}
