//! What is held goes back by the same function as everything else: by a person's word, or, for recipients that
//! Microsoft refused for now, by itself.

use crate::act::{Marks, date, marked};
use crate::house::House;
use crate::limits;
use crate::returns::offer;
use crate::serve::{GatewayError, Settings};
use smtp::Reply;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use store::{AlertKind, Held, HeldStep, HoldReason, NewHold, Store};

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
    let raw = marked(
        &body,
        &marks,
        &format!("by {} (Posthouse) id {}; {}", house.settings.hostname, hold.journey, date(jiff::Timestamp::now())),
    );
    let said = match offer(house, &connected, &hold.envelope, &raw).await {
        Ok(said) => said,
        Err(fault) => {
            let why = fault.alert().2;
            house.store.put_release_refused(held, &why).await?;
            return Err(GatewayError::Return(why));
        }
    };
    let waiting: Vec<usize> = (0..said.len()).filter(|n| !said[*n].reply().is_success()).collect();
    if waiting.is_empty() {
        house.store.end_held(held, HeldStep::Released, &said[0].reply().to_string()).await?;
    } else if waiting.len() < said.len() {
        // those who have it now must not get it again with the next release; a key that no other hold can have
        let mut rest = NewHold { key: held.id.clone(), ..hold.clone() };
        rest.envelope.recipients = waiting.iter().map(|n| hold.envelope.recipients[*n].clone()).collect();
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
        let held = match house.store.held(None).await {
            Ok(held) => held,
            Err(e) => {
                tracing::error!(error = %e, "what is held cannot be read");
                continue;
            }
        };
        tried.retain(|id, _| held.iter().any(|h| h.id == *id));
        for one in held.iter().filter(|h| h.hold.reason == HoldReason::RefusedForNow) {
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
