//! Bounds of the engines, each with its reason.

use std::time::Duration;

/// Unless the operator says otherwise: a scanner that is well answers within a second, a large archive takes some; all of
/// it has to fit into a journey's time for judging.
pub const BUDGET: Duration = Duration::from_secs(5);
/// What the operator may say. Above, the journey's own budget would cut it anyway.
pub const BUDGET_MILLIS: std::ops::RangeInclusive<u64> = 50..=30_000;
/// Engines that may be configured; each is asked about every message.
pub const ENGINES_MAX: usize = 16;
/// A scanner on this machine or beside it takes a connection at once, or is down.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// clamd takes any size up to its StreamMaxLength; this is what a socket takes in one go.
pub const CHUNK_OCTETS: usize = 64 * 1024;
/// One line with the name of a signature.
pub const CLAMD_ANSWER_OCTETS_MAX: usize = 8 * 1024;
/// Some hundred symbols with their options.
pub const RSPAMD_ANSWER_OCTETS_MAX: usize = 1 << 20;
/// Headers and a page that says why, beside a message that may come back whole.
pub const ICAP_ANSWER_OCTETS_MAX: usize = 256 * 1024;
/// Symbols of Rspamd that are told: the rest weighs little.
pub const SYMBOLS_MAX: usize = 8;
/// Of what an engine says, in a finding or a fault.
pub const WORDS_CHARACTERS_MAX: usize = 200;
/// Faults in a row after which an engine is taken to be failing: one may be chance, and each costs a message its budget.
pub const FAULTS_IN_A_ROW: u32 = 3;
/// A failing engine is tried again after so long, by a message of ours, then after twice as long each time.
pub const PROBE_PAUSE: Duration = Duration::from_secs(1);
/// At most: so soon is one that was mended in use again.
pub const PROBE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// An engine of which nothing was heard for so long is asked, so that it is known to be down before mail comes.
pub const IDLE_PROBE: Duration = Duration::from_secs(60);
/// How often signatures are looked at for being new.
pub const VERSION_EVERY: Duration = Duration::from_secs(300);
/// Between two looks at what is due: as late as this is a change told.
pub const TEND_EVERY: Duration = Duration::from_millis(250);
/// An engine that is back is told to be so after so long, and after twice as long for each time that it went down again.
pub const SETTLED: Duration = Duration::from_secs(2);
/// At most: so rarely is one told that comes and goes.
pub const SETTLED_MAX: Duration = Duration::from_secs(600);
/// After so long without an outage the next one is the first again.
pub const OUTAGES_FORGOTTEN: Duration = Duration::from_secs(3600);
/// A list of this size has some millions of entries.
pub const FEED_OCTETS_MAX: usize = 128 << 20;
/// 8 octets of memory each.
pub const LIST_ENTRIES_MAX: usize = 5_000_000;
/// Lists that may be configured; each is looked into for every link.
pub const LISTS_MAX: usize = 32;
/// How often a feed is asked unless the operator says otherwise; most change once an hour and ask not to be asked more often.
pub const FEED_EVERY: Duration = Duration::from_secs(3600);
/// What the operator may say.
pub const FEED_EVERY_SECS: std::ops::RangeInclusive<u64> = 60..=604_800;
/// One that could not be read is asked again so soon.
pub const FEED_RETRY: Duration = Duration::from_secs(300);
pub const FEED_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For the whole of it, over a slow line.
pub const FEED_TIMEOUT: Duration = Duration::from_secs(300);
/// From one host to another, as feeds behind a CDN do.
pub const FEED_REDIRECTS_MAX: usize = 5;
/// Until a scanner that a test or the demo starts answers: rspamd compiles its rules first, on a busy machine for seconds.
pub const START_PATIENCE: Duration = Duration::from_secs(60);
/// Files of YARA rules, and the octets of one: published collections have some thousand files of some hundred kilobytes.
#[cfg(feature = "yara")]
pub(crate) const RULE_FILES_MAX: usize = 10_000;
#[cfg(feature = "yara")]
pub(crate) const RULE_FILE_OCTETS_MAX: u64 = 16 << 20;
/// Of one pattern of a rule: whether it fits needs few, and each takes memory.
#[cfg(feature = "yara")]
pub(crate) const MATCHES_OF_A_PATTERN_MAX: usize = 1_000;
/// Rules that are told of one message, and the files that each fits.
#[cfg(feature = "yara")]
pub(crate) const RULES_TOLD_MAX: usize = 20;
#[cfg(feature = "yara")]
pub(crate) const PLACES_MAX: usize = 5;
/// Of a rule that is a note and does not say.
#[cfg(feature = "yara")]
pub(crate) const RULE_POINTS: u32 = 50;
