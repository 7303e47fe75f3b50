//! All that a detector may look at.

use crate::{Content, Lists};
use mail::{Envelope, Message, Part};
use serde::{Deserialize, Serialize};
use tenant::Direction;

/// One authentication result in the vocabulary of RFC 8601 §2.7.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthResult {
    /// `spf`, `dkim`, `dmarc`, `arc`, `compauth`
    pub method: String,
    /// `pass`, `fail`, `none`, `temperror`, …
    pub result: String,
    /// The domain it speaks of, if any.
    pub domain: Option<String>,
}

/// What is proven about the sender: Microsoft's topmost results and our own DKIM and ARC verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proofs {
    pub microsoft: Vec<AuthResult>,
    pub own: Vec<AuthResult>,
    /// Spam confidence level of Microsoft's first pass (X-Forefront-Antispam-Report SCL), if stated.
    pub scl: Option<i8>,
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
    pub proofs: &'a Proofs,
    /// What is known to be bad.
    pub lists: &'a Lists,
    /// Accepted domains of the tenant, lower case.
    pub own_domains: &'a [String],
    /// Display names of the tenant's users in the form of [`crate::detectors::impersonation::normalise`], each with its address.
    pub people: &'a std::collections::HashMap<String, String>,
}
