//! The header section of any bytes (RFC 5322 §2.2), zero-copy and exact to the byte.
//!
//! A field ends at a line end that is not followed by white space. Lines end in CRLF or in a bare LF; a bare
//! CR is data. The section ends at the first empty line, or at a line that cannot be a field: what follows
//! is body. Never fails.

use std::ops::Range;

/// One field as it stands in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub name: &'a str,
    /// Everything behind the colon, folding kept, the last line end not.
    pub value: &'a [u8],
    /// The whole field in the message, its line end included.
    pub range: Range<usize>,
}

impl Header<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
    pub fn text(&self) -> String {
        unfold(self.value)
    }
}

/// Where one field stands: name, value and the whole of it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    name_end: usize,
    value: Range<usize>,
    whole: Range<usize>,
}

/// The header section of a message.
#[derive(Clone, Copy, Debug)]
pub struct HeaderSection<'a> {
    raw: &'a [u8],
    /// Of every field, once they were looked for.
    places: Option<&'a [Place]>,
}

impl<'a> HeaderSection<'a> {
    pub fn of(raw: &'a [u8]) -> HeaderSection<'a> {
        HeaderSection { raw, places: None }
    }

    /// `places`: what [`HeaderSection::places`] told of the same octets.
    pub(crate) fn known(raw: &'a [u8], places: &'a [Place]) -> HeaderSection<'a> {
        HeaderSection { raw, places: Some(places) }
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        let mut at = 0;
        std::iter::from_fn(|| {
            let place = next_place(self.raw, at)?;
            at = place.whole.end;
            Some(place)
        })
        .collect()
    }

    pub fn fields(&self) -> Fields<'a> {
        Fields { raw: self.raw, at: 0, places: self.places }
    }

    /// Where the last field ends; what follows is the empty line, or a body without one.
    pub fn end(&self) -> usize {
        if let Some(places) = self.places {
            return places.last().map_or(0, |last| last.whole.end);
        }
        let mut fields = self.fields();
        fields.by_ref().for_each(drop);
        fields.at
    }

    /// Where the body begins: behind the empty line if there is one.
    pub fn body_start(&self) -> usize {
        let end = self.end();
        match &self.raw[end..] {
            [b'\r', b'\n', ..] => end + 2,
            [b'\n', ..] => end + 1,
            _ => end,
        }
    }

    /// False when a line that is no field ended the section instead of an empty one.
    pub fn ends_properly(&self) -> bool {
        let end = self.end();
        end == self.raw.len() || matches!(&self.raw[end..], [b'\r', b'\n', ..] | [b'\n', ..])
    }
}

/// Walks the fields from top to bottom.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    raw: &'a [u8],
    at: usize,
    /// Those that are left, where they are known.
    places: Option<&'a [Place]>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let Place { name_end, value, whole: range } = match self.places {
            Some(places) => {
                let (first, rest) = places.split_first()?;
                self.places = Some(rest);
                first.clone()
            }
            None => next_place(self.raw, self.at)?,
        };
        self.at = range.end;
        let name = std::str::from_utf8(&self.raw[range.start..name_end]).ok()?;
        Some(Header { name, value: &self.raw[value], range })
    }
}

/// Of the field that begins at `at`, if one does.
fn next_place(raw: &[u8], at: usize) -> Option<Place> {
    let rest = &raw[at..];
    let colon = rest.iter().position(|b| !(33..=126).contains(b) || *b == b':')?;
    // RFC 5322 §4.5 allows white space before the colon; readers do see such a field
    let spaces = rest[colon..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    if colon == 0 || rest.get(colon + spaces) != Some(&b':') {
        return None;
    }
    let value = colon + spaces + 1;
    let end = field_end(rest, value);
    let stop = [b"\r\n".as_slice(), b"\n"]
        .iter()
        .find_map(|e| rest[value..end].strip_suffix(*e))
        .map_or(end, |v| value + v.len());
    Some(Place { name_end: at + colon, value: at + value..at + stop, whole: at..at + end })
}

fn field_end(raw: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(line) = memchr::memchr(b'\n', &raw[at..]) {
        at += line + 1;
        if !matches!(raw.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
    raw.len()
}

/// RFC 5322 §2.2.3: line ends before white space vanish; outer white space goes too. Lossy where not UTF-8.
pub fn unfold(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        return text.trim().to_owned();
    }
    let mut unfolded = String::with_capacity(text.len());
    let mut at = 0;
    for end in memchr::memchr2_iter(b'\r', b'\n', text.as_bytes()) {
        unfolded.push_str(&text[at..end]);
        at = end + 1;
    }
    unfolded.push_str(&text[at..]);
    unfolded.trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn seen(raw: &[u8]) -> String {
        let section = HeaderSection::of(raw);
        let fields: Vec<_> = section.fields().map(|f| format!("{}={}", f.name, f.text())).collect();
        format!(
            "{} | body {:?}{}",
            fields.join(", "),
            String::from_utf8_lossy(&raw[section.body_start()..]),
            if section.ends_properly() { "" } else { " (no empty line)" }
        )
    }

    #[test]
    fn any_bytes_have_a_header_section() {
        let cases: [&[u8]; 12] = [
            b"A: 1\r\nB: 2\r\n\r\nbody",
            b"A: 1\r\n\tfolded\r\nB:2\r\n\r\nbody",
            b"A: 1\nB: 2\n\nbody",
            b"",
            b"x",
            b"\r\nbody",
            b"no field\r\nat all",
            b"A: 1\r\nnot a field\r\n\r\nrest",
            b"A: 1",
            b"A : spaced\r\n\r\n",
            b": nameless\r\n\r\n",
            b"A: bare\rcr\r\n\r\nx",
        ];
        let text = cases.iter().map(|c| seen(c)).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(text, @r#"
        A=1, B=2 | body "body"
        A=1	folded, B=2 | body "body"
        A=1, B=2 | body "body"
         | body ""
         | body "x" (no empty line)
         | body "body"
         | body "no field\r\nat all" (no empty line)
        A=1 | body "not a field\r\n\r\nrest" (no empty line)
        A=1 | body ""
        A=spaced | body ""
         | body ": nameless\r\n\r\n" (no empty line)
        A=barecr | body "x"
        "#);
    }
}
