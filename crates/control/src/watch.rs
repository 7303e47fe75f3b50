//! The tamper watch: each tenant is followed by a task of its own, so that one tenant's trouble does not touch
//! another's. Three signals that do not depend on one another: the audit feed says who, the observed state says what,
//! probes and mail say whether it works.

use crate::feed::{self, Feed};
use crate::look::{Drift, graded, plan_as_applied};
use crate::plan::{self, Plan};
use crate::work::Work;
use crate::{Result, Settings, SignIn, Wish, heal::heal, limits, probe};
use m365::Client;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use store::{AlertKind, Severity, Store};
use tenant::{Direction, Routing, Stage, TenantId};

/// How often what is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// The state of a tenant, property by property.
    pub look: Duration,
    /// The audit feed; news in it make a look at once.
    pub feed: Duration,
    /// A probe in each direction.
    pub probe: Duration,
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
                for tenant in tenants.into_iter().filter(|t| t.routing == Routing::Proven) {
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
    /// Until the tenant is gone or no longer routed.
    async fn follow(&self, id: TenantId) {
        let (mut looked, mut probed) = (None::<Instant>, Some(Instant::now()));
        loop {
            match self.store.tenant(id).await {
                Ok(Some(tenant)) if tenant.routing == Routing::Proven => {}
                Ok(_) => return,
                Err(e) => tracing::error!(tenant = %id, error = %e, "the watch cannot read the tenant"),
            }
            match tokio::time::timeout(limits::LOOK_TIMEOUT, self.round(id, &mut looked, &mut probed)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::error!(tenant = %id, error = %e, "the watch failed"),
                Err(_) => tracing::warn!(tenant = %id, "the watch took too long"),
            }
            tokio::time::sleep(self.rhythm.feed.min(self.rhythm.look)).await;
        }
    }

    /// Reads the feed; looks when it is time, or when somebody did something; sends probes by the clock.
    async fn round(&self, id: TenantId, looked: &mut Option<Instant>, probed: &mut Option<Instant>) -> Result<()> {
        if self.store.paused(id).await?.is_some() {
            return Ok(());
        }
        // whoever changes the tenant now looks for himself, and half a change is no tampering
        if self.store.lock_tenant(id)?.is_none() {
            return Ok(());
        }
        let is_due = |last: &Option<Instant>, every: Duration| last.is_none_or(|last| last.elapsed() >= every);
        let (_, app) = plan::acting(id, &self.store).await?;
        let (feed, news) = feed::read(&self.client, &app, &self.store).await?;
        let plan = if news || is_due(looked, self.rhythm.look) {
            *looked = Some(Instant::now());
            self.look_and_tell(id, &feed).await?
        } else {
            None
        };
        if is_due(probed, self.rhythm.probe) {
            *probed = Some(Instant::now());
            self.probe(id).await?;
        }
        let heals = self.store.tenant(id).await?.is_some_and(|t| t.policy.self_heal);
        match plan.filter(|plan| heals && !plan.changes.is_empty()) {
            Some(plan) => heal(&plan, &self.client, &self.store, &self.settings).await,
            None => Ok(()),
        }
    }

    /// A lasting difference is one alert; it is told again when it becomes known who did it.
    async fn look_and_tell(&self, id: TenantId, feed: &Feed) -> Result<Option<Plan>> {
        let before = self.store.last_receipt(id).await?;
        let plan = plan_as_applied(id, &self.client, &self.store, &self.settings).await?;
        // somebody of ours changed something meanwhile: what was seen is half of one and half of the other
        if self.store.lock_tenant(id)?.is_none() || self.store.last_receipt(id).await? != before {
            return Ok(None);
        }
        let look = graded(&plan, feed);
        let before = told(&self.store, id).await?;
        let mut now = Told::new();
        for drift in &look.drift {
            let about = format!("{}: {}", drift.object, drift.what);
            let known = before.get(&about);
            if known.is_none() || (known.is_some_and(|who| who.is_empty()) && drift.who.is_some()) {
                let text = alert_text(id, drift, look.plan.as_deref(), feed);
                self.store.raise_alert_of(drift.severity, drift.kind, Some(id), &drift.object, &text).await?;
            }
            now.insert(about, drift.who.clone().unwrap_or_default());
        }
        if let Some(because) =
            plan.unknown_that_counts().map(|u| &u.because).filter(|b| b.contains("refuses the token"))
        {
            let about = "Exchange refuses our application".to_owned();
            if !before.contains_key(&about) {
                let text = format!(
                    "{because}. Mail flows as the rules in the tenant route it, and is checked; nobody watches the set-up. Repair: posthouse tenant connect"
                );
                self.store.raise_alert(AlertKind::PermissionsLost, Some(id), "our application", &text).await?;
            }
            now.insert(about, String::new());
        }
        self.store.put_step(id, TOLD, &json!(now)).await?;
        let seen = json!({"at": jiff::Timestamp::now(), "drift": look.drift.len(), "unknown": look.unknown.len(), "plan": look.plan});
        self.store.put_step(id, LAST_LOOK, &seen).await?;
        Ok(Some(plan))
    }

    async fn probe(&self, id: TenantId) -> Result<()> {
        let (tenant, app) = plan::acting(id, &self.store).await?;
        let tenant = crate::apply::as_applied(&self.store, tenant).await?;
        let directions: Vec<Direction> = [Direction::Inbound, Direction::Outbound]
            .into_iter()
            // a probe goes only where everybody's mail goes
            .filter(|d| tenant.rollout.of(*d) == Stage::Everyone)
            .collect();
        let nobody = &mut |_: crate::Asked<'_>| false;
        let show = &mut |event: crate::Event| tracing::debug!(tenant = %id, %event, "probe");
        let wish = Wish::new(Some(id.to_string()), SignIn::DeviceCode);
        let mut work = Work::new(wish, &self.client, &self.store, &self.settings, nobody, show);
        let tokens = probe::prepare(&work, &tenant).await?;
        let results =
            probe::send_and_look(&mut work, &app, &tenant, &tokens, &directions, limits::PROBE_CLOCK_PATIENCE).await;
        let wrong: Vec<String> = match results {
            Ok(results) => results.into_iter().filter_map(|r| r.wrong).collect(),
            Err(e) => vec![e.to_string()],
        };
        for text in wrong {
            self.store.raise_alert_of(Severity::High, AlertKind::ProbeLost, Some(id), "probe", &text).await?;
        }
        Ok(())
    }
}

/// What was told already, with who did it as far as was known then.
type Told = BTreeMap<String, String>;

const TOLD: &str = "told";
pub(crate) const LAST_LOOK: &str = "last look";

async fn told(store: &Store, id: TenantId) -> Result<Told> {
    Ok(serde_json::from_value(store.step(id, TOLD).await?.unwrap_or_default()).unwrap_or_default())
}

/// What changed, who did it, what mail is affected now, and what repairs it.
fn alert_text(id: TenantId, drift: &Drift, plan: Option<&str>, feed: &Feed) -> String {
    let who = match (&drift.who, &feed.trouble) {
        (Some(who), _) => format!("Done by {who}."),
        (None, Some(trouble)) => format!("Who did it cannot be seen: {trouble}."),
        (None, None) => "Who did it is not known yet: the audit feed comes late.".into(),
    };
    let repair =
        plan.map_or_else(String::new, |p| format!(" Repair: posthouse plan {id}; posthouse apply {id} --plan {p}"));
    format!("{}: {}. {who} {}.{repair}", drift.object, drift.what, drift.effect)
}
