//! What people do with held mail: look at it without danger, release, delete, allow, block and report it, and hear of
//! it by mail with links of one use (docs/quarantine.md).
//!
//! Reads what attackers wrote and is reached from the Internet: trusts neither message nor link. Never calls Microsoft's
//! HTTP services, and never lets malware out but in an archive with a password.

mod acts;
mod archive;
mod digest;
pub mod limits;
mod link;
mod pages;
mod preview;
mod sanitise;

pub use acts::{Act, ActError, Actor, Done, carry_out};
pub use archive::{ArchiveError, archive};
pub use digest::{Digest, Entry, compose, digests, run, send};
pub use pages::pages;
pub use preview::{Attachment, Preview, preview};
