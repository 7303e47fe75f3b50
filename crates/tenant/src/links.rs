//! What a tenant wants done with the web addresses in mail from outside (docs/links.md).

use crate::lists::is_domain;
use crate::rules::is_or_is_below;
use serde::{Deserialize, Serialize};

/// How long a rewritten link leads on, unless the tenant says otherwise: as long as the journal tells of its message.
pub const LINK_DAYS: u16 = 90;
/// Mail is read again for years; a key that signs for longer than this is one that is never retired.
pub const LINK_DAYS_MAX: u16 = 365;
/// Each is compared with every link of every message.
const KEPT_HOSTS_MAX: usize = 500;

/// What happens at the click on a link that is not plainly bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtClick {
    /// On to the destination.
    Pass,
    /// A page that says why, and lets who reads it go on.
    Warn,
    /// A page that says why, and no way on.
    Block,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Links {
    /// Links in mail from outside lead through our page.
    pub rewrite: bool,
    /// They did once: replies may still quote such links.
    pub used: bool,
    pub days: u16,
    /// A destination of which something is suspicious. What is known to be bad is always blocked.
    pub suspicious: AtClick,
    /// Where no list can say anything.
    pub unknown: AtClick,
    /// Domains, with what is below them, whose links stay as they are, beside the tenant's own.
    pub keep: Vec<String>,
}

impl Default for Links {
    fn default() -> Links {
        Links {
            rewrite: false,
            used: false,
            days: LINK_DAYS,
            suspicious: AtClick::Warn,
            unknown: AtClick::Pass,
            keep: Vec::new(),
        }
    }
}

impl Links {
    /// True of a host, in lower case, whose links stay as they are.
    pub fn keeps(&self, host: &str) -> bool {
        self.keep.iter().any(|domain| is_or_is_below(host, domain))
    }

    /// What cannot be asked for, in words.
    pub fn wrong(&self) -> Option<String> {
        if !(1..=LINK_DAYS_MAX).contains(&self.days) {
            return Some(format!("a rewritten link leads on for 1 to {LINK_DAYS_MAX} days, not {}", self.days));
        }
        if self.keep.len() > KEPT_HOSTS_MAX {
            return Some(format!("at most {KEPT_HOSTS_MAX} domains can be left out of rewriting"));
        }
        let odd = self.keep.iter().find(|domain| !is_domain(domain) || domain.to_ascii_lowercase() != **domain);
        odd.map(|domain| {
            format!("\"{domain}\" is no domain such as acme.example; letters beyond ASCII are written xn--…")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_asked_for() {
        let keep = |domain: &str| Links { keep: vec![domain.into()], ..Links::default() };
        assert_eq!(Links::default().wrong(), None);
        assert_eq!(keep("acme.example").wrong(), None);
        for wrong in ["com", "https://acme.example", "Acme.example", "*.acme.example", ""] {
            assert!(keep(wrong).wrong().is_some_and(|why| why.contains("is no domain")), "{wrong}");
        }
        for days in [0, LINK_DAYS_MAX + 1] {
            assert!(Links { days, ..Links::default() }.wrong().is_some_and(|why| why.contains("1 to 365")));
        }
        let kept = keep("acme.example");
        assert!(kept.keeps("acme.example") && kept.keeps("www.acme.example"));
        assert!(!kept.keeps("notacme.example") && !kept.keeps("acme.example.evil.example"));
    }
}
