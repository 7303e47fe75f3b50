//! Step f: what lets us in. Exchange knows the tenant by the name in our certificate, and relays for it
//! (transport.md F1.2).

use super::Need;
use super::exchange::{COMMENT, Wanted, object};
use super::permissions::EXCHANGE_APP;
use serde_json::json;
use tenant::Tenant;

pub(crate) const NEEDS: &[Need] = &[Need {
    permission: EXCHANGE_APP,
    reason: "the connector by which mail comes back",
    cmdlets: &["Get-InboundConnector", "New-InboundConnector", "Set-InboundConnector", "Remove-InboundConnector"],
}];

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

/// Trial, developer and some new tenants get it disabled until Microsoft's support enables it (transport.md S17).
pub(crate) const DISABLED: &str = "Microsoft created the inbound connector “Posthouse from gateway” disabled, as it does for some new, trial and developer tenants. Ask Microsoft support to enable it (\"Inbound connector for this service offering is created in a disabled state\"), then run the command again; no mail is routed";
