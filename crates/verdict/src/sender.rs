//! Who a message says it is from, and how far that is proven; worked out once for all detectors.

use crate::content::urls::site;
use crate::domains;
use crate::evidence::{AuthResult, Proofs};
use mail::{Address, Envelope, Message};

/// An address with what its domain tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    pub display: String,
    pub address: String,
    /// In lower case, A-labels (RFC 5890 §2.3.2.1); empty where there is none.
    pub domain: String,
    /// What one organisation owns of it.
    pub site: String,
}

impl Mailbox {
    pub(crate) fn of(address: &Address) -> Mailbox {
        let bare = address.address.trim();
        let domain = bare.rsplit_once('@').map(|(_, d)| d.trim().trim_end_matches('.')).unwrap_or_default();
        let domain = match domain.is_ascii() {
            true => domain.to_ascii_lowercase(),
            false => url::Host::parse(domain).map_or_else(|_| domain.to_lowercase(), |h| h.to_string()),
        };
        let site = site(&domain);
        Mailbox { display: address.display.trim().to_owned(), address: bare.to_owned(), domain, site }
    }
    pub fn local(&self) -> &str {
        self.address.rsplit_once('@').map_or(&self.address, |(local, _)| local)
    }
    /// Anybody gets an address there.
    pub fn is_free_mail(&self) -> bool {
        domains::is_free_mail(&self.domain)
    }
    /// A domain that mail can be answered at.
    pub fn is_whole(&self) -> bool {
        !self.local().is_empty() && domains::is_host_name(&self.domain)
    }
}

/// How far the domain of From is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proven {
    /// By DMARC, or by SPF or DKIM of the same organisation.
    Aligned,
    /// Something passes, of another organisation.
    Other,
    /// Was asked, and nothing passes.
    Nothing,
    /// Nobody asked, or nobody could answer.
    #[default]
    Unknown,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    pub from: Vec<Mailbox>,
    pub reply_to: Vec<Mailbox>,
    /// Of the field Sender.
    pub sender: Vec<Mailbox>,
    /// MAIL FROM; empty for the null sender.
    pub envelope: Mailbox,
    pub proven: Proven,
    /// DMARC was evaluated and failed.
    pub dmarc_fails: bool,
}

impl Sender {
    pub fn of(message: &Message, envelope: &Envelope, proofs: &Proofs) -> Sender {
        let all = |list: &[Address]| list.iter().map(Mailbox::of).collect::<Vec<_>>();
        let mail_from = Address { display: String::new(), address: envelope.sender.clone() };
        let from = all(message.from());
        let proven = from.iter().find(|f| !f.site.is_empty()).map(|f| proven(&f.site, proofs)).unwrap_or_default();
        let fails = |r: &AuthResult| r.method == "dmarc" && r.result == "fail";
        Sender {
            proven,
            dmarc_fails: proven != Proven::Aligned && proofs.microsoft.iter().chain(&proofs.own).any(fails),
            reply_to: all(message.reply_to()),
            sender: all(message.sender()),
            envelope: Mailbox::of(&mail_from),
            from,
        }
    }

    /// The first mailbox of From that has an address: the one that is shown.
    pub fn shown(&self) -> Option<&Mailbox> {
        self.from.iter().find(|m| !m.domain.is_empty()).or(self.from.first())
    }

    /// Every display name in From; a comma that should have been quoted parts one from its address.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.from
            .iter()
            .flat_map(|m| [m.display.as_str(), if m.domain.is_empty() { &m.address } else { "" }])
            .filter(|n| !n.is_empty())
    }

    /// True when From, or what stands in for it, is of that organisation and nothing speaks against it.
    pub fn is_aligned(&self) -> bool {
        self.proven == Proven::Aligned
    }
}

fn proven(from: &str, proofs: &Proofs) -> Proven {
    let mut said = Proven::Unknown;
    for result in proofs.microsoft.iter().chain(&proofs.own) {
        let of_from = result.domain.as_deref().is_some_and(|d| site(d) == from);
        match (result.method.as_str(), result.result.as_str()) {
            ("dmarc", "pass" | "bestguesspass") => return Proven::Aligned,
            ("spf" | "dkim", "pass") if of_from => return Proven::Aligned,
            ("spf" | "dkim", "pass") => said = Proven::Other,
            (_, "temperror" | "timeout") => {}
            // that a domain publishes nothing is nobody's failure
            ("spf" | "dkim" | "dmarc" | "compauth", "fail" | "softfail" | "permerror" | "hardfail")
                if said == Proven::Unknown =>
            {
                said = Proven::Nothing;
            }
            _ => {}
        }
    }
    said
}
