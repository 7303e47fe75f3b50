//! The published suites for ARC (RFC 8617) and SPF (RFC 7208) against the library that we verify with, over a real DNS
//! server in this process. The cases that fail are held in `failed.txt`, and docs/standards.md says why each does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dns;

use dns::{Answer, Dns, Records};
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{ArcResult, AuthenticatedMessage, MessageAuthenticator, SpfResult};
use serde::Deserialize;
use serde_yaml_ng::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A library that waits two seconds for a server that never answers is right, and slow.
const DNS_TIMEOUT: Duration = Duration::from_millis(300);

fn authenticator(dns: &Dns) -> MessageAuthenticator {
    let (config, mut options) = smtp::resolver::name_servers(Some(dns.address)).unwrap();
    options.timeout = DNS_TIMEOUT;
    options.attempts = 0;
    MessageAuthenticator::new(config, options).unwrap()
}

fn scenarios<T: for<'de> Deserialize<'de>>(file: &str) -> Vec<T> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(file);
    let text = std::fs::read_to_string(file).unwrap();
    let documents = serde_yaml_ng::Deserializer::from_str(&text).map(|d| Option::<T>::deserialize(d).unwrap());
    documents.flatten().collect()
}

/// How a suite went.
struct Tally {
    suite: &'static str,
    passed: usize,
    failed: Vec<String>,
}

impl Tally {
    fn new(suite: &'static str) -> Tally {
        Tally { suite, passed: 0, failed: Vec::new() }
    }
    fn count(&mut self, case: &str, expected: &[String], got: &str) {
        if expected.iter().any(|e| e == got) {
            self.passed += 1;
        } else {
            self.failed.push(format!("{} {case}: expected {}, got {got}", self.suite, expected.join(" or ")));
        }
    }
    fn figure(&self) -> String {
        format!("{}: {} passed, {} failed", self.suite, self.passed, self.failed.len())
    }
}

#[derive(Deserialize)]
struct ArcScenario {
    description: String,
    tests: BTreeMap<String, ArcCase>,
    #[serde(rename = "txt-records", default)]
    txt_records: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct ArcCase {
    message: String,
    /// Empty where the suite's authors read it as a failure.
    #[serde(default)]
    cv: Option<String>,
}

/// The suite's "none" is a message without a set of ARC fields.
async fn arc(authenticator: &MessageAuthenticator, message: &str) -> &'static str {
    let raw = message.replace("\r\n", "\n").replace('\n', "\r\n");
    let Some(message) = AuthenticatedMessage::parse(raw.as_bytes()) else { return "none" };
    match authenticator.verify_arc(&message).await.result() {
        ArcResult::Pass => "pass",
        ArcResult::None => "none",
        _ => "fail",
    }
}

async fn arc_suite() -> Tally {
    let mut tally = Tally::new("arc");
    for scenario in scenarios::<ArcScenario>("arc/arc-draft-validation-tests.yml") {
        let texts = scenario.txt_records.unwrap_or_default();
        // a key that spans lines is one of several character-strings
        let strings = |text: &String| Answer::Txt(text.lines().map(str::to_owned).collect());
        let dns =
            Dns::start(texts.iter().map(|(name, text)| (name.to_lowercase(), vec![strings(text)])).collect()).await;
        let authenticator = authenticator(&dns);
        for (name, case) in &scenario.tests {
            let expected = case.cv.as_deref().filter(|cv| !cv.is_empty()).unwrap_or("fail").to_lowercase();
            let got = arc(&authenticator, &case.message).await;
            tally.count(&format!("{} / {name}", scenario.description), &[expected], got);
        }
    }
    tally
}

#[derive(Deserialize)]
struct SpfScenario {
    description: String,
    tests: BTreeMap<String, SpfCase>,
    zonedata: BTreeMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
struct SpfCase {
    helo: String,
    host: String,
    mailfrom: String,
    result: Value,
    explanation: Option<String>,
}

fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Sequence(many) => many.iter().flat_map(words).collect(),
        _ => Vec::new(),
    }
}

/// Records of the suite. `SPF` stands for TXT too unless the name has TXT records of its own; `TIMEOUT` is a server that
/// does not answer what stands not before it.
fn records(zonedata: &BTreeMap<String, Vec<Value>>) -> Records {
    let mut all = Records::new();
    for (name, entries) in zonedata {
        let one = |entry: &Value| {
            let Value::Mapping(pair) = entry else { return vec![Answer::Silence] };
            let answer = |(kind, value): (&Value, &Value)| {
                let value = words_of(value);
                match kind.as_str().unwrap() {
                    "TXT" if value == ["NONE"] => None,
                    "TXT" => Some(Answer::Txt(value)),
                    "SPF" => Some(Answer::Spf(value)),
                    "A" => Some(Answer::A(value[0].parse().unwrap())),
                    "AAAA" => Some(Answer::Aaaa(value[0].parse().unwrap())),
                    "MX" => Some(Answer::Mx(value[0].parse().unwrap(), value[1].clone())),
                    "PTR" => Some(Answer::Ptr(value[0].clone())),
                    "CNAME" => Some(Answer::Cname(value[0].clone())),
                    other => unreachable!("{other}"),
                }
            };
            pair.iter().filter_map(answer).collect()
        };
        let mut answers: Vec<Answer> = entries.iter().flat_map(one).collect();
        let own_txt = entries.iter().any(|e| e.get("TXT").is_some());
        if !own_txt {
            for answer in &mut answers {
                if let Answer::Spf(strings) = answer {
                    *answer = Answer::Txt(strings.clone());
                }
            }
        }
        all.insert(name.trim_end_matches('.').to_lowercase(), answers);
    }
    all
}

fn words_of(value: &Value) -> Vec<String> {
    match value {
        Value::Number(n) => vec![n.to_string()],
        Value::Sequence(many) => many.iter().flat_map(words_of).collect(),
        other => words(other),
    }
}

async fn spf_suite() -> Tally {
    let mut tally = Tally::new("spf");
    for scenario in scenarios::<SpfScenario>("spf/rfc7208-tests.yml") {
        let dns = Dns::start(records(&scenario.zonedata)).await;
        for (name, case) in &scenario.tests {
            // nothing is remembered from case to case
            let authenticator = authenticator(&dns);
            let ip = case.host.parse().unwrap();
            let output = authenticator
                .verify_spf(SpfParameters::mail_from(ip, &case.helo, "receiver.example", &case.mailfrom))
                .await;
            let result = match output.result() {
                SpfResult::Pass => "pass",
                SpfResult::Fail => "fail",
                SpfResult::SoftFail => "softfail",
                SpfResult::Neutral => "neutral",
                SpfResult::TempError => "temperror",
                SpfResult::PermError => "permerror",
                SpfResult::None => "none",
            };
            let mut expected = words(&case.result);
            let mut got = result.to_owned();
            // the suite's DEFAULT is what a receiver says when the domain explains nothing
            if let Some(explanation) = case.explanation.as_ref().filter(|_| result == "fail") {
                got += &format!(" \"{}\"", output.explanation().unwrap_or("DEFAULT"));
                expected.iter_mut().for_each(|e| *e += &format!(" \"{explanation}\""));
            }
            tally.count(&format!("{} / {name}", scenario.description), &expected, &got);
        }
    }
    tally
}

#[tokio::test]
async fn the_published_suites() {
    let tallies = [arc_suite().await, spf_suite().await];
    tallies.iter().for_each(|t| println!("{}", t.figure()));
    let failed: String = tallies.iter().flat_map(|t| &t.failed).map(|line| format!("{line}\n")).collect();
    print!("{failed}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = folder.join("tests/conformance/failed.txt");
    let figures = tallies.iter().map(|t| format!("{}\n", t.figure())).collect::<String>() + &failed;
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, &figures).unwrap();
    }
    assert_eq!(figures, std::fs::read_to_string(&file).unwrap_or_default(), "run with UPDATE_EXPECT=1");
    let page = std::fs::read_to_string(folder.join("../../docs/standards.md")).unwrap();
    for tally in &tallies {
        assert!(page.contains(&tally.figure()), "docs/standards.md does not say: {}", tally.figure());
        for line in &tally.failed {
            let name = line.split(": ").next().unwrap().rsplit(" / ").next().unwrap();
            assert!(page.contains(&format!("`{name}`")), "docs/standards.md does not say why `{name}` fails");
        }
    }
}
