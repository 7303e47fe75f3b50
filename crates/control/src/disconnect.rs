//! Taking everything back, in safe order: the way out is closed first, the way back last, the application at the
//! very end. Then everything is read again. Works with the application's own rights; nobody has to sign in.

use crate::apply::alone;
use crate::carry_out::carry_out;
use crate::events::{Event, State, Step};
use crate::objects::application::{App, Application, MAIL_FLOW, POST_DELIVERY};
use crate::objects::{exchange, inbound_connector, outbound_connector, role_group, rules, spoof_allow};
use crate::plan::{self, Call, Change, text_of};
use crate::proof::{Proof, Shown};
use crate::receipts::{Origin, receipted};
use crate::work::{Show, Work};
use crate::{ControlError, Result, Settings, SignIn, Wish, consent, limits, watchdog};
use m365::{Client, Identity, Service};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use store::Store;
use tenant::{ExchangeRights, Routing, Tenant, TenantId};

const BY: Origin<'static> = Origin { plan: "", by: "disconnect" };

/// Held mail and the journal stay. The tenant is forgotten only when the proof is complete.
pub async fn disconnect(
    id: TenantId,
    client: &Client,
    store: &Store,
    settings: &Settings,
    show: &mut Show<'_>,
) -> Result<Proof> {
    let _alone = alone(store, id).await?;
    let nobody = &mut |_: crate::Asked<'_>| false;
    let mut work =
        Work::new(Wish::new(Some(id.to_string()), SignIn::DeviceCode), client, store, settings, nobody, show);
    let mut tenant =
        store.tenant(id).await?.ok_or_else(|| ControlError::Refused(format!("tenant {id} is not connected")))?;
    let application = App::known(store, id).await?.ok_or_else(|| {
        ControlError::Refused(
            "no application of ours is known in this tenant; it was never connected as far as that".into(),
        )
    })?;
    let app = application.identity(id);
    let mut proof = match proven_before(&work, &app).await? {
        Some(proof) => proof,
        None => take_back(&mut work, &app, &mut tenant).await?,
    };
    if proof.is_complete() {
        let known = serde_json::to_value(&proof).map_err(|e| ControlError::Refused(e.to_string()))?;
        store.put_step(id, PROVEN, &known).await?;
        remove_the_application(&mut work, &app, &application, &mut proof).await;
    }
    if proof.is_complete() {
        store.delete_tenant(id).await?;
        watchdog::over(store, id).await?;
        work.show(Event::new(Step::Disconnect, State::Done, format!("{} is disconnected", tenant.display_name)));
    }
    Ok(proof)
}

/// Under which a complete proof stands while the application is removed: afterwards nothing can be read any more.
pub(crate) const PROVEN: &str = "disconnect proven";

/// Only where the run was cut off after the application had gone; otherwise everything is looked at again.
async fn proven_before(work: &Work<'_>, app: &Identity) -> Result<Option<Proof>> {
    let Some(record) = work.store.step(app.tenant(), PROVEN).await? else { return Ok(None) };
    let gone = work.client.claims(app, Service::Graph).await.err().and_then(|e| Application::refused(&e));
    let proof = matches!(gone, Some(Application::Absent(_))).then_some(record);
    Ok(proof.and_then(|record| serde_json::from_value(record).ok()))
}

/// Every step of the plan for removal, then a look at everything.
async fn take_back(work: &mut Work<'_>, app: &Identity, tenant: &mut Tenant) -> Result<Proof> {
    let mut proof = Proof::default();
    // a proof of before is of another time
    work.store.delete_step(tenant.id, PROVEN).await?;
    let plan = plan::of_removal(tenant, app, work.client, work.store, work.settings).await?;
    tenant.routing = Routing::Off;
    let (mut all_done, mut any_done) = (true, false);
    for change in plan.changes.iter().filter(|c| !is_the_application(c)) {
        let (closing, closed) = (is_the_last_of_the_way_out(change), all_done);
        // where the closing failed there is nothing to wait for
        let done = if closing && !closed {
            Ok(())
        } else {
            carry_out(work, app, tenant, change, Origin { plan: &plan.id, ..BY }).await
        };
        any_done |= if closing { closed } else { done.as_ref().err().is_none_or(ControlError::is_outcome_unknown) };
        if let Err(e) = done {
            // written down; it does not keep the next removal from being tried
            work.show(Event::new(Step::Disconnect, State::Note, format!("{} failed: {e}", text_of(change))));
            all_done = false;
            if !change.optional {
                proof.failures.push(format!("{}: {e}", change.object));
            }
        }
        // law: the way back goes only after the way out is seen to be closed
        let patience = if closed { limits::CLOSED_PATIENCE } else { Duration::ZERO };
        if closing && !way_out_is_closed(work, app, patience).await {
            proof.failures.push(STILL_ROUTED.into());
            look(work, app, tenant, &plan.changes, &mut proof).await;
            return Ok(proof);
        }
        // refused from the first step on, everything is as before, and watched as before
        if any_done {
            work.store.change_tenant(tenant.id, |known| known.routing = Routing::Off).await?;
        }
    }
    look_until_gone(work, app, tenant, &plan.changes, all_done, &mut proof).await;
    if tenant.policy.exchange_rights == ExchangeRights::RoleGroup {
        proof.left = role_group::left_for_an_administrator();
    }
    proof.left.extend(consent::left(work, tenant.id).await?);
    Ok(proof)
}

const STILL_ROUTED: &str = "the routing rules could not be seen to be off, so nothing else was taken back: mail still goes out to Posthouse and comes back as before. Run the command again; if Exchange refuses the application, an administrator disables the rules “Posthouse inbound” and “Posthouse outbound” first";

/// Waiting for what is under way comes right after the closing.
fn is_the_last_of_the_way_out(change: &Change) -> bool {
    matches!(change.calls.first(), Some(Call::Drain))
}

/// Read anew: both routing rules are absent or disabled. A rule that is only said to be off is not.
async fn way_out_is_closed(work: &Work<'_>, app: &Identity, patience: Duration) -> bool {
    let (until, mut pause) = (Instant::now() + patience, limits::LOOK_FIRST);
    loop {
        let observed = plan::observe_rules(work.client, app, work.store).await;
        let is_open = |observed: &plan::Observed, name: &str| {
            observed.rules.is_err() || observed.find(rules::KIND, name).is_some_and(|row| !rules::is_disabled(row))
        };
        if observed.is_ok_and(|o| ![rules::INBOUND, rules::OUTBOUND].iter().any(|name| is_open(&o, name))) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}

fn is_the_application(change: &Change) -> bool {
    matches!(change.calls.first(), Some(Call::RemoveApplication))
}

/// Copies of Microsoft's directory lag: what was removed a moment ago may still be shown. What could not be removed will
/// not go by waiting.
async fn look_until_gone(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &Tenant,
    removed: &[Change],
    all_done: bool,
    proof: &mut Proof,
) {
    let (until, mut pause, mut told) = (Instant::now() + limits::SETTLE_PATIENCE, limits::LOOK_FIRST, false);
    let mut looks = 0;
    loop {
        proof.looked.clear();
        look(work, app, tenant, removed, proof).await;
        looks += 1;
        let lags = proof.looked.iter().any(|l| match l.shown {
            Shown::StillThere { .. } => true,
            // a hiccup is asked again, a refusal is believed
            Shown::Unknown { .. } => looks < limits::LOOKS_AT_UNKNOWN,
            Shown::Absent => false,
        });
        if !lags || !all_done || Instant::now() > until {
            return;
        }
        if !told && pause > limits::LOOK_FIRST * 4 {
            work.show(Event::new(
                Step::Disconnect,
                State::Doing,
                "waiting until Microsoft no longer shows what was removed",
            ));
            told = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}

async fn look(work: &Work<'_>, app: &Identity, tenant: &Tenant, removed: &[Change], proof: &mut Proof) {
    let put_back = |object: &str| removed.iter().any(|c| c.action == plan::Action::Restore && c.object == object);
    let names = rules::NAMES.map(|name| (rules::KIND, name));
    let connectors =
        [(outbound_connector::KIND, outbound_connector::NAME), (inbound_connector::KIND, inbound_connector::NAME)];
    for (kind, name) in names.into_iter().chain(connectors) {
        let object = plan::object_of(kind, name);
        if !put_back(&object) {
            proof.add(&object, &format!("Get-{kind}"), exchange::shown(work, app, kind, name).await);
        }
    }
    let domain = &tenant.connector_domain;
    let shown = match work.client.graph_get(app, &format!("domains/{domain}")).await {
        Ok(_) => Shown::StillThere { what: domain.clone() },
        Err(e) if e.is_absent() => Shown::Absent,
        Err(e) => Shown::Unknown { why: e.to_string() },
    };
    proof.add(&format!("domain {domain}"), "GET /domains", shown);
    let is_ours = |row: &m365::Row| plan::text(row, "DomainName").eq_ignore_ascii_case(domain);
    let seen = listed(work, app, "Get-AcceptedDomain", json!({"ResultSize": "Unlimited"}), is_ours).await;
    proof.add(&format!("accepted domain {domain}"), "Get-AcceptedDomain", seen);
    look_at_shared_lists(work, app, removed, proof).await;
}

/// Of lists that others use, too, only the entries that this removal took out.
async fn look_at_shared_lists(work: &Work<'_>, app: &Identity, removed: &[Change], proof: &mut Proof) {
    let was_removed = |object: &str| removed.iter().any(|c| c.action == plan::Action::Remove && c.object == object);
    if let Some(sealer) = &work.settings.arc_sealer
        && was_removed(&crate::objects::arc_sealer::object(sealer))
    {
        let is_ours = |row: &m365::Row| {
            let list = row.get("ArcTrustedSealers").map(Value::to_string).unwrap_or_default().to_lowercase();
            list.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-')).any(|s| s == sealer.as_str())
        };
        let seen = listed(work, app, "Get-ArcConfig", json!({}), is_ours).await;
        proof.add(&crate::objects::arc_sealer::object(sealer), "Get-ArcConfig", seen);
    }
    if let Some(infrastructure) = &work.settings.sending_infrastructure
        && spoof_allow::OBJECTS.iter().any(|kind| was_removed(&spoof_allow::object(kind, infrastructure)))
    {
        let is_ours = |row: &m365::Row| {
            plan::text(row, "SendingInfrastructure").eq_ignore_ascii_case(infrastructure)
                && plan::text(row, "SpoofedUser") == "*"
        };
        let cmdlet = "Get-TenantAllowBlockListSpoofItems";
        let seen = listed(work, app, cmdlet, json!({}), is_ours).await;
        proof.add(&format!("spoof allow entries for {infrastructure}"), cmdlet, seen);
    }
}

async fn listed(
    work: &Work<'_>,
    app: &Identity,
    cmdlet: &str,
    parameters: Value,
    is_ours: impl Fn(&m365::Row) -> bool,
) -> Shown {
    match work.client.exchange(app, cmdlet, parameters).await {
        Ok(answer) if answer.rows.iter().any(is_ours) => Shown::StillThere { what: cmdlet.replace("Get-", "") },
        Ok(_) => Shown::Absent,
        Err(e) => Shown::Unknown { why: e.to_string() },
    }
}

/// The last act of an application is its own removal, which takes its grants and its role along. That it is gone is
/// seen by its no longer getting a token.
async fn remove_the_application(work: &mut Work<'_>, app: &Identity, application: &App, proof: &mut Proof) {
    if let Ok(Some(second)) = App::of(&POST_DELIVERY, work.store, app.tenant()).await {
        let identity = second.identity(app.tenant());
        remove_one(work, &identity, &second, POST_DELIVERY.name, proof).await;
    }
    remove_one(work, app, application, MAIL_FLOW.name, proof).await;
}

async fn remove_one(work: &mut Work<'_>, app: &Identity, application: &App, name: &str, proof: &mut Proof) {
    let object = format!("application “{name}”");
    let path = format!("applications/{}", application.object_id);
    let what = async {
        match work.client.graph_delete(app, &path).await {
            // gone already, in a run that was cut off
            Err(e) if matches!(Application::refused(&e), Some(Application::Absent(_))) => Ok(()),
            other => Ok(other?),
        }
    };
    let step = format!("remove {object}");
    match receipted(work.store, app.tenant(), BY, &step, &object, "DELETE /applications", Value::Null, what).await {
        Ok(()) => work.show(Event::new(Step::Disconnect, State::Done, step)),
        Err(e) => proof.failures.push(format!("{object}: {e}")),
    }
    let shown = until_no_token(work, app, application, proof.failures.is_empty()).await;
    proof.add(&format!("{object}, its grants and its role"), "token endpoint", shown);
}

/// Microsoft forgets no faster than it learns.
async fn until_no_token(work: &Work<'_>, app: &Identity, application: &App, patient: bool) -> Shown {
    let (until, mut pause) = (Instant::now() + limits::PROPAGATION_PATIENCE, limits::LOOK_FIRST);
    loop {
        match work.client.claims(app, Service::Graph).await {
            // one whose certificate is refused is there all the same
            Err(e) if matches!(Application::refused(&e), Some(Application::Absent(_))) => return Shown::Absent,
            Err(e) if !e.is_temporary() => return Shown::Unknown { why: e.to_string() },
            _ if Instant::now() > until || !patient => {
                return Shown::StillThere { what: application.app_id.clone() };
            }
            _ => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}
