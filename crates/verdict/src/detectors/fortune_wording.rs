//! Millions from a stranger.

use super::Detector;
use crate::wording::Signal;
use crate::wording::weigh::{Recipe, judge};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "fortune_wording",
    title: "Fortunes, inheritances, donations",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "Somebody far away has millions to give (inheritance, lottery, donation, fund, charity) and wants an answer or\nparticulars; mostly English, the openings in several languages. Phrases count when they stand near each other; three\nkinds have to come together before words alone hold a message, and they weigh less when the sender's domain is proven\n(DMARC, DKIM) and links lead to it.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::Fortune, 28, 8),
        (Signal::FortuneStory, 28, 10),
        (Signal::FortuneAsk, 25, 8),
        (Signal::Impersonal, 12, 0),
        (Signal::Secrecy, 8, 0),
    ],
    mains: &[Signal::Fortune, Signal::FortuneStory],
    own_percent: 60,
    partly_percent: 80,
    proven_percent: 100,
    like: "an advance-fee fraud",
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    match evidence.direction {
        Direction::Inbound => judge(evidence, &DETECTOR, &RECIPE, Vec::new()),
        Direction::Outbound => Vec::new(),
    }
}
