//! Which elements and attributes are told apart, and what an element does to the text around it.

/// What an element is to its neighbours (HTML §13.2.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Block,
    Paragraph,
    Cell,
    /// `tr` and the like
    Row,
    Void,
    /// Begins a line and holds nothing.
    Break,
    Formatting,
    Inline,
}

impl Role {
    pub fn breaks(self) -> bool {
        matches!(self, Role::Block | Role::Paragraph | Role::Cell | Role::Row | Role::Break)
    }
    pub fn ends_paragraph(self) -> bool {
        matches!(self, Role::Block | Role::Paragraph)
    }
    pub fn is_special(self) -> bool {
        matches!(self, Role::Block | Role::Paragraph | Role::Cell | Role::Row)
    }
}

macro_rules! names {
    ($value:expr, $($name:literal)*) => {
        match $value {
            $(n if n == $name.as_bytes() => Some($name),)*
            _ => None,
        }
    };
}

/// Lower case, as the tokenizer gives it; all that is not told apart is one.
pub fn name(name: &[u8]) -> &'static str {
    let known = match name.len() {
        1 => names!(name, "a" "p" "b" "i" "u" "s"),
        2 => {
            names!(name, "td" "tr" "br" "li" "ul" "ol" "th" "h1" "h2" "h3" "h4" "h5" "h6" "hr" "em" "dl" "dt" "dd" "tt")
        }
        3 => names!(name, "img" "div" "map" "pre" "big" "nav" "xmp" "col" "wbr" "svg" "sub" "sup"),
        4 => names!(name, "span" "font" "area" "meta" "base" "form" "body" "html" "head" "code" "link" "main"),
        5 => {
            names!(name, "table" "tbody" "input" "style" "title" "small" "thead" "tfoot" "label" "frame" "embed" "image" "param")
        }
        6 => {
            names!(name, "center" "strong" "button" "select" "option" "script" "iframe" "object" "strike" "header" "footer" "v:fill" "v:rect" "figure")
        }
        7 => names!(name, "section" "article" "address" "caption" "noembed" "details" "summary" "v:shape"),
        8 => names!(name, "textarea" "noscript" "noframes" "fieldset"),
        9 => names!(name, "plaintext"),
        10 => names!(name, "blockquote" "figcaption"),
        11 => names!(name, "v:roundrect" "v:imagedata"),
        _ => None,
    };
    known.unwrap_or("?")
}

pub fn role(name: &str) -> Role {
    match name {
        "p" => Role::Paragraph,
        "td" | "th" => Role::Cell,
        "tr" | "tbody" | "thead" | "tfoot" => Role::Row,
        "br" | "hr" => Role::Break,
        "img" | "area" | "meta" | "base" | "input" | "link" | "embed" | "frame" | "col" | "wbr" | "image" | "param"
        | "v:fill" | "v:imagedata" => Role::Void,
        "a" | "b" | "i" | "u" | "s" | "em" | "tt" | "big" | "font" | "code" | "small" | "strong" | "strike" => {
            Role::Formatting
        }
        "span" | "sub" | "sup" | "label" | "map" | "svg" | "button" | "select" | "object" | "noscript" | "?"
        | "title" | "style" | "script" | "iframe" | "textarea" | "noembed" | "noframes" | "v:rect" | "v:shape"
        | "v:roundrect" | "html" | "head" | "xmp" => Role::Inline,
        _ => Role::Block,
    }
}

pub fn attribute(name: &[u8]) -> Option<&'static str> {
    match name.len() {
        2 => names!(name, "id"),
        3 => names!(name, "src" "alt"),
        4 => names!(name, "href" "type" "data"),
        5 => names!(name, "style" "class" "color" "width" "value"),
        6 => names!(name, "height" "hidden" "action"),
        7 => names!(name, "bgcolor" "content"),
        10 => names!(name, "background" "http-equiv" "formaction"),
        _ => None,
    }
}
