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
    prose: "An HTML link whose visible text is itself a web address of one organisation while the link leads to another one's. Sites\nare compared by registrable domain (public suffix list; below onmicrosoft.com, sharepoint.com and the like by the customer's\nlabel). Only a note when the site that is shown is proven to be the sender's own (DMARC, DKIM): whoever counts the clicks on his own\nlinks through a service deceives nobody about himself. Text that is not a web address is not judged.",
    look,
};

/// Links reported of one message; the rest would only repeat.
const FINDINGS_MAX: usize = 20;
/// Below these every customer has a label of its own that the public suffix list does not know.
const CUSTOMER_SUFFIXES: [&str; 3] = ["onmicrosoft.com", "sharepoint.com", "mail.protection.outlook.com"];

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    evidence.message.for_each_part(|part| {
        if part.kind != Kind::Html {
            return;
        }
        for (text, href) in links(part.text.as_deref().unwrap_or_default()) {
            if let Some(finding) = judge(evidence, &text, &href)
                && found.len() < FINDINGS_MAX
                && !found.contains(&finding)
            {
                found.push(finding);
            }
        }
    });
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
    let url = Url::parse(&href).ok().filter(|u| matches!(u.scheme(), "http" | "https"))?;
    url.host_str().map(|h| h.trim_end_matches('.').to_ascii_lowercase())
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
    let suffix = psl::suffix(host.as_bytes())?;
    let scheme_or_www = seen.contains("://") || host.starts_with("www.");
    // "file.pdf" or "node.js" looks like a host: without scheme only a known suffix and more than two labels count, or a path
    let named = suffix.is_known()
        && suffix.as_bytes().len() < host.len()
        && (scheme_or_www
            || host.matches('.').count() > 1
            || seen.contains('/')
            || host.ends_with(".com")
            || host.ends_with(".org")
            || host.ends_with(".net"));
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
