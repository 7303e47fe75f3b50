//! Whole parts are taken out, and a text stands in their place that says so. Only where every reader sees the same parts:
//! else one program would show what another no longer has.

use super::{Splice, holds_pgp, never};
use crate::headers::HeaderSection;
use crate::limits::ENCODED_LINE_OCTETS_MAX;
use crate::structure::{Refusal, lines_are_lines, places, text_parts};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One part, and what takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// Among the parts of the message itself, in their order, the message's own first; see [`crate::Part::place`].
    pub part: usize,
    /// As people read it, with line feeds.
    pub text: String,
    /// What the text is called, in plain letters.
    pub file_name: String,
}

/// Why these parts cannot be taken out, if they cannot.
pub fn may_replace(raw: &[u8], replacements: &[Replacement]) -> Result<(), Refusal> {
    let parts = text_parts(raw)?;
    lines_are_lines(raw)?;
    if parts.iter().any(|part| holds_pgp(raw, part)) {
        return Err(Refusal::Never(never::inline_pgp()));
    }
    changes(raw, replacements).map(drop)
}

/// In raw octets.
pub(crate) fn changes(raw: &[u8], replacements: &[Replacement]) -> Result<Vec<Splice>, Refusal> {
    let places = places(raw)?;
    let mut all = Vec::new();
    for one in replacements {
        let Some(place) = places.get(one.part) else {
            return Err(Refusal::Uncertain("a part that is to be taken out is not there".into()));
        };
        if one.part == 0 {
            all.extend(whole_body(raw, place.body.clone(), one)?);
        } else {
            all.push(Splice { range: place.header.start..place.body.end, new: [header(one), body(one)].concat() });
        }
    }
    Ok(all)
}

fn header(one: &Replacement) -> Vec<u8> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    let name: String = one.file_name.chars().map(plain).collect();
    format!(
        "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    .into_bytes()
}

fn body(one: &Replacement) -> Vec<u8> {
    let encoded = STANDARD.encode(one.text.replace("\r\n", "\n").replace('\n', "\r\n"));
    let lines: Vec<&[u8]> = encoded.as_bytes().chunks(ENCODED_LINE_OCTETS_MAX).collect();
    lines.join(&b"\r\n"[..])
}

/// The message is nothing but that part: its other fields stay where they are.
fn whole_body(raw: &[u8], body_of: std::ops::Range<usize>, one: &Replacement) -> Result<Vec<Splice>, Refusal> {
    let is_content = |name: &str| name.get(..8).is_some_and(|n| n.eq_ignore_ascii_case("content-"));
    let fields = HeaderSection::of(raw).fields().filter(|f| is_content(f.name));
    let mut all: Vec<Splice> = fields.map(|f| Splice { range: f.range, new: Vec::new() }).collect();
    let Some(first) = all.first_mut() else {
        return Err(Refusal::Uncertain("it does not say what it is".into()));
    };
    // without the empty line, which stands already
    let header = header(one);
    first.new = header[..header.len() - 2].to_vec();
    all.push(Splice { range: body_of, new: [body(one), b"\r\n".to_vec()].concat() });
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Edit, Message};
    use bytes::Bytes;

    fn one(part: usize) -> Replacement {
        Replacement { part, text: "Taken out: größe.exe\nWhy: a program".into(), file_name: "removed 1.txt".into() }
    }

    fn without(raw: &str, parts: &[usize]) -> (String, Vec<String>) {
        let raw = Bytes::from(raw.replace('\n', "\r\n"));
        let edits = [Edit::Replace(parts.iter().map(|n| one(*n)).collect())];
        let edited = crate::apply_and_tell(&raw, &edits);
        let out = edited.pieces.joined();
        (String::from_utf8(out.to_vec()).unwrap(), [edited.made, edited.left].concat())
    }

    fn parts_of(raw: &str) -> Vec<String> {
        Message::parse(Bytes::copy_from_slice(raw.as_bytes())).with_parts(|parts| {
            parts.iter().map(|p| format!("{} {} {:?}", p.place, p.content_type, p.file_name.unwrap_or(""))).collect()
        })
    }

    const MIXED: &str = "From: a@b.example\nSubject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=m\n\npreamble\n--m\n\nhello\n--m\nContent-Type: application/octet-stream; name=a.exe\nContent-Transfer-Encoding: base64\n\nTVo=\n--m\nContent-Type: message/rfc822\n\nSubject: inner\n\nnested\n--m\nContent-Type: image/png; name=b.png\n\npicture\n--m--\nepilogue\n";

    #[test]
    fn a_part_becomes_a_text_and_everything_else_stays_to_the_byte() {
        let raw = MIXED.replace('\n', "\r\n");
        let (out, told) = without(MIXED, &[2]);
        assert_eq!(told, ["part 3 taken out"]);
        let (before, rest) = raw.split_once("Content-Type: application/octet-stream").unwrap();
        let behind = rest.split_once("TVo=").unwrap().1;
        assert!(out.starts_with(before) && out.ends_with(behind), "{out}");
        let (both, _) = without(MIXED, &[2, 3]);
        insta::assert_debug_snapshot!((parts_of(&out), parts_of(&both)));
        assert!(!both.contains("nested") && both.contains("picture"), "{both}");
        let text = Message::parse(both.into_bytes().into()).with_parts(|parts| {
            parts.iter().find(|p| p.file_name.is_some()).unwrap().text.as_deref().map(str::to_owned)
        });
        assert_eq!(text.unwrap(), "Taken out: größe.exe\r\nWhy: a program");
    }

    #[test]
    fn a_message_that_is_one_attachment_keeps_its_other_fields() {
        let raw = "From: a@b.example\nContent-Type: application/zip; name=a.zip\nSubject: x\nContent-Transfer-Encoding: base64\nMIME-Version: 1.0\n\nUEs=\n";
        let (out, _) = without(raw, &[0]);
        insta::assert_snapshot!(out.replace('\r', ""));
        assert_eq!(parts_of(&out), ["0 text/plain \"removed_1.txt\""]);
    }

    #[test]
    fn what_is_signed_or_not_certain_is_not_touched() {
        let signed = MIXED.replacen("multipart/mixed", "multipart/signed", 1);
        let cut = MIXED.replace("--m--\n", "");
        for (raw, part) in [(signed.as_str(), 2), (cut.as_str(), 2), (MIXED, 9), ("Subject: x\n\nbody\n", 0)] {
            let (out, told) = without(raw, &[part]);
            assert_eq!(out, raw.replace('\n', "\r\n"));
            assert!(told[0].starts_with("not edited: "), "{told:?}");
            assert!(may_replace(out.as_bytes(), &[one(part)]).is_err());
        }
        assert!(may_replace(MIXED.replace('\n', "\r\n").as_bytes(), &[one(2)]).is_ok());
    }
}
