//! The plan before there is anything: an administrator who only signs in is shown what connecting would do. Only our
//! application may look at Exchange, and it does not exist yet, so what is said of Exchange waits for that look.

use super::Plan;
use super::observe::{Observed, Seen};
use crate::account::{self, Organization};
use crate::objects::accepted_domain;
use crate::objects::application::Application;
use crate::objects::exchange::NEEDS_EXCHANGE;
use crate::objects::permissions::Granted;
use crate::work::{Show, Work};
use crate::{ControlError, Result, Settings, Wish, certificate};
use m365::{Claims, Client, Service};
use store::Store;
use tenant::{MarkSecrets, Policy, ReturnCertificate, Routing, Secret, Tenant, TenantId};

const NOT_YET: &str = "only our application may look at Exchange Online, and it does not exist yet";

/// Signs in, reads the tenant's name and domains, and changes nothing, neither there nor here.
pub async fn preview(
    wish: Wish,
    client: &Client,
    store: &Store,
    settings: &Settings,
    show: &mut Show<'_>,
) -> Result<Plan> {
    let nobody = &mut |_: crate::Asked<'_>| false;
    let mut work = Work::new(wish, client, store, settings, nobody, show);
    let admin = account::sign_in_to_look(&mut work).await?;
    let id = admin.identity.tenant();
    if store.tenant(id).await?.is_some() {
        let text = format!("{id} is being connected or connected already; what differs says: posthouse plan {id}");
        return Err(ControlError::Refused(text));
    }
    let organization = account::organization(&work, &admin.identity).await?;
    let taken: Vec<String> = store.tenants().await?.into_iter().map(|t| t.label).collect();
    let tenant = as_it_would_be(id, organization, &work.wish, settings, &taken)?;
    let mut plan = super::made(&tenant, settings, &as_if_empty())?;
    for change in plan.changes.iter_mut().filter(|c| c.waits_for.is_none() && c.needs.contains(NEEDS_EXCHANGE)) {
        change.waits_for = Some(format!("a look at what is there: {NOT_YET}"));
    }
    plan.unknown = Observed::blank(0, NOT_YET).unknown();
    plan.unknown.retain(|u| u.object != "application");
    Ok(plan)
}

fn as_it_would_be(
    id: TenantId,
    organization: Organization,
    wish: &Wish,
    settings: &Settings,
    taken: &[String],
) -> Result<Tenant> {
    let label = accepted_domain::label(&organization.initial_domain, &settings.zone, taken)?;
    Ok(Tenant {
        id,
        connector_domain: format!("{label}.{}", settings.zone),
        label,
        display_name: organization.display_name,
        initial_domain: organization.initial_domain,
        domains: organization.domains,
        return_host: String::new(),
        pass: MarkSecrets::new(certificate::secret()?),
        route: MarkSecrets::new(certificate::secret()?),
        certificate: ReturnCertificate { chain_pem: String::new(), key_pem: Secret::new("") },
        policy: Policy { exchange_rights: wish.exchange_rights.unwrap_or_default(), ..Policy::default() },
        routing: Routing::Off,
        rollout: wish.rollout.clone().unwrap_or_default(),
        closed: Vec::new(),
    })
}

fn as_if_empty() -> Observed {
    let none = || -> Seen { Ok(Vec::new()) };
    let nothing = [Service::Graph, Service::Exchange, Service::Activity].map(|s| (s, Ok(Claims::default())));
    Observed {
        application: Application::Absent("not made yet".into()),
        granted: Granted(nothing.into()),
        accepted_domains: none(),
        inbound_connectors: none(),
        outbound_connectors: none(),
        rules: none(),
        arc: Ok(vec![m365::Row::new()]),
        spoof_items: none(),
        ..Observed::blank(jiff::Timestamp::now().as_second(), NOT_YET)
    }
}
