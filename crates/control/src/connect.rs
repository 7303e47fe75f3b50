//! The seven steps by which a tenant is connected, in order, on one screen. Each looks first, changes only what is
//! not so yet, and leaves a receipt; a run that was cut off is simply run again.

use crate::account::{self, Organization};
use crate::events::{Event, State, Step};
use crate::objects::permissions::Permission;
use crate::objects::rules::Takes;
use crate::objects::{accepted_domain, application, inbound_connector, outbound_connector, permissions, rules};
use crate::work::Work;
use crate::{Result, Settings, Wish, certificate, directory, probe};
use m365::{Client, Identity};
use serde::Serialize;
use store::Store;
use tenant::{Direction, MarkSecrets, Policy, ReturnCertificate, Rollout, Routing, Stage, Tenant, TenantId};

/// A tenant whose mail goes through Posthouse.
#[derive(Clone, Debug, Serialize)]
pub struct Connected {
    pub id: TenantId,
    pub display_name: String,
    pub domains: Vec<String>,
}

/// Connects the tenant that `wish` names, or the one whose administrator signs in. `approve` is shown the
/// permissions before they are granted; `show` is told everything as it happens.
pub async fn connect(
    wish: Wish,
    client: &Client,
    store: &Store,
    settings: &Settings,
    approve: &mut (dyn FnMut(&[Permission]) -> bool + Send),
    show: &mut (dyn FnMut(Event) + Send),
) -> Result<Connected> {
    let mut work = Work::new(wish, client, store, settings, approve, show);
    let admin = account::sign_in(&mut work).await?;
    let organization = account::organization(&work, &admin.identity).await?;
    directory::synchronise(&mut work, &admin.identity).await?;
    let application = application::ensure(&mut work, &admin.identity).await?;
    let app = permissions::grant(&mut work, &admin.identity, &application).await?;
    directory::confirm_mailboxes(&mut work, &app).await?;
    let mut tenant = described(&work, &app, &organization).await?;
    accepted_domain::ensure(&mut work, &app, &tenant).await?;
    certified(&work, &mut tenant).await?;
    inbound_connector::ensure(&mut work, &app, &tenant).await?;
    outbound_connector::ensure(&mut work, &app, &tenant).await?;
    work.wish.probe_recipient.get_or_insert(admin.user_name);
    route(&mut work, &app, &mut tenant).await?;
    Ok(Connected { id: tenant.id, display_name: tenant.display_name, domains: tenant.domains })
}

/// Rules for probes alone, the proof by mail, then rules as the tenant wishes them. A tenant whose way is proven
/// already keeps its rules: they are put right where they are not as they should be, and proven again.
pub(crate) async fn route(work: &mut Work<'_>, app: &Identity, tenant: &mut Tenant) -> Result<()> {
    if tenant.routing == Routing::Proven {
        rules::ensure(work, app, tenant, Takes::Rollout).await?;
    }
    let tokens = probe::prepare(work, tenant).await?;
    let mut directions = vec![Direction::Inbound, Direction::Outbound];
    if tenant.routing == Routing::Proven {
        // a probe goes only where everybody's mail goes
        directions.retain(|d| tenant.rollout.of(*d) == Stage::Everyone);
    } else {
        tenant.routing = Routing::Probe;
        work.store.put_tenant(tenant).await?;
        rules::ensure(work, app, tenant, Takes::Probes(&tokens.inbound, &tokens.outbound)).await?;
    }
    probe::prove(work, app, tenant, &tokens, &directions).await?;
    if tenant.routing != Routing::Proven {
        rules::ensure(work, app, tenant, Takes::Rollout).await?;
        tenant.routing = Routing::Proven;
        work.store.put_tenant(tenant).await?;
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

/// The tenant as the store keeps it: secrets and label stay, what Microsoft says is read anew.
async fn described(work: &Work<'_>, app: &Identity, organization: &Organization) -> Result<Tenant> {
    let domains = accepted_domain::domains_of(work, app).await?;
    let return_host = accepted_domain::return_host(work, app, &organization.default_domain).await?;
    let tenant = match work.store.tenant(app.tenant()).await? {
        Some(known) => Tenant { domains, return_host, display_name: organization.display_name.clone(), ..known },
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
                policy: Policy::default(),
                routing: Routing::Off,
                rollout: Rollout::default(),
            }
        }
    };
    work.store.put_tenant(&tenant).await?;
    Ok(tenant)
}

/// The return certificate, as the issuer has it now: running the command again is how a renewed one is taken.
async fn certified(work: &Work<'_>, tenant: &mut Tenant) -> Result<()> {
    let issued = work.settings.issuer.certificate_for(&tenant.connector_domain)?;
    tenant.certificate = ReturnCertificate { chain_pem: issued.chain_pem, key_pem: issued.key_pem };
    work.store.put_tenant(tenant).await?;
    Ok(())
}
