//! What the watchdog tells, in one place: never silent, by alerts that take no tenant's way (docs/operate.md).

use super::Doors;
use super::record::{Record, Unchecked, Window};
use super::routing::is_gave_way;
use crate::applied::as_applied;
use crate::measured::{Fact, Reason, measured};
use crate::{Result, limits};
use jiff::{SignedDuration, Timestamp};
use store::{AlertKind, Severity, Store};
use tenant::{Direction, Tenant, TenantId};

const FAILS: &str = "the gateway does not work";
const UNKNOWN: &str = "whether the gateway works is not known";
const IS_OFF: &str = "routing is off by the watchdog";
const NOT_OFF: &str = "routing could not be turned off";
const STAYS_OFF: &str = "routing stays off";
const UNCHECKED: &str = "mail was delivered unchecked";

const KIND: AlertKind = AlertKind::FailOpen;

/// Routing is no longer off by the watchdog.
pub(crate) async fn over(store: &Store, id: TenantId) -> Result<()> {
    for subject in [IS_OFF, NOT_OFF, STAYS_OFF] {
        store.end_alert(KIND, id, subject).await?;
    }
    Ok(())
}

pub(crate) fn ways(directions: &[Direction]) -> String {
    let names: Vec<String> = directions.iter().map(|d| format!("{}bound", d.as_str())).collect();
    names.join(" and ")
}

impl Doors {
    pub(super) async fn quiet(&self, id: TenantId) -> Result<()> {
        self.tell_failing(id, None, SignedDuration::ZERO).await?;
        self.tell_unknown(id, None).await
    }

    pub(super) async fn tell_failing(
        &self,
        id: TenantId,
        failing: Option<&(Timestamp, String)>,
        allowed: SignedDuration,
    ) -> Result<()> {
        let Some((since, why)) = failing else { return Ok(self.store.end_alert(KIND, id, FAILS).await?) };
        let text = format!(
            "it fails since {since:.0}: {why}. Mail waits at Exchange Online. If it goes on, the watchdog turns routing off at {:.0}, and mail is delivered unchecked; stop it with: posthouse pause {id}",
            *since + allowed
        );
        Ok(self.store.tell_alert(Severity::High, KIND, id, FAILS, &text).await?)
    }

    pub(super) async fn tell_unknown(&self, id: TenantId, unknown: Option<&(Timestamp, String)>) -> Result<()> {
        let Some((since, why)) = unknown else { return Ok(self.store.end_alert(KIND, id, UNKNOWN).await?) };
        let text = format!("since {since:.0}: {why}. Routing stays as it is: nothing is turned off by guess");
        Ok(self.store.tell_alert(Severity::High, KIND, id, UNKNOWN, &text).await?)
    }

    /// Closing failed, or did not.
    pub(super) async fn tell_closing(&self, id: TenantId, closed: Result<()>) -> Result<()> {
        match closed {
            Ok(()) => Ok(self.store.end_alert(KIND, id, NOT_OFF).await?),
            Err(e) if is_gave_way(&e) => Ok(()),
            // disconnected meanwhile
            Err(_) if self.store.tenant(id).await?.is_none() => Ok(()),
            Err(e) => {
                let text = format!(
                    "{e}. Mail waits at Exchange Online for up to a day; the watchdog tries again each round. By hand: disable the rules “Posthouse inbound” and “Posthouse outbound” in the Exchange admin center"
                );
                Ok(self.store.tell_alert(Severity::High, KIND, id, NOT_OFF, &text).await?)
            }
        }
    }

    /// When it happens, and again from time to time while it lasts: another alert, so that people are told again.
    pub(super) async fn tell_off(&self, tenant: &Tenant, record: &mut Record) -> Result<()> {
        let now = Timestamp::now();
        let every = self.minutes(limits::OFF_TOLD_EVERY_MINUTES);
        let Some(off) = &mut record.off else { return Ok(()) };
        if off.told.is_some_and(|told| now.duration_since(told) < every) {
            return Ok(());
        }
        let still = if off.told.is_some() { "still off" } else { "off" };
        let tried = off
            .tried
            .as_ref()
            .map_or_else(String::new, |(at, why)| format!(" Turning it on failed at {at:.0}: {why}."));
        let text = format!(
            "{} routing is {still}, since {:.0}, because {}. Mail is delivered UNCHECKED.{tried} It is turned on again by itself when the gateway has answered for a while and probes come round; by a person with: posthouse plan {label}; posthouse apply {label} --plan ID",
            ways(&off.directions),
            off.since,
            off.why,
            label = tenant.label
        );
        self.store.end_alert(KIND, tenant.id, IS_OFF).await?;
        self.store.tell_alert(Severity::High, KIND, tenant.id, IS_OFF, &text).await?;
        off.told = Some(now);
        record.write_down(&self.store, tenant.id).await
    }

    pub(super) async fn tell_stays_off(&self, tenant: &Tenant, stays: bool) -> Result<()> {
        if !stays {
            return Ok(self.store.end_alert(KIND, tenant.id, STAYS_OFF).await?);
        }
        let text = format!(
            "the gateway failed {} times within a day, and the watchdog does not turn routing on again before the day is over; mail is delivered UNCHECKED. Once the gateway is mended: posthouse plan {label}; posthouse apply {label} --plan ID",
            limits::OFFS_A_DAY,
            label = tenant.label
        );
        Ok(self.store.tell_alert(Severity::High, KIND, tenant.id, STAYS_OFF, &text).await?)
    }

    pub(super) async fn tell_unchecked(&self, id: TenantId, window: &Window, how: Option<&str>) -> Result<()> {
        let count = match &window.count {
            Ok(n) => format!("{n} messages were delivered unchecked, as far as Microsoft's trace shows"),
            Err(why) => format!("how many messages were delivered unchecked is unknown because {why}"),
        };
        let how = how.map_or_else(String::new, |how| format!(" Now: {how}."));
        let text = format!(
            "{} routing was off by the watchdog from {:.0} to {:.0}: {count}.{how}",
            ways(&window.directions),
            window.from,
            window.to
        );
        Ok(self.store.raise_alert_of(Severity::Medium, KIND, Some(id), UNCHECKED, &text).await?)
    }

    /// Once more when the trace had its time and the rules were in effect again.
    pub(super) async fn recount(&self, tenant: &Tenant, record: &mut Record) -> Result<()> {
        let due = Timestamp::now() - self.minutes(limits::RECOUNT_MINUTES);
        for n in 0..record.windows.len() {
            let window = &record.windows[n];
            if window.counted || window.to > due {
                continue;
            }
            let (count, messages) = self.count(tenant, Some(window)).await;
            let window = &mut record.windows[n];
            let differs = window.count != count;
            // what could not be read is counted again in the next round
            window.counted = count.is_ok();
            if count.is_ok() || window.count.is_err() {
                (window.count, window.messages) = (count, messages);
            }
            if differs {
                self.tell_unchecked(tenant.id, &record.windows[n], None).await?;
            }
            record.write_down(&self.store, tenant.id).await?;
        }
        Ok(())
    }

    /// Delivered in that time, or while the rules were not in effect yet, and never with us.
    pub(super) async fn count(
        &self,
        tenant: &Tenant,
        window: Option<&Window>,
    ) -> (std::result::Result<u64, String>, Vec<Unchecked>) {
        let Some(window) = window else { return (Ok(0), Vec::new()) };
        let seen = async {
            let (tenant, _) = as_applied(&self.store, tenant.clone(), &self.settings).await?;
            let span = Timestamp::now().duration_since(window.from) + SignedDuration::from_mins(1);
            measured(&tenant, &self.client, &self.store, &self.settings, None, span).await
        };
        let measured = match seen.await {
            Ok(Fact::Seen(measured)) => measured,
            Ok(Fact::Unknown { unknown_because }) => return (Err(unknown_because), Vec::new()),
            Err(e) => return (Err(e.to_string()), Vec::new()),
        };
        let of_window = measured.skips.iter().filter(|s| {
            let reason = matches!(s.reason, Reason::FailOpen { .. } | Reason::JustChanged { .. });
            reason && window.covers(s.direction, s.received)
        });
        let unchecked = |s: &crate::measured::Skip| Unchecked {
            direction: s.direction,
            message_id: s.message_id.clone(),
            recipient: s.recipient.clone(),
            received: s.received,
        };
        let count = of_window.clone().count() as u64;
        (Ok(count), of_window.take(limits::UNCHECKED_KEPT).map(unchecked).collect())
    }
}
