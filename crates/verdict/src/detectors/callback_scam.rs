//! A bill that nobody owes, and a number to call about it.

use super::Detector;
use crate::wording::weigh::{Extra, Recipe, judge};
use crate::wording::{Signal, structure};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "callback_scam",
    title: "Callback scam",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "A charge or a renewal that nobody ordered (antivirus, support plan, payment service) with a telephone number to call and\nno page of the seller to go to. The number is looked for in every shape, in the subject too. A receipt whose links lead to\nthe sender's proven domain weighs a quarter.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::Charge, 25, 8),
        (Signal::Renewal, 25, 8),
        (Signal::CallUs, 25, 10),
        (Signal::SignInAlert, 10, 4),
        (Signal::Impersonal, 12, 0),
        (Signal::Deadline, 8, 0),
    ],
    mains: &[Signal::Charge, Signal::Renewal],
    own_percent: 25,
    partly_percent: 60,
    proven_percent: 85,
    like: "a bill with a number to call",
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    if evidence.direction != Direction::Inbound {
        return Vec::new();
    }
    // without a number there is nobody to call
    let Some(number) = structure::telephone(evidence) else { return Vec::new() };
    let asked = evidence.wording().hits.iter().any(|hit| hit.signal == Signal::CallUs);
    if !asked {
        return Vec::new();
    }
    let mut extras = vec![Extra { points: 20, says: format!("the number {number}") }];
    if !structure::leads_to_a_seller(evidence) {
        extras.push(Extra { points: 20, says: "no link to a seller".into() });
    }
    judge(evidence, &DETECTOR, &RECIPE, extras)
}
