//! Whose site a link leads to, seen from the sender.

use crate::Evidence;
use crate::content::urls::site;

/// Longer texts say nothing more in a finding.
const SHOWN_CHARS: usize = 200;

/// Sites of the addresses in From; only claimed.
pub fn claimed<'a>(evidence: &Evidence<'a>) -> &'a [String] {
    &evidence.sender.claimed
}

/// The site is proven to be the sender's own (DMARC, DKIM, or SPF of the very domain that From shows).
pub fn is_proven(evidence: &Evidence<'_>, of: &str) -> bool {
    let shown = || evidence.sender.is_aligned() && evidence.sender.shown().is_some_and(|shown| shown.site == of);
    shown() || evidence.sender.proven_sites.iter().any(|site| site == of)
}

/// One of the tenant's own.
pub fn is_ours(evidence: &Evidence<'_>, of: &str) -> bool {
    // a site is the end of its domain's name
    evidence.own_domains.iter().any(|d| d.trim_end_matches('.').ends_with(of) && site(d) == of)
}

pub fn cut(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

/// `target "…"` and what is written, for a person who looks it up.
pub fn detail(written: &str) -> String {
    format!("target \"{}\"", cut(written))
}
