//! QR codes that lead a phone, past the protection of the desk, to a site.

use super::Detector;
use crate::content::files::{File, Trait};
use crate::content::urls::{host_of_href, site};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "qr_code",
    title: "QR code in place of a link",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "A web address in a QR code of a picture, PDF or Office document. Suspicious when the address names the recipient (plainly or in base64): codes\nfor everybody do not. A note when the code is the only way to its site; more points when no other link is in the message. Codes that say something\nelse (tickets, payments, contacts) and codes to the sender's own site are not judged. Codes drawn as lines, letters or table cells are not read.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in &evidence.content.files {
        for fact in &file.traits {
            if let Trait::Code(text) = fact {
                found.extend(judge(evidence, file, text));
            }
        }
    }
    found.truncate(10);
    found
}

fn judge(evidence: &Evidence<'_>, file: &File, text: &str) -> Option<Finding> {
    let target = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let host = host_of_href(target.trim()).filter(|h| h.contains('.') && !h.contains(' '))?;
    // a bare word with a dot in it may be anything
    if !text.contains("://") && !text.to_ascii_lowercase().starts_with("www.") {
        return None;
    }
    let to = site(&host);
    let own = evidence.message.from_address().and_then(|a| a.rsplit_once('@').map(|(_, d)| site(d)));
    if own.as_ref() == Some(&to) {
        return None;
    }
    let shown: String = text.chars().take(200).collect();
    let details = vec![format!("the code in {} says \"{shown}\"", file.shown())];
    if let Some(recipient) =
        evidence.envelope.recipients.iter().map(|r| r.address.to_lowercase()).find(|r| names(text, r))
    {
        let summary = format!("a QR code leads to {host} and tells it the recipient's address {recipient}");
        return Some(Finding::suspicious(&DETECTOR, summary, details));
    }
    let links: Vec<String> = evidence
        .content
        .pages
        .iter()
        .flat_map(|p| &p.links)
        .filter_map(|l| host_of_href(&l.href))
        .map(|h| site(&h))
        .collect();
    if links.contains(&to) {
        return None;
    }
    let (points, alone) = if links.is_empty() { (60, ", the only link of the message") } else { (35, "") };
    Some(Finding::note(&DETECTOR, points, format!("a QR code leads to {host}{alone}"), details))
}

/// The address as it is, percent-encoded, or in base64 in any of its three positions.
fn names(text: &str, recipient: &str) -> bool {
    use base64::Engine;
    let lower = text.to_lowercase().replace("%40", "@");
    let plain = recipient.len() > 5 && lower.contains(recipient);
    let words =
        text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_'))).filter(|w| w.len() >= 12);
    let decodes = |word: &str| {
        let word = word.replace('-', "+").replace('_', "/");
        base64::prelude::BASE64_STANDARD_NO_PAD
            .decode(word.trim_end_matches('='))
            .is_ok_and(|o| String::from_utf8_lossy(&o).to_lowercase().contains(recipient))
    };
    plain || words.into_iter().any(decodes)
}
