//! A mail that wants a password: what is yours is in danger, act now, here.

use super::Detector;
use crate::wording::Signal;
use crate::wording::weigh::{Recipe, judge};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "credential_wording",
    title: "Wording of credential phishing",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "What is yours is in danger (an account, a mailbox, a payment, a subscription, a document that waits, a sign-in that\nwas not you), soon it is too late, and something has to be done at once; English, German, Portuguese, Spanish, French,\nItalian and Dutch. Phrases count when they stand near each other; three kinds have to come together before words alone\nhold a message, and they weigh less when the sender's domain is proven (DMARC, DKIM) and links lead to it, or\nwhen nothing speaks against it and all links lead to it. Real\nnotices speak the same: those of a service that sends through a third party and links through it may be noted here,\nand are held only when they also address nobody.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::Threat, 30, 12),
        (Signal::SignInAlert, 25, 8),
        (Signal::MailHeld, 35, 10),
        (Signal::PaymentFailed, 30, 8),
        (Signal::Expired, 20, 6),
        (Signal::Document, 20, 5),
        (Signal::Credential, 25, 8),
        (Signal::Deadline, 15, 5),
        (Signal::Click, 8, 0),
        (Signal::Impersonal, 18, 0),
        (Signal::Alarm, 8, 4),
    ],
    mains: &[
        Signal::Threat,
        Signal::SignInAlert,
        Signal::MailHeld,
        Signal::PaymentFailed,
        Signal::Expired,
        Signal::Document,
    ],
    own_percent: 25,
    partly_percent: 60,
    proven_percent: 85,
    like: "credential phishing",
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    match evidence.direction {
        Direction::Inbound => judge(evidence, &DETECTOR, &RECIPE, Vec::new()),
        Direction::Outbound => Vec::new(),
    }
}
