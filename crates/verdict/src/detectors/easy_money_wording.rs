//! Loans without questions and riches without work.

use super::Detector;
use crate::wording::Signal;
use crate::wording::weigh::{Recipe, judge};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "easy_money_wording",
    title: "Loans and easy work",
    category: Category::Spam,
    severity: Severity::Note,
    prose: "Loans without questions, work from home for a daily salary, riches by trading. Phrases count when they stand near\neach other; they hold nothing without something else than words, and weigh less when the sender's domain is proven\n(DMARC, DKIM) and links lead to it.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::Loan, 40, 15),
        (Signal::Job, 30, 10),
        (Signal::FortuneAsk, 15, 5),
        (Signal::Impersonal, 12, 0),
        (Signal::Click, 5, 0),
        (Signal::Scarcity, 8, 0),
        (Signal::Advertisement, 12, 4),
        (Signal::Crypto, 8, 2),
    ],
    mains: &[Signal::Loan, Signal::Job],
    own_percent: 50,
    partly_percent: 75,
    proven_percent: 100,
    like: "easy money",
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    match evidence.direction {
        Direction::Inbound => judge(evidence, &DETECTOR, &RECIPE, Vec::new()),
        Direction::Outbound => Vec::new(),
    }
}
