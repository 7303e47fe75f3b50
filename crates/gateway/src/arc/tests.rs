#![allow(clippy::unwrap_used, clippy::expect_used)]
//! What we seal is verified by dkimpy, which has its own canonicalization, its own parser and its own mistakes.

use super::*;
use crate::edits::carried_out;
use crate::serve::Settings;
use bytes::Bytes;
use mail::{Banner, Edit};
use mail_auth::dkim::DkimSigner;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use store::{Store, ZoneRecord};
use verdict::AuthResult;

const ZONE: &str = "seal.example";
const OTHER: &str = "other.seal.example";
const MESSAGE: &str = "From: Pat <pat@other.seal.example>\r\nTo: kim@contoso.example\r\nSubject: Figures\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@other.seal.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<html><body>\r\n<p>Zahlen  für März</p> \r\n\r\n</body></html>\r\n\r\n\r\n";

struct World {
    house: Arc<House>,
    dns: BTreeMap<String, String>,
    other: ArcKey,
    other_pem: String,
    dir: tempfile::TempDir,
    _zone: tokio::task::JoinHandle<()>,
}

fn rsa() -> String {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem()
}

fn key_of(pem: &str, domain: &str, selector: &str) -> ArcSettings {
    ArcSettings { key_pem: Secret::new(pem), domain: domain.into(), selector: selector.into() }
}

/// A house that seals as `pem` says, and a DNS that knows its key and that of another sealer.
async fn world(pem: &str) -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("data")).await.unwrap();
    let other_pem = rsa();
    let other = ArcKey::new(&key_of(&other_pem, OTHER, "s1")).unwrap();
    let record =
        ZoneRecord { tenant: None, name: other.record_name.clone(), kind: "TXT".into(), value: other.record.clone() };
    store.put_zone_record(&record).await.unwrap();
    let port = SocketAddr::from(([127, 0, 0, 1], engines::started::free_port()));
    let own = rcgen::generate_simple_self_signed(vec!["gw.seal.example".to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let settings = Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        hostname: "gw.seal.example".into(),
        chain_pem: own.cert.pem(),
        key_pem: Secret::new(own.signing_key.serialize_pem()),
        roots: Arc::new(roots),
        microsoft_names: vec![],
        microsoft_ranges: vec![],
        resolver: Some(port),
        return_port: 25,
        egress_address: None,
        public_address: None,
        zone: ZONE.into(),
        dns_listen: Some(port),
        budget: std::time::Duration::from_secs(20),
        binarymime: false,
        arc: Some(key_of(pem, ZONE, "posthouse")),
        classifier: None,
        engines: vec![],
        lists: vec![],
        lists_dir: std::path::PathBuf::new(),
        web: None,
    };
    let house = House::new(settings, store).unwrap();
    let (_, zone) = crate::zone::serve(&house, port).await.unwrap();
    let own = house.arc.clone().unwrap();
    let dns = [(own.record_name, own.record), (other.record_name.clone(), other.record.clone())].into();
    World { house, dns, other, other_pem, dir, _zone: zone }
}

fn edits() -> Vec<Edit> {
    vec![
        Edit::add("Received", "by gw.seal.example (Posthouse) id 1; Mon, 2 Nov 2026 10:00:01 +0000"),
        Edit::add("X-Posthouse-Id", "1"),
        Edit::SubjectTag("[EXTERNAL]".into()),
        Edit::Banner(Banner::of("Achtung: diese Nachricht kommt von außen, öffnen Sie nichts.")),
    ]
}

impl World {
    /// As another gateway in front would have sealed it.
    async fn sealed_by_other(&self, raw: &[u8]) -> Vec<u8> {
        let message = AuthenticatedMessage::parse(raw).unwrap();
        let chain = self.house.authenticator.verify_arc(&message).await;
        let results = AuthenticationResults::new("mx.other.seal.example; dkim=none");
        let set = self.other.sealer.seal(&message, &results, &chain).unwrap();
        [set.to_header().as_bytes(), raw].concat()
    }

    async fn edited(&self, raw: &[u8]) -> (Vec<u8>, Vec<String>) {
        let proofs = Proofs::default();
        let (pieces, told) = carried_out(&self.house, &Bytes::copy_from_slice(raw), edits(), None, &proofs).await;
        (pieces.joined().to_vec(), told)
    }

    fn put(&self, name: &str, raw: &[u8]) {
        std::fs::write(self.dir.path().join(format!("{name}.eml")), raw).unwrap();
    }

    /// What dkimpy says of every message that was put down, by name.
    fn dkimpy(&self) -> BTreeMap<String, String> {
        std::fs::write(self.dir.path().join("dns.json"), serde_json::to_vec(&self.dns).unwrap()).unwrap();
        // Debian's Python has dkimpy; another one in the path may not
        let python = std::env::var("POSTHOUSE_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".into());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/arc_verify.py");
        let out = Command::new(python).arg(script).arg(self.dir.path()).output();
        let out = out.expect("Python 3 is needed; `cargo xtask test` installs it");
        let errors = String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.success(),
            "dkimpy (Debian: python3-dkim) is needed; `cargo xtask test` installs it:\n{errors}"
        );
        eprintln!("{errors}");
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines().filter_map(|l| l.split_once(' ')).map(|(name, said)| (name.to_owned(), said.to_owned())).collect()
    }
}

#[tokio::test]
async fn another_implementation_verifies_our_sets_on_every_kind_of_message() {
    let world = world(&rsa()).await;
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mail/tests/edits");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(cases).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    let mut sealed = 0;
    for folder in folders {
        let text = std::fs::read(folder.join("message.eml")).unwrap();
        let raw = text.split(|b| *b == b'\n').collect::<Vec<_>>().join(b"\r\n".as_slice());
        let (out, told) = world.edited(&raw).await;
        if told.iter().any(|t| t == "sealed: ARC set 1") {
            assert!(out.starts_with(b"ARC-Seal: i=1"), "the seal is topmost (RFC 8617 §5.1)");
            world.put(&folder.file_name().unwrap().to_string_lossy(), &out);
            sealed += 1;
        } else {
            assert!(
                told.iter().all(|t| !t.starts_with("sealed") && !t.starts_with("not sealed")),
                "{}: {told:?}",
                folder.display()
            );
        }
    }
    assert!(sealed >= 60, "{sealed}");
    let said = world.dkimpy();
    assert_eq!(said.len(), sealed);
    let wrong: Vec<_> = said.iter().filter(|(_, s)| *s != "arc=pass dkim=none").collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn a_chain_that_verifies_is_extended_and_no_other() {
    let world = world(&rsa()).await;
    let once = world.sealed_by_other(MESSAGE.as_bytes()).await;
    let twice = world.sealed_by_other(&once).await;
    let broken = String::from_utf8(once.clone()).unwrap().replace("März", "Mai").into_bytes();
    let half = String::from_utf8(once.clone()).unwrap().replacen("ARC-Seal:", "X-Seal:", 1).into_bytes();
    let mut told_of = Vec::new();
    for (name, raw) in
        [("none", MESSAGE.as_bytes()), ("one", &once), ("two", &twice), ("broken", &broken), ("half", &half)]
    {
        let (out, told) = world.edited(raw).await;
        told_of.push(format!("{name}: {}", told.last().unwrap()));
        world.put(name, &out);
        let tampered = String::from_utf8(out).unwrap().replacen("Zahlen", "Summen", 1);
        world.put(&format!("{name}-tampered"), tampered.as_bytes());
    }
    told_of.extend(world.dkimpy().iter().map(|(name, said)| format!("{name} {said}")));
    insta::assert_snapshot!(told_of.join("\n"), @r"
    none: sealed: ARC set 1
    one: sealed: ARC set 2
    two: sealed: ARC set 3
    broken: not sealed: the chain so far does not verify
    half: not sealed: the chain so far does not verify
    broken arc=fail dkim=none
    broken-tampered arc=fail dkim=none
    half arc=fail dkim=none
    half-tampered arc=fail dkim=none
    none arc=pass dkim=none
    none-tampered arc=fail dkim=none
    one arc=pass dkim=none
    one-tampered arc=fail dkim=none
    two arc=pass dkim=none
    two-tampered arc=fail dkim=none
    ");
}

#[tokio::test]
async fn a_chain_has_fifty_sets_and_no_more() {
    let world = world(&rsa()).await;
    let mut raw = MESSAGE.as_bytes().to_vec();
    for _ in 0..49 {
        raw = world.sealed_by_other(&raw).await;
    }
    let (out, told) = world.edited(&raw).await;
    assert_eq!(told.last().unwrap(), "sealed: ARC set 50");
    world.put("fifty", &out);
    assert_eq!(world.dkimpy()["fifty"], "arc=pass dkim=none");
    let full = world.sealed_by_other(&raw).await;
    let (out, told) = world.edited(&full).await;
    assert_eq!(told.last().unwrap(), "not sealed: the chain has 50 sets already");
    assert!(!out.starts_with(b"ARC-"));
}

#[tokio::test]
async fn fields_on_top_leave_the_senders_signature_whole_and_an_edit_does_not() {
    let world = world(&rsa()).await;
    let der = PrivateKeyDer::from_pem_slice(world.other_pem.as_bytes()).unwrap();
    let signer = DkimSigner::from_key(RsaKey::from_key_der(der).unwrap()).domain(OTHER).selector("s1");
    let signature = signer.headers(["From", "To", "Subject", "Date"]).sign(MESSAGE.as_bytes()).unwrap().to_header();
    let raw = Bytes::from(signature + MESSAGE);
    world.put("as-it-came", &raw);
    let only_top = edits()[..2].to_vec();
    let (out, told) = carried_out(&world.house, &raw, only_top, None, &Proofs::default()).await;
    assert!(told.is_empty(), "nothing is told of our own fields: {told:?}");
    world.put("fields-on-top", &out.joined());
    world.put("edited", &world.edited(&raw).await.0);
    let said = world.dkimpy();
    let lines: Vec<String> = said.iter().map(|(name, s)| format!("{name} {s}")).collect();
    assert_eq!(
        lines,
        ["as-it-came arc=none dkim=pass", "edited arc=pass dkim=none", "fields-on-top arc=none dkim=pass"]
    );
}

#[test]
fn other_keys_than_rsa_are_refused_in_one_sentence() {
    let ec = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    for wrong in [ec.as_str(), &ed25519, "", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        let said = ArcKey::new(&key_of(wrong, ZONE, "s")).err().unwrap();
        assert_eq!(said, "expected one PEM block with an RSA key of 2048 bits or more");
    }
}

#[tokio::test]
async fn our_dns_serves_the_key_of_the_seals() {
    let world = world(&rsa()).await;
    let key = world.house.arc.as_ref().unwrap();
    let found = world.house.resolver.txt_lookup(format!("{}.", key.record_name)).await.unwrap();
    let text: Vec<String> = found.answers().iter().map(|r| r.data.to_string()).collect();
    assert_eq!(text.concat().replace(['"', ' '], ""), key.record.replace(' ', ""));
}

#[test]
fn the_results_are_those_that_were_found() {
    let result = |method: &str, result: &str, domain: Option<&str>| AuthResult {
        method: method.into(),
        result: result.into(),
        domain: domain.map(str::to_owned),
    };
    let proofs = Proofs {
        microsoft: vec![
            result("spf", "pass", Some("a.example")),
            result("dkim", "pass", Some("not-repeated.example")),
            result("dmarc", "fail", Some("b.example")),
            result("compauth", "fail", None),
        ],
        own: vec![
            result("dkim", "pass", Some("c.example")),
            result("dkim", "fail", Some("d.example; spf=pass")),
            result("arc", "fail", None),
        ],
        scl: None,
        ..Proofs::default()
    };
    assert_eq!(
        results("gw.example", &proofs),
        "gw.example; dkim=pass header.d=c.example; dkim=fail; spf=pass smtp.mailfrom=a.example; dmarc=fail header.from=b.example; arc=fail"
    );
    assert_eq!(results("gw.example", &Proofs::default()), "gw.example; dkim=none; arc=none");
}
