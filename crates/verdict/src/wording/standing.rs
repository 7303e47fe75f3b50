//! Whether a message belongs to who sends it.
//!
//! A real password reset and a false one say the same. What tells them apart: the real one is proven to come from the
//! domain that it shows, and its links lead there.

use super::structure;
use crate::Evidence;
use crate::brands::{self, Extent};
use crate::content::urls::site;
use crate::detectors::whose;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The sender's domain is proven and every link leads to it.
    Own(String),
    /// The sender's domain is proven and some links lead to it, as in a newsletter that counts clicks elsewhere.
    Partly(String),
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
            Standing::Proven(site) => Some(format!("weighs a little less: proven to be from {site}")),
            Standing::Elsewhere => None,
        }
    }
}

pub fn of(evidence: &Evidence<'_>) -> Standing {
    let Some(domain) = evidence.message.from_address().and_then(|a| a.rsplit_once('@').map(|(_, d)| site(d))) else {
        return Standing::Elsewhere;
    };
    if !whose::is_proven(evidence, &domain) || structure::is_free_mail(&domain) || speaks_for_another(evidence) {
        return Standing::Elsewhere;
    }
    let sites = structure::link_sites(evidence);
    let own = sites.iter().filter(|s| **s == domain).count();
    match own {
        0 => Standing::Proven(domain),
        n if n == sites.len() => Standing::Own(domain),
        _ => Standing::Partly(domain),
    }
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
