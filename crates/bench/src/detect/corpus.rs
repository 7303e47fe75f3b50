//! Saved mail made ready to be sent again: who brought it from where is read from its own header, and what its receiver
//! of then wrote into it is taken off, so that nobody is told what that receiver thought of it.

use anyhow::{Context, Result};
use mail::{HeaderSection, Message};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use verdict::{Origin, as_sent};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Phish,
    Ham,
    Spam,
}

/// One folder of saved mail.
pub struct Folder {
    pub kind: Kind,
    pub name: String,
    pub files: Vec<PathBuf>,
}

impl Folder {
    /// With `sample`, about so many of its messages, evenly spread.
    pub fn open(kind: Kind, dir: &Path, sample: Option<usize>) -> Result<Folder> {
        let about = || dir.display().to_string();
        let entries = std::fs::read_dir(dir).with_context(about)?;
        let mut files = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>().with_context(about)?;
        files.retain(|f| f.is_file() && f.file_name().is_some_and(|n| !n.to_string_lossy().starts_with('.')));
        files.sort();
        anyhow::ensure!(!files.is_empty(), "{} has no messages; each is to be a file of its own", dir.display());
        let step = sample.map_or(1, |n| (files.len() / n.max(1)).max(1));
        let files = files.into_iter().step_by(step).collect();
        let name = dir.canonicalize()?.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Folder { kind, name, files })
    }
}

/// How much of a message's header is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Header {
    /// All that its sender and the hops before its receiver wrote.
    Whole,
    /// From, Reply-To, Subject and the fields of MIME.
    Bare,
}

impl Header {
    pub const ALL: [Header; 2] = [Header::Whole, Header::Bare];
}

/// A message as a client hands it to the receiver's mail server.
#[derive(Debug)]
pub struct Prepared {
    pub raw: Vec<u8>,
    /// Empty for the null sender.
    pub sender: String,
    pub recipient: String,
    pub client: IpAddr,
    pub helo: String,
    /// When its receiver of then got it (RFC 5322 §3.3).
    pub at: String,
}

impl Prepared {
    /// What the receiver of then was called, `recipient` is called wherever it stands.
    pub fn new(file: Vec<u8>, recipient: &str, header: Header) -> Prepared {
        let message = Message::parse(as_sent(file));
        let origin = Origin::of(&message);
        let client = origin.client.unwrap_or(UNKNOWN_CLIENT);
        let received = message.header_values("Received");
        let handed_over = received.iter().position(|r| r.contains(&client.to_string()));
        let raw = &message.raw()[..];
        let mut out = Vec::with_capacity(raw.len());
        let (section, mut hop) = (HeaderSection::of(raw), 0);
        for field in section.fields() {
            if field.is("Received") {
                hop += 1;
            }
            let is_theirs = match field.is("Received") {
                true => handed_over.is_some_and(|last| hop <= last + 1),
                false => is_of_the_receiver(field.name),
            };
            if !is_theirs && (header == Header::Whole || is_of_the_content(field.name)) {
                out.extend_from_slice(&raw[field.range]);
            }
        }
        out.extend_from_slice(&raw[section.end()..]);
        let renamed = |text: &[u8]| match &origin.recipient {
            Some(then) => replaced(text, then.as_bytes(), recipient.as_bytes()),
            None => text.to_vec(),
        };
        let when = received.get(handed_over.unwrap_or(0)).and_then(|r| r.rsplit_once(';')).map(|(_, date)| date);
        let date = || message.header_values("Date").into_iter().next();
        let at = when.map(str::to_owned).or_else(date).unwrap_or_default();
        Prepared {
            sender: sendable(String::from_utf8_lossy(&renamed(origin.sender.as_bytes())).into_owned()),
            raw: renamed(&out),
            recipient: recipient.to_owned(),
            client,
            helo: named(origin.helo.as_deref()).unwrap_or_else(|| format!("[{client}]")),
            at: at.trim().chars().filter(|c| !c.is_control()).collect(),
        }
    }
}

impl Prepared {
    /// What the reverse DNS said then is lost; a client that gives a whole name has mostly that one.
    pub fn host_name(&self) -> Option<&str> {
        let is_name = self.helo.contains('.') && self.helo.bytes().any(|b| b.is_ascii_alphabetic());
        is_name.then_some(self.helo.as_str()).filter(|name| !name.contains(['[', ':']))
    }
}

/// For documentation (RFC 5737): nobody's.
const UNKNOWN_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// What is no path of RFC 5321 §4.1.2 a server would not have taken; the null sender it takes always.
fn sendable(sender: String) -> String {
    let fits = |c: char| !c.is_control() && !c.is_whitespace() && !"<>\"\\".contains(c);
    if sender.chars().all(fits) && sender.split('@').count() == 2 { sender } else { String::new() }
}

fn named(helo: Option<&str>) -> Option<String> {
    let name: String = helo?.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(*c)).take(255).collect();
    (!name.is_empty()).then_some(name)
}

/// Written by the server that received it then, or by one behind it: results, verdicts, routing.
fn is_of_the_receiver(name: &str) -> bool {
    const BEGIN: [&str; 11] = [
        "x-ms-",
        "x-microsoft-",
        "x-forefront-",
        "x-eop",
        "x-exchange-",
        "x-posthouse-",
        "x-spam-",
        "x-incoming",
        "x-message-",
        "x-sid-",
        "arc-",
    ];
    const ARE: [&str; 13] = [
        "authentication-results",
        "received-spf",
        "return-path",
        "delivered-to",
        "x-original-to",
        "envelope-to",
        "x-envelope-to",
        "x-envelope-from",
        "x-sender-ip",
        "x-originatororg",
        "x-auth-result",
        "x-virus-scanned",
        "x-hmxmroriginalrecipient",
    ];
    let name = name.to_ascii_lowercase();
    BEGIN.iter().any(|begin| name.starts_with(begin)) || ARE.contains(&name.as_str())
}

fn is_of_the_content(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["from", "reply-to", "subject", "mime-version"].contains(&name.as_str()) || name.starts_with("content-")
}

/// Whatever the case of `old` in it.
fn replaced(text: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let (lower, old) = (text.to_ascii_lowercase(), old.to_ascii_lowercase());
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for found in memchr::memmem::find_iter(&lower, &old) {
        out.extend_from_slice(&text[at..found]);
        out.extend_from_slice(new);
        at = found + old.len();
    }
    out.extend_from_slice(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = "Received: from inner (2001:db8::1) by box; Mon, 2 Jan 2023 10:00:02 +0000\nAuthentication-Results: spf=pass (sender IP is 192.0.2.7) smtp.mailfrom=shop.example\nReceived: from mx.shop.example (192.0.2.7) by edge\n with ESMTP; Mon, 2 Jan 2023 10:00:01 +0000\nX-Forefront-Antispam-Report: SFV:SPM;SCL:9\nX-MS-Exchange-Organization-SCL: 9\nReceived: from pc (198.51.100.3) by mx.shop.example; Mon, 2 Jan 2023 10:00:00 +0000\nReturn-Path: b+Pot@shop.example\nX-Mailer: shop\nFrom: Shop <a@shop.example>\nTo: Trap <trap@pot.example>\nSubject: x\nContent-Type: text/plain\n\nDear Trap@Pot.example,\n";

    #[test]
    fn what_the_receiver_of_then_wrote_is_gone_and_the_rest_is_as_it_was() {
        let whole = Prepared::new(SAVED.into(), "ada@contoso.example", Header::Whole);
        let bare = Prepared::new(SAVED.into(), "ada@contoso.example", Header::Bare);
        let text = |p: &Prepared| String::from_utf8_lossy(&p.raw).replace("\r\n", "\n");
        assert_eq!(
            text(&whole),
            "Received: from pc (198.51.100.3) by mx.shop.example; Mon, 2 Jan 2023 10:00:00 +0000\nX-Mailer: shop\nFrom: Shop <a@shop.example>\nTo: Trap <ada@contoso.example>\nSubject: x\nContent-Type: text/plain\n\nDear ada@contoso.example,\n"
        );
        assert_eq!(
            text(&bare),
            "From: Shop <a@shop.example>\nSubject: x\nContent-Type: text/plain\n\nDear ada@contoso.example,\n"
        );
        for p in [whole, bare] {
            assert_eq!((p.sender.as_str(), p.helo.as_str()), ("b+Pot@shop.example", "mx.shop.example"));
            assert_eq!(p.host_name(), Some("mx.shop.example"));
            assert_eq!((p.client.to_string().as_str(), p.at.as_str()), ("192.0.2.7", "Mon, 2 Jan 2023 10:00:01 +0000"));
        }
    }

    #[test]
    fn of_nothing_something_can_be_sent() {
        let p = Prepared::new(b"Subject: x\n\n".to_vec(), "ada@contoso.example", Header::Whole);
        assert_eq!(p.host_name(), None);
        assert_eq!((p.sender.as_str(), p.helo.as_str(), p.at.as_str()), ("", "[192.0.2.1]", ""));
        assert_eq!(sendable("a b@c".into()) + &sendable("a@b@c".into()) + &sendable("no domain".into()), "");
    }
}
