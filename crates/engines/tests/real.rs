//! The real scanners, from Debian's packages, each started here with a configuration of its own and ended at the end.
//! `cargo xtask test` installs them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use engines::started::{MARK, clamd, rspamd};
use engines::{Address, Answer, Asked, EngineSettings, Engines, Fault, Health, Kind, OnFault};
use std::time::{Duration, Instant};
use verdict::{Category, Severity};

const BUDGET: Duration = Duration::from_secs(20);

fn settings(kind: Kind, address: &str) -> EngineSettings {
    let address = Address::read(kind, address).unwrap();
    EngineSettings { name: kind.as_str().into(), kind, address, budget: BUDGET, on_fault: OnFault::Defer }
}

fn message(subject: &str, body: &str) -> Asked {
    // rules look at its age
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S +0000");
    let raw = format!(
        "From: Pat <pat@acme.example>\r\nTo: grace@contoso.example\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: <{subject}@acme.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
    );
    Asked {
        id: "0193".into(),
        raw: Bytes::from(raw),
        client: Some([192, 0, 2, 1].into()),
        helo: Some("mail.acme.example".into()),
        sender: "pat@acme.example".into(),
        recipients: vec!["grace@contoso.example".into()],
        is_outbound: false,
    }
}

async fn ask(engines: &Engines, asked: &Asked) -> Answer {
    engines.ask(asked, Instant::now() + BUDGET).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn clamd_over_both_kinds_of_socket() {
    let folder = tempfile::tempdir().unwrap();
    let mut scanner = clamd(folder.path()).unwrap();
    for address in &scanner.addresses {
        let engines = Engines::new(vec![settings(Kind::Clamd, address)]);
        let clean = ask(&engines, &message("clean", "hello")).await;
        assert_eq!((clean.fault, clean.findings.len()), (None, 0));
        let bad = ask(&engines, &message("bad", MARK)).await;
        let found = &bad.findings[0];
        assert_eq!((found.severity, found.category), (Severity::Malicious, Category::Malware));
        assert_eq!(found.summary, "ClamAV found \"Posthouse.Test.Mark.UNOFFICIAL\"");
        // many pieces, and what is bad in the last of them
        let padding = "all work and no play\r\n".repeat(30_000);
        let late = ask(&engines, &message("late", &format!("{padding}{MARK}"))).await;
        assert_eq!(late.findings.len(), 1, "{:?}", late.fault);
        // above its StreamMaxLength of two megabytes
        let large = ask(&engines, &message("large", &padding.repeat(8))).await;
        assert!(matches!(large.fault, Some(Fault::TooLarge(_))), "{:?}", large.fault);
        assert_eq!(large.findings[0].category, Category::Unscannable);
        engines.try_all().await;
        let status = engines.status().remove(0);
        assert_eq!(status.health, Health::Healthy);
        assert!(status.version.unwrap().starts_with("ClamAV 1."));
    }
    // many at the same time: it has fewer threads
    let engines = Engines::new(vec![settings(Kind::Clamd, &scanner.addresses[0])]);
    let all = (0..64).map(|n| message(&format!("many-{n}"), if n % 2 == 0 { MARK } else { "hello" }));
    let all: Vec<Asked> = all.collect();
    let answers = futures_util::future::join_all(all.iter().map(|asked| ask(&engines, asked))).await;
    let found: Vec<usize> = answers.iter().map(|a| a.findings.len()).collect();
    assert_eq!(found, (0..64).map(|n| usize::from(n % 2 == 0)).collect::<Vec<_>>());
    scanner.kill();
    let gone = ask(&engines, &message("gone", "hello")).await;
    assert!(matches!(gone.fault, Some(Fault::Down(_))), "{:?}", gone.fault);
}

#[tokio::test(flavor = "multi_thread")]
async fn rspamd_with_debians_rules() {
    let folder = tempfile::tempdir().unwrap();
    let mut scanner = rspamd(folder.path()).unwrap();
    let engines = Engines::new(vec![settings(Kind::Rspamd, &scanner.addresses[0])]);
    let clean = ask(&engines, &message("Minutes", "Dear Grace, here are the minutes of our meeting.")).await;
    assert_eq!(clean.fault, None);
    assert!(clean.findings.iter().all(|f| f.severity == Severity::Note), "{:?}", clean.findings);
    // rspamd.com/doc/gtube_patterns.html; in two halves, so that no scanner takes this file for it
    let gtube = ["XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"].concat();
    let spam = ask(&engines, &message("spam", &gtube)).await;
    let found = &spam.findings[0];
    assert_eq!((found.severity, found.category), (Severity::Suspicious, Category::Spam), "{found:?}");
    // what its rules saw is told
    let shouting = message("WIN MONEY NOW", "<a href=\"http://192.0.2.7/login\">http://www.bank.example/</a>");
    let raw = String::from_utf8(shouting.raw.to_vec()).unwrap().replace("text/plain", "text/html");
    let shouting = Asked { raw: Bytes::from(raw.replace("Message-ID", "X-Was")), ..shouting };
    let noted = ask(&engines, &shouting).await;
    assert_eq!(noted.fault, None);
    assert!(noted.findings.iter().all(|f| !f.details.is_empty()), "{:?}", noted.findings);
    assert!(!noted.findings.is_empty(), "nothing at all");
    engines.try_all().await;
    assert!(engines.status()[0].version.as_ref().unwrap().starts_with("rspamd"), "{:?}", engines.status());
    scanner.kill();
    let gone = ask(&engines, &message("gone", "hello")).await;
    assert!(matches!(gone.fault, Some(Fault::Down(_))), "{:?}", gone.fault);
}
