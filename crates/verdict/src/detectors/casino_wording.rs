//! Free spins without a deposit.

use super::Detector;
use crate::wording::Signal;
use crate::wording::weigh::{Recipe, judge};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "casino_wording",
    title: "Gambling offers",
    category: Category::Spam,
    severity: Severity::Note,
    prose: "Casinos, free spins, bonuses without a deposit; in the languages of `credential_wording`. Phrases count when they\nstand near each other; they hold nothing without something else than words, and weigh less when the sender's domain\nis proven (DMARC, DKIM) and links lead to it.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::Casino, 25, 12),
        (Signal::CasinoBonus, 40, 15),
        (Signal::Scarcity, 10, 4),
        (Signal::PrizeClaim, 10, 4),
        (Signal::Click, 5, 0),
    ],
    mains: &[Signal::Casino, Signal::CasinoBonus],
    own_percent: 60,
    partly_percent: 80,
    proven_percent: 100,
    like: "gambling offers",
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    match evidence.direction {
        Direction::Inbound => judge(evidence, &DETECTOR, &RECIPE, Vec::new()),
        Direction::Outbound => Vec::new(),
    }
}
