//! What the words of a message say: which known turns of phrase stand in it, found in one walk for all detectors.
//!
//! The phrases are data (`phrases/*.txt`), grouped by what they are a sign of. A single one proves nothing: wanted mail
//! speaks the same language. The detectors weigh which of them come together ([`weigh`]), and whether the message
//! belongs to who sends it ([`standing`]).

pub(crate) mod phrases;
pub mod standing;
pub(crate) mod structure;
pub mod weigh;
pub(crate) mod words;

pub use phrases::Signal;

use crate::{Evidence, limits};

/// One phrase of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub signal: Signal,
    /// The phrase as a person writes it.
    pub phrase: String,
    pub in_subject: bool,
    /// Where it begins and ends among the words of the text.
    pub from: usize,
    pub at: usize,
}

/// Everything known that a message says, in the order in which it says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wording {
    pub hits: Vec<Hit>,
    /// Octets of the text's words.
    pub octets: usize,
}

impl Wording {
    /// `texts`: what a reader sees, one after the other.
    pub fn of<'a>(subject: &str, texts: impl IntoIterator<Item = &'a str>) -> Wording {
        let mut hits = phrases::find(&words::of(subject), true);
        let mut text = Vec::new();
        for one in texts {
            words::append(one, &mut text, limits::WORDING_OCTETS_MAX);
        }
        hits.extend(phrases::find(&text, false));
        Wording { hits, octets: text.len() }
    }
}

impl Evidence<'_> {
    /// What the words of this message say; read once, however many ask.
    pub fn wording(&self) -> &Wording {
        self.content
            .wording
            .get_or_init(|| Wording::of(&self.message.subject().unwrap_or_default(), structure::texts(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn megabytes_of_phrases_stay_in_bounds() {
        let text = "your account will be suspended within 24 hours click here ".repeat(50_000);
        let read = Wording::of("dear customer", [text.as_str(), "and 1 more"]);
        assert!(read.octets <= limits::WORDING_OCTETS_MAX + 64, "{}", read.octets);
        // each phrase once
        let told: std::collections::HashSet<&str> = read.hits.iter().map(|hit| hit.phrase.as_str()).collect();
        assert!(told.len() == read.hits.len() && read.hits.len() < limits::PHRASES_MAX, "{:?}", read.hits);
        let one_word = Wording::of("", ["x".repeat(1 << 20).as_str()]);
        assert!(one_word.octets <= limits::WORDING_OCTETS_MAX + 64, "{}", one_word.octets);
    }
}
