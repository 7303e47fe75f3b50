//! From a tokenizer's events to a page.

use super::elements::{self, Role};
use super::sink::{Gap, Sink};
use super::{Form, Image, Link, Page};
use crate::content::letters::Watch;
use crate::content::style::{self, Background, Colour, Sheet, Style};
use crate::limits;
use html5gum::emitters::callback::{Callback, CallbackEmitter, CallbackEvent};
use html5gum::{Emitter, ForwardingEmitter, Span, State, Tokenizer};
use std::borrow::Cow;

/// `in_comment`: the inside of a comment that Outlook takes for markup.
pub fn read(html: &str, in_comment: bool) -> Page {
    let reading = Reading { in_comment, ..Reading::default() };
    let quiet = Quiet { events: CallbackEmitter::new(reading), page: None };
    let Some(Ok(page)) = Tokenizer::new_with_emitter(html, quiet).next() else { return Page::default() };
    page
}

/// Nobody asks for the errors of mail's HTML, and looking for them costs more than reading it. Which elements hold no
/// markup is told here too: in `noscript` there is some where no script runs.
/// The one thing that comes out is the page, at the end.
struct Quiet {
    events: CallbackEmitter<Reading, Page>,
    page: Option<Page>,
}

impl ForwardingEmitter for Quiet {
    type Token = Page;
    fn inner(&mut self) -> &mut impl Emitter<Token = Page> {
        &mut self.events
    }
    fn pop_token(&mut self) -> Option<Page> {
        self.page.take()
    }
    fn emit_eof(&mut self) {
        self.events.emit_eof();
        self.page = Some(std::mem::take(self.events.callback_mut()).finish());
    }
    fn should_emit_errors(&mut self) -> bool {
        false
    }
    fn emit_error(&mut self, _: html5gum::Error) {}
    fn emit_current_tag(&mut self) -> Option<State> {
        let _ = self.events.emit_current_tag();
        let state = self.events.callback_mut().raw.take();
        if state.is_some() {
            self.events.init_string();
        }
        state
    }
}

/// An element that is open, as far as it decides what is seen inside.
#[derive(Clone, Copy, Debug)]
struct Open {
    name: &'static str,
    role: Role,
    is_gone: bool,
    is_invisible: bool,
    is_tiny: bool,
    colour: Option<Colour>,
    background: Option<Background>,
    /// A style sheet may say what is not seen here.
    is_named: bool,
}

const ROOT: Open = Open {
    name: "",
    role: Role::Block,
    is_gone: false,
    is_invisible: false,
    is_tiny: false,
    colour: None,
    background: None,
    is_named: false,
};

impl Open {
    fn hides(&self) -> bool {
        self.is_gone || self.is_invisible || self.is_tiny || self.is_drowned()
    }
    /// Text in the colour of what is behind it; a page without any background is white.
    fn is_drowned(&self) -> bool {
        match (self.colour, self.background) {
            (Some(text), Some(Background::Plain(behind))) => style::alike(text, behind),
            (Some(text), None) => !self.is_named && style::alike(text, (255, 255, 255)),
            _ => false,
        }
    }
}

/// What follows is no markup, and what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Inside {
    #[default]
    Markup,
    Title,
    Style,
    /// Scripts and what stands for frames: never shown.
    Nothing,
}

/// A link that is open: where it stands among the page's, and its text so far.
#[derive(Debug)]
struct OpenLink {
    index: usize,
    text: Sink,
    alt: String,
}

#[derive(Debug, Default)]
struct Reading {
    page: Page,
    in_comment: bool,
    /// The state that the tokenizer goes on in.
    raw: Option<State>,
    inside: Inside,
    tag: &'static str,
    in_tag: bool,
    attribute: Option<&'static str>,
    attributes: Vec<(&'static str, String)>,
    open: Vec<Open>,
    sheet: Sheet,
    seen: Sink,
    hidden: Sink,
    watch: Watch,
    link: Option<OpenLink>,
    in_form: bool,
}

impl Callback<Page, ()> for Reading {
    fn handle_event(&mut self, event: CallbackEvent<'_>, _: Span<()>) -> Option<Page> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.tag = elements::name(name);
                self.in_tag = true;
                self.attributes.clear();
            }
            CallbackEvent::AttributeName { name } => {
                self.attribute = elements::attribute(name).filter(|_| self.in_tag);
                if let Some(name) = self.attribute {
                    // HTML §13.2.5.33: of attributes of one name the first counts
                    match self.has(name) {
                        true => self.attribute = None,
                        false => self.attributes.push((name, String::new())),
                    }
                }
            }
            CallbackEvent::AttributeValue { value } => {
                if let (Some(_), Some((_, written))) = (self.attribute.take(), self.attributes.last_mut()) {
                    let value = &value[..value.len().min(limits::URL_OCTETS_MAX)];
                    written.push_str(&lossy(value));
                }
            }
            CallbackEvent::CloseStartTag { self_closing } => self.start(self_closing),
            CallbackEvent::EndTag { name } => {
                self.in_tag = false;
                self.end(elements::name(name));
            }
            CallbackEvent::String { value } => self.text(value),
            CallbackEvent::Comment { value } => self.comment(value),
            CallbackEvent::Doctype { .. } | CallbackEvent::Error(_) => {}
        }
        None
    }
}

impl Reading {
    fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(n, _)| *n == name)
    }
    fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }
    fn address(&self, name: &str) -> String {
        // URL standard §4.4: outer blanks and every line end are nothing
        self.attribute(name)
            .trim_matches(|c: char| c <= ' ')
            .chars()
            .filter(|c| !matches!(c, '\t' | '\r' | '\n'))
            .collect()
    }
    fn top(&self) -> Open {
        self.open.last().copied().unwrap_or(ROOT)
    }

    fn start(&mut self, self_closing: bool) {
        self.in_tag = false;
        let (name, role) = (self.tag, elements::role(self.tag));
        self.close_implied(name, role);
        let here = self.opened(name, role);
        if role.breaks() {
            self.gap(role);
        }
        match name {
            "a" | "area" => self.start_link(name, &here),
            "img" | "image" | "v:fill" | "v:imagedata" => self.image(&here),
            "form" => self.form(),
            "input" | "textarea" | "button" | "select" => self.field(name),
            "meta" if self.attribute("http-equiv").eq_ignore_ascii_case("refresh") => self.refresh(),
            "base" if self.page.base.is_none() && self.has("href") => self.page.base = Some(self.address("href")),
            "iframe" | "frame" | "embed" => self.frame("src"),
            "object" => self.frame("data"),
            "script" => self.page.has_script = true,
            "v:roundrect" | "v:rect" | "v:shape" if self.has("href") => self.start_link(name, &here),
            _ => {}
        }
        (self.raw, self.inside) = match name {
            "title" => (Some(State::RcData), Inside::Title),
            "textarea" => (Some(State::RcData), Inside::Markup),
            "style" => (Some(State::RawText), Inside::Style),
            "xmp" => (Some(State::RawText), Inside::Markup),
            "script" => (Some(State::ScriptData), Inside::Nothing),
            "iframe" | "noembed" | "noframes" => (Some(State::RawText), Inside::Nothing),
            "plaintext" => (Some(State::PlainText), Inside::Markup),
            _ => (None, self.inside),
        };
        if !matches!(role, Role::Void | Role::Break)
            && !self_closing_counts(name, self_closing)
            && self.open.len() < limits::HTML_DEPTH_MAX
        {
            self.open.push(here);
        }
    }

    /// What the element that begins makes of what is around it.
    fn opened(&mut self, name: &'static str, role: Role) -> Open {
        let mut style = if self.has("style") { style::inline(self.attribute("style")) } else { Style::default() };
        style.is_gone |= self.has("hidden") || self.sheet.hides(self.attribute("class"), self.attribute("id"));
        if name == "font" && self.has("color") {
            style.colour = style.colour.or(style::colour(&self.attribute("color").to_ascii_lowercase()));
        }
        if self.has("bgcolor") && style.background.is_none() {
            style.background = style::colour(&self.attribute("bgcolor").to_ascii_lowercase()).map(Background::Plain);
        }
        if self.has("background") {
            style.background = Some(Background::Unknown);
        }
        let around = self.top();
        Open {
            name,
            role,
            is_gone: around.is_gone || style.is_gone,
            is_invisible: style.is_invisible.unwrap_or(around.is_invisible),
            is_tiny: style.is_tiny.unwrap_or(around.is_tiny),
            colour: style.colour.or(around.colour),
            background: style.background.or(around.background),
            is_named: around.is_named || self.has("class") || self.has("id"),
        }
    }

    /// HTML §13.2.6.4.7: elements that another one ends by beginning.
    fn close_implied(&mut self, name: &str, role: Role) {
        let ends = |open: &Open| match name {
            "li" => open.name == "li",
            "td" | "th" => matches!(open.name, "td" | "th"),
            "tr" => matches!(open.name, "td" | "th" | "tr"),
            "option" => open.name == "option",
            "a" => open.name == "a",
            _ => role.ends_paragraph() && open.name == "p",
        };
        let stops = |open: &Open| match name {
            "td" | "th" | "tr" | "li" => matches!(open.name, "table" | "ul" | "ol"),
            _ => matches!(open.name, "table" | "td" | "th"),
        };
        let (len, mut cut) = (self.open.len(), None);
        for (n, open) in self.open.iter().enumerate().rev().take(limits::HTML_SEARCH_MAX) {
            if ends(open) {
                cut = Some(n);
            } else if stops(open) {
                break;
            }
        }
        if let Some(n) = cut.filter(|n| *n < len) {
            self.open.truncate(n);
        }
        if name == "a" {
            self.end_link();
        }
    }

    fn end(&mut self, name: &'static str) {
        self.inside = Inside::Markup;
        let role = elements::role(name);
        if role.breaks() || name == "p" {
            self.gap(role);
        }
        match name {
            "a" | "v:roundrect" | "v:rect" | "v:shape" => self.end_link(),
            "form" => self.in_form = false,
            _ => {}
        }
        let back = self.open.iter().enumerate().rev().take(limits::HTML_SEARCH_MAX);
        for (n, open) in back {
            if open.name == name {
                match role {
                    // HTML §13.2.6.4.7, adoption agency: what was opened inside goes on
                    Role::Formatting => _ = self.open.remove(n),
                    _ => self.open.truncate(n),
                }
                return;
            }
            // an end tag of something small does not reach over something large; none leaves its cell
            let is_wall = match role {
                Role::Inline => open.role.is_special(),
                Role::Block | Role::Paragraph if name != "table" => matches!(open.name, "table" | "td" | "th"),
                _ => open.name == "table",
            };
            if is_wall {
                return;
            }
        }
    }

    fn gap(&mut self, role: Role) {
        let gap = if role == Role::Cell { Gap::Space } else { Gap::Break };
        self.seen.gap(gap);
        self.hidden.gap(gap);
        self.watch.end_word();
        if let Some(link) = &mut self.link {
            link.text.gap(Gap::Space);
        }
    }

    fn text(&mut self, value: &[u8]) {
        let text = lossy(value);
        match self.inside {
            Inside::Markup => {}
            Inside::Title => return self.page.title.push_str(cut(text.trim(), limits::LINK_TEXT_OCTETS_MAX)),
            Inside::Style => return self.sheet.add(&text),
            Inside::Nothing => return,
        }
        if self.top().hides() {
            self.hidden.push(&text, limits::TEXT_OCTETS_MAX);
        } else {
            self.watch.feed(&text);
            self.seen.push(&text, limits::TEXT_OCTETS_MAX);
        }
        if let Some(link) = &mut self.link {
            link.text.push(&text, limits::LINK_TEXT_OCTETS_MAX);
        }
    }

    /// Outlook for Windows reads what stands in its conditional comments; others read none.
    fn comment(&mut self, value: &[u8]) {
        let Some(at) = value.iter().position(|b| *b == b'>').filter(|_| !self.in_comment) else { return };
        let condition = value[..at].trim_ascii_start();
        if !condition.starts_with(b"[if") || condition.contains(&b'!') || !value[at..].contains(&b'<') {
            return;
        }
        let inner = read(&String::from_utf8_lossy(&value[at + 1..]), true);
        let room = |len: usize| limits::PAGE_ITEMS_MAX.saturating_sub(len);
        self.page.links.extend(inner.links.into_iter().take(room(self.page.links.len())));
        self.page.images.extend(inner.images.into_iter().take(room(self.page.images.len())));
        self.page.forms.extend(inner.forms.into_iter().take(room(self.page.forms.len())));
    }

    fn start_link(&mut self, name: &str, here: &Open) {
        if !self.has("href") {
            return;
        }
        if self.page.links.len() >= limits::PAGE_ITEMS_MAX {
            self.page.is_cut = true;
            return;
        }
        let link = Link { href: self.address("href"), is_hidden: here.hides(), ..Link::default() };
        self.page.links.push(link);
        let alt = self.attribute("alt").to_owned();
        self.end_link();
        self.link = Some(OpenLink { index: self.page.links.len() - 1, text: Sink::default(), alt });
        if name == "area" {
            self.end_link();
        }
    }

    fn end_link(&mut self) {
        let Some(open) = self.link.take() else { return };
        if let Some(link) = self.page.links.get_mut(open.index) {
            link.text = if open.text.text.is_empty() { open.alt } else { open.text.text };
        }
    }

    fn image(&mut self, here: &Open) {
        let src = self.address("src");
        let src = if src.len() > 5 && src.as_bytes()[..5].eq_ignore_ascii_case(b"data:") {
            cut(&src, 100).to_owned()
        } else {
            src
        };
        let size = |name: &str| {
            let value = self.attribute(name).trim();
            let digits = value.bytes().take_while(u8::is_ascii_digit).count();
            matches!(value[digits..].trim(), "" | "px").then(|| value[..digits].parse().ok()).flatten()
        };
        let image = Image {
            alt: self.attribute("alt").trim().to_owned(),
            width: size("width"),
            height: size("height"),
            is_link: self.link.is_some(),
            is_hidden: here.hides(),
            src,
        };
        if let Some(link) = &mut self.link {
            if let Some(outer) = self.page.links.get_mut(link.index) {
                outer.has_image = true;
            }
            if link.alt.is_empty() {
                link.alt.clone_from(&image.alt);
            }
        }
        match self.page.images.len() < limits::PAGE_ITEMS_MAX {
            true => self.page.images.push(image),
            false => self.page.is_cut = true,
        }
    }

    fn form(&mut self) {
        self.in_form = true;
        if self.page.forms.len() < limits::PAGE_ITEMS_MAX {
            self.page.forms.push(Form { action: self.address("action"), ..Form::default() });
        }
    }

    /// A field, in a form or not: scripts send what no form does.
    fn field(&mut self, name: &str) {
        let kind = self.attribute("type").to_ascii_lowercase();
        let is_button = name == "button" || matches!(kind.as_str(), "submit" | "button" | "image" | "reset");
        if is_button || kind == "hidden" {
            if is_button && self.has("formaction") {
                self.page.forms.push(Form { action: self.address("formaction"), ..Form::default() });
            }
            if name == "input" && is_button && !self.top().hides() {
                let value = self.attribute("value").to_owned();
                self.seen.push(&value, limits::TEXT_OCTETS_MAX);
            }
            return;
        }
        if !self.in_form {
            self.in_form = true;
            self.page.forms.push(Form::default());
        }
        if let Some(form) = self.page.forms.last_mut() {
            form.has_password |= kind == "password";
            form.has_text |= matches!(kind.as_str(), "" | "text" | "email" | "tel" | "number") && name != "select";
        }
    }

    /// `5; url='https://…'`
    fn refresh(&mut self) {
        let content = self.attribute("content");
        let Some((_, rest)) = content.split_once([';', ',']) else { return };
        let rest = rest.trim_start();
        let is_named = rest.get(..3).is_some_and(|u| u.eq_ignore_ascii_case("url"));
        let target = if is_named { rest[3..].trim_start().trim_start_matches('=') } else { rest };
        self.page.refresh = Some(target.trim().trim_matches(['"', '\'']).to_owned());
    }

    fn frame(&mut self, name: &str) {
        if self.has(name) && self.page.frames.len() < limits::PAGE_ITEMS_MAX {
            self.page.frames.push(self.address(name));
        }
    }

    fn finish(mut self) -> Page {
        self.end_link();
        self.page.text = self.seen.text;
        self.page.hidden = self.hidden.text;
        self.page.odd = self.watch.odd();
        self.page
    }
}

/// Only in foreign elements does `/>` close anything (HTML §13.2.6.5).
fn self_closing_counts(name: &str, self_closing: bool) -> bool {
    self_closing && name.starts_with("v:")
}

/// Nearly all is UTF-8 already; the library looks for what is not letter by letter.
fn lossy(octets: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(octets).map_or_else(|_| String::from_utf8_lossy(octets), Cow::Borrowed)
}

fn cut(text: &str, octets_max: usize) -> &str {
    let mut end = text.len().min(octets_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
