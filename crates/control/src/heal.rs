//! Guarded self-heal: only what a plan explains, seldom enough that it never becomes a fight, and not against
//! somebody who means it.

use crate::events::Event;
use crate::plan::{self, Plan, text_of};
use crate::{Result, Settings, apply::apply, limits};
use jiff::Timestamp;
use m365::Client;
use store::{AlertKind, Severity, Store};

pub(crate) const BY: &str = "self-heal";

/// Carries the plan out, unless it is contested or too much; then a person is told.
pub(crate) async fn heal(plan: &Plan, client: &Client, store: &Store, settings: &Settings) -> Result<()> {
    if plan.changes.iter().all(|c| c.waits_for.is_some()) || plan.unknown_that_counts().is_some() {
        return Ok(());
    }
    // a wish that nobody applied yet is an administrator's to apply
    if plan::plan(plan.tenant, client, store, settings).await?.id != plan.id {
        return Ok(());
    }
    let since = Timestamp::now() - limits::HEAL_WINDOW;
    let receipts = store.receipts(plan.tenant).await?;
    let recent: Vec<_> = receipts.iter().filter(|(at, r)| *at > since && r.by == BY).collect();
    let healed = |object: &str| recent.iter().filter(|(_, r)| r.object == object).count();
    let contested = plan.changes.iter().find(|c| healed(&c.object) >= limits::HEALS_PER_OBJECT);
    if let Some(change) = contested.or(plan.changes.first().filter(|_| recent.len() >= limits::HEALS_MAX)) {
        let text = format!(
            "{} was put right before and is changed again; it is left as it is now. Talk to whoever changes it, then: posthouse apply {} --plan {}",
            change.object, plan.tenant, plan.id
        );
        return Ok(store.tell_alert(Severity::High, AlertKind::Healed, plan.tenant, &change.object, &text).await?);
    }
    let mut show = |event: Event| tracing::info!(tenant = %plan.tenant, %event, "self-heal");
    let done = apply(plan.tenant, &plan.id, BY, client, store, settings, &mut show).await;
    let steps: Vec<String> = plan.changes.iter().map(text_of).collect();
    let outcome = done.as_ref().map_or_else(|e| format!("failed: {e}"), |_| steps.join("; "));
    let detail = format!("plan {}: {outcome}", plan.id);
    store.put_act(BY, "apply", Some(plan.tenant), &detail).await?;
    store.raise_alert(AlertKind::Healed, Some(plan.tenant), BY, &detail).await?;
    Ok(())
}
