//! Cures and leads by mass mailing.

use super::Detector;
use crate::wording::Signal;
use crate::wording::weigh::{Recipe, judge};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "offer_wording",
    title: "Cures, leads and other unasked offers",
    category: Category::Spam,
    severity: Severity::Note,
    prose: "Miracle cures, slimming and potency, insurance, loans against a house, solar and window leads, search engine\noptimisation; with the marks of affiliate mailings (an address to write to, \"this is an advertisement\"). Phrases\ncount when they stand near each other; they hold nothing without something else than words, and weigh less when the\nsender's domain is proven (DMARC, DKIM) and links lead to it.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::Miracle, 32, 14),
        (Signal::Ailment, 22, 8),
        (Signal::Lead, 32, 12),
        (Signal::Discount, 12, 4),
        (Signal::Advertisement, 22, 10),
        (Signal::Scarcity, 10, 4),
        (Signal::PrizeClaim, 8, 0),
        (Signal::Click, 5, 0),
    ],
    mains: &[Signal::Miracle, Signal::Ailment, Signal::Lead],
    own_percent: 50,
    partly_percent: 75,
    proven_percent: 100,
    like: "unasked offers",
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    match evidence.direction {
        Direction::Inbound => judge(evidence, &DETECTOR, &RECIPE, Vec::new()),
        Direction::Outbound => Vec::new(),
    }
}
