//! Carrying out a plan: its changes in order, without thinking, until they show and mail has proven them.

use crate::applied::applied;
use crate::carry_out::{carry_out_or_tell, step_of};
use crate::events::{Event, State, Step};
use crate::plan::{self, Change, Plan};
use crate::receipts::{Origin, SELF_HEAL};
use crate::route::route;
use crate::work::{Show, Work};
use crate::{ControlError, Result, Settings, SignIn, Wish, limits, rotate::Rotate, watchdog};
use m365::{Client, Identity};
use serde_json::Value;
use std::time::Instant;
use store::{Severity, Store, TenantLock};
use tenant::{Routing, Tenant, TenantId};

/// Carries out exactly the plan of that id; refuses when the tenant is no longer as it was when the plan was made.
pub async fn apply(
    id: TenantId,
    approved: &str,
    by: &str,
    client: &Client,
    store: &Store,
    settings: &Settings,
    show: &mut Show<'_>,
) -> Result<Plan> {
    let _alone = alone(store, id).await?;
    let (mut tenant, app) = plan::acting(id, store).await?;
    // a person's word goes before the watchdog's; what heals leaves it
    let reopens = by != SELF_HEAL && !tenant.closed.is_empty();
    if reopens {
        tenant.closed.clear();
    }
    let (mut tenant, observed) = plan::observe_current(client, &app, store, settings, &tenant).await?;
    let now = plan::made(&tenant, settings, &observed)?;
    if now.id != approved {
        return Err(refused(store, id, approved, &now).await?);
    }
    if let Some(unknown) = now.unknown_that_counts() {
        return Err(ControlError::Waits(format!(
            "the plan does not know the {}: {}. Nothing was changed; make a new plan when it can be read",
            unknown.object, unknown.because
        )));
    }
    let nobody = &mut |_: crate::Asked<'_>| false;
    let mut work =
        Work::new(Wish::new(Some(id.to_string()), SignIn::DeviceCode), client, store, settings, nobody, show);
    let prove = must_be_proven(&tenant, &now) || (reopens && now.changes.iter().any(plan::routes_mail));
    let done = carry_out_all(&mut work, &app, &mut tenant, &now, prove, Origin { plan: approved, by }).await;
    match &done {
        Ok(()) if reopens => drop(store.change_tenant(id, |known| known.closed.clear()).await?),
        // the proof failed as the watchdog's would: it goes on trying, and telling
        Err(_) if reopens => watchdog::handed_back(store, id).await?,
        _ => {}
    }
    done?;
    applied(&work, &mut tenant).await?;
    Ok(now)
}

/// One set of hands in a tenant at a time. The watch asks for an instant whether somebody is at work; that is no reason
/// to refuse.
pub(crate) async fn alone(store: &Store, id: TenantId) -> Result<TenantLock> {
    let until = Instant::now() + limits::LOCK_PATIENCE;
    loop {
        if let Some(lock) = store.lock_tenant(id)? {
            return Ok(lock);
        }
        if Instant::now() > until {
            return Err(ControlError::Refused(
                "another run of Posthouse is changing this tenant now; nothing was done, try again when it has ended"
                    .into(),
            ));
        }
        tokio::time::sleep(limits::LOCK_AGAIN).await;
    }
}

/// Every change that waits for nothing, then a look until it shows, then the proof by mail.
async fn carry_out_all(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &mut Tenant,
    plan: &Plan,
    prove: bool,
    origin: Origin<'_>,
) -> Result<()> {
    for change in plan.changes.iter().filter(|c| c.waits_for.is_none() && !(prove && is_rule(c))) {
        carry_out_or_tell(work, app, tenant, change, origin).await?;
    }
    if prove {
        settle(work, app, tenant, |change| !is_rule(change)).await?;
        tenant.routing = Routing::Probe;
    }
    // the watch looks again by itself; waiting here until nobody undoes it any more would blind it
    if origin.by == SELF_HEAL && !prove {
        return Ok(());
    }
    let touches_mail = plan.changes.iter().any(|c| c.waits_for.is_none() && (is_rule(c) || is_way_back(c)));
    if prove || (touches_mail && tenant.routing == Routing::Proven) {
        route(work, app, tenant, origin).await?;
    }
    Rotate::done(work.store, tenant.id).await?;
    settle(work, app, tenant, |_| true).await
}

/// Reads until what was changed shows: copies of Microsoft's directory lag (wire.md 7.9).
pub(crate) async fn settle(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &Tenant,
    which: impl Fn(&Change) -> bool,
) -> Result<()> {
    let (until, mut pause, mut told) = (Instant::now() + limits::SETTLE_PATIENCE, limits::LOOK_FIRST, false);
    loop {
        let (tenant, observed) = plan::observe_current(work.client, app, work.store, work.settings, tenant).await?;
        let mut now = plan::made(&tenant, work.settings, &observed)?;
        now.changes.retain(|c| c.waits_for.is_none() && !c.optional && which(c));
        if now.changes.is_empty() && now.unknown_that_counts().is_none() {
            return Ok(());
        }
        if Instant::now() > until {
            let text = format!("it was carried out, and the tenant still differs:\n{now}");
            return Err(ControlError::Waits(text));
        }
        if !told && pause > limits::LOOK_FIRST * 4 {
            let text = "waiting until Microsoft shows what was changed";
            work.show(Event::new(now.changes.first().map_or(Step::Connectors, step_of), State::Doing, text));
            told = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}

/// Law: where the way back is made anew, or was not proven yet, everybody's mail goes out only after a probe has come
/// back.
pub(crate) fn must_be_proven(tenant: &Tenant, plan: &Plan) -> bool {
    let made_anew = |c: &Change| is_way_back(c) && c.severity > Severity::Low && c.waits_for.is_none();
    let opens = plan.changes.iter().any(plan::routes_mail);
    opens && (tenant.routing == Routing::Probe || plan.changes.iter().any(made_anew))
}

fn is_rule(change: &Change) -> bool {
    step_of(change) == Step::Rules
}

/// The domain and the connectors.
fn is_way_back(change: &Change) -> bool {
    [Step::AcceptedDomain, Step::Connectors].contains(&step_of(change)) && !change.optional
}

/// Why not: never made, or made when the tenant was different.
async fn refused(store: &Store, id: TenantId, approved: &str, now: &Plan) -> Result<ControlError> {
    let Some(then) = store.plan(id, approved).await? else {
        return Ok(ControlError::Refused(format!(
            "no plan {approved} was made for this tenant; `posthouse plan` makes one and prints its id"
        )));
    };
    let told = |plan: &Value| -> Vec<String> {
        let changes = plan["changes"].as_array().into_iter().flatten();
        changes.map(|c| format!("{} {} {}", c["action"], c["object"], c["values"]).replace('"', "")).collect()
    };
    let now_value = serde_json::to_value(now).unwrap_or_default();
    let (then, new) = (told(&then), told(&now_value));
    let gone = then.iter().filter(|t| !new.contains(t)).map(|t| format!("\n  no longer: {t}"));
    let come = new.iter().filter(|t| !then.contains(t)).map(|t| format!("\n  new:       {t}"));
    let differences: String = gone.chain(come).collect();
    Ok(ControlError::Refused(format!(
        "plan {approved} is stale: the tenant has changed since it was made. Nothing was done; the plan now is {}{differences}",
        now.id
    )))
}
