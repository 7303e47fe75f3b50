//! Answers that go to somebody else than the one who is shown.

use super::{Detector, whose};
use crate::content::urls::Within;
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "reply_to",
    title: "Answers go elsewhere",
    category: Category::Phishing,
    severity: Severity::Note,
    prose: "Inbound mail whose Reply-To is of another organisation than From. More points where answers go to a free mail address (fewer\nwhen links lead to the sender's own site: services write so for small firms), and more again where nobody here had to do with the sender. Mailing lists, and a Reply-To that this sender has always had, count nothing.",
    look,
};

const TO_FREE_MAIL: u32 = 50;
/// The message leads to the sender's own site, too: a service that writes for small firms and private people.
const TO_FREE_MAIL_BESIDE_LINKS: u32 = 20;
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
        () if reply.is_free_mail() && leads_to_the_sender(evidence) => TO_FREE_MAIL_BESIDE_LINKS,
        () if reply.is_free_mail() => TO_FREE_MAIL,
        () => TO_OTHERS,
    };
    let points = points + if evidence.is_first_contact() { FIRST_CONTACT } else { 0 };
    let summary = format!("From is {}, answers go to {}", shown.address, reply.address);
    vec![Finding::note(&DETECTOR, points, summary, vec![])]
}

/// A link of the text goes to the site that From shows, and nothing speaks against its being the sender's.
fn leads_to_the_sender(evidence: &Evidence<'_>) -> bool {
    let claimed = whose::claimed(evidence);
    let mut links = evidence.content.followed().filter(|u| u.within == Within::Body);
    !evidence.sender.dmarc_fails && links.any(|u| claimed.contains(&u.site))
}

/// RFC 2919, RFC 2369: who subscribed knows that answers go to the list.
fn is_of_a_list(evidence: &Evidence<'_>) -> bool {
    evidence.message.headers().fields().any(|f| f.is("List-Id") || f.is("List-Post"))
}
