//! The only crate that touches disk and databases: one SQLite file and a folder of bodies.
//!
//! Trusts the data directory (mode 0700) and its key file (mode 0600). Secrets are sealed at rest.
//! What [`Store::hold`] has answered `Ok` to survives a power cut: body and row are fsynced.

mod acts;
mod alerts;
mod bodies;
mod contacts;
mod db;
mod directory;
mod directory_rows;
mod directory_sync;
mod held;
mod journal;
mod key;
mod ledger;
pub mod limits;
mod links;
mod lock;
mod notices;
mod plans;
mod probes;
mod quarantine;
mod tenants;
mod user_lists;
mod zone;

pub use acts::{Act, Verified};
pub use alerts::{Alert, AlertKind, Severity};
pub use bodies::Bodies;
pub use contacts::Contact;
pub use db::Store;
pub use directory::{Directory, DirectoryCounts, Group, MICROSOFT_365_GROUP, Mailbox, UNCONFIRMED, User};
pub use directory_sync::{DirectoryPage, GroupChange, SyncKind, SyncState, Told, UserChange};
pub use held::{Held, HeldFilter, HoldReason, NewHold};
pub use journal::{Ended, EngineAnswer, JourneyEntry, JourneyFilter, Outcome, Passage, StepTime};
pub use ledger::{Facts, HeldEvent, HeldStep, Kept};
pub use links::Click;
pub use lock::TenantLock;
pub use notices::{Delivery, DeliveryState, Due, Notice, NoticeTarget, Tried};
pub use plans::{Pause, Receipt};
pub use probes::{Probe, ProbeArrival};
pub use quarantine::{Claim, Report, Reported};
pub use tenants::StepRecord;
pub use zone::ZoneRecord;

/// What can go wrong on disk; always ours to mend, mostly temporary (a full disk, a locked file).
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("{what}: {source}")]
    File { what: String, source: std::io::Error },
    #[error("the journal was not written: {0}")]
    Journal(String),
    #[error("{0}")]
    Corrupt(String),
}

impl StoreError {
    /// True when trying again later can help without anybody acting.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, StoreError::Corrupt(_))
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;
