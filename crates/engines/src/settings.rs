//! What an operator says of an engine.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// One engine; crates/posthouse reads it from `[[engine]]`.
#[derive(Clone, Debug)]
pub struct Engine {
    /// In the journal, metrics and alerts; of its kind unless there are several.
    pub name: String,
    pub kind: Kind,
    pub address: Address,
    /// For one message.
    pub budget: Duration,
    pub on_fault: OnFault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Clamd,
    Rspamd,
    Icap,
    #[cfg(feature = "yara")]
    Yara,
}

/// Ids of what engines find, as policies list them under `only_note`.
pub const KINDS: &[Kind] = &[
    Kind::Clamd,
    Kind::Rspamd,
    Kind::Icap,
    #[cfg(feature = "yara")]
    Kind::Yara,
];

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Clamd => "clamd",
            Kind::Rspamd => "rspamd",
            Kind::Icap => "icap",
            #[cfg(feature = "yara")]
            Kind::Yara => "yara",
        }
    }
}

/// What it means for a message that an engine could not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFault {
    /// It is not judged without: as the tenant chose for what could not be judged.
    #[default]
    Defer,
    /// It goes on, marked as unjudged.
    Pass,
    /// It is judged by the others.
    Ignore,
}

impl OnFault {
    pub fn as_str(self) -> &'static str {
        match self {
            OnFault::Defer => "defer",
            OnFault::Pass => "pass",
            OnFault::Ignore => "ignore",
        }
    }
}

impl FromStr for OnFault {
    type Err = ();
    fn from_str(text: &str) -> Result<OnFault, ()> {
        [OnFault::Defer, OnFault::Pass, OnFault::Ignore].into_iter().find(|o| o.as_str() == text).ok_or(())
    }
}

/// Where an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `host:port`
    Tcp(String),
    Unix(PathBuf),
    /// `http://host:port`, `icap://host:port/service`
    Url {
        scheme: &'static str,
        authority: String,
        path: String,
    },
    /// Of rules.
    Folder(PathBuf),
}

impl Address {
    /// What is expected of an engine of this kind, with an example, is the error.
    pub fn read(kind: Kind, text: &str) -> Result<Address, &'static str> {
        let (expected, read) = match kind {
            Kind::Clamd => (
                "an address and port such as \"127.0.0.1:3310\", or a socket such as \"unix:/run/clamav/clamd.ctl\"",
                match text.strip_prefix("unix:") {
                    Some(path) => path.starts_with('/').then(|| Address::Unix(path.into())),
                    None => with_port(text, None).map(Address::Tcp),
                },
            ),
            Kind::Rspamd => ("an address such as \"http://127.0.0.1:11333\"", url("http", text, None)),
            Kind::Icap => ("an address such as \"icap://127.0.0.1:1344/avscan\"", url("icap", text, Some(1344))),
            #[cfg(feature = "yara")]
            Kind::Yara => (
                "a folder of rules such as \"/etc/posthouse/yara\"",
                text.starts_with('/').then(|| Address::Folder(text.into())),
            ),
        };
        read.ok_or(expected)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(at) => f.write_str(at),
            Address::Folder(path) => write!(f, "{}", path.display()),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Url { scheme, authority, path } => write!(f, "{scheme}://{authority}{path}"),
        }
    }
}

fn with_port(text: &str, usual: Option<u16>) -> Option<String> {
    let plain = |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !b"/@?#".contains(&b));
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (text, usual?),
    };
    plain(host).then(|| format!("{host}:{port}"))
}

fn url(scheme: &'static str, text: &str, usual: Option<u16>) -> Option<Address> {
    let rest = text.strip_prefix(scheme)?.strip_prefix("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let plain = path.bytes().all(|b| b.is_ascii_graphic());
    Some(Address::Url { scheme, authority: with_port(authority, usual)?, path: plain.then(|| path.into())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_by_kind() {
        let read = |kind, text: &str| Address::read(kind, text).map_or_else(str::to_owned, |a| a.to_string());
        assert_eq!(read(Kind::Clamd, "127.0.0.1:3310"), "127.0.0.1:3310");
        assert_eq!(read(Kind::Clamd, "[::1]:3310"), "[::1]:3310");
        assert_eq!(read(Kind::Clamd, "unix:/run/clamd.ctl"), "unix:/run/clamd.ctl");
        assert_eq!(read(Kind::Icap, "icap://scanner/avscan?x=1"), "icap://scanner:1344/avscan?x=1");
        assert_eq!(read(Kind::Rspamd, "http://[::1]:11333"), "http://[::1]:11333");
        for (kind, wrong) in [
            (Kind::Clamd, "clamd"),
            (Kind::Clamd, "unix:clamd.ctl"),
            (Kind::Clamd, "host:99999"),
            (Kind::Rspamd, "https://user@host:1"),
            (Kind::Rspamd, "http://user@host:1"),
            (Kind::Icap, "icap://host/a b"),
            (Kind::Icap, "icap://[::1"),
        ] {
            let said = Address::read(kind, wrong);
            assert!(said.is_err() || wrong == "icap://[::1", "{wrong}: {said:?}");
        }
    }
}
