//! The tamper watch: the tenant as it is against the tenant as it should be, graded; told once when it appears; put
//! right where the tenant allows it, within bounds. One tenant's trouble does not touch another's watch.

use crate::events::Event;
use crate::plan::{self, Notice, Plan, Unknown, text_of};
use crate::{Result, Settings, apply::apply, limits};
use jiff::Timestamp;
use m365::{Client, M365Error};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use store::{AlertKind, Severity, Store};
use tenant::{Routing, TenantId};

/// One thing that is not as it should be.
#[derive(Clone, Debug, Serialize)]
pub struct Drift {
    pub severity: Severity,
    pub object: String,
    /// What is different, in one line.
    pub what: String,
    /// What it means for mail now.
    pub effect: &'static str,
}

/// A look at one tenant.
#[derive(Clone, Debug, Serialize)]
pub struct Look {
    pub tenant: TenantId,
    pub display_name: String,
    pub drift: Vec<Drift>,
    pub unknown: Vec<Unknown>,
    /// The plan that repairs it.
    pub plan: Option<String>,
}

/// Reads and grades, and changes nothing.
pub async fn look(id: TenantId, client: &Client, store: &Store, settings: &Settings) -> Result<Look> {
    Ok(graded(&plan::plan(id, client, store, settings).await?))
}

fn graded(plan: &Plan) -> Look {
    let values = |change: &plan::Change| -> String {
        let told = change.values.iter().map(|v| format!("{} is {} instead of {}", v.name, v.before, v.after));
        told.collect::<Vec<_>>().join("; ")
    };
    let of_change = |change: &plan::Change| {
        let what = match change.action {
            plan::Action::Create => "is gone".into(),
            plan::Action::Enable => "is disabled".into(),
            plan::Action::Disable => "is enabled and should not be".into(),
            plan::Action::Move => "the strip rule does not come last".into(),
            plan::Action::Change | plan::Action::Remove => values(change),
        };
        let drift = Drift { severity: change.severity, object: change.object.clone(), what, effect: "" };
        Drift { effect: effect(change), ..drift }
    };
    let of_notice = |notice: &Notice| {
        let severity = notice.severity?;
        let effect = "mail that it takes is not checked here";
        Some(Drift { severity, object: notice.object.clone(), what: notice.found.clone(), effect })
    };
    let mut drift: Vec<Drift> = plan.changes.iter().map(of_change).collect();
    drift.extend(plan.notices.iter().filter_map(of_notice));
    drift.sort_by_key(|d| std::cmp::Reverse(d.severity));
    Look {
        tenant: plan.tenant,
        display_name: plan.display_name.clone(),
        drift,
        unknown: plan.unknown.clone(),
        plan: (!plan.changes.is_empty()).then(|| plan.id.clone()),
    }
}

/// What mail is affected, by object; of the most that the severity allows.
fn effect(change: &plan::Change) -> &'static str {
    let object = change.object.as_str();
    match change.severity {
        Severity::Low => "no mail is affected",
        _ if object.starts_with("inbound connector") || object.starts_with("accepted domain") => {
            "mail that was checked may not come back: Exchange Online keeps it in its queue and tries again for a day"
        }
        _ if object.starts_with("outbound connector") => {
            "mail may not reach the gateway: it waits at Exchange Online, or goes where the connector points now"
        }
        _ if object.contains("strip") => "recipients outside see our mark, which ought to stay secret",
        _ if object.starts_with("the order") => "mail may be sent round twice, and our mark may reach recipients",
        _ if object.contains("outbound") => "mail of users may leave unchecked, or be sent round twice",
        _ => "mail from outside may arrive unchecked, or be sent round twice",
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.drift.len(), self.unknown.len()) {
            (0, 0) => write!(f, "{}: as it should be", self.display_name)?,
            (0, _) => write!(f, "{}: nothing wrong in what could be read", self.display_name)?,
            (n, _) => write!(f, "{}: {n} things are not as they should be", self.display_name)?,
        }
        for drift in &self.drift {
            write!(f, "\n  {:?}: {}: {}\n         {}", drift.severity, drift.object, drift.what, drift.effect)?;
        }
        for unknown in &self.unknown {
            write!(f, "\n  ?: {}: unknown because {}", unknown.object, unknown.because)?;
        }
        if let Some(plan) = &self.plan {
            write!(f, "\nrepaired by plan {plan}: posthouse plan {0}; posthouse apply {0} --plan {plan}", self.tenant)?;
        }
        Ok(())
    }
}

/// What was told already, per tenant, so that a lasting difference is one alert.
type Told = BTreeSet<String>;

/// Watches every tenant until the process ends; each look is bounded, and tenants are looked at side by side.
pub async fn watch(client: Client, store: Store, settings: Settings, every: Duration) {
    let mut told: BTreeMap<TenantId, Told> = BTreeMap::new();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tenants = match store.tenants().await {
            Ok(tenants) => tenants,
            Err(e) => {
                tracing::error!(error = %e, "the watch cannot read the tenants");
                continue;
            }
        };
        let mut looks = tokio::task::JoinSet::new();
        for tenant in tenants.into_iter().filter(|t| t.routing == Routing::Proven) {
            let before = told.remove(&tenant.id).unwrap_or_default();
            let (client, store, settings) = (client.clone(), store.clone(), settings.clone());
            looks.spawn(async move {
                let id = tenant.id;
                let round = round(id, tenant.policy.self_heal, before.clone(), &client, &store, &settings);
                let now = match tokio::time::timeout(limits::LOOK_TIMEOUT, round).await {
                    Ok(Ok(now)) => now,
                    Ok(Err(e)) => {
                        tracing::error!(tenant = %id, error = %e, "the watch failed");
                        before
                    }
                    Err(_) => {
                        tracing::warn!(tenant = %id, "the watch took too long");
                        before
                    }
                };
                (id, now)
            });
        }
        while let Some(Ok((id, now))) = looks.join_next().await {
            told.insert(id, now);
        }
    }
}

/// One look at one tenant: tell what is new, heal where allowed.
async fn round(
    id: TenantId,
    self_heal: bool,
    before: Told,
    client: &Client,
    store: &Store,
    settings: &Settings,
) -> Result<Told> {
    if store.paused(id).await?.is_some() {
        return Ok(before);
    }
    let plan = plan::plan(id, client, store, settings).await?;
    let look = graded(&plan);
    let (differs, unknown) = (look.drift.len() as u64, look.unknown.len() as u64);
    store.put_looked(id, &store::Looked { at: Timestamp::now(), differs, unknown }).await?;
    let mut now = Told::new();
    for drift in &look.drift {
        let about = format!("{}: {}", drift.object, drift.what);
        if !before.contains(&about) {
            let repair =
                look.plan.as_ref().map_or_else(String::new, |p| format!(". Repair: posthouse apply {id} --plan {p}"));
            let text = format!("{about}. {}{repair}", drift.effect);
            store.raise_alert_of(drift.severity, AlertKind::Tampered, Some(id), &drift.object, &text).await?;
        }
        now.insert(about);
    }
    if let Some(lost) = permissions_lost(id, client, store, &look.unknown).await? {
        if !before.contains(&lost) {
            store.raise_alert(AlertKind::PermissionsLost, Some(id), "our application", &lost).await?;
        }
        now.insert(lost);
    }
    if self_heal && !plan.changes.is_empty() && plan.unknown.is_empty() {
        heal(&plan, client, store, settings).await?;
    }
    Ok(now)
}

/// Everything unknown for the same reason is no hiccup: was our application shut out? The token endpoint knows.
async fn permissions_lost(id: TenantId, client: &Client, store: &Store, unknown: &[Unknown]) -> Result<Option<String>> {
    if unknown.is_empty() {
        return Ok(None);
    }
    let (_, app) = plan::acting(id, store).await?;
    client.forget_tokens(&app);
    let Err(error) = client.exchange(&app, "Get-AcceptedDomain", serde_json::json!({})).await else {
        return Ok(None);
    };
    let shut_out = matches!(error, M365Error::Token { .. } | M365Error::NotAuthorised { .. });
    Ok(shut_out.then(|| {
        format!(
            "Microsoft refuses our application ({error}). Mail flows as the rules in the tenant route it, and is checked; nobody watches the set-up, new users are not seen, and disconnecting needs an administrator. Repair: posthouse tenant connect"
        )
    }))
}

/// Only what the plan explains; when somebody undoes it again, a person must decide.
async fn heal(plan: &Plan, client: &Client, store: &Store, settings: &Settings) -> Result<()> {
    let since = Timestamp::now() - limits::HEAL_WINDOW;
    let receipts = store.receipts(plan.tenant).await?;
    let healed = |object: &str| {
        receipts.iter().filter(|(at, r)| *at > since && r.by == "self-heal" && r.object == object).count()
    };
    let contested = plan.changes.iter().find(|c| healed(&c.object) >= limits::HEALS_PER_OBJECT);
    let today = receipts.iter().filter(|(at, r)| *at > since && r.by == "self-heal").count();
    if let Some(change) = contested.or(plan.changes.first().filter(|_| today >= limits::HEALS_MAX)) {
        let text = format!(
            "{} was put right before and is changed again; it is left as it is now. Talk to whoever changes it, then: posthouse apply {} --plan {}",
            change.object, plan.tenant, plan.id
        );
        return Ok(store
            .raise_alert_of(Severity::High, AlertKind::Healed, Some(plan.tenant), &change.object, &text)
            .await?);
    }
    let mut show = |event: Event| tracing::info!(tenant = %plan.tenant, %event, "self-heal");
    let done = apply(plan.tenant, &plan.id, "self-heal", client, store, settings, &mut show).await;
    let steps: Vec<String> = plan.changes.iter().map(text_of).collect();
    let outcome = done.as_ref().map_or_else(|e| format!("failed: {e}"), |_| steps.join("; "));
    let detail = format!("plan {}: {outcome}", plan.id);
    store.put_act("self-heal", "apply", Some(plan.tenant), &detail).await?;
    store.raise_alert(AlertKind::Healed, Some(plan.tenant), "self-heal", &detail).await?;
    Ok(())
}
