//! What the last plan of a tenant was made from: against that the watch measures it.

use crate::work::Work;
use crate::{ControlError, Result, Settings, drain};
use serde::{Deserialize, Serialize};
use store::Store;
use tenant::{MarkSecrets, Rollout, Tenant, TenantId};

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
    work.store.delete_step(tenant.id, drain::DRAINED).await?;
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
