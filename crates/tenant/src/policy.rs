//! What a tenant chose.

use serde::{Deserialize, Serialize};

/// How far mail of the tenant is routed through us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// No rule of ours exists or all are off.
    Off,
    /// Only probe messages are routed, until both directions are proven.
    Probe,
    /// Every message is routed.
    Everyone,
}

/// What happens to a message that we could not judge because *we* are broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnjudged {
    /// Refuse for now; Exchange Online tries again for a day.
    #[default]
    Defer,
    /// Hand it back marked as unjudged.
    Pass,
}

/// What a tenant wants done with what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Findings of these detectors are written down but hold nothing.
    pub only_note: Vec<String>,
    pub when_unjudged: WhenUnjudged,
}
