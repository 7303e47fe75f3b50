//! Links in HTML, with the place of each: of attributes, of text that mail programs make links of, and of comments that
//! Outlook alone reads. Which of them change, a map says that knows nothing of HTML.

use super::charset::Charset;
use super::html::{self, Tokens, escape, escape_value, range, unescape};
use super::{Change, Splice, text};
use crate::limits::HTML_DEPTH_MAX;
use html5gum::Token;
use memchr::memmem;
use std::ops::Range;

/// Links of a document that a person follows.
const LINKS: [(&[u8], &[u8]); 3] = [(b"a", b"href"), (b"area", b"href"), (b"form", b"action")];
/// Where text makes no link: one already, or no text.
const UNLINKED: [&[u8]; 14] = [
    b"a",
    b"title",
    b"style",
    b"script",
    b"textarea",
    b"xmp",
    b"iframe",
    b"noembed",
    b"noframes",
    b"select",
    b"button",
    b"template",
    b"svg",
    b"math",
];

/// The links of a document, each value replaced where `map` says so, and addresses in its text, of which mail programs
/// make links by themselves: such become links around the same words.
pub(crate) fn rewritten(
    html: &[u8],
    tokens: &Tokens,
    charset: Charset,
    map: &dyn Fn(&str) -> Option<String>,
) -> Vec<Change> {
    let mut changes = shown(html, tokens, charset, map);
    for (inner, at) in conditional(html, tokens) {
        changes.extend(shown(inner, &html::tokens(inner), charset, map).into_iter().map(|c| c.moved(at)));
    }
    changes.sort_by_key(|c| c.splice.range.start);
    changes
}

/// What stands in comments that Outlook alone reads, and where.
fn conditional<'h>(html: &'h [u8], tokens: &Tokens) -> Vec<(&'h [u8], usize)> {
    let inside = |span: html5gum::Span<usize>| {
        let at = range(span);
        let raw = html.get(at.clone())?;
        let text = raw.strip_prefix(b"<!--")?.trim_ascii_start();
        let opens = raw.len() - text.len();
        text.get(..3).filter(|b| b.eq_ignore_ascii_case(b"[if"))?;
        let begin = opens + text.windows(2).position(|w| w == b"]>")? + 2;
        let end = raw.windows(4).rposition(|w| w == b"<![e" || w == b"<![E")?;
        Some((raw.get(begin..end)?, at.start + begin))
    };
    let comments = tokens.iter().filter_map(|t| if let Token::Comment(c) = t { Some(c.span) } else { None });
    comments.filter_map(inside).collect()
}

fn shown(html: &[u8], tokens: &Tokens, charset: Charset, map: &dyn Fn(&str) -> Option<String>) -> Vec<Change> {
    let mut base = None;
    let mut changes = Vec::new();
    for token in tokens {
        let Token::StartTag(tag) = token else { continue };
        if tag.name[..] == *b"base" && base.is_none() {
            base = tag.attributes.get(&b"href"[..]).and_then(|v| text_of(&v.value)).filter(|b| text::is_web_address(b));
        }
        for (_, name) in LINKS.iter().filter(|(element, _)| *element == &tag.name[..]) {
            let Some((name, value)) = tag.attributes.iter().find(|(n, _)| &n[..] == *name) else { continue };
            let resolved = |url: String| if leads_out(&url) { Some(url) } else { joined(base.as_deref()?, &url) };
            changes.extend(attribute(html, value.span.start, name, value, &|url| map(&resolved(url)?)));
        }
    }
    let (mut open, mut run): (Vec<&[u8]>, Option<Range<usize>>) = (Vec::new(), None);
    for token in tokens {
        match (token, &mut run) {
            // a text may come in several tokens
            (Token::String(text), Some(run)) if run.end == text.span.start => run.end = text.span.end,
            (Token::String(text), None) if open.is_empty() => run = Some(range(text.span)),
            (Token::String(_), _) => {}
            _ => changes.extend(run.take().into_iter().flat_map(|run| in_text(html, run, charset, map))),
        }
        match token {
            Token::StartTag(tag) if open.len() < HTML_DEPTH_MAX => {
                let name: &[u8] = &tag.name;
                // a link ends where the next begins (HTML §13.2.6.4.7); an anchor without address is none
                if let Some(n) = open.iter().rposition(|o| *o == b"a").filter(|_| name == b"a") {
                    open.truncate(n);
                }
                let opens = (name != b"a" || tag.attributes.contains_key(&b"href"[..])) && !tag.self_closing;
                open.extend(UNLINKED.iter().find(|known| **known == name).filter(|_| opens));
            }
            Token::EndTag(tag) => {
                if let Some(n) = open.iter().rposition(|name| *name == &tag.name[..]) {
                    open.truncate(n);
                }
            }
            _ => {}
        }
    }
    changes.extend(run.into_iter().flat_map(|run| in_text(html, run, charset, map)));
    changes
}

/// Every attribute and every text that is an address which `map` knows.
pub(crate) fn restored(html: &[u8], tokens: &Tokens, map: &dyn Fn(&str) -> Option<String>) -> Vec<Change> {
    let mut changes = restored_in(html, tokens, map);
    for (inner, at) in conditional(html, tokens) {
        changes.extend(restored_in(inner, &html::tokens(inner), map).into_iter().map(|c| c.moved(at)));
    }
    changes.sort_by_key(|c| c.splice.range.start);
    changes
}

fn restored_in(html: &[u8], tokens: &Tokens, map: &dyn Fn(&str) -> Option<String>) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for token in tokens {
        match token {
            Token::StartTag(tag) => changes.extend(
                tag.attributes
                    .iter()
                    .filter(|(_, value)| memmem::find(&value.value, b"http").is_some())
                    .filter_map(|(name, value)| attribute(html, value.span.start, name, value, &|url| map(&url))),
            ),
            Token::String(said) => {
                let (start, end) = (said.span.start, said.span.end);
                let words = html.get(start..end).unwrap_or_default();
                changes.extend(text::addresses(words).filter_map(|at| {
                    let new = map(&unescape(std::str::from_utf8(&words[at.clone()]).ok()?))?;
                    let range = at.start + start..at.end + start;
                    Some(Splice { range, new: escape(&new).into_bytes() }.into())
                }));
            }
            _ => {}
        }
    }
    changes
}

fn text_of(value: &[u8]) -> Option<String> {
    String::from_utf8(value.to_vec()).ok()
}

/// The value of an attribute that begins at `start`, replaced.
fn attribute(
    html: &[u8],
    start: usize,
    name: &[u8],
    value: &[u8],
    map: &dyn Fn(String) -> Option<String>,
) -> Option<Change> {
    let at = value_place(html, start, name)?;
    let new = map(url_at(html, &at, value)?)?;
    if !new.is_ascii() || new.contains(char::is_whitespace) {
        return None;
    }
    let new = escape_value(&new).into_bytes();
    // line ends are white space between attributes
    let quote = html.get(at.end).filter(|b| matches!(b, b'"' | b'\'') && html.get(at.start - 1) == Some(b)).copied();
    let end = at.end + quote.iter().len();
    let own = [b"\r\n", &html[start..at.start], &new, quote.as_slice(), b"\r\n"].concat();
    Some(Change { splice: Splice { range: at, new }, on_its_own_line: Some(Splice { range: start..end, new: own }) })
}

/// With a scheme or a host of its own.
fn leads_out(url: &str) -> bool {
    let begins = |prefix: &str| url.get(..prefix.len()).is_some_and(|b| b.eq_ignore_ascii_case(prefix));
    ["http:", "https:", "//", "\\\\", "/\\", "\\/", "www."].iter().any(|prefix| begins(prefix))
}

/// An address relative to the page's base (HTML §4.2.3); nothing where it has another scheme or stays on the page.
fn joined(base: &str, url: &str) -> Option<String> {
    let first = url.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if first.contains(':') || url.is_empty() || url.starts_with('#') {
        return None;
    }
    let authority = base.find("://")? + 3;
    let path = base[authority..].find(['/', '?', '#']).map_or(base.len(), |n| authority + n);
    if url.starts_with(['/', '\\']) {
        return Some(format!("{}{url}", &base[..path]));
    }
    let end = base[path..].find(['?', '#']).map_or(base.len(), |n| path + n);
    let folder = base[path..end].rfind('/').map_or(path, |n| path + n);
    Some(format!("{}/{url}", &base[..folder]))
}

/// Addresses in a text that stands in no link become links around the same letters.
fn in_text(html: &[u8], run: Range<usize>, charset: Charset, map: &dyn Fn(&str) -> Option<String>) -> Vec<Change> {
    let words = html.get(run.clone()).unwrap_or_default();
    let found = text::addresses(words).filter_map(|at| {
        let at = text::whole(words, at, charset)?;
        let raw = std::str::from_utf8(&words[at.clone()]).ok()?;
        let url = unescape(raw);
        if !url.bytes().all(|b| b > 127 || text::is_of_address(b)) {
            return None;
        }
        let new = map(&url).filter(|new| new.is_ascii() && !new.contains(char::is_whitespace))?;
        let (start, end) = (run.start + at.start, run.start + at.end);
        let link =
            |break_: &str| format!("<a{break_}href=\"{}\"{}>{raw}</a>", escape_value(&new), break_.trim_matches(' '));
        let splice = |new: String| Splice { range: start..end, new: new.into_bytes() };
        Some(Change { splice: splice(link(" ")), on_its_own_line: Some(splice(link("\r\n"))) })
    });
    found.collect()
}

/// Where the value of the attribute that begins there is written, without its quotes (HTML §13.1.2.3).
fn value_place(html: &[u8], start: usize, name: &[u8]) -> Option<Range<usize>> {
    let rest = html.get(start..)?;
    if !rest.get(..name.len())?.eq_ignore_ascii_case(name) {
        return None;
    }
    let blanks = |from: usize| from + rest[from..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    let equals = blanks(name.len());
    if rest.get(equals) != Some(&b'=') {
        return None;
    }
    let open = blanks(equals + 1);
    let (first, length) = match rest.get(open)? {
        quote @ (b'"' | b'\'') => (open + 1, rest[open + 1..].iter().position(|b| b == quote)?),
        _ => (open, rest[open..].iter().position(|b| b.is_ascii_whitespace() || *b == b'>')?),
    };
    Some(start + first..start + first + length)
}

/// The value as a browser takes it, if it surely stands in that place.
fn url_at(html: &[u8], at: &Range<usize>, value: &[u8]) -> Option<String> {
    let raw = std::str::from_utf8(html.get(at.clone())?).ok()?;
    let value = std::str::from_utf8(value).ok()?;
    let again = format!("<a href=\"{}\">", raw.replace('"', "&quot;"));
    let same = html::tokens(again.as_bytes()).into_iter().any(|t| match t {
        Token::StartTag(tag) => tag.attributes.values().any(|v| &v.value[..] == value.as_bytes()),
        _ => false,
    });
    let url: String =
        value.trim_matches(|c: char| c <= ' ').chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).collect();
    same.then_some(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_tokenizer_says_where_an_attribute_begins() {
        let html = b"<p>x</p>\r\n\xe4<a class=x  HREF = 'a&amp;b' title=\"t\"><A href=u>";
        let found: Vec<_> = html::tokens(html)
            .iter()
            .filter_map(|t| if let Token::StartTag(tag) = t { Some(tag) } else { None })
            .filter_map(|tag| value_place(html, tag.attributes.get(&b"href"[..])?.span.start, b"href"))
            .map(|at| String::from_utf8_lossy(&html[at]).into_owned())
            .collect();
        assert_eq!(found, ["a&amp;b", "u"]);
    }
}
