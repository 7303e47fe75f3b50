//! What is to be renewed before its time: a wish that the next plan takes up.

use crate::{Result, certificate};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::Store;
use tenant::{Tenant, TenantId};

/// Certificates that somebody wants renewed now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rotate {
    pub application: bool,
    pub certificate: bool,
}

const WISH: &str = "rotate";

impl Rotate {
    pub(crate) async fn wished(store: &Store, tenant: TenantId) -> Result<Rotate> {
        let record = store.step(tenant, WISH).await?.unwrap_or_default();
        Ok(serde_json::from_value(record).unwrap_or_default())
    }
    pub async fn wish(self, store: &Store, tenant: TenantId) -> Result<()> {
        Ok(store.put_step(tenant, WISH, &json!(self)).await?)
    }
}

/// Begins to rotate both secrets of a tenant: from now on the next ones are taken, and the next plan makes the rules
/// know them. Nothing to do while a rotation is under way.
pub async fn rotate_secrets(store: &Store, id: TenantId) -> Result<bool> {
    let (pass, route) = (certificate::secret()?, certificate::secret()?);
    let mut begun = false;
    let begin = |tenant: &mut Tenant| {
        if tenant.pass.next.is_none() && tenant.route.next.is_none() {
            (tenant.pass.next, tenant.route.next) = (Some(pass), Some(route));
            begun = true;
        }
    };
    store.change_tenant(id, begin).await?;
    Ok(begun)
}
