//! Step f: the way out to us. Only rules may use it, and it takes nobody for us who cannot show our name.

use super::exchange::{self, COMMENT, Wanted, object};
use crate::Result;
use crate::events::Step;
use crate::work::Work;
use m365::Identity;
use serde_json::json;
use tenant::Tenant;

pub(crate) const KIND: &str = "OutboundConnector";
pub(crate) const NAME: &str = "Posthouse to gateway";

pub(crate) fn desired(gateway_hostname: &str) -> Wanted {
    Wanted {
        kind: KIND,
        name: NAME,
        properties: object(json!({
            "ConnectorType": "OnPremises",
            "IsTransportRuleScoped": true,
            "UseMXRecord": false,
            "SmartHosts": [gateway_hostname],
            "TlsSettings": "DomainValidation",
            "TlsDomain": gateway_hostname,
            "CloudServicesMailEnabled": false,
            "Enabled": true,
            "Comment": COMMENT,
        })),
        enabled: None,
        why: "the rules send mail to us through it, and to nobody who cannot show our name",
        secret: &[],
    }
}

pub(crate) async fn ensure(work: &mut Work<'_>, app: &Identity, tenant: &Tenant) -> Result<()> {
    let wanted = desired(&work.settings.gateway_hostname);
    exchange::ensure(work, app, tenant, Step::Connectors, &wanted).await.map(drop)
}
