//! Guarded self-heal: only what a plan explains, seldom enough that it never becomes a fight, and not against
//! somebody who means it.

use crate::events::Event;
use crate::feed::{Feed, When};
use crate::look::culprit;
use crate::plan::{self, Change, Plan, text_of};
use crate::{Result, Settings, apply::apply, limits};
use jiff::Timestamp;
use m365::Client;
use serde_json::Value;
use store::{AlertKind, Receipt, Severity, Store};

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
    let (receipts, feed) = (store.receipts(plan.tenant).await?, Feed::known(store, plan.tenant).await?);
    let recent: Vec<_> = receipts.iter().filter(|(at, r)| *at > since && r.by == BY).collect();
    if plan.changes.iter().any(|c| c.waits_for.is_none() && may_be_stale(c, &recent, &feed, client)) {
        return Ok(());
    }
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

/// What Microsoft shows may be a copy from before it was put right (wire.md 7.9): the same to the last property, and
/// nobody is known to have done anything since.
fn may_be_stale(change: &Change, recent: &[&(Timestamp, Receipt)], feed: &Feed, client: &Client) -> bool {
    let Some((at, last)) = recent.iter().rev().find(|(_, r)| r.object == change.object) else { return false };
    let ahead = client.now().duration_since(Timestamp::now());
    let since = When { from: *at + ahead, to: client.now() + limits::RECORD_SKEW };
    let prior = change.prior.clone().map_or(Value::Null, Value::Object);
    Timestamp::now() < *at + limits::HEAL_SHOWS && last.prior == prior && culprit(&change.object, feed, since).is_none()
}
