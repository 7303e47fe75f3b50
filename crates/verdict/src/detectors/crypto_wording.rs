//! Wallets to verify, coins to claim.

use super::Detector;
use crate::wording::Signal;
use crate::wording::weigh::{Recipe, judge};
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "crypto_wording",
    title: "Wallets and coins",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "A wallet that has to be verified or secured, a recovery phrase that is asked for, free coins, a payout that waits.\nPhrases count when they stand near each other; three kinds have to come together before words alone hold a message,\nand they weigh less when the sender's domain is proven (DMARC, DKIM) and links lead to it.",
    look,
};

const RECIPE: Recipe = Recipe {
    signals: &[
        (Signal::WalletThreat, 38, 12),
        (Signal::WalletAsk, 30, 10),
        (Signal::CryptoGift, 45, 12),
        (Signal::Crypto, 10, 3),
        (Signal::Impersonal, 15, 0),
        (Signal::Deadline, 10, 4),
        (Signal::Credential, 10, 4),
        (Signal::Click, 6, 0),
        (Signal::Scarcity, 8, 0),
    ],
    mains: &[Signal::WalletThreat, Signal::WalletAsk, Signal::CryptoGift],
    own_percent: 30,
    partly_percent: 65,
    proven_percent: 90,
    like: "a wallet lure",
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    match evidence.direction {
        Direction::Inbound => judge(evidence, &DETECTOR, &RECIPE, Vec::new()),
        Direction::Outbound => Vec::new(),
    }
}
