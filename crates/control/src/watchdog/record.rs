//! What the watchdog remembers of a tenant between rounds and over its own death. What holds a way closed stands in the
//! tenant itself ([`Tenant::closed`]); this says since when, why, and how far a change has come.

use super::judge::{Round, Verdict};
use crate::{Result, limits};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::Store;
use tenant::{Direction, TenantId};

/// The last rounds, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rounds {
    pub rounds: Vec<Round>,
    /// What followed from them.
    pub inbound: Verdict,
    pub outbound: Verdict,
    pub every_secs: u64,
}

impl Default for Rounds {
    fn default() -> Rounds {
        let nothing = || Verdict::Unknown { why: "nobody has looked yet".into() };
        Rounds { rounds: Vec::new(), inbound: nothing(), outbound: nothing(), every_secs: 60 }
    }
}

/// How far a change has come; each is written down before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The rules are being switched off.
    Closing,
    /// Seen to be off.
    Closed,
    /// The rules take probes alone, to prove the way anew.
    Opening,
}

/// Routing is off, or on its way there or back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Off {
    pub since: Timestamp,
    /// What failed, and since when.
    pub why: String,
    pub directions: Vec<Direction>,
    pub phase: Phase,
    pub phase_since: Timestamp,
    /// When a person was told for the last time.
    pub told: Option<Timestamp>,
    /// When the way was tried for the last time, and what came of it.
    pub tried: Option<(Timestamp, String)>,
}

/// A message that was delivered while routing was off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unchecked {
    pub direction: Direction,
    pub message_id: String,
    pub recipient: String,
    pub received: Timestamp,
}

/// A time in which mail was delivered unchecked; for judging it later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
    pub directions: Vec<Direction>,
    /// As far as Microsoft's trace showed; `Err`: why it is not known.
    pub count: std::result::Result<u64, String>,
    /// At most [`limits::UNCHECKED_KEPT`] of them.
    pub messages: Vec<Unchecked>,
    /// The trace had its time, and rules were in effect again.
    pub counted: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    pub off: Option<Off>,
    /// When routing was turned off within the last day.
    pub offs: Vec<Timestamp>,
    /// Oldest first.
    pub windows: Vec<Window>,
}

const ROUNDS: &str = "watchdog rounds";
const RECORD: &str = "watchdog";

impl Window {
    /// Delivered in that time, or while the rules were not in effect yet. The trace counts whole seconds.
    pub(super) fn covers(&self, direction: Direction, received: Timestamp) -> bool {
        let last = self.to + limits::RULE_IN_EFFECT;
        self.directions.contains(&direction)
            && (self.from.as_second()..=last.as_second()).contains(&received.as_second())
    }
}

impl Rounds {
    pub(crate) async fn known(store: &Store, id: TenantId) -> Result<Rounds> {
        Ok(serde_json::from_value(store.step(id, ROUNDS).await?.unwrap_or_default()).unwrap_or_default())
    }
    /// Keeps what a judgement may ask for: of the rounds before `needed` nothing while the gateway is well.
    pub(crate) async fn add(
        &mut self,
        round: Round,
        needed: Option<Timestamp>,
        store: &Store,
        id: TenantId,
    ) -> Result<()> {
        self.rounds.push(round);
        let old = needed.map_or(0, |needed| self.rounds.iter().take_while(|r| r.at < needed).count());
        let over = self.rounds.len().saturating_sub(limits::ROUNDS_KEPT).max(old);
        self.rounds.drain(..over);
        Ok(store.put_step(id, ROUNDS, &json!(self)).await?)
    }
    pub(crate) fn verdict(&self, direction: Direction) -> &Verdict {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.rounds.last().map(|r| r.at)
    }
}

impl Record {
    pub(crate) async fn known(store: &Store, id: TenantId) -> Result<Record> {
        Ok(serde_json::from_value(store.step(id, RECORD).await?.unwrap_or_default()).unwrap_or_default())
    }
    pub(crate) async fn write_down(&self, store: &Store, id: TenantId) -> Result<()> {
        Ok(store.put_step(id, RECORD, &json!(self)).await?)
    }
    /// The next phase, durably.
    pub(crate) async fn enter(&mut self, phase: Phase, store: &Store, id: TenantId) -> Result<()> {
        if let Some(off) = &mut self.off {
            (off.phase, off.phase_since) = (phase, Timestamp::now());
        }
        self.write_down(store, id).await
    }
    /// When mail of a direction was, or is, delivered unchecked.
    pub(crate) fn unchecked(&self) -> Vec<(Timestamp, Timestamp, Vec<Direction>)> {
        let over = self.windows.iter().map(|w| (w.from, w.to, w.directions.clone()));
        let now = self.off.iter().map(|off| (off.since, Timestamp::MAX, off.directions.clone()));
        over.chain(now).collect()
    }
}

/// Somebody began to turn routing on, and it did not come to that: what stands in the tenant now is closed again.
pub(crate) async fn handed_back(store: &Store, id: TenantId) -> Result<()> {
    let mut record = Record::known(store, id).await?;
    if record.off.is_some() { record.enter(Phase::Closing, store, id).await } else { Ok(()) }
}

/// True while half a change of the watchdog's stands in the tenant: that is nobody's tampering.
pub(crate) async fn under_way(store: &Store, id: TenantId) -> Result<bool> {
    let off = Record::known(store, id).await?.off;
    let fresh = |off: &Off| Timestamp::now().duration_since(off.phase_since) < limits::UNDER_WAY_MAX;
    Ok(off.is_some_and(|off| off.phase != Phase::Closed && fresh(&off)))
}

pub(super) fn now_off(why: &str, directions: &[Direction]) -> Off {
    let now = Timestamp::now();
    Off {
        since: now,
        why: why.to_owned(),
        directions: directions.to_vec(),
        phase: Phase::Closing,
        phase_since: now,
        told: None,
        tried: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_of_the_second_in_which_routing_went_off_is_counted() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let window = Window {
            from: at("2026-11-25T02:51:38.342516Z"),
            to: at("2026-11-25T02:52:14.797491Z"),
            directions: vec![Direction::Inbound],
            count: Ok(0),
            messages: Vec::new(),
            counted: false,
        };
        let covers = |text: &str| window.covers(Direction::Inbound, at(text));
        assert!(covers("2026-11-25T02:51:38.0000018Z") && covers("2026-11-25T02:52:14Z"));
        assert!(!covers("2026-11-25T02:51:37.9Z"));
        let in_effect = window.to + limits::RULE_IN_EFFECT;
        assert!(window.covers(Direction::Inbound, in_effect));
        assert!(!window.covers(Direction::Inbound, in_effect + jiff::SignedDuration::from_secs(1)));
        assert!(!window.covers(Direction::Outbound, at("2026-11-25T02:52:00Z")));
    }
}
