//! Plain text: a banner above it, banners of ours taken out of what is quoted, web addresses (RFC 3676 for flowed text).

use super::charset::Charset;
use super::html::plain;
use super::{Change, Splice};
use crate::limits::BANNER_LINE_CHARS;
use crate::structure::TextPart;
use encoding_rs::UTF_8;
use std::ops::Range;

/// The lines of a banner and an empty one.
pub(crate) fn banner(wording: &str, flowed: bool) -> String {
    let mut out = String::new();
    for paragraph in wording.lines().map(plain).filter(|p| !p.is_empty()) {
        let mut column = 0;
        for word in paragraph.split(' ') {
            let length = word.chars().count();
            if column > 0 && column + 1 + length > BANNER_LINE_CHARS {
                out.push_str("\r\n");
                column = 0;
            }
            if column > 0 {
                out.push(' ');
                column += 1;
            } else if flowed && (word.starts_with('>') || word == "From") {
                // RFC 3676 §4.4
                out.push(' ');
            }
            out.push_str(word);
            column += length;
        }
        out.push_str("\r\n");
    }
    out + "\r\n"
}

/// What mail programs put in front of quoted lines.
const QUOTE: [char; 4] = ['>', '|', ' ', '\t'];

struct Line<'a> {
    start: usize,
    end: usize,
    /// Without the signs of quoting.
    said: std::borrow::Cow<'a, str>,
    quotes: usize,
}

fn lines<'a>(text: &'a [u8], charset: Charset) -> Vec<Line<'a>> {
    let (mut found, mut start) = (Vec::new(), 0);
    for line in text.split_inclusive(|b| *b == b'\n') {
        let signs = line.iter().take_while(|b| QUOTE.contains(&char::from(**b))).count();
        let quotes = line[..signs].iter().filter(|b| !b.is_ascii_whitespace()).count();
        found.push(Line { start, end: start + line.len(), said: charset.decode(&line[signs..]), quotes });
        start += line.len();
    }
    found
}

/// Whole lines that together say one of the wordings, however they were broken and quoted, with the empty line behind.
pub(crate) fn banners(text: &[u8], charset: Charset, wordings: &[String]) -> Vec<Splice> {
    let lines = lines(text, charset);
    let mut found = Vec::new();
    let mut n = 0;
    while n < lines.len() {
        let Some(mut next) = wordings.iter().find_map(|wording| said_from(&lines[n..], wording)).map(|count| n + count)
        else {
            n += 1;
            continue;
        };
        if lines.get(next).is_some_and(|l| l.said.trim().is_empty() && l.quotes == lines[next - 1].quotes) {
            next += 1;
        }
        found.push(Splice { range: lines[n].start..lines[next - 1].end, new: Vec::new() });
        n = next;
    }
    found
}

/// How many lines from the first on say exactly this.
fn said_from(lines: &[Line<'_>], wording: &str) -> Option<usize> {
    let (first, wording) = (plain(&lines.first()?.said), wording.trim_start_matches(QUOTE));
    if first.is_empty() || !wording.starts_with(&first) {
        return None;
    }
    let mut said = first;
    for (n, line) in lines.iter().enumerate().skip(1) {
        if said == wording {
            return Some(n);
        }
        let more = plain(&line.said);
        if more.is_empty() || said.len() > wording.len() {
            return None;
        }
        said = format!("{said} {more}");
    }
    (said == wording).then_some(lines.len())
}

pub(crate) fn is_web_address(url: &str) -> bool {
    let begins = |scheme: &str| {
        url.len() > scheme.len()
            && url.is_char_boundary(scheme.len())
            && url[..scheme.len()].eq_ignore_ascii_case(scheme)
    };
    begins("http://") || begins("https://")
}

/// Whole addresses only: what goes on in the next line, or is doubtful at its end, is left alone.
pub(crate) fn rewritten(
    text: &[u8],
    part: &TextPart,
    charset: Charset,
    map: &dyn Fn(&str) -> Option<String>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for at in addresses(text).filter_map(|at| whole(text, at, charset)) {
        let rest = &text[at.end..];
        let goes_on = text[..at.start].last() == Some(&b'<') && !rest.starts_with(b">")
            || part.delsp && rest.starts_with(b" \r\n");
        let Some(url) = std::str::from_utf8(&text[at.clone()]).ok().filter(|_| !goes_on) else { continue };
        if let Some(new) = map(url).filter(|new| new.bytes().all(is_of_address)) {
            let stands_alone = text[..at.start].last() == Some(&b' ')
                && rest.first().is_none_or(|b| matches!(b, b' ' | b'\r' | b'\n'));
            let own = [b"\r\n", new.as_bytes(), b"\r\n"].concat();
            let own = Splice { range: at.clone(), new: own };
            let splice = Splice { range: at, new: new.into_bytes() };
            changes.push(Change { splice, on_its_own_line: stands_alone.then_some(own) });
        }
    }
    changes
}

/// Where web addresses stand, as far as they are ASCII, in order: `http://`, `https://` and `www.`, of which mail
/// programs make links, without the signs of the sentence around them.
pub(crate) fn addresses(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let found = next_address(text, at)?;
            let written = found + text[found..].iter().take_while(|b| is_of_address(**b)).count();
            at = written.max(found + 1);
            let host =
                found + if text[found] | 0x20 == b'w' { 4 } else { 7 + usize::from(text[found + 4] | 0x20 == b's') };
            let end = found + trimmed(cut_at_reference(&text[found..written]));
            if end > host {
                return Some(found..end);
            }
            // a host may begin with a letter beyond ASCII
            if written == host && text.get(host).is_some_and(|b| *b > 127) {
                return Some(found..host);
            }
        }
    })
}

/// A character reference that is no part of an address ends it; in plain text such letters are none of an address either.
fn cut_at_reference(url: &[u8]) -> &[u8] {
    let begins =
        |at: usize| ["&lt;", "&gt;", "&quot;", "&nbsp;", "&#"].iter().any(|r| url[at..].starts_with(r.as_bytes()));
    let end = (0..url.len()).filter(|at| url[*at] == b'&').find(|at| begins(*at));
    &url[..end.unwrap_or(url.len())]
}

/// Behind the host.
fn has_path(url: &[u8]) -> bool {
    let scheme = url.windows(3).position(|w| w == b"://").map_or(0, |n| n + 3);
    url[scheme..].iter().any(|b| matches!(b, b'/' | b'?' | b'#'))
}

/// With the letters beyond ASCII of its host; nothing where it cannot be told whether such belong to it.
pub(crate) fn whole(text: &[u8], at: Range<usize>, charset: Charset) -> Option<Range<usize>> {
    let at = if charset.is(UTF_8) { with_letters_of_host(text, at) } else { at };
    let is_cut = text.get(at.end).is_some_and(|b| *b > 127) && !has_path(&text[at.clone()]);
    (!is_cut || charset.is(UTF_8) && ends_with_punctuation(&text[at.end..])).then_some(at)
}

fn ends_with_punctuation(rest: &[u8]) -> bool {
    let first = rest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    first.is_some_and(|c| !c.is_alphanumeric())
}

/// Letters beyond ASCII may belong to a host (RFC 5890); behind it they are more often the next word of a text that
/// parts its words by nothing.
fn with_letters_of_host(text: &[u8], at: Range<usize>) -> Range<usize> {
    if has_path(&text[at.clone()]) || text.get(at.end).is_none_or(u8::is_ascii) {
        return at;
    }
    let rest = &text[at.end..];
    let line = &rest[..rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len())];
    let valid = std::str::from_utf8(line).unwrap_or_default();
    let ends = |c: char| !c.is_alphanumeric() && !matches!(c, '.' | '-');
    let host = at.end + valid.find(ends).unwrap_or(valid.len());
    let more = text[host..].iter().take_while(|b| is_of_address(**b)).count();
    at.start..at.start + trimmed(&text[at.start..host + more])
}

/// Of RFC 3986; beyond ASCII a letter may belong to the address or not.
pub(crate) fn is_of_address(octet: u8) -> bool {
    matches!(octet, 33..=126) && !matches!(octet, b'<' | b'>' | b'"' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn next_address(text: &[u8], from: usize) -> Option<usize> {
    (from..text.len().saturating_sub(4)).find(|at| {
        let rest = &text[*at..];
        let begins = |with: &[u8]| rest.get(..with.len()).is_some_and(|b| b.eq_ignore_ascii_case(with));
        let before = at.checked_sub(1).map(|before| text[before]);
        let is_apart = before.is_none_or(|b| !b.is_ascii_alphanumeric());
        match rest[0] | 0x20 {
            b'h' => is_apart && (begins(b"http://") || begins(b"https://")),
            // not within another address
            b'w' => is_apart && begins(b"www.") && !before.is_some_and(|b| b".-_@/:=%&".contains(&b) || b > 127),
            _ => false,
        }
    })
}

/// Without the signs of the sentence around it.
fn trimmed(url: &[u8]) -> usize {
    let mut end = url.len();
    loop {
        let counts = |b: u8| url[..end].iter().filter(|o| **o == b).count();
        match url[..end].last() {
            Some(b'.' | b',' | b';' | b':' | b'!' | b'?' | b'\'' | b'*' | b'_' | b'~') => end -= 1,
            Some(b')') if counts(b')') > counts(b'(') => end -= 1,
            Some(b']') if counts(b']') > counts(b'[') => end -= 1,
            _ => return end,
        }
    }
}
