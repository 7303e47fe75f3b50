//! Mail's HTML as something that can be shown: written anew from a browser's tokens, by a list of what may be in it.
//!
//! Nothing is carried over as it stood. Of elements only such are written that hold text and lay it out; no element of
//! another language (SVG, MathML), none with text that is read differently (script, style, title, textarea, template), so
//! that what is written has one reading, whoever parses it again (mutation XSS needs two). Of attributes only the two
//! that span cells, as numbers. A link is its text and where it leads; a picture is one of the message's own, as data.

use crate::limits;
use crate::preview::Picture;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use std::fmt::Write;

/// Written as they are, without attributes.
const KEPT: [&str; 44] = [
    "p",
    "div",
    "span",
    "b",
    "strong",
    "i",
    "em",
    "u",
    "s",
    "small",
    "big",
    "sub",
    "sup",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "blockquote",
    "pre",
    "code",
    "tt",
    "table",
    "thead",
    "tbody",
    "tfoot",
    "tr",
    "td",
    "th",
    "caption",
    "center",
    "address",
    "cite",
    "q",
    "abbr",
    "section",
    "article",
];
/// The same, and nothing is in them.
const EMPTY: [&str; 3] = ["br", "hr", "wbr"];
/// Left out with everything in them.
const LEFT_OUT: [&str; 22] = [
    "script",
    "style",
    "title",
    "textarea",
    "template",
    "svg",
    "math",
    "iframe",
    "frameset",
    "noframes",
    "noembed",
    "noscript",
    "object",
    "applet",
    "xmp",
    "plaintext",
    "select",
    "datalist",
    "audio",
    "video",
    "canvas",
    "map",
];
/// What an end tag does not reach beyond.
const CELLS: [&str; 4] = ["td", "th", "table", "caption"];

/// An element that is open in what is written.
struct Open {
    /// As it was in the message.
    name: String,
    written: &'static str,
    /// Of a link: what follows its text.
    destination: Option<String>,
}

#[derive(Default)]
struct Writer {
    out: String,
    open: Vec<Open>,
    /// An element that is left out, and how many of its name are open within it.
    within: Option<(String, usize)>,
    picture_octets: usize,
}

/// A fragment of HTML that loads nothing, runs nothing, sends nothing and leads nowhere.
pub fn sanitise(html: &str, pictures: &[Picture<'_>]) -> String {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut writer = Writer::default();
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        if writer.out.len() - writer.picture_octets > limits::HTML_OCTETS_MAX {
            writer.out.push_str("<p>…</p>");
            break;
        }
        match token {
            Token::StartTag(tag) => writer.start(&tag, pictures),
            Token::EndTag(tag) => writer.end(&String::from_utf8_lossy(&tag.name)),
            Token::String(text) if writer.within.is_none() => escape(&String::from_utf8_lossy(&text), &mut writer.out),
            _ => {}
        }
    }
    writer.close_down_to(0);
    writer.out
}

impl Writer {
    fn start(&mut self, tag: &StartTag<()>, pictures: &[Picture<'_>]) {
        let name = String::from_utf8_lossy(&tag.name).into_owned();
        if let Some((outer, deep)) = &mut self.within {
            *deep += usize::from(*outer == name && !tag.self_closing);
            return;
        }
        let said = |key: &str| tag.attributes.get(key.as_bytes()).map(|v| String::from_utf8_lossy(v).into_owned());
        match name.as_str() {
            left_out if LEFT_OUT.contains(&left_out) => {
                if !tag.self_closing || left_out != "svg" && left_out != "math" {
                    self.within = Some((name, 0));
                }
            }
            "a" | "area" => {
                let destination = said("href").unwrap_or_default();
                self.open("u", "", name, Some(destination));
            }
            "img" | "image" => self.picture(said("src"), said("alt"), pictures),
            "input" | "button" if said("type").is_none_or(|t| !t.eq_ignore_ascii_case("hidden")) => {
                self.out.push_str("<i>[field of a form]</i>")
            }
            empty if EMPTY.contains(&empty) => drop(write!(self.out, "<{empty}>")),
            _ => {
                let Some(kept) = KEPT.iter().find(|k| **k == name) else { return };
                let mut spans = String::new();
                for key in ["colspan", "rowspan"].into_iter().filter(|_| matches!(*kept, "td" | "th")) {
                    let span = said(key).and_then(|v| v.trim().parse().ok()).unwrap_or(1u32);
                    if span > 1 {
                        let _ = write!(spans, " {key}=\"{}\"", span.min(limits::SPAN_MAX));
                    }
                }
                self.open(kept, &spans, name, None);
            }
        }
    }

    fn open(&mut self, written: &'static str, attributes: &str, name: String, destination: Option<String>) {
        if self.open.len() < limits::ELEMENTS_DEEP_MAX {
            let _ = write!(self.out, "<{written}{attributes}>");
            self.open.push(Open { name, written, destination });
        }
    }

    fn end(&mut self, name: &str) {
        if let Some((outer, deep)) = &mut self.within {
            match (outer == name, *deep) {
                (true, 0) => self.within = None,
                (true, _) => *deep -= 1,
                (false, _) => {}
            }
            return;
        }
        let begins_cell = |o: &Open| CELLS.contains(&o.written);
        let reach = match name {
            "table" | "thead" | "tbody" | "tfoot" | "tr" | "td" | "th" | "caption" => 0,
            _ => self.open.iter().rposition(begins_cell).map_or(0, |n| n + 1),
        };
        if let Some(n) = self.open[reach..].iter().rposition(|o| o.name == name) {
            self.close_down_to(reach + n);
        }
    }

    fn close_down_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            let Some(closed) = self.open.pop() else { return };
            let _ = write!(self.out, "</{}>", closed.written);
            if let Some(destination) = closed.destination.filter(|d| !d.trim().is_empty()) {
                let shown: String = destination.chars().take(limits::DESTINATION_CHARS_MAX).collect();
                self.out.push_str(" <code>[");
                escape(shown.trim(), &mut self.out);
                self.out.push_str("]</code>");
            }
        }
    }

    /// The message's own as data; of others what they say when they are not shown.
    fn picture(&mut self, src: Option<String>, alt: Option<String>, pictures: &[Picture<'_>]) {
        let id = src.as_deref().and_then(|s| {
            let (scheme, id) = s.trim().split_once(':')?;
            scheme.eq_ignore_ascii_case("cid").then(|| percent_decoded(id))
        });
        let found = id.and_then(|id| pictures.iter().find(|p| p.content_id == id));
        let before = self.out.len();
        match found.filter(|p| self.picture_octets + p.octets.len() * 4 / 3 <= limits::PICTURES_OCTETS_MAX) {
            Some(picture) => {
                let _ = write!(self.out, "<img alt=\"\" src=\"data:{};base64,", picture.content_type);
                STANDARD.encode_string(picture.octets, &mut self.out);
                self.out.push_str("\">");
                self.picture_octets += self.out.len() - before;
            }
            None => {
                let alt = alt.filter(|a| !a.trim().is_empty());
                self.out.push_str("<i>[picture");
                if let Some(alt) = alt {
                    self.out.push_str(": ");
                    escape(&alt, &mut self.out);
                }
                self.out.push_str("]</i>");
            }
        }
    }
}

/// As text, wherever in HTML it stands. What turns text round or cannot be seen is shown as unreadable.
pub fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            _ if c.is_control() => out.push(' '),
            _ => out.push(c),
        }
    }
}

pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape(text, &mut out);
    out
}

/// RFC 2392 §2: a Content-ID in a URL.
fn percent_decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (first, hex) {
            (b'%', Some(octet)) => {
                out.push(octet);
                rest = &after[2..];
            }
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(html: &str) -> String {
        let dot = [0x89, b'P', b'N', b'G'];
        sanitise(html, &[Picture { content_id: "dot@x", content_type: "image/png", octets: &dot }])
    }

    #[test]
    fn what_is_wanted_stays() {
        insta::assert_snapshot!(clean("<h1 style='x' onclick=y>Hi &amp; &lt;you&gt;</h1><p>a<br>b<table><tr><td colspan=2 bgcolor=red>c<td>d</table>"), @r#"<h1>Hi &amp; &lt;you&gt;</h1><p>a<br>b<table><tr><td colspan="2">c<td>d</td></td></tr></table></p>"#);
        insta::assert_snapshot!(clean("<a href='https://evil.example/?a=1&b=2'>www.<b>bank</b>.example</a> <a name=x>y</a>"), @"<u>www.<b>bank</b>.example</u> <code>[https://evil.example/?a=1&amp;b=2]</code> <u>y</u>");
        insta::assert_snapshot!(clean("<img src=cid:dot%40x><img src='cid:no' alt='a \"b\"'><img src=http://track.example/1.gif><input type=password><input type=hidden>"), @r#"<img alt="" src="data:image/png;base64,iVBORw=="><i>[picture: a &quot;b&quot;]</i><i>[picture]</i><i>[field of a form]</i>"#);
    }

    /// Each must leave nothing but elements and attributes of the list, however it is read.
    const HOSTILE: &[&str] = &[
        "<script>alert(1)</script>after",
        "<SCRIPT/x>alert(1)</script >after",
        "<svg onload=alert(1)>after",
        "<svg/onload=alert(1)//after",
        "<svg><script>alert(1)</script></svg>after",
        "<svg><style><img src=x onerror=alert(1)></style></svg>after",
        "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
        "<math><mtext><table><mglyph><style><math>CLICK</style><a href=javascript:alert(1)></math>after",
        "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
        "<svg></p><style><a id=\"</style><img src=1 onerror=alert(1)>\">",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<title><a title=\"</title><img src=x onerror=alert(1)>\">",
        "<textarea><img title=\"</textarea><img src=x onerror=alert(1)>\">",
        "<xmp><p title=\"</xmp><svg/onload=alert(1)>\">",
        "<template><img src=x onerror=alert(1)></template>after",
        "<select><style></select><svg onload=alert(1)></style>",
        "<meta http-equiv=refresh content='0;url=https://evil.example/'>after",
        "<base href=https://evil.example/><a href=x>after</a>",
        "<link rel=stylesheet href=https://evil.example/x.css>after",
        "<style>@import url(https://evil.example/x.css)</style>after",
        "<p style='background:url(https://evil.example/p.png)'>after",
        "<body background=https://evil.example/p.png onload=alert(1)>after",
        "<object data=https://evil.example/x.swf><embed src=https://evil.example/></object>after",
        "<iframe srcdoc='<script>alert(1)</script>' src=https://evil.example/></iframe>after",
        "<form action=https://evil.example/><input name=x><button formaction=javascript:alert(1)>go</button></form>",
        "<a href=\"javascript:alert(1)\" ping=https://evil.example/ target=_blank>after</a>",
        "<a href='\"><img src=x onerror=alert(1)>'>after</a>",
        "<img src='x' alt='\"><script>alert(1)</script>'>",
        "<img src=\"cid:dot@x\" onerror=alert(1) srcset='https://evil.example/1 1x'>",
        "<img src='data:image/svg+xml,<svg onload=alert(1)>'>after",
        "<video src=https://evil.example/ poster=https://evil.example/p></video>after",
        "<td colspan='2\" onmouseover=\"alert(1)'>after</td>",
        "<<script>alert(1)</script>",
        "<p><!--><img src=x onerror=alert(1)>-->after",
        "<![CDATA[<img src=x onerror=alert(1)>]]>after",
        "<plaintext><img src=x onerror=alert(1)>",
        "<p\x00 onclick=alert(1)>after",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "<a href=\"\u{202e}moc.elpmaxe\">\u{202e}after</a>",
    ];

    #[test]
    fn nothing_hostile_is_left_however_it_is_read() {
        let mut told = String::new();
        for html in HOSTILE {
            let once = clean(html);
            told += &format!("{html:?}\n  {once}\n");
            // with and without the states that a browser switches to by itself
            for naively in [true, false] {
                let mut emitter = DefaultEmitter::default();
                emitter.naively_switch_states(naively);
                for Ok(token) in Tokenizer::new_with_emitter(once.as_str(), emitter) {
                    let (name, attributes) = match &token {
                        Token::StartTag(tag) => (String::from_utf8_lossy(&tag.name), tag.attributes.clone()),
                        Token::EndTag(tag) => (String::from_utf8_lossy(&tag.name), Default::default()),
                        Token::String(_) => continue,
                        other => panic!("{html}: {other:?}"),
                    };
                    let written = KEPT.iter().chain(&EMPTY).any(|k| *k == name) || name == "img";
                    assert!(written, "{html} left <{name}>: {once}");
                    for (key, value) in attributes {
                        let (key, value) =
                            (String::from_utf8_lossy(&key).into_owned(), String::from_utf8_lossy(&value).into_owned());
                        let right = match key.as_str() {
                            "colspan" | "rowspan" => value.parse::<u32>().is_ok_and(|n| n <= limits::SPAN_MAX),
                            "src" => value.starts_with("data:image/png;base64,"),
                            "alt" => value.is_empty(),
                            _ => false,
                        };
                        assert!(right, "{html} left {key}={value}: {once}");
                    }
                }
            }
        }
        insta::assert_snapshot!(told);
    }

    #[test]
    fn megabytes_and_depth_stay_in_bounds() {
        let deep = clean(&"<div>".repeat(200_000));
        assert_eq!(deep.matches("<div>").count(), limits::ELEMENTS_DEEP_MAX);
        assert_eq!(deep.matches("</div>").count(), limits::ELEMENTS_DEEP_MAX);
        assert!(clean(&"<p>&amp;".repeat(1_000_000)).len() < limits::HTML_OCTETS_MAX + 10_000);
    }
}
