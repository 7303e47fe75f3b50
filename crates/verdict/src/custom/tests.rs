#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::model::{Kind, MODEL};
use super::*;
use crate::{Content, History, Lists, Proofs, Sender};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::Path;
use tenant::Category;

pub(crate) fn rule(when: &str) -> Custom {
    Custom {
        name: "r".into(),
        description: String::new(),
        when: when.into(),
        category: Category::Phishing,
        severity: Weight::Note,
        points: 30,
        reason: "as the rule says".into(),
        state: State::Enabled,
    }
}

const MESSAGE: &str = "From: \"Ada, the Boss\" <Ada@Mail.Acme.co.uk>\r\nReply-To: x@other.example, y@z.example\r\nTo: Grace <grace@contoso.example>\r\nSubject: Your Invoice 4711\r\nX-Mailer: Bulk\r\n O Matic\r\nAuthentication-Results: spf=pass (sender IP is 192.0.2.7) smtp.mailfrom=acme.co.uk; dkim=none; dmarc=fail\r\nX-Forefront-Antispam-Report: CIP:192.0.2.7;CTRY:DE;SCL:1;\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/html\r\n\r\n<p>Please pay <a href=\"https://pay.evil.example/x\">www.bank.example</a></p>\r\n--m\r\nContent-Type: application/octet-stream; name=\"a.pdf.exe\"\r\nContent-Disposition: attachment; filename=\"a.pdf.exe\"\r\n\r\nMZ not really\r\n--m--\r\n";

fn with_evidence<R>(look: impl FnOnce(&Evidence<'_>) -> R) -> R {
    let message = mail::Message::parse(MESSAGE.as_bytes().to_vec().into());
    let envelope = mail::Envelope::new("bounce@acme.co.uk", ["grace@contoso.example", "BEN@contoso.example"]);
    let proofs = Proofs::stated(&message);
    message.with_parts(|parts| {
        look(&Evidence {
            direction: tenant::Direction::Inbound,
            envelope: &envelope,
            message: &message,
            parts,
            content: &Content::of(parts),
            classifier: None,
            lists: &Lists::default(),
            proofs: &proofs,
            sender: &Sender::of(&message, &envelope, &proofs),
            history: &History { first_contact: crate::Fact::Known(true), ..History::default() },
            own_domains: &[],
            people: &HashMap::new(),
            vips: &HashSet::new(),
        })
    })
}

fn answer(when: &str) -> String {
    let (rules, wrong) = CustomRules::of(&[rule(when)]);
    if let Some(wrong) = wrong.first() {
        return wrong.why.clone();
    }
    with_evidence(|evidence| {
        let findings = crate::inspect(evidence);
        let facts = rules.facts(evidence);
        format!("{:?}", rules.ask(facts, &findings)[0].1)
    })
}

#[test]
fn what_rules_say_of_a_message() {
    let all = [
        "direction == 'inbound' && size > 500 && size < 2000",
        "from.address == 'Ada@Mail.Acme.co.uk' && from.domain == 'mail.acme.co.uk' && from.site == 'acme.co.uk'",
        "from_name == 'Ada, the Boss'",
        "mail_from.site == from.site && reply_to.exists(r, r.site != from.site) && reply_to.size() == 2",
        "'ben@contoso.example' in recipients",
        "'grace@contoso.example' in to && size(to) == 1",
        "subject.lowerAscii().contains('invoice') && subject.matches('[0-9]{4}$')",
        r"subject.matches(r'(?i)\binvoice\b') && !subject.matches(r'\bvoice') && !subject.matches(r'\\b')",
        "text.contains('Please pay')",
        "headers.exists(h, h.name == 'x-mailer' && h.value == 'Bulk O Matic')",
        "urls.exists(u, u.host == 'pay.evil.example' && u.site == 'evil.example' && u.text == 'www.bank.example' && u.place == 'link' && u.within == 'body')",
        "urls.filter(u, u.place == 'link').map(u, u.site)[0] == 'evil.example'",
        "urls.filter(u, u.place == 'link').size() == 1",
        "attachments.exists(a, a.name.endsWith('.exe') && a.depth == 0 && !a.encrypted && a.size == 13)",
        "attachments[0].sha256.size() == 64",
        "attachments[7].name == ''",
        "authentication.spf == 'pass' && authentication.dmarc == 'fail' && authentication.scl == 1 && authentication.country == 'DE'",
        "client == '192.0.2.7' && first_contact && earlier_messages == 0",
        "findings.exists(f, f.detector == 'link_mismatch' && f.category == 'phishing') && points >= 100",
        "['a', 'b'].exists_one(x, x == 'a') && ['a'].all(x, x in ['a', 'c']) && !cut",
        "(size / 0) == 1",
        "subject == '' || 9223372036854775807 + size > 0",
        "first_contact ? from.site == 'acme.co.uk' : false",
    ];
    let told: String = all.iter().map(|when| format!("{when}\n    {}\n", answer(when))).collect();
    insta::assert_snapshot!(told);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let deep = format!("{}true{}", "(".repeat(60), ")".repeat(60));
    let bangs = format!("{}true", "!".repeat(1900));
    let dots = format!("a{}", ".b".repeat(990));
    let sum = format!("1{} > 0", "+1".repeat(950));
    let lists = "[".repeat(1900);
    let all = [
        "form.domain == 'x'",
        "from.domian == 'x'",
        "true &&\n  from.address.contain('x')",
        "urls.host == 'x'",
        "from == 'x'",
        "size > '5'",
        "subject",
        "subject ==",
        "has(from.address)",
        "headers['x'] == 'y'",
        "{'a': 1}.a == 1",
        "1.5 > 1.0",
        "text.matches(subject)",
        "text.matches('(a')",
        "text.matches('(?i)[aeiou].{30}x')",
        "text.matches('a') || text.matches('b') || text.matches('c') || text.matches('d') || text.matches('e') || text.matches('f') || text.matches('g') || text.matches('h') || text.matches('i') || text.matches('j') || text.matches('k')",
        "text.matches('(?=a)b')",
        "urls.exists(from, from.host == 'x')",
        "urls.exists(u, headers.exists(h, h.value.contains(u.url)))",
        "urls.map(u, text + text).exists(t, t.contains('x'))",
        "urls + urls == urls",
        "type(1) == int",
        "duration('1s') > duration('0s')",
        "timestamp('2020-01-01T00:00:00Z').getFullYear() > 1",
        "'a'.replace('a', 'b') == 'b'",
        "[1, 'a'].exists(x, true)",
        "true ? 1 : false",
        "@result",
        "x.y(",
        "",
        deep.as_str(),
        bangs.as_str(),
        dots.as_str(),
        sum.as_str(),
        lists.as_str(),
        "\u{0}",
    ];
    let told: String = all
        .iter()
        .map(|when| {
            let start: String = when.chars().take(60).collect();
            format!("{start:?}\n    {}\n", answer(when))
        })
        .collect();
    insta::assert_snapshot!(told);
    let long = "a".repeat(RULE_CHARS_MAX + 1);
    assert!(answer(&long).contains("an expression has at most"), "{}", answer(&long));
}

#[test]
fn watched_rules_and_failed_ones_weigh_nothing_and_all_together_have_a_bound() {
    let watched = Custom { state: State::Watch, severity: Weight::Malicious, points: 0, ..rule("true") };
    let failing = Custom { name: "f".into(), ..rule("attachments[50].name == 'x'") };
    let malicious = Custom { name: "m".into(), severity: Weight::Malicious, points: 0, ..rule("first_contact") };
    let (rules, wrong) = CustomRules::of(&[watched, failing, malicious]);
    assert_eq!(wrong, []);
    let found = with_evidence(|evidence| rules.look(rules.facts(evidence), &[]));
    let told: String = found
        .iter()
        .map(|f| format!("{} {:?} {} {} | {}\n", f.detector, f.severity, f.points, f.summary, f.details.join("; ")))
        .collect();
    insta::assert_snapshot!(told, @r#"
    watched:r Note 0 as the rule says | custom rule "r", which is only watched; enabled it would have said Malicious, 100 points
    failed:f Note 0 the custom rule "f" could not be asked: Index out of bounds: Int(50) | custom rule "f"
    custom:m Malicious 100 as the rule says | custom rule "m"
    "#);
    assert_eq!(found.iter().map(is_only_told).collect::<Vec<_>>(), [true, true, false]);

    let dear = rule("urls.exists(u, u.url.matches('a.*b') || u.url.matches('b.*c') || u.url.matches('c.*d'))");
    let many: Vec<Custom> = (0..50).map(|n| Custom { name: format!("r{n}"), ..dear.clone() }).collect();
    let (rules, wrong) = CustomRules::of(&many);
    assert!(!wrong.is_empty() && wrong.len() + rules.rules.len() == 50, "{}", wrong.len());
    assert!(wrong[0].why.contains("all rules together"), "{}", wrong[0].why);
}

#[test]
fn without_the_message_a_rule_is_asked_of_what_the_journal_keeps_or_not_at_all() {
    let (rules, _) = CustomRules::of(&[rule("from.site == 'acme.example'"), rule("text.contains('x')")]);
    let seen = Seen {
        direction: tenant::Direction::Inbound,
        octets: 7,
        mail_from: "",
        recipients: vec![],
        from: "a@acme.example",
        reply_to: vec![],
        subject: "",
        proofs: &Proofs::default(),
        history: None,
        whole: None,
    };
    let answers: Vec<Answer> = rules.ask(rules.facts_of(&seen), &[]).into_iter().map(|(_, a)| a).collect();
    assert_eq!(answers, [Answer::Yes, Answer::Unknown("text")]);
}

/// Every value that is made has the form that the model says, all of it and nothing else.
#[test]
fn values_are_as_the_model_says() {
    fn fits(value: &Value, kind: Kind, at: &str) {
        match (value, kind) {
            (Value::Bool(_), Kind::Bool) | (Value::Int(_), Kind::Int) => {}
            (Value::String(s), Kind::Text(max)) => assert!(s.len() <= max, "{at}"),
            (Value::List(all), Kind::List(max, of)) => {
                assert!(!all.is_empty() && all.len() <= max, "{at}: an empty list shows nothing");
                all.iter().for_each(|one| fits(one, *of, at));
            }
            (Value::Map(map), Kind::Record(fields)) => {
                assert_eq!(map.map.len(), fields.len(), "{at}");
                for f in fields {
                    let value = map.map.get(&cel::objects::Key::from(f.name));
                    fits(value.unwrap_or_else(|| panic!("{at}.{} is missing", f.name)), f.kind, f.name);
                }
            }
            (value, kind) => panic!("{at}: {value:?} is no {kind:?}"),
        }
    }
    with_evidence(|evidence| {
        let seen = Seen::of(evidence, "ada@acme.example", "x");
        let findings = crate::inspect(evidence);
        for variable in MODEL {
            let value = match variable.source {
                Source::Message(of) => of(&seen, true).unwrap(),
                Source::Findings(of) => of(&findings),
            };
            fits(&value, variable.kind, variable.name);
        }
    });
}

/// The dearest that is accepted, on the fullest message: far below what a message may take, even without optimisation.
#[test]
fn what_is_accepted_ends_in_time() {
    let text = "ab".repeat(RULE_TEXT_OCTETS_MAX);
    let urls: String = (0..300).map(|n| format!("<a href=http://h{n}.example/{}>x</a>", "a".repeat(900))).collect();
    let raw = format!("From: a@b.example\r\nContent-Type: text/html\r\n\r\n<p>{text}</p>{urls}\r\n");
    let message = mail::Message::parse(raw.into_bytes().into());
    let (rules, wrong) = CustomRules::of(&[
        rule("text.matches('(?:[a-b][a-b]?){1,200}[0-9]') || text.matches('(a|b|ab)*c$')"),
        rule("urls.exists(u, u.url.matches('(?:a.?){9}z$'))"),
        rule("urls.map(u, u.host + u.text).exists(h, h.contains('zz'))"),
    ]);
    assert_eq!(wrong, []);
    let facts = message.with_parts(|parts| {
        let (content, proofs) = (Content::of(parts), Proofs::default());
        let envelope = mail::Envelope::new("", ["a@b.example"]);
        rules.facts(&Evidence {
            direction: tenant::Direction::Inbound,
            envelope: &envelope,
            message: &message,
            parts,
            content: &content,
            classifier: None,
            lists: &Lists::default(),
            proofs: &proofs,
            sender: &Sender::of(&message, &envelope, &proofs),
            history: &History::default(),
            own_domains: &[],
            people: &HashMap::new(),
            vips: &HashSet::new(),
        })
    });
    let start = std::time::Instant::now();
    let answers: Vec<Answer> = rules.ask(facts, &[]).into_iter().map(|(_, a)| a).collect();
    assert_eq!(answers, [Answer::No, Answer::No, Answer::No]);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

const BEGIN: &str = "<!-- written from the code: begin -->\n";
const END: &str = "<!-- written from the code: end -->\n";

#[test]
fn the_documented_model_is_the_one_that_rules_are_checked_against() {
    let mut table = "| name | what | |\n|---|---|---|\n".to_owned();
    for d in described() {
        writeln!(table, "| `{}` | {} | {} |", d.name, d.kind, d.prose).unwrap();
    }
    writeln!(
        table,
        "\nBounds: {RULE_CHARS_MAX} letters and {RULE_DEPTH_MAX} levels an expression, {} rules, {RULE_COST_MAX} steps a rule and {RULES_COST_MAX} all rules together, {RULE_PATTERN_OCTETS_MAX} octets a pattern.",
        tenant::limits::CUSTOM_RULES_MAX
    )
    .unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (head, rest) = page.split_once(BEGIN).expect("the mark of the beginning");
    let (written, tail) = rest.split_once(END).expect("the mark of the end");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, format!("{head}{BEGIN}{table}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(written, table, "run with UPDATE_EXPECT=1");
}
