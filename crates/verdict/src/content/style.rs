//! What a style hides. Only what decides whether text is seen is read of CSS.

use crate::limits;
use std::collections::HashSet;

pub type Colour = (u8, u8, u8);
/// Difference of each channel below which nobody tells two colours apart.
const COLOURS_ALIKE: u8 = 12;
/// Letters of this size and less are dust.
const FONT_PX_MIN: f32 = 2.0;
const OPACITY_MIN: f32 = 0.06;
/// Outside of every screen.
const OFF_SCREEN_PX: f32 = -900.0;

/// What a style says of its element; `None` where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Style {
    /// Neither it nor what is inside is shown, whatever stands there.
    pub is_gone: bool,
    /// `visibility` and `font-size`: what is inside may say otherwise.
    pub is_invisible: Option<bool>,
    pub is_tiny: Option<bool>,
    pub colour: Option<Colour>,
    pub background: Option<Background>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Background {
    Plain(Colour),
    /// A picture, or something that is not worked out.
    Unknown,
}

pub fn alike(a: Colour, b: Colour) -> bool {
    a.0.abs_diff(b.0) <= COLOURS_ALIKE && a.1.abs_diff(b.1) <= COLOURS_ALIKE && a.2.abs_diff(b.2) <= COLOURS_ALIKE
}

/// The value of a `style` attribute.
pub fn inline(style: &str) -> Style {
    let mut seen = Style::default();
    let (mut is_clipped, mut is_flat, mut is_outside, mut is_placed) = (false, false, false, false);
    for declaration in style.split(';') {
        let Some((name, value)) = declaration.split_once(':') else { continue };
        let name = name.trim().to_ascii_lowercase();
        let value = value.trim().to_ascii_lowercase();
        let value = value.split("!important").next().unwrap_or_default().trim();
        match name.as_str() {
            "display" => seen.is_gone |= value == "none",
            "mso-hide" => seen.is_gone |= value == "all",
            "opacity" => seen.is_gone |= value.parse::<f32>().is_ok_and(|o| o < OPACITY_MIN),
            "visibility" => seen.is_invisible = Some(matches!(value, "hidden" | "collapse")),
            "font-size" => seen.is_tiny = size_is_tiny(value).or(seen.is_tiny),
            "font" => {
                seen.is_tiny = value.split([' ', '/']).find_map(size_is_tiny).or(seen.is_tiny);
            }
            "overflow" | "overflow-x" | "overflow-y" => is_clipped |= value == "hidden",
            "height" | "max-height" | "width" | "max-width" => is_flat |= px(value).is_some_and(|p| p < FONT_PX_MIN),
            "text-indent" => seen.is_gone |= px(value).is_some_and(|p| p < OFF_SCREEN_PX),
            "left" | "top" | "margin-left" | "margin-top" => is_outside |= px(value).is_some_and(|p| p < OFF_SCREEN_PX),
            "position" => is_placed |= matches!(value, "absolute" | "fixed"),
            "color" if value == "transparent" => seen.is_invisible = Some(true),
            "color" => seen.colour = colour(value).or(seen.colour),
            "background" | "background-color" if !matches!(value, "transparent" | "none" | "inherit" | "") => {
                let plain = value.split_whitespace().next().filter(|_| !value.contains("url(")).and_then(colour);
                seen.background = Some(plain.map_or(Background::Unknown, Background::Plain));
            }
            "background-image" if value != "none" => seen.background = Some(Background::Unknown),
            _ => {}
        }
    }
    seen.is_gone |= (is_clipped && is_flat) || (is_placed && is_outside);
    seen
}

/// `None` where the size is relative, and so as tiny as what stands around.
fn size_is_tiny(value: &str) -> Option<bool> {
    if value == "0" {
        return Some(true);
    }
    if let Some(pixels) = px(value) {
        return Some(pixels <= FONT_PX_MIN);
    }
    matches!(value, "xx-small" | "x-small" | "small" | "medium" | "large" | "x-large" | "xx-large").then_some(false)
}

/// Absolute lengths, points and others roughly.
fn px(value: &str) -> Option<f32> {
    if value == "0" {
        return Some(0.0);
    }
    let unit = value.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+'))?;
    let number: f32 = value[..unit].parse().ok()?;
    match value[unit..].trim() {
        "px" => Some(number),
        "pt" => Some(number * 4.0 / 3.0),
        "cm" | "mm" | "in" | "pc" => Some(number * 16.0),
        "em" | "rem" | "%" | "vw" | "vh" | "ex" | "ch" if number <= 0.0 => Some(number * 16.0),
        _ => None,
    }
}

/// `#rgb`, `#rrggbb`, `rgb(…)` and the names that are met.
pub fn colour(value: &str) -> Option<Colour> {
    let value = value.trim();
    let hex = value.strip_prefix('#').unwrap_or(value);
    if hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        let n = |at: usize, len: usize| u8::from_str_radix(hex.get(at..at + len)?, 16).ok();
        match hex.len() {
            3 | 4 => return Some((n(0, 1)? * 17, n(1, 1)? * 17, n(2, 1)? * 17)),
            6 | 8 => return Some((n(0, 2)?, n(2, 2)?, n(4, 2)?)),
            _ => {}
        }
    }
    if let Some(rest) = value.strip_prefix("rgb") {
        let inner = rest.trim_start_matches('a').trim().strip_prefix('(')?.split(')').next()?;
        let mut channels = inner
            .split([',', ' ', '/'])
            .filter(|c| !c.is_empty())
            .map(|c| c.parse::<f32>().ok().map(|n| n.clamp(0.0, 255.0) as u8));
        return Some((channels.next()??, channels.next()??, channels.next()??));
    }
    Some(match value {
        "white" | "window" => (255, 255, 255),
        "black" | "windowtext" => (0, 0, 0),
        "red" => (255, 0, 0),
        "green" => (0, 128, 0),
        "blue" => (0, 0, 255),
        "yellow" => (255, 255, 0),
        "gray" | "grey" => (128, 128, 128),
        "silver" => (192, 192, 192),
        "lightgray" | "lightgrey" => (211, 211, 211),
        "whitesmoke" => (245, 245, 245),
        "snow" | "ghostwhite" | "ivory" | "floralwhite" => (252, 250, 250),
        "navy" => (0, 0, 128),
        "orange" => (255, 165, 0),
        _ => return None,
    })
}

/// Names (`.class`, `#id`) whose rules outside of any `@media` hide what carries them.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    hiding: HashSet<String>,
    pub octets: usize,
}

impl Sheet {
    pub fn add(&mut self, css: &str) {
        let room = limits::STYLE_OCTETS_MAX.saturating_sub(self.octets);
        self.octets += css.len();
        let mut rest = css.get(..room).unwrap_or(css);
        while let Some(open) = rest.find('{') {
            let selectors = &rest[..open];
            if selectors.contains('@') {
                // what holds only for some screens or some programs is not worked out
                rest = behind_block(&rest[open..]);
                continue;
            }
            let Some(close) = rest[open..].find('}') else { return };
            if inline(&rest[open + 1..open + close]).is_gone {
                self.hide(selectors);
            }
            rest = &rest[open + close + 1..];
        }
    }

    fn hide(&mut self, selectors: &str) {
        for selector in selectors.split(',').map(str::trim) {
            // only what a single name decides
            let name = &selector[selector.find(['.', '#']).unwrap_or(selector.len())..];
            let is_one =
                name.len() > 1 && name[1..].bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            if is_one && !selector.contains(char::is_whitespace) && self.hiding.len() < limits::STYLE_NAMES_MAX {
                self.hiding.insert(name.to_ascii_lowercase());
            }
        }
    }

    pub fn hides(&self, class: &str, id: &str) -> bool {
        let named = |sign: &str, name: &str| self.hiding.contains(&format!("{sign}{}", name.to_ascii_lowercase()));
        !self.hiding.is_empty()
            && (class.split_ascii_whitespace().any(|c| named(".", c)) || (!id.is_empty() && named("#", id)))
    }
}

/// Behind the block that begins there, its inner blocks counted.
fn behind_block(css: &str) -> &str {
    let mut depth = 0_usize;
    for (at, b) in css.bytes().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return &css[at + 1..];
                }
            }
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_and_what_does_not() {
        for hides in [
            "display:none",
            "color:red; DISPLAY : None !important",
            "mso-hide:all",
            "opacity:0",
            "max-height:0px;overflow:hidden",
            "position:absolute;left:-9999px",
            "text-indent:-9999px",
        ] {
            assert!(inline(hides).is_gone, "{hides}");
        }
        for shows in
            ["display:block", "opacity:.9", "max-height:0", "overflow:hidden;height:40px", "left:-9999px", "width:100%"]
        {
            assert!(!inline(shows).is_gone, "{shows}");
        }
        for (size, tiny) in [
            ("0", Some(true)),
            ("1px", Some(true)),
            ("1pt", Some(true)),
            ("14px", Some(false)),
            ("1.2em", None),
            ("0em", Some(true)),
        ] {
            assert_eq!(inline(&format!("font-size:{size}")).is_tiny, tiny, "{size}");
        }
        assert_eq!(inline("font:0/0 a").is_tiny, Some(true));
    }

    #[test]
    fn colours_are_read() {
        for (written, seen) in [
            ("#fff", (255, 255, 255)),
            ("#FEFEFE", (254, 254, 254)),
            ("rgb(1, 2,3)", (1, 2, 3)),
            ("rgba(9 8 7 / 0.5)", (9, 8, 7)),
            ("white", (255, 255, 255)),
        ] {
            assert_eq!(colour(&written.to_ascii_lowercase()), Some(seen), "{written}");
        }
        assert_eq!(inline("background:url(x) white").background, Some(Background::Unknown));
        assert_eq!(inline("background:#fff none").background, Some(Background::Plain((255, 255, 255))));
        assert_eq!((colour("inherit"), colour("#ggg")), (None, None));
    }

    #[test]
    fn style_sheets_hide_by_name() {
        let mut sheet = Sheet::default();
        sheet.add("body{color:red} .salt, p.x , #y { display:none } @media (max-width:600px){ .phone{display:none} .a .b{display:none} } .later{display:none}");
        assert!(sheet.hides("a salt", "") && sheet.hides("x", "") && sheet.hides("", "y") && sheet.hides("later", ""));
        assert!(!sheet.hides("phone", "") && !sheet.hides("b", "x") && !sheet.hides("body", ""));
    }
}
