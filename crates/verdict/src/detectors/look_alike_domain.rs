//! A domain that is made to be taken for the tenant's own, or for a brand's.

use super::Detector;
use crate::brands::{self, Brand};
use crate::look_alike::{misread, skeleton};
use crate::{Category, Evidence, Finding, Severity};
use std::collections::HashMap;
use std::sync::LazyLock;

pub const DETECTOR: Detector = Detector {
    id: "look_alike_domain",
    title: "Look-alike domain",
    category: Category::Impersonation,
    severity: Severity::Suspicious,
    prose: "Inbound mail whose From or Reply-To domain is made to be misread as one of the tenant's or as a known brand's. Suspicious where it\nlooks the same (letters of another script, 0 for o, 1 for l, rn for m) or, for the tenant's own, differs by one letter from a name of\nsix or more. A note where one letter of a brand's differs, where the tenant's own name stands under another top level domain, or\nwhere words are added with a hyphen. Domains of the tenant are those that Microsoft lists as accepted.",
    look,
};

/// Shorter labels are one letter from many honest ones.
const OWN_LABEL_MIN: usize = 6;
const BRAND_LABEL_MIN: usize = 7;
/// `paypal` looks like nothing else; three letters do.
const SAME_LOOK_MIN: usize = 5;
/// Labels of brands that are ordinary words: nobody who has a letter more means the brand.
const ORDINARY: [&str; 12] = [
    "windows", "office", "spectrum", "fidelity", "exodus", "phantom", "gemini", "humana", "canada", "treasury",
    "finance", "belgium",
];
const ONE_LETTER: u32 = 60;
const OTHER_SUFFIX: u32 = 50;
const WORDS_ADDED: u32 = 50;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    if !evidence.is_inbound() {
        return Vec::new();
    }
    let sender = evidence.sender;
    let mut sites: Vec<(&str, &str)> = Vec::new();
    let all = sender.from.iter().map(|m| ("From", m)).chain(sender.reply_to.iter().map(|m| ("Reply-To", m)));
    for (field, mailbox) in all.filter(|(_, m)| m.is_whole() && !m.is_free_mail()) {
        let is_own = evidence.own_domains.iter().any(|own| crate::content::urls::site(own) == mailbox.site);
        if !is_own && !sites.iter().any(|(_, site)| *site == mailbox.site) {
            sites.push((field, &mailbox.site));
        }
    }
    sites
        .into_iter()
        .filter_map(|(field, site)| of_own(evidence, field, site).or_else(|| of_brand(field, site)))
        .collect()
}

/// The label that people read, in Unicode.
fn label(site: &str) -> String {
    let first = site.split('.').next().unwrap_or_default();
    if first.starts_with("xn--") { idna::domain_to_unicode(first).0 } else { first.to_owned() }
}

fn of_own(evidence: &Evidence<'_>, field: &str, site: &str) -> Option<Finding> {
    let shown = label(site);
    let seen = skeleton(&shown);
    evidence.own_domains.iter().find_map(|own| {
        let own_site = crate::content::urls::site(own);
        let own_label = label(&own_site);
        let note = |points, how: &str| {
            let summary = format!("the domain {site} of {field} {how} the own domain {own_site}");
            Some(Finding::note(&DETECTOR, points, summary, vec![]))
        };
        let looks = own_label.len() >= SAME_LOOK_MIN && shown != own_label && misread(&seen) == misread(&own_label);
        let one_letter = own_label.len() >= OWN_LABEL_MIN && strsim::osa_distance(&seen, &own_label) == 1;
        if looks || one_letter {
            let summary = format!("the domain {site} of {field} is made to be read as the own domain {own_site}");
            return Some(Finding::suspicious(&DETECTOR, summary, vec![format!("reads as \"{seen}\"")]));
        }
        match () {
            () if own_label.len() < OWN_LABEL_MIN => None,
            () if shown == own_label => note(OTHER_SUFFIX, "is under another top level domain than"),
            () if has_words_added(&shown, &own_label) => note(WORDS_ADDED, "adds words to"),
            () => None,
        }
    })
}

struct Labels {
    /// By what they are misread as.
    misread: HashMap<String, (&'static str, &'static Brand)>,
    /// By themselves and by what is left when any one letter is taken away: whatever is one letter away shares one of these.
    near: HashMap<String, Vec<(&'static str, &'static Brand)>>,
    plain: HashMap<&'static str, &'static Brand>,
}

static LABELS: LazyLock<Labels> = LazyLock::new(|| {
    let mut labels = Labels { misread: HashMap::new(), near: HashMap::new(), plain: HashMap::new() };
    for brand in brands::all() {
        for label in brand.labels().filter(|label| !ORDINARY.contains(label)) {
            labels.plain.entry(label).or_insert(brand);
            if label.len() >= SAME_LOOK_MIN {
                labels.misread.entry(misread(label)).or_insert((label, brand));
            }
            if label.len() >= BRAND_LABEL_MIN {
                for key in one_away(label) {
                    labels.near.entry(key).or_default().push((label, brand));
                }
            }
        }
    }
    labels
});

pub(super) fn prepare() {
    LazyLock::force(&LABELS);
}

fn one_away(label: &str) -> impl Iterator<Item = String> {
    let without = |(at, c): (usize, char)| [&label[..at], &label[at + c.len_utf8()..]].concat();
    std::iter::once(label.to_owned()).chain(label.char_indices().map(without).collect::<Vec<_>>())
}

fn of_brand(field: &str, site: &str) -> Option<Finding> {
    // what is a brand's own, or has the very name elsewhere, is not made to be misread
    if brands::of_domain(site).is_some() {
        return None;
    }
    let shown = label(site);
    let seen = skeleton(&shown).replace(' ', "-");
    if let Some((label, brand)) = LABELS.misread.get(&misread(&seen)).filter(|(label, _)| *label != shown) {
        let summary = format!("the domain {site} of {field} is made to be read as {label} of {}", brand.name);
        return Some(Finding::suspicious(&DETECTOR, summary, vec![format!("reads as \"{seen}\"")]));
    }
    if LABELS.plain.contains_key(shown.as_str()) {
        return None;
    }
    let is_near = |(label, _): &&(&str, &Brand)| strsim::osa_distance(&seen, label) == 1;
    let near = one_away(&seen).find_map(|key| LABELS.near.get(&key)?.iter().find(is_near).copied());
    if let Some((label, brand)) = near {
        let summary = format!("the domain {site} of {field} is one letter from {label} of {}", brand.name);
        return Some(Finding::note(&DETECTOR, ONE_LETTER, summary, vec![]));
    }
    let parts: Vec<&str> = seen.split('-').filter(|p| !p.is_empty()).collect();
    let named = parts.iter().find_map(|p| LABELS.plain.get(p).filter(|_| p.len() >= SAME_LOOK_MIN).map(|b| (*p, *b)));
    let (label, brand) = named.filter(|_| parts.len() > 1)?;
    let summary = format!("the domain {site} of {field} adds words to {label} of {}", brand.name);
    Some(Finding::note(&DETECTOR, WORDS_ADDED, summary, vec![]))
}

/// `contoso-billing`, `secure-contoso`
fn has_words_added(shown: &str, own: &str) -> bool {
    shown != own && shown.split('-').any(|word| word == own)
}
