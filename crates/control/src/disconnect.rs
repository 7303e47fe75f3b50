//! Taking everything back, in safe order: the way out is closed first, the way back last, the application at the
//! very end. Then everything is read again. Works with the application's own rights; nobody has to sign in.

use crate::events::{Event, State, Step};
use crate::objects::application::{App, NAME as APPLICATION};
use crate::objects::{accepted_domain, exchange, inbound_connector, outbound_connector, rules};
use crate::proof::{Proof, Shown};
use crate::work::Work;
use crate::{ControlError, Result, Settings, SignIn, Wish, limits};
use m365::{Client, Identity, M365Error};
use std::time::Instant;
use store::Store;
use tenant::{Routing, Tenant, TenantId};

/// Held mail and the journal stay. The tenant is forgotten only when the proof is complete.
pub async fn disconnect(
    id: TenantId,
    client: &Client,
    store: &Store,
    settings: &Settings,
    show: &mut (dyn FnMut(Event) + Send),
) -> Result<Proof> {
    let nothing_to_approve = &mut |_: &[crate::Permission]| false;
    let mut work = Work::new(
        Wish { tenant: Some(id.to_string()), sign_in: SignIn::DeviceCode, probe_recipient: None },
        client,
        store,
        settings,
        nothing_to_approve,
        show,
    );
    let mut tenant =
        store.tenant(id).await?.ok_or_else(|| ControlError::Refused(format!("tenant {id} is not connected")))?;
    let application = App::known(store, id).await?.ok_or_else(|| {
        ControlError::Refused(
            "no application of ours is known in this tenant; it was never connected as far as that".into(),
        )
    })?;
    let app = application.identity(id);
    let mut proof = Proof::default();
    close_the_way_out(&mut work, &app, &mut proof).await;
    tenant.routing = Routing::Off;
    store.put_tenant(&tenant).await?;
    close_the_way_back(&mut work, &app, &tenant, &mut proof).await;
    look(&work, &app, &tenant, &mut proof).await;
    if proof.is_complete() {
        remove_the_application(&mut work, &app, &application, &mut proof).await;
    }
    if proof.is_complete() {
        store.delete_tenant(id).await?;
        work.show(Event::new(Step::Disconnect, State::Done, format!("{} is disconnected", tenant.display_name)));
    }
    Ok(proof)
}

/// A failure is written down and does not keep the next removal from being tried.
fn note(work: &mut Work<'_>, proof: &mut Proof, what: &str, result: Result<()>) {
    match result {
        Ok(()) => work.show(Event::new(Step::Disconnect, State::Done, format!("{what} removed"))),
        Err(e) => {
            work.show(Event::new(Step::Disconnect, State::Note, format!("{what} could not be removed: {e}")));
            proof.failures.push(format!("{what}: {e}"));
        }
    }
}

async fn close_the_way_out(work: &mut Work<'_>, app: &Identity, proof: &mut Proof) {
    for name in [rules::INBOUND, rules::OUTBOUND] {
        let removed = exchange::remove(work, app, rules::KIND, name).await;
        note(work, proof, &format!("rule “{name}”"), removed);
    }
}

/// What is still on its way back needs the connector, the domain and the strip rule until here.
async fn close_the_way_back(work: &mut Work<'_>, app: &Identity, tenant: &Tenant, proof: &mut Proof) {
    let removed = exchange::remove(work, app, outbound_connector::KIND, outbound_connector::NAME).await;
    note(work, proof, &format!("connector “{}”", outbound_connector::NAME), removed);
    let removed = exchange::remove(work, app, rules::KIND, rules::STRIP).await;
    note(work, proof, &format!("rule “{}”", rules::STRIP), removed);
    let removed = exchange::remove(work, app, inbound_connector::KIND, inbound_connector::NAME).await;
    note(work, proof, &format!("connector “{}”", inbound_connector::NAME), removed);
    let removed = accepted_domain::remove(work, app, &tenant.connector_domain).await;
    note(work, proof, &format!("domain {}", tenant.connector_domain), removed);
}

async fn look(work: &Work<'_>, app: &Identity, tenant: &Tenant, proof: &mut Proof) {
    for name in rules::NAMES {
        proof.add(
            &format!("mail flow rule “{name}”"),
            "Get-TransportRule",
            exchange::shown(work, app, rules::KIND, name).await,
        );
    }
    for (kind, name) in
        [(outbound_connector::KIND, outbound_connector::NAME), (inbound_connector::KIND, inbound_connector::NAME)]
    {
        proof.add(&format!("connector “{name}”"), &format!("Get-{kind}"), exchange::shown(work, app, kind, name).await);
    }
    let domain = &tenant.connector_domain;
    let shown = match work.client.graph_get(app, &format!("domains/{domain}")).await {
        Ok(_) => Shown::StillThere { what: domain.clone() },
        Err(e) if e.is_absent() => Shown::Absent,
        Err(e) => Shown::Unknown { why: e.to_string() },
    };
    proof.add(&format!("domain {domain}"), "GET /domains", shown);
    let accepted =
        match work.client.exchange(app, "Get-AcceptedDomain", serde_json::json!({"ResultSize": "Unlimited"})).await {
            Ok(answer)
                if answer.rows.iter().any(|r| {
                    r.get("DomainName").and_then(|d| d.as_str()).is_some_and(|d| d.eq_ignore_ascii_case(domain))
                }) =>
            {
                Shown::StillThere { what: domain.clone() }
            }
            Ok(_) => Shown::Absent,
            Err(e) => Shown::Unknown { why: e.to_string() },
        };
    proof.add(&format!("accepted domain {domain}"), "Get-AcceptedDomain", accepted);
}

/// The last act of the application is its own removal, which takes its grants and its role along. That it is gone is
/// seen by its no longer getting a token.
async fn remove_the_application(work: &mut Work<'_>, app: &Identity, application: &App, proof: &mut Proof) {
    let principal = work.client.graph_delete(app, &format!("applications/{}", application.object_id)).await;
    note(work, proof, &format!("application “{APPLICATION}”"), principal.map_err(Into::into));
    let (until, mut pause) = (Instant::now() + limits::PROPAGATION_PATIENCE, limits::LOOK_FIRST);
    let shown = loop {
        work.client.forget_tokens(app);
        match work.client.graph_get(app, "organization").await {
            Err(M365Error::Token { code: Some(700_016 | 7_000_229 | 700_027), .. }) => break Shown::Absent,
            Err(e) if !e.is_temporary() => break Shown::Unknown { why: e.to_string() },
            // Microsoft forgets no faster than it learns
            _ if Instant::now() > until || !proof.failures.is_empty() => {
                break Shown::StillThere { what: application.app_id.clone() };
            }
            _ => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(limits::LOOK_MAX);
    };
    proof.add(&format!("application “{APPLICATION}”, its grants and its role"), "token endpoint", shown);
}
