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
/// Octets of randomness in a secret: 256 bits.
pub const SECRET_OCTETS: usize = 32;
/// For one look of the watch at one tenant: five lists, each with its retries; a tenant that is slower is looked at
/// again next time, and keeps no other waiting.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(600);
/// Within this time an object is healed at most [`HEALS_PER_OBJECT`] times and a tenant gets at most [`HEALS_MAX`]
/// healing steps: whoever undoes it twice means it, and a person must decide.
pub const HEAL_WINDOW: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
pub const HEALS_PER_OBJECT: usize = 2;
pub const HEALS_MAX: usize = 20;
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
