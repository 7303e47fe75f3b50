//! What a detector saw.

use crate::detectors::Detector;
use serde::{Deserialize, Serialize};

/// How much a finding weighs; the policy decides what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth telling, harms nobody alone; several together may.
    Note,
    /// Deceives people; held by default.
    Suspicious,
    /// Harms by itself; held always.
    Malicious,
}

/// What a message is, most pressing first: of several, the first one names the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    BlockedSender,
    Malware,
    /// Nobody could look into it.
    Unscannable,
    MaliciousUrl,
    Impersonation,
    Phishing,
    AuthenticationFailure,
    Spam,
    Bulk,
    DataLoss,
    Clean,
}

impl Category {
    pub const ALL: [Category; 11] = [
        Category::BlockedSender,
        Category::Malware,
        Category::Unscannable,
        Category::MaliciousUrl,
        Category::Impersonation,
        Category::Phishing,
        Category::AuthenticationFailure,
        Category::Spam,
        Category::Bulk,
        Category::DataLoss,
        Category::Clean,
    ];

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::BlockedSender => "blocked sender",
            Category::Malware => "malware",
            Category::Unscannable => "unscannable",
            Category::MaliciousUrl => "malicious URL",
            Category::Impersonation => "impersonation",
            Category::Phishing => "phishing",
            Category::AuthenticationFailure => "authentication failure",
            Category::Spam => "spam",
            Category::Bulk => "bulk",
            Category::DataLoss => "data loss",
            Category::Clean => "clean",
        }
    }
}

/// Points from which findings together hold a message.
pub const HOLD_POINTS: u32 = 100;

/// One thing that one detector saw, in words that a person can check against the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The detector's stable id, e.g. `eicar`.
    pub detector: String,
    #[serde(default = "before_categories")]
    pub category: Category,
    pub severity: Severity,
    /// What it adds; findings that reach [`HOLD_POINTS`] together hold the message as a suspicious one does alone.
    #[serde(default)]
    pub points: u32,
    /// One sentence for a table, e.g. `attachment "a.com" is the EICAR test file`.
    pub summary: String,
    /// Where and what exactly: part, header, URL; values in quotes.
    pub details: Vec<String>,
}

/// Journals of before have none.
fn before_categories() -> Category {
    Category::Phishing
}

impl Finding {
    fn of(detector: &Detector, severity: Severity, points: u32, summary: String, details: Vec<String>) -> Finding {
        Finding { detector: detector.id.into(), category: detector.category, severity, points, summary, details }
    }
    /// Harms nobody alone; `points` below [`HOLD_POINTS`].
    pub fn note(detector: &Detector, points: u32, summary: String, details: Vec<String>) -> Finding {
        Finding::of(detector, Severity::Note, points.min(HOLD_POINTS - 1), summary, details)
    }
    pub fn suspicious(detector: &Detector, summary: String, details: Vec<String>) -> Finding {
        Finding::of(detector, Severity::Suspicious, HOLD_POINTS, summary, details)
    }
    pub fn malicious(detector: &Detector, summary: String, details: Vec<String>) -> Finding {
        Finding::of(detector, Severity::Malicious, HOLD_POINTS, summary, details)
    }
}
