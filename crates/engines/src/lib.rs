//! Outside scanners, each optional, behind one small interface: an engine is [`Asked`] about a message and says what it
//! found, or why it cannot say. It never decides; what its fault means for mail stands in the gateway's table
//! (docs/failure.md), how each is set up in docs/engines.md.
//!
//! Trusts no engine: answers are bounded and may be garbage, and whoever does not answer is not waited for again and
//! again ([`health`]).

mod clamd;
mod engine;
mod fault;
mod feeds;
mod health;
mod icap;
pub mod limits;
mod rspamd;
mod settings;
pub mod started;
mod wire;
#[cfg(feature = "yara")]
mod yara;

pub use engine::{Answer, Change, Engines, Status};
pub use fault::Fault;
pub use feeds::{FeedSettings, FeedStatus, Feeds, Format, Source};
pub use health::Health;
pub use settings::{Address, Engine as EngineSettings, KINDS, Kind, OnFault};

use bytes::Bytes;
use std::net::IpAddr;

/// A message, and what is known of who sent it: facts that a scanner may weigh.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Of the journey; stands in the engine's own log.
    pub id: String,
    pub raw: Bytes,
    /// Who handed it to Microsoft, never Microsoft itself.
    pub client: Option<IpAddr>,
    pub helo: Option<String>,
    /// Empty for the null sender.
    pub sender: String,
    pub recipients: Vec<String>,
    /// A user of the tenant sends it.
    pub is_outbound: bool,
}

/// What `posthouse engines` shows.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Report {
    pub engines: Vec<Status>,
    pub lists: Vec<FeedStatus>,
}

/// What an engine found, in the form of every finding.
fn found(
    kind: Kind,
    category: verdict::Category,
    severity: verdict::Severity,
    points: u32,
    summary: String,
    details: Vec<String>,
) -> verdict::Finding {
    verdict::Finding { detector: kind.as_str().into(), category, severity, points, summary, details }
}

/// Words of an engine, for people: bounded, in one line, without what a terminal obeys.
fn words(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(limits::WORDS_CHARACTERS_MAX).map(plain).collect()
}
