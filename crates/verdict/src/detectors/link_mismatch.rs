//! A link whose visible text names one site while it leads to another.

use super::Detector;
use crate::{Evidence, Finding, Severity};
use html5gum::{Token, Tokenizer};
use mail::Kind;
use url::Url;

pub const DETECTOR: Detector = Detector {
    id: "link_mismatch",
    title: "Link that lies about its target",
    severity: Severity::Suspicious,
    prose: "An HTML link whose visible text is itself a web address of one organisation while the link leads to another one's. Sites\nare compared by registrable domain (public suffix list; below onmicrosoft.com, sharepoint.com and the like by the customer's\nlabel), and the link inside a security service's rewritten one is judged, not the rewriter. Only a note when the site that is shown is proven to be the sender's own (DMARC, DKIM): whoever counts the clicks on his own\nlinks through a service deceives nobody about himself. Text that is not a web address is not judged.",
    look,
};

/// Links reported of one message; the rest would only repeat.
const FINDINGS_MAX: usize = 20;
/// Services wrap what others have wrapped; more layers than this nobody makes in earnest.
const WRAPPERS_MAX: usize = 4;
/// Below these every customer has a label of its own that the public suffix list does not know.
const CUSTOMER_SUFFIXES: [&str; 3] = ["onmicrosoft.com", "sharepoint.com", "mail.protection.outlook.com"];

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for part in evidence.parts.iter().filter(|p| p.kind == Kind::Html) {
        for (text, href) in links(part.text.as_deref().unwrap_or_default()) {
            if let Some(finding) = judge(evidence, &text, &href)
                && found.len() < FINDINGS_MAX
                && !found.contains(&finding)
            {
                found.push(finding);
            }
        }
    }
    found
}

fn judge(evidence: &Evidence<'_>, text: &str, href: &str) -> Option<Finding> {
    let target = host_of_href(href)?;
    let shown = host_of_text(text)?;
    let (site, claimed) = (site(&target), site(&shown));
    if site == claimed {
        return None;
    }
    let proven = evidence.proofs.microsoft.iter().chain(&evidence.proofs.own).any(|p| {
        matches!(p.method.as_str(), "dkim" | "dmarc")
            && p.result == "pass"
            && p.domain.as_deref().is_some_and(|d| self::site(d) == claimed)
    });
    Some(Finding {
        detector: DETECTOR.id.into(),
        severity: if proven { Severity::Note } else { Severity::Suspicious },
        summary: format!("a link shows {claimed} and leads to {site}"),
        details: vec![format!("text \"{}\"", cut(text)), format!("target \"{}\"", cut(href))],
    })
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Every `<a href>` with its visible text: markup inside dropped, entities decoded.
fn links(html: &str) -> Vec<(String, String)> {
    let mut links = Vec::new();
    let mut open: Option<(String, String)> = None;
    for Ok(token) in Tokenizer::new(html) {
        match token {
            Token::StartTag(tag) if tag.name.as_slice() == b"a" => {
                links.extend(open.take());
                let href = tag.attributes.iter().find(|(name, _)| name.as_slice() == b"href");
                open =
                    href.map(|(_, value)| (String::new(), String::from_utf8_lossy(value.as_slice()).trim().to_owned()));
            }
            Token::EndTag(tag) if tag.name.as_slice() == b"a" => links.extend(open.take()),
            Token::String(text) => {
                if let Some((shown, _)) = &mut open {
                    shown.push_str(&String::from_utf8_lossy(text.as_slice()));
                }
            }
            _ => {}
        }
    }
    links.extend(open);
    links
}

fn host_of_href(href: &str) -> Option<String> {
    let href: String = href.chars().filter(|c| !matches!(c, '\r' | '\n' | '\t')).collect();
    let href = if let Some(rest) = href.strip_prefix("//") { format!("https://{rest}") } else { href };
    let mut url = Url::parse(&href).ok().filter(|u| matches!(u.scheme(), "http" | "https"))?;
    for _ in 0..WRAPPERS_MAX {
        match behind_wrapper(&url) {
            Behind::NoWrapper => break,
            Behind::Hidden => return None,
            Behind::Link(inner) => url = inner,
        }
    }
    url.host_str().map(|h| h.trim_end_matches('.').to_ascii_lowercase())
}

/// What a security service's rewritten link leads to.
enum Behind {
    NoWrapper,
    Link(Url),
    /// Only the service knows.
    Hidden,
}

/// Safe Links and its like put their own address before every link, and tell the real one in it. Judged is the real
/// one: otherwise every wrapped message would lie.
fn behind_wrapper(url: &Url) -> Behind {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let query = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let told = match host.as_str() {
        _ if host.ends_with(".safelinks.protection.outlook.com") => query("url"),
        "clicktime.symantec.com" => query("u"),
        "linkprotect.cudasvc.com" => query("a"),
        "urldefense.proofpoint.com" if url.path().starts_with("/v2/") => {
            query("u").map(|u| u.replace('-', "%").replace('_', "/")).and_then(|u| {
                let pair = format!("u={}", u.replace('&', "%26").replace('+', "%2B"));
                url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
            })
        }
        "urldefense.proofpoint.com" => query("u"),
        "urldefense.com" | "urldefense.us" => url
            .as_str()
            .split_once("/v3/__")
            .and_then(|(_, rest)| rest.split_once("__;"))
            .map(|(inner, _)| inner.to_owned()),
        _ => return Behind::NoWrapper,
    };
    match told.and_then(|t| Url::parse(&t).ok()).filter(|u| matches!(u.scheme(), "http" | "https")) {
        Some(inner) => Behind::Link(inner),
        None => Behind::Hidden,
    }
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

/// What one organisation owns of a host name.
fn site(host: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    for suffix in CUSTOMER_SUFFIXES {
        if let Some(label) = host.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.')) {
            return format!("{}.{suffix}", label.rsplit('.').next().unwrap_or(label));
        }
    }
    if host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[') {
        return host;
    }
    psl::domain_str(&host).map_or(host.clone(), str::to_owned)
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

    #[test]
    fn links_are_read_as_a_browser_shows_them() {
        let html = "<a class=x HREF='https://a.example/?x=1&amp;y=2'>www.<b>my</b>bank&#46;com</a> <a>no href</a> <a href=//b.example>open";
        let seen: Vec<_> = links(html);
        assert_eq!(seen[0], ("www.mybank.com".into(), "https://a.example/?x=1&y=2".into()));
        assert_eq!(seen[1].1, "//b.example");
    }
}
