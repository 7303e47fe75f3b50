//! Edits on real ways: what the tenant asked for, on the right mail only, sealed, told, and taken out again.

use crate::harness::{World, until};
use mail_parser::MessageParser;

const WORDING: &str = "CAUTION: This message came from outside your organization.";
const TO: &str = "admin@contoso.example";

/// A gateway with a key for ARC.
pub async fn with_arc_key(world: &mut World) {
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
    let file = world.config.with_file_name("arc.pem");
    std::fs::write(&file, pem).unwrap();
    let text = std::fs::read_to_string(&world.config).unwrap();
    let more = format!("arc_key = \"{}\"\n[zone]", file.display());
    std::fs::write(&world.config, text.replacen("[zone]", &more, 1)).unwrap();
    world.restart_gateway().await;
}

pub async fn send(world: &World, id: &str, rest: &str) {
    let raw = format!(
        "From: Pat <pat@acme.example>\r\nTo: {TO}\r\nSubject: {id}\r\nMessage-ID: <{id}@acme.example>\r\nMIME-Version: 1.0\r\n{rest}"
    );
    world.door.send_from_internet("pat@acme.example", &[TO.into()], raw.as_bytes(), false).await.unwrap();
    world.door.idle(60).await.unwrap();
}

pub async fn delivered(world: &World, address: &str, outside: bool, id: &str) -> String {
    let all = world.door.mailbox(address, outside).await.unwrap();
    let found = all.iter().find(|m| m.message_id.contains(id)).unwrap_or_else(|| panic!("{id} is not at {address}"));
    String::from_utf8_lossy(&found.raw).into_owned()
}

fn edits_of(world: &World, id: &str) -> Vec<String> {
    let journeys = world.json(&["trace", "--message-id", &format!("{id}@acme.example")]);
    let edits = journeys[0]["edits"].as_array().unwrap().iter();
    edits.map(|e| e.as_str().unwrap().to_owned()).collect()
}

fn refused(world: &World, args: &[&str]) -> String {
    let output = world.command(args).output().unwrap();
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn banner_and_tag_go_in_are_sealed_and_told_and_the_banner_comes_out_of_replies() {
    let mut world = World::connected().await;
    let tenant = world.tenant_id(0);
    let asked = ["tenant", "edits", &tenant, "--banner", "external", "--subject-tag", "[EXTERNAL]"];
    assert!(refused(&world, &asked).contains("set gateway.arc_key first"));
    with_arc_key(&mut world).await;
    assert_eq!(world.json(&asked)["banner"], "external");
    assert!(
        refused(&world, &["tenant", "edits", &tenant, "--header", "X-Posthouse-Pass: x"]).contains("X-Name: value")
    );

    // a gateway reads its tenants again within seconds
    until("the wish is known", async || {
        send(&world, "known", "\r\nhello\r\n").await;
        edits_of(&world, "known").iter().any(|e| e.starts_with("banner"))
    })
    .await;

    let both = "Content-Type: multipart/alternative; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\nContent-Type: text/html\r\n\r\n<html><body><p>hello</p></body></html>\r\n--b1--\r\n";
    send(&world, "both", both).await;
    // the first set is Exchange Online's own, of its first pass
    let raw = delivered(&world, TO, false, "both").await;
    assert!(raw.contains("Subject: [EXTERNAL] both\r\n"), "{raw}");
    assert!(raw.contains("ARC-Seal: i=2;") && raw.contains("d=connect.posthouse.example"), "{raw}");
    let parsed = MessageParser::new().parse(raw.as_bytes()).unwrap();
    assert!(
        parsed.body_text(0).unwrap().starts_with(WORDING) && parsed.body_html(0).unwrap().contains(WORDING),
        "{raw}"
    );
    assert_eq!(
        edits_of(&world, "both"),
        [
            "tag \"[EXTERNAL]\" in front of the subject",
            "banner above part 2 (text/plain)",
            "banner above part 3 (text/html)",
            "sealed: ARC set 2"
        ]
    );
    let id = world.json(&["trace", "--message-id", "both@acme.example"])[0]["id"].as_str().unwrap().to_owned();
    let told = world.command(&["explain", &id]).output().unwrap();
    assert!(String::from_utf8_lossy(&told.stdout).contains("edit        sealed: ARC set 2"));

    // what was held gets the same when a person releases it
    let lies = "Content-Type: text/html\r\n\r\n<p><a href=\"https://evil.example/x\">www.mybank.example</a></p>\r\n";
    send(&world, "lies", lies).await;
    let held = world.json(&["held", "list"]);
    assert_eq!(world.json(&["held", "release", held[0]["id"].as_str().unwrap()])["released"], true);
    world.door.idle(60).await.unwrap();
    let raw = delivered(&world, TO, false, "lies").await;
    assert!(raw.contains("Subject: [EXTERNAL] lies\r\n") && raw.contains("CAUTION: This message"), "{raw}");
    assert!(raw.contains("ARC-Seal: i=2;") && raw.contains("d=connect.posthouse.example"), "{raw}");

    let signed = "Content-Type: multipart/signed; boundary=b1; protocol=\"application/pkcs7-signature\"; micalg=sha-256\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n\r\nx\r\n--b1--\r\n";
    send(&world, "signed", signed).await;
    let raw = delivered(&world, TO, false, "signed").await;
    assert!(
        raw.ends_with(signed) && raw.contains("Subject: signed\r\n") && !raw.contains("d=connect.posthouse.example"),
        "{raw}"
    );
    assert_eq!(edits_of(&world, "signed"), ["not edited: signed (S/MIME, PGP/MIME): the signature would fail"]);

    let quoted = format!(
        "From: {TO}\r\nTo: pat@acme.example\r\nSubject: Re: both\r\nMessage-ID: <reply@acme.example>\r\n\r\nThanks.\r\n\r\n> {WORDING} Do not open links or\r\n> attachments unless you know the sender and expected it.\r\n> \r\n> hello\r\n"
    );
    world.door.submit(&tenant, TO, &["pat@acme.example".into()], quoted.as_bytes()).await.unwrap();
    world.door.idle(60).await.unwrap();
    let raw = delivered(&world, "pat@acme.example", true, "reply").await;
    assert!(raw.contains("Thanks.\r\n\r\n> hello\r\n") && !raw.contains("CAUTION"), "{raw}");
    assert_eq!(edits_of(&world, "reply")[0], "banner of ours taken out of part 1 (text/plain)");
}
