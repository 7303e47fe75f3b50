//! A well-known name in the address of somebody else.

use super::{Detector, whose};
use crate::content::known::{self, Brand};
use crate::content::urls::SeenUrl;
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "brand_in_link",
    title: "Well-known name in a foreign link",
    category: Category::MaliciousUrl,
    severity: Severity::Suspicious,
    prose: "Links whose host carries the name of a brand (list in `content/known/brands.txt`) that does not own it: written with\nlook-alike digits and letters (`paypa1`, `rnicrosoft`: suspicious), in the registered name together with a word of signing in\n(`paypal-secure-login.example`: suspicious), in the registered name otherwise (50 points), in front of it (`microsoft-login.firm.example`:\n40 points, with such a word 70), in the path with such a word (25 points). Sites proven to be the sender's own are left out.",
    look,
};

const REGISTERED_POINTS: u32 = 50;
const SUBDOMAIN_POINTS: u32 = 40;
const SUBDOMAIN_SIGN_IN_POINTS: u32 = 70;
const PATH_POINTS: u32 = 25;
/// Names shorter than this stand by chance in longer words.
const INNER_LETTERS_MIN: usize = 6;

const SIGN_IN: [&str; 24] = [
    "login",
    "logon",
    "signin",
    "sign-in",
    "secure",
    "security",
    "verify",
    "verification",
    "account",
    "auth",
    "update",
    "confirm",
    "support",
    "recover",
    "unlock",
    "alert",
    "billing",
    "payment",
    "wallet",
    "password",
    "validate",
    "session",
    "webscr",
    "refund",
];

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut worst: Option<Finding> = None;
    for url in evidence.content.followed() {
        if known::brand_of(&url.host).is_some()
            || whose::is_proven(evidence, &url.site)
            || whose::is_ours(evidence, &url.site)
        {
            continue;
        }
        if let Some(found) = judge(url)
            && worst.as_ref().is_none_or(|w| w.points < found.points)
        {
            worst = Some(found);
        }
    }
    worst.into_iter().collect()
}

fn judge(url: &SeenUrl) -> Option<Finding> {
    let host = url.host.as_str();
    let details = || vec![whose::detail(&url.written)];
    let registered = url.site.split('.').next().unwrap_or_default();
    let front = host.strip_suffix(url.site.as_str()).unwrap_or_default().trim_end_matches('.');
    let signs_in = |text: &str| SIGN_IN.iter().any(|w| text.contains(w));
    let brands = known::brands();
    for label in host.split('.').filter(|l| l.len() >= INNER_LETTERS_MIN && !l.starts_with("xn--")) {
        let plain = unmasked(label);
        if plain != label
            && let Some(brand) =
                brands.iter().find(|b| b.name.len() >= INNER_LETTERS_MIN && is_named(&plain, b) && !is_named(label, b))
        {
            return Some(Finding::suspicious(
                &DETECTOR,
                format!("the host {host} imitates the name {}", brand.name),
                details(),
            ));
        }
    }
    if let Some(brand) = brands.iter().find(|b| is_named(registered, b) && registered != b.name) {
        let summary = format!("the site {} carries the name {} and is not theirs", url.site, brand.name);
        return Some(match signs_in(host) && !brand.is_word {
            true => Finding::suspicious(&DETECTOR, summary, details()),
            false => Finding::note(&DETECTOR, REGISTERED_POINTS, summary, details()),
        });
    }
    if let Some(brand) = brands.iter().find(|b| !b.is_word && front.split('.').any(|l| is_named(l, b))) {
        let summary = format!("the host {host} begins with the name {} and belongs to {}", brand.name, url.site);
        let points = if signs_in(front) { SUBDOMAIN_SIGN_IN_POINTS } else { SUBDOMAIN_POINTS };
        return Some(Finding::note(&DETECTOR, points, summary, details()));
    }
    let path = url.url.path().to_ascii_lowercase();
    let mut words = path.split(['/', '-', '_', '.']);
    let brand = brands
        .iter()
        .find(|b| !b.is_word && words.clone().any(|w| w == b.name))
        .filter(|_| words.any(|w| SIGN_IN.contains(&w)))?;
    let summary = format!("the path of a link to {} speaks of signing in at {}", url.site, brand.name);
    Some(Finding::note(&DETECTOR, PATH_POINTS, summary, details()))
}

/// The brand's name as a word of the label, or inside it where it is long enough.
fn is_named(label: &str, brand: &Brand) -> bool {
    let as_word = label.split(['-', '_']).any(|w| w == brand.name);
    as_word || (!brand.is_word && brand.name.len() >= INNER_LETTERS_MIN && label.contains(brand.name))
}

/// As a hurried reader takes it.
fn unmasked(label: &str) -> String {
    label
        .replace("rn", "m")
        .replace("vv", "w")
        .replace('0', "o")
        .replace(['1', '|'], "l")
        .replace('3', "e")
        .replace('5', "s")
        .replace('4', "a")
}
