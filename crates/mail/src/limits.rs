//! Bounds of looking into a message; beyond them a message is passed on as it is, with an anomaly listed.

/// MIME nesting; real mail stays below ten, a scanner must not recurse for an attacker.
pub const DEPTH_MAX: u16 = 32;
/// MIME parts that are looked at; the largest real ones seen have some hundreds.
pub const PARTS_MAX: u32 = 2_000;
/// Encoded messages inside encoded messages: each level multiplies the work.
pub const ENCODED_NESTING_MAX: u8 = 3;
/// RFC 5322 §2.1.1: a header line of ours has at most 998 octets without its line end.
pub const FIELD_OCTETS_MAX: usize = 998;
