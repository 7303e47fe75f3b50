//! All that a detector may look at.

use crate::classifier::Model;
use crate::{Content, Lists, Sender};
use mail::{Envelope, Message, Part};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use tenant::Direction;

/// Something that was asked of others: what is unknown is never taken for absent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact<T> {
    Known(T),
    Absent,
    /// Because of this.
    Unknown(String),
}

impl<T> Default for Fact<T> {
    fn default() -> Fact<T> {
        Fact::Unknown("not asked".into())
    }
}

impl<T> Fact<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Fact::Known(value) => Some(value),
            Fact::Absent | Fact::Unknown(_) => None,
        }
    }
}

/// One authentication result in the vocabulary of RFC 8601 §2.7.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AuthResult {
    /// `spf`, `dkim`, `dmarc`, `arc`, `compauth`
    pub method: String,
    /// `pass`, `fail`, `none`, `temperror`, …
    pub result: String,
    /// The domain it speaks of, if any.
    pub domain: Option<String>,
}

/// What the owner of a domain wants done with mail that does not authenticate (RFC 9989 §4.7, p=).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SenderPolicy {
    None,
    Quarantine,
    Reject,
}

/// What Microsoft's first pass wrote down beside its results, as far as it did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct FirstPass {
    /// `dmarc=… action=`: `none`, `quarantine`, `oreject`, …
    pub dmarc_action: Option<String>,
    /// `compauth=… reason=`: three digits.
    pub compauth_reason: Option<String>,
    /// Bulk complaint level, 0 to 9 (X-Microsoft-Antispam BCL).
    pub bcl: Option<u8>,
    /// X-Forefront-Antispam-Report SFV, CAT, CTRY and IPV.
    pub filter_verdict: Option<String>,
    pub category: Option<String>,
    pub country: Option<String>,
    pub ip_verdict: Option<String>,
}

/// What is proven about the sender: Microsoft's topmost results, and our own SPF, DKIM, DMARC and ARC verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Proofs {
    pub microsoft: Vec<AuthResult>,
    pub own: Vec<AuthResult>,
    /// Spam confidence level of Microsoft's first pass (X-Forefront-Antispam-Report SCL), if stated.
    pub scl: Option<i8>,
    pub first_pass: FirstPass,
    /// Who handed the message to Microsoft.
    pub client: Fact<IpAddr>,
    /// Of the domain of From, by our own look-up.
    pub sender_policy: Fact<SenderPolicy>,
}

/// What the tenant has had to do with the address of From before this message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// Nobody here had mail from it that was passed on, and nobody wrote to it, as long as the journal goes back.
    pub first_contact: Fact<bool>,
    /// Messages of it that were passed on.
    pub messages: Fact<u64>,
    /// Nobody here had to do with anybody of its organisation.
    pub new_domain: Fact<bool>,
    /// Where its answers went until now, as a registrable domain; absent where they went back to it.
    pub reply_to: Fact<String>,
}

/// One message as the detectors see it.
#[derive(Debug)]
pub struct Evidence<'a> {
    pub direction: Direction,
    pub envelope: &'a Envelope,
    pub message: &'a Message,
    /// Of the message, those of nested ones included.
    pub parts: &'a [Part<'a>],
    /// What a reader sees of them.
    pub content: &'a Content,
    /// The operator's own, if he has one.
    pub classifier: Option<&'a Model>,
    pub proofs: &'a Proofs,
    /// Who it says it is from, and how far that is proven.
    pub sender: &'a Sender,
    pub history: &'a History,
    /// What is known to be bad.
    pub lists: &'a Lists,
    /// Accepted domains of the tenant, lower case.
    pub own_domains: &'a [String],
    /// Display names of the tenant's users in the form of [`crate::detectors::impersonation::normalise`], each with its address.
    pub people: &'a HashMap<String, String>,
    /// Those of whom attackers speak most, by address in lower case and by name in the form of `people`.
    pub vips: &'a HashSet<String>,
}

impl Evidence<'_> {
    /// True where the tenant is known to have had nothing to do with the sender; what is unknown adds nothing.
    pub fn is_first_contact(&self) -> bool {
        self.history.first_contact.known() == Some(&true)
    }
    pub fn is_inbound(&self) -> bool {
        self.direction == Direction::Inbound
    }
}
