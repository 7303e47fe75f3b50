//! Bounds of what people do with held mail, each with its reason.

use std::time::Duration;

/// Characters of text in a preview: some forty pages.
pub const TEXT_CHARS_MAX: usize = 100_000;
/// Octets of sanitised HTML, pictures not counted.
pub const HTML_OCTETS_MAX: usize = 500_000;
/// Octets of all pictures of a preview together, as base64; more is no mail that somebody decides by looking.
pub const PICTURES_OCTETS_MAX: usize = 3 << 20;
/// Elements within each other; deeper ones are shown as if they were not.
pub const ELEMENTS_DEEP_MAX: usize = 100;
/// Columns and rows that one cell of a table may span.
pub const SPAN_MAX: u32 = 100;
/// Characters of a link's destination that are shown.
pub const DESTINATION_CHARS_MAX: usize = 300;
/// Letters and digits of a password, of 54: 137 bits, and it can be typed.
pub const PASSWORD_CHARS: usize = 24;
/// How long a link of a digest is good, if the message is held so long: two weeks' holiday.
pub const LINK_LIFE: Duration = Duration::from_secs(14 * 24 * 3600);
/// Messages that a digest names; who has more held decides no better for seeing them all.
pub const DIGEST_ENTRIES_MAX: usize = 100;
/// Characters of a subject or sender in a digest.
pub const SHOWN_CHARS_MAX: usize = 120;
/// How often the time is looked at: a digest comes half a minute late at most.
pub const DIGEST_LOOK: Duration = Duration::from_secs(30);
/// Characters of what somebody writes beside a report.
pub const NOTE_CHARS_MAX: usize = 500;
