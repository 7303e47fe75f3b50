//! The view of a message. Parsing never fails: any bytes give a message, with its anomalies listed.

use crate::headers::{HeaderSection, Place};
use crate::{limits, otherwise};
use bytes::Bytes;
use mail_parser::{MessageParser, MessagePart, MessageRef, PartFlags, PartKind};
use std::borrow::Cow;
use std::fmt;

/// Something about the form of a message that a well-made one does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Anomaly {
    Empty,
    NoHeaders,
    HeaderWithoutEnd,
    BareLf,
    BareCr,
    NulBytes,
    TooManyParts,
    NestedTooDeep,
    UnclosedBoundary,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Anomaly::Empty => "the message is empty",
            Anomaly::NoHeaders => "the message has no header",
            Anomaly::HeaderWithoutEnd => "a line that is no field ends the header instead of an empty line",
            Anomaly::BareLf => "lines end in LF without CR",
            Anomaly::BareCr => "CR without LF",
            Anomaly::NulBytes => "NUL bytes",
            Anomaly::TooManyParts => "more MIME parts than are looked at",
            Anomaly::NestedTooDeep => "MIME parts nested deeper than is looked at",
            Anomaly::UnclosedBoundary => "a multipart without its closing boundary",
        })
    }
}

/// What kind of content a part has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Html,
    Binary,
    Message,
    Multipart,
}

/// One MIME part, nested messages' parts included.
#[derive(Debug)]
pub struct Part<'a> {
    /// `type/subtype` in lower case.
    pub content_type: String,
    pub file_name: Option<&'a str>,
    /// By which HTML shows it (RFC 2392), without its angle brackets.
    pub content_id: Option<&'a str>,
    pub is_attachment: bool,
    pub kind: Kind,
    pub decoded: Cow<'a, [u8]>,
    /// Text and HTML, from whatever charset.
    pub text: Option<Cow<'a, str>>,
    /// 0 = the message itself, 1 = in a message attached to it, …
    pub depth: usize,
    /// Which of the message's own parts it is, or stands in: the attached message's. Counted from 0, the message's own.
    pub place: usize,
    /// Not what the standards say, but what some mail program may show of the part before it.
    pub is_other_reading: bool,
    /// Text that mail programs show HTML instead of (RFC 2046 §5.1.4).
    pub has_html_twin: bool,
}

impl<'a> Part<'a> {
    /// The same, without its octets a second time.
    pub fn borrowed<'b>(&'b self) -> Part<'b> {
        Part {
            content_type: self.content_type.clone(),
            decoded: Cow::Borrowed(&self.decoded),
            text: self.text.as_deref().map(Cow::Borrowed),
            ..*self
        }
    }
}

/// A mailbox of an address field, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    pub display: String,
    pub address: String,
}

/// A message: its bytes and what can be told about them.
#[derive(Clone, Debug, Default)]
pub struct Message {
    raw: Bytes,
    /// Of its header fields: many look for one or another.
    fields: Vec<Place>,
    message_id: Option<String>,
    subject: Option<String>,
    from: Vec<Address>,
    sender: Vec<Address>,
    reply_to: Vec<Address>,
    shown_recipients: Vec<Address>,
    has_date: bool,
    answers: bool,
    anomalies: Vec<Anomaly>,
}

pub(crate) fn parser() -> MessageParser {
    MessageParser::new()
        .max_depth(limits::DEPTH_MAX.into())
        .max_parts(limits::PARTS_MAX as usize)
        .max_encoded_nesting(limits::ENCODED_NESTING_MAX.into())
}

impl Message {
    pub fn parse(raw: Bytes) -> Message {
        let mut message = Message { raw, ..Message::default() };
        let raw = message.raw.clone();
        message.fields = HeaderSection::of(&raw).places();
        message.anomalies = anomalies_of(&raw, message.headers());
        if let Some(parsed) = parser().parse(&raw[..]) {
            message.message_id = parsed.message_id().map(str::to_owned);
            message.subject = parsed.subject().map(str::to_owned);
            message.from = parsed.all_from().flat_map(mailboxes).collect();
            message.sender = parsed.sender().into_iter().flat_map(mailboxes).collect();
            message.reply_to = parsed.reply_to().into_iter().flat_map(mailboxes).collect();
            message.shown_recipients = parsed.all_to().chain(parsed.all_cc()).flat_map(mailboxes).collect();
            message.has_date = parsed.date().is_some();
            message.answers = parsed.in_reply_to().is_some() || parsed.references().is_some();
            let flags = [
                (PartFlags::LIMIT_REACHED, Anomaly::TooManyParts),
                (PartFlags::NESTING_LIMIT, Anomaly::NestedTooDeep),
                (PartFlags::UNTERMINATED, Anomaly::UnclosedBoundary),
            ];
            for part in parsed.parts() {
                message
                    .anomalies
                    .extend(flags.iter().filter(|(flag, _)| part.flags().contains(*flag)).map(|(_, anomaly)| *anomaly));
            }
        }
        message.anomalies.sort();
        message.anomalies.dedup();
        message
    }

    pub fn raw(&self) -> &Bytes {
        &self.raw
    }
    pub fn headers(&self) -> HeaderSection<'_> {
        HeaderSection::known(&self.raw, &self.fields)
    }
    /// Unfolded values of every field of that name, from top to bottom.
    pub fn header_values(&self, name: &str) -> Vec<String> {
        self.headers().fields().filter(|f| f.is(name)).map(|f| f.text()).collect()
    }
    /// Without its angle brackets.
    pub fn message_id(&self) -> Option<String> {
        self.message_id.clone()
    }
    pub fn subject(&self) -> Option<String> {
        self.subject.clone()
    }
    /// Every mailbox of every From field.
    pub fn from(&self) -> &[Address] {
        &self.from
    }
    /// Every mailbox of Sender.
    pub fn sender(&self) -> &[Address] {
        &self.sender
    }
    /// Every mailbox of Reply-To.
    pub fn reply_to(&self) -> &[Address] {
        &self.reply_to
    }
    /// Every mailbox of To and Cc.
    pub fn shown_recipients(&self) -> &[Address] {
        &self.shown_recipients
    }
    /// A Date that can be read.
    pub fn has_date(&self) -> bool {
        self.has_date
    }
    /// It names a message that it answers (RFC 5322 §3.6.4).
    pub fn answers(&self) -> bool {
        self.answers
    }
    pub fn from_address(&self) -> Option<String> {
        self.from.first().map(|a| a.address.clone()).filter(|a| !a.is_empty())
    }
    pub fn anomalies(&self) -> &[Anomaly] {
        &self.anomalies
    }

    /// Shows every part, nested messages included, up to the limits; decoded once, however many look.
    pub fn with_parts<R>(&self, look: impl FnOnce(&[Part<'_>]) -> R) -> R {
        let parsed = parser().parse(&self.raw[..]);
        let mut parts = Vec::new();
        if let Some(parsed) = &parsed {
            walk(parsed.root(), 0, None, &mut parts);
        }
        look(&parts)
    }
}

fn mailboxes(list: mail_parser::AddressList<'_>) -> Vec<Address> {
    let decoded = |m: mail_parser::Mailbox<'_>| Address {
        display: m.name().unwrap_or_default().to_owned(),
        address: m.address().unwrap_or_default().to_owned(),
    };
    list.mailboxes().map(decoded).collect()
}

fn walk<'m>(message: MessageRef<'m>, depth: usize, inside: Option<usize>, parts: &mut Vec<Part<'m>>) {
    for (n, part) in message.parts().enumerate() {
        let place = inside.unwrap_or(n);
        let content_type = part
            .content_type()
            .map(|c| format!("{}/{}", c.ctype(), c.subtype().unwrap_or_default()).to_ascii_lowercase());
        let kind = match part.kind() {
            PartKind::Text => Kind::Text,
            PartKind::Html => Kind::Html,
            PartKind::Message(_) => Kind::Message,
            PartKind::Multipart => Kind::Multipart,
            _ => Kind::Binary,
        };
        let read = Part {
            content_type: content_type.unwrap_or_else(|| "text/plain".into()),
            file_name: part.attachment_name(),
            content_id: part.content_id(),
            is_attachment: part.is_attachment(),
            kind,
            decoded: if kind == Kind::Multipart { Cow::Borrowed(&[]) } else { part.decoded() },
            text: matches!(kind, Kind::Text | Kind::Html).then(|| part.text()).flatten(),
            depth,
            place,
            is_other_reading: false,
            has_html_twin: kind == Kind::Text && has_html_twin(&part),
        };
        let others = otherwise::readings(&part, &read);
        parts.push(read);
        parts.extend(others);
        if let Some(inner) = part.nested() {
            walk(inner, depth + 1, Some(place), parts);
        }
    }
}

/// Alternatives that are looked through for HTML; real ones are two or three.
const ALTERNATIVES_MAX: usize = 20;

fn has_html_twin(part: &MessagePart<'_>) -> bool {
    let is = |part: &MessagePart<'_>, subtype: &str| {
        part.content_type().and_then(|c| c.subtype()).is_some_and(|s| s.eq_ignore_ascii_case(subtype))
    };
    part.parent().filter(|all| is(all, "alternative")).is_some_and(|all| {
        all.children().take(ALTERNATIVES_MAX).any(|one| {
            matches!(one.kind(), PartKind::Html)
                || one.children().take(ALTERNATIVES_MAX).any(|inner| matches!(inner.kind(), PartKind::Html))
        })
    })
}

pub(crate) fn anomalies_of_bytes(raw: &[u8]) -> Vec<Anomaly> {
    anomalies_of(raw, HeaderSection::of(raw))
}

fn anomalies_of(raw: &[u8], section: HeaderSection<'_>) -> Vec<Anomaly> {
    let mut found = Vec::new();
    if raw.is_empty() {
        return vec![Anomaly::Empty];
    }
    if section.fields().next().is_none() {
        found.push(Anomaly::NoHeaders);
    }
    if !section.ends_properly() {
        found.push(Anomaly::HeaderWithoutEnd);
    }
    if memchr::memchr(0, raw).is_some() {
        found.push(Anomaly::NulBytes);
    }
    let (crs, lfs, both) = line_ends(raw);
    found.extend((lfs > both).then_some(Anomaly::BareLf));
    found.extend((crs > both).then_some(Anomaly::BareCr));
    found
}

/// How many CR, LF, and CR with LF behind it. Counted in octets, of which a processor adds sixteen at once.
fn line_ends(raw: &[u8]) -> (usize, usize, usize) {
    const COUNTED_MAX: usize = u8::MAX as usize;
    let count = |is: &dyn Fn(&[u8], &[u8]) -> u8, behind: &[u8]| -> usize {
        raw.chunks(COUNTED_MAX).zip(behind.chunks(COUNTED_MAX)).map(|(a, b)| usize::from(is(a, b))).sum()
    };
    let each = |octet: u8| move |a: &[u8], _: &[u8]| a.iter().map(|b| u8::from(*b == octet)).sum::<u8>();
    let pairs =
        |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| u8::from(*a == b'\r') & u8::from(*b == b'\n')).sum::<u8>();
    (count(&each(b'\r'), raw), count(&each(b'\n'), raw), count(&pairs, raw.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn message(raw: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(raw.as_bytes()))
    }

    #[test]
    fn the_view_of_an_ordinary_message() {
        let m = message(
            "From: =?utf-8?q?J=C3=BCrgen?= <j@a.example>\r\nSubject: =?utf-8?b?w5xiZXI=?=\r\nMessage-ID: <1@a.example>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/octet-stream; name=x.bin\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--b--\r\n",
        );
        assert_eq!(m.from(), [Address { display: "Jürgen".into(), address: "j@a.example".into() }]);
        assert_eq!((m.subject(), m.message_id()), (Some("Über".into()), Some("1@a.example".into())));
        let show = |p: &Part<'_>| {
            let decoded = String::from_utf8_lossy(&p.decoded);
            format!("{:?} {} {:?} {decoded}", p.kind, p.content_type, p.file_name)
        };
        let seen: Vec<String> = m.with_parts(|parts| parts.iter().map(show).collect());
        assert_eq!(
            seen,
            [
                "Multipart multipart/mixed None ",
                "Text text/plain None text",
                "Binary application/octet-stream Some(\"x.bin\") ABC"
            ]
        );
        assert_eq!(m.anomalies(), []);
    }

    #[test]
    fn anomalies_are_listed_and_nothing_fails() {
        let many = (0..10_000).fold("Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned(), |all, n| {
            all + &format!("--b\r\n\r\n{n}\r\n")
        });
        let cases =
            ["", "x", "\r\nbody", "A: b\r\nnofield\r\n", "A: b\n\nbody\n", "A: b\r\n\r\na\rb", "A: b\r\n\r\n\0", &many];
        let text = cases
            .iter()
            .map(|c| format!("{:?}: {:?}", &c[..c.len().min(20)], message(c).anomalies()))
            .collect::<Vec<_>>()
            .join("\n");
        insta::assert_snapshot!(text, @r#"
        "": [Empty]
        "x": [NoHeaders, HeaderWithoutEnd]
        "\r\nbody": [NoHeaders]
        "A: b\r\nnofield\r\n": [HeaderWithoutEnd]
        "A: b\n\nbody\n": [BareLf]
        "A: b\r\n\r\na\rb": [BareCr]
        "A: b\r\n\r\n\0": [NulBytes]
        "Content-Type: multip": [TooManyParts]
        "#);
    }
}
