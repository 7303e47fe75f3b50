//! Bounds of speaking to Microsoft, each with its reason.

use std::time::Duration;

/// Opening a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// One answer; Exchange cmdlets over large tenants take tens of seconds.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Tries of one request, the first included.
pub const TRIES_MAX: u32 = 6;
/// The longest Retry-After that is honoured in place; a longer one is an error that names it.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);
/// First pause where no Retry-After is given; doubled each time, up to half a minute.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Pages of one list read at once: 1,000 pages of 999 are more users than any tenant has; more is a link that leads round in circles.
pub const PAGES_MAX: usize = 1000;
/// A token is not used any more when it ends so soon: the request and Microsoft's clock need some time too.
pub const TOKEN_MARGIN: Duration = Duration::from_secs(120);
/// Life of the assertion by which an application proves its key (wire.md 1.3: at most ten minutes).
pub const ASSERTION_SECS: i64 = 300;
/// Our clock and Microsoft's count as different from so much on: half of an assertion's life.
pub const CLOCK_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_secs(150);
/// How long a person may take to sign in with a browser.
pub const SIGN_IN_PATIENCE: Duration = Duration::from_secs(900);
/// Octets of an answer that are kept in an error.
pub const ERROR_TEXT_MAX: usize = 400;
