//! What is held goes back by the same function as everything else: by a person's word, or, for recipients that
//! Microsoft refused for now, by itself. Malware never does.

use crate::act::{Marks, date, own_fields};
use crate::answers::Meaning;
use crate::decide::has_malware;
use crate::edits;
use crate::hand_back::reason_of;
use crate::house::House;
use crate::limits;
use crate::returns::offer;
use crate::serve::{GatewayError, Settings};
use bytes::Bytes;
use mail::Envelope;
use smtp::{Deadlines, Reply};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use store::{AlertKind, Held, HeldStep, HoldReason, JourneyEntry, NewHold, Store};
use tenant::{Category, Direction, Level, NOTICE_SENDER, TenantId};

/// Where people's wishes for mail are carried out that is no journey: held mail goes back, mail of our own goes in.
#[derive(Clone)]
pub struct Desk {
    house: Arc<House>,
}

/// Who wants it released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By<'a> {
    /// Who looked at it for everybody: it goes to all, without the warnings of what was decided.
    Admin,
    /// One recipient: it goes to him alone, with a warning for whoever he shows it to.
    Recipient(&'a str),
    /// What was refused for now: as it was decided.
    Retry,
}

impl Desk {
    /// Beside whichever process serves.
    pub fn open(settings: &Settings, store: &Store) -> Result<Desk, GatewayError> {
        Ok(Desk { house: House::new(settings.clone(), store.clone())? })
    }

    pub(crate) fn of(house: Arc<House>) -> Desk {
        Desk { house }
    }

    pub fn store(&self) -> &Store {
        &self.house.store
    }

    /// Hands one held message back; for whom Microsoft has it, it is deleted here. Returns what Microsoft said, the least
    /// favourable answer first.
    pub async fn release(&self, held_id: &str, by: By<'_>) -> Result<Reply, GatewayError> {
        let gone = || GatewayError::NotHeld(held_id.to_owned());
        let held = self.house.store.held_one(held_id).await?.ok_or_else(gone)?;
        give_back(&self.house, &held.id, by).await
    }

    /// Mail of our own, into a mailbox of the tenant: by the tenant's return leg and with the mark of what was checked, so
    /// that it is judged neither by us nor taken for mail from outside; by its sender the ledger knows it.
    pub async fn send(&self, id: TenantId, to: &str, raw: Bytes) -> Result<Reply, GatewayError> {
        let house = &self.house;
        let connected = house.tenants.find(&house.store, id).await?.ok_or(GatewayError::NotConnected(id))?;
        let (journey, at) = (uuid::Uuid::now_v7().to_string(), jiff::Timestamp::now());
        let marks = Marks {
            tenant: &connected.tenant,
            direction: Direction::Inbound,
            id: &journey,
            verdict: "own",
            keep_probe: false,
        };
        let received = format!("by {} (Posthouse) id {journey}; {}", house.settings.hostname, date(at));
        let marked = mail::apply(&raw, &own_fields(&marks, &received));
        let sender = format!("{NOTICE_SENDER}@{}", connected.tenant.connector_domain);
        let envelope = Envelope::new(sender, [to.to_owned()]);
        let said = offer(house, &connected, &envelope, &marked, &Deadlines::usual()).await;
        let said = said.map_err(|fault| GatewayError::Return(fault.alert().2))?;
        Ok(said[0].reply().clone())
    }
}

/// Whether it must not leave as it is. What was held before that was written down is asked of the journal; what nobody
/// can tell of any more stays.
fn is_malware(hold: &NewHold, journey: Option<&JourneyEntry>) -> bool {
    let named = hold.malware || hold.category == Some(Category::Malware);
    named
        || hold.reason == HoldReason::Judged
            && hold.category.is_none()
            && journey.is_none_or(|j| has_malware(&j.findings))
}

async fn give_back(house: &House, id: &str, by: By<'_>) -> Result<Reply, GatewayError> {
    let waiting = || GatewayError::NotHeld(id.to_owned());
    let held = house.store.held_one(id).await?.ok_or_else(waiting)?;
    // nobody gets it twice because two ask at the same time
    let _lock = house.store.lock_held(&held)?.ok_or(GatewayError::UnderWay)?;
    let held = house.store.held_one(id).await?.ok_or_else(waiting)?;
    let hold = &held.hold;
    let mut envelope = hold.envelope.clone();
    if let By::Recipient(address) = by {
        envelope.recipients.retain(|r| r.address.eq_ignore_ascii_case(address));
        if envelope.recipients.is_empty() {
            return Err(waiting());
        }
    }
    let connected =
        house.tenants.find(&house.store, hold.tenant).await?.ok_or(GatewayError::NotConnected(hold.tenant))?;
    // what was proven when it came; a journey that is no longer told proved nothing
    let journey = house.store.journey(&hold.journey).await?;
    if is_malware(hold, journey.as_ref()) {
        return Err(GatewayError::Malware(held.id.clone()));
    }
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
    let case = edits::Case {
        tenant: &connected.tenant,
        journey: &hold.journey,
        direction: hold.direction,
        is_probe: hold.probe,
        visits: journey.as_ref().map_or(1, |j| j.visits),
        null_sender: hold.envelope.is_null_sender(),
        is_suspicious: journey.as_ref().is_none_or(|j| verdict::is_suspicious(&j.findings) || !j.judged),
        marks: marks_of(hold, by),
    };
    let wanted = edits::wanted(house, &case);
    all.extend(wanted.edits);
    let proofs = journey.map(|j| j.proofs).unwrap_or_default();
    let (raw, told) = edits::carried_out(house, &body, all, wanted.links.as_ref(), &proofs).await;
    if !told.is_empty() {
        tracing::info!(held = %held.id, edits = told.join("; "), "edited at release");
    }
    let said = match offer(house, &connected, &envelope, &raw, &Deadlines::usual()).await {
        Ok(said) => said,
        Err(fault) => {
            let why = fault.alert().2;
            house.store.put_release_refused(&held, &why).await?;
            return Err(GatewayError::Return(why));
        }
    };
    let refused: Vec<usize> = (0..said.len()).filter(|n| said[*n].meaning() != Meaning::Taken).collect();
    let worst = refused.first().map_or(said[0].reply(), |n| said[*n].reply()).clone();
    if refused.len() == said.len() {
        house.store.put_release_refused(&held, &worst.to_string()).await?;
        return Ok(worst);
    }
    // those who have it now must not get it again with the next release; a key that no other hold can have
    let mut rest = NewHold { key: held.id.clone(), ..hold.clone() };
    let taken =
        |address: &str| (0..said.len()).any(|n| !refused.contains(&n) && envelope.recipients[n].address == address);
    rest.envelope.recipients.retain(|r| !taken(&r.address));
    if !refused.is_empty() {
        rest.reason = reason_of(refused.iter().map(|n| &said[*n]));
        rest.why =
            refused.iter().map(|n| format!("{}: {}", envelope.recipients[*n].address, said[*n].reply())).collect();
    }
    let answer = said.iter().find(|s| s.reply().is_success()).map(|s| s.reply().to_string()).unwrap_or_default();
    house.store.end_partly(&held, HeldStep::Released, &rest, &answer).await?;
    Ok(worst)
}

/// What was decided when it came is put on what goes by that decision. Who lets out what was held has looked himself: of an
/// admin that is enough; what one recipient wants is seen by others, too.
fn marks_of(hold: &NewHold, by: By<'_>) -> verdict::Marks {
    match (by, hold.reason, hold.direction) {
        (By::Recipient(_), HoldReason::Judged, Direction::Inbound) => {
            verdict::Marks { banner: Some(Level::Caution), ..verdict::Marks::default() }
        }
        (_, HoldReason::Judged, _) => verdict::Marks::default(),
        _ => hold.marks,
    }
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
    match give_back(house, &held.id, By::Retry).await {
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

fn life(days: u32) -> jiff::SignedDuration {
    jiff::SignedDuration::from_hours(i64::from(days).saturating_mul(24))
}

/// When a held message is deleted, unless somebody decides before.
pub fn expires(held: &Held, policy: &tenant::Policy) -> jiff::Timestamp {
    held.at.checked_add(life(policy.hold_days)).unwrap_or(jiff::Timestamp::MAX)
}

/// Held mail ends with the days that its tenant gives it; each deletion is an act in the audit log.
pub(crate) async fn delete_expired(store: &Store) -> store::Result<()> {
    for id in store.tenants_with_held().await? {
        let days = store.tenant(id).await?.map_or(tenant::HOLD_DAYS, |t| t.policy.hold_days);
        let Ok(oldest) = jiff::Timestamp::now().checked_sub(life(days)) else { continue };
        for held in store.held_before(id, oldest).await? {
            let why = format!("nobody released it in {days} days");
            let detail = format!("{} of journey {}: {why}", held.id, held.hold.journey);
            store.put_act("gateway", "held message expired", Some(id), &detail).await?;
            store.end_held(&held, HeldStep::Expired, &why).await?;
        }
    }
    Ok(())
}
