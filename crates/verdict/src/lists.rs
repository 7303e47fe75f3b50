//! Lists of what is known to be bad, in memory: web addresses, hosts, and files by their SHA-256. Where they come from is
//! the business of crates/engines.
//!
//! A list is a sorted table of 64-bit hashes: 8 octets an entry, two dozen steps a look. A Bloom filter in front would save
//! nothing (its 1 to 2 octets an entry would come on top, and its one wrong answer in a hundred needs an exact
//! table behind it); the table alone is wrong once in 10^12 looks at ten million entries.

use crate::Severity;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use url::Url;

/// What the entries of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Hosts, with everything below them, and addresses.
    Urls,
    /// SHA-256 of whole files.
    Files,
}

/// One list under its name.
#[derive(Clone, Debug)]
pub struct List {
    pub name: String,
    pub of: Listing,
    /// What a message is that holds one of its entries.
    pub severity: Severity,
    entries: Vec<u64>,
    /// Nobody who writes mail knows by what it is keyed.
    keyed: RandomState,
}

impl List {
    /// Of entries in the form in which [`url_entry`] and [`file_entry`] give them.
    pub fn of<'e>(name: &str, of: Listing, severity: Severity, entries: impl Iterator<Item = &'e str>) -> List {
        let keyed = RandomState::new();
        let mut entries: Vec<u64> = entries.map(|entry| keyed.hash_one(entry)).collect();
        entries.sort_unstable();
        entries.dedup();
        entries.shrink_to_fit();
        List { name: name.to_owned(), of, severity, entries, keyed }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn has(&self, entry: &str) -> bool {
        self.entries.binary_search(&self.keyed.hash_one(entry)).is_ok()
    }
}

/// Every list that is in use at this moment.
#[derive(Clone, Debug, Default)]
pub struct Lists(pub Vec<Arc<List>>);

impl Lists {
    pub(crate) fn any(&self, of: Listing) -> bool {
        self.0.iter().any(|list| list.of == of && !list.is_empty())
    }

    /// Each list that has one of these entries, with the first that it has.
    pub(crate) fn with<'l, 'e>(&'l self, of: Listing, entries: &'e [String]) -> Vec<(&'l List, &'e str)> {
        let asked = self.0.iter().filter(|list| list.of == of);
        asked.filter_map(|list| Some((list.as_ref(), entries.iter().find(|e| list.has(e))?.as_str()))).collect()
    }
}

/// A host or an address as it stands in a list, in the form in which both are compared; nothing where it is neither. A
/// public suffix is none: it would be everybody.
pub fn url_entry(written: &str) -> Option<String> {
    let written = written.trim();
    let with_scheme = |text: &str| Url::parse(&format!("http://{text}")).ok();
    if written.contains("://") {
        return Url::parse(written).ok().and_then(|url| address(&url, true));
    }
    if written.contains('/') {
        return with_scheme(written).and_then(|url| address(&url, true));
    }
    let written = written.strip_prefix("*.").or_else(|| written.strip_prefix('.')).unwrap_or(written);
    let url = with_scheme(written).filter(|url| url.username().is_empty() && url.port().is_none())?;
    let host = host(&url)?;
    let is_name = host.contains('.') && psl::domain_str(&host).is_some();
    (is_name || is_address(&host)).then_some(host)
}

/// 64 digits of hex.
pub fn file_entry(written: &str) -> Option<String> {
    let digits = written.trim();
    (digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| digits.to_ascii_lowercase())
}

/// Everything by which an address may be listed, the most precise first.
pub(crate) fn entries_of(url: &Url) -> Vec<String> {
    let Some(host) = host(url) else { return Vec::new() };
    let mut entries: Vec<String> = [address(url, true), address(url, false)].into_iter().flatten().collect();
    entries.dedup();
    let least = if is_address(&host) { host.len() } else { psl::domain_str(&host).map_or(host.len(), str::len) };
    let mut rest = host.as_str();
    loop {
        entries.push(rest.to_owned());
        match rest.split_once('.') {
            Some((_, above)) if above.len() >= least => rest = above,
            _ => return entries,
        }
    }
}

fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
    (!host.is_empty()).then_some(host)
}

/// `host[:port]/path?query`; with whom one signs in and where on the page one begins are of no importance.
fn address(url: &Url, with_query: bool) -> Option<String> {
    if !matches!(url.scheme(), "http" | "https" | "ftp") {
        return None;
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = url.query().filter(|_| with_query).map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{}{port}{}{query}", host(url)?, url.path()))
}

fn is_address(host: &str) -> bool {
    host.parse::<std::net::Ipv4Addr>().is_ok() || host.starts_with('[')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hits(listed: &[&str], url: &str) -> Vec<String> {
        let entries: Vec<String> = listed.iter().filter_map(|e| url_entry(e)).collect();
        let list = List::of("l", Listing::Urls, Severity::Note, entries.iter().map(String::as_str));
        let candidates = entries_of(&Url::parse(url).unwrap());
        let lists = Lists(vec![Arc::new(list)]);
        lists.with(Listing::Urls, &candidates).into_iter().map(|(_, entry)| entry.to_owned()).collect()
    }

    #[test]
    fn a_host_covers_what_is_below_it_and_an_address_itself() {
        assert_eq!(hits(&["Evil.Example"], "https://a.b.evil.example:8443/x?y#z"), ["evil.example"]);
        assert_eq!(hits(&["*.evil.example"], "https://evil.example/"), ["evil.example"]);
        assert!(hits(&["evil.example"], "https://notevil.example/").is_empty());
        assert!(hits(&["b.evil.example"], "https://evil.example/").is_empty());
        assert_eq!(hits(&["http://x.example/a?b=1#top"], "https://user@x.example/a?b=1"), ["x.example/a?b=1"]);
        assert_eq!(hits(&["x.example/a"], "https://x.example/a?b=2"), ["x.example/a"]);
        assert!(hits(&["x.example/a"], "https://x.example/ab").is_empty());
        assert!(hits(&["x.example/a"], "https://x.example/").is_empty());
        assert_eq!(hits(&["192.0.2.7"], "http://192.0.2.7/login"), ["192.0.2.7"]);
        assert!(hits(&["2.7"], "http://192.0.2.7/login").is_empty());
        assert_eq!(hits(&["münchen.example"], "https://www.xn--mnchen-3ya.example/"), ["xn--mnchen-3ya.example"]);
    }

    #[test]
    fn what_would_be_everybody_or_nobody_is_no_entry() {
        for none in
            ["com", "co.uk", "localhost", "", " ", "<html>", "a b.example", "mailto:a@b.example", "user@b.example"]
        {
            assert_eq!(url_entry(none), None, "{none}");
        }
        assert_eq!(file_entry(&"A".repeat(64)), Some("a".repeat(64)));
        assert_eq!((file_entry(&"a".repeat(63)), file_entry(&"g".repeat(64))), (None, None));
    }
}
