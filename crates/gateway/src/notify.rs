//! Who is told what was done with a message, by the tenant's wish (docs/policy.md): a mail by the tenant's own return
//! leg, or an alert. Mail never waits for it; what cannot be told is an alert. It cannot loop: it carries the mark of what
//! was checked, nobody reads at its sender's address, and of a notice nobody is notified.

use crate::act::date;
use crate::attribute::Attributed;
use crate::house::{House, NewAlert};
use crate::limits;
use crate::receive::Received;
use crate::release::Desk;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail::Message;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use store::{AlertKind, Outcome};
use tenant::{ALERT, NOTICE_SENDER, TenantId};
use verdict::{Decision, Verdict};

/// What was told in the last hour: when, and of which message to whom.
#[derive(Default)]
pub(crate) struct Notified(Mutex<HashMap<TenantId, VecDeque<(Instant, String)>>>);

#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Tell,
    /// It was told: a message that comes again is the same one.
    Told,
    /// More in an hour than anybody reads.
    TooMany,
}

impl Notified {
    fn turn(&self, tenant: TenantId, what: &str, now: Instant) -> Turn {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = all.entry(tenant).or_default();
        while told.front().is_some_and(|(at, _)| now.duration_since(*at) > limits::NOTICES_WINDOW) {
            told.pop_front();
        }
        if told.iter().any(|(_, known)| known == what) {
            return Turn::Told;
        }
        if told.len() >= limits::NOTICES_PER_WINDOW {
            return Turn::TooMany;
        }
        told.push_back((now, what.to_owned()));
        Turn::Tell
    }
}

/// Begins to tell everybody who is to hear of it. What was refused for now is told when it is settled.
pub(crate) fn notify(
    house: &Arc<House>,
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    decision: &Decision,
    outcome: Outcome,
) {
    if decision.notify.is_empty() || attributed.probe.is_some() || outcome == Outcome::Deferred {
        return;
    }
    let text = in_words(attributed, received, message, decision);
    let subject = format!("{} {}", decision.category.as_str(), done(decision));
    let of = message.message_id().unwrap_or_else(|| received.id.clone());
    for who in &decision.notify {
        match house.notified.turn(attributed.id(), &format!("{who} {of} {subject}"), Instant::now()) {
            Turn::Told => {}
            Turn::TooMany => too_many(house, attributed.id()),
            Turn::Tell if who == ALERT => {
                let (kind, tenant) = (AlertKind::Policy, Some(attributed.id()));
                raise(house, NewAlert { kind, tenant, subject: subject.clone(), text: text.clone() });
            }
            Turn::Tell if !attributed.tenant().is_own(who) => {
                let text = format!("{who} was to be notified and is of no domain of the tenant; change the policy");
                let (kind, tenant) = (AlertKind::Policy, Some(attributed.id()));
                raise(house, NewAlert { kind, tenant, subject: "a notice was not sent".into(), text });
            }
            Turn::Tell => send(house, attributed, received, who, &subject, &text),
        }
    }
}

fn raise(house: &Arc<House>, alert: NewAlert) {
    let house = house.clone();
    tokio::spawn(async move { house.raise(&alert).await });
}

fn too_many(house: &Arc<House>, tenant: TenantId) {
    let text = format!(
        "more than {} messages in an hour of which the policy wants somebody notified; the others stand in the journal only. Notify of rarer things, or look at the reports",
        limits::NOTICES_PER_WINDOW
    );
    raise(
        house,
        NewAlert { kind: AlertKind::Policy, tenant: Some(tenant), subject: "too much to notify of".into(), text },
    );
}

fn send(house: &Arc<House>, attributed: &Attributed, received: &Received, who: &str, subject: &str, text: &str) {
    // nobody reads there, and who measures the tenant's mail knows it by this name
    let from = format!("{NOTICE_SENDER}@{}", attributed.tenant().connector_domain);
    let raw = written(&from, who, subject, text, &received.id, &date(jiff::Timestamp::now()));
    let (house, who, id, tenant) = (house.clone(), who.to_owned(), received.id.clone(), attributed.id());
    tokio::spawn(async move {
        let why = match Desk::of(house.clone()).send(tenant, &who, raw.into()).await {
            Ok(reply) if reply.is_success() => return,
            Ok(reply) => reply.to_string(),
            Err(e) => e.to_string(),
        };
        let text = format!("journey {id}: {who} was to be notified of it and was not: {why}");
        let subject = "a notice was not taken".to_owned();
        house.raise(&NewAlert { kind: AlertKind::Policy, tenant: Some(tenant), subject, text }).await;
    });
}

fn written(from: &str, to: &str, subject: &str, text: &str, id: &str, now: &str) -> Vec<u8> {
    let encoded = STANDARD.encode(text.replace('\n', "\r\n"));
    let lines: Vec<&str> = encoded.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!(
        "From: Posthouse <{from}>\r\nTo: <{to}>\r\nSubject: [Posthouse] {subject}\r\nDate: {now}\r\nMessage-ID: <{}.{id}@{}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        uuid::Uuid::now_v7(),
        from.rsplit('@').next().unwrap_or("posthouse"),
        lines.join("\r\n")
    )
    .into_bytes()
}

fn done(decision: &Decision) -> &'static str {
    match decision.verdict {
        Verdict::Pass if decision.marks.strip => "stripped",
        Verdict::Pass => "marked",
        Verdict::Redirect => "redirected",
        Verdict::Hold => "held",
        Verdict::Reject => "rejected",
        Verdict::Delete => "deleted",
    }
}

/// Nothing in it can be clicked, and nothing of the message's text is in it but what the findings quote.
fn in_words(attributed: &Attributed, received: &Received, message: &Message, decision: &Decision) -> String {
    let envelope = &received.envelope;
    let to: Vec<&str> = envelope.recipients.iter().take(5).map(|r| r.address.as_str()).collect();
    let more = envelope.recipients.len().saturating_sub(to.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let instead = decision.redirect_to.as_ref().map(|to| format!(", {to} gets it instead")).unwrap_or_default();
    let mut text = format!(
        "Posthouse {} a message{instead}.\n\nWhat:     {}\nWhy:      {}\n",
        done(decision),
        decision.category.as_str(),
        harmless(&decision.because.rule)
    );
    for reason in decision.reasons.iter().take(10) {
        text += &format!("          - {}\n", harmless(reason));
    }
    text += &format!(
        "Way:      {}\nFrom:     {} (envelope: {})\nTo:       {}{more}\nSubject:  {}\nMessage:  {}\nJourney:  {}\n\n`posthouse explain {}` tells the rest.\n",
        attributed.direction.as_str(),
        harmless(&message.from_address().unwrap_or_default()),
        harmless(&envelope.sender),
        harmless(&to.join(", ")),
        harmless(&message.subject().unwrap_or_default()),
        harmless(&message.message_id().unwrap_or_default()),
        received.id,
        received.id
    );
    text
}

/// On one line, and nothing that a mail program makes a link of.
fn harmless(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    line.replace("://", "[:]//").replace('.', "[.]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nobody_is_told_twice_or_without_end() {
        let (notified, now) = (Notified::default(), Instant::now());
        let (one, two) = (TenantId(uuid::Uuid::nil()), TenantId(uuid::Uuid::max()));
        assert_eq!(notified.turn(one, "a", now), Turn::Tell);
        assert_eq!(notified.turn(one, "a", now), Turn::Told);
        assert_eq!(notified.turn(two, "a", now), Turn::Tell);
        for n in 1..limits::NOTICES_PER_WINDOW {
            assert_eq!(notified.turn(one, &n.to_string(), now), Turn::Tell);
        }
        assert_eq!(notified.turn(one, "more", now), Turn::TooMany);
        assert_eq!(notified.turn(one, "more", now + limits::NOTICES_WINDOW + Duration::from_secs(1)), Turn::Tell);
    }

    #[test]
    fn nothing_in_a_notice_is_a_link() {
        assert_eq!(harmless("see https://evil.example/x\r\nBcc: y"), "see https[:]//evil[.]example/x  Bcc: y");
        let raw = String::from_utf8(written("p@c.example", "soc@c.example", "phishing held", "é\n", "7", "now"));
        assert!(raw.is_ok_and(|raw| raw.contains("\r\n\r\nw6kNCg==\r\n") && raw.contains("To: <soc@c.example>\r\n")));
    }
}
