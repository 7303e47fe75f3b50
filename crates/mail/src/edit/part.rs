//! The edits of one text part: banner in, banners out, links, together, in the text's own octets; then written down in
//! the part's own transfer encoding.

use super::charset::Charset;
use super::{Banner, Change, Edit, Edited, Splice, UrlMap, html, in_order, links, text, transfer};
use crate::limits::WORDING_CHARS_MIN;
use crate::structure::{TextPart, is_small};
use transfer::Decoded;

/// The changes of an encoded body, or why there are none.
pub(crate) fn changes(body: &[u8], part: &TextPart, edits: &[Edit], told: &mut Edited) -> Result<Vec<Splice>, String> {
    if !is_small(part) {
        return Err("larger than what is edited".into());
    }
    let charset = Charset::named(part.charset.as_deref()).ok_or_else(|| {
        format!("in charset {:?} the octets of ASCII may mean something else", part.charset.as_deref().unwrap_or(""))
    })?;
    let decoded = transfer::decode(body, part.transfer)?;
    let masked = charset.masked(&decoded.bytes);
    let tokens = if part.is_html { html::tokens(&masked) } else { Vec::new() };
    let text = Text { part, decoded: &decoded, charset, masked: &masked, tokens };
    let mut all = Vec::new();
    for edit in edits {
        let (found, words): (Vec<Change>, _) = match edit {
            Edit::Banner(banner) if part.is_first => (vec![text.banner(banner).into()], "banner above"),
            Edit::RemoveBanner { wordings } => {
                (text.banners(wordings).into_iter().map(Change::from).collect(), "banner of ours taken out of")
            }
            Edit::RewriteUrls(map) => (text.rewritten(map), "links rewritten in"),
            Edit::RestoreUrls(map) => (text.restored(map), "rewritten links are the original ones again in"),
            _ => continue,
        };
        let wanted = found.len();
        let taken = decoded.taken(found);
        if taken.len() < wanted {
            let left = wanted - taken.len();
            told.left.push(format!("part {}: {left} links, their lines would be too long", part.name));
        }
        if !taken.is_empty() {
            told.made.push(format!("{words} part {}", part.name));
        }
        all.extend(taken);
    }
    Ok(decoded.written(in_order(all)))
}

struct Text<'a> {
    part: &'a TextPart,
    decoded: &'a Decoded<'a>,
    charset: Charset,
    /// The octets in which signs of HTML are such.
    masked: &'a [u8],
    tokens: Vec<html5gum::Token<usize>>,
}

impl Text<'_> {
    fn banner(&self, banner: &Banner) -> Splice {
        let mark = self.charset.mark(&self.decoded.bytes);
        if self.part.is_html {
            let at = html::place_of_banner(self.masked, &self.tokens).max(mark);
            return Splice { range: at..at, new: html::block(&banner.html) };
        }
        Splice { range: mark..mark, new: self.sayable(&text::banner(&banner.text, self.part.flowed)) }
    }

    /// In the part's charset, or in letters of ASCII where that lacks one or only seven bits go through.
    fn sayable(&self, words: &str) -> Vec<u8> {
        let fits = |octets: &Vec<u8>| self.decoded.takes_eight_bits() || octets.is_ascii();
        self.charset.encode(words).filter(fits).unwrap_or_else(|| any_ascii::any_ascii(words).into_bytes())
    }

    fn banners(&self, wordings: &[String]) -> Vec<Splice> {
        let wordings = known(wordings);
        if self.part.is_html {
            let found = html::banners(&self.decoded.bytes, &self.tokens, self.charset, &wordings);
            return found.into_iter().map(|range| Splice { range, new: Vec::new() }).collect();
        }
        let mark = self.charset.mark(&self.decoded.bytes);
        let found = text::banners(&self.decoded.bytes[mark..], self.charset, &wordings);
        found.into_iter().map(|s| Splice { range: s.range.start + mark..s.range.end + mark, ..s }).collect()
    }

    fn rewritten(&self, map: &UrlMap) -> Vec<Change> {
        let map = |url: &str| (map.0)(url);
        if self.part.is_html {
            links::rewritten(self.masked, &self.tokens, self.charset, &map)
        } else {
            text::rewritten(self.masked, self.part, self.charset, &map)
        }
    }

    fn restored(&self, map: &UrlMap) -> Vec<Change> {
        let map = |url: &str| (map.0)(url);
        if self.part.is_html {
            links::restored(self.masked, &self.tokens, &map)
        } else {
            text::rewritten(self.masked, self.part, self.charset, &map)
        }
    }
}

/// Each wording as it is and as it stands where its letters could not be said; none that could be anybody's words.
fn known(wordings: &[String]) -> Vec<String> {
    let both = wordings.iter().flat_map(|w| [html::plain(w), html::plain(&any_ascii::any_ascii(w))]);
    let mut all: Vec<String> = both.filter(|w| w.chars().count() >= WORDING_CHARS_MIN).collect();
    all.dedup();
    all
}
