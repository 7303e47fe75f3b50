//! Connectors, accepted domains, recipients (wire.md 8.1, 8.2, 8.4, 8.5).

use super::parameters::{self, Parameters};
use super::run::{Run, row};
use super::{CmdletError, Output};
use crate::world::{Tenant, User};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const NAME_MAX: usize = 64;
/// Rows a list returns unless ResultSize says otherwise.
const RESULT_SIZE: usize = 1000;

/// One of the three date forms that are recorded.
pub fn stamp(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.0000000+00:00").to_string()
}

pub fn stamp_z(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.0000000Z").to_string()
}

/// By name or GUID, without case.
pub fn find(list: &[Map<String, Value>], identity: &str) -> Option<usize> {
    let is = |r: &Map<String, Value>, key: &str| {
        r.get(key).and_then(Value::as_str).is_some_and(|v| v.eq_ignore_ascii_case(identity))
    };
    list.iter().position(|r| is(r, "Guid") || is(r, "Name") || is(r, "Identity"))
}

/// Applies -Identity and -ResultSize (with the truncation warning) to a list.
pub fn pick(rows: Vec<Map<String, Value>>, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    if let Some(identity) = p.text("Identity") {
        return match find(&rows, &identity) {
            Some(n) => Ok(Output::rows(vec![rows[n].clone()])),
            None if run.unknown_identity_returns_all => Ok(Output::rows(rows)),
            None => Err(CmdletError::not_found(&identity)),
        };
    }
    let limit = match p.text("ResultSize").as_deref() {
        Some(text) if text.eq_ignore_ascii_case("unlimited") => usize::MAX,
        Some(text) => text.parse().map_err(|_| {
            CmdletError::transformation("ResultSize", text, "Microsoft.Exchange.Data.Unlimited`1[System.UInt32]", &[])
        })?,
        None => RESULT_SIZE,
    };
    let cut = rows.len() > limit;
    let mut output = Output::rows(rows.into_iter().take(limit).collect());
    if cut {
        output.warnings.push("There are more results available than are currently displayed. To view them, increase the value for the ResultSize parameter.".into());
    }
    Ok(output)
}

pub fn get(list: &[Map<String, Value>], p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let scoped = p.flag("IsTransportRuleScoped");
    let rows = list
        .iter()
        .filter(|r| scoped.is_none_or(|s| r.get("IsTransportRuleScoped") == Some(&Value::Bool(s))))
        .cloned()
        .collect();
    pick(rows, p, run)
}

pub fn new_object(
    list: &[Map<String, Value>],
    p: &Parameters,
    run: &Run<'_>,
) -> Result<Map<String, Value>, CmdletError> {
    let name = p.text("Name").unwrap_or_default();
    if name.trim().is_empty() || name.chars().count() > NAME_MAX {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Data.DataValidationException",
            format!("The property value is invalid: the length of Name must be between 1 and {NAME_MAX} characters."),
        ));
    }
    if find(list, &name).is_some() {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Data.Directory.ADObjectAlreadyExistsException",
            format!(
                "Active Directory operation failed on SIM01A01DC001.EURPR01A001.PROD.OUTLOOK.COM. The object 'CN={name},CN=Transport Settings' already exists."
            ),
        ));
    }
    Ok(row(
        json!({"AdminDisplayName": "", "Name": name, "Identity": name, "Guid": Uuid::new_v4(), "IsValid": true, "WhenCreatedUTC": stamp_z(run.now), "WhenChangedUTC": stamp_z(run.now)}),
    ))
}

/// `*` reads back as `smtp:*;1` (recorded).
fn sender_domains(list: &Value) -> Value {
    let one = |v: &Value| {
        let text = v.as_str().unwrap_or_default();
        let domain = text.trim_start_matches("smtp:").split(';').next().unwrap_or_default();
        let cost = text.split(';').nth(1).unwrap_or("1");
        Value::from(format!("smtp:{domain};{cost}"))
    };
    list.as_array().map(|all| all.iter().map(one).collect::<Vec<_>>().into()).unwrap_or_default()
}

fn merge(object: &mut Map<String, Value>, p: &Parameters) {
    for (key, value) in p.all().iter().filter(|(k, _)| {
        !["Identity", "Confirm", "WhatIf", "ErrorAction", "WarningAction", "Verbose", "Debug"].contains(&k.as_str())
    }) {
        let value = parameters::changed_list(object.get(key).unwrap_or(&Value::Null), value);
        object.insert(key.clone(), if key == "SenderDomains" { sender_domains(&value) } else { value });
    }
    let name = object.get("Name").cloned().unwrap_or_default();
    object.insert("Identity".into(), name);
}

pub fn new_inbound(t: &mut Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let mut object = new_object(&t.inbound_connectors, p, run)?;
    object.extend(row(json!({"Enabled": true, "ConnectorType": "Partner", "ConnectorSource": "Default", "Comment": null, "SenderIPAddresses": [], "SenderDomains": [], "TrustedOrganizations": [], "ClientHostNames": [], "AssociatedAcceptedDomains": [], "RequireTls": false, "RestrictDomainsToIPAddresses": false, "RestrictDomainsToCertificate": false, "CloudServicesMailEnabled": false, "TreatMessagesAsInternal": false, "TlsSenderCertificateName": null, "EFTestMode": false, "ScanAndDropRecipients": [], "EFSkipLastIP": false, "EFSkipIPs": [], "EFSkipMailGateway": [], "EFUsers": []})));
    merge(&mut object, p);
    check_inbound(&object)?;
    let mut output = Output::default();
    if t.onprem_connector_restricted && object.get("ConnectorType") == Some(&"OnPremises".into()) {
        object.insert("Enabled".into(), false.into());
        output.warnings.push(
            "Inbound connector for this service offering is created in a disabled state. Contact Support to enable it."
                .into(),
        );
    }
    output.rows.push(object.clone());
    t.inbound_connectors.push(object);
    Ok(output)
}

fn check_inbound(object: &Map<String, Value>) -> Result<(), CmdletError> {
    let invalid =
        |text: &str| Err(CmdletError::business("Microsoft.Exchange.Management.Tasks.ValidationException", text));
    let yes = |key: &str| object.get(key) == Some(&Value::Bool(true));
    let on_premises = object.get("ConnectorType") == Some(&"OnPremises".into());
    if yes("TreatMessagesAsInternal") && (!on_premises || yes("CloudServicesMailEnabled")) {
        return invalid(
            "TreatMessagesAsInternal can be set to $true only when ConnectorType is OnPremises and CloudServicesMailEnabled is $false.",
        );
    }
    for address in
        object.get("SenderIPAddresses").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        let net = address
            .parse::<ipnet::Ipv4Net>()
            .ok()
            .or_else(|| address.parse::<std::net::Ipv4Addr>().ok().map(ipnet::Ipv4Net::from));
        if net.is_none_or(|n| n.prefix_len() < 24) {
            return invalid("SenderIPAddresses takes IPv4 addresses and ranges from /24 to /32.");
        }
    }
    if let Some(name) = object.get("TlsSenderCertificateName").and_then(Value::as_str)
        && name.trim_start_matches("*.").contains('*')
    {
        return invalid("TlsSenderCertificateName takes a domain or *.domain.");
    }
    Ok(())
}

pub fn new_outbound(t: &mut Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let mut object = new_object(&t.outbound_connectors, p, run)?;
    object.extend(row(json!({"Enabled": true, "UseMXRecord": true, "Comment": null, "ConnectorType": "Partner", "ConnectorSource": "Default", "RecipientDomains": [], "SmartHosts": [], "TlsDomain": null, "TlsSettings": null, "IsTransportRuleScoped": false, "RouteAllMessagesViaOnPremises": false, "CloudServicesMailEnabled": false, "AllAcceptedDomains": false, "SenderRewritingEnabled": false, "MtaStsMode": "Opportunistic", "SmtpDaneMode": "Opportunistic", "TestMode": false, "ValidationRecipients": [], "IsValidated": false, "LastValidationTimestamp": null})));
    merge(&mut object, p);
    check_outbound(&object)?;
    t.outbound_connectors.push(object.clone());
    Ok(Output::rows(vec![object]))
}

fn check_outbound(object: &Map<String, Value>) -> Result<(), CmdletError> {
    let invalid =
        |text: &str| Err(CmdletError::business("Microsoft.Exchange.Management.Tasks.ValidationException", text));
    let yes = |key: &str| object.get(key) == Some(&Value::Bool(true));
    let hosts = object.get("SmartHosts").and_then(Value::as_array).map_or(0, Vec::len);
    if !yes("UseMXRecord") && hosts == 0 {
        return invalid("SmartHosts must be specified when UseMXRecord is $false.");
    }
    if yes("UseMXRecord") && hosts > 0 {
        return invalid("SmartHosts can't be specified when UseMXRecord is $true.");
    }
    let domain_validation = object.get("TlsSettings") == Some(&"DomainValidation".into());
    if domain_validation != object.get("TlsDomain").is_some_and(|d| !d.is_null()) {
        return invalid("TlsDomain must be specified with, and only with, TlsSettings DomainValidation.");
    }
    let on_premises = object.get("ConnectorType") == Some(&"OnPremises".into());
    if (yes("AllAcceptedDomains") || yes("RouteAllMessagesViaOnPremises")) && !on_premises {
        return invalid("AllAcceptedDomains and RouteAllMessagesViaOnPremises need ConnectorType OnPremises.");
    }
    Ok(())
}

/// A rule still refers to it: it may not vanish, be disabled, renamed or unscoped.
fn referenced(t: &Tenant, connector: &Map<String, Value>) -> Result<(), CmdletError> {
    let name = connector.get("Name").and_then(Value::as_str).unwrap_or_default();
    let guid = connector.get("Guid").and_then(Value::as_str).unwrap_or_default();
    let by = t.transport_rules.iter().find(|r| {
        r.get("RouteMessageOutboundConnector")
            .and_then(Value::as_str)
            .is_some_and(|c| c.eq_ignore_ascii_case(name) || c.eq_ignore_ascii_case(guid))
    });
    match by {
        None => Ok(()),
        Some(rule) => Err(CmdletError::business(
            "Microsoft.Exchange.Management.SystemConfigurationTasks.ConnectorIncorrectUsageConnectorStillReferencedException",
            format!(
                "The connector '{name}' is still referenced by the transport rule '{}'.",
                rule.get("Name").and_then(Value::as_str).unwrap_or_default()
            ),
        )),
    }
}

pub fn set_connector(t: &mut Tenant, p: &Parameters, run: &Run<'_>, inbound: bool) -> Result<Output, CmdletError> {
    let identity = p.text("Identity").unwrap_or_default();
    let list = if inbound { &t.inbound_connectors } else { &t.outbound_connectors };
    let n = find(list, &identity).ok_or_else(|| CmdletError::not_found(&identity))?;
    let before = list[n].clone();
    let mut object = before.clone();
    merge(&mut object, p);
    object.insert("WhenChangedUTC".into(), stamp_z(run.now).into());
    if inbound {
        check_inbound(&object)?;
        let enabling = object.get("Enabled") == Some(&true.into()) && before.get("Enabled") == Some(&false.into());
        if t.onprem_connector_restricted && enabling {
            return Err(CmdletError::business(
                "Microsoft.Exchange.Management.Tasks.ValidationException",
                "For this service offering, you can't enable an inbound connector. Contact Support to enable it.",
            ));
        }
        t.inbound_connectors[n] = object;
    } else {
        check_outbound(&object)?;
        let gone = |key: &str| before.get(key) == Some(&true.into()) && object.get(key) == Some(&false.into());
        if gone("Enabled") || gone("IsTransportRuleScoped") || before.get("Name") != object.get("Name") {
            referenced(t, &before)?;
        }
        t.outbound_connectors[n] = object;
    }
    Ok(Output::default())
}

pub fn remove_connector(t: &mut Tenant, p: &Parameters, inbound: bool) -> Result<Output, CmdletError> {
    let identity = p.text("Identity").unwrap_or_default();
    let list = if inbound { &t.inbound_connectors } else { &t.outbound_connectors };
    let n = find(list, &identity).ok_or_else(|| CmdletError::not_found(&identity))?;
    if inbound {
        t.inbound_connectors.remove(n);
    } else {
        referenced(t, &t.outbound_connectors[n])?;
        t.outbound_connectors.remove(n);
    }
    Ok(Output::default())
}

pub fn get_accepted_domains(t: &Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let shown = t.accepted_domains.iter().filter(|d| d.visible_from <= run.now.as_second());
    let rows = shown.map(|d| row(json!({"DomainName": d.name, "DomainType": d.domain_type, "Default": d.default, "InitialDomain": d.initial, "MatchSubDomains": false, "SmtpDaneStatus": "Disabled", "AuthenticationType": "Managed", "PendingRemoval": false, "PendingCompletion": false, "OutboundOnly": false, "EmailOnly": false, "AddressBookEnabled": true, "SendingFromDomainDisabled": false, "SendingToDomainDisabled": false, "CatchAllRecipientID": null, "Name": d.name, "Identity": d.name, "DistinguishedName": format!("CN={},CN=Accepted Domains", d.name), "ExchangeVersion": "0.20 (15.0.0.0)", "AdminDisplayName": ""}))).collect();
    pick(rows, p, run)
}

pub fn set_accepted_domain(t: &mut Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let identity = p.text("Identity").unwrap_or_default();
    let domain = t
        .accepted_domains
        .iter_mut()
        .find(|d| d.name.eq_ignore_ascii_case(&identity))
        .ok_or_else(|| CmdletError::not_found(&identity))?;
    if let Some(kind) = p.text("DomainType") {
        domain.domain_type = kind;
    }
    Ok(Output::default())
}

fn show_mailbox(u: &User, recipient: bool) -> Map<String, Value> {
    let primary = u.addresses.first().cloned().unwrap_or_default();
    let addresses: Vec<String> =
        u.addresses.iter().enumerate().map(|(n, a)| format!("{}:{a}", if n == 0 { "SMTP" } else { "smtp" })).collect();
    let mut shown = row(
        json!({"UserPrincipalName": u.upn, "DisplayName": u.display_name, "PrimarySmtpAddress": primary, "RecipientType": "UserMailbox", "RecipientTypeDetails": u.mailbox_type, "Alias": primary.split('@').next(), "Name": u.display_name, "Identity": u.id, "Id": u.id, "Guid": u.id, "ExchangeGuid": u.id, "ExternalDirectoryObjectId": u.id, "EmailAddresses": addresses, "ForwardingAddress": null, "ForwardingSmtpAddress": null, "DeliverToMailboxAndForward": false, "HiddenFromAddressListsEnabled": false, "IsMailboxEnabled": true, "IsShared": u.mailbox_type == "SharedMailbox", "IsResource": u.mailbox_type == "RoomMailbox", "ProhibitSendQuota": "99 GB (106,300,440,576 bytes)"}),
    );
    if recipient {
        shown.retain(|k, _| !matches!(k.as_str(), "ProhibitSendQuota" | "IsMailboxEnabled" | "ForwardingSmtpAddress"));
    }
    shown
}

pub fn get_mailboxes(t: &Tenant, p: &Parameters, run: &Run<'_>, recipient: bool) -> Result<Output, CmdletError> {
    let kinds = p.list("RecipientTypeDetails");
    let users = t.users.iter().filter(|u| {
        !u.mailbox_type.is_empty()
            && (kinds.is_empty() || kinds.iter().any(|k| k.eq_ignore_ascii_case(&u.mailbox_type)))
    });
    if let Some(identity) = p.text("Identity") {
        let by_id = identity.parse().ok().and_then(|id| t.users.by_id(id));
        let found = by_id.or_else(|| t.users.by_name(&identity));
        return found
            .filter(|u| !u.mailbox_type.is_empty())
            .map(|u| Output::rows(vec![show_mailbox(u, recipient)]))
            .ok_or_else(|| CmdletError::not_found(&identity));
    }
    let shown = |(n, u)| if run.window.contains(&n) { show_mailbox(u, recipient) } else { Map::new() };
    let mut rows: Vec<_> = users.enumerate().map(shown).collect();
    if recipient && kinds.is_empty() {
        rows.extend(t.groups.iter().filter(|g| g.mail.is_some()).map(show_group));
    }
    pick(rows, p, run)
}

fn show_group(g: &crate::world::Group) -> Map<String, Value> {
    let kind = match g.kind.as_str() {
        "unified" => "GroupMailbox",
        "mail_security" => "MailUniversalSecurityGroup",
        _ => "MailUniversalDistributionGroup",
    };
    row(
        json!({"DisplayName": g.display_name, "Name": g.display_name, "Identity": g.display_name, "DistinguishedName": super::scopes::dn(g), "Guid": g.id, "ExternalDirectoryObjectId": g.id, "PrimarySmtpAddress": g.mail, "RecipientType": kind, "RecipientTypeDetails": kind, "EmailAddresses": g.mail.iter().map(|m| format!("SMTP:{m}")).collect::<Vec<_>>(), "ReportToOriginatorEnabled": true}),
    )
}

pub fn get_groups(
    t: &Tenant,
    p: &Parameters,
    run: &Run<'_>,
    which: impl Fn(&str) -> bool,
) -> Result<Output, CmdletError> {
    pick(t.groups.iter().filter(|g| which(&g.kind)).map(show_group).collect(), p, run)
}

pub fn get_members(t: &Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let identity = p.text("Identity").unwrap_or_default();
    let by_id = identity.parse().ok().and_then(|id| t.groups.by_id(id));
    let group = by_id
        .or_else(|| t.groups.by_name(&identity))
        .or_else(|| t.groups.iter().find(|g| g.display_name.eq_ignore_ascii_case(&identity)))
        .ok_or_else(|| CmdletError::not_found(&identity))?;
    let member = |id: &Uuid| {
        let user = t.users.by_id(*id).map(|u| show_mailbox(u, true));
        user.or_else(|| t.groups.by_id(*id).map(show_group))
    };
    Ok(Output::rows(group.members.iter().filter_map(member).collect()))
}
