//! Addresses of the web as they stand in messages: what is behind a security service's rewritten one, and whose it is.

use crate::limits;
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use url::Url;

/// Services wrap what others have wrapped; more layers than this nobody makes in earnest.
const WRAPPERS_MAX: usize = 4;
/// Below these every customer has a label of its own that the public suffix list does not know.
const CUSTOMER_SUFFIXES: [&str; 3] = ["onmicrosoft.com", "sharepoint.com", "mail.protection.outlook.com"];

/// How a message holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// `<a>`, `<area>`
    Link,
    /// Where what is typed in goes.
    Form,
    /// A page that leads on by itself, or shows another one inside.
    Refresh,
    Frame,
    Image,
    /// Written out; mail programs make links of such.
    Text,
    Calendar,
}

impl Place {
    /// A person gets there by a click; images are only loaded.
    pub fn is_followed(self) -> bool {
        self != Place::Image
    }
}

/// Which part of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Within {
    Body,
    /// A message that is attached.
    Nested,
    Attachment,
}

/// One web address of a message, told once for each kind of place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenUrl {
    /// As it stands there.
    pub written: String,
    /// Behind the rewriting services that tell.
    pub url: Url,
    /// In lower case, without a last dot.
    pub host: String,
    /// What one organisation owns of the host.
    pub site: String,
    pub place: Place,
    pub within: Within,
    /// Of a link.
    pub text: String,
    pub is_hidden: bool,
    /// A security service's address stands before it.
    pub is_wrapped: bool,
    /// It stands inside the query of another address, which may lead on to it.
    pub is_carried: bool,
}

impl SeenUrl {
    pub(super) fn see_through(&mut self, behind: &impl Fn(&str) -> Option<String>) {
        let Some(inner) = behind(self.url.as_str()) else { return };
        let Some((url, _)) = reached(&inner) else { return };
        let Some(host) = host_of(&url) else { return };
        (self.site, self.host, self.url, self.is_wrapped) = (site(&host), host, url, true);
    }
}

/// Collects addresses, each once.
#[derive(Debug, Default)]
pub struct Gathered {
    pub urls: Vec<SeenUrl>,
    pub is_cut: bool,
    known: HashSet<u64>,
    hasher: RandomState,
}

impl Gathered {
    pub fn add(&mut self, written: &str, text: &str, place: Place, within: Within, is_hidden: bool) {
        let is_new =
            |known: &mut HashSet<u64>, hasher: &RandomState| known.insert(hasher.hash_one((written, place, within)));
        if self.urls.len() >= limits::URLS_MAX || self.known.len() >= 2 * limits::URLS_MAX {
            self.is_cut = true;
            return;
        }
        if !may_be_web(written) || !is_new(&mut self.known, &self.hasher) {
            return;
        }
        let Some((url, is_wrapped)) = reached(written) else { return };
        let Some(host) = host_of(&url) else { return };
        let site = site(&host);
        let carried = carried(&url).filter(|inner| inner.host_str().is_some_and(|h| self::site(h) != site));
        let (written, text) = (written.to_owned(), text.to_owned());
        let one = SeenUrl { written, url, host, site, place, within, text, is_hidden, is_wrapped, is_carried: false };
        if let Some(url) = carried
            && let Some(host) = host_of(&url)
        {
            let site = self::site(&host);
            self.urls.push(SeenUrl { url, host, site, is_carried: true, ..one.clone() });
        }
        self.urls.push(one);
    }

    /// Of text that a mail program makes links in: `http://`, `https://` and `www.`
    pub fn add_text(&mut self, text: &str, place: Place, within: Within) {
        let mut at = 0;
        while let Some((start, end)) = next_url(text, at) {
            self.add(&text[start..end], "", place, within, false);
            at = end.max(start + 1);
            if self.is_cut {
                return;
            }
        }
    }
}

/// Cheap, before anything is parsed.
fn may_be_web(written: &str) -> bool {
    let start = written.trim_start();
    let begins = |prefix: &str| start.get(..prefix.len()).is_some_and(|s| s.eq_ignore_ascii_case(prefix));
    written.len() <= limits::URL_OCTETS_MAX && (begins("http") || begins("//") || begins("www.") || begins("ftp:"))
}

/// The next web address at or behind `from`, without the punctuation that follows it.
fn next_url(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        at += memchr::memchr2(b':', b'.', bytes.get(at..)?)?;
        let start = match bytes[at] {
            b':' if bytes[at + 1..].starts_with(b"//") => [5, 4]
                .iter()
                .filter_map(|n| at.checked_sub(*n))
                .find(|s| bytes[*s..at].eq_ignore_ascii_case(b"https") || bytes[*s..at].eq_ignore_ascii_case(b"http")),
            b'.' => at.checked_sub(3).filter(|s| {
                bytes[*s..at].eq_ignore_ascii_case(b"www") && !s.checked_sub(1).is_some_and(|b| is_of_word(bytes[b]))
            }),
            _ => None,
        };
        if let Some(start) = start.filter(|s| *s >= from) {
            let stops = |c: char| {
                c.is_whitespace()
                    || c.is_control()
                    || matches!(c, '<' | '>' | '"' | '`' | '|' | '\u{201c}' | '\u{201d}' | '\u{ab}' | '\u{bb}')
            };
            let end = text[at..].find(stops).map_or(text.len(), |n| at + n);
            return Some((start, start + trimmed(&text[start..end]).len()));
        }
        at += 1;
    }
}

fn is_of_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'@' | b'/')
}

/// A sentence goes on behind an address; its brackets and stops are not the address's.
fn trimmed(url: &str) -> &str {
    let mut url = url;
    loop {
        let Some(last) = url.chars().next_back() else { return url };
        let unopened = |open: char, close: char| last == close && !url.contains(open);
        let ends = matches!(last, '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '~' | '\u{2019}' | '\u{2026}')
            || unopened('(', ')')
            || unopened('[', ']')
            || unopened('{', '}');
        if !ends {
            return url;
        }
        url = &url[..url.len() - last.len_utf8()];
    }
}

/// Where a click ends up, as far as the address tells, and whether a service's address stood before it.
pub fn reached(href: &str) -> Option<(Url, bool)> {
    let href: String = href.chars().filter(|c| !matches!(c, '\r' | '\n' | '\t')).collect();
    let href = href.trim();
    let with_scheme = match href {
        _ if href.starts_with("//") => format!("https:{href}"),
        _ if href.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("www.")) => format!("https://{href}"),
        _ => href.to_owned(),
    };
    let mut url = Url::parse(&with_scheme).ok().filter(|u| matches!(u.scheme(), "http" | "https" | "ftp"))?;
    let mut is_wrapped = false;
    for _ in 0..WRAPPERS_MAX {
        match behind_wrapper(&url) {
            Behind::NoWrapper => break,
            Behind::Hidden => return Some((url, true)),
            Behind::Link(inner) => (url, is_wrapped) = (inner, true),
        }
    }
    Some((url, is_wrapped))
}

/// Query values that are looked at for another address.
const QUERY_VALUES_MAX: usize = 50;

/// The first whole web address in the query of another one: most such lead on to it.
pub fn carried(url: &Url) -> Option<Url> {
    let query = url.query().filter(|q| memchr::memmem::find(q.as_bytes(), b"http").is_some())?;
    let values = url::form_urlencoded::parse(query.as_bytes()).take(QUERY_VALUES_MAX);
    let begins = |v: &str, scheme: &str| v.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    let mut whole = values.map(|(_, v)| v).filter(|v| begins(v, "https://") || begins(v, "http://"));
    whole.find_map(|v| reached(&v)).map(|(inner, _)| inner)
}

fn host_of(url: &Url) -> Option<String> {
    url.host_str().map(|h| h.trim_end_matches('.').to_ascii_lowercase()).filter(|h| !h.is_empty())
}

/// The host that a link leads to, in lower case; behind security services' rewritten links, and none where only they
/// know.
pub fn host_of_href(href: &str) -> Option<String> {
    let (url, _) = reached(href)?;
    if matches!(behind_wrapper(&url), Behind::Hidden) {
        return None;
    }
    host_of(&url)
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
        _ if host.ends_with(".safelinks.protection.outlook.com")
            || host.ends_with(".safelinks.protection.office365.us") =>
        {
            query("url")
        }
        "clicktime.symantec.com" => query("u"),
        "linkprotect.cudasvc.com" => query("a"),
        "scanmail.trustwave.com" | "urlsand.esvalabs.com" => query("u"),
        "deref-gmx.net" | "deref-gmx.com" | "deref-web.de" | "deref-mail.com" | "deref-1und1.de" => {
            query("redirectUrl")
        }
        "secure-web.cisco.com" => url.path().rsplit('/').next().and_then(|tail| {
            let pair = format!("u={tail}");
            url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
        }),
        _ if host.ends_with(".protection.sophos.com") => query("u").and_then(|u| decoded(&u)),
        _ if host.ends_with(".trendmicro.com") && url.path().contains("/wis/clicktime/") => query("url"),
        "url.avanan.click" => url
            .as_str()
            .split_once("___")
            .and_then(|(_, rest)| rest.split_once("___"))
            .map(|(inner, _)| inner.to_owned()),
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
            .and_then(|(inner, taken_out)| put_back(inner, taken_out)),
        _ if HIDING_WRAPPERS.iter().any(|s| host == *s || host.strip_suffix(s).is_some_and(|r| r.ends_with('.'))) => {
            None
        }
        _ => return Behind::NoWrapper,
    };
    match told.and_then(|t| Url::parse(&t).ok()).filter(|u| matches!(u.scheme(), "http" | "https")) {
        Some(inner) => Behind::Link(inner),
        None => Behind::Hidden,
    }
}

/// Letters that stand elsewhere, in base64 before a `!`: `*` stands for the next one, `**` and a letter for a run of them.
fn put_back(inner: &str, taken_out: &str) -> Option<String> {
    const RUNS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if !inner.contains('*') {
        return Some(inner.to_owned());
    }
    let letters = decoded(taken_out.split('!').next()?)?;
    let (mut letters, mut out, mut rest) = (letters.chars(), String::new(), inner.chars());
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.as_str().starts_with('*') => {
                rest.next();
                let run = 2 + RUNS.find(rest.next()?)?;
                out.extend(letters.by_ref().take(run));
            }
            '*' => out.push(letters.next()?),
            _ => out.push(c),
        }
    }
    Some(out)
}

/// An address in base64 of either alphabet (RFC 4648 §4, §5), padded or not.
fn decoded(letters: &str) -> Option<String> {
    use base64::Engine;
    use base64::alphabet::URL_SAFE;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let either = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let plain: String = letters
        .chars()
        .map(|c| {
            if c == '+' || c == ' ' {
                '-'
            } else if c == '/' {
                '_'
            } else {
                c
            }
        })
        .collect();
    String::from_utf8(GeneralPurpose::new(&URL_SAFE, either).decode(plain).ok()?).ok()
}

/// Services that keep to themselves where a link leads.
const HIDING_WRAPPERS: [&str; 5] =
    ["mimecast.com", "mimecastprotect.com", "emailprotection.link", "inky.com", "url-protection.com"];

/// What one organisation owns of a host name.
pub fn site(host: &str) -> String {
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

    fn found(text: &str) -> Vec<&str> {
        let (mut all, mut at) = (Vec::new(), 0);
        while let Some((start, end)) = next_url(text, at) {
            all.push(&text[start..end]);
            at = end.max(start + 1);
        }
        all
    }

    #[test]
    fn addresses_in_text_end_where_the_sentence_goes_on() {
        for (text, urls) in [
            ("see https://a.example/x, or (http://b.example/y).", vec!["https://a.example/x", "http://b.example/y"]),
            (
                "<HTTPS://a.example/a_(b)> www.c.example! xwww.d.example",
                vec!["HTTPS://a.example/a_(b)", "www.c.example"],
            ),
            ("http://http://a.example", vec!["http://http://a.example"]),
            ("none: here. at//all hxxp://x.example http:/x", vec![]),
            ("http://\u{e9}.example/\u{201d}", vec!["http://\u{e9}.example/"]),
            ("http://", vec!["http://"]),
            ("www.", vec!["www"]),
        ] {
            assert_eq!(found(text), urls, "{text}");
        }
    }

    #[test]
    fn each_address_is_told_once_and_behind_its_wrapper() {
        let mut all = Gathered::default();
        for href in [
            "https://A.example./x",
            "https://A.example./x",
            "mailto:x@a.example",
            "javascript:1",
            "//b.c.co.uk/",
            "www.d.example",
            "https:\\\\e.example\\y",
            "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fevil.example%2Fx&data=1",
            "https://protect-us.mimecast.com/s/abc",
        ] {
            all.add(href, "", Place::Link, Within::Body, false);
        }
        let seen: Vec<_> = all.urls.iter().map(|u| (u.host.as_str(), u.site.as_str(), u.is_wrapped)).collect();
        assert_eq!(
            seen,
            [
                ("a.example", "a.example", false),
                ("b.c.co.uk", "c.co.uk", false),
                ("www.d.example", "d.example", false),
                ("e.example", "e.example", false),
                ("evil.example", "evil.example", true),
                ("protect-us.mimecast.com", "mimecast.com", true),
            ]
        );
    }

    #[test]
    fn behind_what_each_service_writes() {
        for (wrapped, inner) in [
            ("https://urldefense.com/v3/__https://a.example/x?y=1__;!!abc$", "https://a.example/x?y=1"),
            ("https://urldefense.com/v3/__https://a.example/b*c**Ad__;KyMj!!abc$", "https://a.example/b+c##d"),
            (
                "https://eu-west-1.protection.sophos.com/?d=a.example&u=aHR0cHM6Ly9hLmV4YW1wbGUvP3g_eT4=&p=m&s=1",
                "https://a.example/?x?y%3E",
            ),
            ("https://linkprotect.cudasvc.com/url?a=https%3a%2f%2fa.example%2fx&c=E,1", "https://a.example/x"),
            ("https://secure-web.cisco.com/1abc/https%3A%2F%2Fa.example%2Fx", "https://a.example/x"),
            (
                "https://imsva91-ctp.trendmicro.com/wis/clicktime/v1/query?url=https%3A%2F%2Fa.example%2Fx&umid=1",
                "https://a.example/x",
            ),
        ] {
            let (url, is_wrapped) = reached(wrapped).map_or((String::new(), false), |(url, w)| (url.into(), w));
            assert_eq!((url.as_str(), is_wrapped), (inner, true), "{wrapped}");
        }
    }

    #[test]
    fn megabytes_of_addresses_are_cut() {
        let text: String = (0..200_000).map(|n| format!("http://h{n}.example/x ")).collect();
        let mut all = Gathered::default();
        all.add_text(&text, Place::Text, Within::Body);
        assert_eq!((all.urls.len(), all.is_cut), (limits::URLS_MAX, true));
        let same = "http://a.example/ ".repeat(300_000);
        let mut all = Gathered::default();
        all.add_text(&same, Place::Text, Within::Body);
        assert_eq!((all.urls.len(), all.is_cut), (1, false));
    }
}
