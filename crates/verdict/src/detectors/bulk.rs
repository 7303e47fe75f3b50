//! Mail to many.

use super::Detector;
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "bulk",
    title: "Bulk mail",
    category: Category::Bulk,
    severity: Severity::Note,
    prose: "Sent to many, as its own header says (List-Id, List-Unsubscribe, Precedence; RFC 2919, 2369, 8058). It weighs nothing:\nnewsletters and lists are wanted mail. It is there to be sorted by.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    if evidence.direction != Direction::Inbound {
        return Vec::new();
    }
    let fields = || evidence.message.headers().fields();
    let says = |name: &str| fields().find(|f| f.is(name)).map(|f| f.text());
    let mass = says("Precedence").filter(|v| matches!(v.to_ascii_lowercase().as_str(), "bulk" | "list" | "junk"));
    let (what, detail) = if let Some(id) = says("List-Id") {
        ("a mailing list", format!("List-Id: {id}"))
    } else if let Some(way_out) = says("List-Unsubscribe") {
        ("a mailing to many, with a way out", format!("List-Unsubscribe: {way_out}"))
    } else if let Some(mass) = mass {
        ("a mailing to many", format!("Precedence: {mass}"))
    } else {
        return Vec::new();
    };
    vec![Finding::note(&DETECTOR, 0, what.to_owned(), vec![detail.chars().take(200).collect()])]
}
