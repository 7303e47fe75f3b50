//! A transfer-encoded body, decoded with the place of each octet, so that a change of the text becomes a change of few
//! octets of the body (RFC 2045 §6). What does not decode cleanly is not mapped.

use super::{Change, Splice};
use crate::limits::{ENCODED_LINE_OCTETS_MAX, LINE_OCTETS_MAX};
use crate::structure::Transfer;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::borrow::Cow;

/// A body, what it says, and where each octet of that is written.
pub(crate) struct Decoded<'a> {
    raw: &'a [u8],
    pub(crate) bytes: Cow<'a, [u8]>,
    places: Places,
}

enum Places {
    /// Octet for octet; `false`: seven bits only.
    Same(bool),
    /// Where each decoded octet begins, and at last where the body ends.
    QuotedPrintable(Vec<u32>),
    /// Where each group of four letters begins, and where the letters end.
    Base64 { groups: Vec<u32>, end: usize },
}

/// Why a body does not say for certain what it says.
pub(crate) fn decode(raw: &[u8], transfer: Transfer) -> Result<Decoded<'_>, &'static str> {
    let same = |eight| Ok(Decoded { raw, bytes: Cow::Borrowed(raw), places: Places::Same(eight) });
    match transfer {
        Transfer::SevenBit => same(false),
        Transfer::EightBit => same(true),
        Transfer::QuotedPrintable => quoted_printable(raw),
        Transfer::Base64 => base64(raw),
    }
}

fn quoted_printable(raw: &[u8]) -> Result<Decoded<'_>, &'static str> {
    let (mut bytes, mut places) = (Vec::with_capacity(raw.len()), Vec::with_capacity(raw.len() + 1));
    let mut at = 0;
    while let Some(octet) = raw.get(at) {
        match octet {
            b'=' => match raw.get(at + 1..at + 3) {
                Some(b"\r\n") => at += 3,
                Some([high, low]) => {
                    let hex = |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok());
                    let value = hex(high).zip(hex(low)).ok_or("broken quoted-printable")?;
                    bytes.push(value.0 << 4 | value.1);
                    places.push(place(at)?);
                    at += 3;
                }
                _ => return Err("broken quoted-printable"),
            },
            // §6.7 rule 3: white space at the end of a line was added on the way
            b' ' | b'\t' => {
                let run = raw[at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
                if raw.get(at + run).is_none_or(|b| matches!(b, b'\r' | b'\n')) {
                    at += run;
                    continue;
                }
                bytes.push(*octet);
                places.push(place(at)?);
                at += 1;
            }
            128.. => return Err("octets above 127 in quoted-printable"),
            _ => {
                bytes.push(*octet);
                places.push(place(at)?);
                at += 1;
            }
        }
    }
    places.push(place(raw.len())?);
    Ok(Decoded { raw, bytes: bytes.into(), places: Places::QuotedPrintable(places) })
}

fn place(at: usize) -> Result<u32, &'static str> {
    u32::try_from(at).map_err(|_| "a part that is too large")
}

fn base64(raw: &[u8]) -> Result<Decoded<'_>, &'static str> {
    let (mut letters, mut groups, mut end) = (Vec::with_capacity(raw.len()), Vec::new(), 0);
    for (at, octet) in raw.iter().enumerate() {
        if matches!(octet, b'\r' | b'\n' | b' ' | b'\t') {
            continue;
        }
        if letters.len() % 4 == 0 {
            groups.push(place(at)?);
        }
        letters.push(*octet);
        end = at + 1;
    }
    let bytes = BASE64_STANDARD.decode(&letters).map_err(|_| "broken base64")?;
    Ok(Decoded { raw, bytes: bytes.into(), places: Places::Base64 { groups, end } })
}

impl Decoded<'_> {
    /// True where octets above 127 can be written.
    pub(crate) fn takes_eight_bits(&self) -> bool {
        !matches!(self.places, Places::Same(false))
    }

    /// The changes, in order, that leave no line longer than a line may be.
    pub(crate) fn taken(&self, changes: Vec<Change>) -> Vec<Splice> {
        if !matches!(self.places, Places::Same(_)) {
            return changes.into_iter().map(|c| c.splice).collect();
        }
        let mut line = Line::default();
        let all = changes.into_iter();
        all.filter_map(|Change { splice, on_its_own_line }| {
            [Some(splice), on_its_own_line].into_iter().flatten().find(|splice| line.takes(self, splice))
        })
        .collect()
    }

    /// Changes of the text become changes of the body. `changes` are in order and do not overlap.
    pub(crate) fn written(&self, changes: Vec<Splice>) -> Vec<Splice> {
        match &self.places {
            Places::Same(_) => changes,
            Places::QuotedPrintable(places) => changes.iter().map(|c| self.quoted(places, c)).collect(),
            Places::Base64 { groups, end } => self.regrouped(groups, *end, &changes).into_iter().collect(),
        }
    }

    fn line_before(&self, at: usize) -> usize {
        at - self.raw[..at].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1)
    }
    fn line_behind(&self, at: usize) -> usize {
        let rest = &self.raw[at..];
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        rest[..end].strip_suffix(b"\r").map_or(end, <[u8]>::len)
    }

    fn quoted(&self, places: &[u32], change: &Splice) -> Splice {
        let start = places[change.range.start] as usize;
        let end = match change.range.end.checked_sub(1).filter(|last| *last >= change.range.start) {
            None => start,
            Some(last) => {
                let at = places[last] as usize;
                at + if self.raw[at] == b'=' { 3 } else { 1 }
            }
        };
        let behind = self.line_behind(end);
        let mut out = Quoted { column: self.line_before(start), out: Vec::with_capacity(change.new.len() * 2) };
        let new = &change.new;
        let mut at = 0;
        while at < new.len() {
            if new[at..].starts_with(b"\r\n") {
                out.line_end();
                at += 2;
                continue;
            }
            let ends_line = match &new[at + 1..] {
                [] => behind == 0,
                rest => rest.starts_with(b"\r\n"),
            };
            out.octet(new[at], ends_line);
            at += 1;
        }
        if behind > 0 && out.column > 0 && out.column + behind > ENCODED_LINE_OCTETS_MAX {
            out.soft_line_end();
        }
        Splice { range: start..end, new: out.out }
    }

    /// From the first group that changes to the end; what stands before is not touched.
    fn regrouped(&self, groups: &[u32], end: usize, changes: &[Splice]) -> Option<Splice> {
        let first = changes.first()?.range.start;
        let full = self.bytes.len() / 3;
        let group = (first / 3).min(full);
        let start = groups.get(group).map_or(end, |at| *at as usize);
        let mut text = Vec::with_capacity(self.bytes.len() - group * 3 + 1024);
        let mut at = group * 3;
        for change in changes {
            text.extend_from_slice(&self.bytes[at..change.range.start]);
            text.extend_from_slice(&change.new);
            at = change.range.end;
        }
        text.extend_from_slice(&self.bytes[at..]);
        let width = match self.line_behind(0) {
            whole if self.raw.contains(&b'\n') && (1..=ENCODED_LINE_OCTETS_MAX).contains(&whole) => whole,
            _ => ENCODED_LINE_OCTETS_MAX,
        };
        let letters = BASE64_STANDARD.encode(&text);
        let mut new = Vec::with_capacity(letters.len() + letters.len() / width * 2 + 2);
        let mut column = self.line_before(start);
        for letter in letters.bytes() {
            if column >= width {
                new.extend_from_slice(b"\r\n");
                column = 0;
            }
            new.push(letter);
            column += 1;
        }
        Some(Splice { range: start..end, new })
    }
}

/// The line that is being changed: what stands before a place has grown by what was put into it.
#[derive(Default)]
struct Line {
    start: usize,
    grown: isize,
}

impl Line {
    /// False of a change that would make a line longer than a line may be; true once for each that is made.
    fn takes(&mut self, decoded: &Decoded<'_>, change: &Splice) -> bool {
        let before = decoded.line_before(change.range.start);
        let start = change.range.start - before;
        let grown = if start == self.start { self.grown } else { 0 };
        let before = before.saturating_add_signed(grown);
        let lines: Vec<&[u8]> = change.new.split(|b| *b == b'\n').collect();
        let last = lines.len() - 1;
        let length = |n: usize, line: &[u8]| {
            let before = if n == 0 { before } else { 0 };
            let behind = if n == last { decoded.line_behind(change.range.end) } else { 0 };
            before + line.strip_suffix(b"\r").unwrap_or(line).len() + behind
        };
        // what came longer than that may stay so
        let fits =
            |(n, line): (usize, &&[u8])| line.is_empty() || **line == *b"\r" || length(n, line) <= LINE_OCTETS_MAX;
        if !lines.iter().enumerate().all(fits) {
            return false;
        }
        let begins = |octets: usize| isize::try_from(octets).unwrap_or(isize::MAX);
        // where the text behind the change stands now, against where it stood
        let column = if last == 0 { before + lines[0].len() } else { lines[last].len() };
        let end = change.range.end;
        let stood = decoded.line_before(end);
        *self = Line { start: end - stood, grown: begins(column) - begins(stood) };
        true
    }
}

/// Writes quoted-printable from any column on.
struct Quoted {
    column: usize,
    out: Vec<u8>,
}

impl Quoted {
    fn octet(&mut self, octet: u8, ends_line: bool) {
        let plain = match octet {
            b'=' => false,
            b' ' | b'\t' => !ends_line,
            _ => (33..=126).contains(&octet),
        };
        let width = if plain { 1 } else { 3 };
        // one column stays for the sign of a soft line end
        if self.column + width > ENCODED_LINE_OCTETS_MAX - 1 {
            self.soft_line_end();
        }
        if plain {
            self.out.push(octet);
        } else {
            self.out.extend_from_slice(format!("={octet:02X}").as_bytes());
        }
        self.column += width;
    }
    fn line_end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.column = 0;
    }
    fn soft_line_end(&mut self) {
        self.out.extend_from_slice(b"=\r\n");
        self.column = 0;
    }
}
