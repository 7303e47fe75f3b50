//! Bounds of the store, each with its reason.

use std::time::Duration;

/// How long a statement waits for another process's write before it fails: the command line and the
/// gateway share one file, and a journal write takes well below a millisecond.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers beside the writers: the console, the command line and the tenant cache; more only queue for two cores.
pub const READERS: u32 = 4;
/// Alerts about the same thing within this time are one row with a count, so that an attacker cannot fill the disk.
pub const ALERT_WINDOW_SECS: i64 = 3600;
/// A body without a row is a write that never finished; after a day nobody can still be writing it.
pub const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);
/// Rows a listing returns unless told otherwise: what fits a person's scroll-back.
pub const LIST_DEFAULT: u32 = 50;
/// Characters of a reply by which journeys are counted: code, enhanced code and the first words, but not the journey's
/// id, which no two have in common.
pub const REPLY_BEGIN: i64 = 27;
/// A plan may be approved for so long; after a month nobody remembers why it was made.
pub const PLAN_DAYS_MAX: i64 = 30;
/// Notices below high severity to one target within an hour. Strangers can raise alerts, one for each address they come
/// from; whoever is told must not be drowned by them. What is beyond stands in the list of alerts.
pub const NOTICES_PER_HOUR: i64 = 60;
/// Held messages whose time is over that are deleted in one go: each is a file.
pub const EXPIRED_AT_ONCE: u32 = 500;
/// Journal entries that are written together: as many as journeys can be under way; more would make the first wait.
pub const JOURNAL_ROWS_TOGETHER: usize = 64;
/// Recipients of one outbound message that become contacts: who writes to more writes to a list.
pub const CONTACTS_OF_A_MESSAGE_MAX: usize = 20;
/// Senders that one user lists, allowed and blocked together: all users' lists are in the gateway's memory.
pub const USER_ENTRIES_MAX: i64 = 500;
/// Whoever uses a link is done within a minute, Exchange Online's answer included; a link whose user was killed meanwhile
/// is good again after five.
pub const LINK_CLAIM_MILLIS: i64 = 5 * 60 * 1000;
/// Journeys that are read at once where all of some days are: some megabytes.
pub const JOURNEYS_READ: i64 = 1_000;
