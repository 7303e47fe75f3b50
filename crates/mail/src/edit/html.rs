//! HTML as a browser's tokenizer reads it, with the place of every token; nothing is parsed by pattern.

use super::charset::Charset;
use crate::limits::{BANNER_LINE_CHARS, BANNER_TEXT_OCTETS_MAX, HTML_DEPTH_MAX};
use html5gum::{DefaultEmitter, Span, Token, Tokenizer};
use std::ops::Range;

/// Carried by our block; what of it survives in a reply is in docs/edits.md.
pub(crate) const MARKER: &str = "posthouse-banner";
/// Elements whose content is no markup.
const RAW: [&[u8]; 8] = [b"title", b"style", b"script", b"textarea", b"xmp", b"iframe", b"noembed", b"noframes"];
/// What may stand before the body begins (HTML §13.2.6.4.1 to 6), `noscript` left out: readers of mail run no scripts.
const BEFORE_BODY: [&[u8]; 12] = [
    b"html",
    b"head",
    b"meta",
    b"title",
    b"link",
    b"style",
    b"script",
    b"base",
    b"basefont",
    b"bgsound",
    b"template",
    b"noframes",
];

pub(crate) type Tokens = Vec<Token<usize>>;

pub(crate) fn tokens(html: &[u8]) -> Tokens {
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    emitter.naively_switch_states(true);
    Tokenizer::new_with_emitter(html, emitter).flatten().collect()
}

pub(crate) fn range(span: Span<usize>) -> Range<usize> {
    span.start..span.end
}

/// Where a banner is seen first: behind `<body …>`, or before the first content where that comes earlier. A body tag
/// further down opens nothing (HTML §13.2.6.4.7), and what stands before it could hide what stands behind.
pub(crate) fn place_of_banner(html: &[u8], tokens: &Tokens) -> usize {
    let mut inside: Option<&[u8]> = None;
    for token in tokens {
        match token {
            Token::StartTag(tag) if inside.is_none() => {
                let name: &[u8] = &tag.name;
                if name == b"body" {
                    return tag.span.end;
                }
                if !BEFORE_BODY.contains(&name) {
                    return tag.span.start;
                }
                if RAW.contains(&name) || name == b"template" {
                    inside = Some(name);
                }
            }
            Token::EndTag(tag) if inside.is_some_and(|name| name == &tag.name[..]) => inside = None,
            Token::String(text) if inside.is_none() => {
                let raw = html.get(range(text.span)).unwrap_or_default();
                let raw = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
                if !raw.iter().all(|b| b.is_ascii_whitespace()) {
                    return text.span.start;
                }
            }
            _ => {}
        }
    }
    // nothing is shown, or something that is never closed swallows the rest
    0
}

/// The block around the words of a banner: all of it ASCII, no line longer than a line may be, and no style sheet of the
/// message can hide it (an inline `!important` wins over every other).
pub(crate) fn block(inner: &str) -> Vec<u8> {
    let style = "display:block!important;visibility:visible!important;opacity:1!important;position:static!important;\r\n\
                 float:none!important;clear:both!important;height:auto!important;max-height:none!important;\r\n\
                 width:auto!important;max-width:none!important;overflow:visible!important;transform:none!important;\r\n\
                 text-indent:0!important;margin:0 0 12px 0!important;padding:8px 12px!important;\r\n\
                 border:1px solid #b58900!important;background:#fff8dc!important;color:#222222!important;\r\n\
                 font:14px/1.4 Arial,Helvetica,sans-serif!important;text-align:left!important;direction:inherit";
    let open = format!("<div id=\"{MARKER}\" class=\"{MARKER}\" data-{MARKER}=\"1\"\r\n style=\"{style}\">\r\n");
    format!("\r\n{open}{}</div>\r\n", folded(inner)).into_bytes()
}

/// Letters beyond ASCII become character references; lines end between words, or inside a tag where there are none.
fn folded(inner: &str) -> String {
    let (mut out, mut column, mut in_tag) = (String::new(), 0, false);
    for letter in inner.chars() {
        in_tag = match letter {
            '<' => true,
            '>' => false,
            _ => in_tag,
        };
        if matches!(letter, '\r' | '\n') || (letter == ' ' && !in_tag && column >= BANNER_LINE_CHARS) {
            out.push_str(if letter == '\r' { "" } else { "\r\n" });
            column = 0;
            continue;
        }
        if column >= 3 * BANNER_LINE_CHARS && !in_tag {
            out.push_str("<wbr\r\n>");
            column = 1;
        }
        let written = if letter.is_ascii() { letter.to_string() } else { format!("&#{};", u32::from(letter)) };
        column += written.len();
        out.push_str(&written);
    }
    if !out.ends_with('\n') {
        out.push_str("\r\n");
    }
    out
}

/// As text between tags.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(crate) fn escape_value(url: &str) -> String {
    escape(url).replace('"', "&quot;").replace('\'', "&#39;").replace('`', "&#96;")
}

/// Character references resolved.
pub(crate) fn unescape(text: &str) -> String {
    Tokenizer::new(text)
        .flatten()
        .filter_map(|t| match t {
            html5gum::Token::String(s) => Some(String::from_utf8_lossy(&s).into_owned()),
            _ => None,
        })
        .collect()
}

/// White space of every kind is one space, none is outside; what has no width is gone.
pub(crate) fn plain(text: &str) -> String {
    let seen: String =
        text.chars().filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')).collect();
    seen.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Elements that stand around text and show nothing else.
const AROUND: [&[u8]; 8] = [b"div", b"table", b"p", b"span", b"center", b"section", b"aside", b"font"];
/// Elements that only form text: such may stand in a banner that was rewritten.
const FORM: [&[u8]; 20] = [
    b"div", b"table", b"tbody", b"tr", b"td", b"th", b"p", b"span", b"center", b"section", b"aside", b"font", b"b",
    b"i", b"u", b"strong", b"em", b"br", b"wbr", b"o:p",
];

struct Open<'t> {
    name: &'t [u8],
    start: usize,
    is_marked: bool,
    text: usize,
    others: usize,
}

/// Every element whose whole text is one of the wordings and that shows nothing else: ours where it still carries our
/// mark, else the outermost such element.
pub(crate) fn banners(html: &[u8], tokens: &Tokens, charset: Charset, wordings: &[String]) -> Vec<Range<usize>> {
    let (mut text, mut others) = (String::new(), 0);
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut found: Vec<(Range<usize>, bool)> = Vec::new();
    for token in tokens {
        match token {
            Token::String(s) => {
                text.push_str(&unescape(&charset.decode(html.get(range(s.span)).unwrap_or_default())));
            }
            Token::StartTag(tag) => {
                let name: &[u8] = &tag.name;
                others += usize::from(!FORM.contains(&name));
                if AROUND.contains(&name) {
                    if open.len() >= HTML_DEPTH_MAX {
                        return Vec::new();
                    }
                    let is_marked = tag.attributes.iter().any(|(n, v)| carries_mark(n, &v.value));
                    open.push(Open { name, start: tag.span.start, is_marked, text: text.len(), others });
                }
            }
            Token::EndTag(tag) => {
                let Some(n) = open.iter().rposition(|o| o.name == &tag.name[..]) else { continue };
                // what was not closed in order is not taken out
                let crossed = n + 1 < open.len() && open[n + 1..].iter().any(|o| o.name != b"p");
                let element = open.swap_remove(n);
                open.truncate(n);
                let said = text.get(element.text..).filter(|t| t.len() <= BANNER_TEXT_OCTETS_MAX).map(plain);
                if element.others == others && !crossed && said.is_some_and(|said| wordings.contains(&said)) {
                    found.push((element.start..tag.span.end, element.is_marked));
                }
            }
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    chosen(found).into_iter().map(|at| with_our_line_ends(html, at)).collect()
}

/// `id`, `class`, `title` or `data-…` that ends in our mark: mail programs put their own letters in front (`x_`, `m_…`).
fn carries_mark(name: &[u8], value: &[u8]) -> bool {
    let named = name.starts_with(b"data-") && name.ends_with(MARKER.as_bytes());
    let valued = matches!(name, b"id" | b"class" | b"title")
        && value.split(u8::is_ascii_whitespace).any(|word| word.ends_with(MARKER.as_bytes()));
    named || valued
}

/// Of elements inside each other one: the marked one, else the outermost.
fn chosen(mut found: Vec<(Range<usize>, bool)>) -> Vec<Range<usize>> {
    found.sort_by_key(|(at, _)| (at.start, std::cmp::Reverse(at.end)));
    let mut groups: Vec<(Range<usize>, Range<usize>, bool)> = Vec::new();
    for (at, is_marked) in found {
        match groups.last_mut() {
            Some((outer, taken, marked)) if at.start < outer.end => {
                if is_marked && !*marked {
                    (*taken, *marked) = (at, true);
                }
            }
            _ => groups.push((at.clone(), at, is_marked)),
        }
    }
    groups.into_iter().map(|(_, taken, _)| taken).collect()
}

/// The line end before and the one behind are ours where both are there: so a banner that was put in and taken out
/// leaves the same octets.
fn with_our_line_ends(html: &[u8], at: Range<usize>) -> Range<usize> {
    let (before, behind) = (html[..at.start].ends_with(b"\r\n"), html[at.end..].starts_with(b"\r\n"));
    if before && behind { at.start - 2..at.end + 2 } else { at }
}
