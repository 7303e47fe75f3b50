//! What a message is: envelope, bytes, MIME view, edits. No I/O, no clock; parsing never fails.

pub mod edit;
pub mod envelope;
pub mod headers;
pub mod limits;
pub mod message;
mod otherwise;
mod pieces;
mod structure;

pub use edit::{
    Banner, Edit, Edited, NEVER, NULL_SENDER, Never, Replacement, UrlMap, apply, apply_and_tell, escape, may_replace,
};
pub use envelope::{Body, Envelope, Recipient, Return};
pub use headers::{Header, HeaderSection};
pub use message::{Address, Anomaly, Kind, Message, Part};
pub use pieces::Pieces;
