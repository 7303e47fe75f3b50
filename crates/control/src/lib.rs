//! The control plane: the life of a tenant. [`connect`] takes seven steps, each looked at before it is done and
//! written down after, so that it can be cut off anywhere and run again; [`disconnect`] takes everything back and
//! shows by reading again that nothing of ours is left. docs/control.md tells both in prose.
//!
//! Law: mail is routed out only after the way back was proven by mail; on removal the way out is closed first.

mod applied;
mod apply;
mod carry_out;
mod connect;
mod disconnect;
mod heal;
mod host;
pub mod ledger;
mod look;
mod measured;
mod plan;
mod receipts;
mod route;
mod status;
mod tell;
mod watch;
mod watchdog;

pub mod notify;

mod drain;
mod feed;
mod grade;
mod grant;
mod rotate;

mod account;
mod consent;
mod directory;
pub mod objects;
mod probe;

mod certificate;
mod error;
mod events;
pub mod limits;
mod proof;
mod settings;
mod work;

pub use apply::apply;
pub use certificate::{CertificateIssuer, Issued};
pub use connect::{Connected, connect};
pub use directory::{DirectoryStatus, directory_status, follow, members_of, synchronise_now};
pub use disconnect::disconnect;
pub use error::ControlError;
pub use events::{Event, State, Step};
pub use feed::{Act, Feed};
pub use look::{Drift, Look, look};
pub use measured::{Fact, Measure, Measured, Reason, Skip, TraceRow, Unseen, skipped, watch_mail};
pub use notify::{notify, notify_test, notify_what_lies};
pub use objects::permissions::{Permission, needed as permissions_needed};
pub use plan::{Action, Change, Notice, Plan, Unknown, ValueChange, plan, plan_removal, plan_wish, preview};
pub use probe::{ProbeResult, last_results as last_probes};
pub use proof::{Proof, Shown};
pub use rotate::{Rotate, rotate_secrets};
pub use settings::{Settings, SignIn, Wish};
pub use status::{Status, status};
pub use watch::{Rhythm, watch};
pub use watchdog::{FailOpen, Off, Phase, ProbeSign, Round, Sign, Unchecked, Verdict, Way, Window, watchdog};
pub use work::Asked;

pub type Result<T> = std::result::Result<T, ControlError>;
