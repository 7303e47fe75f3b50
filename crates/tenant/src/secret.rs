//! A secret that cannot be printed and is wiped from memory when dropped.

use serde::{Deserialize, Serialize};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Text that must never reach a log, an error or a debug print.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }
    /// The only way to the text; every call is a place to review.
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// Compares without telling by its duration how much was right.
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}
impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret::new(text)
    }
}
impl From<Secret> for String {
    fn from(secret: Secret) -> String {
        secret.expose().to_owned()
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.matches(other.expose())
    }
}
