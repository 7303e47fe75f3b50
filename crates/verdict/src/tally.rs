//! What findings come to together.
//!
//! Detectors look at one message from many sides, and several of them see the same fact: a text about coins speaks of
//! wallets, of quick money and of a ransom at once. So what was heard in the words counts once and a half at most, and
//! notes of words alone, or of the sender's looks alone, stay below what holds a message.

use crate::Finding;
use crate::finding::Severity;

/// What notes of wording come to: wanted mail speaks the same language, so a quarter has to come from something else.
pub const WORDS_MAX: u32 = 75;
/// What notes about the sender's looks come to.
pub const SENDER_MAX: u32 = 90;

/// What a detector looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Words,
    /// How the sender looks; that nothing proves him is a fact of its own.
    Sender,
    /// Links, files, proofs: each is a fact of its own, to be checked by itself.
    Other,
}

fn kind(detector: &str) -> Kind {
    match detector {
        "callback_scam" | "payment_fraud" => Kind::Words,
        other if other.ends_with("_wording") => Kind::Words,
        "brand" | "display_name" | "header_form" | "look_alike_domain" | "reply_to" | "sender_domain" => Kind::Sender,
        _ => Kind::Other,
    }
}

/// Notes by their kinds, and in full what is more than a note.
pub fn together<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> u32 {
    let (mut strongest_word, mut words, mut sender, mut other) = (0_u32, 0_u32, 0_u32, 0_u32);
    for finding in findings {
        let sum = match (finding.severity, kind(&finding.detector)) {
            (Severity::Note, Kind::Words) => {
                strongest_word = strongest_word.max(finding.points);
                &mut words
            }
            (Severity::Note, Kind::Sender) => &mut sender,
            _ => &mut other,
        };
        *sum = sum.saturating_add(finding.points);
    }
    let again = words.saturating_sub(strongest_word).min(strongest_word) / 2;
    other.saturating_add((strongest_word + again).min(WORDS_MAX)).saturating_add(sender.min(SENDER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detectors::{self, Detector};

    fn note(detector: &Detector, points: u32) -> Finding {
        Finding::note(detector, points, String::new(), vec![])
    }

    #[test]
    fn notes_count_by_their_kinds() {
        use detectors::{
            brand, credential_wording, crypto_wording, encrypted_attachment, free_host, one_site, reply_to,
        };
        let words = |a, b| [note(&credential_wording::DETECTOR, a), note(&crypto_wording::DETECTOR, b)];
        let sum = |all: &[Finding]| together(all);
        assert_eq!(sum(&words(40, 30)), 55, "the same words, heard twice");
        assert_eq!(sum(&words(85, 80)), WORDS_MAX, "words alone");
        assert_eq!(sum(&[note(&free_host::DETECTOR, 70), note(&one_site::DETECTOR, 35)]), 105, "two facts of links");
        assert_eq!(sum(&[note(&brand::DETECTOR, 70), note(&reply_to::DETECTOR, 50)]), 90, "the sender alone");
        assert_eq!(sum(&[note(&free_host::DETECTOR, 45), note(&reply_to::DETECTOR, 60)]), 105, "two kinds");
        assert_eq!(sum(&[note(&encrypted_attachment::DETECTOR, 60), note(&encrypted_attachment::DETECTOR, 60)]), 120);
        let strong = Finding::suspicious(&brand::DETECTOR, String::new(), vec![]);
        assert_eq!(sum(&[strong, note(&reply_to::DETECTOR, 10)]), 110, "more than a note counts in full");
    }

    #[test]
    fn every_kind_is_one_of_the_catalogue() {
        let of = |one: Kind| detectors::CATALOGUE.iter().filter(move |d| kind(d.id) == one).count();
        assert_eq!((of(Kind::Words), of(Kind::Sender)), (12, 6));
    }
}
