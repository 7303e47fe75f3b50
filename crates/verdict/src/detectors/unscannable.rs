//! What no scanner could look into within its bounds.

use super::Detector;
use crate::limits;
use crate::{Category, Evidence, Finding, Severity};
use mail::Anomaly;

pub const DETECTOR: Detector = Detector {
    id: "unscannable",
    title: "Nobody could look into it",
    category: Category::Unscannable,
    severity: Severity::Suspicious,
    prose: "A message with more or deeper nested parts, more different links or larger HTML than are looked at, an archive that is broken, nested too deep, of too many files or too large when\nunpacked, a document that is broken. The bounds stand in `crates/verdict/src/limits.rs` and `crates/mail/src/limits.rs`; wanted mail stays below them. Encrypted files are not meant: see `encrypted_attachment`.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let form =
        evidence.message.anomalies().iter().filter(|a| matches!(a, Anomaly::TooManyParts | Anomaly::NestedTooDeep));
    let form = form.map(|a| format!("the message has {a}"));
    let cut = evidence.content.is_cut.then(|| {
        format!("more links than {} or more HTML than {} MB", limits::URLS_MAX, limits::HTML_OCTETS_MAX >> 20)
    });
    let told = form.chain(cut).chain(evidence.content.unscannable.iter().cloned());
    let found: Vec<String> = told.collect();
    let Some(first) = found.first() else { return Vec::new() };
    vec![Finding::suspicious(&DETECTOR, format!("could not be looked into: {first}"), found[1..].to_vec())]
}
