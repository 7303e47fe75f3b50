//! What we think of a message and why: evidence → findings → decision. No I/O, no clock.
//!
//! [`Content`] is what a reader's program would show of the message, gathered once; detectors state what they saw in it
//! and nothing else; [`decide`] sees findings and policy, never the message.

pub mod content;
pub mod decide;
pub mod detectors;
pub mod evidence;
pub mod finding;
pub mod lists;

pub use content::Content;
pub use decide::{Decision, Verdict, decide};
pub use detectors::inspect;
pub use evidence::{AuthResult, Evidence, Proofs};
pub use finding::{Category, Finding, Severity};
pub use lists::{List, Listing, Lists};
