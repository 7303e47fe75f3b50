//! Held mail and the people for whom it is held: told by mail, released by a link once, nobody else's, and malware never.

use crate::harness::{World, until};

use serde_json::Value;

const ANNA: &str = "admin@contoso.example";
const LIE: &str = "<p><a href=\"https://evil.example/x\">www.mybank.example</a></p>";

async fn send(world: &World, to: &[&str], id: &str, body: &str) {
    let raw = format!(
        "From: Pat <pat@acme.example>\r\nTo: {ANNA}\r\nSubject: {id}\r\nMessage-ID: <{id}@acme.example>\r\nMIME-Version: 1.0\r\n{body}\r\n"
    );
    let to: Vec<String> = to.iter().map(|t| (*t).to_owned()).collect();
    world.door.send_from_internet("pat@acme.example", &to, raw.as_bytes(), false).await.unwrap();
    world.door.idle(60).await.unwrap();
}

async fn lie(world: &World, to: &[&str], id: &str) {
    send(world, to, id, &format!("Content-Type: text/html\r\n\r\n{LIE}")).await;
}

fn eicar() -> String {
    let file = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat();
    format!("Content-Type: text/plain\r\n\r\n{file}")
}

async fn copies(world: &World, address: &str, id: &str) -> usize {
    let all = world.door.mailbox(address, false).await.unwrap();
    all.iter().filter(|m| m.message_id.contains(id)).count()
}

/// The text of the newest digest in a mailbox.
async fn digest(world: &World, address: &str) -> String {
    let all = world.door.mailbox(address, false).await.unwrap();
    let raw = &all.iter().rfind(|m| String::from_utf8_lossy(&m.raw).contains("held for you")).unwrap().raw;
    mail_parser::MessageParser::new().parse(&raw[..]).unwrap().body_text(0).unwrap().into_owned()
}

/// The link behind these words in the entry of that subject, at the listener of this test.
fn link(text: &str, subject: &str, words: &str) -> String {
    let entry = &text[text.find(&format!("\n{subject}")).unwrap()..];
    let line = entry.lines().find(|l| l.trim_start().starts_with(words)).unwrap();
    line[line.find("/q/").unwrap()..].trim().to_owned()
}

/// A gateway with pages for people.
async fn with_pages(world: &mut World) -> String {
    let text = std::fs::read_to_string(&world.config).unwrap();
    let more = "[web]\nlisten = \"127.0.0.1:0\"\npublic_url = \"https://held.posthouse.example\"\n";
    std::fs::write(&world.config, text + more).unwrap();
    world.restart_gateway().await;
    let ready = std::fs::read(world.config.with_file_name("gateway.json")).unwrap();
    let ready: Value = serde_json::from_slice(&ready).unwrap();
    format!("http://{}", ready["web"].as_str().unwrap())
}

fn held_as(world: &World, subject: &str) -> Value {
    let held = world.json(&["held", "list"]);
    held.as_array().unwrap().iter().find(|h| h["subject"] == subject).unwrap_or(&Value::Null).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_is_told_and_releases_once_by_link() {
    let mut world = World::connected().await;
    let pages = with_pages(&mut world).await;
    let tenant = world.tenant_id(0);
    world.json(&["tenant", "quarantine", &tenant, "--users-release", "phishing", "--admin", ANNA]);
    lie(&world, &[ANNA], "wanted").await;
    send(&world, &[ANNA], "harmful", &eicar()).await;
    assert_eq!(held_as(&world, "wanted")["category"], "phishing");
    assert!(held_as(&world, "wanted")["deleted_at"].is_string());
    let sent = world.json(&["digest", &tenant]);
    assert_eq!((sent[0]["to"].as_str(), sent[0]["entries"].as_array().unwrap().len()), (Some(ANNA), 2), "{sent}");
    world.door.idle(60).await.unwrap();
    let text = digest(&world, ANNA).await;
    assert!(!text[text.find("\nharmful").unwrap()..].lines().take(4).any(|l| l.contains("/q/")), "{text}");
    // nothing new to tell
    assert_eq!(world.json(&["digest", &tenant]).as_array().unwrap().len(), 0);

    let release = format!("{pages}{}", link(&text, "wanted", "Release it"));
    let browser = reqwest::Client::new();
    for _ in 0..2 {
        let looked = browser.get(&release).send().await.unwrap();
        assert_eq!(looked.status(), 200);
        assert_eq!(looked.headers()["referrer-policy"], "no-referrer");
        assert!(looked.headers()["content-security-policy"].to_str().unwrap().contains("form-action 'self'"));
        let page = looked.text().await.unwrap();
        assert!(page.contains("www.mybank.example") && page.contains("method=\"post\""), "{page}");
    }
    let layout = browser.get(format!("{release}/message")).send().await.unwrap();
    assert!(layout.headers()["content-security-policy"].to_str().unwrap().ends_with("sandbox"));
    assert!(layout.text().await.unwrap().contains("[https://evil.example/x]"));
    assert_eq!(copies(&world, ANNA, "wanted").await, 0, "looking does nothing");
    let changed = release.replace("/q/AQ", "/q/AA");
    assert_ne!(changed, release);
    assert_eq!(browser.post(&changed).send().await.unwrap().status(), 404);

    let done = browser.post(&release).send().await.unwrap();
    assert_eq!(done.status(), 200, "{}", done.text().await.unwrap());
    world.door.idle(60).await.unwrap();
    assert_eq!(copies(&world, ANNA, "wanted").await, 1);
    let again = browser.post(&release).send().await.unwrap();
    assert_eq!(again.status(), 410);
    assert!(again.text().await.unwrap().contains("used already"));
    assert_eq!(copies(&world, ANNA, "wanted").await, 1);
    let acts = world.json(&["audit", "list"]).to_string();
    assert!(acts.contains(&format!("{ANNA} by link")) && acts.contains("held released"), "{acts}");

    // malware leaves as an archive only, to an administrator, and its password is in no mail
    let id = held_as(&world, "harmful")["id"].as_str().unwrap().to_owned();
    let refused = world.command(&["held", "release", &id]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("holds malware"), "{refused:?}");
    let users = world.json_directory_addresses().await;
    assert!(!world.command(&["held", "archive", &id, "--to", &users[3]]).output().unwrap().status.success());
    let password = world.json(&["held", "archive", &id, "--to", ANNA])["password"].as_str().unwrap().to_owned();
    world.door.idle(60).await.unwrap();
    let all = world.door.mailbox(ANNA, false).await.unwrap();
    let raw = &all.iter().rfind(|m| String::from_utf8_lossy(&m.raw).contains("archive with a password")).unwrap().raw;
    let message = mail_parser::MessageParser::new().parse(&raw[..]).unwrap();
    let zip = message.attachments().next().unwrap();
    assert!(zip.decoded().starts_with(b"PK"));
    assert!(!String::from_utf8_lossy(raw).contains(&password) && password.len() == 24);
    assert!(!String::from_utf8_lossy(zip.decoded().as_ref()).contains("EICAR"));
    assert!(!world.json(&["audit", "list"]).to_string().contains(&password));
    assert_eq!(held_as(&world, "harmful")["malware"], true, "it stays held");
    assert_eq!(copies(&world, ANNA, "harmful").await, 0);
}

/// One has the sender on a list, the other has not: each gets what is hers.
#[tokio::test(flavor = "multi_thread")]
async fn a_users_list_counts_for_that_user_alone() {
    let world = World::connected().await;
    let tenant = world.tenant_id(0);
    let users = world.json_directory_addresses().await;
    let bert = users.iter().find(|u| *u != ANNA).unwrap().as_str();
    world.json(&["block", &tenant, "--user", bert, "add", "pat@acme.example"]);
    let mut n = 0;
    // a gateway reads its tenants again within seconds
    until("the block of one user", async || {
        n += 1;
        let id = format!("plain-{n}");
        send(&world, &[ANNA, bert], &id, "\r\nhello").await;
        assert_eq!(copies(&world, ANNA, &id).await, 1);
        copies(&world, bert, &id).await == 0
    })
    .await;
    let held = held_as(&world, &format!("plain-{n}"));
    assert_eq!(
        (&held["category"], held["envelope"]["recipients"].as_array().unwrap().len()),
        (&"blocked_sender".into(), 1)
    );
    assert_eq!(held["envelope"]["recipients"][0]["address"], bert);
    let id = held["id"].as_str().unwrap();
    assert!(!world.command(&["held", "release", id, "--for", ANNA]).output().unwrap().status.success());
    let report = world.json(&["held", "report", id, "--for", bert, "--note", "a friend"]);
    assert_eq!(report["act"], "report");
    let told = world.json(&["held", "release", id, "--allow", "--for", bert]);
    assert_eq!(told["released"], true, "{told}");
    world.door.idle(60).await.unwrap();
    assert_eq!(copies(&world, bert, &format!("plain-{n}")).await, 1);
    assert_eq!(world.json(&["allow", &tenant, "--user", bert, "list"])[0]["sender"], "pat@acme.example");
    assert_eq!(world.json(&["block", &tenant, "--user", bert, "list"]).as_array().unwrap().len(), 0);
    assert_eq!(world.json(&["allow", &tenant, "list"]).as_array().unwrap().len(), 0);
    let reports = world.json(&["reports", "list"]);
    assert_eq!((&reports[0]["reporter"], &reports[0]["note"]), (&bert.into(), &"a friend".into()));
    assert_eq!(reports[0]["journey"]["outcome"], "partly_held", "{reports}");
}
