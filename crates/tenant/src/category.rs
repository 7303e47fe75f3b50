//! What a message is.

use serde::{Deserialize, Serialize};

/// Most pressing first: of several, the first one names the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    BlockedSender,
    Malware,
    /// Nobody could look into it.
    Unscannable,
    MaliciousUrl,
    Impersonation,
    Phishing,
    AuthenticationFailure,
    Spam,
    Bulk,
    DataLoss,
    Clean,
}

impl Category {
    pub const ALL: [Category; 11] = [
        Category::BlockedSender,
        Category::Malware,
        Category::Unscannable,
        Category::MaliciousUrl,
        Category::Impersonation,
        Category::Phishing,
        Category::AuthenticationFailure,
        Category::Spam,
        Category::Bulk,
        Category::DataLoss,
        Category::Clean,
    ];

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::BlockedSender => "blocked sender",
            Category::Malware => "malware",
            Category::Unscannable => "unscannable",
            Category::MaliciousUrl => "malicious URL",
            Category::Impersonation => "impersonation",
            Category::Phishing => "phishing",
            Category::AuthenticationFailure => "authentication failure",
            Category::Spam => "spam",
            Category::Bulk => "bulk",
            Category::DataLoss => "data loss",
            Category::Clean => "clean",
        }
    }
}
