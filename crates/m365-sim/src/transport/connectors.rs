//! What connectors do to a header: verdicts of an earlier pass lose their name (S19–S22), the header firewall and
//! its door `CloudServicesMailEnabled` (S21, S48), enhanced filtering (S24).

use super::pipeline::Arrived;
use super::{fields, smtp_server};
use crate::world::Tenant;
use serde_json::{Map, Value};
use std::net::IpAddr;

const ORGANIZATION: &str = "X-MS-Exchange-Organization-";
const CROSS_PREMISES: &str = "X-MS-Exchange-CrossPremises-";

/// What the inbound connector of a message wants of it.
#[derive(Debug)]
pub struct Wishes {
    /// CrossPremises- fields become Organization- fields again.
    pub promote: bool,
    /// Enhanced filtering: the address of the hop before, and whether it holds for every recipient.
    pub skipped: Option<(IpAddr, bool)>,
}

fn flag(connector: &Map<String, Value>, key: &str) -> bool {
    connector.get(key) == Some(&true.into())
}

/// Q29: `promote_outside` lets the header door be open for recipients elsewhere, too.
pub fn wishes(t: &Tenant, a: &Arrived, promote_outside: bool) -> Wishes {
    let connector = t
        .inbound_connectors
        .iter()
        .find(|c| a.connector.is_some() && c.get("Name").and_then(Value::as_str) == a.connector.as_deref());
    let Some(connector) = connector else { return Wishes { promote: false, skipped: None } };
    let recipients: Vec<String> = a.envelope.recipients.iter().map(|r| r.address.to_lowercase()).collect();
    let own = recipients.iter().all(|r| t.accepted_domain(&fields::domain_of(r)).is_some());
    let users: Vec<String> = connector
        .get("EFUsers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|u| u.as_str().map(str::to_lowercase))
        .collect();
    let covered = users.is_empty() || recipients.iter().all(|r| users.contains(r));
    let before = fields::get(&a.raw, "Received").and_then(|v| address_of(&v));
    Wishes {
        promote: flag(connector, "CloudServicesMailEnabled") && (own || promote_outside),
        skipped: before.filter(|_| flag(connector, "EFSkipLastIP")).map(|ip| (ip, covered)),
    }
}

/// The address in a Received field's `from` part.
fn address_of(value: &str) -> Option<IpAddr> {
    let from = value.strip_prefix("from ")?.split(" by ").next()?;
    from.split(['(', ')', '[', ']', ' ']).find_map(|word| word.trim_start_matches("IPv6:").parse().ok())
}

/// What nobody outside may claim goes; what an earlier pass found keeps only a suffixed name.
pub fn ingress(raw: &[u8], promote: bool) -> Vec<u8> {
    let lower = |n: &str| n.to_ascii_lowercase();
    let cross = fields::all(raw).iter().any(|(n, _)| lower(n).starts_with("x-ms-exchange-crosstenant-"));
    let renamed = fields::rename(raw, |name| match lower(name).as_str() {
        "authentication-results" => Some("Authentication-Results-Original".into()),
        "x-forefront-antispam-report" => Some("X-Forefront-Antispam-Report-Untrusted".into()),
        "x-microsoft-antispam" => Some("X-Microsoft-Antispam-Untrusted".into()),
        "x-microsoft-antispam-message-info" => Some("X-Microsoft-Antispam-Message-Info-Original".into()),
        "x-ms-office365-filtering-correlation-id" => Some("X-MS-Office365-Filtering-Correlation-Id-Prvs".into()),
        n if n.starts_with("x-ms-exchange-crosspremises-") => {
            Some(if promote { format!("{ORGANIZATION}{}", &name[CROSS_PREMISES.len()..]) } else { String::new() })
        }
        n if n.starts_with("x-ms-exchange-crosstenant-")
            || n.starts_with("x-ms-exchange-organization-")
            || n.starts_with("x-ms-exchange-forest-") =>
        {
            Some(String::new())
        }
        _ => None,
    });
    if cross {
        let stripped = ("X-MS-Exchange-Transport-CrossTenantHeadersStripped".into(), smtp_server::HOST.into());
        fields::prepend(&renamed, &[stripped])
    } else {
        renamed
    }
}

/// The header firewall on the way out; a connector with `CloudServicesMailEnabled` keeps what it holds under another name.
pub fn egress(raw: &[u8], keep: bool) -> Vec<u8> {
    let out = fields::rename(raw, |name| match name.to_ascii_lowercase().as_str() {
        n if n.starts_with("x-ms-exchange-organization-") => {
            Some(if keep { format!("{CROSS_PREMISES}{}", &name[ORGANIZATION.len()..]) } else { String::new() })
        }
        n if n.starts_with("x-ms-exchange-forest-") => Some(String::new()),
        _ => None,
    });
    if keep {
        fields::prepend(&out, &[("X-OrganizationHeadersPreserved".into(), smtp_server::HOST.into())])
    } else {
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_header_firewall_has_one_door() {
        let inside = b"X-MS-Exchange-Organization-AuthAs: Internal\r\nX-MS-Exchange-Forest-A: b\r\nSubject: s\r\n\r\nx";
        let text = |raw: Vec<u8>| String::from_utf8(raw).unwrap();
        assert_eq!(text(egress(inside, false)), "Subject: s\r\n\r\nx");
        let kept = egress(inside, true);
        let host = smtp_server::HOST;
        assert_eq!(
            text(kept.clone()),
            format!(
                "X-OrganizationHeadersPreserved: {host}\r\nX-MS-Exchange-CrossPremises-AuthAs: Internal\r\nSubject: s\r\n\r\nx"
            )
        );
        let forged = [b"X-MS-Exchange-Organization-SCL: -1\r\n".as_slice(), &kept].concat();
        assert!(!text(ingress(&forged, false)).contains("Internal"));
        let promoted = text(ingress(&forged, true));
        assert!(promoted.contains("X-MS-Exchange-Organization-AuthAs: Internal") && !promoted.contains("SCL"));
    }

    #[test]
    fn the_hop_before_is_read_from_its_received_field() {
        for (field, ip) in [
            ("from a.example ([192.0.2.7]) by gw.example (Posthouse)", Some("192.0.2.7")),
            ("from a.example (2001:db8::1) by b (192.0.2.8)", Some("2001:db8::1")),
            ("from a.example ([IPv6:2001:db8::2]) by b", Some("2001:db8::2")),
            ("by b (192.0.2.9)", None),
        ] {
            assert_eq!(address_of(field), ip.map(|i| i.parse().unwrap()), "{field}");
        }
    }
}
