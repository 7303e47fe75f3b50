//! Company that nobody asked for.

use super::Detector;
use crate::wording::Signal;
use crate::wording::weigh::{Recipe, judge};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "dating_wording",
    title: "Romance and sex offers",
    category: Category::Spam,
    severity: Severity::Note,
    prose: "Strangers who look for company and want to be written to, dating and sex sites; in several languages. Phrases count\nwhen they stand near each other; they hold nothing without something else than words, and weigh less when the\nsender's domain is proven (DMARC, DKIM) and links lead to it.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::Dating, 40, 20),
        (Signal::Adult, 30, 14),
        (Signal::Click, 5, 0),
        (Signal::Impersonal, 10, 0),
        (Signal::FortuneAsk, 10, 0),
    ],
    mains: &[Signal::Dating, Signal::Adult],
    own_percent: 60,
    partly_percent: 80,
    proven_percent: 100,
    like: "romance and sex offers",
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    match evidence.direction {
        Direction::Inbound => judge(evidence, &DETECTOR, &RECIPE, Vec::new()),
        Direction::Outbound => Vec::new(),
    }
}
