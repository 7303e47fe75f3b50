//! Text as a reader takes it, so that what looks the same compares the same.
//!
//! Compatibility forms and accents go by Unicode's own tables (UAX #15, NFKD): 𝐏𝗮𝘆, Ｐａｙ and páy are pay. Letters of other
//! scripts that look Latin go by a table of those that are used to deceive (UTS #39 has thousands that nobody uses).

use icu_normalizer::DecomposingNormalizerBorrowed;

/// Lower-case words with one space between them: look-alikes, accents and letters of another width folded, what a reader does not
/// see dropped, apostrophes and dots within words too.
pub fn skeleton(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut between = false;
    let mut take = |c: char| match c {
        '"' | '\'' | '.' | '`' | '’' | '´' => {}
        c if c.is_alphanumeric() => {
            if between && !out.is_empty() {
                out.push(' ');
            }
            between = false;
            out.push(c);
        }
        _ => between = true,
    };
    if text.is_ascii() {
        text.chars().for_each(|c| take(c.to_ascii_lowercase()));
    } else {
        let plain = DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(text.chars().filter(|c| !is_unseen(*c)));
        plain.filter(|c| !is_unseen(*c)).flat_map(char::to_lowercase).map(latin).for_each(take);
    }
    out
}

/// The same with digits that stand for letters, for what is written to be misread: `m1crosoft`, `paypa1`, `arnazon`.
pub fn misread(skeleton: &str) -> String {
    let letters: String = skeleton
        .chars()
        .map(|c| match c {
            '0' => 'o',
            '1' | '|' | 'i' => 'l',
            '3' => 'e',
            '4' => 'a',
            '5' => 's',
            '8' => 'b',
            c => c,
        })
        .collect();
    match letters.contains("rn") || letters.contains("vv") {
        true => letters.replace("rn", "m").replace("vv", "w"),
        false => letters,
    }
}

/// One lower-case letter as the Latin one it looks like, where no decomposition brings it there.
pub(crate) fn latin(c: char) -> char {
    match c {
        'а' | 'α' | 'ɑ' => 'a',
        'ь' | 'в' => 'b',
        'с' | 'ϲ' => 'c',
        'đ' | 'ԁ' => 'd',
        'е' | 'є' | 'ε' => 'e',
        'ƒ' => 'f',
        'ɡ' => 'g',
        'һ' | 'ħ' | 'н' => 'h',
        'ı' | 'і' | 'ι' | 'ɩ' | 'ӏ' => 'i',
        'ј' | 'ʝ' => 'j',
        'к' | 'κ' => 'k',
        'ł' => 'l',
        'м' => 'm',
        'п' | 'η' => 'n',
        'ø' | 'о' | 'ο' | 'օ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'г' => 'r',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' | 'ս' => 'u',
        'ν' | 'ѵ' => 'v',
        'ԝ' | 'ω' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'ү' => 'y',
        'ᴢ' => 'z',
        c => c,
    }
}

/// Takes no room where it is shown: joiners, marks of direction, combining marks, selectors of variants, tags.
pub fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{300}'..='\u{36f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_the_same() {
        for (text, seen) in [
            ("PayPal", "paypal"),
            ("Ра\u{443}\u{440}al", "paypal"),
            ("𝐏𝗮𝘆𝑷𝒂𝒍 Ｓｕｐｐｏｒｔ", "paypal support"),
            ("E\u{34f}V\u{34f}R\u{34f}i", "evri"),
            ("M\u{e0139}\u{e0139}ic\u{e0139}rosoft", "microsoft"),
            ("Pay\u{200b}Pal\u{ad}", "paypal"),
            ("D'isney+  \"Plus\"", "disney plus"),
            ("Società Générale", "societa generale"),
            ("  ~~Amazon.de~~ ", "amazonde"),
        ] {
            assert_eq!(skeleton(text), seen, "{text}");
        }
        assert_eq!(misread("m1cr0soft arnazon"), misread("microsoft amazon"));
    }
}
