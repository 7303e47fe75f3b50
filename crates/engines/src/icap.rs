//! An ICAP scanner: RESPMOD of RFC 3507, the message as the body of an HTTP response. What comes back unchanged is clean;
//! what comes back otherwise, or named in a field of the scanner, is not.

use crate::settings::{Address, Kind};
use crate::wire::{Peer, Question, exchange};
use crate::{Asked, Fault, found, limits, words};
use bytes::{Bytes, BytesMut};
use std::fmt::Write;
use verdict::{Category, Finding, Severity};

pub(crate) struct Icap(pub Address);

impl Icap {
    pub async fn ask(&self, asked: &Asked) -> Result<Vec<Finding>, Fault> {
        let answer = self.say(self.respmod(asked), asked.raw.len() + limits::ICAP_ANSWER_OCTETS_MAX).await?;
        read(&answer, &asked.raw)
    }

    /// §4.10: what a service says of itself, and the tag of its rules.
    pub async fn version(&self) -> Result<String, Fault> {
        let host = self.host();
        let ask = format!("OPTIONS {} ICAP/1.0\r\nHost: {host}\r\nEncapsulated: null-body=0\r\n\r\n", self.0);
        let answer = self.say(vec![ask.into()], limits::ICAP_ANSWER_OCTETS_MAX).await?;
        let head = Head::of(&answer).ok_or_else(|| Fault::garbage(String::from_utf8_lossy(&answer)))?;
        let told: Vec<String> = ["Service", "ISTag"].iter().filter_map(|name| head.field(name)).map(words).collect();
        Ok(if told.is_empty() { format!("ICAP {}", head.status) } else { told.join(" ") })
    }

    fn host(&self) -> &str {
        match &self.0 {
            Address::Url { authority, .. } | Address::Tcp(authority) => authority,
            Address::Unix(_) | Address::Folder(_) => "localhost",
        }
    }

    async fn say(&self, pieces: Vec<Bytes>, answer_octets_max: usize) -> Result<Vec<u8>, Fault> {
        let question = Question { pieces, answer_octets_max, is_whole: &is_whole };
        exchange(Peer::Tcp(self.host()), question).await
    }

    /// §4.9.2 and §4.4.1: the request that would have brought the body, the response's header, the body in one chunk.
    fn respmod(&self, asked: &Asked) -> Vec<Bytes> {
        let request = format!("GET http://posthouse.invalid/{} HTTP/1.1\r\nHost: posthouse.invalid\r\n\r\n", asked.id);
        let raw = &asked.raw;
        let response =
            format!("HTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\nContent-Length: {}\r\n\r\n", raw.len());
        let (header, body) = (request.len(), request.len() + response.len());
        let host = self.host();
        let mut begin =
            format!("RESPMOD {} ICAP/1.0\r\nHost: {host}\r\nUser-Agent: Posthouse\r\nAllow: 204\r\n", self.0);
        if let Some(client) = asked.client {
            let _ = write!(begin, "X-Client-IP: {client}\r\n");
        }
        let _ = write!(
            begin,
            "Encapsulated: req-hdr=0, res-hdr={header}, res-body={body}\r\n\r\n{request}{response}{:x}\r\n",
            raw.len()
        );
        // a chunk of nothing would end the body (RFC 9112 §7.1)
        if raw.is_empty() {
            return vec![begin.into(), Bytes::from_static(b"\r\n")];
        }
        vec![begin.into(), raw.clone(), Bytes::from_static(b"\r\n0\r\n\r\n")]
    }
}

/// The first line and the fields of an ICAP or HTTP answer.
struct Head<'a> {
    status: u16,
    fields: Vec<(&'a str, &'a str)>,
    /// Octets of it, with the empty line.
    octets: usize,
}

impl<'a> Head<'a> {
    fn of(answer: &'a [u8]) -> Option<Head<'a>> {
        let octets = answer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&answer[..octets]).ok()?;
        let mut lines = text.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let protocol = first.next()?;
        if !(protocol.starts_with("ICAP/") || protocol.starts_with("HTTP/")) {
            return None;
        }
        let status = first.next()?.parse().ok()?;
        let fields = lines.filter_map(|l| l.split_once(':')).map(|(name, value)| (name.trim(), value.trim())).collect();
        Some(Head { status, fields, octets })
    }

    fn field(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// §4.4.1: where a section begins, after the header.
    fn section(&self, name: &str) -> Option<usize> {
        let sections = self.field("Encapsulated")?.split(',').filter_map(|s| s.trim().split_once('='));
        sections.filter(|(n, _)| n.eq_ignore_ascii_case(name)).find_map(|(_, at)| at.parse().ok())
    }
}

/// Looked at after every piece, hence cheap until the end has the look of one.
fn is_whole(answer: &[u8]) -> bool {
    if !answer.ends_with(b"\r\n\r\n") {
        return false;
    }
    let Some(head) = Head::of(answer) else { return false };
    match head.section("res-body").or_else(|| head.section("opt-body")) {
        Some(at) => answer.get(head.octets + at..).and_then(unchunked).is_some(),
        // with nothing encapsulated the answer ends with its header, else with that of the response
        None => head.section("null-body").is_none_or(|at| answer.len() >= head.octets + at),
    }
}

/// The body (RFC 9112 §7.1), if all of it is here.
fn unchunked(mut chunks: &[u8]) -> Option<BytesMut> {
    let mut body = BytesMut::new();
    loop {
        let end = chunks.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&chunks[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        chunks = &chunks[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunks.get(..size)?);
        chunks = chunks.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

fn read(answer: &[u8], sent: &[u8]) -> Result<Vec<Finding>, Fault> {
    let garbage = || Fault::garbage(String::from_utf8_lossy(&answer[..answer.len().min(limits::WORDS_CHARACTERS_MAX)]));
    let head = Head::of(answer).ok_or_else(garbage)?;
    if let Some(name) = threat(&head) {
        return Ok(vec![finding(format!("the ICAP scanner found \"{name}\""))]);
    }
    match head.status {
        // §4.6: unchanged
        204 => return Ok(Vec::new()),
        200 | 201 => {}
        // some refuse at this level what they found something in
        403 => return Ok(vec![finding("the ICAP scanner refused the message".into())]),
        // RFC 9110 §15.5.14, which ICAP borrows
        413 => return Err(Fault::TooLarge("413".into())),
        status => return Err(Fault::Failed(format!("ICAP status {status}"))),
    }
    let inner = head.section("res-hdr").and_then(|at| answer.get(head.octets + at..)).and_then(Head::of);
    let inner = inner.ok_or_else(garbage)?;
    if inner.status != 200 {
        return Ok(vec![finding(format!("the ICAP scanner put a refusal ({}) in its place", inner.status))]);
    }
    // a service that knows no 204 gives back what it was given
    let body = head.section("res-body").and_then(|at| answer.get(head.octets + at..)).and_then(unchunked);
    match body.ok_or_else(garbage)? {
        same if same == sent => Ok(Vec::new()),
        _ => Ok(vec![finding("the ICAP scanner gave the message back changed".into())]),
    }
}

/// `X-Infection-Found: Type=0; Resolution=2; Threat=NAME;` or `X-Virus-ID: NAME`
/// (draft-stecher-icap-subid-00 §3.3 and §3.4).
fn threat(head: &Head<'_>) -> Option<String> {
    let infection = head.field("X-Infection-Found").map(|value| {
        let named = value.split(';').find_map(|part| part.trim().strip_prefix("Threat="));
        named.unwrap_or(value)
    });
    let id = head.field("X-Virus-ID").filter(|id| !id.is_empty() && !id.eq_ignore_ascii_case("none"));
    infection.or(id).map(words)
}

fn finding(summary: String) -> Finding {
    found(Kind::Icap, Category::Malware, Severity::Malicious, verdict::finding::HOLD_POINTS, summary, Vec::new())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SENT: &[u8] = b"Subject: x\r\n\r\nhello\r\n";

    fn said(answer: &str) -> String {
        match read(answer.as_bytes(), SENT) {
            Ok(found) => found.iter().map(|f| f.summary.clone()).collect(),
            Err(fault) => fault.kind().into(),
        }
    }

    /// An answer with a whole HTTP response in it.
    fn around(fields: &str, status: &str, body: &str) -> String {
        let inner = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n\r\n");
        let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        format!("ICAP/1.0 200 OK\r\n{fields}Encapsulated: res-hdr=0, res-body={}\r\n\r\n{inner}{chunk}", inner.len())
    }

    #[test]
    fn unchanged_is_clean_and_anything_else_is_not() {
        let same = std::str::from_utf8(SENT).unwrap();
        assert_eq!(said("ICAP/1.0 204 No Content\r\nEncapsulated: null-body=0\r\n\r\n"), "");
        assert_eq!(said(&around("", "200 OK", same)), "");
        assert_eq!(said(&around("", "200 OK", "cleaned")), "the ICAP scanner gave the message back changed");
        assert_eq!(said(&around("", "403 Forbidden", "no")), "the ICAP scanner put a refusal (403) in its place");
        let named = "X-Infection-Found: Type=0; Resolution=2; Threat=Own.Test;\r\n";
        assert_eq!(said(&around(named, "403 Forbidden", "no")), "the ICAP scanner found \"Own.Test\"");
        assert_eq!(said(&around("X-Virus-ID: Own.Test\r\n", "200 OK", same)), "the ICAP scanner found \"Own.Test\"");
        assert_eq!(said("ICAP/1.0 403 Forbidden\r\n\r\n"), "the ICAP scanner refused the message");
    }

    #[test]
    fn no_answer_is_not_clean() {
        assert_eq!(said("ICAP/1.0 404 Service not found\r\n\r\n"), "failed");
        assert_eq!(said("ICAP/1.0 413 Too Large\r\n\r\n"), "too_large");
        let whole = around("", "200 OK", "Subject: x\r\n\r\nhello\r\n");
        assert_eq!(said(&whole[..whole.len() - 5]), "garbage", "cut off");
        for garbage in ["", "stream: OK", "ICAP/1.0 200 OK\r\n\r\n", "SMTP 204\r\n\r\n"] {
            assert_eq!(said(garbage), "garbage", "{garbage}");
        }
    }

    #[test]
    fn an_answer_ends_where_its_last_chunk_does() {
        let whole = around("", "200 OK", "0\r\n\r\n and more\r\n\r\n");
        let ends: Vec<usize> = (0..=whole.len()).filter(|n| is_whole(&whole.as_bytes()[..*n])).collect();
        assert_eq!(ends, [whole.len()]);
        assert!(is_whole(b"ICAP/1.0 204 No\r\nEncapsulated: null-body=0\r\n\r\n"));
        assert!(!is_whole(b"ICAP/1.0 204 No\r\n"));
    }
}
