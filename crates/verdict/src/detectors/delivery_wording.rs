//! A small sum or an address is asked for, for a parcel or a fine that nobody knows of.

use super::Detector;
use crate::wording::Signal;
use crate::wording::weigh::{Recipe, judge};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "delivery_wording",
    title: "Parcel, fine and tax lures",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "A parcel that cannot be delivered without a fee or an address, or a fine or a tax that is due or given back; in the\nlanguages of `credential_wording`. Phrases count when they stand near each other; three kinds have to come together\nbefore words alone hold a message, and they weigh less when the sender's domain is proven (DMARC, DKIM) and links lead\nto it.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::ParcelHeld, 35, 10),
        (Signal::ParcelFee, 30, 8),
        (Signal::ParcelAsk, 25, 8),
        (Signal::Fine, 40, 12),
        (Signal::Threat, 15, 5),
        (Signal::Credential, 15, 5),
        (Signal::Deadline, 12, 4),
        (Signal::Click, 8, 0),
        (Signal::Impersonal, 15, 0),
    ],
    mains: &[Signal::ParcelHeld, Signal::ParcelFee, Signal::Fine],
    own_percent: 25,
    partly_percent: 60,
    proven_percent: 85,
    like: "a parcel or fine lure",
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    match evidence.direction {
        Direction::Inbound => judge(evidence, &DETECTOR, &RECIPE, Vec::new()),
        Direction::Outbound => Vec::new(),
    }
}
