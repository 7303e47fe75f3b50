//! The Management Activity API: subscriptions, windows, pages, blobs, and what stands in them.

use crate::door::{Answer, App, World, masked, pretty};
use serde_json::{Value, json};

const MANAGE: &str = "https://manage.office.com";

struct Feed {
    world: World,
    app: App,
    token: String,
}

impl Feed {
    async fn start() -> Feed {
        let world = World::start().await;
        let app = world.app(&["ActivityFeed.Read", "Exchange.ManageAsApp"], true).await;
        let token = world.token(&app, MANAGE).await;
        Feed { world, app, token }
    }
    fn url(&self, call: &str) -> String {
        format!("{}/api/v1.0/{}/activity/feed/{call}", self.world.sim.endpoints.activity, self.world.tenant)
    }
    async fn get(&self, call: &str) -> Answer {
        self.world.get(&self.token, &self.url(call)).await
    }
    async fn post(&self, call: &str) -> Answer {
        self.world.post(&self.token, &self.url(call), json!({})).await
    }
    async fn subscribe(&self, kind: &str) {
        let answer = self.post(&format!("subscriptions/start?contentType={kind}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    async fn blobs(&self, kind: &str) -> Vec<Value> {
        let answer = self.get(&format!("subscriptions/content?contentType={kind}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json().as_array().cloned().unwrap()
    }
    async fn records_of(&self, blobs: &[Value]) -> Vec<Value> {
        let mut all = Vec::new();
        for blob in blobs {
            let answer = self.world.get(&self.token, blob["contentUri"].as_str().unwrap()).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            all.extend(answer.json().as_array().cloned().unwrap());
        }
        all
    }
    async fn records(&self, kind: &str) -> Vec<Value> {
        let blobs = self.blobs(kind).await;
        self.records_of(&blobs).await
    }
}

fn refused(answer: &Answer) -> String {
    let error = answer.json()["error"].clone();
    masked(&format!("{} {} {}", answer.status, error["code"].as_str().unwrap(), error["message"].as_str().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_lives_and_refuses_as_microsoft_does() {
    let feed = Feed::start().await;
    let start =
        "subscriptions/start?contentType=Audit.Exchange&PublisherIdentifier=7f3a52c1-0d4e-4b8e-9a61-2c5d8e9140b7";
    let mut told = vec![refused(&feed.get("subscriptions/content?contentType=Audit.Exchange").await)];
    told.push(feed.post(start).await.text);
    told.push(refused(&feed.post(start).await));
    told.push(feed.get("subscriptions/list").await.text);
    told.push(refused(&feed.post("subscriptions/start").await));
    told.push(refused(&feed.post("subscriptions/start?contentType=Audit.Weather").await));
    told.push(refused(&feed.post("subscriptions/start?contentType=Audit.General&PublisherIdentifier=us").await));
    let hook = json!({"webhook": {"address": "http://hook.example/"}});
    told.push(refused(&feed.world.post(&feed.token, &feed.url(start), hook).await));
    told.push(feed.post("subscriptions/stop?contentType=Audit.Exchange").await.status.to_string());
    told.push(feed.get("subscriptions/list").await.text);
    told.push(refused(&feed.get("subscriptions/content?contentType=Audit.Exchange").await));
    feed.world.switches(json!({"activity_start_again": false})).await;
    feed.post(start).await;
    told.push(feed.post(start).await.status.to_string());
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_own_tenant_and_only_with_the_permission() {
    let feed = Feed::start().await;
    let other = feed.url("subscriptions/list").replace(&feed.world.tenant, "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
    let none = feed.url("subscriptions/list").replace(&feed.world.tenant, "contoso.example");
    let poor = feed.world.app(&["Exchange.ManageAsApp"], false).await;
    let poor = feed.world.token(&poor, MANAGE).await;
    let foreign = feed.world.token(&feed.app, "https://graph.microsoft.com").await;
    let list = feed.url("subscriptions/list");
    let told = [
        refused(&feed.world.get(&feed.token, &other).await),
        refused(&feed.world.get(&feed.token, &none).await),
        refused(&feed.world.get(&poor, &list).await),
        feed.world.get(&foreign, &list).await.status.to_string(),
    ];
    insta::assert_snapshot!(told.join("\n"));
}

/// Both kinds of record, whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_administrators_acts_stand_in_the_feed() {
    let feed = Feed::start().await;
    feed.subscribe("Audit.Exchange").await;
    feed.subscribe("Audit.AzureActiveDirectory").await;
    let connector = json!({"Name": "GW inbound", "ConnectorType": "OnPremises", "SenderDomains": ["*", "x.example"], "RequireTls": true, "TlsSenderCertificateName": "contoso.example"});
    feed.world.portal("New-InboundConnector", connector).await;
    feed.world.portal("Get-InboundConnector", json!({})).await;
    let exchange = feed.records("Audit.Exchange").await;
    assert_eq!(exchange.len(), 1, "only what changes something is told");
    let assigned = format!("/servicePrincipals/{}/appRoleAssignments", feed.app.principal);
    let assigned = feed.world.graph_portal("GET", &assigned, Value::Null).await.rows();
    let gone = assigned.iter().find(|a| a["resourceDisplayName"] == "Office 365 Exchange Online").unwrap();
    let path = format!("/servicePrincipals/{}/appRoleAssignments/{}", feed.app.principal, gone["id"].as_str().unwrap());
    assert_eq!(feed.world.graph_portal("DELETE", &path, Value::Null).await.status, 200);
    let directory = feed.records("Audit.AzureActiveDirectory").await;
    let removal = directory.last().unwrap();
    assert_eq!(removal["ObjectId"], feed.app.principal.as_str(), "the client is recognised by its service principal");
    assert!(removal["Target"].as_array().unwrap().iter().any(|t| t["ID"] == feed.app.principal.as_str()));
    let port = regex::Regex::new(r"203\.0\.113\.9:\d+").unwrap();
    let text = format!("{}\n{}", pretty(&exchange[0]), pretty(removal));
    insta::assert_snapshot!(port.replace_all(&text, "203.0.113.9:[port]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_recognised_by_its_id() {
    let feed = Feed::start().await;
    feed.subscribe("Audit.Exchange").await;
    let token = feed.world.token(&feed.app, "https://outlook.office365.com").await;
    feed.world
        .exchange(
            &token,
            "Set-ArcConfig",
            json!({"Identity": "Default", "ArcTrustedSealers": ["a.example", "b.example"]}),
        )
        .await;
    feed.world
        .exchange(&token, "Set-AcceptedDomain", json!({"Identity": "nowhere.example", "DomainType": "InternalRelay"}))
        .await;
    let seen = async |kind: i64| {
        feed.world.switches(json!({"activity_app_user_type": kind})).await;
        let records = feed.records("Audit.Exchange").await;
        let told = |r: &Value| {
            assert_eq!(r["AppId"], feed.app.app_id.as_str());
            assert_eq!(r["TokenObjectId"], feed.app.principal.as_str());
            format!("{} {} {} {} {}", r["Operation"], r["ResultStatus"], r["UserType"], r["UserId"], r["Parameters"])
        };
        records.iter().map(told).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(format!("{}\n{}", seen(5).await, seen(6).await));
}

/// Applications that go are named although they are gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_named() {
    let feed = Feed::start().await;
    feed.subscribe("Audit.AzureActiveDirectory").await;
    let other = feed.world.app(&["User.Read.All"], true).await;
    let role = "/directoryRoles(roleTemplateId='29232cdf-9323-42fd-ade2-1d097af3e4de')/members";
    let gone = format!("{role}/{}/$ref", other.principal);
    assert_eq!(feed.world.graph_portal("DELETE", &gone, Value::Null).await.status, 200);
    let gone = format!("/applications/{}", other.object_id);
    assert_eq!(feed.world.graph_portal("DELETE", &gone, Value::Null).await.status, 200);
    let records = feed.records("Audit.AzureActiveDirectory").await;
    let told = records.iter().rev().take(3).rev().map(|r| {
        let object = r["ObjectId"].as_str().unwrap();
        let object = object.replace(&other.principal, "[principal]").replace(&other.object_id, "[application]");
        format!("{} {object} {} {}", r["Operation"].as_str().unwrap(), r["UserType"], r["Target"][3]["ID"])
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_have_rules() {
    let feed = Feed::start().await;
    feed.subscribe("Audit.Exchange").await;
    let ask = async |times: &str| {
        let answer = feed.get(&format!("subscriptions/content?contentType=Audit.Exchange{times}")).await;
        if answer.status == 200 { format!("200 {times}") } else { format!("{times}: {}", refused(&answer)) }
    };
    let now = feed.world.sim.world.clock.now();
    let ago = |hours: i64| {
        let at = now.checked_sub(jiff::SignedDuration::from_hours(hours)).unwrap();
        at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
    };
    let mut told = Vec::new();
    for (from, to) in [(24, 0), (25, 0), (167, 150), (169, 150), (1, 2)] {
        let text = ask(&format!("&startTime={}&endTime={}", ago(from), ago(to))).await;
        told.push(format!("{from} to {to} hours ago: {text}"));
    }
    told.push(ask("&startTime=2026-03-01").await);
    told.push(ask("&startTime=yesterday&endTime=today").await);
    told.push(ask("&nextPage=x").await);
    insta::assert_snapshot!(masked(&told.join("\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_followed_by_a_header_and_nothing_is_missed_between_windows() {
    let feed = Feed::start().await;
    feed.subscribe("Audit.Exchange").await;
    for n in 0..5 {
        let rule = json!({"Name": format!("rule {n}"), "PrependSubject": "x"});
        assert_eq!(feed.world.portal("New-TransportRule", rule).await.status, 200);
        feed.world.advance(120).await;
    }
    feed.world.switches(json!({"activity_page_size": 2})).await;
    let mut at = feed.url("subscriptions/content?contentType=Audit.Exchange");
    let (mut pages, mut blobs) = (0, Vec::new());
    loop {
        let answer = feed.world.get(&feed.token, &at).await;
        blobs.extend(answer.json().as_array().cloned().unwrap());
        pages += 1;
        match answer.headers.get("nextpageuri") {
            Some(next) => at = next.to_str().unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!((pages, blobs.len()), (3, 5), "a blob covers a minute at most");
    assert_eq!(feed.records_of(&blobs).await.len(), 5);
    // window by window, the end of one being the start of the next
    let created: Vec<&str> = blobs.iter().map(|b| b["contentCreated"].as_str().unwrap()).collect();
    let mut found = 0;
    for pair in [(created[0], created[2]), (created[2], created[4])] {
        let (from, to) = (&pair.0[..19], &pair.1[..19]);
        let call = format!("subscriptions/content?contentType=Audit.Exchange&startTime={from}&endTime={to}");
        found += feed.get(&call).await.json().as_array().unwrap().len();
    }
    assert_eq!(found, 4, "start included, end not");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_twice_and_out_of_order() {
    let feed = Feed::start().await;
    feed.subscribe("Audit.Exchange").await;
    feed.world.switches(json!({"activity_latency_secs": 300})).await;
    for n in 0..20 {
        feed.world.portal("New-TransportRule", json!({"Name": format!("rule {n}"), "PrependSubject": "x"})).await;
    }
    assert!(feed.blobs("Audit.Exchange").await.is_empty(), "five minutes have not gone by");
    feed.world.switches(json!({"activity_late": 0.5, "activity_late_secs": 900, "activity_duplicates": 0.5, "activity_reordered": true})).await;
    feed.world.advance(301).await;
    let first = feed.blobs("Audit.Exchange").await;
    let early = feed.records_of(&first).await;
    feed.world.advance(900).await;
    let all = feed.blobs("Audit.Exchange").await;
    let records = feed.records_of(&all).await;
    let mut ids: Vec<&str> = records.iter().map(|r| r["Id"].as_str().unwrap()).collect();
    let given = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20, "everything arrives in the end");
    assert!(given > 22 && given < 38, "{given} records: some twice, not all");
    assert!(early.len() < given, "some come in a later blob");
    let created: Vec<&str> = all.iter().map(|b| b["contentId"].as_str().unwrap()).collect();
    assert!(!created.is_sorted(), "{created:?}");
    let known = |b: &Value| all.iter().any(|a| a["contentId"] == b["contentId"]);
    assert!(first.iter().all(known), "a blob that was listed stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auditing_nothing_new_is_told() {
    let feed = Feed::start().await;
    feed.subscribe("Audit.Exchange").await;
    feed.world.switches(json!({"audit_enable_delay_secs": 600})).await;
    let set = async |on: bool| {
        let answer = feed.world.portal("Set-AdminAuditLogConfig", json!({"UnifiedAuditLogIngestionEnabled": on})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let shown = feed.world.portal("Get-AdminAuditLogConfig", json!({})).await.json();
        assert_eq!(shown[0]["UnifiedAuditLogIngestionEnabled"], on);
    };
    let rule =
        async |name: &str| feed.world.portal("New-TransportRule", json!({"Name": name, "PrependSubject": "x"})).await;
    set(false).await;
    rule("still told").await;
    feed.world.advance(601).await;
    rule("hidden").await;
    assert!(
        refused(&feed.post("subscriptions/start?contentType=Audit.General").await)
            .contains("AF20011 Tenant [id] does not exist.")
    );
    set(true).await;
    rule("hidden, too").await;
    feed.world.advance(601).await;
    rule("told again").await;
    let records = feed.records("Audit.Exchange").await;
    let told: Vec<&str> = records.iter().map(|r| r["ObjectId"].as_str().unwrap()).collect();
    insta::assert_snapshot!(told.join("\n"));
    let audit = feed.world.control_get(&format!("/audit?tenant={}", feed.world.tenant)).await.text;
    assert!(audit.contains("hidden, too"), "the internal log has everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_expire_and_are_throttled() {
    let feed = Feed::start().await;
    feed.subscribe("Audit.Exchange").await;
    feed.world.portal("New-TransportRule", json!({"Name": "r", "PrependSubject": "x"})).await;
    let blob = feed.blobs("Audit.Exchange").await[0].clone();
    let uri = blob["contentUri"].as_str().unwrap();
    feed.world
        .control(
            "/faults",
            json!({"door": "activity", "matching": "/audit/", "answer": "429", "retry_after_secs": 7, "times": 1}),
        )
        .await;
    let ours = format!("{uri}?PublisherIdentifier=7f3a52c1-0d4e-4b8e-9a61-2c5d8e9140b8");
    let busy = feed.world.get(&feed.token, &ours).await;
    assert_eq!(busy.headers["retry-after"], "7");
    let mut told = vec![pretty(&blob), refused(&busy)];
    told.push(refused(&feed.world.get(&feed.token, &format!("{uri}x")).await));
    told.push(refused(&feed.get("audit/nonsense").await));
    feed.world.advance(7 * 86_400 + 5).await;
    let token = feed.world.token(&feed.app, MANAGE).await;
    told.push(refused(&feed.world.get(&token, uri).await));
    insta::assert_snapshot!(told.join("\n"));
}
