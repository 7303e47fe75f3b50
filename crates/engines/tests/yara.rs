//! An operator's YARA rules over messages; `cargo test -p engines --features yara`.
#![cfg(feature = "yara")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use engines::{Address, Asked, EngineSettings, Engines, Fault, Kind, OnFault};
use std::path::Path;
use std::time::{Duration, Instant};

const RULES: &str = r#"
rule Plain { strings: $a = "needle-one" condition: $a }
rule Said {
    meta:
        description = "says what it is"
        category = "phishing"
        severity = "malicious"
    strings: $a = "needle-two"
    condition: $a
}
rule Weak { meta: severity = "note" points = 20 category = "nonsense" strings: $a = "needle-three" condition: $a }
private rule Hidden { condition: true }
"#;

fn engines(folder: &Path, budget: Duration) -> Engines {
    Engines::new(vec![EngineSettings {
        name: "yara".into(),
        kind: Kind::Yara,
        address: Address::read(Kind::Yara, &folder.display().to_string()).unwrap(),
        budget,
        on_fault: OnFault::Defer,
    }])
}

/// Its findings as text, or its fault.
async fn said(engines: &Engines, raw: &str) -> String {
    let asked = Asked { raw: raw.replace('\n', "\r\n").into_bytes().into(), ..Asked::default() };
    let answer = engines.ask(&asked, Instant::now() + Duration::from_secs(30)).await.remove(0);
    if let Some(fault) = answer.fault {
        return format!("{}: {fault}", fault.kind());
    }
    let one = |f: verdict::Finding| {
        format!("{} {:?} {} {} {:?}", f.category.as_str(), f.severity, f.points, f.summary, f.details)
    };
    answer.findings.into_iter().map(one).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_run_over_the_message_its_texts_and_what_is_in_its_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ours.yar"), RULES).unwrap();
    std::fs::write(dir.path().join("other.yara"), "rule Plain { condition: false }").unwrap();
    std::fs::write(dir.path().join("notes.txt"), "no rule at all {").unwrap();
    let engines = engines(dir.path(), Duration::from_secs(20));
    assert_eq!(said(&engines, "Subject: x\n\nclean\n").await, "");
    // gzip -c of `needle-two`, inside: printf 'needle-two\n' | gzip -nc | base64
    let zipped = "H4sIAAAAAAAAA8tLTU3JSdUtKc/nAgDpLZOGCwAAAA==";
    let raw = format!(
        "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\nbmVlZGxlLW9uZSBuZWVkbGUtdGhyZWU=\n--b\nContent-Type: application/gzip; name=a.gz\nContent-Transfer-Encoding: base64\n\n{zipped}\n--b--\n"
    );
    let told = said(&engines, &raw).await;
    assert_eq!(
        told,
        "phishing Malicious 100 the YARA rule \"Said\" fits \"a.gz → a\" [\"says what it is\", \"rules \\\"ours\\\"\"]\n\
         malware Suspicious 100 the YARA rule \"Plain\" fits the text [\"rules \\\"ours\\\"\"]\n\
         malware Note 20 the YARA rule \"Weak\" fits the text [\"rules \\\"ours\\\"\"]"
    );
    engines.try_all().await;
    assert_eq!(engines.status()[0].version.as_deref(), Some("YARA-X, 5 rules"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_read_again_and_wrong_ones_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engines = engines(dir.path(), Duration::from_secs(20));
    assert!(engines.reload().unwrap_err().contains("ends in .yar"));
    assert!(said(&engines, "Subject: x\n\ny\n").await.starts_with("failed: answered with an error"));
    let file = dir.path().join("a.yar");
    std::fs::write(&file, "rule A { strings: $a = \"first-word\" condition: $a }").unwrap();
    engines.reload().unwrap();
    assert!(said(&engines, "Subject: x\n\nfirst-word\n").await.contains("\"A\" fits the message"));
    std::fs::write(&file, "rule A { condition: nonsense }").unwrap();
    let why = engines.reload().unwrap_err();
    assert!(why.contains("a.yar") && why.contains("nonsense") && !why.contains('\n'), "{why}");
    assert!(said(&engines, "Subject: x\n\nfirst-word\n").await.contains("\"A\" fits"));
    std::fs::write(&file, "include \"/etc/passwd\"").unwrap();
    assert!(engines.reload().is_err());
    std::fs::write(&file, "rule B { strings: $a = \"second-word\" condition: $a }").unwrap();
    engines.reload().unwrap();
    assert_eq!(said(&engines, "Subject: x\n\nfirst-word\n").await, "");
    assert!(said(&engines, "Subject: x\n\nsecond-word\n").await.contains("\"B\" fits"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_does_not_end_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let slow = "rule Slow { condition: for any i in (0..filesize * 100000000) : ( uint8(i) == 256 ) }";
    std::fs::write(dir.path().join("slow.yar"), slow).unwrap();
    let engines = engines(dir.path(), Duration::from_millis(1_500));
    engines.reload().unwrap();
    let began = Instant::now();
    let told = said(&engines, "Subject: x\n\ny\n").await;
    assert_eq!(told.split(':').next(), Some(Fault::Slow(Duration::ZERO).kind()), "{told}");
    assert!(began.elapsed() < Duration::from_secs(10));
}
