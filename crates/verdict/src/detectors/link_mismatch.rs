//! A link whose visible text names one site while it leads to another.

use super::{Detector, whose};
use crate::content::known;
use crate::content::urls::{carried, host_of_href, reached, site};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "link_mismatch",
    title: "Link that lies about its target",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "An HTML link whose visible text is itself a web address of one organisation while the link leads to another one's. Sites\nare compared by registrable domain (public suffix list; below onmicrosoft.com, sharepoint.com and the like by the customer's\nlabel), and the link inside a security service's rewritten one is judged, not the rewriter. Who counts clicks deceives nobody: only a\nnote, of no points when the site that is shown is proven to be the sender's own (DMARC, DKIM), of 30 when it is the one From claims, of\n40 when the link goes to the sender's own site, to a known counting service or to a site that stands behind links of several names or behind four different\naddresses (60 where a well-known name, one of the tenant's or a page to sign in at is shown). Text that is not a web address is not judged, nor is a shortened one.",
    look,
};

/// Links reported of one message; the rest would only repeat.
const FINDINGS_MAX: usize = 20;
const CLAIMED_POINTS: u32 = 30;
const COUNTED_POINTS: u32 = 40;
const NAMED_POINTS: u32 = 60;
/// In the path of a page to sign in at.
const SIGN_IN_PAGES: [&str; 6] = ["login", "log-in", "logon", "signin", "sign-in", "anmelden"];
/// One site behind so many different addresses counts clicks.
const COUNTED_ADDRESSES: usize = 4;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let lies = lies(evidence);
    let mut found: Vec<Finding> = Vec::new();
    for lie in &lies {
        let others = lies.iter().any(|o| o.site == lie.site && o.claimed != lie.claimed)
            || addresses_of(evidence, &lie.site) >= COUNTED_ADDRESSES;
        let mut finding = judge(evidence, lie, others);
        if found.iter().any(|f| f.summary == finding.summary) {
            continue;
        }
        // a newsletter counts the clicks on all its links: points of notes are given once, those of the worst
        if finding.severity == Severity::Note {
            match found.iter_mut().find(|f| f.severity == Severity::Note && f.points > 0) {
                Some(before) if before.points < finding.points => before.points = 0,
                Some(_) => finding.points = 0,
                None => {}
            }
        }
        found.push(finding);
    }
    found
}

/// A link that shows another site than it leads to.
struct Lie<'a> {
    text: &'a str,
    href: &'a str,
    target: String,
    site: String,
    shown: String,
    claimed: String,
}

fn lies<'a>(evidence: &Evidence<'a>) -> Vec<Lie<'a>> {
    let links = evidence.content.pages.iter().flat_map(|p| &p.links);
    let all = links.filter_map(|link| {
        let shown = host_of_text(&link.text)?;
        let target = host_of_href(&link.href)?;
        // a shortened address names nobody's site
        if known::is_shortener(&shown) {
            return None;
        }
        let (site, claimed) = (site(&target), site(&shown));
        let is_lie = site != claimed && leads_on(&link.href, &target).is_none_or(|on| on != claimed);
        is_lie.then_some(Lie { text: &link.text, href: &link.href, target, site, shown, claimed })
    });
    all.take(FINDINGS_MAX).collect()
}

/// Different addresses of that site that the message leads to.
fn addresses_of(evidence: &Evidence<'_>, site: &str) -> usize {
    let mut all: Vec<&str> =
        evidence.content.followed().filter(|u| u.site == site && !u.is_carried).map(|u| u.url.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    all.len()
}

/// `others`: the same site stands behind links that show yet another one, or behind many different ones; so do services
/// that count clicks, while a lure leads to one page.
fn judge(evidence: &Evidence<'_>, lie: &Lie<'_>, others: bool) -> Finding {
    let summary = format!("a link shows {} and leads to {}", lie.claimed, lie.site);
    let details = vec![format!("text \"{}\"", whose::cut(lie.text)), whose::detail(lie.href)];
    let brand = known::brand_of(&lie.shown);
    let is_named = brand.is_some() || whose::is_ours(evidence, &lie.claimed);
    let is_senders = whose::is_proven(evidence, &lie.site) || whose::claimed(evidence).contains(&lie.site);
    let points = if brand.is_some_and(|b| b.owns(&lie.target)) || whose::is_proven(evidence, &lie.claimed) {
        0
    } else if whose::claimed(evidence).contains(&lie.claimed) && !is_named {
        CLAIMED_POINTS
    } else if others || is_senders || known::is_counter(&lie.site) {
        if is_named || shows_sign_in(lie.text) { NAMED_POINTS } else { COUNTED_POINTS }
    } else {
        return Finding::suspicious(&DETECTOR, summary, details);
    };
    Finding::note(&DETECTOR, points, summary, details)
}

/// Newsletters show where they lead as a name; whoever spells out another's page to sign in at wants it believed.
fn shows_sign_in(text: &str) -> bool {
    let path = text.split_once("://").map_or(text, |(_, rest)| rest).split_once('/').map_or("", |(_, path)| path);
    let path = path.to_ascii_lowercase();
    SIGN_IN_PAGES.iter().any(|word| path.contains(word))
}

/// The site behind a well-known one that leads on to any: calendars put Google's before every link.
fn leads_on(href: &str, target: &str) -> Option<String> {
    let (url, _) = reached(href).filter(|(url, _)| known::is_open_redirect(url, target))?;
    carried(&url)?.host_str().map(site)
}

/// The host that the text names, when the whole text is a web address.
fn host_of_text(text: &str) -> Option<String> {
    let seen: String =
        text.chars().filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}')).collect();
    let seen = seen.trim().trim_matches(|c: char| "<>[]()\"'.,;:".contains(c));
    if seen.is_empty() || seen.contains(char::is_whitespace) || seen.contains('@') {
        return None;
    }
    let with_scheme = if seen.contains("://") { seen.to_owned() } else { format!("https://{seen}") };
    let host = host_of_href(&with_scheme)?;
    if !host.contains('.') {
        return None;
    }
    // who writes a scheme or www. means an address, whatever its top level domain is
    if seen.contains("://") || host.starts_with("www.") {
        return Some(host);
    }
    let suffix = psl::suffix(host.as_bytes())?;
    // "file.pdf" or "node.js" looks like a host: only a known suffix and more than two labels count, or a path, or a
    // top level domain that is no file's ending (RFC 2606 gives .example to rehearsals)
    let known = suffix.is_known() && suffix.as_bytes().len() < host.len();
    let plain = [".com", ".org", ".net", ".example"].iter().any(|tld| host.ends_with(tld));
    let named = plain || (known && (host.matches('.').count() > 1 || seen.contains('/')));
    named.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, href: &str) -> bool {
        match (host_of_text(text), host_of_href(href)) {
            (Some(shown), Some(target)) => site(&shown) != site(&target),
            _ => false,
        }
    }

    #[test]
    fn what_lies_and_what_does_not() {
        for (text, href) in [
            ("https://www.mybank.com/login", "http://evil.example/x"),
            ("www.mybank.com", "https://mybank.com.evil.net/"),
            ("my\u{200b}bank.com", "https://evil.net"),
            ("https://contoso.sharepoint.com/x", "https://evil.sharepoint.com/x"),
            ("http://paypal.com", "http://198.51.100.7/x"),
            ("https://pаypal.com", "https://paypal.com"),
            ("https://www.mybank.example/login", "http://attacker.example/x"),
            ("mybank.example", "http://attacker.example/x"),
            ("https://intranet.corp", "https://evil.net"),
            ("mybank.com", "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fevil.net%2Fx&data=1"),
            ("mybank.com", "https://urldefense.proofpoint.com/v2/url?u=https-3A__evil.net_x&d=1"),
        ] {
            assert!(said(text, href), "{text} → {href}");
        }
        for (text, href) in [
            ("https://www.mybank.com", "https://login.mybank.com/x?y"),
            ("click here", "https://evil.net"),
            ("invoice.pdf", "https://files.example/1"),
            ("node.js", "https://nodejs.org"),
            ("mybank.com", "mailto:x@evil.net"),
            ("pat@mybank.com", "https://evil.net"),
            ("www.bbc.co.uk", "https://news.bbc.co.uk/1"),
            (
                "mybank.com",
                "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fwww.mybank.com%2Fx&data=1",
            ),
            ("mybank.com", "https://urldefense.proofpoint.com/v2/url?u=https-3A__www.mybank.com_x&d=1"),
            ("mybank.com", "https://urldefense.com/v3/__https://www.mybank.com/x__;!!abc"),
            ("mybank.com", "https://clicktime.symantec.com/39e8TeBHakB1PfMJjJ1h1zf7V"),
            ("", "https://evil.net"),
        ] {
            assert!(!said(text, href), "{text} → {href}");
        }
    }
}
