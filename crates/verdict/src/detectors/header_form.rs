//! Addresses and fields that no mail program writes.

use super::Detector;
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "header_form",
    title: "Malformed sender",
    category: Category::Spam,
    severity: Severity::Note,
    prose: "Inbound mail whose From has no address, a domain that cannot exist, several senders (RFC 5322 §3.6.2 asks for a Sender then) or a\nname that a comma cuts off from its address; and, for few points, no Date, no Message-ID or no visible recipient (together 5\npoints), or a To that is the sender himself. Old programs and devices write such mail too, so these are notes.",
    look,
};

const NO_ADDRESS: u32 = 50;
const NO_DOMAIN: u32 = 60;
/// `Prize, <a@b.example>`
const NAME_CUT_OFF: u32 = 60;
/// `Fabrikam, Inc. <a@b.example>`: somebody forgot the quotes.
const NAME_UNQUOTED: u32 = 25;
const SEVERAL: u32 = 40;
/// Whatever is missing: old programs and devices leave out all of it together.
const MISSING: u32 = 5;
const TO_HIMSELF: u32 = 10;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if !evidence.is_inbound() {
        return found;
    }
    let (message, sender) = (evidence.message, evidence.sender);
    let mut note = |points, summary: String| found.push(Finding::note(&DETECTOR, points, summary, vec![]));
    let addressed: Vec<_> = sender.from.iter().filter(|m| !m.domain.is_empty()).collect();
    let cut_off = sender.from.iter().find(|m| m.domain.is_empty());
    match (addressed.first(), cut_off) {
        (None, _) => note(NO_ADDRESS, "From has no address".into()),
        (Some(first), _) if !first.is_whole() => {
            note(NO_DOMAIN, format!("From has an address that cannot exist: {}", first.address))
        }
        (Some(first), Some(name)) => {
            let rest = first.display.chars().any(char::is_alphanumeric);
            let points = if rest { NAME_UNQUOTED } else { NAME_CUT_OFF };
            let shown = if name.display.is_empty() { &name.address } else { &name.display };
            note(points, format!("in From the name \"{shown}\" has no address of its own"));
        }
        (Some(first), None) if sender.sender.is_empty() && addressed.iter().any(|m| m.site != first.site) => {
            note(SEVERAL, format!("From names senders of {} organisations and no Sender", addressed.len()));
        }
        _ => {}
    }
    let recipients = message.shown_recipients();
    let nobody_is_shown = recipients.iter().all(|r| !r.address.contains('@'));
    let missing: Vec<&str> = [
        (!message.has_date(), "there is no Date that can be read"),
        (message.message_id().is_none(), "there is no Message-ID"),
        (nobody_is_shown, "no recipient is shown"),
    ]
    .into_iter()
    .filter_map(|(is_missing, says)| is_missing.then_some(says))
    .collect();
    if !missing.is_empty() {
        note(MISSING, missing.join(", "));
    }
    if let Some(own) = addressed
        .first()
        .filter(|m| !nobody_is_shown && recipients.iter().all(|r| r.address.eq_ignore_ascii_case(&m.address)))
    {
        note(TO_HIMSELF, format!("the only recipient that is shown is the sender, {}", own.address));
    }
    found
}
