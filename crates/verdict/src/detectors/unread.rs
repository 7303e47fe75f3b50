//! A message of which more than is reasonable would have to be read.

use super::Detector;
use crate::limits;
use crate::{Category, Evidence, Finding, Severity};
use mail::Anomaly;

pub const DETECTOR: Detector = Detector {
    id: "unread",
    title: "More than is looked at",
    category: Category::Unscannable,
    severity: Severity::Suspicious,
    prose: "Messages with more parts, deeper nesting, more different links or larger HTML than is looked at (`limits.rs` of the crates\nmail and verdict): what lies beyond was seen by nobody.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let form =
        evidence.message.anomalies().iter().filter(|a| matches!(a, Anomaly::TooManyParts | Anomaly::NestedTooDeep));
    let mut found: Vec<Finding> = form.map(|a| Finding::suspicious(&DETECTOR, a.to_string(), vec![])).collect();
    if evidence.content.is_cut {
        let summary = format!(
            "more links or HTML than is looked at (links: {}, HTML: {} MB)",
            limits::URLS_MAX,
            limits::HTML_OCTETS_MAX >> 20
        );
        found.push(Finding::suspicious(&DETECTOR, summary, vec![]));
    }
    found
}
