//! What a detector saw.

use serde::{Deserialize, Serialize};

/// How much a finding weighs; the policy decides what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth telling, harms nobody alone.
    Note,
    /// Deceives people; held by default.
    Suspicious,
    /// Harms by itself; held always.
    Malicious,
}

/// One thing that one detector saw, in words that a person can check against the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The detector's stable id, e.g. `eicar`.
    pub detector: String,
    pub severity: Severity,
    /// One sentence for a table, e.g. `attachment "a.com" is the EICAR test file`.
    pub summary: String,
    /// Where and what exactly: part, header, URL; values in quotes.
    pub details: Vec<String>,
}
