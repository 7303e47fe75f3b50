//! Message trace: window, order, seam, wildcards, throttle, detail.

use crate::door::{World, masked};
use serde_json::{Value, json};

struct Traced {
    world: World,
    token: String,
}

impl Traced {
    /// Six messages from outside, a minute apart.
    async fn start() -> Traced {
        let world = World::start().await;
        for n in 0..6 {
            let raw = format!(
                "From: pat@acme.example\r\nTo: admin@contoso.example\r\nSubject: hello {n}\r\nMessage-ID: <m{n}@acme.example>\r\n\r\nbody\r\n"
            );
            let mail = json!({"from": "pat@acme.example", "to": ["admin@contoso.example", "info@contoso.example"], "raw": raw});
            assert_eq!(world.control("/internet/send", mail).await.status, 200);
            world.control("/queue/idle", json!({"timeout_secs": 30})).await;
            world.advance(60).await;
        }
        let app = world.app(&["Exchange.ManageAsApp"], true).await;
        let token = world.token(&app, "https://outlook.office365.com").await;
        Traced { world, token }
    }
    async fn ask(&self, parameters: Value) -> Value {
        let answer = self.world.exchange(&self.token, "Get-MessageTraceV2", parameters).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
    async fn count(&self, parameters: Value) -> usize {
        self.ask(parameters).await["value"].as_array().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_continued_at_the_seam() {
    let t = Traced::start().await;
    let (mut seen, mut pages) = (Vec::new(), 0);
    let mut next = json!({"ResultSize": 5});
    loop {
        let page = t.ask(next.clone()).await;
        let rows = page["value"].as_array().unwrap().clone();
        let received: Vec<&str> = rows.iter().map(|r| r["Received"].as_str().unwrap()).collect();
        assert!(received.iter().rev().is_sorted(), "newest first: {received:?}");
        assert!(page.get("@odata.nextLink").is_none(), "there is no link");
        pages += 1;
        let last = rows.last().unwrap().clone();
        for row in rows {
            let key = format!("{} {}", row["MessageTraceId"], row["RecipientAddress"]);
            if !seen.contains(&key) {
                seen.push(key);
            }
        }
        if page["@adminapi.warnings"].as_array().unwrap().is_empty() {
            break;
        }
        next["EndDate"] = last["Received"].clone();
        next["StartingRecipientAddress"] = last["RecipientAddress"].clone();
    }
    assert_eq!((seen.len(), pages), (12, 3), "six messages to two recipients, the seam given twice");
    let page = t.ask(json!({"ResultSize": 1})).await;
    insta::assert_snapshot!(masked(&page.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for() {
    let t = Traced::start().await;
    assert_eq!(t.count(json!({})).await, 12);
    assert_eq!(t.count(json!({"SenderAddress": "*@acme.example"})).await, 12);
    assert_eq!(t.count(json!({"SenderAddress": "*@contoso.example"})).await, 0);
    assert_eq!(t.count(json!({"RecipientAddress": ["info@*", "nobody@contoso.example"]})).await, 6);
    assert_eq!(t.count(json!({"MessageId": "<m3@acme.example>"})).await, 2);
    assert_eq!(t.count(json!({"Subject": "lo 4", "SubjectFilterType": "EndsWith"})).await, 2);
    assert_eq!(t.count(json!({"Status": ["Failed"]})).await, 0);
    let rows = t.ask(json!({"MessageId": "m3@acme.example", "RecipientAddress": "info@contoso.example"})).await;
    let id = rows["value"][0]["MessageTraceId"].clone();
    assert!(rows["value"][0]["Size"].as_u64().unwrap() > 100, "{rows}");
    let detail = t
        .world
        .exchange(
            &t.token,
            "Get-MessageTraceDetailV2",
            json!({"MessageTraceId": id, "RecipientAddress": "info@contoso.example"}),
        )
        .await;
    let events: Vec<Value> = detail.rows().iter().map(|r| r["Event"].clone()).collect();
    insta::assert_snapshot!(Value::from(events).to_string());
}

/// What Exchange calls the steps of a message that leaves, and of one that nobody takes.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_has_its_name() {
    let t = Traced::start().await;
    let rule = json!({"Name": "mark", "PrependSubject": "[out] ", "FromScope": "InOrganization"});
    assert_eq!(t.world.portal("New-TransportRule", rule).await.status, 200);
    t.world.control("/dns/record", json!({"name": "gone.example", "type": "MX", "values": ["mx.gone.example"]})).await;
    for to in ["pat@acme.example", "someone@gone.example"] {
        let raw = format!("From: admin@contoso.example\r\nTo: {to}\r\nSubject: x\r\nMessage-ID: <{to}>\r\n\r\nx\r\n");
        let mail = json!({"tenant": t.world.tenant, "from": "admin@contoso.example", "to": [to], "raw": raw});
        assert_eq!(t.world.control("/submit", mail).await.status, 200);
    }
    t.world.control("/queue/idle", json!({"timeout_secs": 30})).await;
    let mut told = Vec::new();
    for to in ["pat@acme.example", "someone@gone.example"] {
        let rows = t.world.exchange(&t.token, "Get-MessageTraceV2", json!({"RecipientAddress": to})).await.rows();
        let wanted = json!({"MessageTraceId": rows[0]["MessageTraceId"], "RecipientAddress": to});
        let detail = t.world.exchange(&t.token, "Get-MessageTraceDetailV2", wanted).await.rows();
        let mut events: Vec<&str> = detail.iter().map(|r| r["Event"].as_str().unwrap()).collect();
        events.dedup();
        told.push(format!("{to} {}: {}", rows[0]["Status"], events.join(", ")));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused() {
    let t = Traced::start().await;
    let mut told = Vec::new();
    for (cmdlet, parameters) in [
        ("Get-MessageTraceV2", json!({"StartDate": "2026-01-01", "EndDate": "2026-01-12"})),
        ("Get-MessageTraceV2", json!({"StartDate": "2020-01-01T00:00:00Z", "EndDate": "2020-01-02"})),
        ("Get-MessageTraceV2", json!({"StartDate": "2026-01-02", "EndDate": "2026-01-01"})),
        ("Get-MessageTraceV2", json!({"StartDate": "soon"})),
        ("Get-MessageTraceV2", json!({"ResultSize": 5001})),
        ("Get-MessageTraceV2", json!({"PageSize": 10})),
        ("Get-MessageTraceV2", json!({"SubjectFilterType": "Like"})),
        ("Get-MessageTrace", json!({})),
    ] {
        let answer = t.world.exchange(&t.token, cmdlet, parameters.clone()).await;
        let error = &answer.json()["error"];
        let text =
            error["details"][0]["message"].as_str().or(error["innererror"]["internalexception"]["message"].as_str());
        told.push(format!("{cmdlet} {parameters}\n    {} {}", answer.status, text.unwrap()));
    }
    insta::assert_snapshot!(told.join("\n"));
    t.world.switches(json!({"message_trace_throttled": true})).await;
    for _ in 0..100 {
        t.ask(json!({})).await;
    }
    let busy = t.world.exchange(&t.token, "Get-MessageTraceV2", json!({})).await;
    assert_eq!(busy.status, 429, "{}", busy.text);
    assert!(busy.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 250);
    t.world.advance(301).await;
    t.ask(json!({})).await;
}
