//! Brands in whose name people are deceived: what they are called, and where their mail comes from (data/brands.txt).

use crate::look_alike::skeleton;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

#[derive(Debug)]
pub struct Brand {
    pub name: &'static str,
    domains: Vec<&'static str>,
}

/// A brand that a text names.
#[derive(Clone, Copy, Debug)]
pub struct Mention {
    pub brand: &'static Brand,
    pub extent: Extent,
    /// The name used is also an ordinary word or a person's name.
    pub is_word: bool,
}

/// How much of a text a brand's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// Named among other words.
    Part,
    /// The text ends in it as a person's or a service's text ends in whom he speaks for: "Ann from Ledger", "Message from Lidl".
    Behalf,
    /// With words of rank alone: "PayPal Security Team".
    Ranked,
    /// Nothing but it.
    Whole,
}

struct Brands {
    all: Vec<&'static Brand>,
    /// From a name without spaces to its brand, and whether that name is also an ordinary word.
    names: HashMap<String, (&'static Brand, bool)>,
    /// Words that change nothing about whom a name claims.
    rank: HashSet<&'static str>,
}

/// Words of the longest name, written with a space after each: "d p d" is one of three.
const NAME_WORDS_MAX: usize = 4;
/// Words of a text that are looked at; a display name or subject that is longer shows no more.
const TEXT_WORDS_MAX: usize = 40;
/// Country domains that anybody may have: a brand's label under them proves nothing.
const SOLD_TO_ANYBODY: [&str; 14] =
    ["tk", "ml", "ga", "cf", "gq", "cc", "ws", "pw", "su", "to", "io", "me", "co", "tv"];

static BRANDS: LazyLock<Brands> = LazyLock::new(|| {
    let mut brands = Brands {
        all: Vec::new(),
        names: HashMap::new(),
        rank: include_str!("../data/rank_words.txt").split_whitespace().collect(),
    };
    let lines = include_str!("../data/brands.txt").lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
    for line in lines {
        let mut columns = line.split('|').map(str::trim);
        let names: Vec<&str> = columns.next().unwrap_or_default().split(',').map(str::trim).collect();
        let domains = columns.next().unwrap_or_default().split_whitespace().collect();
        // never freed: the list lives as long as the program
        let brand: &'static Brand = Box::leak(Box::new(Brand { name: names[0].trim_start_matches('~'), domains }));
        for name in names {
            let joined = skeleton(name).replace(' ', "");
            brands.names.entry(joined).or_insert((brand, name.starts_with('~')));
        }
        brands.all.push(brand);
    }
    brands
});

/// Every brand of the list.
pub fn all() -> &'static [&'static Brand] {
    &BRANDS.all
}

/// The brand to which mail of that domain belongs.
pub fn of_domain(domain: &str) -> Option<&'static Brand> {
    BRANDS.all.iter().find(|b| b.owns(domain)).copied()
}

impl Brand {
    /// Mail from that domain is the brand's own.
    pub fn owns(&self, domain: &str) -> bool {
        let domain = domain.trim_end_matches('.');
        self.domains.iter().any(|own| match own.strip_suffix(".cc") {
            Some(label) => is_label_of_a_country(domain, label),
            None if own.starts_with('.') => domain.ends_with(own),
            None => domain.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        })
    }
    /// Labels by which its domains are known: `paypal`, `deutschepost`.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        self.domains.iter().filter_map(|d| d.split('.').find(|label| !label.is_empty()))
    }
}

/// `label.com`, `label.de`, `label.co.uk`, and what is below.
fn is_label_of_a_country(domain: &str, label: &str) -> bool {
    let Some(own) = psl::domain_str(domain) else { return false };
    let Some((first, suffix)) = own.split_once('.') else { return false };
    let tld = suffix.rsplit('.').next().unwrap_or(suffix);
    first == label && (suffix == "com" || (tld.len() == 2 && !SOLD_TO_ANYBODY.contains(&suffix)))
}

/// The brands that a text names, those that it names most first. Look-alike letters are seen through.
pub fn named_in(text: &str) -> Vec<Mention> {
    let seen = skeleton(text);
    let words: Vec<&str> = seen.split(' ').take(TEXT_WORDS_MAX).collect();
    let mut found: Vec<Mention> = Vec::new();
    let mut at = 0;
    let mut joined = String::new();
    while at < words.len() {
        let longest = (1..=NAME_WORDS_MAX.min(words.len() - at)).rev().find_map(|count| {
            joined.clear();
            words[at..at + count].iter().for_each(|w| joined.push_str(w));
            BRANDS.names.get(joined.as_str()).map(|name| (count, *name))
        });
        match longest.or_else(|| with_top_level_domain(words[at]).map(|name| (1, name))) {
            Some((count, (brand, is_word))) => {
                let mention = Mention { brand, extent: extent(&words, at, count), is_word };
                match found.iter_mut().find(|m| std::ptr::eq(m.brand, brand)) {
                    Some(before) => {
                        before.extent = before.extent.max(mention.extent);
                        before.is_word &= is_word;
                    }
                    None => found.push(mention),
                }
                at += count;
            }
            None => at += 1,
        }
    }
    found.sort_by_key(|m| std::cmp::Reverse(m.extent));
    found
}

/// "Metamask.io", "Amazon.de": dots are gone by now.
fn with_top_level_domain(word: &str) -> Option<(&'static Brand, bool)> {
    ["com", "io", "de", "net", "org", "fr", "nl", "uk", "combr", "couk"]
        .iter()
        .find_map(|tld| BRANDS.names.get(word.strip_suffix(tld)?).filter(|(_, is_word)| !is_word || *tld == "com"))
        .map(|(brand, _)| (*brand, false))
}

fn extent(words: &[&str], at: usize, count: usize) -> Extent {
    let (before, after) = (&words[..at], &words[at + count..]);
    let is_rank = |w: &&str| is_rank(w);
    let speaks_for = before
        .last()
        .is_some_and(|w| ["from", "von", "van", "de", "du", "da", "do", "di", "via", "at", "by"].contains(w));
    if before.is_empty() && after.is_empty() {
        Extent::Whole
    } else if before.iter().chain(after).all(is_rank) {
        Extent::Ranked
    } else if (speaks_for && after.iter().all(is_rank)) || (before.is_empty() && after.first() == Some(&"via")) {
        Extent::Behalf
    } else {
        Extent::Part
    }
}

/// `support`, `team`, `kundenservice`, a number, a brand again.
fn is_rank(word: &str) -> bool {
    BRANDS.rank.contains(word) || word.chars().any(|c| c.is_ascii_digit()) || BRANDS.names.contains_key(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> String {
        let said: Vec<String> = named_in(text).iter().map(|m| format!("{} {:?}", m.brand.name, m.extent)).collect();
        said.join(", ")
    }

    #[test]
    fn brands_are_seen_as_a_reader_sees_them() {
        for (text, expected) in [
            ("PayPal", "PayPal Whole"),
            ("PayPal Security Team", "PayPal Ranked"),
            ("P a y P a l", ""),
            ("D P D Versand 77", "DPD Ranked"),
            ("TrustWallet APP", "Trust Wallet Ranked"),
            ("Metamask.io", "MetaMask Whole"),
            ("John from Ledger", "Ledger Behalf"),
            ("DocuSign via Carla Roth", "DocuSign Behalf"),
            ("Мicrоsоft account team", "Microsoft Ranked"),
            ("Selling on Amazon for beginners", "Amazon Part"),
            ("Bradesco S.A-8456", "Bradesco Ranked"),
            ("Jane Doe", ""),
            ("Chase Miller", "Chase Bank Part"),
        ] {
            assert_eq!(seen(text), expected, "{text}");
        }
    }

    #[test]
    fn mail_of_a_brand_comes_from_its_domains() {
        let paypal = named_in("PayPal")[0].brand;
        for own in ["paypal.com", "mail.paypal.com", "intl.paypal.de", "paypal.co.uk", "paypal.com.br"] {
            assert!(paypal.owns(own), "{own}");
        }
        for foreign in
            ["paypal.tk", "paypal.xyz", "paypal.com.evil.net", "notpaypal.com", "evilpaypal-communication.com"]
        {
            assert!(!paypal.owns(foreign), "{foreign}");
        }
        assert_eq!(of_domain("accountprotection.microsoft.com").map(|b| b.name), Some("Microsoft"));
        assert_eq!(of_domain("partner.example").map(|b| b.name), None);
    }

    #[test]
    fn every_line_of_the_list_has_names_and_domains() {
        assert!(all().len() > 150, "{}", all().len());
        for brand in all() {
            assert!(
                !brand.name.is_empty() && !brand.domains.is_empty() && brand.domains.iter().all(|d| d.contains('.')),
                "{}",
                brand.name
            );
        }
    }
}
