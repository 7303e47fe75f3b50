//! Answers that go to somebody else than the one who is shown.

use super::Detector;
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "reply_to",
    title: "Answers go elsewhere",
    category: Category::Phishing,
    severity: Severity::Note,
    prose: "Inbound mail whose Reply-To is of another organisation than From. More points where answers go to a free mail address, and more\nagain where nobody here had to do with the sender. Mailing lists, and a Reply-To that this sender has always had, count nothing.",
    look,
};

const TO_FREE_MAIL: u32 = 50;
const BETWEEN_FREE_MAIL: u32 = 30;
const TO_OTHERS: u32 = 10;
const NO_ADDRESS: u32 = 15;
const FIRST_CONTACT: u32 = 15;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let sender = evidence.sender;
    let (Some(shown), true) = (sender.shown(), evidence.is_inbound() && !is_of_a_list(evidence)) else {
        return Vec::new();
    };
    let Some(reply) = sender.reply_to.iter().find(|r| r.site != shown.site) else { return Vec::new() };
    let usual = evidence.history.reply_to.known() == Some(&reply.site);
    if usual
        || evidence.own_domains.contains(&reply.domain)
        || sender.reply_to.iter().any(|r| r.address == shown.address)
    {
        return Vec::new();
    }
    let points = match () {
        () if !reply.is_whole() => NO_ADDRESS,
        () if reply.is_free_mail() && shown.is_free_mail() => BETWEEN_FREE_MAIL,
        () if reply.is_free_mail() => TO_FREE_MAIL,
        () => TO_OTHERS,
    };
    let points = points + if evidence.is_first_contact() { FIRST_CONTACT } else { 0 };
    let summary = format!("From is {}, answers go to {}", shown.address, reply.address);
    vec![Finding::note(&DETECTOR, points, summary, vec![])]
}

/// RFC 2919, RFC 2369: who subscribed knows that answers go to the list.
fn is_of_a_list(evidence: &Evidence<'_>) -> bool {
    evidence.message.headers().fields().any(|f| f.is("List-Id") || f.is("List-Post"))
}
