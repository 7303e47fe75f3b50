//! Taking everything back, in safe order: the way out is closed first, the way back last, the application at the
//! very end. Then everything is read again. Works with the application's own rights; nobody has to sign in.

use crate::apply::{Origin, carry_out};
use crate::events::{Event, State, Step};
use crate::objects::application::{App, NAME as APPLICATION};
use crate::objects::{exchange, inbound_connector, outbound_connector, rules};
use crate::proof::{Proof, Shown};
use crate::work::Work;
use crate::{ControlError, Result, Settings, SignIn, Wish, limits, plan};
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
    let observed = plan::observe(client, &app, store).await?;
    tenant.routing = Routing::Off;
    for change in plan::removal(&tenant, &observed) {
        let origin = Origin { plan: "", by: "disconnect" };
        if let Err(e) = carry_out(&mut work, &app, &tenant, &change, origin).await {
            // written down; it does not keep the next removal from being tried
            work.show(Event::new(Step::Disconnect, State::Note, format!("{} failed: {e}", plan::text_of(&change))));
            proof.failures.push(format!("{}: {e}", change.object));
        }
        store.put_tenant(&tenant).await?;
    }
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
    match principal {
        Ok(()) => work.show(Event::new(Step::Disconnect, State::Done, format!("remove application “{APPLICATION}”"))),
        Err(e) => proof.failures.push(format!("application “{APPLICATION}”: {e}")),
    }
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
