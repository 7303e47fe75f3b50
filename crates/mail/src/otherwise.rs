//! How else a mail program may read a part than the standards say.
//!
//! The parser keeps to one reading. Where mail programs differ (a field that stands twice, an encoding or a charset
//! that is misnamed, a page that is named only by its file's ending), an attacker chooses the reading that his
//! reader's program has and ours has not. So each of them is inspected: the parts gained here stand beside the parser's.

use crate::headers::HeaderSection;
use crate::message::{Kind, Part};
use mail_parser::{Encoding, MessagePart, PartFlags};
use std::borrow::Cow;

/// Endings of files that a browser opens as pages.
const PAGE_ENDINGS: [&str; 7] = [".html", ".htm", ".xhtml", ".shtml", ".xht", ".hta", ".svg"];

/// What `read`, the parser's reading of the part, does not show.
pub(crate) fn readings<'m>(part: &MessagePart<'m>, read: &Part<'m>) -> Vec<Part<'m>> {
    // of a container that was opened only what is inside is shown
    if read.kind == Kind::Multipart {
        return Vec::new();
    }
    let mut found: Vec<Part<'m>> = Vec::new();
    let mut add = |kind: Kind, octets: Cow<'m, [u8]>, text: Option<Cow<'m, str>>| {
        let same = read.kind == kind && read.text.is_some() && text.as_deref() == read.text.as_deref();
        if !same && !octets.is_empty() && !found.iter().any(|f| f.kind == kind && f.decoded == octets && f.text == text)
        {
            found.push(Part {
                content_type: if kind == Kind::Html { "text/html".into() } else { read.content_type.clone() },
                kind,
                decoded: octets,
                text,
                is_other_reading: true,
                ..*read
            });
        }
    };
    let fields = Fields::of(part);
    // the parser shows a container that it cannot open as text; what is inside is mostly a page
    let is_unopened = read.kind == Kind::Text && read.content_type.starts_with("multipart/");
    let is_page = fields.is_html || is_unopened || read.file_name.is_some_and(is_page_name);
    let kind = if is_page { Kind::Html } else { read.kind };
    // the same octets, as a page
    if kind != read.kind && kind == Kind::Html {
        add(Kind::Html, read.decoded.clone(), Some(read.text.clone().unwrap_or_else(|| in_any_charset(&read.decoded))));
    }
    // other octets: another encoding, or a part that does not end in mid-line
    for encoding in &fields.encodings {
        if *encoding != part.encoding() {
            let octets = encoding.decode(part.raw_body());
            let text = matches!(kind, Kind::Text | Kind::Html).then(|| in_any_charset(&octets));
            add(kind, octets, text);
        }
    }
    if part.flags().contains(PartFlags::FALLBACK_DELIMITER) && matches!(kind, Kind::Text | Kind::Html) {
        let octets = part.encoding().decode(to_the_end(part));
        let text = in_any_charset(&octets);
        add(kind, octets, Some(text));
    }
    // the same octets in another charset
    if let Some(text) = read.text.as_deref().and_then(|text| in_other_charset(part, &read.decoded, text)) {
        add(kind, read.decoded.clone(), Some(text));
    }
    found
}

/// What the fields of a part say, each as often as it stands there, read as loosely as the most lenient program does.
struct Fields {
    is_html: bool,
    encodings: Vec<Encoding>,
}

impl Fields {
    fn of(part: &MessagePart<'_>) -> Fields {
        let mut fields = Fields { is_html: false, encodings: Vec::new() };
        for field in HeaderSection::of(part.raw_headers()).fields() {
            if field.is("Content-Type") {
                let value = field.text().to_ascii_lowercase();
                let kind: String = value.split(';').next().unwrap_or_default().split_whitespace().collect();
                fields.is_html |=
                    matches!(kind.as_str(), "text/html" | "application/xhtml+xml" | "image/svg+xml" | "html");
            } else if field.is("Content-Transfer-Encoding") {
                let value = field.text().to_ascii_lowercase();
                fields.encodings.push(match value {
                    v if v.contains("base64") || v.contains("base-64") || v.contains("b64") => Encoding::Base64,
                    v if v.contains("quoted") => Encoding::QuotedPrintable,
                    _ => Encoding::None,
                });
            }
        }
        fields
    }
}

fn is_page_name(name: &str) -> bool {
    let lower = name.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    PAGE_ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

/// The rest of the multipart behind the beginning of the part.
fn to_the_end<'m>(part: &MessagePart<'m>) -> &'m [u8] {
    let behind = part.parent().and_then(|parent| {
        let start = part.offset_body().checked_sub(parent.offset_body())? as usize;
        parent.raw_body().get(start..)
    });
    behind.unwrap_or_else(|| part.raw_body())
}

/// By its mark, as UTF-8, or as Windows-1252, which any octets are.
fn in_any_charset<'a>(octets: &[u8]) -> Cow<'a, str> {
    let (text, _, malformed) = encoding_rs::UTF_8.decode(octets);
    match malformed {
        false => text.into_owned().into(),
        true => encoding_rs::WINDOWS_1252.decode(octets).0.into_owned().into(),
    }
}

/// Where the charset that is written cannot be what was meant: octets of UTF-16 called otherwise, and others called
/// UTF-16. Programs go by the octets. All other charsets agree on ASCII, in which addresses are written.
fn in_other_charset<'a>(part: &MessagePart<'_>, octets: &[u8], read: &str) -> Option<Cow<'a, str>> {
    let label = part.content_type().and_then(|c| c.attribute("charset")).unwrap_or_default().to_ascii_lowercase();
    let is_wide = ["utf-16", "utf16", "utf-32", "utf32", "ucs-", "unicode"].iter().any(|w| label.contains(w));
    let has_nul = memchr::memchr(0, octets).is_some();
    if is_wide && !has_nul && octets.len() > 1 {
        return Some(in_any_charset(octets));
    }
    if !is_wide && has_nul && read.contains('\0') {
        let (odd, even) =
            octets.iter().enumerate().filter(|(_, b)| **b == 0).fold((0_usize, 0_usize), |(odd, even), (n, _)| {
                if n % 2 == 1 { (odd + 1, even) } else { (odd, even + 1) }
            });
        let encoding = if odd >= even { encoding_rs::UTF_16LE } else { encoding_rs::UTF_16BE };
        return (odd.max(even) * 3 > octets.len()).then(|| encoding.decode(octets).0.into_owned().into());
    }
    // a mark of UTF-16 outweighs what is written (Encoding standard §6)
    encoding_rs::Encoding::for_bom(octets)
        .filter(|(encoding, _)| *encoding != encoding_rs::UTF_8 && !is_wide)
        .map(|(encoding, _)| encoding.decode(octets).0.into_owned().into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::Message;
    use std::fmt::Write;

    /// Each part of a message on a line, further readings marked.
    fn read(raw: &[u8]) -> String {
        Message::parse(bytes::Bytes::copy_from_slice(raw)).with_parts(|parts| {
            let mut out = String::new();
            for p in parts {
                let shown = p.text.as_deref().map_or_else(|| String::from_utf8_lossy(&p.decoded), |t| t.into());
                let mark = if p.is_other_reading { "also" } else { "part" };
                writeln!(out, "  {mark} {:?} {:?} {shown:?}", p.kind, p.file_name.unwrap_or_default()).unwrap();
            }
            out
        })
    }

    #[test]
    fn what_the_library_reads_and_what_else_a_program_shows() {
        let multipart = |inner: &str| format!("Content-Type: multipart/mixed; boundary=x\r\n\r\n{inner}\r\n--x--\r\n");
        let html = "<a href=http://evil.test/>go</a>";
        let wide: Vec<u8> = html.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let cases: Vec<(&str, Vec<u8>)> = vec![
            ("boundary in mid-line", multipart("--x\r\n\r\nsee --x mid line then http://evil.test/").into_bytes()),
            ("boundary only in mid-line", "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nsee --x mid http://evil.test/\r\n".into()),
            ("== in quoted-printable", "Content-Transfer-Encoding: quoted-printable\r\n\r\na==3Db =\r\n c=zz =41".into()),
            ("junk in base64", "Content-Transfer-Encoding: base64\r\n\r\nQU!!JD\r\nRA==".into()),
            ("base64 without padding", "Content-Transfer-Encoding: base64\r\n\r\nQUJDRA".into()),
            ("base64 goes on behind its padding", "Content-Transfer-Encoding: base64\r\n\r\nQQ==QkNE".into()),
            ("name folded and doubled", multipart("--x\r\nContent-Type: application/pdf; name=\r\n  \"a.exe\"; name=b.pdf\r\n\r\nMZ").into_bytes()),
            ("Content-Type twice", format!("Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n{html}").into_bytes()),
            ("Content-Type twice, turned round", format!("Content-Type: text/html\r\nContent-Type: text/plain\r\n\r\n{html}").into_bytes()),
            ("Content-Transfer-Encoding twice", "Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\naHR0cDovL2V2aWwudGVzdC8=".into()),
            ("an encoding by another name", "Content-Transfer-Encoding: base-64\r\n\r\naHR0cDovL2V2aWwudGVzdC8=".into()),
            ("an encoded multipart", format!("Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: base64\r\n\r\n{}", "LS14DQpDb250ZW50LVR5cGU6IHRleHQvaHRtbA0KDQo8YSBocmVmPWh0dHA6Ly9ldmlsLnRlc3QvPmdvPC9hPg0KLS14LS0NCg==").into_bytes()),
            ("a multipart without its boundary", format!("Content-Type: multipart/mixed; boundary=y\r\n\r\n{html}\r\n").into_bytes()),
            ("ASCII called UTF-16", format!("Content-Type: text/html; charset=utf-16\r\n\r\n{html}").into_bytes()),
            ("UTF-16 called UTF-8", [b"Content-Type: text/html; charset=utf-8\r\n\r\n".as_slice(), &wide].concat()),
            ("an unknown charset", format!("Content-Type: text/html; charset=x-none\r\n\r\n{html}").into_bytes()),
            ("a page by its ending", multipart(&format!("--x\r\nContent-Type: application/octet-stream; name=a.HTM\r\n\r\n{html}")).into_bytes()),
            ("an ordinary page", format!("Content-Type: text/html; charset=utf-8\r\n\r\n{html}").into_bytes()),
        ];
        let text: String = cases.iter().map(|(name, raw)| format!("{name}\n{}", read(raw))).collect();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn headers_of_eight_bits_are_read() {
        let message = |raw: &[u8]| Message::parse(bytes::Bytes::copy_from_slice(raw));
        let m = message("From: Jürgen <j@a.example>\r\nSubject: für dich\r\n\r\nx".as_bytes());
        assert_eq!((m.from()[0].display.as_str(), m.subject().as_deref()), ("Jürgen", Some("für dich")));
        let m = message(b"From: J\xfcrgen <j@a.example>\r\nSubject: f\xfcr dich\r\n\r\nx");
        assert_eq!(m.from()[0].address, "j@a.example");
    }
}
