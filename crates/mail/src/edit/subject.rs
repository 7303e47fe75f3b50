//! A tag in front of the subject (RFC 5322 §3.6.5, RFC 2047). The old value's octets stay as they are.

use super::Splice;
use crate::headers::HeaderSection;
use crate::limits::{HEADER_LINE_OCTETS, SUBJECT_TAG_OCTETS_MAX};
use crate::message;
use crate::structure::Refusal;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// The change, or `None` where the tag is there already.
pub(crate) fn tagged(raw: &[u8], tag: &str) -> Result<Option<Splice>, Refusal> {
    let tag = tag.trim();
    let section = HeaderSection::of(raw);
    let mut all = section.fields().filter(|f| f.is("Subject"));
    let (first, second) = (all.next(), all.next());
    if second.is_some() {
        return Err(Refusal::Uncertain("Subject stands twice".into()));
    }
    if tag.is_empty() || tag.len() > SUBJECT_TAG_OCTETS_MAX || tag.contains(char::is_control) {
        return Err(Refusal::Uncertain("the tag is empty or too long".into()));
    }
    let Some(field) = first else {
        if !section.ends_properly() || section.end() == 0 {
            return Err(Refusal::Uncertain("where the header ends".into()));
        }
        let at = section.end();
        return Ok(Some(Splice { range: at..at, new: format!("Subject: {}\r\n", written(tag, false)).into_bytes() }));
    };
    if begins_with(raw, tag) {
        return Ok(None);
    }
    let colon = field.range.start + raw[field.range.clone()].iter().position(|b| *b == b':').unwrap_or_default() + 1;
    let value = field.value;
    let blanks = value.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let rest = &value[blanks..];
    let before_word = value.trim_ascii().starts_with(b"=?");
    let tag = written(tag, before_word);
    let line = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
    // nothing stands in the first line: what follows is folded already
    if line == Some(0) || rest.is_empty() {
        return Ok(Some(Splice { range: colon..colon, new: format!(" {tag}").into_bytes() }));
    }
    let at = colon + blanks;
    let length = at - field.range.start + tag.len() + 1 + line.unwrap_or(rest.len());
    let gap = if length > HEADER_LINE_OCTETS { "\r\n " } else { " " };
    let before = if blanks == 0 { " " } else { "" };
    Ok(Some(Splice { range: at..at, new: format!("{before}{tag}{gap}").into_bytes() }))
}

/// The space between two encoded words is not shown (RFC 2047 §6.2): it has to stand in the first.
fn written(tag: &str, before_word: bool) -> String {
    if tag.is_ascii() {
        return tag.to_owned();
    }
    let inside = if before_word { format!("{tag} ") } else { tag.to_owned() };
    format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(inside))
}

/// True when a person reads the tag first, marks of replies aside.
fn begins_with(raw: &[u8], tag: &str) -> bool {
    let parsed = message::parser().parse(raw);
    let subject = parsed.as_ref().and_then(|m| m.subject()).unwrap_or_default();
    let mut rest = subject.trim_start();
    loop {
        if rest.starts_with(tag) {
            return true;
        }
        let reply = rest
            .split_once(':')
            .filter(|(word, _)| (1..=3).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphabetic()));
        match reply {
            Some((_, more)) => rest = more.trim_start(),
            None => return false,
        }
    }
}
