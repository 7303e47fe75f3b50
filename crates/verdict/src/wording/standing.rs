//! Whether a message belongs to who sends it.
//!
//! A real password reset and a false one say the same. What tells them apart: the real one comes from the domain that it
//! shows, and its links lead there. Where nothing proves the domain, links that all lead to it deceive nobody but for a
//! telephone number or an answer, unless the name was bought for a day.

use super::structure;
use crate::brands::{self, Extent};
use crate::content::known;
use crate::content::urls::site;
use crate::detectors::whose;
use crate::{Evidence, domains};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The sender's domain is proven and every link leads to it.
    Own(String),
    /// The sender's domain is proven and some links lead to it, or to one who counts clicks for others.
    Partly(String),
    /// Nothing proves the sender's domain, nothing speaks against it, and every link leads to it.
    Claimed(String),
    /// The sender's domain is proven and no link leads to it: so write services that count clicks elsewhere, and who
    /// bought a domain for a day.
    Proven(String),
    /// Nothing is proven, or it proves nothing: anybody may have an address there, or the sender speaks in the name of a brand that is not his.
    Elsewhere,
}

impl Standing {
    pub(super) fn tell(&self) -> Option<String> {
        match self {
            Standing::Own(site) => Some(format!("weighs less: proven to be from {site}, and its links lead there")),
            Standing::Partly(site) => Some(format!("weighs less: proven to be from {site}, and some links lead there")),
            Standing::Claimed(site) => {
                Some(format!("weighs less: all links lead to {site}, which From shows, and nothing speaks against it"))
            }
            Standing::Proven(site) => Some(format!("weighs a little less: proven to be from {site}")),
            Standing::Elsewhere => None,
        }
    }
}

pub fn of(evidence: &Evidence<'_>) -> Standing {
    let Some(domain) = evidence.message.from_address().and_then(|a| a.rsplit_once('@').map(|(_, d)| site(d))) else {
        return Standing::Elsewhere;
    };
    if structure::is_free_mail(&domain) || speaks_for_another(evidence) {
        return Standing::Elsewhere;
    }
    let sites: Vec<&str> =
        structure::link_sites(evidence).into_iter().filter(|s| *s == domain || !structure::is_in_footers(s)).collect();
    let brand = known::brand_of(&domain);
    let is_own = |s: &&&str| **s == domain || brand.is_some_and(|b| b.owns(s));
    let own = sites.iter().filter(is_own).count();
    let all_are = |of: usize| of > 0 && of == sites.len();
    let is_cheap = is_for_a_day(&domain);
    match whose::is_proven(evidence, &domain) {
        true if is_cheap => Standing::Proven(domain),
        true if all_are(own) => Standing::Own(domain),
        true if own > 0 || all_are(sites.iter().filter(|s| known::is_counter(s)).count()) => Standing::Partly(domain),
        true => Standing::Proven(domain),
        false if all_are(own) && !is_cheap && !is_denied(evidence) => Standing::Claimed(domain),
        false => Standing::Elsewhere,
    }
}

/// To have such a name proves nothing.
fn is_for_a_day(domain: &str) -> bool {
    let own = domain.split('.').next().unwrap_or_default();
    domains::cheap_suffix_of(domain).is_some() || domains::is_random(own) || domains::hosting_of(domain).is_some()
}

/// The domain's owner says that such mail is not from there.
fn is_denied(evidence: &Evidence<'_>) -> bool {
    let results = || evidence.proofs.microsoft.iter().chain(&evidence.proofs.own);
    evidence.sender.dmarc_fails || results().any(|r| r.method == "spf" && matches!(&*r.result, "fail" | "softfail"))
}

/// From shows the name of a brand whose domain it is not: that the domain is proven says nothing then.
fn speaks_for_another(evidence: &Evidence<'_>) -> bool {
    evidence.message.from().iter().any(|from| {
        let domain = from.address.rsplit_once('@').map(|(_, d)| d.to_ascii_lowercase()).unwrap_or_default();
        let named = brands::named_in(&from.display);
        let claimed = |mention: &&brands::Mention| mention.extent >= Extent::Behalf && !mention.is_word;
        let mut claims = named.iter().filter(claimed).peekable();
        claims.peek().is_some() && !claims.any(|mention| mention.brand.owns(&domain))
    })
}
