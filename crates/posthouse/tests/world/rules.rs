//! Rules that a tenant writes itself, and what policies do beside holding: attachments taken out, mail redirected, people
//! notified; each seen where the mail goes.

use crate::edits::with_arc_key;
use crate::harness::{World, until};
use crate::policy::{arrived, eicar, journey, send, set};
use mail_parser::MessageParser;
use serde_json::Value;

const ANNA: &str = "admin@contoso.example";

const RULES: &str = r#"
[[custom]]
name = "parcels"
when = 'subject.startsWith("parcel") && from.site == "acme.example"'
category = "phishing"
severity = "suspicious"
reason = "a parcel from somebody who sends none"
state = "enabled"

[[custom]]
name = "words"
when = 'text.contains("parcel")'
category = "spam"
points = 50
reason = "speaks of parcels"

[[custom]]
name = "nothing there"
when = 'attachments[3].size > 0'
category = "spam"
reason = "the fourth attachment"
state = "enabled"
"#;

fn file(world: &World, name: &str, text: &str) -> String {
    let file = world.config.with_file_name(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn detectors(journey: &Value) -> Vec<&str> {
    journey["findings"].as_array().unwrap().iter().map(|f| f["detector"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn own_rules_find_are_watched_and_are_asked_of_the_past() {
    let world = World::connected().await;
    let tenant = world.tenant_id(0);
    send(&world, "pat@acme.example", "Pat", ANNA, "parcel-0", "\r\nyour parcel waits\r\n").await;
    assert_eq!(journey(&world, "parcel-0")["outcome"], "handed_back");

    // before they are switched on
    let rules = file(&world, "rules.toml", RULES);
    let wrong = file(&world, "wrong.toml", &RULES.replace("from.site", "from.sight"));
    let refused = world.command(&["rules", "check", &wrong]).output().unwrap();
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("line 1, column 37: there is no field called `sight`"), "{refused}");
    let tested = world.json(&["rules", "test", &tenant, "--file", &rules, "--since", "1d"]);
    let counts = |n: usize| {
        let of = |key: &str| tested["rules"][n][key].as_u64().unwrap();
        [of("found"), of("not_known")]
    };
    assert_eq!((counts(0), counts(1)), ([1, 0], [0, 1]), "{tested}");
    assert_eq!(tested["rules"][0]["messages"][0]["subject"], "parcel-0");

    assert_eq!(world.json(&["rules", "set", &tenant, "--file", &rules]).as_array().unwrap().len(), 3);
    let mut n = 0;
    until("rules are known", async || {
        n += 1;
        let id = format!("parcel-{n}");
        send(&world, "pat@acme.example", "Pat", ANNA, &id, "\r\nyour parcel waits\r\n").await;
        journey(&world, &id)["outcome"] == "held"
    })
    .await;
    let held = journey(&world, &format!("parcel-{n}"));
    let told = detectors(&held);
    for one in ["custom:parcels", "watched:words", "failed:nothing there"] {
        assert!(told.contains(&one), "{one} in {told:?}");
    }
    let reasons = held["decision"]["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|r| r == "a parcel from somebody who sends none"), "{held}");
    let told = world.command(&["explain", held["id"].as_str().unwrap()]).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for words in ["base policy: phishing = hold", "speaks of parcels", "could not be asked: Index out of bounds"] {
        assert!(told.contains(words), "{words} in {told}");
    }
    // what only watches and what fails does nothing
    send(&world, "pat@acme.example", "Pat", ANNA, "other", "\r\nyour parcel waits\r\n").await;
    let other = journey(&world, "other");
    assert_eq!((other["outcome"].as_str(), detectors(&other).len()), (Some("handed_back"), 3), "{other}");
    assert!(!detectors(&other).contains(&"custom:parcels"), "{other}");
    // the held one is asked as a whole
    let tested = world.json(&["rules", "test", &tenant, "--since", "1d"]);
    assert_eq!(tested["rules"][1]["found"], 1, "{tested}");

    let mail = file(&world, "parcel.eml", "From: Pat <pat@acme.example>\nSubject: parcel\nTo: x@y.example\n\nno\n");
    let replayed = world.json(&["replay", "--rules", &rules, &mail]);
    assert_eq!(replayed["messages"][0]["verdict"], "hold", "{replayed}");
}

const WAYS: &str = r#"
redirect_to = "BEN"
[base]
malware = "strip"
phishing = "redirect"
[notify]
malware = "ANNA"
phishing = "alert"
"#;

fn with_attachment(text: &str) -> String {
    format!(
        "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/html\r\n\r\n{text}\r\n--m\r\n{}--m--\r\n",
        eicar()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_are_stripped_mail_is_redirected_and_people_are_told() {
    let mut world = World::connected().await;
    with_arc_key(&mut world).await;
    let (tenant, users) = (world.tenant_id(0), world.json_directory_addresses().await);
    let ben = users.iter().find(|u| *u != ANNA).unwrap().clone();
    let strangers = file(&world, "strangers.toml", &WAYS.replace("BEN", "pat@acme.example").replace("ANNA", ANNA));
    let refused = world.command(&["policy", "set", &tenant, "--file", &strangers]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("none of the tenant's domains"));
    set(&world, &WAYS.replace("BEN", &ben).replace("ANNA", ANNA));

    let mut n = 0;
    until("the policy is known", async || {
        n += 1;
        let id = format!("virus-{n}");
        send(&world, "pat@acme.example", "Pat", ANNA, &id, &with_attachment("<p>hello</p>")).await;
        journey(&world, &id)["outcome"] == "handed_back"
    })
    .await;
    let id = format!("virus-{n}");
    let raw = arrived(&world, ANNA, false, &id).await.unwrap();
    let parsed = MessageParser::new().parse(raw.as_bytes()).unwrap();
    assert_eq!(parsed.body_html(0).unwrap().trim(), "<p>hello</p>");
    let part = parsed.attachments().next().unwrap();
    let text = part.text().unwrap().into_owned();
    assert_eq!(part.attachment_name(), Some("attachment-removed-1.txt"));
    assert!(text.contains("Name:     a.com") && text.contains("Why:      attachment \"a.com\" is the EICAR"), "{text}");
    assert!(raw.contains("ARC-Seal: i=2;"), "{raw}");
    let stripped = journey(&world, &id);
    assert_eq!(stripped["edits"][0], "part 3 taken out", "{stripped}");
    until("Anna is told", async || {
        world.door.idle(60).await.unwrap();
        arrived(&world, ANNA, false, stripped["id"].as_str().unwrap()).await.is_some()
    })
    .await;
    let notice = arrived(&world, ANNA, false, stripped["id"].as_str().unwrap()).await.unwrap();
    let notice = MessageParser::new().parse(notice.as_bytes()).unwrap().body_text(0).unwrap().into_owned();
    assert!(notice.contains("stripped a message") && notice.contains("base policy: malware = strip"), "{notice}");

    // it did not come by us again
    let again = world.json(&["trace", "--address", "notice@"]);
    assert_eq!(again.as_array().unwrap().len(), 0, "{again}");

    // what is not in the attachment alone, or signed, is held
    let lie = "<a href=\"https://evil.example/x\">www.mybank.example</a>";
    let signed = with_attachment("<p>x</p>").replacen("multipart/mixed", "multipart/signed", 1);
    send(&world, "pat@acme.example", "Pat", ANNA, "signed", &signed).await;
    let held = journey(&world, "signed");
    assert_eq!(held["outcome"], "held", "{held}");
    assert!(held["decision"]["because"]["otherwise"].to_string().contains("cannot be: signed"), "{held}");

    // somebody else gets the lie, once, and without the virus
    send(&world, "pat@acme.example", "Pat", ANNA, "lie", &with_attachment(lie)).await;
    let redirected = journey(&world, "lie");
    assert_eq!(redirected["outcome"], "redirected", "{redirected}");
    assert_eq!(redirected["redirected_to"].as_str(), Some(ben.as_str()));
    assert!(arrived(&world, ANNA, false, "lie@").await.is_none());
    let raw = arrived(&world, &ben, false, "lie@").await.unwrap();
    assert!(raw.contains("attachment-removed-1.txt") && raw.contains("mybank.example"), "{raw}");
    let alerts = world.json(&["alerts"]).to_string();
    assert!(alerts.contains("\"policy\"") && alerts.contains("malware redirected"), "{alerts}");
    // for whom it is anyway, it is not redirected
    send(&world, "pat@acme.example", "Pat", &ben, "own", &format!("Content-Type: text/html\r\n\r\n{lie}\r\n")).await;
    assert_eq!(journey(&world, "own")["outcome"], "handed_back");

    // nobody there: held for whom it was, and its sender hears nothing of it
    set(&world, &WAYS.replace("BEN", "nobody-there@contoso.example").replace("ANNA", ANNA));
    let mut n = 0;
    until("nobody is there", async || {
        n += 1;
        let id = format!("nobody-{n}");
        send(&world, "pat@acme.example", "Pat", ANNA, &id, &format!("Content-Type: text/html\r\n\r\n{lie}\r\n")).await;
        journey(&world, &id)["outcome"] == "held"
    })
    .await;
    let held = world.json(&["held", "list"]);
    assert!(held[0]["why"][0].as_str().unwrap().contains("nobody-there@contoso.example"), "{held}");
    assert_eq!(held[0]["envelope"]["recipients"][0]["address"], ANNA);
}

/// What was taken out of a message comes to nobody later either: one recipient is refused for now and gets it by release.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_stripped_stays_out_for_those_who_get_it_later() {
    let mut world = World::connected().await;
    with_arc_key(&mut world).await;
    let users = world.json_directory_addresses().await;
    let ben = users.iter().find(|u| *u != ANNA).unwrap().clone();
    set(&world, "[base]\nmalware = \"strip\"\n");
    let mut n = 0;
    until("the policy is known", async || {
        n += 1;
        let id = format!("virus-{n}");
        send(&world, "pat@acme.example", "Pat", ANNA, &id, &with_attachment("<p>hello</p>")).await;
        journey(&world, &id)["outcome"] == "handed_back"
    })
    .await;
    let busy = serde_json::json!({"door": "smtp_rcpt", "matching": format!("{ben} && peer=127.0.50.1"), "answer": "450 4.2.1 Mailbox busy", "times": 1});
    world.door.post("/faults", busy).await.unwrap();
    let raw = format!(
        "From: Pat <pat@acme.example>\r\nTo: {ANNA}, {ben}\r\nSubject: both\r\nMessage-ID: <both@acme.example>\r\nMIME-Version: 1.0\r\n{}",
        with_attachment("<p>both</p>")
    );
    let both = [ANNA.to_owned(), ben.clone()];
    world.door.send_from_internet("pat@acme.example", &both, raw.as_bytes(), false).await.unwrap();
    world.door.idle(60).await.unwrap();
    assert_eq!(journey(&world, "both")["outcome"], "partly_held");
    let held = world.json(&["held", "list"]);
    let waiting = held.as_array().unwrap().iter().find(|h| h["subject"] == "both").unwrap();
    assert_eq!(waiting["reason"], "refused_for_now", "{held}");
    let kept = world.command(&["held", "show", "--raw", waiting["id"].as_str().unwrap()]).output().unwrap();
    assert!(!String::from_utf8_lossy(&kept.stdout).contains("name=a.com"), "the virus waits here");
    world.json(&["held", "release", waiting["id"].as_str().unwrap()]);
    world.door.idle(60).await.unwrap();
    for address in [ANNA, &ben] {
        let raw = arrived(&world, address, false, "both@").await.unwrap();
        let parsed = MessageParser::new().parse(raw.as_bytes()).unwrap();
        assert_eq!(parsed.body_html(0).unwrap().trim(), "<p>both</p>");
        let names: Vec<_> = parsed.attachments().map(|a| a.attachment_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["attachment-removed-1.txt"], "{address}");
    }
}
