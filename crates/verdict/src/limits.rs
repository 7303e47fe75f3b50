//! Bounds of what is looked at in a message; what lies beyond is not seen, and that is said.

/// An HTML part beyond this is cut: mail programs clip pages far earlier (some at 100 KB), people stop reading earlier.
pub const HTML_OCTETS_MAX: usize = 4 << 20;
/// Text of one page, and of a whole message, that is kept; a novel has this many letters.
pub const TEXT_OCTETS_MAX: usize = 512 << 10;
/// Open elements that are told apart; browsers stop at this depth too.
pub const HTML_DEPTH_MAX: usize = 512;
/// Elements that an end tag looks back over, so that nobody makes the search expensive.
pub const HTML_SEARCH_MAX: usize = 64;
/// Links, images and forms of one page, each; the longest newsletters seen have some hundreds.
pub const PAGE_ITEMS_MAX: usize = 5_000;
/// Text of one link: what is longer is no name of a place.
pub const LINK_TEXT_OCTETS_MAX: usize = 2_000;
/// An address that is longer is no link that a person follows; browsers stop at 64 KB or earlier. `data:` is cut here.
pub const URL_OCTETS_MAX: usize = 16 << 10;
/// Style sheets inside a page that are searched for what they hide, and names taken from them.
pub const STYLE_OCTETS_MAX: usize = 256 << 10;
pub const STYLE_NAMES_MAX: usize = 1_000;
/// Different addresses of one message.
pub const URLS_MAX: usize = 10_000;
/// Words of a message that are searched for phrases: a long newsletter has 30 KB, nobody reads more before he clicks.
pub const WORDING_OCTETS_MAX: usize = 64 << 10;
/// Between the sides of a phrase: about six words.
pub const PHRASE_GAP_OCTETS: usize = 40;
/// Phrases noted of one text; a message that says more than this says nothing new.
pub const PHRASES_MAX: usize = 400;
/// Literals of all phrase files: the automaton stays within some megabytes.
pub const LITERALS_MAX: usize = 20_000;
/// Phrases count together when they stand this near: about two hundred words, a screen. A long newsletter says
/// everything somewhere.
pub const PHRASES_TOGETHER_OCTETS: usize = 1_400;
/// Words of a message that the classifier reads: its first screens; two features a word have to stay below half a
/// millisecond.
pub const CLASSIFIER_OCTETS_MAX: usize = 8 << 10;
/// A longer run of letters is no word of any of the languages that are taught.
pub const CLASSIFIER_WORD_CHARS_MAX: usize = 24;
/// Places for words; with 16 bits each a model has 256 KiB.
pub const CLASSIFIER_BUCKETS: u32 = 1 << 17;
/// The line before a model's weights has some hundred octets.
pub const CLASSIFIER_HEAD_OCTETS_MAX: usize = 4 << 10;
