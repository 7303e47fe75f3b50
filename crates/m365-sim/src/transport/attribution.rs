//! Whose mail it is (transport.md S4–S11): by certificate, by address, by recipient, and who is turned away.

use super::fields;
use super::smtp_server::HOST;
use crate::world::{State, Tenant};
use serde_json::{Map, Value};
use std::net::IpAddr;
use uuid::Uuid;

fn enabled_on_premises(t: &Tenant) -> impl Iterator<Item = &Map<String, Value>> {
    t.inbound_connectors
        .iter()
        .filter(|c| c.get("Enabled") == Some(&true.into()) && c.get("ConnectorType") == Some(&"OnPremises".into()))
}

fn name_matches(pattern: &str, names: &[String]) -> bool {
    let pattern = pattern.to_lowercase();
    names.iter().any(|n| match pattern.strip_prefix("*.") {
        Some(suffix) => n.ends_with(&format!(".{suffix}")),
        None => *n == pattern,
    })
}

/// Whether a list-valued property has an entry for which `holds`.
fn any_of(c: &Map<String, Value>, key: &str, holds: impl Fn(&str) -> bool) -> bool {
    c.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).any(holds)
}

/// S4 and S5: which tenant's connector the certificate proves.
pub fn by_certificate(state: &State, names: &[String], sender_domain: &str) -> Option<(Uuid, String)> {
    let mut candidates: Vec<(Uuid, String, bool)> = Vec::new();
    for t in &state.tenants {
        for c in enabled_on_premises(t) {
            let Some(pattern) = c.get("TlsSenderCertificateName").and_then(Value::as_str) else { continue };
            let accepted = pattern.starts_with("*.") || t.accepted_domain(pattern).is_some();
            if accepted && name_matches(pattern, names) {
                let name = c.get("Name").and_then(Value::as_str).unwrap_or_default().to_owned();
                candidates.push((t.id, name, t.accepted_domain(sender_domain).is_some()));
            }
        }
    }
    candidates.sort();
    if candidates.len() > 1 {
        tracing::warn!("AMBIGUOUS attribution between {} connectors", candidates.len());
    }
    let chosen = candidates.iter().find(|(_, _, sender)| *sender).or(candidates.first());
    chosen.map(|(t, name, _)| (*t, name.clone()))
}

/// S6–S11: the tenant of a recipient and the connector if Originating, or the refusal.
pub fn place(
    state: &State,
    by_certificate: &Option<(Uuid, String)>,
    names: &[String],
    ip: IpAddr,
    sender: &str,
    recipient: &str,
) -> Result<(Uuid, Option<String>), String> {
    let (from, to) = (fields::domain_of(sender), fields::domain_of(recipient));
    let by_ip = || {
        state
            .tenants
            .iter()
            .find(|t| {
                t.accepted_domain(&from).is_some()
                    && enabled_on_premises(t).any(|c| any_of(c, "SenderIPAddresses", |net| in_net(net, ip)))
            })
            .map(|t| (t.id, "by address".to_owned()))
    };
    let originating = by_certificate.clone().or_else(by_ip);
    if let Some((tenant, connector)) = originating {
        if let Some(t) = state.tenants.iter().find(|t| t.id == tenant) {
            unknown_recipient(t, &to, recipient)?;
        }
        return Ok((tenant, Some(connector)));
    }
    let Some(t) = state.tenant_of_accepted(&to) else {
        return Err(format!("550 5.7.64 TenantAttribution; Relay Access Denied [{HOST}]"));
    };
    let restricts = |c: &&Map<String, Value>| {
        let yes = |key: &str| c.get(key) == Some(&true.into());
        let covers = any_of(c, "SenderDomains", |d| d.contains("smtp:*;") || d.contains(&format!(":{from};")));
        c.get("Enabled") == Some(&true.into())
            && c.get("ConnectorType") == Some(&"Partner".into())
            && covers
            && (yes("RestrictDomainsToCertificate") || yes("RestrictDomainsToIPAddresses"))
    };
    let listed = |c: &Map<String, Value>| {
        let certificate = c.get("TlsSenderCertificateName").and_then(Value::as_str);
        any_of(c, "SenderIPAddresses", |net| in_net(net, ip))
            || certificate.is_some_and(|name| name_matches(name, names))
    };
    if let Some(c) = t.inbound_connectors.iter().find(restricts)
        && !listed(c)
    {
        return Err("550 5.7.51 TenantInboundAttribution; There is a partner connector configured that matched the message's recipient domain. The connector had either the RestrictDomainsToIPAddresses or RestrictDomainsToCertificate set".into());
    }
    let direct_send_refused = t.organization_config.get("RejectDirectSend") == Some(&true.into());
    if direct_send_refused && t.accepted_domain(&from).is_some() {
        return Err("550 5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources".into());
    }
    unknown_recipient(t, &to, recipient)?;
    Ok((t.id, None))
}

/// S11: directory-based edge blocking of an authoritative domain.
fn unknown_recipient(t: &Tenant, domain: &str, recipient: &str) -> Result<(), String> {
    let authoritative = t.accepted_domain(domain).is_some_and(|d| d.domain_type == "Authoritative");
    let known = t.user_by_address(recipient).is_some_and(|u| !u.mailbox_type.is_empty())
        || t.group_by_address(recipient).is_some();
    if authoritative && !known {
        Err(format!("550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [{HOST}]"))
    } else {
        Ok(())
    }
}

pub fn in_net(net: &str, ip: IpAddr) -> bool {
    net.parse::<ipnet::IpNet>().is_ok_and(|n| n.contains(&ip)) || net.parse::<IpAddr>().is_ok_and(|a| a == ip)
}
