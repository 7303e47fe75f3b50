//! Subscriptions, and notifications at a webhook that answers well, badly or not at all.

use crate::door::{App, World};
use crate::mail::{ADMIN, GRAPH, raw};
use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::{hmac, iv::FixedLength};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What a webhook does, and what it was told.
#[derive(Clone)]
struct Hook {
    url: String,
    told: Arc<Mutex<Vec<Value>>>,
    grown: watch::Sender<usize>,
    /// Status of answers to notifications, and how they are delayed.
    answer: Arc<Mutex<(u16, Duration)>>,
    validates: Arc<Mutex<bool>>,
}

impl Hook {
    async fn start() -> Hook {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = Hook {
            url: format!("http://{}/notify?key=1", listener.local_addr().unwrap()),
            told: Arc::default(),
            grown: watch::Sender::new(0),
            answer: Arc::new(Mutex::new((202, Duration::ZERO))),
            validates: Arc::new(Mutex::new(true)),
        };
        let router = axum::Router::new().route("/notify", axum::routing::post(Hook::called)).with_state(hook.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        hook
    }
    async fn called(State(hook): State<Hook>, Query(query): Query<HashMap<String, String>>, body: String) -> Response {
        assert_eq!(query["key"], "1", "the address is kept as it was given");
        if let Some(token) = query.get("validationToken") {
            let well = *hook.validates.lock().unwrap();
            return if well { token.clone().into_response() } else { "no".into_response() };
        }
        let (status, pause) = *hook.answer.lock().unwrap();
        tokio::time::sleep(pause).await;
        if status < 300 {
            let body: Value = serde_json::from_str(&body).unwrap();
            let mut told = hook.told.lock().unwrap();
            let tokens = body.get("validationTokens").cloned();
            told.extend(body["value"].as_array().unwrap().iter().cloned().map(|mut v| {
                v["tokens"] = json!(tokens);
                v
            }));
            hook.grown.send_replace(told.len());
        }
        StatusCode::from_u16(status).unwrap().into_response()
    }
    /// Everything told so far, once it is so much.
    async fn until(&self, count: usize) -> Vec<Value> {
        let mut grown = self.grown.subscribe();
        let enough = grown.wait_for(|n| *n >= count);
        if tokio::time::timeout(Duration::from_secs(20), enough).await.is_err() {
            panic!("only {:?}", self.told.lock().unwrap());
        }
        self.told.lock().unwrap().clone()
    }
    fn answers(&self, status: u16, pause_ms: u64) {
        *self.answer.lock().unwrap() = (status, Duration::from_millis(pause_ms));
    }
}

async fn start() -> (World, Hook, App, String) {
    let world = World::start().await;
    world.switches(json!({"webhook_plain_http": true})).await;
    let app = world.app(&["Mail.Read"], false).await;
    let token = world.token(&app, GRAPH).await;
    (world, Hook::start().await, app, token)
}

fn wanted(hook: &Hook, now: &str) -> Value {
    let expires: jiff::Timestamp = now.parse().unwrap();
    let expires = expires + jiff::SignedDuration::from_hours(60);
    json!({"changeType": "created", "notificationUrl": hook.url, "lifecycleNotificationUrl": hook.url, "resource": format!("/users/{ADMIN}/mailFolders('inbox')/messages"),
        "expirationDateTime": expires.to_string(), "clientState": "secret"})
}

async fn subscribe(world: &World, token: &str, body: &Value) -> Value {
    let answer = world.ask(token, "POST", "/subscriptions", body.clone(), &["Prefer: IdType=\"ImmutableId\""]).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// What became of the notifications so far, once nothing is under way.
async fn outcomes(world: &World) -> Vec<String> {
    world.idle().await;
    let all = world.control_get("/notifications").await.json();
    all.as_array().unwrap().iter().map(|n| n["outcome"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_validated_told_renewed_and_ends() {
    let (world, hook, app, token) = start().await;
    let body = wanted(&hook, &now());
    *hook.validates.lock().unwrap() = false;
    let refused = world.ask(&token, "POST", "/subscriptions", body.clone(), &[]).await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (400, Some("ValidationError")));
    *hook.validates.lock().unwrap() = true;
    for (key, value) in [
        ("expirationDateTime", json!("2099-01-01T00:00:00Z")),
        ("expirationDateTime", json!("2001-01-01T00:00:00Z")),
        ("resource", json!("/users")),
        ("changeType", json!("moved")),
        ("notificationUrl", json!("ftp://x")),
    ] {
        let mut wrong = body.clone();
        wrong[key] = value;
        assert_eq!(world.ask(&token, "POST", "/subscriptions", wrong, &[]).await.status, 400, "{key}");
    }
    let made = subscribe(&world, &token, &body).await;
    assert_eq!((&made["clientState"], &made["applicationId"]), (&json!("secret"), &json!(app.app_id)));
    let stranger = world.app(&["Mail.Read"], false).await;
    let stranger = world.token(&stranger, GRAPH).await;
    let path = format!("/subscriptions/{}", made["id"].as_str().unwrap());
    assert_eq!(world.graph(&token, "/subscriptions").await.rows().len(), 1);
    assert_eq!(world.graph(&stranger, "/subscriptions").await.rows().len(), 0);
    assert_eq!(world.graph(&stranger, &path).await.status, 404);
    assert!(world.export().await.contains(made["id"].as_str().unwrap()));
    world.deliver(&[ADMIN], &raw("one@x.example", "one")).await;
    world.deliver(&["info@contoso.example"], &raw("other@x.example", "another mailbox")).await;
    let told = hook.until(1).await;
    let id = world.all_mail(ADMIN).await[0]["immutable_id"].clone();
    let entry = &told[0];
    assert_eq!(
        (
            &entry["subscriptionId"],
            &entry["clientState"],
            &entry["changeType"],
            &entry["resourceData"]["id"],
            &entry["tenantId"]
        ),
        (&made["id"], &json!("secret"), &json!("created"), &id, &json!(world.tenant))
    );
    // the resource as it is told can be asked for
    let resource = format!("/{}", entry["resource"].as_str().unwrap());
    assert_eq!(world.graph(&token, &resource).await.json()["subject"], "one");
    world.advance(59 * 3600).await;
    let later = world.token(&app, GRAPH).await;
    world.advance(46 * 60).await;
    assert_eq!(hook.until(2).await[1]["lifecycleEvent"], "reauthorizationRequired");
    let until = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(100)).to_string();
    let renewed = world.ask(&later, "PATCH", &path, json!({"expirationDateTime": until}), &[]).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    world.advance(41 * 3600).await;
    let later = world.token(&app, GRAPH).await;
    let over = world.graph(&later, &path).await;
    assert_eq!((over.status, over.json()["error"]["code"].as_str()), (404, Some("ResourceNotFound")));
    assert!(!world.export().await.contains(made["id"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_and_what_is_lost_is_said() {
    let (world, hook, _, token) = start().await;
    let made = subscribe(&world, &token, &wanted(&hook, &now())).await;
    hook.answers(503, 0);
    world.deliver(&[ADMIN], &raw("one@x.example", "one")).await;
    assert!(outcomes(&world).await.contains(&"503".into()));
    hook.answers(202, 0);
    world.advance(11).await;
    assert_eq!(hook.until(1).await[0]["changeType"], "created", "ten seconds later");
    // dropped on the way, and said so
    world.switches(json!({"notification_drops": 1.0})).await;
    world.deliver(&[ADMIN], &raw("two@x.example", "two")).await;
    assert_eq!(hook.until(2).await[1]["lifecycleEvent"], "missed");
    // twice, and after a while
    world
        .switches(json!({"notification_drops": 0.0, "notification_duplicates": 1.0, "notification_delay_ms": 60_000}))
        .await;
    world.deliver(&[ADMIN], &raw("three@x.example", "three")).await;
    assert_eq!(world.all_mail(ADMIN).await.len(), 3);
    world.advance(61).await;
    let told = hook.until(4).await;
    assert_eq!(told[2]["resourceData"]["id"], told[3]["resourceData"]["id"]);
    // down for longer than anything is tried
    world.switches(json!({"notification_duplicates": 0.0, "notification_delay_ms": 0, "webhooks_down": true, "notification_give_up_secs": 25})).await;
    world.deliver(&[ADMIN], &raw("four@x.example", "four")).await;
    assert!(outcomes(&world).await.contains(&"down".into()));
    world.advance(11).await;
    assert!(outcomes(&world).await.contains(&"given up".into()));
    world.switches(json!({"webhooks_down": false})).await;
    world.advance(600).await;
    assert_eq!(hook.until(5).await[4]["lifecycleEvent"], "missed");
    // an answer that is too late is none
    world.switches(json!({"webhook_answer_ms": 200})).await;
    hook.answers(202, 2000);
    world.deliver(&[ADMIN], &raw("five@x.example", "five")).await;
    assert!(outcomes(&world).await.contains(&"timeout".into()));
    // who is asked to authorise again and does not is told nothing more
    hook.answers(202, 0);
    world.switches(json!({"webhook_answer_ms": 3000})).await;
    let path = format!("/tenants/{}/subscriptions", world.tenant);
    let before = hook.until(5).await.len();
    world.control(&path, json!({"event": "reauthorizationRequired"})).await;
    hook.until(before + 1).await;
    world.advance(3601).await;
    world.deliver(&[ADMIN], &raw("six@x.example", "six")).await;
    world.control(&path, json!({"event": "subscriptionRemoved", "subscription": made["id"]})).await;
    let told = hook.until(before + 2).await;
    assert_eq!(told.last().unwrap()["lifecycleEvent"], "subscriptionRemoved");
    assert!(!told.iter().skip(before).any(|n| n["changeType"] == "created"
        && n["lifecycleEvent"].is_null()
        && n["resourceData"]["id"] == world_id(&world).as_str()));
    assert_eq!(world.control_get(&path).await.json(), json!([]));
}

fn world_id(world: &World) -> String {
    let state = world.sim.world.state();
    let t = state.tenants.first().unwrap();
    let m = &t.mailboxes[ADMIN];
    let item = m.with_message_id("six@x.example").next().unwrap();
    m365_sim::graph::mail::show::id(m.user(), item, true)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_come_together_and_who_lost_the_right_is_removed() {
    let (world, hook, app, token) = start().await;
    for address in [ADMIN, "info@contoso.example"] {
        let mut body = wanted(&hook, &now());
        body["resource"] = format!("/users/{address}/messages").into();
        body["changeType"] = "created,updated,deleted".into();
        subscribe(&world, &token, &body).await;
    }
    world.switches(json!({"notification_delay_ms": 5000})).await;
    for n in 0..15 {
        world.deliver(&[ADMIN, "info@contoso.example"], &raw(&format!("{n}@x.example"), "m")).await;
    }
    world.advance(6).await;
    let told = hook.until(30).await;
    assert_eq!(told.len(), 30);
    let calls = world.control_get("/notifications?outcome=202").await.json();
    let mixed = calls.as_array().unwrap().iter().any(|c| {
        let items = c["items"].as_array().unwrap();
        items.iter().any(|i| i["subscription"] != items[0]["subscription"])
    });
    assert!(mixed, "{calls}");
    world.switches(json!({"notification_delay_ms": 0})).await;
    world.act(json!({"user": ADMIN, "act": "read", "message": "3@x.example"})).await;
    world.act(json!({"user": ADMIN, "act": "delete", "message": "3@x.example"})).await;
    let kinds: Vec<_> = hook.until(32).await[30..].iter().map(|n| n["changeType"].clone()).collect();
    assert_eq!(kinds, ["updated", "updated"], "with immutable ids a move within the mailbox is an update");
    let gone = format!("/servicePrincipals/{}", app.principal);
    world.graph_portal("DELETE", &gone, Value::Null).await;
    world.deliver(&[ADMIN], &raw("last@x.example", "m")).await;
    assert_eq!(hook.until(33).await[32]["lifecycleEvent"], "subscriptionRemoved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_endpoint_is_dropped_for_ten_minutes() {
    let (world, hook, _, token) = start().await;
    subscribe(&world, &token, &wanted(&hook, &now())).await;
    // every answer is good, and slow
    world.switches(json!({"webhook_slow_ms": 10, "notification_delay_ms": 60_000})).await;
    hook.answers(202, 20);
    let path = format!("/tenants/{}/deliver", world.tenant);
    let many = json!({"to": [ADMIN], "raw": raw("{n}@x.example", "m"), "count": 2000});
    world.control(&path, many).await;
    world.idle().await;
    world.advance(61).await;
    let told = hook.until(2000).await.len();
    assert_eq!(told, 2000, "a hundred answers until it counts");
    world.idle().await;
    hook.answers(202, 0);
    world.deliver(&[ADMIN], &raw("last@x.example", "m")).await;
    world.idle().await;
    world.advance(61).await;
    assert!(outcomes(&world).await.contains(&"dropped: the endpoint is too slow".into()));
    world.advance(601).await;
    assert_eq!(hook.until(2001).await[2000]["lifecycleEvent"], "missed");
}

#[tokio::test(flavor = "multi_thread")]
async fn rich_notifications_are_encrypted_for_the_certificate() {
    let (world, hook, app, token) = start().await;
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'static> = pair.as_der().unwrap();
    let key = rcgen::KeyPair::try_from(der.as_ref()).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["hook".into()]).unwrap().self_signed(&key).unwrap();
    let mut body = wanted(&hook, &now());
    body["expirationDateTime"] = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(20)).to_string().into();
    body["includeResourceData"] = true.into();
    body["encryptionCertificateId"] = "key-1".into();
    body["encryptionCertificate"] = STANDARD.encode(b"no certificate").into();
    body["resource"] = format!("/users/{ADMIN}/messages?$select=subject,internetMessageId").into();
    assert_eq!(world.ask(&token, "POST", "/subscriptions", body.clone(), &[]).await.status, 400);
    body["encryptionCertificate"] = STANDARD.encode(certificate.der()).into();
    subscribe(&world, &token, &body).await;
    world.deliver(&[ADMIN], &raw("one@x.example", "secret plan")).await;
    let told = hook.until(1).await;
    let content = &told[0]["encryptedContent"];
    let bytes = |name: &str| STANDARD.decode(content[name].as_str().unwrap()).unwrap();
    assert_eq!(content["encryptionCertificateId"], "key-1");
    let private = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(der.as_ref()).unwrap()).unwrap();
    let mut plain = vec![0; private.min_output_size()];
    let secret = private.decrypt(&OAEP_SHA1_MGF1SHA1, &bytes("dataKey"), &mut plain, None).unwrap();
    let mut data = bytes("data");
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), &data, &bytes("dataSignature")).unwrap();
    let mut iv = [0; 16];
    iv.copy_from_slice(&secret[..16]);
    let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, secret).unwrap()).unwrap();
    let opened = cipher.decrypt(&mut data, DecryptionContext::Iv128(FixedLength::from(iv))).unwrap();
    let message: Value = serde_json::from_slice(opened).unwrap();
    assert_eq!(
        (&message["subject"], &message["internetMessageId"], &message["id"]),
        (&json!("secret plan"), &json!("<one@x.example>"), &told[0]["resourceData"]["id"])
    );
    assert!(message.get("body").is_none());
    let jwt = told[0]["tokens"][0].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(
        (&claims["aud"], &claims["appid"]),
        (&json!(app.app_id), &json!("0bf30f3b-4a52-48df-9a82-234910c4a086"))
    );
}
