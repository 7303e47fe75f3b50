//! What can be said in the charset of a part, and how (RFC 2978 names, by the WHATWG's table as mail readers use it).

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, WINDOWS_1252};
use std::borrow::Cow;

/// A charset in which ASCII stands for itself, at least at the beginning and the end of each line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charset {
    encoding: &'static Encoding,
    /// RFC 2046 §4.1.2: us-ascii, which is also what no charset means.
    is_ascii: bool,
    /// iso-8859-x, where readers and writers disagree about 0x80 to 0x9f.
    is_iso_8859: bool,
}

impl Charset {
    /// `None` where the octets of ASCII could mean something else, or nobody knows.
    pub(crate) fn named(label: Option<&str>) -> Option<Charset> {
        let Some(label) = label.filter(|l| !l.is_empty()) else {
            return Some(Charset { encoding: WINDOWS_1252, is_ascii: true, is_iso_8859: false });
        };
        let encoding = Encoding::for_label(label.as_bytes())?;
        let ascii = ["us-ascii", "ascii", "ansi_x3.4-1968", "iso-ir-6", "iso646-us"];
        let known = encoding.is_ascii_compatible() || encoding == ISO_2022_JP;
        // the label of an encoding that the table knows as dangerous only
        let known = known && encoding != encoding_rs::REPLACEMENT && encoding != encoding_rs::X_USER_DEFINED;
        known.then_some(Charset {
            encoding,
            is_ascii: ascii.contains(&label),
            is_iso_8859: ["iso-8859", "iso8859", "iso_8859", "latin", "iso-ir"].iter().any(|l| label.starts_with(l)),
        })
    }

    pub(crate) fn is(&self, encoding: &'static Encoding) -> bool {
        self.encoding == encoding
    }

    /// The octets of `text`, or `None` where the charset lacks a letter.
    pub(crate) fn encode(&self, text: &str) -> Option<Vec<u8>> {
        if text.is_ascii() && self.encoding != ISO_2022_JP {
            return Some(text.as_bytes().to_vec());
        }
        let (octets, _, lacks) = self.encoding.encode(text);
        let doubtful = self.is_ascii && octets.iter().any(|b| *b > 127)
            || self.is_iso_8859 && octets.iter().any(|b| (0x80..0xa0).contains(b));
        (!lacks && !doubtful).then(|| octets.into_owned())
    }

    pub(crate) fn decode<'a>(&self, octets: &'a [u8]) -> Cow<'a, str> {
        self.encoding.decode_without_bom_handling(octets).0
    }

    /// Length of the mark with which a UTF-8 text may begin.
    pub(crate) fn mark(&self, text: &[u8]) -> usize {
        if self.encoding == UTF_8 && text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
    }

    /// The same length, with the octets between escape sequences (ISO-2022-JP, RFC 1468) made harmless: `<` among them
    /// is half of a letter. In every other charset here the signs of HTML stand for themselves.
    pub(crate) fn masked<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        if self.encoding != ISO_2022_JP || !text.contains(&0x1b) {
            return Cow::Borrowed(text);
        }
        let mut out = text.to_vec();
        let (mut wide, mut at) = (false, 0);
        while at < text.len() {
            if let [0x1b, first, second, ..] = &text[at..] {
                let single = *first == b'(' && matches!(second, b'B' | b'J');
                (wide, out[at], out[at + 1], out[at + 2]) = (!single, b'x', b'x', b'x');
                at += 3;
                continue;
            }
            wide &= !matches!(text[at], b'\r' | b'\n');
            if wide {
                out[at] = b'x';
            }
            at += 1;
        }
        Cow::Owned(out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_each_charset_can_say() {
        let says = |label: Option<&str>, text: &str| match Charset::named(label) {
            None => "not edited".to_owned(),
            Some(charset) => charset.encode(text).map_or("its ASCII form".into(), |octets| format!("{octets:02x?}")),
        };
        let labels =
            ["us-ascii", "utf-8", "iso-8859-1", "iso-8859-15", "windows-1252", "koi8-r", "shift_jis", "iso-2022-jp"];
        let more = ["utf-16", "utf-16le", "utf-7", "hz-gb-2312", "iso-2022-kr", "ibm037", "no-such", "x-user-defined"];
        let all = std::iter::once(None).chain(labels.iter().chain(&more).map(|l| Some(*l)));
        let text = all
            .map(|l| {
                format!(
                    "{}: A {} | ü {} | … {} | 日 {}\n",
                    l.unwrap_or("none"),
                    says(l, "A"),
                    says(l, "ü"),
                    says(l, "…"),
                    says(l, "日")
                )
            })
            .collect::<String>();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn signs_between_escapes_are_no_signs() {
        let charset = Charset::named(Some("iso-2022-jp")).unwrap();
        let text = b"<p>\x1b$B%<<3>\x1b(B</p>\r\n\x1b$B<<\r\n<b>";
        assert_eq!(charset.masked(text).len(), text.len());
        assert_eq!(&charset.masked(text)[..], b"<p>xxxxxxxxxxx</p>\r\nxxxxx\r\n<b>");
    }
}
