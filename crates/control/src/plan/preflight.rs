//! Rules, connectors and settings of others that get in the way of ours, told with what to do about each. Read from
//! the same lists as everything else; never changed by us.

use super::observe::text;
use super::{Notice, Observed};
use crate::Settings;
use crate::objects::{inbound_connector, outbound_connector, rules};
use m365::Row;
use serde_json::Value;
use std::net::IpAddr;
use store::Severity;
use tenant::Tenant;

/// Ends of smart hosts and certificate names by which inline products are known (public set-up guides of each).
const VENDORS: &[(&str, &str)] = &[
    ("avanan.net", "Check Point Harmony Email"),
    ("checkpointcloudsec.com", "Check Point Harmony Email"),
    ("codetwo.online", "CodeTwo"),
    ("exclaimer.net", "Exclaimer"),
    ("hornetsecurity.com", "Hornetsecurity"),
    ("antispameurope.com", "Hornetsecurity"),
    ("mimecast.com", "Mimecast"),
    ("pphosted.com", "Proofpoint"),
    ("ppe-hosted.com", "Proofpoint Essentials"),
    ("seppmail.cloud", "SEPPmail"),
    ("xgeconnector.com", "Sophos Mailflow"),
    ("sophos.com", "Sophos"),
    ("trendmicro.com", "Trend Micro"),
    ("trendmicro.eu", "Trend Micro"),
    ("barracudanetworks.com", "Barracuda"),
];

pub(crate) fn notices(tenant: &Tenant, settings: &Settings, observed: &Observed) -> Vec<Notice> {
    let mut out = Vec::new();
    if let Ok(rules) = &observed.rules {
        out.extend(of_rules(rules, observed));
    }
    out.extend(observed.find(inbound_connector::KIND, inbound_connector::NAME).and_then(of_our_own_way_back));
    for row in observed.inbound_connectors.iter().flatten().filter(|r| !is_ours(r, observed, inbound_connector::KIND)) {
        out.extend(of_inbound(row));
        out.extend(of_rival(row, tenant, settings));
    }
    for row in observed.outbound_connectors.iter().flatten().filter(|r| !is_ours(r, observed, outbound_connector::KIND))
    {
        out.extend(of_outbound(row));
    }
    out.extend(observed.organization.iter().flatten().flat_map(of_organization));
    out.extend(observed.journal_rules.iter().flatten().filter_map(of_journal_rule));
    out
}

fn of_journal_rule(row: &Row) -> Option<Notice> {
    let on = row.get("Enabled") != Some(&Value::Bool(false));
    on.then(|| Notice {
        object: format!("journal rule “{}”", text(row, "Name")),
        found: format!("sends copies to {}", words(row, "JournalEmailAddress")),
        // transport.md F3.24
        advice: "a message that goes through Posthouse passes Exchange Online twice: expect it twice in the archive, and let the archive drop what has the same Message-ID",
        severity: None,
    })
}

/// Microsoft or somebody else switched it off; which of the two, only Microsoft's support knows.
fn of_our_own_way_back(row: &Row) -> Option<Notice> {
    (row.get("Enabled") == Some(&Value::Bool(false))).then(|| Notice {
        object: format!("inbound connector “{}”", inbound_connector::NAME),
        found: "is disabled: Microsoft creates it so in some new, trial and developer tenants".into(),
        advice: "try the plan; where Microsoft answers that it can't be enabled, ask Microsoft support to enable it",
        severity: None,
    })
}

fn is_ours(row: &Row, observed: &Observed, kind: &str) -> bool {
    let names: &[&str] = match kind {
        rules::KIND => &rules::NAMES,
        inbound_connector::KIND => &[inbound_connector::NAME],
        _ => &[outbound_connector::NAME],
    };
    names.iter().any(|name| observed.find(kind, name).is_some_and(|found| std::ptr::eq(found, row)))
}

fn yes(row: &Row, key: &str) -> bool {
    row.get(key) == Some(&Value::Bool(true))
}

fn words(row: &Row, key: &str) -> String {
    match row.get(key) {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Some(Value::String(one)) => one.clone(),
        _ => String::new(),
    }
}

/// Whose product a connector belongs to, by where it sends or whose certificate it takes.
fn vendor(row: &Row) -> Option<&'static str> {
    let hosts = ["SmartHosts", "TlsDomain", "TlsSenderCertificateName"].map(|key| words(row, key).to_lowercase());
    let at = |end: &str| {
        let is = |host: &str| host == end || host.ends_with(&format!(".{end}"));
        hosts.iter().flat_map(|all| all.split(", ")).any(is)
    };
    VENDORS.iter().find(|(end, _)| at(end)).map(|(_, name)| *name)
}

fn of_rules(rows: &[Row], observed: &Observed) -> Vec<Notice> {
    let mut out = Vec::new();
    let mut ours_seen = false;
    let any_of_ours = rows.iter().any(|r| is_ours(r, observed, rules::KIND));
    for row in rows {
        if is_ours(row, observed, rules::KIND) {
            ours_seen = true;
            continue;
        }
        let (name, enforced) = (text(row, "Name"), text(row, "Mode").eq_ignore_ascii_case("Enforce"));
        if rules::is_disabled(row) || !(enforced || text(row, "Mode").is_empty()) {
            continue;
        }
        let object = format!("mail flow rule “{name}”");
        let connector = text(row, "RouteMessageOutboundConnector");
        if !connector.is_empty() {
            let to = observed.outbound_connectors.as_ref().ok();
            let to = to.and_then(|all| all.iter().find(|c| text(c, "Name").eq_ignore_ascii_case(connector)));
            let takes_first = !ours_seen && any_of_ours;
            let above = if takes_first { "stands above ours and " } else { "" };
            let whose = to.and_then(vendor).map(|v| format!(", which is {v}")).unwrap_or_default();
            out.push(Notice {
                object: object.clone(),
                found: format!("{above}routes mail through the connector “{connector}”{whose}"),
                advice: "two products that route the same mail loop or skip one another: let it except mail that carries our header X-Posthouse-Pass, or retire it before everyone is routed here",
                // below ours it sees only what came back from us
                severity: takes_first.then_some(Severity::Medium),
            });
        }
        if yes(row, "StopRuleProcessing") && !ours_seen && any_of_ours {
            out.push(Notice {
                object: object.clone(),
                found: "stands above ours and stops processing: mail that it matches never reaches our rules".into(),
                advice: "move it below “Posthouse strip”, or take “stop processing more rules” off it",
                severity: Some(Severity::Medium),
            });
        }
        if row.get("SetSCL").is_some_and(|v| v == -1 || v == "-1") {
            out.push(Notice {
                object,
                found: "sets the spam confidence level to -1: Microsoft's own filter lets its mail pass".into(),
                advice: "narrow it to the senders that need it; we judge its mail all the same",
                severity: None,
            });
        }
    }
    out
}

fn of_inbound(row: &Row) -> Option<Notice> {
    let restricts = yes(row, "RestrictDomainsToCertificate") || yes(row, "RestrictDomainsToIPAddresses");
    let everybody = words(row, "SenderDomains").contains('*');
    let object = format!("inbound connector “{}”", text(row, "Name"));
    let enabled = row.get("Enabled") != Some(&Value::Bool(false));
    (enabled && text(row, "ConnectorType").eq_ignore_ascii_case("Partner") && restricts && everybody).then(|| Notice {
        object,
        found: format!(
            "accepts mail of every domain only from {}{}",
            if yes(row, "RestrictDomainsToCertificate") { "one certificate" } else { "some addresses" },
            vendor(row).map(|v| format!(" ({v})")).unwrap_or_default()
        ),
        // transport.md F1.8
        advice: "mail reaches this tenant only through that gateway. It may stay; mail that comes back from us is taken by our own connector, which is more specific. Try with a pilot group first",
        severity: None,
    })
}

/// Another way in for what comes back from us: Exchange Online attributes a session to one connector only, by its
/// certificate or its address (transport.md F1.3).
fn of_rival(row: &Row, tenant: &Tenant, settings: &Settings) -> Option<Notice> {
    if row.get("Enabled") == Some(&Value::Bool(false)) {
        return None;
    }
    let name = words(row, "TlsSenderCertificateName").to_lowercase();
    let ours = tenant.connector_domain.to_lowercase();
    let is_for_us = name == ours || name.strip_prefix("*.").is_some_and(|end| ours.ends_with(&format!(".{end}")));
    let ranges = words(row, "SenderIPAddresses");
    let by_address = settings.egress_address.filter(|ours| ranges.split(", ").any(|range| holds(range, *ours)));
    let by = match by_address {
        _ if is_for_us => format!("the name {name} in our certificate"),
        Some(address) => format!("our address {address}"),
        None => return None,
    };
    Some(Notice {
        object: format!("inbound connector “{}”", text(row, "Name")),
        found: format!("takes what comes from us, too, by {by}"),
        advice: "remove it or narrow it: what comes back from us must be taken by “Posthouse from gateway” alone",
        severity: Some(Severity::Medium),
    })
}

/// `192.0.2.1` or `192.0.2.0/24`.
fn holds(range: &str, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let (base, length) = range.trim().split_once('/').unwrap_or((range.trim(), "128"));
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let ((base, width), (address, other)) = (bits(base), bits(address));
    width == other && (length == 0 || (base ^ address).leading_zeros() >= length.min(width))
}

fn of_outbound(row: &Row) -> Vec<Notice> {
    let object = format!("outbound connector “{}”", text(row, "Name"));
    let enabled = row.get("Enabled") != Some(&Value::Bool(false));
    let mut out = Vec::new();
    if enabled && yes(row, "RouteAllMessagesViaOnPremises") {
        out.push(Notice {
            object: object.clone(),
            found: "centralized mail transport: all outbound mail leaves through servers on premises".into(),
            advice: "mail of users is checked here and then leaves through those servers; send a probe to see that it does (posthouse tenant connect)",
            severity: None,
        });
    }
    if enabled && !yes(row, "IsTransportRuleScoped") && words(row, "RecipientDomains").contains('*') {
        out.push(Notice {
            object,
            found: format!(
                "takes all mail to the outside{}",
                vendor(row).map(|v| format!(", for {v}")).unwrap_or_default()
            ),
            advice: "mail that comes back from us leaves through it, too; nothing to do unless that product also hands mail back",
            severity: None,
        });
    }
    out
}

fn of_organization(row: &Row) -> Vec<Notice> {
    let mut out = Vec::new();
    let mut add = |found: &str, advice| {
        out.push(Notice { object: "organization".into(), found: found.into(), advice, severity: None });
    };
    if yes(row, "IsDehydrated") {
        add(
            "has never been customised (dehydrated)",
            "some settings cannot be changed until Enable-OrganizationCustomization was run once; connectors and rules can",
        );
    }
    if yes(row, "RejectDirectSend") {
        add(
            "rejects direct send: unauthenticated mail from its own domains is refused",
            "mail that comes back from us is attributed to our connector and is not refused; keep it on",
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_addresses() {
        let in_range = |range: &str, address: &str| address.parse().is_ok_and(|a| holds(range, a));
        assert!(in_range("192.0.2.1", "192.0.2.1") && !in_range("192.0.2.1", "192.0.2.2"));
        assert!(in_range("192.0.2.0/24", "192.0.2.77") && !in_range("192.0.2.0/24", "192.0.3.1"));
        assert!(in_range("2001:db8::/32", "2001:db8::1") && !in_range("2001:db8::/32", "192.0.2.1"));
        assert!(!in_range("", "192.0.2.1") && !in_range("x/y", "192.0.2.1") && in_range("0.0.0.0/0", "192.0.2.1"));
    }
}
