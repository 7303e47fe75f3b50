//! Bounds of the simulated transport, each with its reason.

use std::time::Duration;

/// RFC 5321 §4.5.3.1.4 asks for 512; DSN and SMTPUTF8 parameters need more.
pub const COMMAND_OCTETS_MAX: usize = 4096;
/// Idle time of a peer (Exchange's receive connectors: 5 minutes on the Internet side).
pub const IDLE: Duration = Duration::from_secs(300);
/// Recipients of one domain in one transaction (S12).
pub const RECIPIENTS_PER_DOMAIN_MAX: usize = 200;
/// Connections that are open outwards at the same time: a scenario's machine is small.
pub const OUTGOING_MAX: usize = 20;
/// Time to connect and greet.
pub const CONNECT: Duration = Duration::from_secs(30);
/// Time for a command's answer (RFC 5321 §4.5.3.2).
pub const COMMAND: Duration = Duration::from_secs(300);
/// Nesting of groups that is followed; more is a circle.
pub const GROUP_DEPTH_MAX: usize = 16;
