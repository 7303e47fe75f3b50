//! Step f: what lets us in. Exchange knows the tenant by the name in our certificate, and relays for it
//! (transport.md F1.2).

use super::exchange::{self, COMMENT, Wanted, object};
use crate::events::Step;
use crate::work::Work;
use crate::{ControlError, Result};
use m365::Identity;
use serde_json::{Value, json};
use tenant::Tenant;

pub(crate) const KIND: &str = "InboundConnector";
pub(crate) const NAME: &str = "Posthouse from gateway";

pub(crate) fn desired(tenant: &Tenant) -> Wanted {
    Wanted {
        kind: KIND,
        name: NAME,
        properties: object(json!({
            "ConnectorType": "OnPremises",
            "SenderDomains": ["*"],
            "RequireTls": true,
            "TlsSenderCertificateName": tenant.connector_domain,
            // a Partner-like restriction would refuse all mail that does not come from us (transport.md F1.8)
            "RestrictDomainsToCertificate": false,
            "RestrictDomainsToIPAddresses": false,
            // neither header trust nor "internal": a spoofed sender must not become one of the house (F1.12, F1.15)
            "CloudServicesMailEnabled": false,
            "TreatMessagesAsInternal": false,
            "Enabled": true,
            "Comment": COMMENT,
        })),
        enabled: None,
        why: "Exchange Online takes mail from us for this tenant by the name in our certificate",
        secret: &[],
    }
}

pub(crate) async fn ensure(work: &mut Work<'_>, app: &Identity, tenant: &Tenant) -> Result<()> {
    let made = exchange::ensure(work, app, tenant, Step::Connectors, &desired(tenant)).await;
    let seen = exchange::read(work, app, KIND, NAME).await?;
    // trial and developer tenants get it disabled until Microsoft's support enables it (transport.md S17)
    if seen.is_some_and(|r| r.get("Enabled") == Some(&Value::Bool(false))) {
        return Err(ControlError::Waits(format!(
            "Microsoft created the inbound connector “{NAME}” disabled, as it does for some new, trial and developer tenants. Ask Microsoft support to enable it (\"Inbound connector for this service offering is created in a disabled state\"), then run the command again; no mail is routed"
        )));
    }
    made.map(drop)
}
