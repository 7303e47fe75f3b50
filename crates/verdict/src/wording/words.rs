//! Text in the form in which phrases are compared.
//!
//! One word, one space; what a reader takes for the same is the same: case, accents, look-alike letters, `l` and `I`,
//! `0` and `o` inside words, punctuation, line ends. Every number is `#`, every address of mail is `@`, so that a phrase
//! holds for any of them.

use crate::look_alike::{is_unseen, latin};
use icu_normalizer::DecomposingNormalizerBorrowed;

/// Compatibility forms and accents (UAX #15).
const NFKD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfkd();

/// Appends the words of a text, at most until `out` holds `octets_max`. Begins and ends with a space.
pub(crate) fn append(text: &str, out: &mut String, octets_max: usize) {
    if !out.ends_with(' ') {
        out.push(' ');
    }
    let mut word = String::new();
    for run in text.split_whitespace() {
        if out.len() >= octets_max {
            break;
        }
        if is_address(run) {
            out.push_str("@ ");
        } else {
            let room = octets_max.saturating_sub(out.len());
            let letters = run.chars().take(room);
            if run.is_ascii() {
                run_of_letters(letters.map(|c| c.to_ascii_lowercase()), &mut word, out);
            } else {
                let plain = NFKD.normalize_iter(letters.filter(|c| !is_unseen(*c))).filter(|c| !is_unseen(*c));
                run_of_letters(plain.flat_map(char::to_lowercase).map(latin), &mut word, out);
            }
        }
    }
}

pub(crate) fn of(text: &str) -> String {
    let mut out = String::new();
    append(text, &mut out, usize::MAX);
    out
}

fn is_address(run: &str) -> bool {
    run.split_once('@').is_some_and(|(local, domain)| {
        local.ends_with(|c: char| c.is_alphanumeric()) && domain.starts_with(|c: char| c.is_alphanumeric())
    })
}

fn run_of_letters(run: impl Iterator<Item = char>, word: &mut String, out: &mut String) {
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

fn end(word: &mut String, out: &mut String) {
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
        "%" | "$" | "€" | "£" => out.ends_with("# "),
        _ => letters == 0 && digits > 0 && [" $ ", " € ", " £ "].iter().any(|sign| out.ends_with(sign)),
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
        out.push(match c {
            _ if numeral => '#',
            'l' | '1' => 'i',
            '0' => 'o',
            '3' => 'e',
            other => other,
        });
    }
    out.push(' ');
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
            assert_eq!(of(text), words, "{text}");
        }
        let mut out = String::new();
        append(&"word ".repeat(1000), &mut out, 100);
        assert!(out.len() < 110);
    }
}
