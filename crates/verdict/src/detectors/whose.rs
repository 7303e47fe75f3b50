//! Whose site a link leads to, seen from the sender.

use crate::Evidence;
use crate::content::urls::site;

/// Longer texts say nothing more in a finding.
const SHOWN_CHARS: usize = 200;

/// Sites of the addresses in From and MAIL FROM; only claimed.
pub fn claimed(evidence: &Evidence<'_>) -> Vec<String> {
    let from = evidence.message.from().iter().map(|a| a.address.as_str());
    let mut sites: Vec<String> =
        from.filter_map(|a| a.rsplit_once('@')).map(|(_, domain)| site(domain.trim())).collect();
    sites.dedup();
    sites
}

/// The site is proven to be the sender's own (DMARC, DKIM, or SPF of the very domain that From shows).
pub fn is_proven(evidence: &Evidence<'_>, of: &str) -> bool {
    if evidence.sender.is_aligned() && evidence.sender.shown().is_some_and(|shown| shown.site == of) {
        return true;
    }
    evidence.proofs.microsoft.iter().chain(&evidence.proofs.own).any(|p| {
        matches!(p.method.as_str(), "dkim" | "dmarc")
            && p.result == "pass"
            && p.domain.as_deref().is_some_and(|d| site(d) == of)
    })
}

/// One of the tenant's own.
pub fn is_ours(evidence: &Evidence<'_>, of: &str) -> bool {
    evidence.own_domains.iter().any(|d| site(d) == of)
}

pub fn cut(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

/// `target "…"` and what is written, for a person who looks it up.
pub fn detail(written: &str) -> String {
    format!("target \"{}\"", cut(written))
}
