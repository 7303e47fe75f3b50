//! What we think of a message and why: evidence → findings → decision. No I/O, no clock.
//!
//! [`Content`] is what a reader's program would show of the message, gathered once; detectors state what they saw in it
//! and nothing else; [`decide`] sees findings and policy, never the message.

pub mod because;
pub mod brands;
pub mod classifier;
pub mod click;
pub mod content;
pub mod custom;
pub mod decide;
pub mod detectors;
pub mod domains;
pub mod evidence;
pub mod finding;
pub mod limits;
pub mod lists;
pub mod look_alike;
mod saved;
pub mod sender;
mod stated;
pub mod strip;
pub mod tally;
mod who;
pub mod wording;

pub use because::Because;
pub use content::Content;
pub use custom::CustomRules;
pub use decide::{Decision, Marks, Measure, Verdict, decide, points};
pub use detectors::inspect;
pub use evidence::{AuthResult, Evidence, Fact, FirstPass, History, Proofs, SenderPolicy};
pub use finding::{Category, Finding, Severity, is_suspicious};
pub use lists::{List, Listing, Lists};
pub use saved::{Ground, Origin, Saved, as_sent};
pub use sender::{Mailbox, Proven, Sender};
pub use stated::stated_helo;
pub use who::Who;
