//! Step g: three mail flow rules. Two route mail to us unless it carries our mark; the third takes the mark off, so
//! that no recipient ever sees it (transport.md 4.3, G12).

use super::exchange::{self, COMMENT, Wanted, object};
use super::outbound_connector;
use crate::Result;
use crate::events::Step;
use crate::work::Work;
use m365::{Identity, Row};
use serde_json::{Map, Value, json};
use tenant::{Direction, HEADER_PASS, HEADER_PROBE, HEADER_ROUTE, Tenant};

pub(crate) const KIND: &str = "TransportRule";
pub(crate) const INBOUND: &str = "Posthouse inbound";
pub(crate) const OUTBOUND: &str = "Posthouse outbound";
pub(crate) const STRIP: &str = "Posthouse strip";
/// In order of priority: the strip rule only sees what the exceptions let through.
pub(crate) const NAMES: [&str; 3] = [INBOUND, OUTBOUND, STRIP];

/// What the routing rules apply to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage<'a> {
    /// Only to our own probes, by their tokens (inbound, outbound).
    Probe(&'a str, &'a str),
    Everyone,
}

/// Mail from outside to a mailbox here. By recipient domain, not by `SentToScope InOrganization`, which needs an
/// authenticated session (wire.md 8.3), and not by `FromScope NotInOrganization`, which an unauthenticated spoof of
/// an own domain may escape (transport.md E2b).
pub(crate) fn inbound(tenant: &Tenant, stage: Stage<'_>) -> Wanted {
    let mut properties = routing(tenant, Direction::Inbound);
    properties.insert("RecipientDomainIs".into(), json!(tenant.domains));
    properties.insert("ExceptIfFromScope".into(), "InOrganization".into());
    only_probes(
        &mut properties,
        match stage {
            Stage::Probe(token, _) => Some(token),
            Stage::Everyone => None,
        },
    );
    Wanted {
        kind: KIND,
        name: INBOUND,
        properties: nothing_else(properties),
        at_creation: object(json!({"Priority": 0})),
        secret: SECRET,
    }
}

/// Mail of a user here to the outside.
pub(crate) fn outbound(tenant: &Tenant, stage: Stage<'_>) -> Wanted {
    let mut properties = routing(tenant, Direction::Outbound);
    properties.insert("FromScope".into(), "InOrganization".into());
    properties.insert("SentToScope".into(), "NotInOrganization".into());
    only_probes(
        &mut properties,
        match stage {
            Stage::Probe(_, token) => Some(token),
            Stage::Everyone => None,
        },
    );
    Wanted {
        kind: KIND,
        name: OUTBOUND,
        properties: nothing_else(properties),
        at_creation: object(json!({"Priority": 1})),
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
        "State": "Enabled",
    }));
    Wanted {
        kind: KIND,
        name: STRIP,
        properties: nothing_else(without_state(properties)),
        at_creation: object(json!({"Priority": 2})),
        secret: &[],
    }
}

/// `State` is shown by Get- but set by Enable-; it is looked at in [`ensure`].
fn without_state(mut properties: Map<String, Value>) -> Map<String, Value> {
    properties.remove("State");
    properties
}

/// What narrows a rule, or does something else to mail that it matches: whatever of these we do not set ourselves is
/// unset, whoever set it. Parameters of New-TransportRule.
const NARROWS: &[&str] = &[
    "ActivationDate",
    "DeleteMessage",
    "ExceptIfAnyOfRecipientAddressContainsWords",
    "ExceptIfAnyOfRecipientAddressMatchesPatterns",
    "ExceptIfAttachmentNameMatchesPatterns",
    "ExceptIfFrom",
    "ExceptIfFromAddressContainsWords",
    "ExceptIfFromAddressMatchesPatterns",
    "ExceptIfFromMemberOf",
    "ExceptIfFromScope",
    "ExceptIfHeaderContainsMessageHeader",
    "ExceptIfHeaderContainsWords",
    "ExceptIfMessageSizeOver",
    "ExceptIfMessageTypeMatches",
    "ExceptIfRecipientAddressContainsWords",
    "ExceptIfRecipientAddressMatchesPatterns",
    "ExceptIfRecipientDomainIs",
    "ExceptIfSCLOver",
    "ExceptIfSenderDomainIs",
    "ExceptIfSenderIpRanges",
    "ExceptIfSentTo",
    "ExceptIfSentToMemberOf",
    "ExceptIfSentToScope",
    "ExceptIfSubjectContainsWords",
    "ExceptIfSubjectMatchesPatterns",
    "ExceptIfSubjectOrBodyContainsWords",
    "ExceptIfSubjectOrBodyMatchesPatterns",
    "ExpiryDate",
    "From",
    "FromAddressContainsWords",
    "FromAddressMatchesPatterns",
    "FromMemberOf",
    "FromScope",
    "HeaderMatchesMessageHeader",
    "HeaderMatchesPatterns",
    "MessageSizeOver",
    "MessageTypeMatches",
    "Quarantine",
    "RecipientAddressContainsWords",
    "RecipientAddressMatchesPatterns",
    "RecipientDomainIs",
    "RedirectMessageTo",
    "RejectMessageReasonText",
    "SCLOver",
    "SenderDomainIs",
    "SenderIpRanges",
    "SentTo",
    "SentToMemberOf",
    "SentToScope",
    "SubjectContainsWords",
    "SubjectMatchesPatterns",
    "SubjectOrBodyContainsWords",
    "SubjectOrBodyMatchesPatterns",
];

fn nothing_else(mut properties: Map<String, Value>) -> Map<String, Value> {
    for name in NARROWS {
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
        "ExceptIfHeaderMatchesPatterns": [pattern(&tenant.pass_mark(direction))],
        "StopRuleProcessing": true,
        // a rule that fails must not let mail through unchecked
        "RuleErrorAction": "Defer",
        "SenderAddressLocation": "HeaderOrEnvelope",
        "SetAuditSeverity": "Low",
        "Mode": "Enforce",
        "Comments": COMMENT,
    }))
}

fn only_probes(properties: &mut Map<String, Value>, token: Option<&str>) {
    properties.insert("HeaderContainsMessageHeader".into(), token.map_or(Value::Null, |_| HEADER_PROBE.into()));
    properties.insert("HeaderContainsWords".into(), token.map_or(Value::Null, |t| json!([t])));
}

/// The mark as a pattern: everything in it is a letter, a digit, `-` or `;`, so nothing needs escaping.
fn pattern(mark: &str) -> String {
    format!("^{mark}$")
}

pub(crate) fn all(tenant: &Tenant, stage: Stage<'_>) -> [Wanted; 3] {
    [inbound(tenant, stage), outbound(tenant, stage), strip()]
}

/// Makes all three so and enabled. The way back (the strip rule) comes first.
pub(crate) async fn ensure(work: &mut Work<'_>, app: &Identity, tenant: &Tenant, stage: Stage<'_>) -> Result<()> {
    let [inbound, outbound, strip] = all(tenant, stage);
    for mut wanted in [strip, inbound, outbound] {
        // at its place among the rules of others: at the top, and in our order, once all are there
        wanted.at_creation.insert("Priority".into(), 0.into());
        exchange::ensure(work, app, Step::Rules, &wanted).await?;
        let seen = exchange::read(work, app, KIND, wanted.name).await?;
        if seen.is_some_and(|row| is_disabled(&row)) {
            work.client.exchange(app, "Enable-TransportRule", json!({"Identity": wanted.name})).await?;
        }
    }
    order(work, app).await
}

/// `State` is shown by Get- and set by Enable-.
pub(crate) fn is_disabled(row: &Row) -> bool {
    row.get("State").and_then(Value::as_str).is_some_and(|s| s.eq_ignore_ascii_case("Disabled"))
}

/// Where each of ours that is there stands among all rules, in the order in which ours should stand.
pub(crate) fn places(rows: &[Row]) -> Vec<(&'static str, usize)> {
    let place = |name: &'static str| rows.iter().position(|r| exchange::is_named(r, name)).map(|n| (name, n));
    NAMES.into_iter().filter_map(place).collect()
}

/// Our three stand together in our order, wherever an administrator moved the first of them.
async fn order(work: &mut Work<'_>, app: &Identity) -> Result<()> {
    let rows = work.client.exchange(app, &format!("Get-{KIND}"), json!({"ResultSize": "Unlimited"})).await?.rows;
    let places = places(&rows);
    if places.iter().map(|(_, place)| place).is_sorted() {
        return Ok(());
    }
    let first = places.iter().map(|(_, place)| *place).min().unwrap_or(0);
    for (n, name) in NAMES.iter().enumerate() {
        work.client.exchange(app, &format!("Set-{KIND}"), json!({"Identity": name, "Priority": first + n})).await?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tenant::{MarkSecrets, Policy, ReturnCertificate, Routing, Secret, TenantId};
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
        }
    }

    #[test]
    fn the_objects_in_a_tenant() {
        let tenant = contoso();
        let mut page = String::new();
        for wanted in [super::super::inbound_connector::desired(&tenant), outbound_connector::desired("gw.example")]
            .into_iter()
            .chain(all(&tenant, Stage::Everyone))
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
        let wanted = inbound(&tenant, Stage::Everyone);
        let pattern = wanted.properties["ExceptIfHeaderMatchesPatterns"][0].as_str().unwrap().to_owned();
        assert_eq!(pattern, format!("^{}$", tenant.pass_mark(Direction::Inbound)));
        assert!(
            pattern.chars().all(|c| c.is_ascii_alphanumeric() || "^$;-".contains(c)),
            "{pattern} would need escaping"
        );
    }
}
