//! Bounds of what a tenant can ask for, each with its reason.

/// Rules of one policy: more than a person can keep in order.
pub const RULES_MAX: usize = 100;
/// Characters of a rule's name; it stands in tables.
pub const RULE_NAME_CHARS_MAX: usize = 60;
/// Users, groups and domains of one rule; each recipient is compared with every one. More people are a group.
pub const ASSIGNED_MAX: usize = 100;
/// Groups that rules name: the members of each are kept in the gateway's memory.
pub const RULE_GROUPS_MAX: usize = 50;
/// Custom rules of one tenant, each of which looks at every message.
pub const CUSTOM_RULES_MAX: usize = 50;
/// Characters of what a custom rule says to people; it stands in tables.
pub const CUSTOM_TEXT_CHARS_MAX: usize = 200;
/// Entries of an allow or block list: each message is compared with every one, in about 50 µs for so many.
pub const LIST_ENTRIES_MAX: usize = 5_000;
/// Characters of an entry's note.
pub const NOTE_CHARS_MAX: usize = 200;
/// The widest network of clients in a list; a wider one is somebody's whole cloud.
pub const CLIENT_PREFIX_MIN_V4: u8 = 16;
pub const CLIENT_PREFIX_MIN_V6: u8 = 32;
/// Digests of held mail a day; more are read by nobody.
pub const DIGESTS_A_DAY_MAX: usize = 12;
