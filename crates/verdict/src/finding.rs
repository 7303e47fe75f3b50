//! What a detector saw.

use crate::detectors::Detector;
use serde::{Deserialize, Serialize};

pub use tenant::Category;

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

/// Points from which findings together hold a message.
pub const HOLD_POINTS: u32 = 100;

/// From here on a message is suspected.
pub const SUSPECT_POINTS: u32 = 60;

/// From here on impersonation alone is suspected: what is merely a first contact has less.
pub const SUSPECT_IMPERSONATION_POINTS: u32 = 30;

/// From here on findings together are worth a warning: what most newsletters have (no plain recipient, links that count)
/// stays below.
pub const WARN_POINTS: u32 = 30;

/// Whether a reader should be warned of what passes.
pub fn is_suspicious(findings: &[Finding]) -> bool {
    let points = findings.iter().map(|f| f.points).fold(0, u32::saturating_add);
    points >= WARN_POINTS || findings.iter().any(|f| f.severity != Severity::Note)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detectors::{bulk, link_mismatch, reply_to};

    #[test]
    fn what_weighs_little_warns_nobody() {
        let note = |detector, points| Finding::note(detector, points, String::new(), vec![]);
        let newsletter = [note(&bulk::DETECTOR, 0), note(&reply_to::DETECTOR, 10), note(&link_mismatch::DETECTOR, 0)];
        assert!(!is_suspicious(&[]) && !is_suspicious(&newsletter));
        assert!(is_suspicious(&[note(&reply_to::DETECTOR, 10), note(&link_mismatch::DETECTOR, 20)]));
        assert!(is_suspicious(&[Finding::suspicious(&reply_to::DETECTOR, String::new(), vec![])]));
    }
}
