//! Plain text: a banner above it, banners of ours taken out of what is quoted, web addresses (RFC 3676 for flowed text).

use super::Splice;
use super::charset::Charset;
use super::html::plain;
use crate::limits::BANNER_LINE_CHARS;
use crate::structure::TextPart;

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
pub(crate) fn rewritten(text: &[u8], part: &TextPart, map: &dyn Fn(&str) -> Option<String>) -> Vec<Splice> {
    let mut changes = Vec::new();
    let mut at = 0;
    while let Some(found) = next_address(text, at) {
        let mut end = found + text[found..].iter().take_while(|b| is_of_address(**b)).count();
        at = end.max(found + 1);
        let rest = &text[end..];
        let goes_on =
            text[..found].last() == Some(&b'<') && !rest.starts_with(b">") || part.delsp && rest.starts_with(b" \r\n");
        end = trimmed(&text[found..end]) + found;
        let Some(url) = std::str::from_utf8(&text[found..end]).ok().filter(|u| is_web_address(u) && !goes_on) else {
            continue;
        };
        if let Some(new) = map(url).filter(|new| new.bytes().all(is_of_address)) {
            changes.push(Splice { range: found..end, new: new.into_bytes() });
        }
    }
    changes
}

/// Of RFC 3986; beyond ASCII a letter may belong to the address or not.
fn is_of_address(octet: u8) -> bool {
    matches!(octet, 33..=126) && !matches!(octet, b'<' | b'>' | b'"' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn next_address(text: &[u8], from: usize) -> Option<usize> {
    (from..text.len().saturating_sub(7)).find(|at| {
        let rest = &text[*at..];
        let begins = |scheme: &[u8]| rest.get(..scheme.len()).is_some_and(|b| b.eq_ignore_ascii_case(scheme));
        (rest[0] | 0x20) == b'h'
            && (begins(b"http://") || begins(b"https://"))
            && at.checked_sub(1).is_none_or(|before| !text[before].is_ascii_alphanumeric())
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
