//! What the status tells of the watchdog, and what the watch tells when nobody keeps watch.

use super::judge::Verdict;
use super::record::{Off, Record, Rounds, Window};
use super::tell::ways;
use crate::{Result, limits};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::fmt;
use store::{AlertKind, Severity, Store};
use tenant::{Direction, Tenant};

/// A tenant's fail-open, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct FailOpen {
    /// What the tenant allows; `None`: routing is never turned off by itself.
    pub after_minutes: Option<u32>,
    /// Routing is off by the watchdog.
    pub off: Option<Off>,
    /// When a watchdog looked for the last time.
    pub looked: Option<Timestamp>,
    /// A watchdog is asked for, and none keeps watch.
    pub unattended: bool,
    pub inbound: Option<Verdict>,
    pub outbound: Option<Verdict>,
    /// When mail was delivered unchecked, oldest first.
    pub windows: Vec<Window>,
}

pub(crate) async fn shown(store: &Store, tenant: &Tenant) -> Result<FailOpen> {
    let (rounds, record) = (Rounds::known(store, tenant.id).await?, Record::known(store, tenant.id).await?);
    let asked = tenant.policy.fail_open_after_minutes;
    let unattended = asked.is_some() && is_stale(&rounds);
    let verdict = |way| Some(rounds.verdict(way).clone()).filter(|_| asked.is_some() && !unattended);
    Ok(FailOpen {
        after_minutes: asked,
        off: record.off.clone().filter(|_| !tenant.closed.is_empty()),
        looked: rounds.newest(),
        unattended,
        inbound: verdict(Direction::Inbound),
        outbound: verdict(Direction::Outbound),
        windows: record.windows,
    })
}

fn is_stale(rounds: &Rounds) -> bool {
    let secs = i64::try_from(rounds.every_secs).unwrap_or(i64::MAX).saturating_mul(limits::ROUNDS_UNATTENDED);
    rounds.newest().is_none_or(|at| Timestamp::now().duration_since(at) > SignedDuration::from_secs(secs))
}

const UNATTENDED: &str = "no watchdog runs";

/// For the watch of `posthouse serve`: fail-open that nobody carries out is no fail-open.
pub(crate) async fn tell_if_unattended(store: &Store, tenant: &Tenant) -> Result<()> {
    if !shown(store, tenant).await?.unattended {
        return Ok(store.end_alert(AlertKind::FailOpen, tenant.id, UNATTENDED).await?);
    }
    let text = format!(
        "the tenant asked for fail-open, and no watchdog looks: whatever happens to the gateway, routing stays on and mail waits. Start `posthouse watchdog` beside the gateway, or: posthouse tenant fail-open {} --after off",
        tenant.label
    );
    Ok(store.tell_alert(Severity::Medium, AlertKind::FailOpen, tenant.id, UNATTENDED, &text).await?)
}

impl FailOpen {
    /// What is not as it should be, in words.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let off = self.off.as_ref().map(|off| {
            format!(
                "{} routing is off by the watchdog since {:.0} because {}; mail is delivered unchecked",
                ways(&off.directions),
                off.since,
                off.why
            )
        });
        let unattended =
            self.unattended.then(|| "fail-open is asked for, and no watchdog runs: posthouse watchdog".into());
        let failing = |way: Direction, verdict: &Option<Verdict>| match verdict {
            Some(Verdict::Failing { since, why }) => {
                Some(format!("{}bound: the gateway fails since {since:.0}: {why}", way.as_str()))
            }
            _ => None,
        };
        let failing = [failing(Direction::Inbound, &self.inbound), failing(Direction::Outbound, &self.outbound)];
        off.into_iter().chain(unattended).chain(failing.into_iter().flatten()).collect()
    }
    pub(crate) fn unknown(&self) -> Option<&str> {
        [&self.inbound, &self.outbound].into_iter().find_map(|verdict| match verdict {
            Some(Verdict::Unknown { why }) => Some(why.as_str()),
            _ => None,
        })
    }
}

impl fmt::Display for FailOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(minutes) = self.after_minutes else {
            return f.write_str("never: whatever happens to the gateway, mail waits for it");
        };
        write!(f, "after {minutes} min")?;
        match (self.unattended, self.looked) {
            (true, _) => write!(f, "; NO WATCHDOG RUNS")?,
            (false, Some(at)) => write!(f, "; the watchdog looked {at:.0}")?,
            _ => {}
        }
        if self.off.is_some() {
            write!(f, "; ROUTING IS OFF")?;
        }
        Ok(())
    }
}
