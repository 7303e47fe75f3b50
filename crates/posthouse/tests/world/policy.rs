//! A policy on real ways: every action seen where the mail goes, nothing done where it is only watched, and lists that
//! nobody gets through by a name alone.

use crate::edits::with_arc_key;
use crate::harness::{World, until};
use base64::Engine;
use serde_json::Value;

const ANNA: &str = "admin@contoso.example";
const LIES: &str =
    "Content-Type: text/html\r\n\r\n<p><a href=\"https://evil.example/x\">www.mybank.example</a></p>\r\n";
const POLICY: &str = r#"
[base]
phishing = "banner_danger"
impersonation = "tag"

[[rule]]
name = "no lies for Bert"
users = ["BERT"]
actions = { phishing = "delete" }

[[rule]]
name = "nothing bad leaves"
direction = "outbound"
actions = { malware = "reject" }
"#;

pub fn eicar() -> String {
    let file = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat();
    let file = base64::engine::general_purpose::STANDARD.encode(file);
    format!(
        "Content-Type: application/octet-stream; name=a.com\r\nContent-Disposition: attachment; filename=a.com\r\nContent-Transfer-Encoding: base64\r\n\r\n{file}\r\n"
    )
}

pub async fn send(world: &World, from: &str, shown: &str, to: &str, id: &str, rest: &str) {
    let raw = format!(
        "From: {shown} <{from}>\r\nTo: {to}\r\nSubject: {id}\r\nMessage-ID: <{id}@acme.example>\r\nMIME-Version: 1.0\r\n{rest}"
    );
    world.door.send_from_internet(from, &[to.into()], raw.as_bytes(), false).await.unwrap();
    world.door.idle(60).await.unwrap();
}

pub fn journey(world: &World, id: &str) -> Value {
    world.json(&["trace", "--message-id", &format!("{id}@acme.example")])[0].clone()
}

pub async fn arrived(world: &World, address: &str, outside: bool, id: &str) -> Option<String> {
    let all = world.door.mailbox(address, outside).await.unwrap();
    let found = all.iter().find(|m| m.message_id.contains(id))?;
    Some(String::from_utf8_lossy(&found.raw).into_owned())
}

/// Sends the same lie until it fares so; a gateway reads its tenants again within seconds.
async fn until_lies(world: &World, name: &str, fare: &str) {
    let mut n = 0;
    until(name, async || {
        n += 1;
        let id = format!("{name}-{n}");
        send(world, "pat@acme.example", "Pat", ANNA, &id, LIES).await;
        let decision = &journey(world, &id)["decision"];
        format!("{} {} {}", decision["verdict"], decision["marks"]["banner"], decision["would"]["verdict"]) == fare
    })
    .await;
}

pub fn set(world: &World, text: &str) -> Value {
    let file = world.config.with_file_name("policy.toml");
    std::fs::write(&file, text).unwrap();
    world.json(&["policy", "set", &world.tenant_id(0), "--file", file.to_str().unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_action_is_seen_where_the_mail_goes() {
    let mut world = World::connected().await;
    with_arc_key(&mut world).await;
    let users = world.json_directory_addresses().await;
    let bert = users.iter().find(|u| *u != ANNA).unwrap().clone();
    let shown = set(&world, &POLICY.replace("BERT", &bert));
    assert_eq!((shown["revision"].as_u64(), shown["rule"].as_array().unwrap().len()), (Some(1), 2));
    until_lies(&world, "banner", "\"pass\" \"danger\" null").await;
    let all = world.door.mailbox(ANNA, false).await.unwrap();
    let marked = |raw: &[u8]| String::from_utf8_lossy(raw).contains("DANGER: This message looks like fraud.");
    assert!(all.iter().any(|m| m.message_id.contains("banner-") && marked(&m.raw)));

    // deleted for Bert: taken, told to nobody but the log of acts, in no mailbox
    send(&world, "pat@acme.example", "Pat", &bert, "gone", LIES).await;
    let gone = journey(&world, "gone");
    assert_eq!((gone["outcome"].as_str(), gone["held"].as_str()), (Some("deleted"), None), "{gone}");
    assert!(arrived(&world, &bert, false, "gone").await.is_none());
    let acts = world.json(&["audit", "list"]).to_string();
    assert!(acts.contains("message deleted by policy") && acts.contains("no lies for Bert"), "{acts}");

    // a name of somebody here: a tag, whatever is usual
    let boss = world.json(&["directory", "find", &world.tenant_id(0), &bert]);
    let name = boss["users"][0]["display_name"].as_str().unwrap();
    send(&world, "boss@acme.example", name, ANNA, "tagged", "\r\nare you there?\r\n").await;
    let raw = arrived(&world, ANNA, false, "tagged").await.unwrap();
    assert!(raw.contains("Subject: [SUSPICIOUS] tagged\r\n"), "{raw}");

    // malware is held inbound; outbound the rule says no to the sender
    send(&world, "pat@acme.example", "Pat", ANNA, "bad-in", &eicar()).await;
    assert_eq!(journey(&world, "bad-in")["outcome"], "held");
    let raw = format!(
        "From: {ANNA}\r\nTo: pat@acme.example\r\nSubject: x\r\nMessage-ID: <bad-out@acme.example>\r\nMIME-Version: 1.0\r\n{}",
        eicar()
    );
    world.door.submit(&world.tenant_id(0), ANNA, &["pat@acme.example".into()], raw.as_bytes()).await.unwrap();
    world.door.idle(60).await.unwrap();
    let refused = journey(&world, "bad-out");
    assert_eq!(refused["outcome"], "refused", "{refused}");
    assert!(refused["reply"].as_str().unwrap().starts_with("550 5.7.1 Not sent"), "{refused}");
    assert!(arrived(&world, "pat@acme.example", true, "bad-out").await.is_none());
    let told = world.command(&["explain", gone["id"].as_str().unwrap()]).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for words in ["deleted · phishing", "rule \"no lies for Bert\": phishing = delete (", "it would have had "] {
        assert!(told.contains(words), "{words} in {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_watching_does_nothing_and_a_name_on_a_list_is_no_proof() {
    let world = World::connected().await;
    let tenant = world.tenant_id(0);
    set(&world, "monitor_only = true\n");
    until_lies(&world, "watched", "\"pass\" null \"hold\"").await;
    set(&world, "");
    until_lies(&world, "usual", "\"hold\" null null").await;

    let added = world.json(&["allow", &tenant, "add", "acme.example", "--note", "our printer"]);
    assert_eq!(added[0]["sender"], "acme.example");
    world.json(&["allow", &tenant, "add", "nobody.example"]);
    world.json(&["block", &tenant, "add", "partner.example"]);
    until_lies(&world, "allowed", "\"pass\" null null").await;
    // nothing proves who nobody.example is
    send(&world, "x@nobody.example", "X", ANNA, "unproven", LIES).await;
    let unproven = journey(&world, "unproven");
    assert_eq!(unproven["outcome"], "held", "{unproven}");
    assert!(unproven["decision"]["because"]["otherwise"].to_string().contains("did not count"), "{unproven}");
    send(&world, "pat@acme.example", "Pat", ANNA, "malware", &eicar()).await;
    assert_eq!(journey(&world, "malware")["decision"]["category"], "malware");
    assert_eq!(journey(&world, "malware")["outcome"], "held");
    send(&world, "y@partner.example", "Y", ANNA, "blocked", "\r\nhello\r\n").await;
    assert_eq!(journey(&world, "blocked")["decision"]["category"], "blocked_sender");

    // the same without a gateway
    let mail = world.config.with_file_name("lie.eml");
    std::fs::write(&mail, format!("From: Eve <eve@outside.example>\nTo: {ANNA}\nSubject: x\n{LIES}")).unwrap();
    let tried = world.json(&["policy", "test", &tenant, mail.to_str().unwrap()]);
    assert_eq!((tried["verdict"].as_str(), tried["category"].as_str()), (Some("hold"), Some("phishing")), "{tried}");
    let refused = world.command(&["allow", &tenant, "add", "127.0.40.7"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Microsoft's range"));
    assert_eq!(world.json(&["allow", &tenant, "remove", "acme.example"]).as_array().unwrap().len(), 1);
}
