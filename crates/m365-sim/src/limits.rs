//! Bounds of the simulated services, each with its reason. Those of the transport stand in `transport/limits.rs`.

/// Remembered earlier states of one tenant's configuration (Q36): a scenario makes tens of changes within a lag.
pub const HISTORY_MAX: usize = 512;
/// Records in one blob of the activity feed: Microsoft aggregates; ten is enough to make a client loop twice.
pub const BLOB_RECORDS_MAX: usize = 10;
/// Seconds of activity that one blob covers at most, so that `contentCreated` stays near its records.
pub const BLOB_SPAN_SECS: i64 = 60;
/// Days that a blob can be fetched (activity API reference: 7).
pub const CONTENT_DAYS: i64 = 7;
/// Hours that one question for content may span (activity API reference: 24).
pub const CONTENT_WINDOW_HOURS: i64 = 24;
/// Days that a message trace may span, and look back (Get-MessageTraceV2 page).
pub const TRACE_SPAN_DAYS: i64 = 10;
pub const TRACE_BACK_DAYS: i64 = 90;
/// Rows of a message trace: usual and most (Get-MessageTraceV2 page).
pub const TRACE_ROWS: usize = 1000;
pub const TRACE_ROWS_MAX: usize = 5000;
/// Message traces of a tenant within so many seconds (Get-MessageTraceV2 page: 100 in 5 minutes).
pub const TRACES_MAX: usize = 100;
pub const TRACES_WINDOW_SECS: i64 = 300;
/// Entries of one IP list of the connection filter (Set-HostedConnectionFilterPolicy page).
pub const FILTER_ENTRIES_MAX: usize = 1273;
/// What left the folders of one mailbox, remembered for delta queries: more than a scenario moves in one mailbox.
pub const GONE_MAX: usize = 50_000;
/// Notifications that `GET /notifications` still shows.
pub const NOTICES_MAX: usize = 50_000;
/// Requests in one `$batch` (Graph JSON batching page).
pub const BATCH_MAX: usize = 20;
/// Active subscriptions of one mailbox over all applications (wire.md 6).
pub const MAILBOX_SUBSCRIPTIONS_MAX: usize = 1000;
/// People and groups that one seeding adds: more than the largest tenant that a scenario needs, within memory.
pub const SEED_MAX: u64 = 200_000;
