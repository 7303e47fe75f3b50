//! Bounds of the control plane, each with its reason.

use std::time::Duration;

/// Until a new application, key, permission or role is in effect (wire.md 1.3, 7.6: minutes, up to about an hour).
pub const PROPAGATION_PATIENCE: Duration = Duration::from_secs(3600);
/// Until the proof in our zone is visible and Microsoft has verified it (wire.md 3.4: up to 30 minutes).
pub const DOMAIN_PATIENCE: Duration = Duration::from_secs(1800);
/// Until Exchange shows a verified domain as an accepted one (wire.md 3.4: up to 60 minutes).
pub const ACCEPTED_DOMAIN_PATIENCE: Duration = Duration::from_secs(3600);
/// Until a probe has gone all the way round: a rule takes up to 30 minutes to be in effect (transport.md 4.2).
pub const PROBE_PATIENCE: Duration = Duration::from_secs(2700);
/// A probe that did not arrive by then is sent once more: the first may have passed before the rule was in effect.
pub const PROBE_AGAIN: Duration = Duration::from_secs(30);
/// Between two looks: short at first, then longer.
pub const LOOK_FIRST: Duration = Duration::from_millis(200);
pub const LOOK_MAX: Duration = Duration::from_secs(15);
/// Characters of an accepted domain that serves as a certificate's name (transport.md F1.6).
pub const CONNECTOR_DOMAIN_MAX: usize = 48;
/// Characters of a DNS label (RFC 1035 §2.3.4).
pub const LABEL_MAX: usize = 63;
/// Days for which the application's own certificate and the return certificates we issue are good.
pub const CERTIFICATE_DAYS: i64 = 397;
/// Seconds of a day.
pub const DAY: i64 = 86_400;
/// Certificates are renewed when they are good for fewer days: two months leave time for people on holiday.
pub const RENEW_DAYS: i64 = 60;
/// From so many days before its end on, a certificate is a reasonable worry, then a sure one.
pub const EXPIRY_MEDIUM_DAYS: i64 = 30;
pub const EXPIRY_HIGH_DAYS: i64 = 7;
/// A certificate that was replaced stays in the tenant for so long: Microsoft's servers learn of the new one in their
/// own time (wire.md 1.4: minutes).
pub const CREDENTIAL_OVERLAP_SECS: i64 = DAY;
/// A secret that was replaced is taken for so long: Exchange Online keeps a message for a day, and a rule change
/// takes up to an hour to be in effect (transport.md 4.3).
pub const SECRET_OVERLAP_SECS: i64 = 25 * 3600;
/// Until a rule that was changed is in effect for certain, where no probe can show it (transport.md 4.3: up to an hour).
pub const SECRET_IN_EFFECT_SECS: i64 = 3600;
/// Until what was changed shows when it is read: copies of Microsoft's directory lag by seconds to minutes, mail flow
/// rules by up to half an hour (wire.md 7.9).
pub const SETTLE_PATIENCE: Duration = Duration::from_secs(1800);
/// Tries to make an object whose making was not answered; each looks first.
pub const CREATE_TRIES: u32 = 5;
/// For another's lock on a tenant: the watch holds it for an instant, a run of ours for minutes.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(1);
pub const LOCK_AGAIN: Duration = Duration::from_millis(50);
/// Looks of the proof after which what cannot be read counts as that.
pub const LOOKS_AT_UNKNOWN: u32 = 4;
/// Until rules that were switched off show so, before the way back is touched; where they do not by then, nothing is.
pub const CLOSED_PATIENCE: Duration = Duration::from_secs(600);
/// Until nothing is under way to us any more after the way out was closed: a rule stays in effect for up to half an
/// hour (transport.md 4.2). What comes later is routed anew by Exchange Online itself.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(2700);
/// Messages of our own in a row that must arrive without coming by before the way out counts as closed.
pub const DRAIN_PROBES: u32 = 3;
/// What waits in Exchange Online once the way out is closed has so long to go on; it may wait for somebody else's
/// server, which the trace does not tell.
pub const QUEUE_PATIENCE: Duration = Duration::from_secs(300);
/// Times of which the audit feed could not be read, as remembered.
pub const FEED_GAPS_KEPT: usize = 10;
/// What somebody did shows so much later at most in what we read (transport.md 4.2, wire.md 7.9: half an hour).
pub const SHOWS_WITHIN: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// An audit record may be dated so much later than what it tells was seen.
pub const RECORD_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_mins(2);
/// Blobs of the audit feed are listed by arrival, and the list itself lags: what arrived so long before the last
/// reading is listed again.
pub const FEED_OVERLAP_SECS: i64 = 3600;
/// How far back the audit feed can be asked (wire.md 9.1: seven days); a little less, since time passes while asking.
pub const FEED_HOURS_BACK: i64 = 7 * 24 - 1;
/// Acts of administrators that are remembered, to say who did something: more than a busy week has.
pub const ACTS_KEPT: usize = 500;
/// Octets of randomness in a secret: 256 bits.
pub const SECRET_OCTETS: usize = 32;
/// For one round of the watch at one tenant: a dozen lists with their retries and two probes; a tenant that is slower
/// is looked at again next time.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(1800);
/// A set-up that could not be read for so long is told to a person; shorter troubles of Microsoft pass.
pub const BLIND_AFTER: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// Within this time an object is healed at most [`HEALS_PER_OBJECT`] times and a tenant gets at most [`HEALS_MAX`]
/// healing steps: whoever undoes it twice means it, and a person must decide.
pub const HEAL_WINDOW: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
pub const HEALS_PER_OBJECT: usize = 2;
pub const HEALS_MAX: usize = 20;
/// What was healed and reads as before is taken for an old copy for so long, unless somebody is known to have undone it.
pub const HEAL_SHOWS: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);
/// How often the outbox is looked at: other processes write into it, and a second is soon enough for a person.
pub const NOTICE_LOOK: Duration = Duration::from_secs(1);
/// A notice that lies for so long after it was due is delivered by nobody: a try takes seconds, and whoever gets one twice
/// knows it by its id.
pub const NOTICE_LIES: Duration = Duration::from_secs(30);
/// Before a notice is tried for the second time; doubled with each try, up to half an hour, for a day. Who has not been
/// told after a day finds it in the list of alerts.
pub const NOTICE_AGAIN_FIRST: Duration = Duration::from_secs(2);
pub const NOTICE_AGAIN_MAX: Duration = Duration::from_secs(1800);
pub const NOTICE_LIFE: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
/// One POST; a receiver that works longer should take it first.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// One line to syslog, looking its host up included.
pub const SYSLOG_TIMEOUT: Duration = Duration::from_secs(10);
/// After the last octet over TCP: a peer that was not there answers with a reset within a round trip.
pub const SYSLOG_CLOSE: Duration = Duration::from_secs(2);
/// Every receiver must take 480 octets in a datagram and should take 2048 (RFC 5424 §6.1).
pub const SYSLOG_DATAGRAM_OCTETS_MAX: usize = 2048;
/// One message to a smart host.
pub const NOTICE_MAIL_TIMEOUT: Duration = Duration::from_secs(60);
/// What `posthouse status` and the watch measure.
pub const MEASURED_SPAN: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// The most that Get-MessageTraceV2 gives at once (wire.md 8.10).
pub const TRACE_ROWS_A_PAGE: usize = 5000;
/// Of the 100 questions in 5 minutes that Microsoft allows a tenant (wire.md 8.10), as many for one window: the watch, a
/// person's status and a probe may ask at the same time. 200,000 lines are the hour of a very large tenant.
pub const TRACE_PAGES_MAX: usize = 40;
/// Until a changed rule is in effect everywhere (transport.md 4.2).
pub const RULE_IN_EFFECT: jiff::SignedDuration = jiff::SignedDuration::from_mins(30);
/// Between two looks of the watch at delivered mail: each may take [`TRACE_PAGES_MAX`] questions of Microsoft's 100 in
/// 5 minutes.
pub const UNSEEN_EVERY: Duration = Duration::from_secs(300);
/// Delivered mail counts as unseen when it is so old: the trace shows a delivery before our journal is written, and
/// lags by minutes itself.
pub const UNSEEN_GRACE: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);
/// More than so many hundredths of at least so many messages are no odd one out: protection is off for a part of the mail.
pub const UNSEEN_PERCENT_HIGH: u64 = 20;
pub const UNSEEN_MESSAGES_MIN: u64 = 10;
/// A certificate or credential that ends sooner is not as it should be; renewing takes a person a few days.
pub const EXPIRY_SOON: jiff::SignedDuration = jiff::SignedDuration::from_hours(14 * 24);
/// Between two looks at what changed in a directory: a new user is to be covered within a minute of Microsoft showing
/// her, and two questions a tenant every quarter of a minute are far below what Microsoft allows (wire.md 2.5).
pub const DIRECTORY_EVERY: Duration = Duration::from_secs(15);
/// A directory that could not be followed for so long is told to a person; shorter troubles of Microsoft pass.
pub const DIRECTORY_STALE: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// The whole list of mailboxes is read so often: a mailbox that came or went without its user changing is rare.
pub const MAILBOXES_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
/// New mailboxes that Exchange is asked about one by one in one round; the next round goes on.
pub const CONFIRMED_AT_ONCE: u32 = 50;
/// Pages of one reading of a directory: a million users at fifty a page; more is a link that leads round in circles.
pub const DELTA_PAGES_MAX: usize = 20_000;
/// Progress is shown each time that so many more were read: some dozens of lines for the largest tenants.
pub const PROGRESS_EVERY: u64 = 1000;
/// Minutes for which a tenant may let the gateway fail before the watchdog turns routing off. Not below ten: Exchange
/// Online keeps mail for a day, a rule takes up to half an hour to be in effect, and a restart takes less. Not above
/// twenty hours: half an hour later the rules are in effect, and what waits is still not sent back.
pub const FAIL_OPEN_MINUTES_MIN: u32 = 10;
pub const FAIL_OPEN_MINUTES_MAX: u32 = 20 * 60;
/// For the gateway's greeting, STARTTLS and what comes after it: a server under load answers in seconds, and Exchange
/// Online gives up sooner than a person would.
pub const DOOR_PATIENCE: Duration = Duration::from_secs(20);
/// Rounds of the watchdog that are kept for its judgement: the longest allowance at one a minute, and some more.
pub const ROUNDS_KEPT: usize = FAIL_OPEN_MINUTES_MAX as usize + 60;
/// So many rounds may be missing between two before nobody can say what was between them.
pub const ROUNDS_MISSING: u32 = 5;
/// Probes in a row that have to be lost before they count: one may be lost without anybody's fault.
pub const PROBES_LOST: usize = 2;
/// Minutes for which a probe that came round says that the way works, and for which journeys are counted.
pub const PROBE_FRESH_MINUTES: u32 = 5;
pub const SHARE_MINUTES: u32 = 10;
/// Fewer messages say nothing of the gateway; and of those that came all but a few must have been refused for a fault of
/// ours. What comes through, be it one probe, shows that others fail for what they are.
pub const SHARE_MESSAGES_MIN: u64 = 5;
pub const SHARE_PERCENT: u64 = 90;
/// Minutes between two questions for what waits: each is one of the 100 that Microsoft allows in five minutes.
pub const WAITING_EVERY_MINUTES: u32 = 5;
/// Minutes for which a message must have waited: Exchange Online's own delays, and what is on its way now.
pub const WAITING_MINUTES: u32 = 10;
/// Before the way is proven again the gateway must have answered for so many minutes without a break, and after a proof
/// that failed nothing is tried for as long.
pub const WELL_MINUTES: u32 = 10;
/// Probes in a row, each way, before everybody's mail goes out again after the watchdog held it back.
pub const OPENING_PROBES: usize = 3;
/// Minutes for a probe to come round while routing is being turned on: a rule takes half an hour to be in effect.
pub const OPENING_PROBE_MINUTES: u32 = 45;
/// Within a day the watchdog turns routing off so often, and after the last time leaves it off: a gateway that fails again
/// and again delays mail each time by the allowance, and rules that change more often than they come into effect do
/// neither of both.
pub const OFFS_A_DAY: usize = 3;
/// Minutes between two alerts while routing is off.
pub const OFF_TOLD_EVERY_MINUTES: u32 = 60;
/// Half a change of the watchdog's is no tampering for so long; after that nobody is at work on it any more.
pub const UNDER_WAY_MAX: jiff::SignedDuration = jiff::SignedDuration::from_hours(3);
/// For one round of the watchdog at one tenant, a proof of both ways by mail included.
pub const ROUND_TIMEOUT: Duration = Duration::from_secs(3 * 3600);
/// Unchecked messages that are written down for each time that routing was off, for judging them later; the count goes on.
pub const UNCHECKED_KEPT: usize = 10_000;
/// Times of which unchecked mail is remembered.
pub const WINDOWS_KEPT: usize = 50;
/// Minutes after which unchecked mail is counted again: the trace lags, and rules take half an hour to be in effect.
pub const RECOUNT_MINUTES: u32 = 35;
/// Rounds after which nobody is taken to keep watch any more: a restart takes less.
pub const ROUNDS_UNATTENDED: i64 = 10;
/// Microsoft counts questions to the trace within this time, 100 of a tenant (wire.md 8.10). The ledger is in no hurry
/// and asks half of them, so that the watch and a person's status find room.
pub const TRACE_WINDOW: Duration = Duration::from_secs(300);
pub const TRACE_PATIENT_MAX: usize = 50;
/// The ledger waits when it is asked to, so long and so often for one question; Microsoft counts within 5 minutes, so
/// whoever asks for more is not only throttling.
pub const TRACE_WAIT_MAX: Duration = Duration::from_secs(600);
pub const TRACE_WAITS_MAX: u32 = 3;
/// The ledger holds so much of journal and trace at once; an hour of a very large tenant is some hundred thousand lines.
pub const LEDGER_SPAN: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// An hour with too many lines is cut in halves, down to this; more than 200,000 lines a minute nobody has.
pub const LEDGER_SPAN_MIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);
/// Both sides are read so far over the ends of the window: a pass through us takes seconds, Microsoft's clock and ours
/// differ by less than this (wire.md 1.3: half of an assertion's life).
pub const LEDGER_MARGIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);
/// The trace lags by minutes; what lacks its other half is too new to tell for so long unless somebody says otherwise.
pub const LEDGER_GRACE: jiff::SignedDuration = jiff::SignedDuration::from_mins(15);
/// Message-IDs whose story is read from the store at once.
pub const LEDGER_IDS: usize = 1000;
/// Messages that look missing there are asked for by their Message-ID, each a question or more of 100 in 5 minutes;
/// where more look so, it is no odd one out, and a shorter window tells the others.
pub const LEDGER_SUSPECTS_MAX: usize = 50;
/// Of each list so many are named; more are counted.
pub const LEDGER_LISTED_MAX: usize = 1000;
/// Exchange Online keeps trying for a day; a message that waits there for longer after it came back is stuck.
pub const LEDGER_UNDER_WAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(25);
/// One question to the trace spans ten days and goes ninety back (wire.md 8.10); a little less, since time passes.
pub const TRACE_SPAN: jiff::SignedDuration = jiff::SignedDuration::from_hours(10 * 24 - 1);
pub const TRACE_BACK: jiff::SignedDuration = jiff::SignedDuration::from_hours(90 * 24 - 1);
