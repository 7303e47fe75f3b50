//! One change of a plan, carried out: the request, what may go wrong with it, and its receipt.

use crate::events::{Event, State, Step};
use crate::objects::{accepted_domain, application, credential, exchange, inbound_connector, rules};
use crate::plan::{self, Call, Change, text_of};
use crate::receipts::{Origin, receipted};
use crate::work::Work;
use crate::{ControlError, Result, certificate, drain, feed, limits, objects};
use m365::{Identity, M365Error};
use serde_json::Value;
use std::time::Instant;
use tenant::Tenant;

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
        Call::Unsubscribe => return feed::unsubscribe(work.client, app).await,
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
