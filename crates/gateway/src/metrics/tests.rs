#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::receive::Received;
use std::collections::BTreeMap;
use std::path::Path;
use store::StepTime;

fn log(outcome: impl Fn(&mut Log)) -> Log {
    let mut log = Log::begin(&Received {
        id: "01".into(),
        at: jiff::Timestamp::UNIX_EPOCH,
        peer: ([127, 0, 0, 1], 25).into(),
        helo: "helo-of-a-stranger".into(),
        envelope: mail::Envelope::new("sender@a-stranger.example", ["person@contoso.example"]),
        raw: "Subject: words of a stranger\r\nMessage-ID: <id@a-stranger.example>\r\n\r\nhello\r\n".into(),
        micros: 1500,
        whole: std::time::Instant::now(),
        budget: crate::limits::JOURNEY_BUDGET,
    });
    outcome(&mut log);
    log
}

/// Everything counted at least once, with numbers that are always the same.
fn filled() -> Metrics {
    let metrics = Metrics::new();
    let held = log(|log| {
        log.entry.direction = Some(Direction::Inbound);
        log.entry.steps.push(StepTime { step: "inspect".into(), micros: 40 });
        log.entry.steps.push(StepTime { step: "no such step".into(), micros: 40 });
        let finding = |detector: &str| verdict::Finding {
            detector: detector.into(),
            category: verdict::Category::Malware,
            severity: verdict::Severity::Malicious,
            points: 100,
            summary: "words of a stranger".into(),
            details: Vec::new(),
        };
        log.entry.findings = vec![finding("eicar"), finding("clamd"), finding("words of a stranger")];
        log.entry.decision = Some(verdict::Decision {
            verdict: verdict::Verdict::Hold,
            category: verdict::Category::Malware,
            ..verdict::Decision::pass(Vec::new())
        });
    });
    metrics.journey(&held, Some("contoso".into()), Outcome::Held, Duration::from_millis(12));
    let broken = log(|log| log.fault = Some("store"));
    metrics.journey(&broken, None, Outcome::Deferred, Duration::from_secs(90));
    metrics.alert(AlertKind::NotAttributed);
    [(true, true), (false, true), (false, false)].iter().for_each(|(ours, taken)| metrics.session(*ours, *taken));
    ["TLSv1_3", "TLSv1_2", "words of a stranger"].iter().for_each(|protocol| metrics.tls(protocol));
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
    metrics.session_failed(&std::io::Error::new(std::io::ErrorKind::InvalidData, alert));
    metrics.session_failed(&std::io::ErrorKind::UnexpectedEof.into());
    let said = |code, enhanced| Reply { code, enhanced, text: "words of a stranger".into() };
    for reply in
        [said(250, Some((2, 6, 0))), said(550, Some((5, 7, 64))), said(550, Some((5, 7, 999))), said(451, None)]
    {
        metrics.returned(&reply);
    }
    metrics.return_opened("contoso");
    metrics.store_seconds.get_or_create(&OperationLabel { operation: "journal" }).add(700);
    metrics.store_errors.get_or_create(&OperationLabel { operation: "hold" }).inc();
    let answer = engines::Answer {
        engine: "clamd".into(),
        on_fault: engines::OnFault::Defer,
        took: Duration::from_millis(3),
        findings: Vec::new(),
        fault: None,
    };
    metrics.engine(&answer);
    let resting = engines::Fault::Resting { since: jiff::Timestamp::UNIX_EPOCH, why: "words of a stranger".into() };
    metrics.engine(&engines::Answer { fault: Some(resting), ..answer });
    metrics.reloaded(true);
    metrics
}

fn page() -> String {
    filled().page(&Now {
        journeys: 2,
        octets: 4096,
        sessions: (3, 1),
        returns: vec![("contoso".into(), 1, 2)],
        held: vec![("contoso".into(), 5)],
        engines: vec![("clamd".into(), "failing")],
        lists: vec![("phishing".into(), 1234, 1_700_000_000)],
        tenants: 1,
        certificate_end: 1_900_000_000,
        ready: true,
        draining: false,
    })
}

#[test]
fn the_page_is_as_it_was() {
    let page = page().replace(env!("CARGO_PKG_VERSION"), "VERSION");
    // 18 bounds a histogram say little; one of them is shown
    let shown = page.lines().filter(|l| !l.contains("le=") || l.contains("le=\"1.0\"") || l.contains("+Inf"));
    let mut lines: Vec<&str> = Vec::new();
    let mut samples: Vec<&str> = Vec::new();
    // within a metric the order is nobody's promise
    for line in shown {
        if line.starts_with('#') {
            samples.sort_unstable();
            lines.append(&mut samples);
            lines.push(line);
        } else {
            samples.push(line);
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}

/// Whatever a stranger can write, and whoever is a person, stands in no label.
#[test]
fn nothing_of_a_message_becomes_a_label() {
    let page = page();
    for word in ["stranger", "person", "@", "999", "no such step"] {
        assert!(!page.contains(word), "{word} in:\n{page}");
    }
}

#[test]
fn a_tenant_that_is_gone_is_said_nothing_of() {
    let metrics = filled();
    let now = |tenants: &[&str]| Now { held: tenants.iter().map(|t| ((*t).to_owned(), 1)).collect(), ..Now::default() };
    assert!(metrics.page(&now(&["contoso", "tailspin"])).contains("posthouse_held{tenant=\"tailspin\"} 1"));
    assert!(!metrics.page(&now(&["contoso"])).contains("tailspin"));
}

/// The table of docs/operate.md, between its marks, is this page's own description of itself.
#[test]
fn the_documented_metrics_are_those_of_the_page() {
    let page = page();
    let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for sample in page.lines().filter(|l| !l.starts_with('#')) {
        let (name, rest) = sample.split_once(['{', ' ']).unwrap();
        let names = if sample.contains('{') { rest.split_once('}').unwrap().0 } else { "" };
        let names = names.split(',').filter_map(|l| Some(l.split_once("=\"")?.0)).filter(|l| *l != "le");
        let of = labels.entry(name).or_default();
        names.for_each(|n| {
            if !of.contains(&n) {
                of.push(n)
            }
        });
    }
    let kinds: BTreeMap<&str, &str> = page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut table = "| metric | kind | labels | |\n|---|---|---|---|\n".to_owned();
    for (name, help) in page.lines().filter_map(|l| l.strip_prefix("# HELP ")?.split_once(' ')) {
        let sample = match kinds[name] {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            "histogram" => format!("{name}_bucket"),
            _ => name.to_owned(),
        };
        let shown = if kinds[name] == "histogram" { name } else { &sample };
        let of: Vec<String> = labels[sample.as_str()].iter().map(|l| format!("`{l}`")).collect();
        table += &format!("| `{shown}` | {} | {} | {} |\n", kinds[name], of.join(", "), help.trim_end_matches('.'));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate.md");
    let (begin, end) = (
        "<!-- metrics: written by the tests of crates/gateway/src/metrics.rs (UPDATE_EXPECT=1) -->\n",
        "<!-- end of metrics -->",
    );
    let document = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = document.split_once(begin).expect("the mark before the table");
    let (is, after) = rest.split_once(end).expect("the mark after the table");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, format!("{before}{begin}{table}{end}{after}")).unwrap();
    } else {
        assert_eq!(is, table, "run with UPDATE_EXPECT=1");
    }
}
