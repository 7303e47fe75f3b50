//! Step g: three mail flow rules. Two route mail to us unless it carries our mark; the third takes the mark off, so
//! that no recipient ever sees it (transport.md 4.3, G12).

use super::Need;
use super::exchange::{COMMENT, Wanted, object};
use super::outbound_connector;
use super::permissions::EXCHANGE_APP;
use super::rule_parameters::OTHERS;
use m365::Row;
use serde_json::{Map, Value, json};
use tenant::{Direction, HEADER_PASS, HEADER_PROBE, HEADER_ROUTE, Stage, Tenant};

pub(crate) const NEEDS: &[Need] = &[Need {
    permission: EXCHANGE_APP,
    reason: "the three mail flow rules and their order",
    cmdlets: &[
        "Get-TransportRule",
        "New-TransportRule",
        "Set-TransportRule",
        "Enable-TransportRule",
        "Disable-TransportRule",
        "Remove-TransportRule",
    ],
}];

pub(crate) const KIND: &str = "TransportRule";
pub(crate) const INBOUND: &str = "Posthouse inbound";
pub(crate) const OUTBOUND: &str = "Posthouse outbound";
pub(crate) const STRIP: &str = "Posthouse strip";
/// In order of priority: the strip rule only sees what the exceptions let through.
pub(crate) const NAMES: [&str; 3] = [INBOUND, OUTBOUND, STRIP];

/// What the routing rules take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Takes<'a> {
    /// Only our own probes, by their tokens (inbound, outbound).
    Probes(&'a [String], &'a [String]),
    /// Only our own probes one way; the other as the rollout says.
    ProbesOneWay(Direction, &'a [String]),
    /// As the tenant's rollout says.
    Rollout,
}

impl Takes<'_> {
    fn tokens(&self, way: Direction) -> Option<&[String]> {
        match (self, way) {
            (Takes::Probes(tokens, _), Direction::Inbound) | (Takes::Probes(_, tokens), Direction::Outbound) => {
                Some(tokens)
            }
            (Takes::ProbesOneWay(one, tokens), way) if *one == way => Some(tokens),
            _ => None,
        }
    }
}

/// Mail from outside to a mailbox here. By recipient domain, not by `SentToScope InOrganization`, which needs an
/// authenticated session (wire.md 8.3), and not by `FromScope NotInOrganization`, which an unauthenticated spoof of
/// an own domain may escape (transport.md E2b).
pub(crate) fn inbound(tenant: &Tenant, takes: Takes<'_>) -> Wanted {
    let mut properties = routing(tenant, Direction::Inbound);
    properties.insert("RecipientDomainIs".into(), json!(tenant.domains));
    properties.insert("ExceptIfFromScope".into(), "InOrganization".into());
    let enabled = narrowed(&mut properties, tenant, Direction::Inbound, takes.tokens(Direction::Inbound));
    Wanted {
        kind: KIND,
        name: INBOUND,
        properties: nothing_else(properties),
        enabled: Some(enabled),
        why: "routes mail from outside to the gateway",
        secret: SECRET,
    }
}

/// Mail of a user here to the outside.
pub(crate) fn outbound(tenant: &Tenant, takes: Takes<'_>) -> Wanted {
    let mut properties = routing(tenant, Direction::Outbound);
    properties.insert("FromScope".into(), "InOrganization".into());
    properties.insert("SentToScope".into(), "NotInOrganization".into());
    let enabled = narrowed(&mut properties, tenant, Direction::Outbound, takes.tokens(Direction::Outbound));
    Wanted {
        kind: KIND,
        name: OUTBOUND,
        properties: nothing_else(properties),
        enabled: Some(enabled),
        why: "routes mail of the tenant's users to the gateway",
        secret: SECRET,
    }
}

/// Takes our mark off whatever still carries one: valid ones on the second pass, forged ones on internal mail.
pub(crate) fn strip() -> Wanted {
    let properties = object(json!({
        "HeaderMatchesMessageHeader": HEADER_PASS,
        "HeaderMatchesPatterns": ["."],
        "RemoveHeader": HEADER_PASS,
        "Mode": "Enforce",
        "Comments": COMMENT,
    }));
    Wanted {
        kind: KIND,
        name: STRIP,
        properties: nothing_else(properties),
        enabled: Some(true),
        why: "takes our mark off, so that no recipient sees it",
        secret: &[],
    }
}

/// Exchange takes these only together, and the half that was read as right may be an old copy's (wire.md 7.9).
const PAIRS: [[&str; 2]; 5] = [
    ["HeaderContainsMessageHeader", "HeaderContainsWords"],
    ["HeaderMatchesMessageHeader", "HeaderMatchesPatterns"],
    ["ExceptIfHeaderContainsMessageHeader", "ExceptIfHeaderContainsWords"],
    ["ExceptIfHeaderMatchesMessageHeader", "ExceptIfHeaderMatchesPatterns"],
    ["SetHeaderName", "SetHeaderValue"],
];

/// Adds the other half of what is set.
pub(crate) fn paired(parameters: &mut Row, wanted: &Row) {
    for pair in PAIRS {
        if !pair.iter().any(|key| parameters.contains_key(*key)) {
            continue;
        }
        let halves = pair.iter().filter_map(|key| Some(((*key).to_owned(), wanted.get(*key)?.clone())));
        parameters.extend(halves);
    }
}

fn nothing_else(mut properties: Map<String, Value>) -> Map<String, Value> {
    for name in OTHERS {
        properties.entry(*name).or_insert(Value::Null);
    }
    properties
}

const SECRET: &[&str] = &["SetHeaderValue", "ExceptIfHeaderMatchesPatterns"];

fn routing(tenant: &Tenant, direction: Direction) -> Map<String, Value> {
    object(json!({
        "RouteMessageOutboundConnector": outbound_connector::NAME,
        "SetHeaderName": HEADER_ROUTE,
        "SetHeaderValue": tenant.route_token(direction),
        // the loop breaker: a whole value that only this tenant's gateway can write
        "ExceptIfHeaderMatchesMessageHeader": HEADER_PASS,
        "ExceptIfHeaderMatchesPatterns": patterns(tenant, direction),
        "StopRuleProcessing": true,
        // a rule that fails must not let mail through unchecked
        "RuleErrorAction": "Defer",
        "SenderAddressLocation": "HeaderOrEnvelope",
        "SetAuditSeverity": "Low",
        "Mode": "Enforce",
        "Comments": COMMENT,
    }))
}

/// Whose mail the rule takes; true when it is to be on.
fn narrowed(
    properties: &mut Map<String, Value>,
    tenant: &Tenant,
    direction: Direction,
    probes: Option<&[String]>,
) -> bool {
    properties.insert("HeaderContainsMessageHeader".into(), probes.map_or(Value::Null, |_| HEADER_PROBE.into()));
    properties.insert("HeaderContainsWords".into(), probes.map_or(Value::Null, |tokens| json!(tokens)));
    if probes.is_some() {
        return true;
    }
    let (stage, rollout) = (tenant.rollout.of(direction), &tenant.rollout);
    let (members, others) = match direction {
        Direction::Inbound => ("SentToMemberOf", "ExceptIfSentToMemberOf"),
        Direction::Outbound => ("FromMemberOf", "ExceptIfFromMemberOf"),
    };
    if stage == Stage::Audit {
        properties.insert("Mode".into(), "Audit".into());
    }
    if stage == Stage::Pilot {
        properties.insert(members.into(), json!(rollout.pilot_groups));
    }
    if !rollout.excluded_groups.is_empty() {
        properties.insert(others.into(), json!(rollout.excluded_groups));
    }
    stage != Stage::Off && !tenant.closed.contains(&direction)
}

/// Every mark that a message on its way may carry, as patterns: everything in it is a letter, a digit, `-` or `;`, so
/// nothing needs escaping.
fn patterns(tenant: &Tenant, direction: Direction) -> Vec<String> {
    tenant.pass_marks(direction).iter().map(|mark| format!("^{mark}$")).collect()
}

pub(crate) fn all(tenant: &Tenant, takes: Takes<'_>) -> [Wanted; 3] {
    [inbound(tenant, takes), outbound(tenant, takes), strip()]
}

/// `State` is shown by Get- and set by Enable-.
pub(crate) fn is_disabled(row: &Row) -> bool {
    row.get("State").and_then(Value::as_str).is_some_and(|s| s.eq_ignore_ascii_case("Disabled"))
}

/// As a proof that did not come to its end leaves it.
pub(crate) fn takes_probes_alone(row: &Row) -> bool {
    let header = row.get("HeaderContainsMessageHeader").and_then(Value::as_str);
    header.is_some_and(|header| header.eq_ignore_ascii_case(HEADER_PROBE))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tenant::{MarkSecrets, Policy, ReturnCertificate, Rollout, Routing, Secret, TenantId};
    use uuid::Uuid;

    pub(crate) fn contoso() -> Tenant {
        Tenant {
            id: TenantId(Uuid::from_u128(7)),
            label: "contoso".into(),
            display_name: "Contoso".into(),
            initial_domain: "contoso.onmicrosoft.com".into(),
            domains: vec!["contoso.example".into(), "contoso.onmicrosoft.com".into()],
            connector_domain: "contoso.connect.example".into(),
            return_host: "contoso-example.mail.protection.outlook.com".into(),
            pass: MarkSecrets::new(Secret::new("aaaa")),
            route: MarkSecrets::new(Secret::new("bbbb")),
            certificate: ReturnCertificate { chain_pem: String::new(), key_pem: Secret::new("") },
            policy: Policy::default(),
            routing: Routing::Off,
            rollout: Rollout::default(),
            closed: Vec::new(),
        }
    }

    #[test]
    fn the_objects_in_a_tenant() {
        let tenant = contoso();
        let mut page = String::new();
        for wanted in [super::super::inbound_connector::desired(&tenant), outbound_connector::desired("gw.example")]
            .into_iter()
            .chain(all(&tenant, Takes::Rollout))
        {
            page += &format!("{} “{}”\n", wanted.kind, wanted.name);
            for (key, value) in &wanted.properties {
                page += &format!("    {key} = {value}\n");
            }
        }
        insta::assert_snapshot!(page);
    }

    #[test]
    fn the_exception_takes_exactly_our_mark() {
        let tenant = contoso();
        let wanted = inbound(&tenant, Takes::Rollout);
        let pattern = wanted.properties["ExceptIfHeaderMatchesPatterns"][0].as_str().unwrap().to_owned();
        assert_eq!(pattern, format!("^{}$", tenant.pass_mark(Direction::Inbound)));
        assert!(
            pattern.chars().all(|c| c.is_ascii_alphanumeric() || "^$;-".contains(c)),
            "{pattern} would need escaping"
        );
    }
}
