//! Pay, or everybody will see it.

use super::Detector;
use crate::wording::Signal;
use crate::wording::weigh::{Recipe, judge};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "extortion_wording",
    title: "Extortion",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "Somebody claims to have hacked the reader or filmed him and wants coins, else everybody will see it; the threat in\nseveral languages. Phrases count when they stand near each other; three kinds have to come together before words alone\nhold a message, and they weigh less when the sender's domain is proven (DMARC, DKIM) and links lead to it. News about\nsuch mail quotes the same words: without a demand (a wallet, a sum in coins) it is not held.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::Spying, 35, 12),
        (Signal::Ransom, 35, 12),
        (Signal::Exposure, 30, 12),
        (Signal::Deadline, 8, 0),
    ],
    mains: &[Signal::Spying, Signal::Exposure],
    own_percent: 60,
    partly_percent: 80,
    proven_percent: 100,
    like: "extortion",
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    match evidence.direction {
        Direction::Inbound => judge(evidence, &DETECTOR, &RECIPE, Vec::new()),
        Direction::Outbound => Vec::new(),
    }
}
