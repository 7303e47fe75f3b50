//! What is to be renewed before its time: a wish that the next plan takes up.

use crate::{ControlError, Result, certificate, limits};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::Store;
use tenant::{MarkSecrets, Tenant, TenantId};

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
    /// Beside what is wished already.
    pub async fn wish(self, store: &Store, tenant: TenantId) -> Result<()> {
        let before = Rotate::wished(store, tenant).await?;
        let both = Rotate {
            application: self.application || before.application,
            certificate: self.certificate || before.certificate,
        };
        Ok(store.put_step(tenant, WISH, &json!(both)).await?)
    }
    /// What was wished has been carried out.
    pub(crate) async fn done(store: &Store, tenant: TenantId) -> Result<()> {
        Ok(store.delete_step(tenant, WISH).await?)
    }
}

/// Begins to rotate both secrets of a tenant: from now on the next ones are taken, and the next plan makes the rules
/// know them. Refused while the rotation before is not over: something under way may still carry its old secret.
pub async fn rotate_secrets(store: &Store, id: TenantId) -> Result<()> {
    let (pass, route) = (certificate::secret()?, certificate::secret()?);
    let mut refused = None;
    let begin = |tenant: &mut Tenant| {
        let over = |secrets: &MarkSecrets| secrets.since + limits::SECRET_OVERLAP_SECS;
        if tenant.pass.next.is_some() || tenant.route.next.is_some() {
            refused = Some("the secrets are being rotated already; the next ones are written an hour after the plan that told the rules of them was applied".to_owned());
        } else if tenant.pass.previous.is_some() || tenant.route.previous.is_some() {
            let until = Timestamp::from_second(over(&tenant.pass).max(over(&tenant.route))).unwrap_or_default();
            refused = Some(format!(
                "mail that is under way may still carry the secrets of before; try again after {until:.0}"
            ));
        } else {
            for (secrets, next) in [(&mut tenant.pass, pass), (&mut tenant.route, route)] {
                (secrets.next, secrets.told) = (Some(next), 0);
            }
        }
    };
    store.change_tenant(id, begin).await?;
    refused.map_or(Ok(()), |why| Err(ControlError::Refused(why)))
}
