//! Carrying out a plan: its changes in order, without thinking. Each leaves a receipt with what was there before,
//! written before the first request and finished after the last.

use crate::events::{Event, State, Step};
use crate::objects::{accepted_domain, application, credential, exchange, inbound_connector, rules};
use crate::plan::{self, Call, Change, Plan, text_of};
use crate::work::{Show, Work};
use crate::{
    ControlError, Result, Settings, SignIn, Wish, certificate, connect, drain, heal, limits, objects, rotate::Rotate,
};
use m365::{Client, Identity, M365Error};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Instant;
use store::{Receipt, Severity, Store, TenantLock};
use tenant::{MarkSecrets, Rollout, Routing, Tenant, TenantId};

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
    let (tenant, app) = plan::acting(id, store).await?;
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
    carry_out_all(&mut work, &app, &mut tenant, &now, Origin { plan: approved, by }).await?;
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
    origin: Origin<'_>,
) -> Result<()> {
    let prove = must_be_proven(tenant, plan);
    for change in plan.changes.iter().filter(|c| c.waits_for.is_none() && !(prove && is_rule(c))) {
        carry_out_or_tell(work, app, tenant, change, origin).await?;
    }
    if prove {
        settle(work, app, tenant, |change| !is_rule(change)).await?;
        tenant.routing = Routing::Probe;
    }
    // the watch looks again by itself; waiting here until nobody undoes it any more would blind it
    if origin.by == heal::BY && !prove {
        return Ok(());
    }
    let touches_mail = plan.changes.iter().any(|c| c.waits_for.is_none() && (is_rule(c) || is_way_back(c)));
    if prove || (touches_mail && tenant.routing == Routing::Proven) {
        connect::route(work, app, tenant, origin).await?;
    }
    Rotate::done(work.store, tenant.id).await?;
    settle(work, app, tenant, |_| true).await
}

/// What the tenant is from now on measured by. The next secrets, where there are any, stand in its rules now; they are
/// written once the rules are in effect for certain (see [`plan`]).
pub(crate) async fn applied(work: &Work<'_>, tenant: &mut Tenant) -> Result<()> {
    if tenant.pass.next.is_some() {
        let (now, ours) = (jiff::Timestamp::now().as_second(), tenant.clone());
        let told = |kept: &mut Tenant| {
            for (kept, ours) in [(&mut kept.pass, &ours.pass), (&mut kept.route, &ours.route)] {
                if kept.next == ours.next && kept.told == 0 {
                    kept.told = now;
                }
            }
        };
        if let Some(kept) = work.store.change_tenant(tenant.id, told).await? {
            (tenant.pass, tenant.route) = (kept.pass, kept.route);
        }
    }
    work.store.delete_step(tenant.id, crate::drain::DRAINED).await?;
    Applied::of(tenant, work.settings).remember(work.store, tenant.id).await
}

const APPLIED: &str = "applied";

/// What the last plan was made from: wishes of the tenant's administrator and of the operator.
#[derive(Serialize, Deserialize)]
struct Applied {
    rollout: Rollout,
    pass: MarkSecrets,
    route: MarkSecrets,
    gateway_hostname: String,
    arc_sealer: Option<String>,
    sending_infrastructure: Option<String>,
}

impl Applied {
    fn of(tenant: &Tenant, settings: &Settings) -> Applied {
        Applied {
            rollout: tenant.rollout.clone(),
            pass: tenant.pass.clone(),
            route: tenant.route.clone(),
            gateway_hostname: settings.gateway_hostname.clone(),
            arc_sealer: settings.arc_sealer.clone(),
            sending_infrastructure: settings.sending_infrastructure.clone(),
        }
    }
    async fn remember(&self, store: &Store, tenant: TenantId) -> Result<()> {
        let record = serde_json::to_value(self).map_err(|e| ControlError::Refused(e.to_string()))?;
        Ok(store.put_step(tenant, APPLIED, &record).await?)
    }
}

/// The tenant and the settings as the last plan left them: a wish that nobody applied yet, or a word in the operator's
/// file, is no difference that somebody made in the tenant.
pub(crate) async fn as_applied(store: &Store, tenant: Tenant, settings: &Settings) -> Result<(Tenant, Settings)> {
    let record = store.step(tenant.id, APPLIED).await?;
    let Some(applied) = record.and_then(|r| serde_json::from_value::<Applied>(r).ok()) else {
        return Ok((tenant, settings.clone()));
    };
    let settings = Settings {
        gateway_hostname: applied.gateway_hostname,
        arc_sealer: applied.arc_sealer,
        sending_infrastructure: applied.sending_infrastructure,
        ..settings.clone()
    };
    // of the secrets whatever the tenant has now is right: what its rules ought to know of them only grows by a plan
    let secrets = |now: &MarkSecrets, then: MarkSecrets| MarkSecrets { told: now.told, since: now.since, ..then };
    let (pass, route) = (secrets(&tenant.pass, applied.pass), secrets(&tenant.route, applied.route));
    Ok((Tenant { rollout: applied.rollout, pass, route, ..tenant }, settings))
}

/// True for a tenant whose mail was routed once: it is watched until it is disconnected.
pub(crate) async fn was_applied(store: &Store, tenant: TenantId) -> Result<bool> {
    Ok(store.step(tenant, APPLIED).await?.is_some())
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

/// Whose doing it is, for the receipt.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub plan: &'a str,
    pub by: &'a str,
}

impl Origin<'_> {
    pub(crate) const CONNECT: Origin<'static> = Origin { plan: "", by: "connect" };
}

/// Does something and leaves a receipt of it, whether it succeeded or not.
#[allow(clippy::too_many_arguments)]
pub(crate) async fn receipted<T>(
    store: &Store,
    tenant: TenantId,
    origin: Origin<'_>,
    step: &str,
    object: &str,
    call: &str,
    prior: Value,
    what: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut receipt = Receipt {
        plan: origin.plan.into(),
        by: origin.by.into(),
        step: step.into(),
        object: object.into(),
        call: call.into(),
        prior,
        answer: Receipt::UNDER_WAY.into(),
    };
    let number = store.begin_receipt(tenant, &receipt).await?;
    let done = what.await;
    receipt.answer = match &done {
        Ok(_) => Receipt::DONE.into(),
        // what may have been done must be taken back one day, too
        Err(e) if e.is_outcome_unknown() => format!("{}: {e}", Receipt::OUTCOME_UNKNOWN),
        Err(e) => e.to_string(),
    };
    store.end_receipt(tenant, number, &receipt).await?;
    done
}

/// One change, with its receipt; the failure of an optional one is told and no more.
pub(crate) async fn carry_out_or_tell(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &mut Tenant,
    change: &Change,
    origin: Origin<'_>,
) -> Result<()> {
    match carry_out(work, app, tenant, change, origin).await {
        Err(e) if change.optional => {
            let text = format!("{} failed, and nothing depends on it: {e}", text_of(change));
            work.show(Event::new(step_of(change), State::Note, text));
            Ok(())
        }
        other => other,
    }
}

pub(crate) async fn carry_out(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &mut Tenant,
    change: &Change,
    origin: Origin<'_>,
) -> Result<()> {
    let (store, id) = (work.store, tenant.id);
    let calls: Vec<&str> = change.calls.iter().map(Call::name).collect();
    let prior = change.prior.clone().map_or(Value::Null, Value::Object);
    let all = async {
        for call in &change.calls {
            run(work, app, tenant, change, call).await?;
        }
        Ok(())
    };
    receipted(store, id, origin, &text_of(change), &change.object, &calls.join(", "), prior, all).await?;
    let step = if origin.by == "disconnect" { Step::Disconnect } else { step_of(change) };
    work.show(Event::new(step, State::Done, text_of(change)));
    Ok(())
}

pub(crate) fn step_of(change: &Change) -> Step {
    match change.calls.first() {
        Some(Call::AcceptedDomain) => Step::AcceptedDomain,
        Some(Call::NewCredential | Call::OldCredentials | Call::Application(_)) => Step::Application,
        _ if change.action == plan::Action::Remove && !change.optional => Step::Disconnect,
        _ if change.object.contains("mail flow rule") => Step::Rules,
        None => Step::Permissions,
        _ => Step::Connectors,
    }
}

async fn run(work: &mut Work<'_>, app: &Identity, tenant: &mut Tenant, change: &Change, call: &Call) -> Result<()> {
    let (cmdlet, parameters) = match call {
        Call::AcceptedDomain => return accepted_domain::ensure(work, app, tenant).await,
        Call::RemoveDomain => return accepted_domain::remove(work, app, &tenant.connector_domain).await,
        Call::NewCredential => return credential::renew(work, app, &application::MAIL_FLOW).await,
        Call::OldCredentials => return credential::keep_only_ours(work, app, &application::MAIL_FLOW).await,
        Call::Application(body) => return application::patch(work, app, body).await,
        Call::ReturnCertificate => return certificate::take(work, tenant).await,
        Call::Unsubscribe => return crate::feed::unsubscribe(work.client, app).await,
        Call::Drain => return drain::drained(work, app, tenant).await,
        // only after the proof, by whoever proves
        Call::RemoveApplication => return Ok(()),
        Call::Exchange { cmdlet, parameters } => (cmdlet, parameters),
    };
    let secrets = objects::secrets_of(tenant);
    let answer = match made_once(work, app, cmdlet, parameters).await {
        // what is gone was to be removed, and routes nothing any more
        Err(ControlError::Microsoft(e)) if e.is_absent() && is_taken_back(change) => return Ok(()),
        Err(ControlError::Microsoft(e)) if e.to_string().contains("can't enable an inbound connector") => {
            return Err(ControlError::Waits(inbound_connector::DISABLED.into()));
        }
        Err(ControlError::Microsoft(e)) => return Err(exchange::without_secrets(e, &secrets).into()),
        other => other?,
    };
    for warning in answer.warnings {
        work.show(Event::new(step_of(change), State::Note, format!("Exchange warns: {warning}")));
    }
    let disabled = answer.rows.first().is_some_and(|row| row.get("Enabled") == Some(&Value::Bool(false)));
    if disabled && cmdlet == "New-InboundConnector" {
        return Err(ControlError::Waits(inbound_connector::DISABLED.into()));
    }
    Ok(())
}

fn is_taken_back(change: &Change) -> bool {
    matches!(change.action, plan::Action::Remove | plan::Action::Disable)
}

/// A cmdlet that may have been carried out although nobody said so: look, and only then try again. Where Exchange's
/// copies lag, it refuses the second one of a name, and that is an answer too.
async fn made_once(work: &Work<'_>, app: &Identity, cmdlet: &str, parameters: &m365::Row) -> Result<m365::Answer> {
    let (kind, name) = (cmdlet.strip_prefix("New-"), parameters.get("Name").and_then(Value::as_str));
    let mut pause = limits::LOOK_FIRST;
    let mut tries = 1;
    loop {
        let error = match work.client.exchange(app, cmdlet, parameters.clone().into()).await {
            Ok(answer) => return Ok(answer),
            // made in a run that was cut off, and not shown yet (wire.md 7.9)
            Err(e) if kind.is_some() && e.is_duplicate() => return brought_up(work, app, cmdlet, parameters).await,
            Err(e) => e,
        };
        let unknown = matches!(error, M365Error::OutcomeUnknown { .. }) || error.is_temporary();
        if !unknown || tries >= limits::CREATE_TRIES {
            return Err(error.into());
        }
        if let (Some(kind), Some(name)) = (kind, name)
            && exchange::read(work, app, kind, name).await?.is_some()
        {
            return Ok(m365::Answer::default());
        }
        tokio::time::sleep(pause).await;
        (pause, tries) = ((pause * 2).min(limits::LOOK_MAX), tries + 1);
    }
}

/// An object that the list did not show is there nevertheless: as soon as it shows it is ours to measure again; a
/// pair of the spoof list has nothing more to it than that it is there.
async fn brought_up(work: &Work<'_>, app: &Identity, cmdlet: &str, parameters: &m365::Row) -> Result<m365::Answer> {
    let (Some(kind), Some(name)) = (cmdlet.strip_prefix("New-"), parameters.get("Name").and_then(Value::as_str)) else {
        return Ok(m365::Answer::default());
    };
    let (until, mut pause) = (Instant::now() + limits::SETTLE_PATIENCE, limits::LOOK_FIRST);
    while exchange::read(work, app, kind, name).await?.is_none() {
        if Instant::now() > until {
            let text = format!("Exchange says that “{name}” exists and does not show it; run the command again later");
            return Err(ControlError::Waits(text));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
    let switch = parameters.get("Enabled").and_then(Value::as_bool).filter(|_| kind == rules::KIND);
    let mut set = parameters.clone();
    set.remove("Name");
    set.insert("Identity".into(), name.into());
    if kind == rules::KIND {
        // a rule is switched by a cmdlet of its own, and its place is looked at once all are there
        set.retain(|key, _| key != "Enabled" && key != "Priority");
    }
    work.client.exchange(app, &format!("Set-{kind}"), set.into()).await?;
    if let Some(on) = switch {
        let verb = if on { "Enable" } else { "Disable" };
        let which = serde_json::json!({"Identity": name, "Confirm": false});
        work.client.exchange(app, &format!("{verb}-{kind}"), which).await?;
    }
    Ok(m365::Answer::default())
}

/// The rules for `takes`, in order, read back: first the way back (the strip rule), then the ways out.
pub(crate) async fn rules_for(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &mut Tenant,
    takes: rules::Takes<'_>,
    origin: Origin<'_>,
) -> Result<()> {
    let [inbound, outbound, strip] = rules::all(tenant, takes);
    let wanted = [strip, inbound, outbound];
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
