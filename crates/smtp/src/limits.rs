//! Bounds of SMTP sessions, each with its reason.

use std::time::Duration;

/// 150 MiB: what Exchange Online itself advertises (transport.md F3.8); less would bounce what it takes.
pub const MESSAGE_OCTETS_MAX: usize = 157_286_400;
/// Of the header section, four times what Exchange Online itself takes (256 KiB): what is larger is no mail of its, and
/// every reader would walk it field by field. Lines have no bound of their own: real ones are longer than RFC 5322 allows.
pub const HEADER_OCTETS_MAX: usize = 1 << 20;
/// RFC 5321 §4.5.3.1.4 asks for 512, RFC 3461 adds 500 for ORCPT and 100 for ENVID, RFC 6531 more for addresses.
pub const COMMAND_OCTETS_MAX: usize = 4096;
/// Exchange Online sends expanded groups in chips of up to 1,000 recipients (transport.md S57, G6). As many more hear 452,
/// so that their sender brings them with the next message (RFC 5321 §4.5.3.1.10); then the session ends.
pub const RECIPIENTS_MAX: usize = 2000;
/// Commands that make no sense; more is no mail server.
pub const ERRORS_MAX: u32 = 20;
/// Commands that lead to no message (NOOP, RSET, EHLO, …) since the last one; a real client needs a handful, and each
/// costs us an answer. Postfix has the same number.
pub const IDLE_COMMANDS_MAX: u32 = 100;
/// Senders and recipients refused in one session: each may cost a look into the store, and who was refused so often
/// learns nothing from one refusal more.
pub const REFUSALS_MAX: u32 = 100;
/// A message that is too large is read to its end, so that its sender hears why; from this many times the largest size
/// on it is no mail.
pub const SWALLOWED_SIZES_MAX: usize = 2;
/// Replies of a pipelined group are sent when they are this long, whatever else waits (RFC 2920 §3.2): a peer that
/// does not read them must not fill our memory.
pub const REPLIES_OCTETS_MAX: usize = 16 * 1024;
/// RFC 5321 §4.5.3.2.7: a server waits at least five minutes for a command.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
/// RFC 5321 §4.5.3.2.5: three minutes for the next block of data.
pub const DATA_TIMEOUT: Duration = Duration::from_secs(180);
/// What a message must bring on average beyond its first [`DATA_TIMEOUT`]: an octet every two minutes keeps every
/// single time-out, and a session for ever. Exchange Online sends megabytes a second; at this rate 150 MiB last half a day.
pub const DATA_OCTETS_PER_SECOND_MIN: usize = 4096;
/// Life of a session, after which it ends at the next command; mail servers open new ones for new mail, and Exchange's own
/// limit is ten minutes. RFC 5321 has time-outs for each command and none for their number.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(3600);
/// Of the peer's reading what we write: five minutes as for its commands.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(300);
/// A handshake is four packets; a peer that needs longer holds a session open for nothing.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that wait to be accepted; the system takes the lower of this and its own limit. With the usual 128 a burst of
/// strangers leaves honest peers with connections that nobody ever answers.
pub const LISTEN_BACKLOG: u32 = 4096;
/// Of our own connecting: a healthy mail server answers in well under a second.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Of our own commands; far below the patience of whoever waits for us (transport.md F3.9: 60 s).
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// Of the answer to our end-of-data: Exchange Online says 250 when its backend has the message.
pub const END_OF_DATA_TIMEOUT: Duration = Duration::from_secs(50);
/// RCPT commands in one go; their replies must fit the peer's socket buffer while we still write.
pub const PIPELINED_MAX: usize = 100;
/// Lines of one reply; EHLO has about ten.
pub const REPLY_LINES_MAX: usize = 100;
/// Octets of one reply; a long EHLO has one thousand.
pub const REPLY_OCTETS_MAX: usize = 64 * 1024;
/// RFC 8305 §5: an address that has not answered by then gets company.
pub const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// A host that took the connection and has not greeted and shaken hands by then; a healthy one needs well under a second.
pub const NEXT_GREETING_AFTER: Duration = Duration::from_secs(3);
/// Octets of a message that are written at once: four TLS records (RFC 8446 §5.1).
pub const WRITE_OCTETS: usize = 64 * 1024;
/// A message may be larger than its SIZE said (RFC 1870 §6: an estimate) by so much before room has to be found anew.
pub const ANNOUNCED_SLACK_OCTETS: usize = 64 * 1024;
/// Read at once while a message comes.
pub const READ_OCTETS: usize = 64 * 1024;
/// Read at once while nothing comes: a pipelined group of commands. Thousands of idle sessions have it.
pub const IDLE_READ_OCTETS: usize = 4 * 1024;
