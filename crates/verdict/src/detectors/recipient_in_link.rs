//! A link that knows who follows it: pages that show a sign-in form already filled in.

use super::{Detector, whose};
use crate::content::urls::SeenUrl;
use crate::{Category, Evidence, Finding, Severity};
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

pub const DETECTOR: Detector = Detector {
    id: "recipient_in_link",
    title: "Reader's address inside a link",
    category: Category::Phishing,
    severity: Severity::Note,
    prose: "Links to a site other than the sender's that carry the recipient's address: behind the `#`, where only the page itself sees\nit (70 points; in base64 80), in base64 elsewhere (45 points), plainly elsewhere (5 points: newsletters do so to unsubscribe). Links that\nspeak of unsubscribing or preferences are left out unless the address is behind the `#`.",
    look,
};

const FRAGMENT_POINTS: u32 = 70;
const FRAGMENT_ENCODED_POINTS: u32 = 80;
const ENCODED_POINTS: u32 = 45;
const PLAIN_POINTS: u32 = 5;
/// `a@b.cc` in base64.
const ENCODED_OCTETS_MIN: usize = 8;
const ENCODED_OCTETS_MAX: usize = 400;
const LEAVING: [&str; 7] = ["unsub", "optout", "opt-out", "preferen", "subscri", "abmeld", "desabon"];

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let recipients: Vec<String> = evidence
        .envelope
        .recipients
        .iter()
        .map(|r| r.address.to_ascii_lowercase())
        .filter(|a| a.contains('@'))
        .collect();
    if recipients.is_empty() {
        return Vec::new();
    }
    let claimed = whose::claimed(evidence);
    let foreign = evidence.content.followed().filter(|u| {
        !claimed.contains(&u.site) && !whose::is_proven(evidence, &u.site) && !whose::is_ours(evidence, &u.site)
    });
    let worst = foreign.filter_map(|u| judge(u, &recipients)).max_by_key(|f| f.points);
    worst.into_iter().collect()
}

fn judge(url: &SeenUrl, recipients: &[String]) -> Option<Finding> {
    let whole = url.url.as_str();
    let (front, fragment) = whole.split_once('#').unwrap_or((whole, ""));
    let finding = |points, how: &str| {
        let summary = format!("a link to {} carries the reader's address {how}", url.site);
        Some(Finding::note(&DETECTOR, points, summary, vec![whose::detail(&url.written)]))
    };
    if holds_encoded(fragment, recipients) {
        return finding(FRAGMENT_ENCODED_POINTS, "encoded behind the #");
    }
    if holds(fragment, recipients) {
        return finding(FRAGMENT_POINTS, "behind the #");
    }
    let lower = front.to_ascii_lowercase();
    let text = url.text.to_lowercase();
    if LEAVING.iter().any(|w| lower.contains(w) || text.contains(w)) {
        return None;
    }
    if holds_encoded(front, recipients) {
        return finding(ENCODED_POINTS, "encoded");
    }
    holds(&lower, recipients).then(|| finding(PLAIN_POINTS, "plainly"))?
}

fn holds(text: &str, recipients: &[String]) -> bool {
    if text.is_empty() || !(text.contains('@') || text.contains("%40")) {
        return false;
    }
    let lower = text.to_ascii_lowercase().replace("%40", "@").replace("%2b", "+").replace("%2e", ".");
    recipients.iter().any(|r| lower.contains(r.as_str()))
}

fn holds_encoded(text: &str, recipients: &[String]) -> bool {
    // both alphabets, with padding or without (RFC 4648 §4, §5)
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
    let text = text.replace("%3D", "").replace("%3d", "");
    let pieces = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_')));
    pieces.filter(|p| (ENCODED_OCTETS_MIN..=ENCODED_OCTETS_MAX).contains(&p.len())).any(|piece| {
        let plain = piece.replace('-', "+").replace('_', "/");
        let decoded = engine.decode(plain).ok().and_then(|d| String::from_utf8(d).ok());
        decoded.is_some_and(|d| {
            let d = d.to_ascii_lowercase();
            recipients.iter().any(|r| d.contains(r.as_str()))
        })
    })
}
