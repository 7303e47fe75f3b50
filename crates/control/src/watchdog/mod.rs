//! Bounded fail-open: a process of its own, beside the gateway, that turns routing off by plan when the gateway has been
//! failing for longer than a tenant allows, and on again when the way was proven by mail. Off by default, never silent.
//!
//! Trusts the store and what Microsoft says; believes nothing of the gateway that it did not see from outside. Never
//! changes anything but the routing rules, never the tenant's wish, and never against a person: a pause, a plan that
//! somebody applied, a connect or a disconnect end what it does. docs/control.md tells it in prose.

mod judge;
mod record;
mod routing;
mod shown;
mod signs;
mod tell;

pub use judge::{ProbeSign, Round, Sign, Verdict, Way};
pub use record::{Off, Phase, Unchecked, Window};
pub use shown::FailOpen;

pub(crate) use record::{Record, handed_back, under_way};
pub(crate) use shown::{shown, tell_if_unattended};
pub(crate) use tell::over;

use crate::applied::as_applied;
use crate::look::plan_as_applied;
use crate::work::Work;
use crate::{Result, Rhythm, Settings, SignIn, Wish, limits, plan, probe};
use jiff::{SignedDuration, Timestamp};
use judge::{answers_since, judge, unknown_since};
use m365::Client;
use record::{Rounds, now_off};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use store::{Severity, Store};
use tenant::{Direction, Routing, Stage, Tenant, TenantId};

#[derive(Clone)]
struct Doors {
    client: Client,
    store: Store,
    settings: Settings,
    rhythm: Rhythm,
    /// Where the gateway listens.
    gateway: SocketAddr,
}

/// Keeps watch until the process ends; a second process on the same data directory waits for the first to die.
pub async fn watchdog(client: Client, store: Store, settings: Settings, rhythm: Rhythm, gateway: SocketAddr) {
    let doors = Doors { client, store, settings, rhythm, gateway };
    let _only = doors.alone_in_the_house().await;
    let mut followed: HashMap<TenantId, tokio::task::JoinHandle<()>> = HashMap::new();
    loop {
        followed.retain(|_, task| !task.is_finished());
        match doors.store.tenants().await {
            Ok(tenants) => {
                for tenant in tenants {
                    if followed.contains_key(&tenant.id) || !doors.is_ours(&tenant).await {
                        continue;
                    }
                    let (doors, id) = (doors.clone(), tenant.id);
                    followed.insert(id, tokio::spawn(async move { doors.follow(id).await }));
                }
            }
            Err(e) => tracing::error!(error = %e, "the watchdog cannot read the tenants"),
        }
        tokio::time::sleep(rhythm.watchdog).await;
    }
}

impl Doors {
    async fn alone_in_the_house(&self) -> store::TenantLock {
        loop {
            match self.store.lock_watchdog() {
                Ok(Some(lock)) => return lock,
                Ok(None) => tracing::debug!("another process keeps watch"),
                Err(e) => tracing::error!(error = %e, "the watchdog cannot take its lock"),
            }
            tokio::time::sleep(self.rhythm.watchdog).await;
        }
    }

    /// A tenant that asked for it, or one that it has not finished with.
    async fn is_ours(&self, tenant: &Tenant) -> bool {
        let asked = tenant.policy.fail_open_after_minutes.is_some() && tenant.routing != Routing::Off;
        asked || !tenant.closed.is_empty() || self.is_unfinished(tenant.id).await.unwrap_or(true)
    }

    async fn is_unfinished(&self, id: TenantId) -> Result<bool> {
        let record = Record::known(&self.store, id).await?;
        Ok(record.off.is_some() || record.windows.iter().any(|w| !w.counted))
    }

    async fn follow(&self, id: TenantId) {
        tokio::select! {
            () = self.follow_rounds(id) => {}
            () = self.follow_doubts(id) => {}
        }
    }

    async fn follow_rounds(&self, id: TenantId) {
        loop {
            match self.store.tenant(id).await {
                Ok(Some(tenant)) if self.is_ours(&tenant).await => {
                    match tokio::time::timeout(limits::ROUND_TIMEOUT, self.round(tenant)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(e)) => tracing::error!(tenant = %id, error = %e, "a round of the watchdog failed"),
                        Err(_) => tracing::error!(tenant = %id, "a round of the watchdog took too long"),
                    }
                }
                Ok(_) => return,
                Err(e) => tracing::error!(tenant = %id, error = %e, "the watchdog cannot read the tenant"),
            }
            tokio::time::sleep(self.rhythm.watchdog).await;
        }
    }

    /// A probe goes the whole way: where one was lost, or mail does not pass, others show whether it is so.
    async fn follow_doubts(&self, id: TenantId) {
        loop {
            tokio::time::sleep(self.rhythm.watchdog).await;
            if let Err(e) = self.probe_doubts(id).await {
                tracing::error!(tenant = %id, error = %e, "the watchdog could not send a probe");
            }
        }
    }

    async fn probe_doubts(&self, id: TenantId) -> Result<()> {
        let rounds = Rounds::known(&self.store, id).await?;
        let Some(newest) = rounds.rounds.last() else { return Ok(()) };
        // at a closed port probes only pile up
        if matches!(newest.door, Sign::Failing(_)) || self.store.paused(id).await?.is_some() {
            return Ok(());
        }
        let (tenant, app) = plan::acting(id, &self.store).await?;
        let (tenant, _) = as_applied(&self.store, tenant, &self.settings).await?;
        if tenant.routing != Routing::Proven {
            return Ok(());
        }
        for direction in Direction::BOTH {
            let way = newest.way(direction);
            let doubt = [&way.probe.sign, &way.journal, &way.waiting].iter().any(|s| matches!(s, Sign::Failing(_)));
            // a probe goes only where everybody's mail goes
            if !doubt || !tenant.routes(direction) || tenant.rollout.of(direction) != Stage::Everyone {
                continue;
            }
            let nobody = &mut |_: crate::Asked<'_>| false;
            let show = &mut |event: crate::Event| tracing::debug!(tenant = %id, %event, "watchdog");
            let wish = Wish::new(Some(id.to_string()), SignIn::DeviceCode);
            let mut work = Work::new(wish, &self.client, &self.store, &self.settings, nobody, show);
            let tokens = probe::prepare(&work, &tenant).await?;
            let patience = self.rhythm.probe_patience;
            probe::send_and_look(&mut work, &app, &tenant, &tokens, &[direction], patience).await?;
        }
        Ok(())
    }

    /// Looks, judges, and does what follows.
    async fn round(&self, tenant: Tenant) -> Result<()> {
        let id = tenant.id;
        let (mut rounds, mut record) = (Rounds::known(&self.store, id).await?, Record::known(&self.store, id).await?);
        self.recount(&tenant, &mut record).await?;
        if tenant.routing == Routing::Off {
            return self.ended(&tenant, &mut record, "the tenant is being disconnected").await;
        }
        let newest = self.look(&tenant, rounds.rounds.last()).await?;
        self.add(newest, &mut rounds, &tenant).await?;
        // whoever turned it on again, it was not this process: it writes both down
        if record.off.is_some() && tenant.closed.is_empty() {
            self.ended(&tenant, &mut record, "a person turned routing on").await?;
        }
        if record.off.is_none() && !tenant.closed.is_empty() {
            // killed between the two
            record.off = Some(now_off(&why_of(&rounds, &tenant.closed), &tenant.closed));
            record.write_down(&self.store, id).await?;
        }
        self.tell_off(&tenant, &mut record).await?;
        if self.store.paused(id).await?.is_some() {
            return Ok(());
        }
        if record.off.is_some() {
            self.while_off(&tenant, &mut record, &rounds).await?;
        }
        // a tenant whose way is proven anew by a person is that person's
        let (routing, settled) = (tenant.routing, record.off.as_ref().is_none_or(|off| off.phase == Phase::Closed));
        if routing == Routing::Proven && settled { self.while_on(&tenant, &mut record, &rounds).await } else { Ok(()) }
    }

    async fn add(&self, newest: Round, rounds: &mut Rounds, tenant: &Tenant) -> Result<()> {
        let at = newest.at;
        let history = [rounds.rounds.as_slice(), std::slice::from_ref(&newest)].concat();
        (rounds.inbound, rounds.outbound) =
            (self.judge(&history, Direction::Inbound), self.judge(&history, Direction::Outbound));
        rounds.every_secs = self.rhythm.watchdog.as_secs().max(1);
        let well = [&rounds.inbound, &rounds.outbound].iter().all(|v| **v == Verdict::Healthy);
        let needed = well.then(|| at - self.minutes(limits::WELL_MINUTES * 2));
        rounds.add(newest, needed, &self.store, tenant.id).await
    }

    /// Routing is on, at least one way.
    async fn while_on(&self, tenant: &Tenant, record: &mut Record, rounds: &Rounds) -> Result<()> {
        let Some(after) = tenant.policy.fail_open_after_minutes else { return self.quiet(tenant.id).await };
        let (applied, _) = as_applied(&self.store, tenant.clone(), &self.settings).await?;
        let ways: Vec<Direction> = Direction::BOTH.into_iter().filter(|d| applied.routes(*d)).collect();
        let (allowed, now) = (self.minutes(after), Timestamp::now());
        let (mut late, mut failing, mut unknown) = (Vec::new(), None, None);
        for way in ways {
            match rounds.verdict(way) {
                Verdict::Healthy => {}
                Verdict::Unknown { why } => {
                    let since = unknown_since(&rounds.rounds, way);
                    unknown = unknown.or(since.filter(|s| now.duration_since(*s) >= allowed).map(|s| (s, why.clone())));
                }
                Verdict::Failing { since, why } => {
                    failing.get_or_insert((*since, why.clone()));
                    if now.duration_since(*since) >= allowed {
                        late.push((way, *since, why.clone()));
                    }
                }
            }
        }
        self.tell_failing(tenant.id, failing.as_ref(), allowed).await?;
        let by_port = matches!(rounds.rounds.last().map(|r| &r.door), Some(Sign::Failing(_)));
        if unknown.is_none() && !late.is_empty() && !by_port {
            // a way that somebody changed is no failing gateway
            unknown = self.set_up_differs(tenant.id).await.map(|why| (now, why));
        }
        self.tell_unknown(tenant.id, unknown.as_ref()).await?;
        let Some((_, since, why)) = late.first().filter(|_| unknown.is_none() || by_port) else { return Ok(()) };
        let directions: Vec<Direction> = late.iter().map(|(way, ..)| *way).collect();
        let why = format!("the gateway fails since {since:.0}: {why}");
        let closed = self.turn_off(tenant.id, &directions, &why, record).await;
        self.tell_closing(tenant.id, closed).await
    }

    /// The connectors, the domain or the rules are not as they were made, or nobody can tell.
    async fn set_up_differs(&self, id: TenantId) -> Option<String> {
        match plan_as_applied(id, &self.client, &self.store, &self.settings).await {
            Ok(plan) => {
                let differs = plan.changes.iter().find(|c| c.severity > Severity::Low && !c.optional);
                let differs = differs
                    .map(|c| format!("{} is not as it should be, and that may be why mail is not carried", c.object));
                differs.or_else(|| {
                    plan.unknown_that_counts().map(|u| format!("{} cannot be read: {}", u.object, u.because))
                })
            }
            Err(e) => Some(format!("the set-up cannot be read: {e}")),
        }
    }

    /// Routing is off: it is finished, tried, or left.
    async fn while_off(&self, tenant: &Tenant, record: &mut Record, rounds: &Rounds) -> Result<()> {
        let Some(off) = record.off.clone() else { return Ok(()) };
        let answers = answers_since(&rounds.rounds, self.gap());
        let (now, well) = (Timestamp::now(), self.minutes(limits::WELL_MINUTES));
        match off.phase {
            Phase::Closing => {
                let closed = self.turn_off(tenant.id, &off.directions, &off.why, record).await;
                self.tell_closing(tenant.id, closed).await
            }
            // cut off in the middle: nobody's mail is routed, and the proof begins anew
            Phase::Opening if answers.is_some() => self.try_to_open(tenant, record).await,
            Phase::Opening => self.close_again(tenant.id, record, "the gateway does not answer any more").await,
            Phase::Closed => {
                let day = self.minutes(24 * 60);
                record.offs.retain(|at| now.duration_since(*at) < day);
                let stays = record.offs.len() >= limits::OFFS_A_DAY && tenant.policy.fail_open_after_minutes.is_some();
                self.tell_stays_off(tenant, stays).await?;
                let settled = now.duration_since(off.phase_since) >= well;
                if settled && self.gave_way_to_a_hand(tenant, record).await? {
                    return Ok(());
                }
                let rested = settled && off.tried.is_none_or(|(at, _)| now.duration_since(at) >= well);
                let is_well = answers.is_some_and(|since| now.duration_since(since) >= well);
                if stays || !rested || !is_well { Ok(()) } else { self.try_to_open(tenant, record).await }
            }
        }
    }

    fn judge(&self, history: &[Round], direction: Direction) -> Verdict {
        judge(history, direction, self.gap())
    }

    fn gap(&self) -> Duration {
        // asking the port and Microsoft takes time of its own
        (self.rhythm.watchdog + limits::DOOR_PATIENCE) * limits::ROUNDS_MISSING
    }

    /// Minutes of the tenant's allowance, which rehearsals make shorter.
    fn minutes(&self, n: u32) -> SignedDuration {
        SignedDuration::try_from(self.rhythm.minute.saturating_mul(n)).unwrap_or(SignedDuration::MAX)
    }
}

fn why_of(rounds: &Rounds, closed: &[Direction]) -> String {
    let failing = closed.iter().find_map(|way| match rounds.verdict(*way) {
        Verdict::Failing { since, why } => Some(format!("the gateway fails since {since:.0}: {why}")),
        _ => None,
    });
    failing.unwrap_or_else(|| "the gateway failed".into())
}
