//! Why a tenant could not be connected or disconnected, and what to do about it.

use m365::{M365Error, Who};

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    // its own words, once: it is no cause of itself
    #[error(transparent)]
    Microsoft(#[from] M365Error),
    #[error("store: {0}")]
    Store(#[from] store::StoreError),
    /// Refused before anything was touched.
    #[error("{0}")]
    Refused(String),
    /// Something must be done by a person first; the text says what.
    #[error("{0}")]
    Waits(String),
    #[error("certificate: {0}")]
    Certificate(String),
    #[error("probe: {0}")]
    Probe(String),
}

impl ControlError {
    pub fn is_temporary(&self) -> bool {
        match self {
            ControlError::Microsoft(e) => e.is_temporary(),
            ControlError::Store(e) => e.is_temporary(),
            _ => false,
        }
    }
    /// True where a change may have been carried out although its answer was lost.
    pub(crate) fn is_outcome_unknown(&self) -> bool {
        matches!(self, ControlError::Microsoft(e) if e.is_outcome_unknown())
    }
    pub fn who_must_act(&self) -> Who {
        match self {
            ControlError::Microsoft(e) => e.who_must_act(),
            ControlError::Refused(_) => Who::TenantAdmin,
            _ => Who::Us,
        }
    }
}
