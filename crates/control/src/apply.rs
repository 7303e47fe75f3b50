//! Carrying out a plan: its changes in order, without thinking. Each leaves a receipt with what was there before.

use crate::events::{Event, State, Step};
use crate::objects::{accepted_domain, exchange};
use crate::plan::{self, Call, Change, Plan, text_of};
use crate::work::Work;
use crate::{ControlError, Result, Settings, SignIn, Wish, connect, objects};
use m365::{Client, Identity, M365Error};
use serde_json::Value;
use store::{Receipt, Store};
use tenant::{Routing, Tenant, TenantId};

/// Carries out exactly the plan of that id; refuses when the tenant is no longer as it was when the plan was made.
pub async fn apply(
    id: TenantId,
    approved: &str,
    by: &str,
    client: &Client,
    store: &Store,
    settings: &Settings,
    show: &mut (dyn FnMut(Event) + Send),
) -> Result<Plan> {
    let (mut tenant, app) = plan::acting(id, store).await?;
    let observed = plan::observe(client, &app, store).await?;
    let now = plan::made(&tenant, settings, &observed)?;
    if now.id != approved {
        return Err(refused(store, id, approved, &now).await?);
    }
    if let Some(unknown) = now.unknown.first() {
        return Err(ControlError::Waits(format!(
            "the plan does not know the {}: {}. Nothing was changed; make a new plan when it can be read",
            unknown.object, unknown.because
        )));
    }
    let nobody = &mut |_: &[crate::Permission]| false;
    let wish = Wish { tenant: Some(id.to_string()), sign_in: SignIn::DeviceCode, probe_recipient: None };
    let mut work = Work::new(wish, client, store, settings, nobody, show);
    // law: where this plan touches the way back, mail goes out again only after a probe has come back
    let prove = now.changes.iter().any(is_way_back) && now.changes.iter().any(plan::routes_mail);
    for change in &now.changes {
        if prove && is_rule(change) {
            continue;
        }
        if let Some(waits_for) = &change.waits_for {
            return Err(ControlError::Waits(format!("“{}” waits for {waits_for}", text_of(change))));
        }
        carry_out(&mut work, &app, &tenant, change, Origin { plan: approved, by }).await?;
    }
    if prove {
        tenant.routing = Routing::Probe;
        connect::route(&mut work, &app, &mut tenant).await?;
    }
    let left = plan::made(&tenant, settings, &plan::observe(client, &app, store).await?)?;
    if !left.is_empty() {
        return Err(ControlError::Waits(format!("the plan was carried out, and the tenant still differs:\n{left}")));
    }
    Ok(now)
}

fn is_rule(change: &Change) -> bool {
    step_of(change) == Step::Rules
}

fn is_way_back(change: &Change) -> bool {
    !is_rule(change)
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

/// Whose doing it is, for the receipt.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub plan: &'a str,
    pub by: &'a str,
}

/// One change, with its receipt whether it succeeded or not.
pub(crate) async fn carry_out(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &Tenant,
    change: &Change,
    origin: Origin<'_>,
) -> Result<()> {
    let mut done = Ok(());
    for call in &change.calls {
        done = run(work, app, tenant, change, call).await;
        if done.is_err() {
            break;
        }
    }
    let receipt = Receipt {
        plan: origin.plan.into(),
        by: origin.by.into(),
        step: text_of(change),
        object: change.object.clone(),
        call: change.calls.iter().map(Call::name).collect::<Vec<_>>().join(", "),
        prior: change.prior.clone().map_or(Value::Null, Value::Object),
        answer: done.as_ref().map_or_else(ToString::to_string, |()| "done".into()),
    };
    work.store.put_receipt(tenant.id, &receipt).await?;
    done?;
    work.show(Event::new(step_of(change), State::Done, text_of(change)));
    Ok(())
}

fn step_of(change: &Change) -> Step {
    match change.calls.first() {
        _ if change.action == plan::Action::Remove => Step::Disconnect,
        Some(Call::AcceptedDomain) => Step::AcceptedDomain,
        _ if change.object.contains("connector") => Step::Connectors,
        _ => Step::Rules,
    }
}

async fn run(work: &mut Work<'_>, app: &Identity, tenant: &Tenant, change: &Change, call: &Call) -> Result<()> {
    let (cmdlet, parameters) = match call {
        Call::AcceptedDomain => return accepted_domain::ensure(work, app, tenant).await,
        Call::RemoveDomain => return accepted_domain::remove(work, app, &tenant.connector_domain).await,
        Call::Exchange { cmdlet, parameters } => (cmdlet, parameters),
    };
    let secrets = objects::secrets_of(tenant);
    let answer = match work.client.exchange(app, cmdlet, parameters.clone().into()).await {
        // what is gone was to be removed
        Err(e) if e.is_absent() && change.action == plan::Action::Remove => return Ok(()),
        // nobody knows whether it was done: look before trying again, so that nothing is made twice
        Err(M365Error::OutcomeUnknown { .. }) => return after_silence(work, app, cmdlet, parameters).await,
        other => other.map_err(|e| exchange::without_secrets(e, &secrets))?,
    };
    for warning in answer.warnings {
        work.show(Event::new(step_of(change), State::Note, format!("Exchange warns: {warning}")));
    }
    Ok(())
}

/// A create that was not answered: there, it was done; not there, it is tried once more. Changes may be repeated.
async fn after_silence(work: &Work<'_>, app: &Identity, cmdlet: &str, parameters: &m365::Row) -> Result<()> {
    if let Some(kind) = cmdlet.strip_prefix("New-") {
        let name = parameters.get("Name").and_then(Value::as_str).unwrap_or_default();
        if exchange::read(work, app, kind, name).await?.is_some() {
            return Ok(());
        }
    }
    work.client.exchange(app, cmdlet, parameters.clone().into()).await?;
    Ok(())
}
