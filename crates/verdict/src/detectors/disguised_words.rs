//! Words that people read and programs do not.

use super::Detector;
use crate::content::letters::{Odd, Watch};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "disguised_words",
    title: "Words disguised from programs",
    category: Category::Phishing,
    severity: Severity::Note,
    prose: "Words of the text, the subject or the sender's name that mix look-alike Cyrillic or Greek letters into Latin ones, that are\nwritten in mathematical or full-width letters, or that have invisible characters inside. Few are worth 20 points, from three on 50, in\nsubject or sender's name 60. Soft hyphens, joiners of other scripts and invisible padding between words are left alone.",
    look,
};

const FEW_POINTS: u32 = 20;
const MANY_POINTS: u32 = 50;
const HEADER_POINTS: u32 = 60;
const MANY: usize = 3;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let subject = evidence.message.subject().unwrap_or_default();
    let names = evidence.message.from().iter().map(|a| a.display.as_str());
    for (header, text) in std::iter::once(("subject", subject.as_str())).chain(names.map(|n| ("sender's name", n))) {
        if let Some(odd) = disguised(text) {
            return vec![finding(&odd, HEADER_POINTS, &format!("in the {header}"))];
        }
    }
    let odd = &evidence.content.odd;
    match odd.disguised_words + odd.split_words {
        0 => vec![],
        n if n < MANY => vec![finding(odd, FEW_POINTS, "in the text")],
        _ => vec![finding(odd, MANY_POINTS, "in the text")],
    }
}

/// What is odd about a text of the header; styled letters there are an advertiser's taste.
pub(super) fn disguised(text: &str) -> Option<Odd> {
    if text.is_ascii() {
        return None;
    }
    let mut watch = Watch::default();
    watch.feed(text);
    Some(watch.odd()).filter(|odd| odd.mixed_words + odd.split_words > 0)
}

fn finding(odd: &Odd, points: u32, place: &str) -> Finding {
    let n = odd.disguised_words + odd.split_words;
    let summary = match n {
        1 => format!("a word {place} is disguised by look-alike or invisible letters"),
        n => format!("{n} words {place} are disguised by look-alike or invisible letters"),
    };
    let shown = odd.sample.as_deref().map(told);
    Finding::note(&DETECTOR, points, summary, shown.map(|s| format!("for instance \"{s}\"")).into_iter().collect())
}

/// Letters beyond ASCII by their numbers: seen, they look innocent.
fn told(word: &str) -> String {
    word.chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("<U+{:04X}>", u32::from(c)) }).collect()
}
