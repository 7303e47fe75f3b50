//! Why an engine cannot say.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("cannot be reached: {0}")]
    Down(String),
    #[error("did not answer within {} ms", .0.as_millis())]
    Slow(Duration),
    #[error("said what no such engine says: {0}")]
    Garbage(String),
    #[error("answered with an error: {0}")]
    Failed(String),
    /// Says something about the message, and nothing about the engine.
    #[error("does not look at what is so large: {0}")]
    TooLarge(String),
    /// It has been failing, and is tried by the clock, not by mail.
    #[error("has been failing since {since}: {why}")]
    Resting { since: jiff::Timestamp, why: String },
}

impl Fault {
    pub const KINDS: [&'static str; 6] = ["down", "slow", "garbage", "failed", "too_large", "resting"];

    /// As metrics call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Down(_) => "down",
            Fault::Slow(_) => "slow",
            Fault::Garbage(_) => "garbage",
            Fault::Failed(_) => "failed",
            Fault::TooLarge(_) => "too_large",
            Fault::Resting { .. } => "resting",
        }
    }

    pub(crate) fn garbage(what: impl AsRef<str>) -> Fault {
        Fault::Garbage(format!("\"{}\"", crate::words(what.as_ref())))
    }

    /// It asks again, and that may help.
    pub fn is_of_the_engine(&self) -> bool {
        !matches!(self, Fault::TooLarge(_))
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Fault::Down(error.to_string())
    }
}
