//! Closing ways out, and opening them again. Both are written down before the first request, so that a process that dies
//! anywhere goes on there; both give way to a person.

use super::record::{Off, Phase, Record, Window, now_off};
use super::{Doors, tell};
use crate::applied::as_applied;
use crate::apply::alone;
use crate::carry_out::carry_out;
use crate::events::Event;
use crate::objects::rules::{self, Takes};
use crate::plan;
use crate::receipts::{Origin, WATCHDOG};
use crate::route::rules_for;
use crate::work::Work;
use crate::{ControlError, Result, SignIn, Wish, limits, probe};
use jiff::Timestamp;
use m365::Identity;
use std::time::Instant;
use store::AlertKind;
use tenant::{Direction, Routing, Tenant, TenantId};

impl Doors {
    /// By a plan that closes these ways and touches nothing else. Where the rules cannot be read nothing is changed.
    pub(super) async fn turn_off(
        &self,
        id: TenantId,
        directions: &[Direction],
        why: &str,
        record: &mut Record,
    ) -> Result<()> {
        let is_first = record.off.is_none();
        let is_anothers = |t: &Tenant| {
            t.routing != Routing::Proven && is_first || t.routing == Routing::Off || !is_first && t.closed.is_empty()
        };
        // before the lock, which whoever disconnects may hold for long, and under it
        let (tenant, _) = plan::acting(id, &self.store).await?;
        if is_anothers(&tenant) {
            return Err(gave_way());
        }
        let _alone = alone(&self.store, id).await?;
        let (tenant, app) = plan::acting(id, &self.store).await?;
        if is_anothers(&tenant) {
            return Err(gave_way());
        }
        plan::readable_rules(&self.client, &app, &self.store).await?;
        let add = |known: &mut Tenant| {
            let new: Vec<Direction> = directions.iter().copied().filter(|d| !known.closed.contains(d)).collect();
            known.closed.extend(new);
            known.closed.sort();
        };
        let tenant = self.store.change_tenant(id, add).await?.unwrap_or(tenant);
        let off = record.off.get_or_insert_with(|| now_off(why, directions));
        off.directions.clone_from(&tenant.closed);
        record.enter(Phase::Closing, &self.store, id).await?;
        if is_first {
            self.tell_off(&tenant, record).await?;
        }
        let (tenant, _) = as_applied(&self.store, tenant, &self.settings).await?;
        self.close(&app, &tenant).await?;
        if is_first || !record.offs.iter().any(|at| record.off.as_ref().is_some_and(|off| *at >= off.since)) {
            record.offs.push(Timestamp::now());
        }
        record.enter(Phase::Closed, &self.store, id).await
    }

    async fn close(&self, app: &Identity, tenant: &Tenant) -> Result<()> {
        let observed = plan::readable_rules(&self.client, app, &self.store).await?;
        let plan = plan::closing(tenant, &observed, &self.store).await?;
        let (nobody, show) = (&mut |_: crate::Asked<'_>| false, &mut shown(tenant.id));
        let mut work = self.work(tenant.id, nobody, show);
        let mut kept = tenant.clone();
        for change in &plan.changes {
            carry_out(&mut work, app, &mut kept, change, Origin { plan: &plan.id, by: WATCHDOG }).await?;
        }
        if !plan.changes.is_empty() {
            let steps = plan.changes.iter().map(plan::text_of).collect::<Vec<_>>().join("; ");
            self.store.put_act(WATCHDOG, "routing off", Some(tenant.id), &format!("plan {}: {steps}", plan.id)).await?;
        }
        let (until, mut pause) = (Instant::now() + limits::CLOSED_PATIENCE, limits::LOOK_FIRST);
        loop {
            let observed = plan::readable_rules(&self.client, app, &self.store).await?;
            if plan::is_closed(tenant, &observed) {
                return Ok(());
            }
            if Instant::now() > until {
                let text = "the rules were switched off, and Exchange Online does not show it yet";
                return Err(ControlError::Waits(text.into()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::LOOK_MAX);
        }
    }

    /// Law: everybody's mail goes out again only after the way was proven by mail, several times in a row.
    pub(super) async fn try_to_open(&self, tenant: &Tenant, record: &mut Record) -> Result<()> {
        let id = tenant.id;
        match self.open(tenant, record).await {
            Ok(()) => self.ended(tenant, record, "probes came round in a row, and mail is routed again").await,
            Err(e) if is_gave_way(&e) => Ok(()),
            Err(e) => {
                tracing::warn!(tenant = %id, error = %e, "routing stays off");
                self.close_again(id, record, &e.to_string()).await
            }
        }
    }

    async fn open(&self, tenant: &Tenant, record: &mut Record) -> Result<()> {
        let (id, directions) = (tenant.id, tenant.closed.clone());
        let (nobody, show) = (&mut |_: crate::Asked<'_>| false, &mut shown(id));
        let mut work = self.work(id, nobody, show);
        let mut rounds = Vec::new();
        for _ in 0..limits::OPENING_PROBES {
            // fresh for every probe: by its token one that came round is known
            rounds.push(probe::prepare(&work, tenant).await?);
        }
        let (mut applied, app, last) = {
            let Ok(_alone) = alone(&self.store, id).await else { return Err(gave_way()) };
            let (now, app) = plan::acting(id, &self.store).await?;
            self.still_ours(&now, &directions).await?;
            let (mut applied, _) = as_applied(&self.store, now, &self.settings).await?;
            record.enter(Phase::Opening, &self.store, id).await?;
            let (inbound, outbound): (Vec<_>, Vec<_>) =
                rounds.iter().map(|tokens| (tokens.inbound.clone(), tokens.outbound.clone())).unzip();
            let takes = match directions.as_slice() {
                [Direction::Inbound] => Takes::ProbesOneWay(Direction::Inbound, &inbound),
                [Direction::Outbound] => Takes::ProbesOneWay(Direction::Outbound, &outbound),
                _ => Takes::Probes(&inbound, &outbound),
            };
            rules_for(&mut work, &app, &mut applied, takes, &directions, ORIGIN).await?;
            (applied, app, self.store.last_receipt(id).await?)
        };
        // nobody is kept out while mail is on its way: a person who comes now is seen below
        for (n, tokens) in rounds.iter().enumerate() {
            let patience = match n {
                0 => self.rhythm.minute.saturating_mul(limits::OPENING_PROBE_MINUTES),
                _ => self.rhythm.probe_patience,
            };
            let results = probe::send_and_look(&mut work, &app, &applied, tokens, &directions, patience).await?;
            if let Some(wrong) = results.into_iter().find_map(|r| r.wrong) {
                return Err(ControlError::Probe(wrong));
            }
        }
        let _alone = alone(&self.store, id).await?;
        let (now, _) = plan::acting(id, &self.store).await?;
        self.still_ours(&now, &directions).await?;
        if self.store.last_receipt(id).await? != last {
            return Err(ControlError::Refused("somebody changed the tenant while the way was proven".into()));
        }
        applied.closed.clear();
        rules_for(&mut work, &app, &mut applied, Takes::Rollout, &directions, ORIGIN).await?;
        let open = |known: &mut Tenant| (known.closed, known.routing) = (Vec::new(), Routing::Proven);
        self.store.change_tenant(id, open).await?;
        self.store.put_act(WATCHDOG, "routing on", Some(id), "the way was proven by mail").await?;
        for direction in &directions {
            let about = format!("probe {}bound", direction.as_str());
            self.store.end_alert(AlertKind::ProbeLost, id, &about).await?;
        }
        Ok(())
    }

    /// A person's word, a pause included, goes before ours.
    async fn still_ours(&self, now: &Tenant, directions: &[Direction]) -> Result<()> {
        let paused = self.store.paused(now.id).await?.is_some();
        if paused || now.routing == Routing::Off || now.closed != directions { Err(gave_way()) } else { Ok(()) }
    }

    /// The proof failed: the rules take nobody's mail, not even probes.
    pub(super) async fn close_again(&self, id: TenantId, record: &mut Record, why: &str) -> Result<()> {
        if let Some(off) = &mut record.off {
            off.tried = Some((Timestamp::now(), why.to_owned()));
        }
        let (directions, because) =
            record.off.as_ref().map(|off| (off.directions.clone(), off.why.clone())).unwrap_or_default();
        match self.turn_off(id, &directions, &because, record).await {
            Err(e) if is_gave_way(&e) => Ok(()),
            closed => self.tell_closing(id, closed).await,
        }
    }

    /// Somebody enabled a rule in Exchange itself that was seen to be off: that way is his from now on. What is read sooner
    /// may be a copy of before.
    pub(super) async fn gave_way_to_a_hand(&self, tenant: &Tenant, record: &mut Record) -> Result<bool> {
        let (now, app) = plan::acting(tenant.id, &self.store).await?;
        let Ok(observed) = plan::readable_rules(&self.client, &app, &self.store).await else { return Ok(false) };
        let rule = |way: Direction| match way {
            Direction::Inbound => rules::INBOUND,
            Direction::Outbound => rules::OUTBOUND,
        };
        let takes_mail = |row: &m365::Row| !rules::is_disabled(row) && !rules::takes_probes_alone(row);
        let open = |way: &&Direction| observed.find(rules::KIND, rule(**way)).is_some_and(takes_mail);
        let by_hand: Vec<Direction> = now.closed.iter().filter(open).copied().collect();
        if by_hand.is_empty() || now.closed != tenant.closed {
            return Ok(false);
        }
        self.store.change_tenant(tenant.id, |known| known.closed.retain(|way| !by_hand.contains(way))).await?;
        let left: Vec<Direction> = now.closed.iter().filter(|way| !by_hand.contains(way)).copied().collect();
        let still = record.off.clone().filter(|_| !left.is_empty()).map(|off| Off { directions: left, ..off });
        if let Some(off) = &mut record.off {
            off.directions = by_hand;
        }
        self.ended(tenant, record, "somebody enabled the rule in Exchange, and it stays so").await?;
        if still.is_some() {
            record.off = still;
            record.write_down(&self.store, tenant.id).await?;
        }
        Ok(true)
    }

    /// Routing is on again, or another's affair: what mail was delivered unchecked is written down and told.
    pub(super) async fn ended(&self, tenant: &Tenant, record: &mut Record, how: &str) -> Result<()> {
        let Some(off) = record.off.take() else { return Ok(()) };
        record.windows.push(Window {
            from: off.since,
            to: Timestamp::now(),
            directions: off.directions.clone(),
            count: Err("it was not counted yet".into()),
            messages: Vec::new(),
            counted: false,
        });
        let over = record.windows.len().saturating_sub(limits::WINDOWS_KEPT);
        record.windows.drain(..over);
        record.write_down(&self.store, tenant.id).await?;
        tell::over(&self.store, tenant.id).await?;
        let counted = self.count(tenant, record.windows.last()).await;
        if let Some(window) = record.windows.last_mut() {
            (window.count, window.messages) = counted;
            self.tell_unchecked(tenant.id, window, Some(&format!("{how}. It was off because {}", off.why))).await?;
        }
        record.write_down(&self.store, tenant.id).await
    }

    fn work<'a>(
        &'a self,
        id: TenantId,
        nobody: &'a mut (dyn FnMut(crate::Asked<'_>) -> bool + Send + 'a),
        show: &'a mut (dyn FnMut(Event) + Send + 'a),
    ) -> Work<'a> {
        let wish = Wish::new(Some(id.to_string()), SignIn::DeviceCode);
        Work::new(wish, &self.client, &self.store, &self.settings, nobody, show)
    }
}

const ORIGIN: Origin<'static> = Origin { plan: "", by: WATCHDOG };

fn shown(id: TenantId) -> impl FnMut(Event) + Send {
    move |event| tracing::info!(tenant = %id, %event, "watchdog")
}

const GAVE_WAY: &str = "a person is at work on the tenant, and the watchdog gives way";

fn gave_way() -> ControlError {
    ControlError::Refused(GAVE_WAY.into())
}

pub(super) fn is_gave_way(error: &ControlError) -> bool {
    matches!(error, ControlError::Refused(text) if text == GAVE_WAY)
}
