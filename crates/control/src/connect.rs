//! The seven steps by which a tenant is connected, in order, on one screen. Each looks first, changes only what is
//! not so yet, and leaves a receipt; a run that was cut off is simply run again.

use crate::account::{self, Organization};
use crate::applied::applied;
use crate::apply::{alone, must_be_proven, settle};
use crate::carry_out::{carry_out_or_tell, step_of};
use crate::events::{Event, State, Step};
use crate::feed::Connecting;
use crate::objects::application::{MAIL_FLOW, POST_DELIVERY};
use crate::objects::{accepted_domain, application, permissions};
use crate::plan::{self, Change};
use crate::receipts::Origin;
use crate::route::{route, routed, taken_over};
use crate::work::{Approve, Asked, Show, Work};
use crate::{ControlError, Result, Settings, Wish, certificate, consent, directory, grant};
use m365::{Client, Identity};
use serde::Serialize;
use store::Store;
use tenant::{MarkSecrets, Policy, ReturnCertificate, Rollout, Routing, Tenant, TenantId};

/// A tenant whose mail goes through Posthouse.
#[derive(Clone, Debug, Serialize)]
pub struct Connected {
    pub id: TenantId,
    pub display_name: String,
    pub domains: Vec<String>,
}

/// Connects the tenant that `wish` names, or the one whose administrator signs in. `approve` is shown the
/// permissions before they are granted, and the plan before anything of it is done; `show` is told everything as it
/// happens.
pub async fn connect(
    wish: Wish,
    client: &Client,
    store: &Store,
    settings: &Settings,
    approve: &mut Approve<'_>,
    show: &mut Show<'_>,
) -> Result<Connected> {
    let mut work = Work::new(wish, client, store, settings, approve, show);
    let signed_in = account::sign_in(&mut work).await?;
    let _alone = alone(store, signed_in.tenant()).await?;
    let mut connecting = Connecting { who: account::user_name(&signed_in)?, from: client.now(), to: None };
    store.put_step(signed_in.tenant(), Connecting::STEP, &serde_json::json!(connecting)).await?;
    let connected = as_administrator(&mut work, signed_in.clone()).await;
    if let Err(e) = consent::take_back(&mut work, &signed_in).await {
        let text = format!("the consent to the sign-in could not be taken back ({e}); the next connecting does it");
        work.show(Event::new(Step::SignIn, State::Note, text));
    }
    connecting.to = Some(client.now());
    store.put_step(signed_in.tenant(), Connecting::STEP, &serde_json::json!(connecting)).await?;
    connected
}

async fn as_administrator(work: &mut Work<'_>, signed_in: Identity) -> Result<Connected> {
    let admin = account::administrator(work, signed_in).await?;
    let organization = account::organization(work, &admin.identity).await?;
    directory::synchronise(work, &admin.identity).await?;
    // what a disconnecting saw that did not come to its end
    for step in [crate::disconnect::PROVEN, crate::drain::DRAINED] {
        work.store.delete_step(admin.identity.tenant(), step).await?;
    }
    let application = application::ensure(work, &admin.identity, &MAIL_FLOW).await?;
    let policy = wished_policy(work, admin.identity.tenant()).await?;
    let app = grant::grant(work, &admin.identity, &application, policy.exchange_rights).await?;
    post_delivery(work, &admin.identity, &policy).await?;
    directory::confirm_mailboxes(work, &app).await?;
    let mut tenant = described(work, &app, &organization, policy).await?;
    certificate::take(work, &mut tenant).await?;
    way_back(work, &app, &mut tenant).await?;
    work.wish.probe_recipient.get_or_insert(admin.user_name);
    route(work, &app, &mut tenant, Origin::CONNECT).await?;
    applied(work, &mut tenant).await?;
    Ok(Connected { id: tenant.id, display_name: tenant.display_name, domains: tenant.domains })
}

/// The plan, shown and approved as a whole; of it everything that routes no mail.
async fn way_back(work: &mut Work<'_>, app: &Identity, tenant: &mut Tenant) -> Result<()> {
    // what the watchdog holds closed is to be open, and is proven anew
    let reopens = !tenant.closed.is_empty();
    tenant.closed.clear();
    let plan = plan::of_tenant(tenant, app, work.client, work.store, work.settings).await?;
    if let Some(unknown) = plan.unknown_that_counts() {
        return Err(ControlError::Waits(format!(
            "the {} cannot be read: {}. Nothing was changed; run the command again",
            unknown.object, unknown.because
        )));
    }
    if plan.changes.is_empty() {
        for wanted in plan::wanted(tenant, &work.settings.gateway_hostname) {
            work.show(Event::new(Step::Connectors, State::Already, format!("“{}” is there", wanted.name)));
        }
        if reopens {
            taken_over(work, tenant).await?;
        }
        return Ok(());
    }
    if !work.approve(Asked::Plan(&plan)) {
        return Err(ControlError::Refused(
            "the plan was not approved; the application “Posthouse Mail Flow” exists and has its permissions, nothing else was changed and no mail is routed. Run `posthouse tenant connect` again to go on, or `posthouse tenant disconnect` to remove the application".into(),
        ));
    }
    for change in plan.changes.iter().filter(|c| c.optional) {
        if let Some(waits_for) = &change.waits_for {
            let text = format!("“{}” waits for {waits_for}; mail is checked all the same", plan::text_of(change));
            work.show(Event::new(step_of(change), State::Note, text));
        }
    }
    let is_rule = |change: &Change| step_of(change) == Step::Rules;
    for change in plan.changes.iter().filter(|c| c.waits_for.is_none() && !is_rule(c)) {
        carry_out_or_tell(work, app, tenant, change, Origin { plan: &plan.id, by: "connect" }).await?;
    }
    settle(work, app, tenant, |change| !is_rule(change)).await?;
    if reopens {
        taken_over(work, tenant).await?;
    }
    if tenant.routing == Routing::Proven && must_be_proven(tenant, &plan) {
        // the way back was made anew: the rules take probes alone until one has come back
        routed(work, tenant, Routing::Probe).await?;
    }
    Ok(())
}

/// What the tenant chose before, with what is wished now.
async fn wished_policy(work: &Work<'_>, id: TenantId) -> Result<Policy> {
    let mut policy = work.store.tenant(id).await?.map(|t| t.policy).unwrap_or_default();
    policy.exchange_rights = work.wish.exchange_rights.unwrap_or(policy.exchange_rights);
    policy.post_delivery = work.wish.post_delivery.unwrap_or(policy.post_delivery);
    Ok(policy)
}

/// The second application, only where the tenant wants mail taken back out of mailboxes.
async fn post_delivery(work: &mut Work<'_>, admin: &Identity, policy: &Policy) -> Result<()> {
    if policy.post_delivery {
        let app = application::ensure(work, admin, &POST_DELIVERY).await?;
        grant::give_all(work, admin, &app, &POST_DELIVERY, permissions::needed_after_delivery()).await?;
    }
    Ok(())
}

/// The tenant as the store keeps it: secrets and label stay, what Microsoft says is read anew.
async fn described(work: &Work<'_>, app: &Identity, organization: &Organization, policy: Policy) -> Result<Tenant> {
    let domains = accepted_domain::domains_of(work, app).await?;
    let return_host = accepted_domain::return_host(work.client, app, &organization.default_domain).await?;
    let mut tenant = match work.store.tenant(app.tenant()).await? {
        Some(known) => {
            Tenant { domains, return_host, display_name: organization.display_name.clone(), policy, ..known }
        }
        None => {
            let taken: Vec<String> = work.store.tenants().await?.into_iter().map(|t| t.label).collect();
            let label = accepted_domain::label(&organization.initial_domain, &work.settings.zone, &taken)?;
            Tenant {
                id: app.tenant(),
                connector_domain: format!("{label}.{}", work.settings.zone),
                label,
                display_name: organization.display_name.clone(),
                initial_domain: organization.initial_domain.clone(),
                domains,
                return_host,
                pass: MarkSecrets::new(certificate::secret()?),
                route: MarkSecrets::new(certificate::secret()?),
                certificate: ReturnCertificate { chain_pem: String::new(), key_pem: tenant::Secret::new("") },
                policy,
                routing: Routing::Off,
                rollout: Rollout::default(),
                closed: Vec::new(),
            }
        }
    };
    if let Some(rollout) = &work.wish.rollout {
        tenant.rollout.clone_from(rollout);
    }
    let kept = tenant.clone();
    let renewed = |known: &mut Tenant| {
        (known.domains, known.return_host, known.display_name) = (kept.domains, kept.return_host, kept.display_name);
        (known.policy, known.rollout) = (kept.policy, kept.rollout);
    };
    if work.store.change_tenant(tenant.id, renewed).await?.is_none() {
        work.store.put_tenant(&tenant).await?;
    }
    Ok(tenant)
}
