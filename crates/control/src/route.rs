//! Mail is routed out only after the way back was proven by mail.

use crate::carry_out::carry_out;
use crate::events::{Event, State, Step};
use crate::objects::rules::{self, Takes};
use crate::plan::{self, Change, text_of};
use crate::receipts::Origin;
use crate::work::Work;
use crate::{ControlError, Result, limits, probe};
use m365::Identity;
use std::slice::from_ref;
use std::time::Instant;
use tenant::{Direction, Routing, Stage, Tenant};

/// Rules for probes alone, the proof by mail, then rules as the tenant wishes them. A tenant whose way is proven
/// already keeps its rules: they are put right where they are not as they should be, and proven again.
pub(crate) async fn route(work: &mut Work<'_>, app: &Identity, tenant: &mut Tenant, origin: Origin<'_>) -> Result<()> {
    if tenant.routing == Routing::Proven {
        rules_for(work, app, tenant, Takes::Rollout, &Direction::BOTH, origin).await?;
    }
    let tokens = probe::prepare(work, tenant).await?;
    let mut directions = vec![Direction::Inbound, Direction::Outbound];
    if tenant.routing == Routing::Proven {
        // a probe goes only where everybody's mail goes
        directions.retain(|d| tenant.rollout.of(*d) == Stage::Everyone);
    } else {
        routed(work, tenant, Routing::Probe).await?;
        let takes = Takes::Probes(from_ref(&tokens.inbound), from_ref(&tokens.outbound));
        rules_for(work, app, tenant, takes, &Direction::BOTH, origin).await?;
    }
    if !directions.is_empty() {
        probe::prove(work, app, tenant, &tokens, &directions).await?;
    }
    if tenant.routing != Routing::Proven {
        rules_for(work, app, tenant, Takes::Rollout, &Direction::BOTH, origin).await?;
        routed(work, tenant, Routing::Proven).await?;
    }
    let whose = match (tenant.rollout.inbound, tenant.rollout.outbound) {
        (Stage::Everyone, Stage::Everyone) => "is routed through Posthouse".to_owned(),
        (inbound, outbound) => {
            format!("is routed through Posthouse at stage {inbound:?} inbound, {outbound:?} outbound")
        }
    };
    work.show(Event::new(Step::Rules, State::Done, format!("mail of {} {whose}", tenant.domains.join(", "))));
    Ok(())
}

pub(crate) async fn routed(work: &Work<'_>, tenant: &mut Tenant, routing: Routing) -> Result<()> {
    tenant.routing = routing;
    work.store.change_tenant(tenant.id, |known| known.routing = routing).await?;
    Ok(())
}

/// What the watchdog held closed is a person's from now on, and is proven anew.
pub(crate) async fn taken_over(work: &Work<'_>, tenant: &mut Tenant) -> Result<()> {
    routed(work, tenant, Routing::Probe).await?;
    tenant.closed.clear();
    work.store.change_tenant(tenant.id, |known| known.closed.clear()).await?;
    Ok(())
}

/// The rules for `takes` of these ways, in order, read back: first the way back (the strip rule), then the ways out.
pub(crate) async fn rules_for(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &mut Tenant,
    takes: Takes<'_>,
    ways: &[Direction],
    origin: Origin<'_>,
) -> Result<()> {
    let [inbound, outbound, strip] = rules::all(tenant, takes);
    let mut wanted = vec![strip];
    wanted.extend(
        [(Direction::Inbound, inbound), (Direction::Outbound, outbound)]
            .into_iter()
            .filter_map(|(way, rule)| ways.contains(&way).then_some(rule)),
    );
    let mut changed = false;
    for wanted in &wanted {
        let observed = seen_rules(work, app).await?;
        for change in plan::of_one(wanted, &observed) {
            carry_out(work, app, tenant, &change, origin).await?;
            changed = true;
        }
    }
    let (until, mut pause) = (Instant::now() + limits::SETTLE_PATIENCE, limits::LOOK_FIRST);
    loop {
        let observed = seen_rules(work, app).await?;
        let left: Vec<Change> = wanted.iter().flat_map(|wanted| plan::of_one(wanted, &observed)).collect();
        match plan::order(&observed) {
            _ if !left.is_empty() => {}
            Some(order) => {
                carry_out(work, app, tenant, &order, origin).await?;
                changed = true;
            }
            None => break,
        }
        if Instant::now() > until {
            let told: Vec<String> = left.iter().map(text_of).collect();
            return Err(ControlError::Waits(format!(
                "Exchange does not show our rules as they were made: {}",
                told.join("; ")
            )));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
    if !changed {
        work.show(Event::new(Step::Rules, State::Already, "the mail flow rules are there"));
    }
    Ok(())
}

async fn seen_rules(work: &Work<'_>, app: &Identity) -> Result<plan::Observed> {
    let observed = plan::observe_rules(work.client, app, work.store).await?;
    match &observed.rules {
        Err(because) => Err(ControlError::Waits(format!("the list of mail flow rules is unknown: {because}"))),
        Ok(_) => Ok(observed),
    }
}
