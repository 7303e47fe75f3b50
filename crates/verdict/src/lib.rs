//! What we think of a message and why: evidence → findings → decision. No I/O, no clock.
//!
//! Detectors state what they saw and nothing else; [`decide`] sees findings and policy, never the message.

pub mod decide;
pub mod detectors;
pub mod evidence;
pub mod finding;

pub use decide::{Decision, Verdict, decide};
pub use detectors::inspect;
pub use evidence::{AuthResult, Evidence, Proofs};
pub use finding::{Finding, Severity};
