//! The one function through which bytes of a message change.
//!
//! Law: what no edit names comes back identical. Every edit ends as splices of the raw bytes: removals take whole fields,
//! exact to the byte; additions go on top; text is changed only inside the part that it stands in, in that part's own
//! transfer encoding and charset. What is not certain, or must never be touched (docs/edits.md), is left, and said.
//! A value cannot bring a line of its own (header injection): line ends in it become spaces.

mod charset;
mod html;
mod links;
pub(crate) mod never;
mod part;
mod replace;
mod subject;
mod text;
mod transfer;

pub use html::escape;
pub use never::{NEVER, NULL_SENDER, Never};
pub use replace::{Replacement, may_replace};

use crate::Pieces;
use crate::headers::HeaderSection;
use crate::limits::FIELD_OCTETS_MAX;
use crate::structure::{Refusal, TextPart, is_small, lines_are_lines, text_parts};
use bytes::Bytes;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A field on top of all others; the first such edit ends up topmost.
    AddTop { name: String, value: String },
    /// Every field whose name begins with `prefix` (without case), except those named.
    RemoveNamed { prefix: String, except: Vec<String> },
    /// In front of the subject, unless it is there.
    SubjectTag(String),
    /// Above the text that is shown first, in every form of it.
    Banner(Banner),
    /// Every banner that says one of these wordings is taken out of the text.
    RemoveBanner { wordings: Vec<String> },
    /// Web addresses of links and in text.
    RewriteUrls(UrlMap),
    /// Parts that are taken out.
    Replace(Vec<Replacement>),
    /// The same wherever they stand, in visible text too: for addresses that were rewritten.
    RestoreUrls(UrlMap),
}

/// What a banner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banner {
    /// A fragment without elements that show anything but text.
    pub html: String,
    /// The same as plain text.
    pub text: String,
}

impl Banner {
    /// The same words in both forms.
    pub fn of(wording: &str) -> Banner {
        Banner { html: html::escape(wording), text: wording.to_owned() }
    }
}

type Map = dyn Fn(&str) -> Option<String> + Send + Sync;

/// From an address to the one that is to stand there, or `None` to leave it.
#[derive(Clone)]
pub struct UrlMap(Arc<Map>);

impl UrlMap {
    pub fn new(map: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> UrlMap {
        UrlMap(Arc::new(map))
    }
}
impl fmt::Debug for UrlMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlMap")
    }
}
impl PartialEq for UrlMap {
    fn eq(&self, other: &UrlMap) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for UrlMap {}

impl Edit {
    pub fn add(name: impl Into<String>, value: impl Into<String>) -> Edit {
        Edit::AddTop { name: name.into(), value: value.into() }
    }
    pub fn remove_prefix(prefix: impl Into<String>) -> Edit {
        Edit::RemoveNamed { prefix: prefix.into(), except: Vec::new() }
    }
    /// True of edits that change what the sender may have signed.
    fn is_of_content(&self) -> bool {
        !matches!(self, Edit::AddTop { .. } | Edit::RemoveNamed { .. })
    }
}

/// A message after its edits, and what became of each.
#[derive(Clone, Debug, Default)]
pub struct Edited {
    pub pieces: Pieces,
    /// What was changed of that which came, in words; fields on top and fields of ours taken off do not count.
    pub made: Vec<String>,
    /// What was not, and why.
    pub left: Vec<String>,
}

/// `new` instead of what stands in `range`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Splice {
    pub(crate) range: Range<usize>,
    pub(crate) new: Vec<u8>,
}

/// Applies all edits at once to the bytes as they came.
pub fn apply(raw: &Bytes, edits: &[Edit]) -> Pieces {
    apply_and_tell(raw, edits).pieces
}

/// The same, with what was done and what was left.
pub fn apply_and_tell(raw: &Bytes, edits: &[Edit]) -> Edited {
    let mut told = Edited::default();
    let mut splices = fields(raw, edits);
    if edits.iter().any(Edit::is_of_content) {
        match content(raw, edits, &mut told) {
            Ok(changes) => splices.extend(changes),
            Err(refusal) => told.left.push(format!("not edited: {refusal}")),
        }
    }
    told.pieces = spliced(raw, in_order(splices));
    told
}

/// Slices of what came, with what is new between them.
fn spliced(raw: &Bytes, splices: Vec<Splice>) -> Pieces {
    let mut out = Pieces::default();
    let mut at = 0;
    for splice in splices {
        out.push(raw.slice(at..splice.range.start));
        out.push(Bytes::from(splice.new));
        at = splice.range.end;
    }
    out.push(raw.slice(at..));
    out
}

/// By place; of two that want the same octets the first one has them.
fn in_order(mut splices: Vec<Splice>) -> Vec<Splice> {
    splices.sort_by_key(|s| s.range.start);
    let mut end = 0;
    splices.retain(|s| {
        let free = s.range.start >= end;
        end = if free { s.range.end } else { end };
        free
    });
    splices
}

/// Fields on top, and fields that go.
fn fields(raw: &[u8], edits: &[Edit]) -> Vec<Splice> {
    let section = HeaderSection::of(raw);
    let mut head = Vec::new();
    for edit in edits {
        if let Edit::AddTop { name, value } = edit {
            write_field(&mut head, name, value);
        }
    }
    // A message that begins with a line that is no field would become part of our header: part them.
    if !head.is_empty() && section.fields().next().is_none() && !section.ends_properly() {
        head.extend_from_slice(b"\r\n");
    }
    let mut splices = vec![Splice { range: 0..0, new: head }];
    for field in section.fields() {
        if edits.iter().any(|e| removes(e, field.name)) {
            splices.push(Splice { range: field.range, new: Vec::new() });
        }
    }
    splices
}

/// What changes in the subject and in the texts.
fn content(raw: &[u8], edits: &[Edit], told: &mut Edited) -> Result<Vec<Splice>, Refusal> {
    let parts = match text_parts(raw) {
        Err(Refusal::Never(never)) => return Err(Refusal::Never(never)),
        other => other,
    };
    // what is no line to one reader is one to another, and so is what a signature covers
    lines_are_lines(raw)?;
    if parts.iter().flatten().any(|part| holds_pgp(raw, part)) {
        return Err(Refusal::Never(never::inline_pgp()));
    }
    let mut splices = Vec::new();
    for tag in edits.iter().filter_map(|e| if let Edit::SubjectTag(tag) = e { Some(tag) } else { None }) {
        match subject::tagged(raw, tag) {
            Ok(Some(splice)) => {
                told.made.push(format!("tag {tag:?} in front of the subject"));
                splices.push(splice);
            }
            Ok(None) => told.left.push(format!("tag {tag:?}: it is there already")),
            Err(refusal) => told.left.push(format!("tag {tag:?}: {refusal}")),
        }
    }
    for all in edits.iter().filter_map(|e| if let Edit::Replace(all) = e { Some(all) } else { None }) {
        // else nobody knows where a part begins
        parts.as_ref().map_err(Clone::clone)?;
        splices.extend(replace::changes(raw, all)?);
        told.made.extend(all.iter().map(|one| format!("part {} taken out", one.part + 1)));
    }
    if edits.iter().any(|e| e.is_of_content() && !matches!(e, Edit::SubjectTag(_) | Edit::Replace(_))) {
        match parts {
            Ok(parts) => {
                if edits.iter().any(|e| matches!(e, Edit::Banner(_))) && !parts.iter().any(|part| part.is_first) {
                    told.left.push("banner: the message shows no text".into());
                }
                splices.extend(parts.iter().flat_map(|part| text_changes(raw, part, edits, told)));
            }
            Err(refusal) => told.left.push(format!("text: {refusal}")),
        }
    }
    Ok(splices)
}

fn holds_pgp(raw: &[u8], part: &TextPart) -> bool {
    let body = &raw[part.body.clone()];
    let decoded = if is_small(part) { transfer::decode(body, part.transfer).ok() } else { None };
    never::has_inline_pgp(decoded.as_ref().map_or(body, |d| &d.bytes))
}

/// One change, and what can be tried where it would make a line longer than a line may be.
pub(crate) struct Change {
    pub(crate) splice: Splice,
    pub(crate) on_its_own_line: Option<Splice>,
}

impl Change {
    fn moved(self, by: usize) -> Change {
        let moved = |s: Splice| Splice { range: s.range.start + by..s.range.end + by, ..s };
        Change { splice: moved(self.splice), on_its_own_line: self.on_its_own_line.map(moved) }
    }
}

impl From<Splice> for Change {
    fn from(splice: Splice) -> Change {
        Change { splice, on_its_own_line: None }
    }
}

/// All changes of one part, in raw octets.
fn text_changes(raw: &[u8], part: &TextPart, edits: &[Edit], told: &mut Edited) -> Vec<Splice> {
    let begin = part.body.start;
    let changes = part::changes(&raw[part.body.clone()], part, edits, told).unwrap_or_else(|why| {
        told.left.push(format!("part {}: {why}", part.name));
        Vec::new()
    });
    changes.into_iter().map(|c| Splice { range: c.range.start + begin..c.range.end + begin, ..c }).collect()
}

fn removes(edit: &Edit, name: &str) -> bool {
    match edit {
        Edit::RemoveNamed { prefix, except } => {
            let begins =
                name.len() >= prefix.len() && name.as_bytes()[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes());
            begins && !except.iter().any(|e| e.eq_ignore_ascii_case(name))
        }
        _ => false,
    }
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    let clean = value.replace(['\r', '\n'], " ");
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
