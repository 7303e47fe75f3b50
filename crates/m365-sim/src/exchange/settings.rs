//! Settings of the organisation: configuration, transport, ARC, auditing, journaling (wire.md 8.7–8.9).

use super::objects;
use super::parameters::{self, Parameters};
use super::rbac::Rbac;
use super::run::{Run, row};
use super::{CmdletError, Output, Row};
use crate::audit::Ingestion;
use crate::seed::stable_id;
use crate::world::Tenant;
use serde_json::{Value, json};
use uuid::Uuid;

/// What cmdlets manage beside connectors, rules and domains.
#[derive(Clone, Default)]
pub struct Settings {
    pub connection_filter: Row,
    pub spoof_items: Vec<Row>,
    pub transport_config: Row,
    pub journal_rules: Vec<Row>,
    /// Application access policies.
    pub access_policies: Vec<Row>,
    pub ingestion: Ingestion,
    pub rbac: Rbac,
}

impl Settings {
    /// As a new tenant has them.
    pub fn new(tenant: Uuid) -> Settings {
        Settings {
            connection_filter: row(
                json!({"AdminDisplayName": "", "IsDefault": true, "IPAllowList": [], "IPBlockList": [], "EnableSafeList": false, "DirectoryBasedEdgeBlockMode": "Default", "Identity": "Default", "Id": "Default", "Name": "Default", "IsValid": true, "Guid": stable_id(tenant, "connection filter")}),
            ),
            transport_config: row(
                json!({"Name": "Transport Settings", "Identity": "Transport Settings", "Guid": stable_id(tenant, "transport settings"), "JournalingReportNdrTo": "<>", "MessageExpiration": "1.00:00:00", "MaxSendSize": "Unlimited", "MaxReceiveSize": "Unlimited", "ExternalDelayDsnEnabled": true, "ExternalDsnReportingAuthority": null, "ExternalPostmasterAddress": null, "InternalDsnReportingAuthority": null, "HeaderPromotionModeSetting": "NoCreate", "Rfc2231EncodingEnabled": false, "SmtpClientAuthenticationDisabled": true, "AllowLegacyTLSClients": null, "ReplyAllStormProtectionEnabled": true, "JournalMessageExpirationDays": 0, "AddressBookPolicyRoutingEnabled": false}),
            ),
            rbac: Rbac::new(tenant),
            ..Settings::default()
        }
    }
}

/// Nothing for a cmdlet of another file.
pub fn execute(t: &mut Tenant, name: &str, p: &Parameters, run: &Run<'_>) -> Option<Result<Output, CmdletError>> {
    Some(match name {
        "Get-OrganizationConfig" => Ok(Output::rows(vec![t.organization_config.clone()])),
        "Set-OrganizationConfig" => take(&mut t.organization_config, p),
        "Get-TransportConfig" => Ok(Output::rows(vec![t.settings.transport_config.clone()])),
        "Set-TransportConfig" => take(&mut t.settings.transport_config, p),
        "Get-ArcConfig" => Ok(Output::rows(vec![row(
            json!({"Identity": "Default", "ArcTrustedSealers": t.arc_trusted_sealers.join(",")}),
        )])),
        "Set-ArcConfig" => set_arc(t, p),
        "Get-AdminAuditLogConfig" => Ok(Output::rows(vec![row(
            json!({"AdminAuditLogEnabled": true, "LogLevel": "None", "TestCmdletLoggingEnabled": false, "AdminAuditLogAgeLimit": "90.00:00:00", "LoadBalancerCount": 3, "UnifiedAuditLogIngestionEnabled": t.settings.ingestion.wanted, "UnifiedAuditLogFirstOptInDate": "2025-10-01T07:30:11.1234567Z", "Name": "Admin Audit Log Settings", "Identity": "Admin Audit Log Settings"}),
        )])),
        "Set-AdminAuditLogConfig" => {
            if let Some(on) = p.flag("UnifiedAuditLogIngestionEnabled") {
                t.settings.ingestion.set(on, run.now.as_second() + run.audit_delay);
            }
            Ok(Output::default())
        }
        "Get-JournalRule" => objects::get(&t.settings.journal_rules, p, run),
        "New-JournalRule" => new_journal_rule(t, p, run),
        "Remove-JournalRule" => {
            let identity = p.text("Identity").unwrap_or_default();
            objects::find(&t.settings.journal_rules, &identity).map_or_else(
                || Err(CmdletError::not_found(&identity)),
                |n| {
                    t.settings.journal_rules.remove(n);
                    Ok(Output::default())
                },
            )
        }
        _ => return None,
    })
}

/// Every parameter that was given becomes a property, lists by `{"add": …, "remove": …}` as well.
pub fn take(object: &mut Row, p: &Parameters) -> Result<Output, CmdletError> {
    for (key, value) in p.all().iter().filter(|(k, _)| !parameters::COMMON.contains(&k.as_str())) {
        if key != "Identity" && key != "Force" {
            let value = parameters::changed_list(object.get(key).unwrap_or(&Value::Null), value);
            object.insert(key.clone(), value);
        }
    }
    Ok(Output::default())
}

/// Replaces the list; a blank clears it (wire.md 8.8). One text may hold several domains, as Get-ArcConfig shows them.
fn set_arc(t: &mut Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let identity = p.text("Identity").unwrap_or_default();
    if !identity.eq_ignore_ascii_case("Default") {
        return Err(CmdletError::not_found(&identity));
    }
    let given = p.list("ArcTrustedSealers");
    let sealers = given.iter().flat_map(|s| s.split(',')).map(str::trim).filter(|s| !s.is_empty());
    t.arc_trusted_sealers = sealers.map(str::to_owned).collect();
    Ok(Output::default())
}

/// New-JournalRule page: the scope is Global and the rule disabled unless said otherwise.
fn new_journal_rule(t: &mut Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let mut rule = objects::new_object(&t.settings.journal_rules, p, run)?;
    rule.extend(row(
        json!({"Recipient": p.text("Recipient"), "JournalEmailAddress": p.text("JournalEmailAddress"), "Scope": p.text("Scope").unwrap_or("Global".into()), "Enabled": p.flag("Enabled").unwrap_or(false), "RuleErrorAction": "Ignore"}),
    ));
    t.settings.journal_rules.push(rule.clone());
    Ok(Output::rows(vec![rule]))
}
