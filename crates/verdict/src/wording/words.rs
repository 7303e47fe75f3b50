//! Text in the form in which phrases are compared.
//!
//! One word, one space; what a reader takes for the same is the same: case, accents, look-alike letters, `l` and `I`,
//! `0` and `o` inside words, punctuation, line ends. Every number is `#`, every address of mail is `@`, so that a phrase
//! holds for any of them.

use crate::look_alike::{is_unseen, latin};
use icu_normalizer::DecomposingNormalizerBorrowed;

/// Compatibility forms and accents (UAX #15).
const NFKD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfkd();

/// Ends a word, and is nothing itself.
const STOP: u8 = 0;
const SPACE: u8 = 1;
/// A word with one of these is not just its letters: digits, apostrophes, signs of money, the mark of an address, and
/// whatever is not ASCII.
const PARTICULAR: u8 = 2;
/// Each octet as one of these, a letter as it is compared.
const READ: [u8; 256] = {
    let mut read = [STOP; 256];
    let mut b = 0;
    while b < 256 {
        read[b] = match b as u8 {
            b'l' | b'L' => b'i',
            letter @ (b'a'..=b'z' | b'A'..=b'Z') => letter.to_ascii_lowercase(),
            b'\t'..=b'\r' | b' ' => SPACE,
            b'0'..=b'9' | b'\'' | b'`' | b'$' | b'%' | b'@' | 0x80.. => PARTICULAR,
            _ => STOP,
        };
        b += 1;
    }
    read
};

fn read(octet: u8) -> u8 {
    READ[usize::from(octet)]
}

/// Appends the words of a text, at most until `out` holds `octets_max`. Begins and ends with a space.
pub(crate) fn append(text: &str, out: &mut Vec<u8>, octets_max: usize) {
    if !out.ends_with(b" ") {
        out.push(b' ');
    }
    let (octets, mut at, mut word) = (text.as_bytes(), 0, String::new());
    while out.len() < octets_max && at < octets.len() {
        let length = plain(&octets[at..], out, octets_max).unwrap_or_else(|| {
            let length = octets[at..].iter().take_while(|b| read(**b) != SPACE).count();
            // spaces that are not ASCII divide it further
            let runs = text[at..at + length].split_whitespace();
            runs.for_each(|run| particular(run, &mut word, out, octets_max));
            length
        });
        at += length + 1;
    }
}

/// Most of what stands before a space is a word and what surrounds it. How many octets it has; `None` and nothing
/// appended where there is more to it.
fn plain(octets: &[u8], out: &mut Vec<u8>, octets_max: usize) -> Option<usize> {
    let (before, mut at) = (out.len(), 0);
    let length = loop {
        let letters = octets[at..].iter().take_while(|b| read(**b) > PARTICULAR).count();
        if letters > 0 {
            out.extend(octets[at..at + letters].iter().map(|b| read(*b)));
            out.push(b' ');
        }
        at += letters;
        match octets.get(at).map(|b| read(*b)) {
            None | Some(SPACE) => break Some(at),
            Some(PARTICULAR) => break None,
            _ => at += 1,
        }
    };
    let length = length.filter(|length| *length <= octets_max.saturating_sub(before));
    if length.is_none() {
        out.truncate(before);
    }
    length
}

fn particular(run: &str, word: &mut String, out: &mut Vec<u8>, octets_max: usize) {
    if out.len() >= octets_max {
        return;
    }
    if is_address(run) {
        return out.extend(b"@ ");
    }
    let letters = run.chars().take(octets_max.saturating_sub(out.len()));
    if run.is_ascii() {
        run_of_letters(letters.map(|c| c.to_ascii_lowercase()), word, out);
    } else {
        let plain = NFKD.normalize_iter(letters.filter(|c| !is_unseen(*c))).filter(|c| !is_unseen(*c));
        run_of_letters(plain.flat_map(char::to_lowercase).map(latin), word, out);
    }
}

pub(crate) fn of(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    append(text, &mut out, usize::MAX);
    out
}

fn is_address(run: &str) -> bool {
    run.split_once('@').is_some_and(|(local, domain)| {
        local.ends_with(|c: char| c.is_alphanumeric()) && domain.starts_with(|c: char| c.is_alphanumeric())
    })
}

fn run_of_letters(run: impl Iterator<Item = char>, word: &mut String, out: &mut Vec<u8>) {
    let mut run = run.peekable();
    while let Some(c) = run.next() {
        let inside_number =
            matches!(c, '.' | ',') && word.ends_with(is_digit) && run.peek().copied().is_some_and(is_digit);
        match c {
            _ if inside_number => {}
            '\'' | '`' | '’' | '´' => {}
            '$' | '%' | '€' | '£' => word.push(c),
            c if c.is_alphanumeric() => word.push(c),
            _ => end(word, out),
        }
    }
    end(word, out);
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn end(word: &mut String, out: &mut Vec<u8>) {
    if word.is_empty() {
        return;
    }
    let (mut letters, mut digits, mut odd) = (0_usize, 0_usize, 0_usize);
    for c in word.chars() {
        letters += usize::from(c.is_alphabetic());
        digits += usize::from(is_digit(c));
        odd += usize::from(matches!(c, '2' | '4'..='9'));
    }
    let in_disguise = odd == 0 && letters >= 3 && digits <= letters / 2;
    // "500 €" is 500€, "$ 500" is $500
    let joined = match word.as_str() {
        "%" | "$" | "€" | "£" => out.ends_with(b"# "),
        _ => letters == 0 && digits > 0 && [" $ ", " € ", " £ "].iter().any(|sign| out.ends_with(sign.as_bytes())),
    };
    if joined {
        out.pop();
    }
    let mut number = false;
    for c in word.chars() {
        let numeral = is_digit(c) && !in_disguise;
        if numeral && number {
            continue;
        }
        number = numeral;
        let shown = match c {
            _ if numeral => '#',
            'l' | '1' => 'i',
            '0' => 'o',
            '3' => 'e',
            other => other,
        };
        out.extend(shown.encode_utf8(&mut [0; 4]).as_bytes());
    }
    out.push(b' ');
    word.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_takes_for_the_same_is_the_same() {
        for (text, words) in [
            ("Iog in To\r\nYour Account!", " iog in to your account "),
            ("LOG-IN to «your» аccоunt", " iog in to your account "),
            ("_C0NF1RM__ within 24 hours", " confirm within # hours "),
            ("𝗬𝗼𝘂𝗿 𝘼𝙘𝙘𝙤𝙪𝙣𝙩", " your account "),
            ("B\u{e0139}i\u{200b}l\u{ad}ling you've", " biiiing youve "),
            ("$1,500.00 or 500€ für 48h", " $# or #€ fur #h "),
            ("500 € and $ 500, 10 % off", " #€ and $# #% off "),
            ("Hello <bob@contoso.example>,", " heiio @ "),
            ("", " "),
        ] {
            assert_eq!(String::from_utf8_lossy(&of(text)), words, "{text}");
        }
        let mut out = Vec::new();
        append(&"word ".repeat(1000), &mut out, 100);
        assert!(out.len() < 110);
    }
}
