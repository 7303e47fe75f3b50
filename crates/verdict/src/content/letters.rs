//! Letters as a reader takes them: what has no width, and what looks like another letter.
//!
//! Who writes "PayPаl" with a Cyrillic letter, or puts something invisible into every word, hides from programs and not
//! from people. Whole words of another script are just another language.

/// Nothing is seen of it (Unicode: default ignorable), the soft hyphen apart.
pub fn is_zero_width(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{34f}' | '\u{61c}'
        | '\u{180e}' | '\u{2066}'..='\u{206f}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{e0000}'..='\u{e0fff}' | '\u{fe00}'..='\u{fe0f}')
}

/// One lower-case letter of another script as a reader of Latin takes it.
fn look_alike(c: char) -> Option<char> {
    match c {
        'а' | 'α' => Some('a'),
        'в' | 'β' => Some('b'),
        'с' | 'ϲ' => Some('c'),
        'ԁ' => Some('d'),
        'е' | 'ε' => Some('e'),
        'ɡ' | 'ց' => Some('g'),
        'һ' | 'н' => Some('h'),
        'і' | 'ι' | 'ɩ' => Some('i'),
        'ј' | 'ϳ' => Some('j'),
        'к' | 'κ' => Some('k'),
        'ӏ' | 'ⅼ' => Some('l'),
        'м' | 'ⅿ' => Some('m'),
        'п' | 'η' => Some('n'),
        'о' | 'ο' | 'օ' | 'σ' => Some('o'),
        'р' | 'ρ' => Some('p'),
        'ԛ' => Some('q'),
        'г' => Some('r'),
        'ѕ' => Some('s'),
        'т' | 'τ' => Some('t'),
        'υ' | 'ս' => Some('u'),
        'ν' | 'ѵ' | 'ⅴ' => Some('v'),
        'ԝ' | 'ω' => Some('w'),
        'х' | 'χ' => Some('x'),
        'у' | 'γ' => Some('y'),
        'ᴢ' => Some('z'),
        _ => None,
    }
}

/// A letter of another script that is taken for a Latin one.
pub fn is_look_alike(c: char) -> bool {
    look_alike(c).is_some()
}

/// Letters drawn in another style: mathematical, full-width, circled, small capitals.
fn is_styled(c: char) -> bool {
    matches!(c, '\u{1d400}'..='\u{1d7ff}' | '\u{ff01}'..='\u{ff5e}' | '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}'
        | '\u{1d00}'..='\u{1d2b}' | '\u{2c60}'..='\u{2c7f}')
}

/// Text in the form in which words are compared: lower case, accents and styles gone, look-alikes folded where they
/// stand in a word with Latin letters, what has no width gone, white space and breaks one space.
pub fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let is_blank = |b: &u8| matches!(b, 0..=b' ' | 0x7f);
    while at < text.len() {
        let end = text.as_bytes()[at..].iter().position(is_blank).map_or(text.len(), |n| at + n);
        let run = &text[at..end];
        if run.is_ascii() {
            // nothing in it stands for anything else
            let from = out.len();
            out.push_str(run);
            out[from..].make_ascii_lowercase();
        } else {
            fold(run, &mut out);
        }
        if end < text.len() && !out.ends_with(' ') && !out.is_empty() {
            out.push(' ');
        }
        at = end + 1;
    }
    out.truncate(out.trim_end().len());
    out
}

/// What stands between two blanks.
fn fold(text: &str, out: &mut String) {
    let mut word = out.len();
    let (mut latin, mut foreign) = (false, false);
    let end_word = |out: &mut String, word: usize, mixed: bool| {
        if mixed {
            let plain: String = out[word..].chars().map(|c| look_alike(c).unwrap_or(c)).collect();
            out.truncate(word);
            out.push_str(&plain);
        }
    };
    for c in text.chars() {
        if c.is_ascii() {
            if c.is_ascii_alphanumeric() {
                latin |= c.is_ascii_alphabetic();
                out.push(c.to_ascii_lowercase());
            } else {
                end_word(out, word, latin && foreign);
                out.push(c);
                (word, latin, foreign) = (out.len(), false, false);
            }
            continue;
        }
        match c {
            c if is_zero_width(c) || c == '\u{ad}' || ('\u{300}'..='\u{36f}').contains(&c) => {}
            '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2bc}' => out.push('\''),
            '\u{201c}'..='\u{201f}' => out.push('"'),
            '\u{2010}'..='\u{2015}' => out.push('-'),
            '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => {
                latin = true;
                out.push_str(&any_ascii::any_ascii_char(c).to_ascii_lowercase());
            }
            c if is_styled(c) => {
                latin = true;
                out.push_str(&any_ascii::any_ascii_char(c).to_ascii_lowercase());
            }
            c if c.is_alphanumeric() => {
                for c in c.to_lowercase() {
                    foreign |= look_alike(c).is_some();
                    out.push(c);
                }
            }
            c => {
                end_word(out, word, latin && foreign);
                let plain = if c.is_whitespace() || c.is_control() { ' ' } else { c };
                if plain != ' ' || !(out.ends_with(' ') || out.is_empty()) {
                    out.push(plain);
                }
                (word, latin, foreign) = (out.len(), false, false);
            }
        }
    }
    end_word(out, word, latin && foreign);
}

/// What is odd about the letters of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Odd {
    /// Words of Latin letters with something invisible inside.
    pub split_words: usize,
    /// Words in which letters of another script stand for Latin ones, or letters are drawn in another style.
    pub disguised_words: usize,
    /// The former of these alone.
    pub mixed_words: usize,
    /// The first of either kind, as written.
    pub sample: Option<String>,
}

impl Odd {
    pub fn add(&mut self, other: &Odd) {
        self.split_words += other.split_words;
        self.disguised_words += other.disguised_words;
        self.mixed_words += other.mixed_words;
        if self.sample.is_none() {
            self.sample.clone_from(&other.sample);
        }
    }
}

/// Letters of a word that are remembered to be shown.
const SAMPLE_CHARS: usize = 40;

/// Reads text as it comes, in pieces.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    odd: Odd,
    word: String,
    latin: usize,
    alike: usize,
    styled: usize,
    other: usize,
    /// Something invisible came behind a Latin letter.
    gap: bool,
    split: bool,
}

impl Watch {
    pub fn feed(&mut self, text: &str) {
        // most text is ASCII, and nothing is odd about it unless the word it goes on with is
        if text.is_ascii() && self.alike + self.styled + self.other == 0 && !self.gap && !self.split {
            let letters = text.bytes().rev().take_while(u8::is_ascii_alphabetic).take(SAMPLE_CHARS).count();
            if letters < text.len().min(SAMPLE_CHARS) {
                self.end_word();
            }
            self.latin += letters;
            self.word.push_str(&text[text.len() - letters..]);
            return;
        }
        text.chars().for_each(|c| self.letter(c));
    }

    fn letter(&mut self, c: char) {
        if is_zero_width(c) {
            self.gap |= self.latin > 0 && self.other == 0;
        } else if c.is_alphabetic() || is_styled(c) {
            let lower = c.to_lowercase().next().unwrap_or(c);
            if c.is_ascii() || ('\u{c0}'..='\u{24f}').contains(&c) {
                self.latin += 1;
                self.split |= self.gap;
            } else if is_styled(c) {
                self.styled += 1;
            } else if look_alike(lower).is_some() {
                self.alike += 1;
            } else {
                self.other += 1;
            }
            self.gap = false;
        } else if c != '\u{ad}' && !('\u{300}'..='\u{36f}').contains(&c) {
            return self.end_word();
        }
        if self.word.chars().count() < SAMPLE_CHARS {
            self.word.push(c);
        }
    }

    /// No letter that follows belongs to the same word.
    pub fn end_word(&mut self) {
        // one Greek letter beside a Latin one is physics; a word needs more
        let mixed = self.latin > 1 && self.alike > 0 && self.other == 0;
        let disguised = mixed || (self.styled > 2 && self.latin + self.styled > 3);
        self.odd.mixed_words += usize::from(mixed);
        self.odd.split_words += usize::from(self.split);
        self.odd.disguised_words += usize::from(disguised);
        if (self.split || disguised) && self.odd.sample.is_none() {
            self.odd.sample = Some(std::mem::take(&mut self.word));
        }
        self.word.clear();
        (self.latin, self.alike, self.styled, self.other, self.gap, self.split) = (0, 0, 0, 0, false, false);
    }

    pub fn odd(mut self) -> Odd {
        self.end_word();
        self.odd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd(text: &str) -> (usize, usize) {
        let mut watch = Watch::default();
        watch.feed(text);
        let odd = watch.odd();
        (odd.split_words, odd.disguised_words)
    }

    #[test]
    fn words_are_compared_as_a_reader_takes_them() {
        for (text, plain) in [
            ("PаyPаl  Ѕecurity\r\n\tTeam", "paypal security team"),
            ("Pay\u{200b}Pal\u{ad}s", "paypals"),
            ("𝗣𝗮𝘆𝗣𝗮𝗹 𝑙𝑜𝑔𝑖𝑛", "paypal login"),
            ("Ｖｅｒｉｆｙ", "verify"),
            ("Überweisung café", "uberweisung cafe"),
            ("Привет, мир", "привет, мир"),
            ("don’t — “now”", "don't - \"now\""),
            ("  ", ""),
        ] {
            assert_eq!(folded(text), plain, "{text}");
        }
    }

    #[test]
    fn disguise_is_told_from_another_language() {
        assert_eq!(odd("your PаyPаl account"), (0, 1));
        assert_eq!(odd("v\u{200b}e\u{200b}r\u{200b}ify y\u{200c}our account"), (2, 0));
        assert_eq!(odd("𝗣𝗮𝘆𝗣𝗮𝗹"), (0, 1));
        for plain in [
            "Привет, как дела",
            "Καλημέρα κόσμε",
            "5 µm, σ-Algebra, ΔT",
            "می\u{200c}خواهم",
            "Donau\u{ad}dampf",
            "\u{200b}\u{200c} \u{200b}Hello\u{200b}",
            "日本語",
            "naïve",
        ] {
            assert_eq!(odd(plain), (0, 0), "{plain}");
        }
    }

    #[test]
    fn a_word_goes_on_in_the_next_piece() {
        let mut watch = Watch::default();
        ["say Pay", "P", "а", "l", " now"].iter().for_each(|piece| watch.feed(piece));
        assert_eq!(
            watch.odd(),
            Odd { split_words: 0, disguised_words: 1, mixed_words: 1, sample: Some("PayPаl".into()) }
        );
    }
}
