//! How mail moves: a server session without I/O, a thin driver for it, a client, and TLS as mail peers need it.
//!
//! Standards: RFC 5321, 1870 (SIZE), 2034 (enhanced codes), 2920 (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS),
//! 3461 (DSN), 6152 (8BITMIME), 6531 (SMTPUTF8). Never here: what a message means, and who may send one.

pub mod client;
mod command;
mod data;
pub mod limits;
mod reply;
pub mod resolver;
pub mod server;
mod session;
pub mod tls;

pub use client::{ClientError, Connection, Delivery, Target};
pub use data::DataReceiver;
pub use reply::Reply;
pub use server::{Handler, ServerSettings, serve_connection};
pub use session::{Event, Session};
