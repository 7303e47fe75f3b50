//! Bounds of the data plane, each with its reason.

use std::time::Duration;

/// Sessions at the same time; Exchange Online opens some dozens to one smart host, the rest is headroom.
pub const SESSIONS_MAX: usize = 512;
/// Sessions of peers outside `gateway.microsoft_ranges`: nobody but a probe of ours has business here, and whoever
/// opens many must not take the room of Exchange Online.
pub const STRANGERS_MAX: usize = 32;
/// Messages under way at the same time; each may hold its octets twice in memory.
pub const JOURNEYS_MAX: usize = 64;
/// Octets announced by SIZE and not yet answered, over all sessions: half a small server's memory.
pub const OCTETS_UNDER_WAY_MAX: usize = 2 << 30;
/// Mailboxes of one domain in one transaction; Exchange Online answers the 201st with 452 4.5.3 (transport.md S12).
pub const RECIPIENTS_OF_A_DOMAIN_MAX: usize = 200;
/// Connections to one tenant at the same time: Exchange Online throttles those who open many (transport.md G20).
pub const RETURN_CONNECTIONS_MAX: usize = 10;
/// Connections kept open for the next message of the same tenant.
pub const IDLE_CONNECTIONS_MAX: usize = 5;
/// Below the time after which mail servers close a silent connection.
pub const IDLE_CONNECTION_AGE: Duration = Duration::from_secs(30);
/// Own DKIM and ARC verification; a slow DNS server of a sender must not use up Exchange Online's patience.
pub const AUTHENTICATE_BUDGET: Duration = Duration::from_secs(3);
/// DKIM signatures that are verified: more is an attack on the verifier (each costs a lookup and an RSA operation).
pub const SIGNATURES_MAX: usize = 10;
/// All detectors together, for the largest message.
pub const INSPECT_BUDGET: Duration = Duration::from_secs(15);
/// From this size on, parsing and inspecting leave the threads on which sockets are served.
pub const OWN_THREAD_OCTETS: usize = 256 * 1024;
/// The visit from which a message goes no further (transport.md G13): the second is handed back with an alert.
pub const VISITS_MAX: u32 = 3;
/// Received fields of our own, whoever wrote them, after which a message is a loop even without a valid mark.
pub const OWN_RECEIVED_MAX: usize = 10;
/// How long a list of tenants is believed before the store is asked whether it changed.
pub const TENANTS_BELIEVED: Duration = Duration::from_millis(250);
/// When the recipients that Microsoft refused for now are tried again, counted from the first refusal;
/// the same steps as Exchange Online's own queue (transport.md S49).
pub const RETRY_MINUTES: [u64; 8] = [1, 5, 15, 30, 60, 120, 240, 480];
/// Retrying ends with the life of a message in Exchange Online's own queue (transport.md F3.7).
pub const RETRY_END: Duration = Duration::from_secs(24 * 3600);
/// How often the held are looked at.
pub const RETRY_LOOK: Duration = Duration::from_secs(20);
/// Journeys under way are given this long when the process is asked to end.
pub const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(60);
/// A return certificate that ends sooner raises an alert; renewing takes a person a few days.
pub const CERTIFICATE_WARNING: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long a probe is expected, and its address open: longer than connecting waits for one (45 minutes), no longer.
pub const PROBE_LIFE: Duration = Duration::from_secs(2 * 3600);
/// How long the journal and the alerts are kept: long enough for "where is the message of last month", short enough
/// for a file that is copied in a minute.
pub const JOURNAL_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// How often what is older is deleted.
pub const JOURNAL_SWEEP: Duration = Duration::from_secs(3600);
/// Octets of the peer's own name that go into our Received field (RFC 1035 §2.3.4).
pub const HELO_OCTETS_MAX: usize = 255;
/// Header octets of a probe that are kept as proof of its arrival.
pub const PROBE_HEADER_OCTETS_MAX: usize = 64 * 1024;
/// Octets of a message to a probe address: a probe is small, and anybody may write there while one is expected.
pub const PROBE_OCTETS_MAX: usize = 256 * 1024;
/// Lifetime of an answer of the connector zone: short, since proofs come and go while a tenant is connected.
pub const ZONE_TTL_SECS: u32 = 30;
/// An idle DNS connection over TCP.
pub const ZONE_TCP_IDLE: Duration = Duration::from_secs(5);
/// After a new configuration token was written into the rules, the old one is expected for so long: a changed rule takes
/// up to half an hour to be in effect everywhere (transport.md 4.2), and that again for whatever is slower.
pub const OLD_TOKEN_GRACE: Duration = Duration::from_secs(3600);
/// RFC 8617 §5.1.1: a chain has no more sets.
pub const ARC_SETS_MAX: usize = 50;
/// DKIM results that are told in an ARC set; a field line has 998 octets (RFC 5322 §2.1.1), and more signatures prove no more.
pub const ARC_RESULTS_MAX: usize = 5;
/// RFC 8301 §3.2 asks for 1024 at least, and for more.
pub const ARC_RSA_BITS_MIN: usize = 2048;
