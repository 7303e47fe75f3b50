//! Where the parts of a message lie, exact to the byte, and only where that is certain.
//!
//! The parser says what the parts are; the raw bytes are then asked whether every reader has to see the same: delimiter
//! lines in front of and behind each part, one field of each kind, no damage, no line end that is none. Whatever is
//! doubtful is not edited: two programs that see different parts would see different messages.

use crate::edit::never::{self, Never};
use crate::headers::HeaderSection;
use crate::limits;
use crate::message::{self, Anomaly};
use mail_parser::{MessagePart, PartFlags};
use std::fmt;
use std::ops::Range;

/// Why a message, or a part of it, is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// By the table of docs/edits.md.
    Never(&'static Never),
    /// Two readers could see different things.
    Uncertain(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Never(never) => write!(f, "{}: {}", never.what, never.why),
            Refusal::Uncertain(why) => write!(f, "its form is not certain: {why}"),
        }
    }
}

fn uncertain<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Uncertain(why.into()))
}

/// How a body is written down (RFC 2045 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    SevenBit,
    /// `8bit` and `binary`
    EightBit,
    QuotedPrintable,
    Base64,
}

impl Transfer {
    fn parse(value: &str) -> Option<Transfer> {
        Some(match value.trim().to_ascii_lowercase().as_str() {
            "7bit" => Transfer::SevenBit,
            "8bit" | "binary" => Transfer::EightBit,
            "quoted-printable" => Transfer::QuotedPrintable,
            "base64" => Transfer::Base64,
            _ => return None,
        })
    }
}

/// A text/plain or text/html part that is shown and is no attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextPart {
    /// Still encoded, without the line end before the next delimiter.
    pub body: Range<usize>,
    pub is_html: bool,
    pub transfer: Transfer,
    /// In lower case; `None` where none is written.
    pub charset: Option<String>,
    /// RFC 3676: format=flowed, and delsp=yes with it.
    pub flowed: bool,
    pub delsp: bool,
    /// Among those that are shown first: one, or each alternative of one.
    pub is_first: bool,
    /// `2 (text/html)`: which part, for people.
    pub name: String,
}

/// Every text part that is shown, in order.
pub(crate) fn text_parts(raw: &[u8]) -> Result<Vec<TextPart>, Refusal> {
    let parsed = message::parser().parse(raw);
    let Some(parsed) = parsed else { return uncertain("it cannot be read") };
    let own: Vec<MessagePart<'_>> = parsed.root().parts().collect();
    if let Some(never) = own.iter().find_map(|part| never::of_part(&type_of(part), part.attachment_name())) {
        return Err(Refusal::Never(never));
    }
    lines_are_lines(raw)?;
    if parsed.parts().any(|part| part.flags() != PartFlags::default()) {
        return uncertain("a part is damaged or cut off");
    }
    boundaries_differ(&own)?;
    let mut found = Vec::new();
    for (n, part) in own.iter().enumerate() {
        let fields = checked_header(raw, part)?;
        if part.is_multipart() || part.is_message() {
            match fields.transfer {
                Some(Transfer::SevenBit | Transfer::EightBit) => {}
                _ => return uncertain("a part that holds parts is encoded itself"),
            }
        } else if is_shown_text(part) {
            found.push(text_part(part, n, &fields)?);
        }
        delimited(raw, part)?;
    }
    let mut first = Vec::new();
    shown_first(&parsed.root().root_part(), &mut first);
    for part in &mut found {
        part.is_first = first.contains(&part.body.start);
    }
    Ok(found)
}

/// Where a part of the message itself lies.
pub(crate) struct Place {
    pub header: Range<usize>,
    pub body: Range<usize>,
}

/// Of every part, in order; only worth something where [`text_parts`] refuses nothing.
pub(crate) fn places(raw: &[u8]) -> Result<Vec<Place>, Refusal> {
    let Some(parsed) = message::parser().parse(raw) else { return uncertain("it cannot be read") };
    let place = |part: MessagePart<'_>| {
        let (start, body, end) =
            (part.offset_header() as usize, part.offset_body() as usize, part.offset_end() as usize);
        Place { header: start..body, body: body..end }
    };
    Ok(parsed.root().parts().map(place).collect())
}

fn type_of(part: &MessagePart<'_>) -> String {
    part.content_type().map_or("text/plain".into(), |c| {
        format!("{}/{}", c.ctype(), c.subtype().unwrap_or_default()).to_ascii_lowercase()
    })
}

fn is_shown_text(part: &MessagePart<'_>) -> bool {
    let attached = part.content_disposition().is_some_and(|d| d.ctype().eq_ignore_ascii_case("attachment"));
    matches!(type_of(part).as_str(), "text/plain" | "text/html") && !attached && part.attachment_name().is_none()
}

/// Every line of the message ends in CRLF, and only lines do.
pub(crate) fn lines_are_lines(raw: &[u8]) -> Result<(), Refusal> {
    let doubtful = [
        Anomaly::Empty,
        Anomaly::NoHeaders,
        Anomaly::HeaderWithoutEnd,
        Anomaly::BareLf,
        Anomaly::BareCr,
        Anomaly::NulBytes,
    ];
    match message::anomalies_of_bytes(raw).iter().find(|a| doubtful.contains(a)) {
        Some(anomaly) => uncertain(anomaly.to_string()),
        None => Ok(()),
    }
}

/// A delimiter that begins like another is taken for it by some readers.
fn boundaries_differ(parts: &[MessagePart<'_>]) -> Result<(), Refusal> {
    let all: Vec<&str> = parts.iter().filter(|p| p.is_multipart()).filter_map(|p| p.boundary()).collect();
    for (n, one) in all.iter().enumerate() {
        if all[..n].iter().any(|other| one.starts_with(other) || other.starts_with(one)) {
            return uncertain("boundaries of nested parts resemble each other");
        }
    }
    Ok(())
}

struct Fields {
    /// `None`: some other word.
    transfer: Option<Transfer>,
    parameters: String,
}

/// The header of a part holds each field once that says how its body is read.
fn checked_header(raw: &[u8], part: &MessagePart<'_>) -> Result<Fields, Refusal> {
    let (start, body) = (part.offset_header() as usize, part.offset_body() as usize);
    let Some(rest) = raw.get(start..) else { return uncertain("a part lies outside the message") };
    let section = HeaderSection::of(rest);
    if !section.ends_properly() || start + section.body_start() != body {
        return uncertain("where the header of a part ends");
    }
    let value = |name: &str| {
        let mut all = section.fields().filter(|f| f.is(name));
        match (all.next(), all.next()) {
            (_, Some(_)) => uncertain(format!("{name} stands twice in one header")),
            (first, None) => Ok(first.map(|f| f.text())),
        }
    };
    let content_type = value("Content-Type")?;
    value("Content-Disposition")?;
    if value("Content-MD5")?.is_some() {
        return uncertain("Content-MD5 vouches for a body");
    }
    let transfer = value("Content-Transfer-Encoding")?.map_or(Some(Transfer::SevenBit), |v| Transfer::parse(&v));
    let parameters = content_type.unwrap_or_default().to_ascii_lowercase();
    if ["boundary", "charset", "format"].iter().any(|name| named(&parameters, name) > 1) {
        return uncertain("a parameter of Content-Type stands twice");
    }
    if parameters.matches('"').count() % 2 == 1 {
        return uncertain("a quote in Content-Type is not closed");
    }
    if !parameters.is_empty() && part.content_type().is_none() {
        return uncertain("Content-Type cannot be read");
    }
    Ok(Fields { transfer, parameters })
}

/// How often a parameter is given, in whatever way (RFC 2231 knows several).
fn named(parameters: &str, name: &str) -> usize {
    let begins = |piece: &str| {
        piece.trim_start().strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(['=', '*']))
    };
    parameters.split(';').filter(|piece| begins(piece)).count()
}

fn text_part(part: &MessagePart<'_>, n: usize, fields: &Fields) -> Result<TextPart, Refusal> {
    let body = part.offset_body() as usize..part.offset_end() as usize;
    let Some(transfer) = fields.transfer else { return uncertain("a transfer encoding that is not known") };
    let content_type = part.content_type();
    let attribute = |name| content_type.and_then(|c| c.attribute(name)).map(|v| v.trim().to_ascii_lowercase());
    let charset = attribute("charset");
    if charset.is_none() && named(&fields.parameters, "charset") > 0 {
        return uncertain("a charset that cannot be read");
    }
    Ok(TextPart {
        body,
        is_html: type_of(part) == "text/html",
        transfer,
        charset,
        flowed: attribute("format").is_some_and(|v| v == "flowed"),
        delsp: attribute("delsp").is_some_and(|v| v == "yes"),
        is_first: false,
        name: format!("{} ({})", n + 1, type_of(part)),
    })
}

/// The line before a part and the line behind it are delimiters of its multipart, and nothing else.
fn delimited(raw: &[u8], part: &MessagePart<'_>) -> Result<(), Refusal> {
    let (start, body, end) = (part.offset_header() as usize, part.offset_body() as usize, part.offset_end() as usize);
    let Some(parent) = part.parent() else {
        return if start == 0 && end == raw.len() { Ok(()) } else { uncertain("where the message begins and ends") };
    };
    let Some(boundary) = parent.boundary().filter(|b| !b.is_empty()) else {
        return uncertain("a multipart without a boundary");
    };
    let is_delimiter = |line: &[u8]| {
        let rest = line.strip_prefix(b"--").and_then(|l| l.strip_prefix(boundary.as_bytes()));
        rest.is_some_and(|rest| matches!(rest.strip_prefix(b"--").unwrap_or(rest).trim_ascii(), b""))
    };
    let before = raw[..start].strip_suffix(b"\r\n").unwrap_or_default();
    let line = before.iter().rposition(|b| *b == b'\n').map_or(before, |n| &before[n + 1..]);
    let behind = raw.get(end..).and_then(|rest| rest.strip_prefix(b"\r\n")).unwrap_or_default();
    let next = behind.split(|b| *b == b'\n').next().unwrap_or_default();
    if body <= end && is_delimiter(line) && is_delimiter(next) {
        return Ok(());
    }
    uncertain("where a part begins or ends")
}

/// What a reader shows first: of alternatives each, of parts that belong together the root, else the first with text.
fn shown_first(part: &MessagePart<'_>, found: &mut Vec<usize>) {
    if !part.is_multipart() {
        if is_shown_text(part) {
            found.push(part.offset_body() as usize);
        }
        return;
    }
    let before = found.len();
    match type_of(part).as_str() {
        "multipart/alternative" => part.children().for_each(|child| shown_first(&child, found)),
        "multipart/related" => {
            let start = part.content_type().and_then(|c| c.attribute("start")).map(|s| s.trim_matches(['<', '>']));
            let named = part.children().find(|c| start.is_some() && c.content_id() == start);
            if let Some(root) = named.or_else(|| part.children().next()) {
                shown_first(&root, found);
            }
        }
        _ => {
            for child in part.children() {
                shown_first(&child, found);
                if found.len() > before {
                    return;
                }
            }
        }
    }
}

/// Larger ones are not mapped octet by octet.
pub(crate) fn is_small(part: &TextPart) -> bool {
    part.body.len() <= limits::EDITED_PART_OCTETS_MAX
}
