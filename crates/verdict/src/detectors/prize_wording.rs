//! Won without having played; a survey, and the prize is yours.

use super::Detector;
use crate::wording::Signal;
use crate::wording::weigh::{Recipe, judge};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "prize_wording",
    title: "Prizes and surveys",
    category: Category::Spam,
    severity: Severity::Note,
    prose: "Won without having played: the reader was chosen, a prize or points wait, a survey or a confirmation is asked for; in\nthe languages of `credential_wording`. Phrases count when they stand near each other; they hold nothing without\nsomething else than words, and weigh less when the sender's domain is proven (DMARC, DKIM) and links lead to it. A\nshop's own raffle from its own domain is noted at most.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::Won, 35, 10),
        (Signal::Prize, 30, 10),
        (Signal::PrizeClaim, 25, 8),
        (Signal::Scarcity, 14, 4),
        (Signal::Points, 40, 12),
        (Signal::Impersonal, 14, 0),
        (Signal::Advertisement, 10, 5),
        (Signal::Click, 6, 0),
    ],
    mains: &[Signal::Won, Signal::Prize, Signal::Points],
    own_percent: 40,
    partly_percent: 70,
    proven_percent: 90,
    like: "a prize nobody played for",
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    match evidence.direction {
        Direction::Inbound => judge(evidence, &DETECTOR, &RECIPE, Vec::new()),
        Direction::Outbound => Vec::new(),
    }
}
