//! Short letters that move money: another account, another salary account, gift cards, an errand for the chief.

use super::Detector;
use crate::wording::weigh::{Extra, Recipe, judge};
use crate::wording::{Signal, structure};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "payment_fraud",
    title: "Payment, payroll and gift-card fraud",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "A letter from outside that wants a payment to go elsewhere (\"our bank details have changed\"), a salary account changed, gift\ncards bought, or asks whether one is at the desk for an errand. It weighs more when it is short, without a link, from a\nfree-mail address, or when answers go to another domain than From shows. Real changes of bank details speak the same: they\nare noted, and worth a call on a known number.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::BankChange, 40, 10),
        (Signal::Payroll, 40, 10),
        (Signal::GiftCards, 30, 6),
        (Signal::Errand, 25, 10),
        (Signal::Secrecy, 20, 8),
        (Signal::Urgency, 8, 0),
    ],
    mains: &[Signal::BankChange, Signal::Payroll, Signal::GiftCards, Signal::Errand],
    own_percent: 40,
    partly_percent: 60,
    proven_percent: 100,
    like: "a fraud with payments",
};

/// Such letters are short: the words of one that is longer than this speak of something else too.
const SHORT_OCTETS_MAX: usize = 700;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let wording = evidence.wording();
    let has = |signal| wording.hits.iter().any(|hit| hit.signal == signal);
    if evidence.direction != Direction::Inbound || !structure::link_sites(evidence).is_empty() {
        return Vec::new();
    }
    let (elsewhere, free_mail) = (structure::answers_elsewhere(evidence), structure::free_mail_sender(evidence));
    // an errand alone is how people talk, a card alone is what shops sell
    let errands = wording.hits.iter().filter(|hit| hit.signal == Signal::Errand).count();
    let odd =
        errands > 1 || has(Signal::Secrecy) || has(Signal::GiftCards) || elsewhere.is_some() || free_mail.is_some();
    if !(has(Signal::BankChange) || has(Signal::Payroll) || errands > 0 && odd) {
        return Vec::new();
    }
    let mut extras = Vec::new();
    if wording.octets < SHORT_OCTETS_MAX {
        extras.push(Extra { points: 8, says: "a short letter without a link".into() });
    }
    if let Some(elsewhere) = elsewhere {
        extras.push(Extra { points: 25, says: format!("answers go to {elsewhere}") });
    } else if let Some(address) = free_mail {
        extras.push(Extra { points: 15, says: format!("sent from {address}") });
    }
    judge(evidence, &DETECTOR, &RECIPE, extras)
}
