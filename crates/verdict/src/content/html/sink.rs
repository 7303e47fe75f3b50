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
            if self.text.len() + word.len() > octets_max {
                return;
            }
            match self.gap {
                Gap::Space if !self.text.is_empty() => self.text.push(' '),
                Gap::Break if !self.text.is_empty() => self.text.push('\n'),
                _ => {}
            }
            self.gap = Gap::None;
            self.text.push_str(&word);
        }
    }
}
