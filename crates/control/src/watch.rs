//! The tamper watch: each tenant is followed by a task of its own, so that one tenant's trouble does not touch
//! another's. Three signals that do not depend on one another: the audit feed says who, the observed state says what,
//! probes and mail say whether it works.

use crate::applied::{as_applied, was_applied};
use crate::feed::{self, Feed};
use crate::look::{graded, plan_as_applied};
use crate::plan::{self, Plan};
use crate::tell::{Memory, tell};
use crate::work::Work;
use crate::{Result, Settings, SignIn, Wish, heal::heal, host, limits, probe, watchdog};
use m365::Client;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use store::{AlertKind, Severity, Store};
use tenant::{Direction, Routing, Stage, Tenant, TenantId};
use tokio::sync::Notify;

/// How often what is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// The state of a tenant, property by property.
    pub look: Duration,
    /// The audit feed; news in it make a look at once.
    pub feed: Duration,
    /// A probe in each direction.
    pub probe: Duration,
    /// A probe that has not come back by then is lost.
    pub probe_patience: Duration,
    /// The host that takes mail back.
    pub host: Duration,
    /// A round of the watchdog.
    pub watchdog: Duration,
    /// How long a minute of the watchdog's allowances lasts; shorter in rehearsals.
    pub minute: Duration,
}

/// What one look at a tenant saw.
enum Seen {
    /// A pause, or somebody of ours was at work.
    NotLooked,
    Whole {
        plan: Plan,
        calm: bool,
    },
    Part {
        why: String,
    },
    /// Microsoft takes our application's word for nothing.
    ShutOut,
}

#[derive(Clone)]
struct Doors {
    client: Client,
    store: Store,
    settings: Settings,
    rhythm: Rhythm,
}

/// Watches every tenant until the process ends.
pub async fn watch(client: Client, store: Store, settings: Settings, rhythm: Rhythm) {
    let doors = Doors { client, store, settings, rhythm };
    let mut followed: HashMap<TenantId, tokio::task::JoinHandle<()>> = HashMap::new();
    let mut ticks = tokio::time::interval(rhythm.feed.min(rhythm.look));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        followed.retain(|_, task| !task.is_finished());
        match doors.store.tenants().await {
            Ok(tenants) => {
                for tenant in tenants {
                    if followed.contains_key(&tenant.id) || !doors.is_watched(&tenant).await {
                        continue;
                    }
                    let doors = doors.clone();
                    followed
                        .entry(tenant.id)
                        .or_insert_with(|| tokio::spawn(async move { doors.follow(tenant.id).await }));
                }
            }
            Err(e) => tracing::error!(error = %e, "the watch cannot read the tenants"),
        }
    }
}

impl Doors {
    /// Until the tenant is gone or no longer routed. The signals go their own ways: a feed that is throttled and
    /// a probe that does not come back keep nobody from looking.
    async fn follow(&self, id: TenantId) {
        let news = Notify::new();
        tokio::select! {
            () = self.follow_feed(id, &news) => {}
            () = self.follow_state(id, &news) => {}
            () = self.follow_probes(id) => {}
            () = self.follow_host(id) => {}
        }
    }

    async fn follow_feed(&self, id: TenantId, news: &Notify) {
        while self.is_routed(id).await {
            let reading = async {
                if self.is_ours_to_watch(id).await? {
                    let (_, app) = plan::acting(id, &self.store).await?;
                    if feed::read(&self.client, &app, &self.store).await?.1 {
                        news.notify_one();
                    }
                }
                Ok(())
            };
            let _ = in_time(id, "reading the audit feed", reading).await;
            tokio::time::sleep(self.rhythm.feed).await;
        }
    }

    /// By the clock, when somebody did something, and soon again while something is wrong: to tell when it is over.
    async fn follow_state(&self, id: TenantId, news: &Notify) {
        while self.is_routed(id).await {
            let seen = in_time(id, "the look at the tenant", self.look_and_tell(id)).await;
            let calm = matches!(seen, Some(Seen::Whole { calm: true, .. }));
            let after = async {
                self.tell_if_blind(id, seen.as_ref()).await?;
                if let Some(tenant) = self.store.tenant(id).await? {
                    watchdog::tell_if_unattended(&self.store, &tenant).await?;
                }
                match &seen {
                    // it proves the way by mail, if need be, and has its own patience
                    Some(Seen::Whole { plan, .. }) => self.heal(id, plan).await,
                    _ => Ok(()),
                }
            };
            if let Err(e) = after.await {
                tracing::error!(tenant = %id, error = %e, "what follows a look at the tenant failed");
            }
            let soon = self.rhythm.feed.min(self.rhythm.look);
            tokio::select! {
                () = tokio::time::sleep(if calm { self.rhythm.look } else { soon }) => {}
                () = news.notified() => {}
            }
        }
    }

    async fn follow_probes(&self, id: TenantId) {
        loop {
            tokio::time::sleep(self.rhythm.probe).await;
            if !self.is_routed(id).await {
                return;
            }
            let probing = async { if self.is_ours_to_watch(id).await? { self.probe(id).await } else { Ok(()) } };
            let _ = in_time(id, "the probes", probing).await;
        }
    }

    async fn follow_host(&self, id: TenantId) {
        loop {
            tokio::time::sleep(self.rhythm.host).await;
            if !self.is_routed(id).await {
                return;
            }
            let reading = async {
                if self.is_ours_to_watch(id).await? {
                    host::refresh(id, &self.client, &self.store).await
                } else {
                    Ok(())
                }
            };
            let _ = in_time(id, "reading the host that takes mail back", reading).await;
        }
    }

    async fn is_routed(&self, id: TenantId) -> bool {
        match self.store.tenant(id).await {
            Ok(Some(tenant)) => self.is_watched(&tenant).await,
            Ok(None) => false,
            Err(e) => {
                tracing::error!(tenant = %id, error = %e, "the watch cannot read the tenant");
                true
            }
        }
    }

    /// From the time when its mail was routed until it is disconnected; a way that is being proven anew is its way, too.
    async fn is_watched(&self, tenant: &Tenant) -> bool {
        match tenant.routing {
            Routing::Proven => true,
            Routing::Probe => was_applied(&self.store, tenant.id).await.unwrap_or(true),
            Routing::Off => false,
        }
    }

    /// Not in a pause, and not while somebody of ours changes the tenant: he looks for himself, and half a change is no
    /// tampering.
    async fn is_ours_to_watch(&self, id: TenantId) -> Result<bool> {
        let alone = self.store.paused(id).await?.is_none() && self.store.lock_tenant(id)?.is_some();
        Ok(alone && !watchdog::under_way(&self.store, id).await?)
    }

    async fn heal(&self, id: TenantId, plan: &Plan) -> Result<()> {
        let heals = self.store.tenant(id).await?.is_some_and(|t| t.policy.self_heal);
        match plan.changes.is_empty() {
            true => crate::heal::over(id, &self.store).await,
            false if heals => heal(plan, &self.client, &self.store, &self.settings).await,
            false => Ok(()),
        }
    }

    /// While the set-up cannot be read nobody sees what is done to it; that passes, or is told.
    async fn tell_if_blind(&self, id: TenantId, seen: Option<&Seen>) -> Result<()> {
        let why = match seen {
            Some(Seen::NotLooked) => return Ok(()),
            // that is told by itself, and at once
            Some(Seen::Whole { .. } | Seen::ShutOut) => {
                self.store.end_alert(AlertKind::Other, id, BLIND).await?;
                return self.store.delete_step(id, BLIND).await.map_err(Into::into);
            }
            Some(Seen::Part { why }) => why.as_str(),
            None => "reading failed, see the log",
        };
        let now = jiff::Timestamp::now();
        let since: Option<jiff::Timestamp> =
            self.store.step(id, BLIND).await?.and_then(|v| serde_json::from_value(v).ok());
        let Some(since) = since else { return Ok(self.store.put_step(id, BLIND, &json!(now)).await?) };
        if now.duration_since(since) > limits::BLIND_AFTER {
            let text = format!(
                "the set-up cannot be read since {since:.0} ({why}). Mail flows as before and is checked; nobody sees what is done to the set-up. Look: posthouse watch {id}"
            );
            self.store.tell_alert(Severity::High, AlertKind::Other, id, BLIND, &text).await?;
        }
        Ok(())
    }

    async fn look_and_tell(&self, id: TenantId) -> Result<Seen> {
        if !self.is_ours_to_watch(id).await? {
            return Ok(Seen::NotLooked);
        }
        let before = self.store.last_receipt(id).await?;
        let began = self.client.now();
        let plan = plan_as_applied(id, &self.client, &self.store, &self.settings).await?;
        // somebody of ours changed something meanwhile: what was seen is half of one and half of the other
        if !self.is_ours_to_watch(id).await? || self.store.last_receipt(id).await? != before {
            return Ok(Seen::NotLooked);
        }
        let (feed, memory) = (Feed::known(&self.store, id).await?, Memory::known(&self.store, id).await?);
        let look = graded(&plan, &feed, &memory, self.client.now());
        let shut_out =
            plan.unknown_that_counts().map(|u| u.because.as_str()).filter(|b| b.contains("refuses the token"));
        let memory = tell(&look, shut_out, &self.store, began).await?;
        let seen = json!({"at": jiff::Timestamp::now(), "drift": look.drift.len(), "unknown": look.unknown.len(), "plan": look.plan});
        self.store.put_step(id, LAST_LOOK, &seen).await?;
        Ok(match plan.unknown_that_counts() {
            _ if shut_out.is_some() => Seen::ShutOut,
            Some(unknown) => Seen::Part { why: format!("{}: {}", unknown.object, unknown.because) },
            None => Seen::Whole { calm: memory.is_calm(), plan },
        })
    }

    async fn probe(&self, id: TenantId) -> Result<()> {
        let (tenant, app) = plan::acting(id, &self.store).await?;
        let (tenant, _) = as_applied(&self.store, tenant, &self.settings).await?;
        let directions: Vec<Direction> = [Direction::Inbound, Direction::Outbound]
            .into_iter()
            // a probe goes only where everybody's mail goes
            .filter(|d| tenant.rollout.of(*d) == Stage::Everyone && tenant.routes(*d))
            .collect();
        let nobody = &mut |_: crate::Asked<'_>| false;
        let show = &mut |event: crate::Event| tracing::debug!(tenant = %id, %event, "probe");
        let wish = Wish::new(Some(id.to_string()), SignIn::DeviceCode);
        let mut work = Work::new(wish, &self.client, &self.store, &self.settings, nobody, show);
        let tokens = probe::prepare(&work, &tenant).await?;
        let patience = self.rhythm.probe_patience;
        let results = probe::send_and_look(&mut work, &app, &tenant, &tokens, &directions, patience).await?;
        // whoever took mail off its way meanwhile, a person or a plan of ours, is told of elsewhere
        if !self.is_ours_to_watch(id).await? {
            return Ok(());
        }
        for result in results {
            let about = format!("probe {}bound", result.direction.as_str());
            match result.wrong {
                Some(text) => self.store.tell_alert(Severity::High, AlertKind::ProbeLost, id, &about, &text).await?,
                None => self.store.end_alert(AlertKind::ProbeLost, id, &about).await?,
            }
        }
        Ok(())
    }
}

/// `None` where it failed or took too long, which is in the log.
async fn in_time<T>(id: TenantId, what: &str, work: impl Future<Output = Result<T>>) -> Option<T> {
    match tokio::time::timeout(limits::LOOK_TIMEOUT, work).await {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(e)) => tracing::error!(tenant = %id, error = %e, "{what} failed"),
        Err(_) => tracing::warn!(tenant = %id, "{what} took too long"),
    }
    None
}

pub(crate) const LAST_LOOK: &str = "last look";
const BLIND: &str = "the look at the set-up";
