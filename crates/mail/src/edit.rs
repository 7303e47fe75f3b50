//! The one function through which bytes of a message change.
//!
//! Law: what no edit names comes back identical. Removals take whole fields, exact to the byte; additions go
//! on top. A value cannot bring a line of its own (header injection): line ends in it become spaces.

use crate::Pieces;
use crate::headers::HeaderSection;
use crate::limits::FIELD_OCTETS_MAX;
use bytes::Bytes;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A field on top of all others; the first such edit ends up topmost.
    AddTop { name: String, value: String },
    /// Every field whose name begins with `prefix` (without case), except those named.
    RemoveNamed { prefix: String, except: Vec<String> },
}

impl Edit {
    pub fn add(name: impl Into<String>, value: impl Into<String>) -> Edit {
        Edit::AddTop { name: name.into(), value: value.into() }
    }
    pub fn remove_prefix(prefix: impl Into<String>) -> Edit {
        Edit::RemoveNamed { prefix: prefix.into(), except: Vec::new() }
    }
}

/// Applies all edits at once to the bytes as they came. The header is written anew, field by field; the body is theirs.
pub fn apply(raw: &Bytes, edits: &[Edit]) -> Pieces {
    let section = HeaderSection::of(raw);
    let end = section.end();
    let mut head = Vec::with_capacity(end + 1024);
    for edit in edits {
        if let Edit::AddTop { name, value } = edit {
            write_field(&mut head, name, value);
        }
    }
    let added = !head.is_empty();
    for field in section.fields() {
        if !edits.iter().any(|e| removes(e, field.name)) {
            head.extend_from_slice(&raw[field.range]);
        }
    }
    // A message that begins with a line that is no field would become part of our header: part them.
    if added && end == 0 && !section.ends_properly() {
        head.extend_from_slice(b"\r\n");
    }
    let mut out = Pieces::from(Bytes::from(head));
    out.push(raw.slice(end..));
    out
}

fn removes(edit: &Edit, name: &str) -> bool {
    match edit {
        Edit::AddTop { .. } => false,
        Edit::RemoveNamed { prefix, except } => {
            let begins =
                name.len() >= prefix.len() && name.as_bytes()[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes());
            begins && !except.iter().any(|e| e.eq_ignore_ascii_case(name))
        }
    }
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    let clean: String = value.chars().map(|c| if c == '\r' || c == '\n' { ' ' } else { c }).collect();
    let room = FIELD_OCTETS_MAX.saturating_sub(name.len() + 2);
    let mut end = clean.len().min(room);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(&clean.as_bytes()[..end]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn apply(raw: &[u8], edits: &[Edit]) -> Bytes {
        super::apply(&Bytes::copy_from_slice(raw), edits).joined()
    }

    #[test]
    fn added_on_top_removed_in_place_nothing_else_moves() {
        let raw = b"X-Ours-A: 1\r\nFrom: a\r\nx-ours-b: 2\r\n folded\r\nTo: b\r\n\r\nX-Ours-A: in the body\r\n";
        let edits =
            [Edit::add("Received", "from x\r\nEvil: yes"), Edit::add("X-Ours-Id", "7"), Edit::remove_prefix("X-Ours-")];
        let out = String::from_utf8(apply(raw, &edits).to_vec()).unwrap();
        assert_eq!(
            out,
            "Received: from x  Evil: yes\r\nX-Ours-Id: 7\r\nFrom: a\r\nTo: b\r\n\r\nX-Ours-A: in the body\r\n"
        );
    }

    #[test]
    fn a_message_without_a_header_gets_one_and_keeps_its_body() {
        for raw in [b"".as_slice(), b"x", b"\r\nbody", b"no field\r\n"] {
            let out = apply(raw, &[Edit::add("A", "1")]);
            let section = HeaderSection::of(&out);
            assert_eq!(section.fields().count(), 1, "{raw:?}");
            assert_eq!(&out[section.body_start()..], raw.strip_prefix(b"\r\n").unwrap_or(raw), "{raw:?}");
        }
    }

    fn mailish() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            Just(b"X-Ours-A: 1\r\n".to_vec()),
            Just(b"From: a@b\n".to_vec()),
            Just(b" folded\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\r".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20)
        ];
        proptest::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
    }

    proptest! {
        #[test]
        fn no_edit_no_change(raw in mailish()) {
            prop_assert_eq!(&apply(&raw, &[])[..], &raw[..]);
        }

        #[test]
        fn what_no_edit_names_stays(raw in mailish()) {
            let out = apply(&raw, &[Edit::add("X-New", "v"), Edit::remove_prefix("X-Ours-")]);
            let kept = |raw: &[u8]| HeaderSection::of(raw).fields().filter(|f| !f.name.to_ascii_lowercase().starts_with("x-")).map(|f| raw[f.range].to_vec()).collect::<Vec<_>>();
            prop_assert_eq!(kept(&out), kept(&raw));
            prop_assert!(out.ends_with(&raw[HeaderSection::of(&raw).end()..]));
        }

        #[test]
        fn adding_then_removing_is_nothing(raw in mailish()) {
            let section = HeaderSection::of(&raw);
            prop_assume!(section.end() > 0 || section.ends_properly());
            let once = apply(&raw, &[Edit::add("Z-Probe", "v")]);
            prop_assert_eq!(&apply(&once, &[Edit::remove_prefix("Z-Probe")])[..], &raw[..]);
        }
    }
}
