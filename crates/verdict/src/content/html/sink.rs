//! Text as a browser lays it out: white space of every kind is one space, a block begins a line.

use crate::content::letters::is_zero_width;
use std::borrow::Cow;

/// Where text is put, with the space or the break before the next letter.
#[derive(Debug, Default)]
pub struct Sink {
    pub text: String,
    gap: Gap,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub enum Gap {
    #[default]
    None,
    Space,
    Break,
}

impl Sink {
    pub fn gap(&mut self, gap: Gap) {
        if self.gap < gap {
            self.gap = gap;
        }
    }

    pub fn push(&mut self, text: &str, octets_max: usize) {
        if text.is_ascii() {
            return self.push_ascii(text, octets_max);
        }
        for (n, word) in text.split([' ', '\t', '\n', '\r', '\x0c', '\u{a0}']).enumerate() {
            if n > 0 {
                self.gap(Gap::Space);
            }
            // what has no width is no word either
            let word: Cow<'_, str> = match word.is_ascii() {
                true => word.into(),
                false => word.chars().filter(|c| !is_zero_width(*c) && *c != '\u{ad}').collect(),
            };
            if word.is_empty() {
                continue;
            }
            if !self.word(&word, octets_max) {
                return;
            }
        }
    }

    /// The same of what is most of all text.
    fn push_ascii(&mut self, text: &str, octets_max: usize) {
        let (octets, mut at) = (text.as_bytes(), 0);
        let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c');
        while at < octets.len() {
            let end = octets[at..].iter().position(is_space).map_or(octets.len(), |n| at + n);
            if end > at && !self.word(&text[at..end], octets_max) {
                return;
            }
            if end < octets.len() {
                self.gap(Gap::Space);
            }
            at = end + 1;
        }
    }

    /// False where there is no room left.
    fn word(&mut self, word: &str, octets_max: usize) -> bool {
        if self.text.len() + word.len() > octets_max {
            return false;
        }
        match self.gap {
            Gap::Space if !self.text.is_empty() => self.text.push(' '),
            Gap::Break if !self.text.is_empty() => self.text.push('\n'),
            _ => {}
        }
        self.gap = Gap::None;
        self.text.push_str(word);
        true
    }
}
