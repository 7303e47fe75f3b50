//! Step f: the way out to us. Only rules may use it, and it takes nobody for us who cannot show our name.

use super::Need;
use super::exchange::{COMMENT, Wanted, object};
use super::permissions::EXCHANGE_APP;
use serde_json::json;

pub(crate) const NEEDS: &[Need] = &[Need {
    permission: EXCHANGE_APP,
    reason: "the connector by which mail goes out to us",
    cmdlets: &["Get-OutboundConnector", "New-OutboundConnector", "Set-OutboundConnector", "Remove-OutboundConnector"],
}];

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
