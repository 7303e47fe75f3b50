//! How mail moves: a session of each role without I/O, a thin driver for each, and TLS as mail peers need it.
//!
//! Standards: RFC 5321, 1870 (SIZE), 2034 (enhanced codes), 2920 (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS),
//! 3461 (DSN), 6152 (8BITMIME), 6531 (SMTPUTF8). Never here: what a message means, and who may send one.

pub mod client;
mod client_session;
mod command;
mod data;
pub mod limits;
mod reply;
pub mod resolver;
pub mod server;
mod session;
pub mod tls;

pub use client::{ClientError, Connection, Deadlines, Target};
pub use client_session::{Action, ClientSession, Delivery, Form};
pub use data::{DataReceiver, stuffed};
pub use reply::Reply;
pub use server::{Handler, Patience, ServerSettings, listen, serve_connection};
pub use session::{Event, Session};
