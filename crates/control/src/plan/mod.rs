//! What would have to change so that a tenant is as it should be: read, compared, told; nothing is touched. What could
//! not be read is *unknown because …* and never taken for absent (house.md 5).
//!
//! A plan's id is a hash of what it says and of every value that it would write: the same tenant in the same state
//! gives the same plan, and one that no longer fits has another id. That is how [`crate::apply`] knows a stale one.

mod compare;
mod observe;
mod preflight;
mod text;

pub(crate) use compare::{of_one, order, removal, routes_mail};
pub(crate) use observe::{Observed, observe, observe_only};
pub(crate) use text::text_of;

use compare::{changes, wanted};

use crate::objects::application::App;
use crate::{ControlError, Result, Settings};
use aws_lc_rs::digest::{SHA256, digest};
use m365::{Client, Identity, Row};
use serde::Serialize;
use serde_json::Value;
use store::{Severity, Store};
use tenant::{Tenant, TenantId};

/// One property, before and after; a secret shows neither.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValueChange {
    pub name: String,
    pub before: Value,
    pub after: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Create,
    Change,
    Enable,
    Disable,
    Move,
    Remove,
}

/// One request that a change takes; may carry secrets and is never shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum Call {
    Exchange { cmdlet: String, parameters: Row },
    AcceptedDomain,
    RemoveDomain,
}

impl Call {
    pub(crate) fn name(&self) -> &str {
        match self {
            Call::Exchange { cmdlet, .. } => cmdlet,
            Call::AcceptedDomain => "POST /domains, verify, Set-AcceptedDomain",
            Call::RemoveDomain => "DELETE /domains",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Change {
    pub action: Action,
    pub object: String,
    pub values: Vec<ValueChange>,
    pub why: &'static str,
    /// The permission that it takes.
    pub needs: &'static str,
    pub undo: String,
    /// How sure it is that protection is impaired while it is not so.
    pub severity: Severity,
    /// What must be true before it may be carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    #[serde(skip)]
    pub(crate) calls: Vec<Call>,
    /// The object as it was read; goes into the receipt.
    #[serde(skip)]
    pub(crate) prior: Option<Row>,
}

/// An object that could not be read.
#[derive(Clone, Debug, Serialize)]
pub struct Unknown {
    pub object: String,
    pub because: String,
}

/// Something of others that gets in the way, or will; ours to tell, not to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    pub object: String,
    pub found: String,
    /// What a person should do about it.
    pub advice: &'static str,
    /// Set where it impairs protection now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub id: String,
    pub tenant: TenantId,
    pub display_name: String,
    pub changes: Vec<Change>,
    pub unknown: Vec<Unknown>,
    pub notices: Vec<Notice>,
}

/// Characters of a plan's id: 64 bits of the hash, enough that two plans of one tenant never meet.
const ID_LENGTH: usize = 16;

impl Plan {
    fn new(tenant: &Tenant, changes: Vec<Change>, unknown: Vec<Unknown>, notices: Vec<Notice>) -> Result<Plan> {
        let calls: Vec<_> = changes.iter().map(|c| (&c.calls, &c.prior)).collect();
        let said = serde_json::to_vec(&(tenant.id, &changes, &unknown, calls));
        let said = said.map_err(|e| ControlError::Refused(format!("a plan cannot be written: {e}")))?;
        let hash: String = digest(&SHA256, &said).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let id = hash[..ID_LENGTH].to_owned();
        Ok(Plan { id, tenant: tenant.id, display_name: tenant.display_name.clone(), changes, unknown, notices })
    }
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.unknown.is_empty()
    }
}

/// The tenant and the application that acts in it.
pub(crate) async fn acting(id: TenantId, store: &Store) -> Result<(Tenant, Identity)> {
    let tenant =
        store.tenant(id).await?.ok_or_else(|| ControlError::Refused(format!("tenant {id} is not connected")))?;
    let app = App::known(store, id).await?.map(|a| a.identity(id));
    let app = app.ok_or_else(|| ControlError::Refused("no application of ours is known in this tenant".into()))?;
    Ok((tenant, app))
}

/// Reads the tenant, compares, and writes the plan down so that it can be approved by its id.
pub async fn plan(id: TenantId, client: &Client, store: &Store, settings: &Settings) -> Result<Plan> {
    let (tenant, app) = acting(id, store).await?;
    let observed = observe(client, &app, store).await?;
    written_down(store, made(&tenant, settings, &observed)?).await
}

/// What taking everything back would do; the same steps as `posthouse tenant disconnect`.
pub async fn plan_removal(id: TenantId, client: &Client, store: &Store) -> Result<Plan> {
    let (tenant, app) = acting(id, store).await?;
    let observed = observe(client, &app, store).await?;
    let changes = removal(&tenant, &observed);
    written_down(store, Plan::new(&tenant, changes, observed.unknown(), Vec::new())?).await
}

async fn written_down(store: &Store, plan: Plan) -> Result<Plan> {
    let shown = serde_json::to_value(&plan).map_err(|e| ControlError::Refused(e.to_string()))?;
    store.put_plan(plan.tenant, &plan.id, &shown).await?;
    Ok(plan)
}

/// Pure: the tenant as wished, the tenant as read.
pub(crate) fn made(tenant: &Tenant, settings: &Settings, observed: &Observed) -> Result<Plan> {
    let wanted = wanted(tenant, &settings.gateway_hostname);
    let changes = changes(tenant, &wanted, observed);
    Plan::new(tenant, changes, observed.unknown(), preflight::notices(observed))
}

#[cfg(test)]
mod tests;
