//! Guarded self-heal: only what a plan explains, seldom enough that it never becomes a fight, and not against
//! somebody who means it.

use crate::apply::{apply, must_be_proven};
use crate::events::Event;
use crate::feed::{Feed, When};
use crate::look::culprit;
use crate::plan::{self, Change, Plan, text_of};
use crate::receipts::SELF_HEAL;
use crate::{Result, Settings, limits};
use jiff::Timestamp;
use m365::Client;
use serde_json::Value;
use store::{AlertKind, Receipt, Severity, Store};
use tenant::TenantId;

/// Carries the plan out, unless it is contested, too much, or not the plan that was wished; then a person is told.
pub(crate) async fn heal(plan: &Plan, client: &Client, store: &Store, settings: &Settings) -> Result<()> {
    let id = plan.tenant;
    let since = Timestamp::now() - limits::HEAL_WINDOW;
    let (receipts, feed) = (store.receipts(id).await?, Feed::known(store, id).await?);
    let recent: Vec<_> = receipts.iter().filter(|(at, r)| *at > since && r.by == SELF_HEAL).collect();
    // nothing depends on an optional one: it is tried once
    let was_tried = |c: &Change| c.optional && recent.iter().any(|(_, r)| r.object == c.object);
    let wrong: Vec<&Change> = plan.changes.iter().filter(|c| c.waits_for.is_none() && !was_tried(c)).collect();
    if wrong.is_empty() || plan.unknown_that_counts().is_some() {
        return Ok(());
    }
    // while the watchdog holds a way closed, only what has nothing to do with it is healed: it is not undone, and nothing
    // is opened that mail would have to prove
    if let Some(tenant) = store.tenant(id).await?.filter(|t| !t.closed.is_empty()) {
        let held = plan.changes.iter().any(|c| plan::is_held_closed(&tenant, c));
        if held || must_be_proven(&tenant, plan) {
            return Ok(());
        }
    }
    let wished = plan::plan_as_held(id, client, store, settings).await?;
    if wished.id != plan.id {
        let text = format!(
            "{} is not put right by itself: a wish was not applied yet, and an administrator applies both: posthouse plan {id}; posthouse apply {id} --plan {}",
            wrong[0].object, wished.id
        );
        return Ok(store.tell_alert(Severity::Medium, AlertKind::Healed, id, WISH_PENDING, &text).await?);
    }
    store.end_alert(AlertKind::Healed, id, WISH_PENDING).await?;
    if wrong.iter().any(|c| may_be_stale(c, &recent, &feed, client)) {
        return Ok(());
    }
    let done: Vec<_> = recent.iter().filter(|(_, r)| r.answer == Receipt::DONE).collect();
    let healed = |object: &str| done.iter().filter(|(_, r)| r.object == object).count();
    let contested = wrong.iter().find(|c| healed(&c.object) >= limits::HEALS_PER_OBJECT);
    if let Some(change) = contested.or(wrong.first().filter(|_| done.len() >= limits::HEALS_MAX)) {
        let text = format!(
            "{} was put right before and is changed again; it is left as it is now. Talk to whoever changes it, then: posthouse apply {id} --plan {}",
            change.object, plan.id
        );
        return Ok(store.tell_alert(Severity::High, AlertKind::Healed, id, &change.object, &text).await?);
    }
    let mut show = |event: Event| tracing::info!(tenant = %id, %event, "self-heal");
    let steps = wrong.iter().map(|c| text_of(c)).collect::<Vec<_>>().join("; ");
    match apply(id, &plan.id, SELF_HEAL, client, store, settings, &mut show).await {
        Ok(_) => {
            let detail = format!("plan {}: {steps}", plan.id);
            store.put_act(SELF_HEAL, "apply", Some(id), &detail).await?;
            store.end_alert(AlertKind::Healed, id, FAILED).await?;
            store.raise_alert(AlertKind::Healed, Some(id), SELF_HEAL, &detail).await?;
        }
        Err(e) => {
            store.put_act(SELF_HEAL, "apply", Some(id), &format!("plan {} failed: {e}", plan.id)).await?;
            let text = format!("it could not be put right ({steps}): {e}");
            store.tell_alert(Severity::High, AlertKind::Healed, id, FAILED, &text).await?;
        }
    }
    Ok(())
}

const WISH_PENDING: &str = "self-heal waits for a wish to be applied";
const FAILED: &str = "self-heal failed";

/// Everything is as it should be: whatever was told of healing is over.
pub(crate) async fn over(tenant: TenantId, store: &Store) -> Result<()> {
    for alert in store.alerts().await? {
        let open = alert.tenant == Some(tenant) && alert.kind == AlertKind::Healed && alert.ended.is_none();
        if open && alert.subject != SELF_HEAL {
            store.end_alert(AlertKind::Healed, tenant, &alert.subject).await?;
        }
    }
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
