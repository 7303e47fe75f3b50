//! Kinds of domains, by lists that change slowly (data/): who gives addresses to anybody, who lets anybody send from below
//! his own domain, which top level domains cost next to nothing.

use std::collections::HashSet;
use std::sync::LazyLock;

type List = LazyLock<HashSet<&'static str>>;

fn list(text: &'static str) -> HashSet<&'static str> {
    text.lines().filter(|l| !l.starts_with('#')).flat_map(str::split_whitespace).collect()
}

static FREE_MAIL: List = LazyLock::new(|| list(include_str!("../data/free_mail.txt")));
static HOSTING: List = LazyLock::new(|| list(include_str!("../data/hosting.txt")));
static CHEAP: List = LazyLock::new(|| list(include_str!("../data/cheap_suffixes.txt")));

/// Anybody gets an address there within a minute.
pub fn is_free_mail(domain: &str) -> bool {
    FREE_MAIL.contains(domain)
}

/// The platform below which anybody publishes or sends under a name of his choice.
pub fn hosting_of(domain: &str) -> Option<&'static str> {
    let mut rest = domain;
    while let Some((_, parent)) = rest.split_once('.') {
        if let Some(found) = HOSTING.get(parent) {
            return Some(found);
        }
        rest = parent;
    }
    None
}

/// The suffix of the domain, where it is one that costs next to nothing.
pub fn cheap_suffix_of(domain: &str) -> Option<&'static str> {
    let suffix = psl::suffix_str(domain)?;
    CHEAP.get(suffix).or_else(|| CHEAP.get(suffix.rsplit('.').next()?)).copied()
}

/// Letters, digits and hyphens in labels, and a suffix that exists (RFC 1123 §2.1; RFC 2606 and RFC 6761 names too).
pub fn is_host_name(domain: &str) -> bool {
    let label = |l: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&l.len()) && l.bytes().all(inner) && !l.starts_with('-') && !l.ends_with('-')
    };
    if domain.starts_with('[') {
        return domain.ends_with(']');
    }
    let Some((_, tld)) = domain.rsplit_once('.') else { return false };
    let exists = psl::suffix(domain.as_bytes()).is_some_and(|s| s.is_known())
        || ["example", "test", "invalid", "localhost", "local", "internal"].contains(&tld);
    domain.len() <= 253 && domain.split('.').all(label) && exists
}

/// Letters of changing case that are neither words (`TurboTax`) nor a number in another guise: `hVuukorHxTNDkRC`.
pub fn is_random_name(local: &str) -> bool {
    if !(RANDOM_NAME_MIN..=64).contains(&local.len()) || !local.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return false;
    }
    let mut words: Vec<&str> = Vec::new();
    let mut start = 0;
    let bytes = local.as_bytes();
    for at in 1..bytes.len() {
        if bytes[at].is_ascii_uppercase() && !bytes[at - 1].is_ascii_uppercase() {
            words.push(&local[start..at]);
            start = at;
        }
    }
    words.push(&local[start..]);
    let vowels = |w: &&&str| w.len() > 1 && w.bytes().any(|b| b"aeiouyAEIOUY".contains(&b));
    let read = words.iter().filter(vowels).count();
    words.len() >= 3 && words.len() - read >= 2 && words.len() - read >= read
}

/// Shorter ones are initials.
const RANDOM_NAME_MIN: usize = 6;

/// A label that nobody would choose to be remembered: letters and digits by turns, or no vowel at all.
pub fn is_random(label: &str) -> bool {
    if label.len() < 7 || label.starts_with("xn--") {
        return false;
    }
    let kinds: Vec<u8> =
        label.bytes().filter(u8::is_ascii_alphanumeric).map(|b| u8::from(b.is_ascii_digit())).collect();
    let turns = kinds.windows(2).filter(|w| w[0] != w[1]).count();
    let digits = kinds.iter().filter(|k| **k == 1).count();
    // "abc123def" turns twice; a name with a year or a number at its end turns once
    if turns >= 3 && digits >= 2 {
        return true;
    }
    let (mut longest, mut run) = (0, 0);
    for b in label.bytes() {
        let consonant = b.is_ascii_alphabetic() && !b"aeiouy".contains(&b.to_ascii_lowercase());
        run = if consonant { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    // German has eight consonants in a row, but no number beside them, and no word without a vowel
    let is_consonants = digits == 0 && label.bytes().all(|b| !b"aeiouy-".contains(&b.to_ascii_lowercase()));
    is_consonants || (digits > 0 && longest >= 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_domains() {
        assert!(is_free_mail("gmail.com") && !is_free_mail("contoso.example"));
        assert_eq!(hosting_of("x-1.firebaseapp.com"), Some("firebaseapp.com"));
        assert_eq!((hosting_of("firebaseapp.com"), hosting_of("contoso.example")), (None, None));
        assert_eq!(
            (cheap_suffix_of("a.b.shop"), cheap_suffix_of("b.sa.com"), cheap_suffix_of("b.com")),
            (Some("shop"), Some("sa.com"), None)
        );
        for whole in ["a.de", "mail.partner.example", "xn--bcher-kva.example", "[192.0.2.1]", "a.co.uk"] {
            assert!(is_host_name(whole), "{whole}");
        }
        for broken in ["", "bradesco", "%x.com", "smartrmail,com", "a..com", "a.b.c.wtpf", "-a.com"] {
            assert!(!is_host_name(broken), "{broken}");
        }
        for random in ["53jttgntoy", "o159ies5e4k3muquztov", "0lg9c8qz45", "xnrm4fm7pz", "zxcvbnmk"] {
            assert!(is_random(random), "{random}");
        }
        for chosen in [
            "contoso",
            "studio54berlin",
            "web2print",
            "company2024",
            "365tickets",
            "deutschebank",
            "abc123",
            "rhythmschool",
            "3m4you",
        ] {
            assert!(!is_random(chosen), "{chosen}");
        }
    }
}
