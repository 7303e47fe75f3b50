//! What really came by us, measured: Exchange Online's own trace of what it delivered against our journal of what we
//! had. Never a setting. The setting says what was wished, this says what is, and the watch tells where they differ.
//!
//! Joined by Message-ID and recipient. Who sends a second message under the Message-ID of one that came by us, to the same
//! recipient, is counted as one message with it.

mod people;
pub(crate) mod trace;
mod why;

pub(crate) use people::People;
pub use trace::TraceRow;
pub(crate) use trace::read_row;
pub use why::Reason;
pub(crate) use why::{Known, why};

use crate::applied::as_applied;
use crate::look::{Look, look};
use crate::watchdog::Record;
use crate::{Result, Settings, limits, plan};
use jiff::{SignedDuration, Timestamp};
use m365::Client;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use store::{AlertKind, Directory, Outcome, Passage, Severity, Store};
use tenant::{Direction, Routing, Stage, Tenant, TenantId};

/// Seen, or why it is not known.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Fact<T> {
    Seen(T),
    Unknown { unknown_because: String },
}

impl<T> Fact<T> {
    pub fn unknown(because: impl Into<String>) -> Fact<T> {
        Fact::Unknown { unknown_because: because.into() }
    }
    pub fn seen(&self) -> Option<&T> {
        match self {
            Fact::Seen(seen) => Some(seen),
            Fact::Unknown { .. } => None,
        }
    }
    pub fn because(&self) -> Option<&str> {
        match self {
            Fact::Seen(_) => None,
            Fact::Unknown { unknown_because } => Some(unknown_because),
        }
    }
}

/// A delivered message that did not come by us, for one recipient.
#[derive(Clone, Debug, Serialize)]
pub struct Skip {
    pub direction: Direction,
    pub message_id: String,
    pub sender: String,
    pub recipient: String,
    pub received: Timestamp,
    #[serde(flatten)]
    pub reason: Reason,
}

/// One direction; every number counts a message once for each recipient.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measure {
    /// Delivered by Exchange Online, or held here: passed and skipped together.
    pub messages: u64,
    /// Handed back or held by us.
    pub passed: u64,
    /// Of those, held when they came.
    pub held: u64,
    pub skipped: u64,
    /// Still under way, failed, or stopped by Microsoft's own filter.
    pub not_delivered: u64,
    /// Hundredths that passed, rounded down; `None` where nothing was to be seen.
    pub passed_percent: Option<u64>,
}

/// A window of one tenant's mail.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub from: Timestamp,
    pub to: Timestamp,
    pub inbound: Measure,
    pub outbound: Measure,
    /// Mail within the tenant and mail that is neither from nor to it: not ours to see.
    pub not_ours: u64,
    /// Our own probes.
    pub probes: u64,
    /// Newest first.
    pub skips: Vec<Skip>,
}

impl Measured {
    pub fn of(&self, direction: Direction) -> &Measure {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
    /// Skips of one direction by reason, the most frequent first.
    pub fn reasons(&self, direction: Direction) -> Vec<(&Reason, Vec<&Skip>)> {
        let mut by: BTreeMap<&Reason, Vec<&Skip>> = BTreeMap::new();
        for skip in self.skips.iter().filter(|s| s.direction == direction) {
            by.entry(&skip.reason).or_default().push(skip);
        }
        let mut all: Vec<_> = by.into_iter().collect();
        all.sort_by_key(|(_, skips)| std::cmp::Reverse(skips.len()));
        all
    }
}

/// What a message was, put together of all its lines.
struct Traced<'t> {
    first: &'t TraceRow,
    delivered: bool,
}

/// Pure: what Exchange Online delivered, what we had, what was wished and seen.
pub(crate) fn measure(
    tenant: &Tenant,
    zone: &str,
    rows: &[TraceRow],
    passages: &[Passage],
    known: &Known<'_>,
    window: (Timestamp, Timestamp),
) -> Measured {
    let mut measured = Measured {
        from: window.0,
        to: window.1,
        inbound: Measure::default(),
        outbound: Measure::default(),
        not_ours: 0,
        probes: 0,
        skips: Vec::new(),
    };
    let came_by = came_by(passages, known.people);
    for (key, traced) in by_message(rows, known.people) {
        let row = traced.first;
        let passage = came_by.get(&key);
        if is_probe(&row.sender, &row.recipient, zone) || passage.is_some_and(|p| p.probe.is_some()) {
            measured.probes += 1;
            continue;
        }
        let Some(direction) = direction(tenant, &row.sender, &row.recipient, passage.and_then(|p| p.direction)) else {
            measured.not_ours += 1;
            continue;
        };
        let skip = (passage.is_none() && traced.delivered).then(|| Skip {
            direction,
            message_id: row.message_id.clone(),
            sender: row.sender.clone(),
            recipient: row.recipient.clone(),
            received: row.received,
            reason: why(known, direction, &row.sender, &row.recipient, row.received),
        });
        let measure = match direction {
            Direction::Inbound => &mut measured.inbound,
            Direction::Outbound => &mut measured.outbound,
        };
        match passage {
            Some(passage) => {
                measure.passed += 1;
                measure.held += u64::from(passage.outcome == Outcome::Held);
            }
            None if traced.delivered => measure.skipped += 1,
            None => measure.not_delivered += 1,
        }
        measured.skips.extend(skip);
    }
    for measure in [&mut measured.inbound, &mut measured.outbound] {
        measure.messages = measure.passed + measure.skipped;
        measure.passed_percent = (measure.passed * 100).checked_div(measure.messages);
    }
    measured.skips.sort_by_key(|s| std::cmp::Reverse(s.received));
    measured
}

/// Message-ID and person.
type Key = (String, String);

/// What we had, durably or back in Microsoft's hands; what we only refused is not there.
fn came_by<'p>(passages: &'p [Passage], people: &People<'_>) -> HashMap<Key, &'p Passage> {
    let had = |p: &&Passage| {
        matches!(
            p.outcome,
            Outcome::HandedBack | Outcome::Held | Outcome::PartlyHeld | Outcome::Deleted | Outcome::Redirected
        )
    };
    let keys = |p: &'p Passage| {
        let id = p.message_id.clone().unwrap_or_default();
        p.recipients.iter().map(move |r| ((id.clone(), people.whose(r)), p))
    };
    passages.iter().filter(had).flat_map(keys).collect()
}

/// The lines of a message's passes together; what only was a group, and became its members, is nobody's message.
fn by_message<'t>(rows: &'t [TraceRow], people: &People<'_>) -> BTreeMap<Key, Traced<'t>> {
    let mut all: BTreeMap<Key, Traced<'t>> = BTreeMap::new();
    for row in rows.iter().filter(|r| !r.status.eq_ignore_ascii_case("Expanded")) {
        let delivered = row.status.eq_ignore_ascii_case("Delivered");
        let key = (row.message_id.clone(), people.whose(&row.recipient));
        let traced = all.entry(key).or_insert(Traced { first: row, delivered: false });
        traced.delivered |= delivered;
        if row.received < traced.first.received {
            traced.first = row;
        }
    }
    all
}

/// A probe, or a notice: mail that we wrote ourselves.
pub(crate) fn is_probe(sender: &str, recipient: &str, zone: &str) -> bool {
    let at_zone = |address: &str| address.rsplit_once('@').is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(zone));
    let is_notice = sender.rsplit_once('@').is_some_and(|(local, domain)| {
        let below = domain.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(zone));
        local == tenant::NOTICE_SENDER && (below || domain.eq_ignore_ascii_case(zone))
    });
    if is_notice {
        return true;
    }
    sender.starts_with("probe@") && at_zone(sender) || recipient.starts_with("probe-") && at_zone(recipient)
}

/// By the addresses; where both are of the tenant, only our journal can tell a forged sender from internal mail.
pub(crate) fn direction(
    tenant: &Tenant,
    sender: &str,
    recipient: &str,
    journal: Option<Direction>,
) -> Option<Direction> {
    match (tenant.owns_address(sender), tenant.owns_address(recipient)) {
        (false, true) => Some(Direction::Inbound),
        (true, false) => Some(Direction::Outbound),
        _ => journal,
    }
}

/// What is read to tell why a message did not come by.
pub(crate) struct Circumstances {
    directory: Directory,
    members: people::Members,
    changed: Option<Timestamp>,
    /// When mail of which direction was delivered unchecked.
    unchecked: Vec<(Timestamp, Timestamp, Vec<Direction>)>,
}

impl Circumstances {
    pub(crate) async fn read(tenant: &Tenant, store: &Store) -> Result<Circumstances> {
        let groups = [tenant.rollout.pilot_groups.as_slice(), &tenant.rollout.excluded_groups].concat();
        let receipts = store.receipts(tenant.id).await?;
        Ok(Circumstances {
            directory: store.directory(tenant.id).await?,
            members: people::members_of(store, tenant.id, &groups).await?,
            changed: receipts.iter().filter(|(_, r)| r.object.starts_with("mail flow rule")).map(|(at, _)| *at).max(),
            unchecked: Record::known(store, tenant.id).await?.unchecked(),
        })
    }
    pub(crate) fn people(&self) -> People<'_> {
        People::new(&self.directory, &self.members)
    }
    pub(crate) fn known<'k>(
        &'k self,
        tenant: &'k Tenant,
        people: &'k People<'k>,
        looked: Option<&'k Look>,
    ) -> Known<'k> {
        let drift = looked.map_or(&[][..], |l| &l.drift);
        let (changed, unchecked) = (self.changed, &self.unchecked[..]);
        Known { rollout: &tenant.rollout, people, drift, changed, unchecked }
    }
}

/// Reads and joins; `looked` is what the watch's eyes see now, for the reasons. The tenant is the one that was applied
/// last: what somebody only wishes takes no mail yet.
pub(crate) async fn measured(
    tenant: &Tenant,
    client: &Client,
    store: &Store,
    settings: &Settings,
    looked: Option<&Look>,
    span: SignedDuration,
) -> Result<Fact<Measured>> {
    let to = Timestamp::now();
    let window = (to - span, to);
    let (_, app) = plan::acting(tenant.id, store).await?;
    let rows = match trace::read(client, &app, window.0, window.1, &mut trace::Pace::at_once()).await {
        Ok(rows) => rows,
        Err(because) => return Ok(Fact::unknown(because.to_string())),
    };
    let mut ids: Vec<String> = rows.iter().map(|r| r.message_id.clone()).collect();
    ids.sort();
    ids.dedup();
    let passages = store.passages(tenant.id, &ids).await?;
    let circumstances = Circumstances::read(tenant, store).await?;
    let people = circumstances.people();
    let known = circumstances.known(tenant, &people, looked);
    Ok(Fact::Seen(measure(tenant, &settings.zone, &rows, &passages, &known, window)))
}

/// Delivered mail that ought to have come by us and did not.
#[derive(Clone, Debug, Serialize)]
pub struct Unseen {
    /// Delivered in the directions in which everybody's mail is to come by.
    pub messages: u64,
    pub skips: Vec<Skip>,
}

impl Unseen {
    pub fn severity(&self) -> Option<Severity> {
        let skipped = self.skips.len() as u64;
        let many =
            self.messages >= limits::UNSEEN_MESSAGES_MIN && skipped * 100 > self.messages * limits::UNSEEN_PERCENT_HIGH;
        (skipped > 0).then_some(if many { Severity::High } else { Severity::Medium })
    }
    pub fn text(&self) -> String {
        let example = self.skips.first().map_or_else(String::new, |s| {
            format!(
                "; the newest is <{}> to {} at {:.0}, and the reason is: {}",
                s.message_id, s.recipient, s.received, s.reason
            )
        });
        format!(
            "{} of {} messages of the last hour were delivered and never came by us{example}. See `posthouse status`",
            self.skips.len(),
            self.messages
        )
    }
}

/// Of what was measured, that which nobody wished and which had its time.
pub(crate) fn unseen(tenant: &Tenant, measured: &Measured) -> Unseen {
    let everyone = |d: Direction| tenant.rollout.of(d) == Stage::Everyone;
    let directions = [Direction::Inbound, Direction::Outbound].into_iter().filter(|d| everyone(*d));
    let newest = measured.to - limits::UNSEEN_GRACE;
    let counts =
        |s: &&Skip| everyone(s.direction) && s.received < newest && !s.reason.is_wished() && !s.reason.passes();
    Unseen {
        messages: directions.map(|d| measured.of(d).messages).sum(),
        skips: measured.skips.iter().filter(counts).cloned().collect(),
    }
}

/// For the watch: what came into mailboxes, or went out, and ought to have come by us. Costs one look at the trace.
pub async fn skipped(
    id: TenantId,
    client: &Client,
    store: &Store,
    settings: &Settings,
    looked: Option<&Look>,
) -> Result<Fact<Unseen>> {
    let (tenant, _) = as_applied(store, plan::acting(id, store).await?.0, settings).await?;
    Ok(match measured(&tenant, client, store, settings, looked, limits::MEASURED_SPAN).await? {
        Fact::Seen(measured) => Fact::Seen(unseen(&tenant, &measured)),
        Fact::Unknown { unknown_because } => Fact::Unknown { unknown_because },
    })
}

/// Looks at every tenant's delivered mail until the process ends, and raises what did not come by.
pub async fn watch_mail(client: Client, store: Store, settings: Settings) {
    let mut ticks = tokio::time::interval(limits::UNSEEN_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tenants = store.tenants().await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "the tenants cannot be read");
            Vec::new()
        });
        let mut looks = tokio::task::JoinSet::new();
        for tenant in tenants.into_iter().filter(|t| t.routing == Routing::Proven) {
            let (client, store, settings) = (client.clone(), store.clone(), settings.clone());
            looks.spawn(async move {
                let round = tell_unseen(tenant.id, &client, &store, &settings);
                match tokio::time::timeout(limits::LOOK_TIMEOUT, round).await {
                    Ok(Ok(())) => {}
                    Ok(Err(e)) => tracing::error!(tenant = %tenant.id, error = %e, "delivered mail cannot be measured"),
                    Err(_) => tracing::warn!(tenant = %tenant.id, "measuring delivered mail took too long"),
                }
            });
        }
        while looks.join_next().await.is_some() {}
    }
}

async fn tell_unseen(id: TenantId, client: &Client, store: &Store, settings: &Settings) -> Result<()> {
    if store.paused(id).await?.is_some() {
        return Ok(());
    }
    let mut found = skipped(id, client, store, settings, None).await?;
    if found.seen().is_some_and(|unseen| unseen.severity().is_some()) {
        // once more, with eyes for the reason
        let looked = look(id, client, store, settings).await.ok();
        found = skipped(id, client, store, settings, looked.as_ref()).await?;
    }
    match found {
        Fact::Seen(unseen) => {
            if let Some(severity) = unseen.severity() {
                let about = "delivered mail never came by";
                store.raise_alert_of(severity, AlertKind::Skipped, Some(id), about, &unseen.text()).await?;
            }
        }
        // whether our application is shut out is the watch's to tell
        Fact::Unknown { unknown_because } => tracing::warn!(tenant = %id, because = unknown_because, "not measured"),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
