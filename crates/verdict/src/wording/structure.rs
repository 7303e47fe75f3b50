//! What a message has beside its words: links, a telephone number, where answers go.

use crate::Evidence;
use crate::content::known;
use crate::content::urls::{Within, site};
use crate::detectors::whose;
use regex::Regex;
use std::sync::LazyLock;

/// What a person reads: the text, and what pictures say in its place.
pub(crate) fn texts<'a>(evidence: &Evidence<'a>) -> Vec<&'a str> {
    let pages = evidence.content.pages.iter().filter(|page| page.depth == 0 && !page.is_attachment);
    let pictures = pages.flat_map(|page| &page.images).filter(|image| !image.is_hidden).map(|image| image.alt.as_str());
    std::iter::once(evidence.content.text.as_str()).chain(pictures).collect()
}

/// Whose the links in what a person reads are.
pub(crate) fn link_sites<'a>(evidence: &Evidence<'a>) -> Vec<&'a str> {
    let body = evidence.content.followed().filter(|url| url.within == Within::Body);
    let mut sites: Vec<&str> = body.map(|url| url.site.as_str()).collect();
    sites.sort_unstable();
    sites.dedup();
    sites
}

/// Some link goes anywhere but to well-known names that are not the sender's: calendars, maps, social networks.
pub(crate) fn leads_to_a_seller(evidence: &Evidence<'_>) -> bool {
    let claimed = whose::claimed(evidence);
    let mut body = evidence.content.followed().filter(|url| url.within == Within::Body);
    body.any(|url| claimed.contains(&url.site) || known::brand_of(&url.host).is_none())
}

/// Sites that stand in anybody's footer: they say nothing about whose a message is.
const IN_FOOTERS: [&str; 12] = [
    "facebook.com",
    "instagram.com",
    "linkedin.com",
    "twitter.com",
    "x.com",
    "youtube.com",
    "tiktok.com",
    "pinterest.com",
    "xing.com",
    "threads.net",
    "bsky.app",
    "w3.org",
];

pub(crate) fn is_in_footers(site: &str) -> bool {
    IN_FOOTERS.contains(&site)
}

/// A number to call: ten digits or more with the marks that people put between them, or a leading plus.
pub(crate) fn telephone(evidence: &Evidence<'_>) -> Option<String> {
    static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?:\+\s?\d{1,3}[\s.()\-–_*]{0,3})?\(?\d{3}\)?[\s.\-–_*]{1,3}\d{3}[\s.\-–_*]{1,3}\d{4}\b|\+\d{1,3}[\s.\-]?\(?\d{2,4}\)?(?:[\s.\-]?\d{2,4}){2,4}\b").ok()
    });
    let number = NUMBER.as_ref()?;
    let subject = evidence.message.subject().unwrap_or_default();
    std::iter::once(subject.as_str()).chain(texts(evidence)).find_map(|text| {
        let found = number.find(text)?.as_str();
        Some(found.split_whitespace().collect::<Vec<_>>().join(" "))
    })
}

/// The domain to which answers go, when it is another organisation's than From shows.
pub(crate) fn answers_elsewhere(evidence: &Evidence<'_>) -> Option<String> {
    let from = domain(&evidence.message.from_address()?)?;
    let reply = evidence.message.header_values("Reply-To").into_iter().next()?;
    let reply = domain(reply.rsplit('<').next()?.trim_end_matches(['>', ' ']))?;
    (site(&reply) != site(&from)).then_some(reply)
}

/// From, when its domain gives addresses to anybody.
pub(crate) fn free_mail_sender(evidence: &Evidence<'_>) -> Option<String> {
    let from = evidence.message.from_address()?;
    is_free_mail(&domain(&from)?).then_some(from)
}

/// Anybody may have an address there.
pub(crate) fn is_free_mail(domain: &str) -> bool {
    FREE_MAIL.contains(&domain)
}

fn domain(address: &str) -> Option<String> {
    address.rsplit_once('@').map(|(_, domain)| domain.trim().to_ascii_lowercase())
}

const FREE_MAIL: [&str; 40] = [
    "gmail.com",
    "googlemail.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "msn.com",
    "yahoo.com",
    "yahoo.co.uk",
    "yahoo.fr",
    "yahoo.de",
    "ymail.com",
    "aol.com",
    "icloud.com",
    "me.com",
    "mail.com",
    "email.com",
    "gmx.de",
    "gmx.net",
    "gmx.com",
    "web.de",
    "t-online.de",
    "freenet.de",
    "proton.me",
    "protonmail.com",
    "tutanota.com",
    "zoho.com",
    "yandex.com",
    "yandex.ru",
    "mail.ru",
    "hotmail.co.uk",
    "hotmail.fr",
    "hotmail.de",
    "outlook.de",
    "outlook.fr",
    "orange.fr",
    "libero.it",
    "uol.com.br",
    "bol.com.br",
    "terra.com.br",
    "comcast.net",
];
