//! Bounds of rewritten links and of the page behind them, each with its reason.

use std::time::Duration;

/// A rewritten link as a whole: it fits a line of mail (998 octets, RFC 5322 §2.1.1) with room around it, and every
/// program's idea of a link (some end at 2,048). A destination that would make it longer is kept by the store.
pub(crate) const LINK_OCTETS_MAX: usize = 900;
/// Of the destination's host, what is shown.
pub(crate) const HOST_OCTETS_MAX: usize = 64;
/// A destination that is longer is not rewritten: browsers and mail programs end there or earlier.
pub(crate) const DESTINATION_OCTETS_MAX: usize = verdict::limits::URL_OCTETS_MAX;
/// Long destinations of one message that are kept: the longest newsletters seen have some hundred links, few of them long.
pub(crate) const KEPT_OF_A_MESSAGE_MAX: usize = 500;
/// A key signs for so long, and a new one takes its place.
pub(crate) const KEY_DAYS: i64 = 30;
/// Connections to the page at the same time; behind a proxy some dozen carry everything.
pub(crate) const WEB_CONNECTIONS_MAX: usize = 512;
/// Requests in a second, over all of them: a town that clicks at once; beyond it 429 with Retry-After.
pub(crate) const WEB_REQUESTS_PER_SECOND: u32 = 500;
/// From the end of an answer to the end of the next request.
pub(crate) const WEB_PATIENCE: Duration = Duration::from_secs(30);
/// Of a request's body; a click has none.
pub(crate) const WEB_BODY_OCTETS_MAX: usize = 100 << 10;
/// What is asked of the store for a click.
pub(crate) const CLICK_STORE_BUDGET: Duration = Duration::from_secs(3);
/// Clicks that are counted in memory before they are written; a journal in which each were a row would be anybody's to fill.
pub(crate) const CLICKS_WAITING_MAX: usize = 10_000;
pub(crate) const CLICKS_WRITTEN_EVERY: Duration = Duration::from_secs(1);
/// Of a destination, what is kept beside its clicks.
pub(crate) const CLICK_URL_CHARS_MAX: usize = 500;
/// Of a destination, what a page shows.
pub(crate) const SHOWN_URL_CHARS_MAX: usize = 2_000;
