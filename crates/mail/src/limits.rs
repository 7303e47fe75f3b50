//! Bounds of looking into a message; beyond them a message is passed on as it is, with an anomaly listed.

/// MIME nesting; real mail stays below ten, a scanner must not recurse for an attacker.
pub const DEPTH_MAX: u16 = 32;
/// MIME parts that are looked at; the largest real ones seen have some hundreds.
pub const PARTS_MAX: u32 = 2_000;
/// Encoded messages inside encoded messages: each level multiplies the work.
pub const ENCODED_NESTING_MAX: u8 = 3;
/// RFC 5322 §2.1.1: a header line of ours has at most 998 octets without its line end.
pub const FIELD_OCTETS_MAX: usize = 998;
/// RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6: no line of a message that we changed is longer, without its line end.
pub const LINE_OCTETS_MAX: usize = 998;
/// RFC 2045 §6.7 and §6.8: lines of quoted-printable and of base64.
pub const ENCODED_LINE_OCTETS_MAX: usize = 76;
/// RFC 5322 §2.1.1: what a header line should not exceed; a tag that would make it longer gets a line of its own.
pub const HEADER_LINE_OCTETS: usize = 78;
/// A text part that is edited is decoded and mapped octet by octet; what people read is far smaller, and a larger one
/// is passed on as it is.
pub const EDITED_PART_OCTETS_MAX: usize = 8 << 20;
/// Letters of a text banner's line, below the 78 of RFC 5322 §2.1.1 with room for some quoting.
pub const BANNER_LINE_CHARS: usize = 70;
/// Letters of a banner's wording below which a text that equals it may be somebody's own words: it is not taken out.
pub const WORDING_CHARS_MIN: usize = 20;
/// Letters of a wording: a warning that is longer is not read.
pub const WORDING_CHARS_MAX: usize = 500;
/// Letters of a subject tag; in UTF-8 and base64 it still is one encoded word (75 octets, RFC 2047 §2).
pub const SUBJECT_TAG_OCTETS_MAX: usize = 40;
/// Open elements while a banner is looked for; beyond it none is taken out, so that nobody makes the search expensive.
pub const HTML_DEPTH_MAX: usize = 512;
/// Text of an element, white space included, that may still be a banner.
pub const BANNER_TEXT_OCTETS_MAX: usize = 16 * WORDING_CHARS_MAX;
