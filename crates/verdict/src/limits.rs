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

// of what a message carries: each counts work, not time

/// Archives inside archives, a document counted as one. Wanted mail has two: a report in a zip, a picture in the report.
pub const ARCHIVE_DEPTH_MAX: usize = 6;
/// Entries of all archives of one message. Source trees and photo albums stay below; each entry costs a header to read.
pub const ARCHIVE_ENTRIES_MAX: usize = 5_000;
/// Octets unpacked for one message. EXO takes messages up to 150 MB; what people zip is mostly packed already.
pub const UNPACKED_OCTETS_MAX: u64 = 64 << 20;
/// Octets of one packed file that is looked into; the rest of a larger one is not needed to know its type.
pub const UNPACKED_FILE_OCTETS_MAX: usize = 16 << 20;
/// Octets that come out for one that went in: deflate reaches 1,032, real documents seldom 50 as a whole.
pub const UNPACK_RATIO_MAX: u64 = 250;
/// Below this any ratio harms nobody.
pub const UNPACK_RATIO_FREE_OCTETS: u64 = 8 << 20;
/// What the 7z decoder may allocate: the dictionary of its strongest usual setting is 64 MB.
pub const SEVEN_ZIP_MEMORY_KIB_MAX: usize = 96 << 10;
/// Octets of the head from which the type of a file is told; an ISO image says so behind 32 KiB.
pub const HEAD_OCTETS: usize = 36 << 10;
/// Words of the text that are tried as the password of an encrypted archive; each costs a key derivation.
pub const PASSWORDS_MAX: usize = 12;
/// The smallest encrypted entry proves a password when it is unpacked as a whole; no larger one is tried.
pub const PASSWORD_PROOF_OCTETS_MAX: u64 = 4 << 20;
/// Streams of a compound file, modules of a macro project, parts of a document that are read.
pub const OFFICE_STREAMS_MAX: usize = 500;
/// Octets of one of them.
pub const OFFICE_STREAM_OCTETS_MAX: usize = 4 << 20;
/// Octets of a PDF that are scanned for names; actions stand at its ends or in object streams.
pub const PDF_OCTETS_MAX: usize = 16 << 20;
/// Streams of a PDF that are unpacked, and what they give together.
pub const PDF_STREAMS_MAX: usize = 200;
pub const PDF_UNPACKED_OCTETS_MAX: usize = 6 << 20;
/// Letters on a PDF's pages beyond which it is a text to read; counting ends there.
pub const PDF_TEXT_CHARS_MAX: usize = 2_000;
/// Octets of an attached page that are tokenized.
pub const MARKUP_OCTETS_MAX: usize = 4 << 20;
/// Letters kept of the text of one file, for those who look at wording.
pub const FILE_TEXT_CHARS_MAX: usize = 20_000;
/// Addresses kept of one file.
pub const FILE_URLS_MAX: usize = 200;
/// Pictures of one message that are searched for codes, and their pixels: one of 2 megapixels costs some 10 ms.
pub const CODE_PICTURES_MAX: usize = 6;
pub const CODE_PIXELS_MAX: u64 = 4_000_000;
/// A code of the smallest kind has 21 modules a side, two pixels each, and its quiet zone.
pub const CODE_SIDE_PIXELS_MIN: u32 = 50;
/// A side beyond it is a photograph or a trap.
pub const CODE_SIDE_PIXELS_MAX: u32 = 4_000;
/// Sentences about what could not be looked into; the rest would only repeat.
pub const UNSCANNABLE_MAX: usize = 20;
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

// of custom rules; what one may cost is worked out from these bounds before it is accepted, since CEL's interpreter counts
// no steps. A step is a nanosecond, roughly

/// Letters of one expression: the longest that a person still reads.
pub const RULE_CHARS_MAX: usize = 2_000;
/// Levels of an expression that are evaluated, each of which takes some kilobytes of a thread's stack of two megabytes.
pub const RULE_DEPTH_MAX: usize = 40;
/// Levels of brackets that the parser goes into, and its stack: `a.b.c…` and `1+1+…` go as deep as the text is long, and
/// a build without optimisation takes some kilobytes for each.
pub const RULE_PARSER_DEPTH_MAX: u16 = 50;
pub const RULE_PARSER_STACK_OCTETS: usize = 64 << 20;
/// What looking at one node costs.
pub const RULE_STEP_COST: u64 = 100;
/// Octets copied in one step.
pub const RULE_COPY_OCTETS: u64 = 8;
/// Steps of one rule, and of all of a tenant: with all of them at their worst a message waits a tenth of a second.
pub const RULE_COST_MAX: u64 = 10_000_000;
pub const RULES_COST_MAX: u64 = 100_000_000;
/// Octets of a pattern as it is written, and as an automaton, which takes some milliseconds to make; of all patterns of
/// a tenant, which stay in memory.
pub const RULE_PATTERN_OCTETS_MAX: usize = 500;
pub const RULE_PATTERN_SIZE_MAX: usize = 1 << 20;
pub const RULES_PATTERN_SIZE_MAX: usize = 8 << 20;
/// Patterns of one rule: with all rules at this bound they are made in seconds, once.
pub const RULE_PATTERNS_MAX: usize = 10;
/// Steps for each octet that a pattern looks at: 1.5 to 2.3 nanoseconds were measured, whatever the pattern.
pub const RULE_PATTERN_OCTET_COST: u64 = 3;
/// What a rule sees: text as long as a long newsletter; other values as long as people write them.
pub const RULE_TEXT_OCTETS_MAX: usize = 64 << 10;
pub const RULE_VALUE_OCTETS_MAX: usize = 1_000;
pub const RULE_NAME_OCTETS_MAX: usize = 320;
pub const RULE_WORD_OCTETS_MAX: usize = 80;
/// How many: of newsletters, the longest have some hundreds of links.
pub const RULE_URLS_MAX: usize = 200;
pub const RULE_FILES_MAX: usize = 100;
pub const RULE_HEADERS_MAX: usize = 200;
pub const RULE_PEOPLE_MAX: usize = 200;
pub const RULE_REPLIES_MAX: usize = 10;
pub const RULE_FINDINGS_MAX: usize = 100;
