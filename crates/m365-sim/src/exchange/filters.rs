//! The connection filter and the spoofed senders of the Tenant Allow/Block List (wire.md 8.6; pages of
//! New-, Get-, Set- and Remove-TenantAllowBlockListSpoofItems, 2026-08).

use super::parameters::Parameters;
use super::run::{Run, row};
use super::{CmdletError, Output, Row, settings};
use crate::limits;
use crate::world::Tenant;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

pub fn execute(t: &mut Tenant, name: &str, p: &Parameters, run: &Run<'_>) -> Option<Result<Output, CmdletError>> {
    let policy = |p: &Parameters| match p.text("Identity") {
        // `Default`, or with the organisation before it: `contoso.example\Default`
        Some(i) if !i.rsplit('\\').next().is_some_and(|n| n.eq_ignore_ascii_case("Default")) => {
            Err(CmdletError::not_found(&i))
        }
        _ => Ok(()),
    };
    let known = ["HostedConnectionFilterPolicy", "TenantAllowBlockListSpoofItems"];
    if !known.iter().any(|noun| name.ends_with(noun)) {
        return None;
    }
    Some(match (policy(p), name) {
        (Err(unknown), _) if name.starts_with("Get-Hosted") && run.unknown_identity_returns_all => {
            drop(unknown);
            Ok(Output::rows(vec![t.settings.connection_filter.clone()]))
        }
        (Err(unknown), _) => Err(unknown),
        (Ok(()), "Get-HostedConnectionFilterPolicy") => Ok(Output::rows(vec![t.settings.connection_filter.clone()])),
        (Ok(()), "Set-HostedConnectionFilterPolicy") => set_policy(t, p),
        (Ok(()), "Get-TenantAllowBlockListSpoofItems") => Ok(Output::rows(spoof_items(t, p))),
        (Ok(()), "New-TenantAllowBlockListSpoofItems") => new_spoof_item(t, p),
        (Ok(()), "Set-TenantAllowBlockListSpoofItems") => change_spoof_items(t, p, true),
        (Ok(()), "Remove-TenantAllowBlockListSpoofItems") => change_spoof_items(t, p, false),
        _ => return None,
    })
}

fn set_policy(t: &mut Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let mut policy = t.settings.connection_filter.clone();
    settings::take(&mut policy, p)?;
    let mut entries = 0;
    for list in ["IPAllowList", "IPBlockList"] {
        if policy.get(list).is_none_or(Value::is_null) {
            policy.insert(list.into(), json!([]));
        }
        for entry in policy.get(list).and_then(Value::as_array).into_iter().flatten() {
            entries += 1;
            let text = entry.as_str().unwrap_or_default();
            if !is_filter_entry(text) {
                return Err(CmdletError::business(
                    "Microsoft.Exchange.Data.DataValidationException",
                    format!(
                        "'{text}' isn't a valid entry of {list}: an IPv4 address, a range of at most 256 addresses, or a CIDR range from /24 to /32 is expected."
                    ),
                ));
            }
        }
    }
    if entries > limits::FILTER_ENTRIES_MAX {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Management.Tasks.ValidationException",
            format!("The connection filter policy can't have more than {} entries.", limits::FILTER_ENTRIES_MAX),
        ));
    }
    t.settings.connection_filter = policy;
    Ok(Output::default())
}

/// One address, `a-b` with at most 256 addresses, or /24 to /32; IPv6 as one address only.
fn is_filter_entry(text: &str) -> bool {
    if let Some((from, to)) = text.split_once('-') {
        let ends = (from.trim().parse::<Ipv4Addr>(), to.trim().parse::<Ipv4Addr>());
        let (Ok(from), Ok(to)) = ends else { return false };
        return u32::from(to).checked_sub(u32::from(from)).is_some_and(|n| n < 256);
    }
    text.parse::<IpAddr>().is_ok() || text.parse::<ipnet::Ipv4Net>().is_ok_and(|n| n.prefix_len() >= 24)
}

fn text<'r>(item: &'r Row, key: &str) -> &'r str {
    item.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn spoof_items(t: &Tenant, p: &Parameters) -> Vec<Row> {
    let wanted = |item: &&Row| {
        ["Action", "SpoofType"].iter().all(|k| p.text(k).is_none_or(|w| text(item, k).eq_ignore_ascii_case(&w)))
    };
    t.settings.spoof_items.iter().filter(wanted).cloned().collect()
}

fn new_spoof_item(t: &mut Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let given = |key: &str| p.text(key).unwrap_or_default();
    let same = |item: &Row| {
        ["SpoofedUser", "SendingInfrastructure"].iter().all(|k| text(item, k).eq_ignore_ascii_case(&given(k)))
    };
    if t.settings.spoof_items.iter().any(same) {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Management.Tasks.ValidationException",
            format!("The spoof pair '{}', '{}' already exists.", given("SpoofedUser"), given("SendingInfrastructure")),
        ));
    }
    let item = row(
        json!({"Identity": Uuid::new_v4(), "Action": given("Action"), "SpoofedUser": given("SpoofedUser"), "SendingInfrastructure": given("SendingInfrastructure"), "SpoofType": given("SpoofType")}),
    );
    t.settings.spoof_items.push(item.clone());
    Ok(Output::rows(vec![item]))
}

/// `Ids` are the Identity values that Get- shows; one that does not exist refuses all.
fn change_spoof_items(t: &mut Tenant, p: &Parameters, set: bool) -> Result<Output, CmdletError> {
    let ids = p.list("Ids");
    let items = &mut t.settings.spoof_items;
    let is = |item: &Row, id: &str| text(item, "Identity").eq_ignore_ascii_case(id);
    if let Some(unknown) = ids.iter().find(|id| !items.iter().any(|i| is(i, id))) {
        return Err(CmdletError::not_found(unknown));
    }
    if set {
        for item in items.iter_mut().filter(|item| ids.iter().any(|id| is(item, id))) {
            item.insert("Action".into(), p.text("Action").into());
        }
    } else {
        items.retain(|item| !ids.iter().any(|id| is(item, id)));
    }
    Ok(Output::default())
}

#[cfg(test)]
mod tests {
    use super::is_filter_entry;

    #[test]
    fn entries_of_the_connection_filter() {
        for (text, taken) in [
            ("203.0.113.7", true),
            ("203.0.113.0/24", true),
            ("203.0.113.0/23", false),
            ("203.0.113.1-203.0.114.0", true),
            ("203.0.113.1-203.0.114.1", false),
            ("203.0.113.9-203.0.113.1", false),
            ("2001:db8::1", true),
            ("2001:db8::/64", false),
            ("gw.example", false),
        ] {
            assert_eq!(is_filter_entry(text), taken, "{text}");
        }
    }
}
