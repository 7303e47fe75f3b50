//! What is held goes back by the same function as everything else: by a person's word, or, for recipients that
//! Microsoft refused for now, by itself.

use crate::act::{Marks, date, own_fields};
use crate::answers::Meaning;
use crate::edits;
use crate::hand_back::reason_of;
use crate::house::House;
use crate::limits;
use crate::returns::offer;
use crate::serve::{GatewayError, Settings};
use smtp::{Deadlines, Reply};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use store::{AlertKind, Held, HeldStep, NewHold, Store};

/// Hands one held message back; it is deleted here once Microsoft has it for every recipient. Returns what Microsoft
/// said, the least favourable answer first.
pub async fn release(store: &Store, settings: &Settings, held_id: &str) -> Result<Reply, GatewayError> {
    let house = House::new(settings.clone(), store.clone())?;
    let held = store.held_one(held_id).await?.ok_or_else(|| GatewayError::NotHeld(held_id.to_owned()))?;
    give_back(&house, &held).await
}

async fn give_back(house: &House, held: &Held) -> Result<Reply, GatewayError> {
    let hold = &held.hold;
    let connected =
        house.tenants.find(&house.store, hold.tenant).await?.ok_or(GatewayError::NotConnected(hold.tenant))?;
    let body = house.store.held_body(&held.id).await?;
    let marks = Marks {
        tenant: &connected.tenant,
        direction: hold.direction,
        id: &hold.journey,
        verdict: "released",
        keep_probe: hold.probe,
    };
    let when = date(jiff::Timestamp::now());
    let received = format!("by {} (Posthouse) id {}; {when}", house.settings.hostname, hold.journey);
    let mut all = own_fields(&marks, &received);
    // what was proven when it came; a journey that is no longer told proved nothing
    let journey = house.store.journey(&hold.journey).await?;
    let case = edits::Case {
        tenant: &connected.tenant,
        journey: &hold.journey,
        direction: hold.direction,
        is_probe: hold.probe,
        visits: journey.as_ref().map_or(1, |j| j.visits),
        null_sender: hold.envelope.is_null_sender(),
        is_suspicious: journey.as_ref().is_none_or(|j| verdict::is_suspicious(&j.findings) || !j.judged),
        // a person has looked
        marks: verdict::Marks::default(),
    };
    let wanted = edits::wanted(house, &case);
    all.extend(wanted.edits);
    let proofs = journey.map(|j| j.proofs).unwrap_or_default();
    let (raw, told) = edits::carried_out(house, &body, all, wanted.links.as_ref(), &proofs).await;
    if !told.is_empty() {
        tracing::info!(held = %held.id, edits = told.join("; "), "edited at release");
    }
    let said = match offer(house, &connected, &hold.envelope, &raw, &Deadlines::usual()).await {
        Ok(said) => said,
        Err(fault) => {
            let why = fault.alert().2;
            house.store.put_release_refused(held, &why).await?;
            return Err(GatewayError::Return(why));
        }
    };
    let waiting: Vec<usize> = (0..said.len()).filter(|n| said[*n].meaning() != Meaning::Taken).collect();
    if waiting.is_empty() {
        house.store.end_held(held, HeldStep::Released, &said[0].reply().to_string()).await?;
    } else if waiting.len() < said.len() {
        // those who have it now must not get it again with the next release; a key that no other hold can have
        let mut rest = NewHold { key: held.id.clone(), ..hold.clone() };
        rest.envelope.recipients = waiting.iter().map(|n| hold.envelope.recipients[*n].clone()).collect();
        rest.reason = reason_of(waiting.iter().map(|n| &said[*n]));
        rest.why =
            waiting.iter().map(|n| format!("{}: {}", hold.envelope.recipients[*n].address, said[*n].reply())).collect();
        let taken = said.iter().find(|s| s.reply().is_success()).map(|s| s.reply().to_string());
        house.store.release_partly(held, &rest, &taken.unwrap_or_default()).await?;
    } else {
        house.store.put_release_refused(held, &said[0].reply().to_string()).await?;
    }
    let worst = waiting.first().map_or(said[0].reply(), |n| said[*n].reply());
    Ok(worst.clone())
}

/// Tries the recipients that were refused for now again, on the schedule of [`limits::RETRY_MINUTES`].
pub(crate) async fn retry_refused(house: Arc<House>) {
    let mut tried: HashMap<String, usize> = HashMap::new();
    loop {
        tokio::time::sleep(limits::RETRY_LOOK).await;
        let oldest = jiff::Timestamp::now() - limits::RETRY_END;
        let held = match house.store.held_to_retry(oldest).await {
            Ok(held) => held,
            Err(e) => {
                tracing::error!(error = %e, "what is held cannot be read");
                continue;
            }
        };
        tried.retain(|id, _| held.iter().any(|h| h.id == *id));
        for one in &held {
            retry(&house, one, &mut tried).await;
        }
    }
}

async fn retry(house: &House, held: &Held, tried: &mut HashMap<String, usize>) {
    let age = Duration::from_secs(u64::try_from(jiff::Timestamp::now().as_second() - held.at.as_second()).unwrap_or(0));
    let due = limits::RETRY_MINUTES.iter().filter(|m| age >= Duration::from_secs(**m * 60)).count();
    let done = tried.entry(held.id.clone()).or_default();
    if due <= *done || age > limits::RETRY_END {
        return;
    }
    *done = due;
    match give_back(house, held).await {
        Ok(reply) if reply.is_success() => tracing::info!(held = %held.id, "handed back what was refused before"),
        Ok(reply) => still_refused(house, held, &reply.to_string(), due).await,
        Err(e) => still_refused(house, held, &e.to_string(), due).await,
    }
}

async fn still_refused(house: &House, held: &Held, why: &str, due: usize) {
    tracing::warn!(held = %held.id, why, "still refused");
    if due == limits::RETRY_MINUTES.len() {
        let text = format!(
            "held message {} was refused for {} recipients again and is not tried any more: {why}; `posthouse held release {}` tries it once",
            held.id,
            held.hold.envelope.recipients.len(),
            held.id
        );
        let _ =
            house.store.raise_alert(AlertKind::Other, Some(held.hold.tenant), "refused recipients wait", &text).await;
    }
}

/// Held mail ends with the days that its tenant gives it; each deletion is an act in the audit log.
pub(crate) async fn delete_expired(store: &Store) -> store::Result<()> {
    for id in store.tenants_with_held().await? {
        let days = store.tenant(id).await?.map_or(tenant::HOLD_DAYS, |t| t.policy.hold_days);
        let life = jiff::SignedDuration::from_hours(i64::from(days).saturating_mul(24));
        let Ok(oldest) = jiff::Timestamp::now().checked_sub(life) else { continue };
        for held in store.held_before(id, oldest).await? {
            let why = format!("nobody released it in {days} days");
            let detail = format!("{} of journey {}: {why}", held.id, held.hold.journey);
            store.put_act("gateway", "held message expired", Some(id), &detail).await?;
            store.end_held(&held, HeldStep::Expired, &why).await?;
        }
    }
    Ok(())
}
