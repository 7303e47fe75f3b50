//! HTML and SVG as attachments: unlike the mail's own body they run their scripts when opened.

use super::{Opener, Trait};
use crate::limits::*;
use html5gum::{Token, Tokenizer};

#[derive(Debug, Default)]
struct Page {
    text: String,
    script: String,
    urls: Vec<String>,
    password_field: bool,
    fields: usize,
    forms: Vec<String>,
    refresh: Option<String>,
    download: bool,
    foreign_object: bool,
    handlers: usize,
}

pub(super) fn open(opener: &mut Opener<'_>, file: usize, octets: &[u8], is_svg: bool) {
    if octets.len() > MARKUP_OCTETS_MAX {
        opener.cannot(file, "a page too large to be looked through as a whole");
    }
    let page = read(&text_of(&octets[..octets.len().min(MARKUP_OCTETS_MAX)]));
    let file = &mut opener.files[file];
    let traits = [judge_form(&page), judge_script(&page, is_svg), judge_redirect(&page), judge_smuggling(&page)];
    file.traits.extend(traits.into_iter().flatten());
    if page.foreign_object && is_svg {
        file.traits.push(Trait::ForeignObject);
    }
    file.urls.extend(page.urls);
    file.text = page.text.chars().take(FILE_TEXT_CHARS_MAX).collect();
}

/// Scripts and pages are UTF-8 or, by their mark, UTF-16.
pub(super) fn text_of(octets: &[u8]) -> String {
    let wide = |make: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = octets[2..].chunks_exact(2).map(|p| make([p[0], p[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match octets {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8_lossy(octets).into_owned(),
    }
}

fn read(html: &str) -> Page {
    let mut page = Page::default();
    let mut inside = None;
    for Ok(token) in Tokenizer::new(html) {
        match token {
            Token::StartTag(tag) => {
                let name = String::from_utf8_lossy(&tag.name).to_ascii_lowercase();
                let all: Vec<(String, String)> =
                    tag.attributes.iter().map(|(n, v)| (lossy(n).to_ascii_lowercase(), lossy(v))).collect();
                element(&mut page, &name, &all);
                if matches!(name.as_str(), "script" | "style" | "title") && !tag.self_closing {
                    inside = Some(name);
                }
            }
            Token::EndTag(tag) if inside.as_deref().is_some_and(|i| i.as_bytes() == tag.name.as_slice()) => {
                inside = None
            }
            Token::String(text) => match inside.as_deref() {
                Some("script") => page.script.push_str(&lossy(&text)),
                Some("style") => {}
                _ => {
                    let text = lossy(&text);
                    for word in text.split_whitespace() {
                        page.text.push_str(word);
                        page.text.push(' ');
                    }
                }
            },
            _ => {}
        }
    }
    page
}

fn element(page: &mut Page, name: &str, attributes: &[(String, String)]) {
    let get = |wanted: &str| attributes.iter().find(|(n, _)| n == wanted).map(|(_, v)| v.trim().to_owned());
    for (attribute, value) in attributes {
        if attribute.starts_with("on") && attribute.len() > 4 {
            page.handlers += 1;
            page.script.push_str(value);
            page.script.push('\n');
        }
        let is_link = matches!(attribute.as_str(), "href" | "xlink:href" | "action" | "src" | "data");
        if is_link && begins(value, "javascript:") {
            page.handlers += 1;
            page.script.push_str(value);
        }
        if is_link
            && (begins(value, "http:") || begins(value, "https:"))
            && page.urls.len() < FILE_URLS_MAX
            && !page.urls.contains(value)
        {
            page.urls.push(value.trim().to_owned());
        }
    }
    match name {
        "form" => page.forms.push(get("action").unwrap_or_default()),
        "input" => {
            let kind = get("type").unwrap_or_default().to_ascii_lowercase();
            page.fields += usize::from(kind != "hidden");
            let hint =
                [get("name"), get("id"), get("placeholder")].into_iter().flatten().collect::<String>().to_lowercase();
            page.password_field |= kind == "password" || kind != "hidden" && hint.contains("passw");
        }
        "meta" if get("http-equiv").is_some_and(|h| h.eq_ignore_ascii_case("refresh")) => {
            let content = get("content").unwrap_or_default();
            let at = content.to_ascii_lowercase().find("url=");
            page.refresh = at.map(|at| content[at + 4..].trim_matches(['\'', '"', ' ']).to_owned());
            page.urls.extend(page.refresh.clone().filter(|u| u.contains("://")));
        }
        "a" => page.download |= attributes.iter().any(|(n, _)| n == "download"),
        "script" => page.handlers += 1,
        "foreignobject" | "iframe" | "embed" | "object" => page.foreign_object = true,
        _ => {}
    }
}

fn judge_form(page: &Page) -> Option<Trait> {
    let targets = page.forms.iter().filter(|a| a.contains("://")).cloned().collect::<Vec<_>>();
    // without a target of its own a script or the page's address takes what is typed
    let form = page.password_field || (page.fields > 0 && !targets.is_empty());
    form.then(|| Trait::Form { password: page.password_field, target: targets.first().cloned().unwrap_or_default() })
}

/// What makes text out of something that nobody can read.
const DECODERS: [&str; 9] = [
    "atob(",
    "unescape(",
    "fromcharcode",
    "charcodeat",
    "decodeuricomponent(",
    "parseint(",
    "uint8array",
    "cryptojs",
    "string.raw",
];
/// What makes a page, or code, out of text.
const BUILDERS: [&str; 8] = [
    "document.write",
    "innerhtml",
    "eval(",
    "function(",
    "insertadjacenthtml",
    "outerhtml",
    "srcdoc",
    "createelement(",
];
/// A literal of that length without a blank is packed data.
const PACKED_CHARS_MIN: usize = 400;

fn judge_script(page: &Page, is_svg: bool) -> Option<Trait> {
    if page.handlers == 0 {
        return None;
    }
    let script = page.script.to_lowercase();
    let decoder = DECODERS.into_iter().find(|w| script.contains(w));
    let builder =
        BUILDERS.into_iter().find(|w| script.contains(w) && (*w != "function(" || script.contains("new function(")));
    let packed = page.script.split(|c: char| c.is_whitespace()).any(|w| w.len() >= PACKED_CHARS_MIN);
    let hides = match (decoder, builder) {
        // a page that says something itself and has an ordinary script beside it builds nothing secretly
        (Some(d), Some(b)) if packed || page.text.len() < SHORT_TEXT_OCTETS => {
            Some(format!("{}, {}", d.trim_end_matches('('), b.trim_end_matches('(')))
        }
        _ => None,
    };
    match hides {
        Some(how) => Some(Trait::BuildsPage(how)),
        None => (is_svg || page.handlers > 0).then_some(Trait::Script),
    }
}

/// A page that is there to be read says more.
const SHORT_TEXT_OCTETS: usize = 300;

fn judge_redirect(page: &Page) -> Option<Trait> {
    if let Some(target) = page.refresh.as_ref().filter(|t| t.contains("://") || t.starts_with("//")) {
        return Some(Trait::Redirect(target.clone()));
    }
    let script: String = page.script.to_lowercase().chars().filter(|c| !c.is_whitespace()).collect();
    let goes = [
        "location.href=",
        "location.replace(",
        "location.assign(",
        "window.location=",
        "document.location=",
        "top.location=",
        "self.location=",
    ];
    let found = goes.into_iter().any(|w| script.contains(w)) || script.starts_with("location=");
    (found && page.text.len() < SHORT_TEXT_OCTETS)
        .then(|| Trait::Redirect(page.script.trim().chars().take(120).collect()))
}

/// A file made inside the page and handed over as a download: it passes every gate as text.
fn judge_smuggling(page: &Page) -> Option<Trait> {
    let script = page.script.to_lowercase();
    let has = |words: &[&'static str]| words.iter().copied().find(|w| script.contains(w));
    let makes = has(&["new blob", "new file(", "msblobbuilder", "data:application/"])?;
    let decodes = has(&["atob(", "uint8array", "fromcharcode", "base64", "charcodeat"])?;
    let hands_over = has(&[
        "mssaveoropenblob",
        "mssaveblob",
        ".download",
        "setattribute('download",
        "setattribute(\"download",
        "saveas(",
    ])
    .or(page.download.then_some("download"))
    .or(has(&["createobjecturl"]).filter(|_| script.contains(".click(") || script.contains("location")))?;
    Some(Trait::Smuggling(format!("{decodes}, {makes}, {hands_over}").replace('(', "")))
}

fn begins(value: &str, scheme: &str) -> bool {
    let value = value.trim_start();
    value.get(..scheme.len()).is_some_and(|v| v.eq_ignore_ascii_case(scheme))
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
