//! Who is let through, and who never: by address, domain, top-level domain or the client that handed the mail to
//! Microsoft. The narrowest entry counts; of two alike the one that blocks.

use crate::limits;
use crate::rules::{is_address, is_or_is_below};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lists {
    pub allow: Vec<Entry>,
    pub block: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub sender: Pattern,
    /// Why, for those who come after.
    #[serde(default)]
    pub note: String,
    /// Seconds since 1970; it does not count from then on.
    #[serde(default)]
    pub until: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pattern {
    Address(String),
    /// And what is below it.
    Domain(String),
    /// Without its dot.
    TopLevel(String),
    /// Where the mail came from before it was at Microsoft.
    Client(IpNet),
}

/// What is known of a message's sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sender<'a> {
    /// MAIL FROM.
    pub envelope: &'a str,
    /// The address in From.
    pub from: &'a str,
    /// Never an address of Microsoft's.
    pub client: Option<IpAddr>,
}

/// What the lists say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed<'l> {
    No,
    /// It counts only where the domain in From is proven.
    Allowed(&'l Entry),
    Blocked(&'l Entry),
}

impl Lists {
    pub fn of(&self, sender: Sender<'_>, now: i64) -> Listed<'_> {
        let counts = |e: &&Entry| e.until.is_none_or(|until| now < until);
        let narrowest = |list: &'_ [Entry], fits: &dyn Fn(&Pattern) -> bool| {
            list.iter().enumerate().filter(|(_, e)| counts(e) && fits(&e.sender)).map(|(n, _)| n).max_by_key(|n| {
                // of two alike the first
                (list[*n].sender.narrowness(), std::cmp::Reverse(*n))
            })
        };
        // whoever chooses the envelope chooses nothing that is let through
        let allowed = narrowest(&self.allow, &|p| p.fits(sender.from) || p.is_of_client(sender.client));
        let blocked = narrowest(&self.block, &|p| {
            p.fits(sender.from) || p.fits(sender.envelope) || p.is_of_client(sender.client)
        });
        match (allowed.map(|n| &self.allow[n]), blocked.map(|n| &self.block[n])) {
            (None, None) => Listed::No,
            (Some(allow), Some(block)) if allow.sender.narrowness() > block.sender.narrowness() => {
                Listed::Allowed(allow)
            }
            (_, Some(block)) => Listed::Blocked(block),
            (Some(allow), None) => Listed::Allowed(allow),
        }
    }
}

impl Pattern {
    /// An address is narrower than a domain, and a longer domain than a shorter one.
    fn narrowness(&self) -> (u8, usize) {
        match self {
            Pattern::TopLevel(_) => (0, 0),
            Pattern::Client(net) => (1, net.prefix_len().into()),
            Pattern::Domain(domain) => (2, domain.len()),
            Pattern::Address(_) => (3, 0),
        }
    }

    fn fits(&self, address: &str) -> bool {
        let domain = || address.rsplit_once('@').map_or("", |(_, d)| d.trim_end_matches('.'));
        match self {
            Pattern::Address(wanted) => wanted.eq_ignore_ascii_case(address),
            Pattern::Domain(wanted) => is_or_is_below(domain(), wanted),
            Pattern::TopLevel(wanted) => {
                domain().rsplit_once('.').is_some_and(|(_, top)| top.eq_ignore_ascii_case(wanted))
            }
            Pattern::Client(_) => false,
        }
    }

    fn is_of_client(&self, client: Option<IpAddr>) -> bool {
        matches!((self, client), (Pattern::Client(net), Some(ip)) if net.contains(&ip))
    }
}

pub(crate) fn is_domain(text: &str) -> bool {
    text.contains('.') && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=63).contains(&text.len()) && text.bytes().all(plain)
}

impl FromStr for Pattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Pattern, String> {
        let text = text.trim().to_lowercase();
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        if let Ok(net) = net {
            let least = match net {
                IpNet::V4(_) => limits::CLIENT_PREFIX_MIN_V4,
                IpNet::V6(_) => limits::CLIENT_PREFIX_MIN_V6,
            };
            return match net.prefix_len() >= least {
                true => Ok(Pattern::Client(net.trunc())),
                false => Err(format!("{net} is too wide; a network of clients is /{least} or narrower")),
            };
        }
        let domain = text.strip_prefix('@').or(text.strip_prefix("*.")).unwrap_or(&text);
        match (text.strip_prefix('.').filter(|t| is_label(t)), is_domain(domain), is_address(&text)) {
            (Some(top), _, _) => Ok(Pattern::TopLevel(top.to_owned())),
            (_, true, _) => Ok(Pattern::Domain(domain.to_owned())),
            (_, _, true) => Ok(Pattern::Address(text)),
            _ => Err(format!(
                "\"{text}\" is neither an address, a domain, a top-level domain such as \".zip\", nor a client's IP address; letters beyond ASCII are written xn--…"
            )),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Address(text) | Pattern::Domain(text) => f.write_str(text),
            Pattern::TopLevel(top) => write!(f, ".{top}"),
            Pattern::Client(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Pattern::Client(net) => net.fmt(f),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Pattern, String> {
        text.parse()
    }
}
impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entries(all: &[&str]) -> Vec<Entry> {
        all.iter().map(|t| Entry { sender: t.parse().unwrap(), note: String::new(), until: None }).collect()
    }

    #[test]
    fn the_narrowest_entry_counts_and_a_block_before_its_like() {
        let mut lists = Lists {
            allow: entries(&["shop.acme.example", "eve@acme.example", "a.example", "192.0.2.7"]),
            block: entries(&["acme.example", ".zip", "A.example", "192.0.2.0/24"]),
        };
        let mut said = |from: &str, envelope: &str, client: &str, now| {
            lists.block[1].until = Some(100);
            let client = client.parse().ok();
            match lists.of(Sender { envelope, from, client }, now) {
                Listed::No => "no".into(),
                Listed::Allowed(e) => format!("allow {}", e.sender),
                Listed::Blocked(e) => format!("block {}", e.sender),
            }
        };
        assert_eq!(said("x@acme.example", "", "", 0), "block acme.example");
        assert_eq!(said("x@eu.SHOP.acme.example", "", "", 0), "allow shop.acme.example");
        assert_eq!(said("Eve@acme.example", "", "", 0), "allow eve@acme.example");
        assert_eq!(said("x@a.example", "", "", 0), "block a.example");
        assert_eq!(said("x@notacme.example", "", "", 0), "no");
        // by the envelope nobody is let through, but kept out
        assert_eq!(said("x@b.example", "eve@acme.example", "", 0), "block acme.example");
        assert_eq!(said("x@b.example", "x@shop.acme.example", "", 0), "block acme.example");
        assert_eq!((said("x@b.zip", "", "", 99), said("x@b.zip", "", "", 100)), ("block .zip".into(), "no".into()));
        assert_eq!(said("x@b.example", "", "192.0.2.7", 0), "allow 192.0.2.7");
        assert_eq!(said("x@b.example", "", "192.0.2.8", 0), "block 192.0.2.0/24");
        assert_eq!(said("", "", "", 0), "no");
    }

    #[test]
    fn entries_are_written_as_they_are_read() {
        for (text, read) in [
            (" Ada@Acme.example", "ada@acme.example"),
            ("@acme.example", "acme.example"),
            ("*.acme.example", "acme.example"),
            (".ZIP", ".zip"),
            ("192.0.2.9/24", "192.0.2.0/24"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            let pattern: Pattern = text.parse().unwrap();
            assert_eq!((pattern.to_string().as_str(), pattern.to_string().parse()), (read, Ok(pattern)));
        }
        for wrong in ["", "acme", "a@b@", "*", "10.0.0.0/8", "a b@acme.example", "acme..example", "müller.example"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }
}
