//! Bounds of the data plane, each with its reason.

use std::time::Duration;

/// Sessions at the same time; Exchange Online opens some dozens to one smart host for one tenant, the rest is headroom
/// for many tenants. An idle one costs about 60 KiB, most of it TLS.
pub const SESSIONS_MAX: usize = 2_500;
/// Files that may be open: a socket for each session in and out, and some for the store.
pub const OPEN_FILES: u64 = 8_192;
/// Sessions of peers outside `gateway.microsoft_ranges`: nobody but a probe of ours has business here, and whoever
/// opens many must not take the room of Exchange Online.
pub const STRANGERS_MAX: usize = 32;
/// Messages under way at the same time; each may hold its octets twice in memory.
pub const JOURNEYS_MAX: usize = 64;
/// Octets of messages under way, over all sessions: half of a small server's memory. A single message of the largest
/// size fits several times.
pub const OCTETS_UNDER_WAY_MAX: usize = 1 << 30;
/// For room for a message, before it is refused for now: others end within seconds, and a client waits five minutes for
/// the answer to MAIL (RFC 5321 §4.5.3.2.2).
pub const ROOM_PATIENCE: Duration = Duration::from_secs(15);
/// Found at once for a message that is larger than it said.
pub const ROOM_STEP_OCTETS: usize = 1 << 20;
/// From this size on a message waits for its turn to be decoded, of which there are so many at a time: decoded parts are
/// about as large as the message.
pub const LARGE_OCTETS: usize = 4 << 20;
pub const LARGE_AT_ONCE: usize = 2;
/// Mailboxes of one domain in one transaction; Exchange Online answers the 201st with 452 4.5.3 (transport.md S12).
pub const RECIPIENTS_OF_A_DOMAIN_MAX: usize = 200;
/// Connections to one tenant at the same time: Exchange Online throttles those who open many (transport.md G20).
pub const RETURN_CONNECTIONS_MAX: usize = 10;
/// Messages taken over each connection until there may be one more, after Exchange Online had asked for fewer.
pub const TAKEN_TO_GROW: usize = 20;
/// Addresses of a host that are tried for one connection; Exchange Online's names have two to four.
pub const ADDRESSES_MAX: usize = 6;
/// What DNS said is believed for so long while DNS says nothing.
pub const ADDRESSES_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Below the time after which mail servers close a silent connection.
pub const IDLE_CONNECTION_AGE: Duration = Duration::from_secs(30);
/// From the last octet of a message to our answer, but for Exchange Online's own answer to the return: far below its
/// patience, which is not published; a vendor answers within 55 s (transport.md F3.9).
pub const JOURNEY_BUDGET: Duration = Duration::from_secs(20);
/// Of that budget, what checking leaves for the way back: a connection, its handshake and the octets.
pub const HAND_BACK_RESERVE: Duration = Duration::from_secs(8);
/// From the last octet of a message on, Exchange Online's answer to the return is waited for so long. Giving up earlier
/// would have it sent again although it was taken.
pub const ANSWER_BY: Duration = Duration::from_secs(50);
/// A store that answers at all answers in milliseconds; its own wait for a lock is ten seconds.
pub const ATTRIBUTE_BUDGET: Duration = Duration::from_secs(4);
/// Journal and alerts are waited for so long before the answer; a healthy store needs a millisecond, and what a locked
/// one gets later is not worth a late answer.
pub const WRITTEN_MEANWHILE: Duration = Duration::from_secs(2);
/// Journeys that wait for room; from then on new sessions are turned away, before those that are here become late.
pub const JOURNEYS_WAITING_MAX: usize = 128;
/// What was found in a message is shared with its other parts for so long: Exchange Online hands them over within
/// seconds, and a part that was refused for now comes again within minutes.
pub const JUDGEMENT_LIFE: Duration = Duration::from_secs(600);
/// Judgements that are kept; some hundred octets each.
pub const JUDGEMENTS_MAX: usize = 20_000;
/// Own DKIM and ARC verification; a slow DNS server of a sender must not use up Exchange Online's patience.
pub const AUTHENTICATE_BUDGET: Duration = Duration::from_secs(3);
/// DKIM signatures that are verified: more is an attack on the verifier (each costs a lookup and an RSA operation).
pub const SIGNATURES_MAX: usize = 10;
/// The sender's history is waited for so long: one row by its key, a fraction of a millisecond when the store is well.
pub const HISTORY_BUDGET: Duration = Duration::from_millis(200);
/// All detectors together, for the largest message.
pub const INSPECT_BUDGET: Duration = Duration::from_secs(10);
/// Scanners are given up so long before the message is, so that what they lack is decided like anything else.
pub const SCANNERS_MARGIN: Duration = Duration::from_millis(100);
/// From this size on, parsing and inspecting leave the threads on which sockets are served, and can be given up.
pub const OWN_THREAD_OCTETS: usize = 128 * 1024;
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
/// How long sessions that rest are given to take their goodbye, once nothing is under way.
pub const GOODBYE_PATIENCE: Duration = Duration::from_secs(2);
/// How old an answer of the store's writability may be: whoever asks /readyz in a loop costs the disk no more than this.
pub const READY_BELIEVED: Duration = Duration::from_secs(1);
/// The store must take a small write within this time to count as writable; it takes a millisecond when well.
pub const READY_WRITE: Duration = Duration::from_secs(2);
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
/// Addresses of members of groups that the rules of one tenant name; each takes about a hundred octets of memory.
pub const RULE_MEMBERS_MAX: usize = 200_000;
/// Notices of what a policy did, for one tenant: more in an hour nobody reads, and it is a report that is wanted.
pub const NOTICES_PER_WINDOW: usize = 60;
pub const NOTICES_WINDOW: Duration = Duration::from_secs(3600);
