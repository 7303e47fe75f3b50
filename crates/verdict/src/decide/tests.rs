#![allow(clippy::unwrap_used)]
use super::*;
use std::fmt::Write;
use tenant::{Members, Sender};

fn finding(detector: &str, category: Category, severity: Severity, points: u32) -> Finding {
    let summary = format!("{detector} saw something");
    Finding { detector: detector.into(), category, severity, points, summary, details: vec![] }
}

fn note(detector: &str, category: Category, points: u32) -> Finding {
    finding(detector, category, Severity::Note, points)
}

fn policy(json: serde_json::Value) -> Policy {
    serde_json::from_value(json).unwrap()
}

fn from<'a>(address: &'a str, proven: bool) -> Who<'a> {
    let sender = Sender { envelope: address, from: address, client: None };
    Who { sender, recipients: vec!["ada@contoso.example"], proven, ..Who::unknown(Direction::Inbound) }
}

fn told(what: &str, decision: &Decision) -> String {
    let done = Measure { verdict: decision.verdict, marks: decision.marks };
    let mut text = format!("{what}\n  {done}, {}", decision.category.as_str());
    if let Some(would) = decision.would {
        write!(text, ", only watched: {would}").unwrap();
    }
    for reason in &decision.reasons {
        write!(text, "\n  - {reason}").unwrap();
    }
    let because = &decision.because;
    write!(text, "\n  {} ({} points)", because.rule, because.points).unwrap();
    for other in &because.otherwise {
        write!(text, "\n  ~ {other}").unwrap();
    }
    text + "\n"
}

#[test]
fn severity_direction_and_policy_decide() {
    let usual = Policy::default();
    let forgiving = Policy { only_note: vec!["d".into()], ..Policy::default() };
    let verdict = |severity, policy: &Policy, direction| {
        decide(&[finding("d", Category::Spam, severity, 60)], policy, &Who::unknown(direction)).verdict
    };
    assert_eq!(verdict(Severity::Note, &usual, Direction::Inbound), Verdict::Pass);
    assert_eq!(verdict(Severity::Suspicious, &usual, Direction::Inbound), Verdict::Hold);
    assert_eq!(verdict(Severity::Suspicious, &usual, Direction::Outbound), Verdict::Pass);
    assert_eq!(verdict(Severity::Malicious, &usual, Direction::Outbound), Verdict::Hold);
    assert_eq!(verdict(Severity::Malicious, &forgiving, Direction::Inbound), Verdict::Pass);
    assert_eq!(decide(&[], &usual, &Who::unknown(Direction::Inbound)), Decision::pass(vec![]));
    let two = [note("d", Category::Spam, 60), note("d", Category::Spam, 40)];
    let held = decide(&two, &usual, &Who::unknown(Direction::Inbound));
    assert_eq!((held.verdict, held.category, held.reasons.len()), (Verdict::Hold, Category::Spam, 2));
    let outbound = decide(&two, &usual, &Who::unknown(Direction::Outbound));
    assert_eq!((outbound.verdict, outbound.marks), (Verdict::Pass, Marks::default()));
    assert_eq!(decide(&two, &forgiving, &Who::unknown(Direction::Inbound)).verdict, Verdict::Pass);
}

#[test]
fn the_usual_policy_in_words() {
    let usual = Policy::default();
    let who = from("eve@acme.example", true);
    let cases: [(&str, Vec<Finding>); 11] = [
        ("malware", vec![finding("eicar", Category::Malware, Severity::Malicious, 100)]),
        ("phishing by one", vec![finding("links", Category::Phishing, Severity::Suspicious, 100)]),
        ("phishing by several", vec![note("a", Category::Phishing, 70), note("b", Category::Spam, 40)]),
        (
            "each is enough",
            vec![
                finding("a", Category::Phishing, Severity::Suspicious, 100),
                finding("b", Category::Phishing, Severity::Suspicious, 100),
            ],
        ),
        ("suspected", vec![note("a", Category::Phishing, 40), note("b", Category::Spam, 25)]),
        ("below", vec![note("a", Category::Phishing, 59)]),
        ("impersonation below", vec![note("vip", Category::Impersonation, 40), note("b", Category::Spam, 25)]),
        ("first contact", vec![note("first_contact", Category::Impersonation, 10)]),
        ("bulk counts for nothing", vec![note("list", Category::Bulk, 60), note("b", Category::Spam, 50)]),
        ("the classifier alone", vec![note(CLASSIFIER, Category::Phishing, 99)]),
        ("the classifier and another", vec![note(CLASSIFIER, Category::Phishing, 99), note("a", Category::Spam, 5)]),
    ];
    let text: String = cases.iter().map(|(what, found)| told(what, &decide(found, &usual, &who))).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn a_classifier_that_calls_itself_certain_tags() {
    for severity in [Severity::Suspicious, Severity::Malicious] {
        let found = [finding(CLASSIFIER, Category::Spam, severity, 1000), note("a", Category::Spam, 0)];
        let decision = decide(&found, &Policy::default(), &from("eve@acme.example", false));
        assert_eq!((decision.verdict, decision.marks.tag), (Verdict::Pass, true));
    }
}

#[test]
fn lists_in_words() {
    let listed = policy(serde_json::json!({"lists": {
        "allow": [{"sender": "acme.example", "note": "our printer"}],
        "block": [{"sender": "evil.example"}, {"sender": ".zip", "until": 100}],
    }}));
    let phish = vec![finding("links", Category::Phishing, Severity::Suspicious, 100)];
    let malware = vec![finding("eicar", Category::Malware, Severity::Malicious, 100), phish[0].clone()];
    let mut later = from("a@b.zip", false);
    later.now = 100;
    let usual = Policy::default();
    let cases = [
        ("allowed", decide(&phish, &listed, &from("eve@acme.example", true))),
        ("allowed, not proven", decide(&phish, &listed, &from("eve@acme.example", false))),
        ("allowed, malware", decide(&malware, &listed, &from("eve@acme.example", true))),
        ("blocked", decide(&[], &listed, &from("x@evil.example", true))),
        ("blocked, and more", decide(&phish, &listed, &from("x@evil.example", true))),
        ("expired", decide(&[], &listed, &later)),
        ("nobody listed, not proven", decide(&phish, &usual, &from("eve@acme.example", false))),
    ];
    let text: String = cases.iter().map(|(what, decision)| told(what, decision)).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn rules_in_words() {
    let with_rules = policy(serde_json::json!({"only_note": ["noisy"], "rules": {
        "rule": [
            {"name": "sales", "users": ["sales@contoso.example"], "actions": {"spam": "delete", "phishing": "banner_danger", "bulk": "tag"}},
            {"name": "watched", "users": ["new@contoso.example"], "monitor_only": true},
            {"name": "strict", "groups": ["board@contoso.example"], "actions": {"suspected": "hold", "authentication_failure": "hold"}},
            {"name": "out", "direction": "outbound", "actions": {"data_loss": "reject"}},
        ],
    }}));
    let members = Members([("board@contoso.example".into(), ["eve@contoso.example".to_owned()].into())].into());
    let to = |recipients: &[&'static str]| Who {
        recipients: recipients.to_vec(),
        members: Some(&members),
        ..from("x@acme.example", true)
    };
    let spam = [note("a", Category::Spam, 60), note("b", Category::Spam, 60)];
    let phish = [finding("links", Category::Phishing, Severity::Suspicious, 100), note("a", Category::Spam, 30)];
    let failed = [note("dmarc", Category::AuthenticationFailure, 20)];
    let noisy = [finding("noisy", Category::Phishing, Severity::Suspicious, 100)];
    let outbound = Who {
        sender: Sender { envelope: "ada@contoso.example", from: "ada@contoso.example", client: None },
        ..Who::unknown(Direction::Outbound)
    };
    let loss = [finding("cards", Category::DataLoss, Severity::Suspicious, 100)];
    let cases = [
        ("deleted for sales", decide(&spam, &with_rules, &to(&["sales@contoso.example"]))),
        ("not for others", decide(&spam, &with_rules, &to(&["sales@contoso.example", "ada@contoso.example"]))),
        ("banner for sales", decide(&phish, &with_rules, &to(&["SALES@contoso.example"]))),
        ("only watched", decide(&phish, &with_rules, &to(&["new@contoso.example"]))),
        ("watched and not", decide(&phish, &with_rules, &to(&["new@contoso.example", "ada@contoso.example"]))),
        ("a failure that only the board minds", decide(&failed, &with_rules, &to(&["eve@contoso.example"]))),
        ("nobody else does", decide(&failed, &with_rules, &to(&["ada@contoso.example"]))),
        ("suspected is enough for the board", decide(&spam[..1], &with_rules, &to(&["eve@contoso.example"]))),
        ("only noted", decide(&noisy, &with_rules, &to(&["ada@contoso.example"]))),
        ("rejected", decide(&loss, &with_rules, &outbound)),
        ("data loss is held", decide(&loss, &Policy::default(), &outbound)),
    ];
    let text: String = cases.iter().map(|(what, decision)| told(what, decision)).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn stripped_redirected_and_told() {
    let policy = policy(serde_json::json!({"rules": {
        "redirect_to": "junk@contoso.example",
        "base": {"malware": "strip", "spam": "redirect", "suspected": "strip", "phishing": "tag"},
        "notify": {"malware": "soc@contoso.example", "spam": "alert", "suspected": "soc@contoso.example"},
        "rule": [
            {"name": "ben", "users": ["ben@contoso.example"], "redirect_to": "ben2@contoso.example"},
            {"name": "watched", "users": ["eve@contoso.example"], "monitor_only": true},
        ],
    }}));
    assert_eq!(policy.rules.wrong(), []);
    let virus = || finding("eicar", Category::Malware, Severity::Malicious, 100);
    let spam = || finding("bulky", Category::Spam, Severity::Suspicious, 100);
    let lie = || finding("lie", Category::Phishing, Severity::Suspicious, 100);
    let told_all = |what: &str, findings: &[Finding], to: &[&str], direction| {
        let who = Who { recipients: to.to_vec(), direction, ..from("pat@acme.example", true) };
        let d = decide(findings, &policy, &who);
        let strip: Vec<&str> = d.strip.iter().map(|f| f.detector.as_str()).collect();
        let ways = format!("  to {:?}, told {:?}, without {strip:?}\n", d.redirect_to, d.notify);
        told(what, &d) + &ways
    };
    let (ada, ben, eve) = ("ada@contoso.example", "ben@contoso.example", "eve@contoso.example");
    let inbound = Direction::Inbound;
    let all = [
        told_all("stripped", &[virus()], &[ada], inbound),
        told_all("stripped and marked", &[virus(), lie()], &[ada], inbound),
        told_all("stripped and redirected", &[virus(), spam()], &[ada], inbound),
        told_all("redirected by a rule", &[spam()], &[ben], inbound),
        told_all("not to two places", &[spam()], &[ada, ben], inbound),
        told_all("suspected", &[note("zip", Category::Unscannable, 70)], &[ada], inbound),
        told_all("only watched", &[virus()], &[eve], inbound),
        told_all("nothing leaves stripped", &[virus()], &[ada], Direction::Outbound),
    ];
    insta::assert_snapshot!(all.concat());
}

#[test]
fn who_only_watches_has_nothing_done() {
    let watching = policy(serde_json::json!({"rules": {"monitor_only": true}}));
    let phish = [finding("links", Category::Phishing, Severity::Suspicious, 100)];
    let decision = decide(&phish, &watching, &from("x@acme.example", false));
    assert_eq!((decision.verdict, decision.would.map(|w| w.verdict)), (Verdict::Pass, Some(Verdict::Hold)));
    assert_eq!(decide(&[note("a", Category::Spam, 1)], &watching, &from("x@acme.example", false)).would, None);
}

#[test]
fn decisions_of_before_are_read() {
    let before: Decision = serde_json::from_str(r#"{"verdict":"hold","reasons":["x"]}"#).unwrap();
    assert_eq!((before.verdict, before.category, before.because.is_empty()), (Verdict::Hold, Category::Clean, true));
    let plain = serde_json::to_string(&Decision::pass(vec![])).unwrap();
    assert_eq!(plain, r#"{"verdict":"pass","category":"clean","reasons":[]}"#);
}
