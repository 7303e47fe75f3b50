//! What became of each message, held against what was expected of it.

use super::door::{Stored, WireCopy};
use super::messages::{Expected, Message};
use super::stage::Stage;
use crate::show;
use anyhow::Result;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use store::{JourneyEntry, JourneyFilter, Outcome};
use tenant::Direction;

/// Everything that can be seen from outside after the world came to rest.
pub struct Seen {
    journeys: Vec<JourneyEntry>,
    mailboxes: HashMap<String, Vec<Stored>>,
    wire: Vec<WireCopy>,
}

impl Seen {
    pub async fn look(stage: &Stage, messages: &[Message]) -> Result<Seen> {
        let journeys = stage.store.journeys(&JourneyFilter { limit: u32::MAX, ..JourneyFilter::default() }).await?;
        let mut mailboxes = HashMap::new();
        for message in messages {
            for address in &message.mailboxes {
                if !mailboxes.contains_key(address) {
                    mailboxes.insert(
                        address.clone(),
                        stage.door.mailbox(address, message.direction == Direction::Outbound).await?,
                    );
                }
            }
        }
        Ok(Seen { journeys, mailboxes, wire: stage.door.wire().await? })
    }

    /// The journeys of a message: its sender and recipients name it, forks make several of one.
    fn journeys_of(&self, message: &Message) -> Vec<&JourneyEntry> {
        let id = message_id(&message.raw);
        let ours = |e: &&JourneyEntry| {
            e.direction == Some(message.direction)
                && e.sender == message.sender
                && (e.message_id == id || id.is_none())
                && e.recipients.iter().any(|r| message.recipients.contains(r) || message.mailboxes.contains(r))
        };
        self.journeys.iter().filter(ours).collect()
    }

    fn copies<'a>(&'a self, message: &'a Message) -> impl Iterator<Item = &'a Stored> {
        let body = body_of(&message.raw);
        message.mailboxes.iter().flat_map(move |address| {
            self.mailboxes
                .get(address)
                .into_iter()
                .flatten()
                .filter(move |m| m.sender == message.sender && body_of(&m.raw) == body)
        })
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    pub message: String,
    pub way: &'static str,
    pub verdict: String,
    pub why: String,
    pub milliseconds: f64,
    pub ended: String,
    pub checks: BTreeMap<&'static str, bool>,
}

impl Judged {
    pub fn ok(&self) -> bool {
        self.checks.values().all(|ok| *ok)
    }
}

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub ok: bool,
    pub checks: BTreeMap<String, bool>,
    pub messages: Vec<Judged>,
}

impl Report {
    pub fn check(&mut self, what: &str, holds: bool) {
        self.checks.insert(what.to_owned(), holds);
        self.ok = self.checks.values().all(|ok| *ok);
    }

    pub fn add(&mut self, judged: Judged) {
        for (what, ok) in &judged.checks {
            let so_far = self.checks.get(*what).copied().unwrap_or(true);
            self.check(what, so_far && *ok);
        }
        self.messages.push(judged);
    }

    /// The table of our own messages, one line for each folder, and every expectation that failed.
    pub fn table(&self) -> String {
        let mut folders: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
        let mut rows = Vec::new();
        for judged in &self.messages {
            match judged.message.split_once('/') {
                Some((folder, _))
                    if judged.message.ends_with(|c: char| c.is_alphanumeric())
                        && judged.message.contains('/')
                        && !judged.message.contains(' ') =>
                {
                    folders.entry(folder).or_default().push(judged)
                }
                _ => rows.push(row(judged)),
            }
        }
        let mut out =
            show::table(["message", "way", "verdict", "why", "ms", "where it ended", "as expected"], rows).to_string();
        for (folder, judged) in folders {
            let held = judged.iter().filter(|j| j.verdict == "held").count();
            let wrong = judged.iter().filter(|j| !j.ok()).count();
            out += &format!(
                "\n{folder}: {} journeys, {held} held with a reason, {} came back untouched, {wrong} not as expected",
                judged.len(),
                judged.len() - held - wrong
            );
        }
        for judged in self.messages.iter().filter(|j| !j.ok()) {
            let failed: Vec<_> = judged.checks.iter().filter(|(_, ok)| !**ok).map(|(what, _)| *what).collect();
            out += &format!("\nNOT AS EXPECTED: {} ({}): {}", judged.message, judged.way, failed.join("; "));
        }
        for (what, _) in self.checks.iter().filter(|(_, ok)| !**ok) {
            out += &format!("\nFAILED: {what}");
        }
        out + if self.ok { "\nevery expectation held" } else { "\nsome expectations did not hold" }
    }
}

fn row(judged: &Judged) -> [String; 7] {
    let ok = if judged.ok() { "yes" } else { "NO" };
    [
        judged.message.clone(),
        judged.way.into(),
        judged.verdict.clone(),
        show::short(&judged.why, 70),
        format!("{:.0}", judged.milliseconds),
        show::short(&judged.ended, 60),
        ok.into(),
    ]
}

/// Holds one message against all that was seen.
pub fn judge(message: &Message, seen: &Seen) -> Judged {
    let journeys = seen.journeys_of(message);
    let held = !journeys.is_empty() && journeys.iter().all(|j| j.outcome == Outcome::Held);
    let back = !journeys.is_empty() && journeys.iter().all(|j| j.outcome == Outcome::HandedBack);
    let copies: Vec<_> = seen.copies(message).collect();
    let detectors: Vec<_> = journeys.iter().flat_map(|j| &j.findings).map(|f| f.detector.as_str()).collect();
    let mut checks = BTreeMap::new();
    checks.insert("made its journey", !journeys.is_empty());
    checks.insert(
        "verdict as expected",
        match message.expected {
            Expected::Arrives => back,
            Expected::HeldBy(detector) => held && detectors.contains(&detector),
            Expected::Either => back || (held && !detectors.is_empty()),
        },
    );
    if held {
        checks.insert("what is held reached nobody", copies.is_empty());
    } else {
        arrived(message, seen, &copies, &mut checks);
    }
    let why = journeys
        .iter()
        .flat_map(|j| {
            j.decision.iter().flat_map(|d| d.reasons.clone()).chain(j.findings.iter().map(|f| f.summary.clone()))
        })
        .next();
    Judged {
        message: message.name.clone(),
        way: message.direction.as_str(),
        verdict: if held {
            "held"
        } else if back {
            "passed"
        } else {
            "?"
        }
        .into(),
        why: why.unwrap_or_else(|| "nothing found against it".into()),
        milliseconds: journeys.iter().flat_map(|j| &j.steps).map(|s| s.micros).sum::<u64>() as f64
            / 1000.0
            / journeys.len().max(1) as f64,
        ended: if held { "held here".into() } else { message.mailboxes.join(", ") },
        checks,
    }
}

/// What must be true of a message that was passed.
fn arrived(message: &Message, seen: &Seen, copies: &[&Stored], checks: &mut BTreeMap<&'static str, bool>) {
    let everywhere = message
        .mailboxes
        .iter()
        .all(|address| copies.iter().filter(|c| c.recipient.eq_ignore_ascii_case(address)).count() == 1);
    checks.insert("is in every mailbox exactly once", everywhere);
    checks.insert(
        "no recipient sees a mark of ours",
        copies.iter().all(|c| !has_field(&c.raw, "x-posthouse-pass") && !has_field(&c.raw, "x-posthouse-route")),
    );
    let same = |w: &&WireCopy| {
        w.sender == message.sender
            && body_of(&w.raw) == body_of(&message.raw)
            && w.recipients.iter().any(|r| message.recipients.contains(r) || message.mailboxes.contains(r))
    };
    let out: Vec<_> = seen.wire.iter().filter(|w| w.leg == "to_gateway").filter(same).collect();
    let back: Vec<_> = seen.wire.iter().filter(|w| w.leg == "from_gateway").filter(same).collect();
    let untouched = !out.is_empty() && out.iter().all(|o| back.iter().any(|b| came_back_untouched(&o.raw, &b.raw)));
    checks.insert("came back byte for byte below our fields", untouched);
    let signed = out.iter().any(|o| has_field(&o.raw, "dkim-signature"));
    let expected = message.direction == Direction::Outbound || signed;
    if expected {
        checks.insert("DKIM of pass 1 verifies on pass 2", copies.iter().all(|c| dkim_passed(&c.raw)));
    }
}

/// `returned` is `handed` without our own fields, below nothing but our own fields.
pub fn came_back_untouched(handed: &[u8], returned: &[u8]) -> bool {
    let kept = without_ours(handed);
    let Some(top) = returned.strip_suffix(kept.as_slice()) else { return false };
    fields(top).iter().all(|f| is_ours(f) || f.to_ascii_lowercase().starts_with(b"received:"))
}

fn without_ours(raw: &[u8]) -> Vec<u8> {
    let section = mail::HeaderSection::of(raw);
    let mut out = Vec::with_capacity(raw.len());
    for header in section.fields() {
        if !header.name.to_ascii_lowercase().starts_with("x-posthouse-") {
            out.extend_from_slice(&raw[header.range.clone()]);
        }
    }
    let rest = section.fields().last().map_or(0, |h| h.range.end);
    out.extend_from_slice(&raw[rest..]);
    out
}

fn is_ours(field: &[u8]) -> bool {
    field.to_ascii_lowercase().starts_with(b"x-posthouse-")
}

fn fields(raw: &[u8]) -> Vec<Vec<u8>> {
    mail::HeaderSection::of(raw).fields().map(|h| raw[h.range.clone()].to_vec()).collect()
}

fn has_field(raw: &[u8], name: &str) -> bool {
    mail::HeaderSection::of(raw).fields().any(|h| h.name.eq_ignore_ascii_case(name))
}

/// Exchange's own words on the second pass, topmost field first.
fn dkim_passed(raw: &[u8]) -> bool {
    let message = mail::Message::parse(bytes::Bytes::copy_from_slice(raw));
    ["Authentication-Results", "X-MS-Exchange-Authentication-Results"]
        .iter()
        .any(|name| message.header_values(name).first().is_some_and(|v| v.contains("dkim=pass")))
}

fn message_id(raw: &[u8]) -> Option<String> {
    mail::Message::parse(bytes::Bytes::copy_from_slice(raw)).message_id()
}

fn body_of(raw: &[u8]) -> &[u8] {
    &raw[mail::HeaderSection::of(raw).body_start()..]
}
