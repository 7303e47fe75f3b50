//! Pure: wished against read, as ordered changes.

use super::observe::text;
use super::{Action, Call, Change, Observed, ValueChange};
use crate::grade::{self, grade};
use crate::objects::exchange::{NEEDS_EXCHANGE, Wanted, object, value_changes};
use crate::objects::rules::{self, is_disabled};
use crate::objects::{
    application, arc_sealer, audit_config, credential, inbound_connector, outbound_connector, permissions, spoof_allow,
};
use crate::{Settings, limits};
use m365::Row;
use serde_json::{Value, json};
use store::Severity;
use tenant::{Routing, Tenant};

/// Connectors and rules, in the order in which they are set up: the way back, then the way out.
pub(crate) fn wanted(tenant: &Tenant, gateway_hostname: &str) -> Vec<Wanted> {
    let [inbound, outbound, strip] = rules::all(tenant, rules::Takes::Rollout);
    vec![inbound_connector::desired(tenant), outbound_connector::desired(gateway_hostname), strip, inbound, outbound]
}

/// Everything that differs, in the order in which it is put right.
pub(crate) fn changes(tenant: &Tenant, settings: &Settings, observed: &Observed) -> Vec<Change> {
    let mut out = application::changes(observed);
    out.extend(permissions::changes(tenant, observed));
    out.extend(audit_config::changes(observed));
    out.extend(return_certificate(tenant, observed));
    out.extend(domain(tenant, observed));
    let mut places = observed.rules.as_ref().ok().map(|rows| Places::of(rows, observed));
    let (connectors, rules): (Vec<_>, Vec<_>) =
        wanted(tenant, &settings.gateway_hostname).into_iter().partition(|w| w.kind != rules::KIND);
    out.extend(connectors.iter().flat_map(|wanted| of_one_at(wanted, observed, None)));
    out.extend(arc_sealer::changes(settings.arc_sealer.as_deref(), observed));
    out.extend(spoof_allow::changes(settings.sending_infrastructure.as_deref(), observed));
    for wanted in &rules {
        out.extend(of_one_at(wanted, observed, places.as_mut()));
    }
    out.extend(places.and_then(Places::order));
    let doubt = doubt(tenant, observed);
    for change in out.iter_mut().filter(|c| routes_mail(c)) {
        change.waits_for.clone_from(&doubt);
    }
    let dehydrated =
        "an administrator to run Enable-OrganizationCustomization once: the organization was never customised";
    for change in out.iter_mut().filter(|c| c.optional && observed.is_dehydrated()) {
        change.waits_for = Some(dehydrated.into());
    }
    out
}

/// Ours, and not in the tenant: the name in it is what Exchange Online knows, and that stays.
fn return_certificate(tenant: &Tenant, observed: &Observed) -> Option<Change> {
    let until = smtp::tls::not_after(&tenant.certificate.chain_pem)?;
    let left = until - observed.at;
    let newer = observed.issuable_until.is_some_and(|issuable| issuable > until + limits::DAY);
    let due = left < limits::RENEW_DAYS * limits::DAY;
    if !(due || observed.rotate.certificate) {
        return None;
    }
    let values = vec![ValueChange {
        name: "good until".into(),
        before: credential::date(until),
        after: observed.issuable_until.map_or(Value::Null, |_| "as long as the issuer gives".into()),
    }];
    let none = format!(
        "a renewed certificate and its key: put {0}.pem and {0}.key into the directory of certificates",
        tenant.connector_domain
    );
    Some(Change {
        waits_for: (!newer && !observed.rotate.certificate).then_some(none),
        ..Change::new(
            Action::Change,
            format!("return certificate {}", tenant.connector_domain),
            "with one that has ended Exchange Online refuses what comes back (5.7.64)",
            "nothing of Microsoft",
        )
        .of(values)
        .graded(if due { credential::expiry_severity(left) } else { Severity::Low })
        .undone_by("the name stays the same; either certificate is taken")
        .by(vec![Call::ReturnCertificate])
    })
}

/// Law: no mail is routed out while the way back is in doubt. A proof that was cut off is made again by whoever applies.
fn doubt(tenant: &Tenant, observed: &Observed) -> Option<String> {
    if tenant.routing == Routing::Off {
        return Some("the round trip to be proven by mail: posthouse tenant connect".into());
    }
    let unknown = observed.unknown();
    let way_back = unknown.iter().find(|u| u.object != "mail flow rules" && !u.optional)?;
    Some(format!("the {} to be readable: the way back is not known to be open", way_back.object))
}

/// Makes, opens or widens a way out: of a routing rule everything but its closing and what is only written on it.
pub(crate) fn routes_mail(change: &Change) -> bool {
    let routing = [rules::INBOUND, rules::OUTBOUND].iter().any(|n| change.object.contains(n));
    let opens = matches!(change.action, Action::Create | Action::Enable);
    routing && (opens || (change.action == Action::Change && change.severity > Severity::Low))
}

pub(crate) fn object_of(kind: &str, name: &str) -> String {
    format!("{} “{name}”", called(kind))
}

fn called(kind: &str) -> &'static str {
    match kind {
        "AcceptedDomain" => "accepted domain",
        inbound_connector::KIND => "inbound connector",
        outbound_connector::KIND => "outbound connector",
        _ => "mail flow rule",
    }
}

/// The connector domain ties our certificate to the tenant; mail to it must be able to leave (wire.md 8.4).
fn domain(tenant: &Tenant, observed: &Observed) -> Option<Change> {
    let name = &tenant.connector_domain;
    let row =
        observed.accepted_domains.as_ref().ok()?.iter().find(|r| text(r, "DomainName").eq_ignore_ascii_case(name));
    let wanted = object(json!({"DomainType": "InternalRelay"}));
    let values = value_changes(&wanted, &[], row.unwrap_or(&Row::new()));
    let action = if row.is_some() { Action::Change } else { Action::Create };
    let undo = if row.is_some() { "set the values of before".into() } else { format!("remove the domain {name}") };
    let needs = "Domain.ReadWrite.All, Exchange.ManageAsApp with the role Exchange Administrator";
    (!values.is_empty()).then(|| {
        Change::new(action, format!("accepted domain {name}"), "it ties our certificate to this tenant", needs)
            .of(values)
            .graded(Severity::High)
            .undone_by(undo)
            .by(vec![Call::AcceptedDomain])
            .was(row)
    })
}

/// Changes of one connector or rule.
pub(crate) fn of_one(wanted: &Wanted, observed: &Observed) -> Vec<Change> {
    let mut places = observed.rules.as_ref().ok().map(|rows| Places::of(rows, observed));
    of_one_at(wanted, observed, places.as_mut())
}

/// The order of ours alone.
pub(crate) fn order(observed: &Observed) -> Option<Change> {
    observed.rules.as_ref().ok().and_then(|rows| Places::of(rows, observed).order())
}

fn of_one_at(wanted: &Wanted, observed: &Observed, places: Option<&mut Places>) -> Vec<Change> {
    if observed.rows(wanted.kind).is_err() {
        return Vec::new();
    }
    let row = observed.find(wanted.kind, wanted.name);
    let (kind, name) = (wanted.kind, wanted.name);
    let change = |action, values: Vec<ValueChange>, undo: String, call: (String, Row)| {
        let severity = grade(action, kind, name, &values);
        Change::new(action, object_of(kind, name), wanted.why, NEEDS_EXCHANGE)
            .of(values)
            .graded(severity)
            .undone_by(undo)
            .by(vec![Call::Exchange { cmdlet: call.0, parameters: call.1 }])
            .was(row)
    };
    let Some(row) = row else {
        return vec![created(wanted, places, change)];
    };
    let mut out = Vec::new();
    let identity = row.get("Guid").cloned().unwrap_or_else(|| name.into());
    let mut values = value_changes(&wanted.properties, wanted.secret, row);
    let mut parameters: Row =
        values.iter().filter_map(|v| wanted.properties.get(&v.name).map(|p| (v.name.clone(), p.clone()))).collect();
    rules::paired(&mut parameters, &wanted.properties);
    if !text(row, "Name").eq_ignore_ascii_case(name) {
        values.insert(0, ValueChange { name: "Name".into(), before: text(row, "Name").into(), after: name.into() });
        parameters.insert("Name".into(), name.into());
    }
    if !values.is_empty() {
        parameters.insert("Identity".into(), identity.clone());
        let undo = format!("Set-{kind} with the values of before");
        out.push(change(Action::Change, values, undo, (format!("Set-{kind}"), parameters)));
    }
    if let Some(enabled) = wanted.enabled.filter(|enabled| *enabled == is_disabled(row)) {
        let state = |on: bool| if on { "Enabled" } else { "Disabled" };
        let value = ValueChange { name: "State".into(), before: state(!enabled).into(), after: state(enabled).into() };
        let (action, verb, undo) =
            if enabled { (Action::Enable, "Enable", "Disable") } else { (Action::Disable, "Disable", "Enable") };
        let parameters = object(json!({"Identity": identity, "Confirm": false}));
        out.push(change(action, vec![value], format!("{undo}-{kind}"), (format!("{verb}-{kind}"), parameters)));
    }
    // closing comes before changing what is closed, opening after
    if out.len() == 2 && out[1].action == Action::Disable {
        out.swap(0, 1);
    }
    out
}

fn created(
    wanted: &Wanted,
    places: Option<&mut Places>,
    change: impl Fn(Action, Vec<ValueChange>, String, (String, Row)) -> Change,
) -> Change {
    let shown = |(name, value): (&String, &Value)| {
        let hidden = wanted.secret.contains(&name.as_str());
        let after = if hidden { "(secret)".into() } else { value.clone() };
        ValueChange { name: name.clone(), before: Value::Null, after }
    };
    let mut parameters = wanted.properties.clone();
    parameters.retain(|_, v| !v.is_null());
    let mut values: Vec<ValueChange> = parameters.iter().map(shown).collect();
    if wanted.kind == rules::KIND {
        let place = places.map_or(0, |p| p.insert(wanted.name));
        parameters.insert("Priority".into(), place.into());
        values.push(ValueChange { name: "Priority".into(), before: Value::Null, after: place.into() });
    }
    if let Some(enabled) = wanted.enabled {
        parameters.insert("Enabled".into(), enabled.into());
        values.push(ValueChange { name: "Enabled".into(), before: Value::Null, after: enabled.into() });
    }
    parameters.insert("Name".into(), wanted.name.into());
    let undo = format!("Remove-{}", wanted.kind);
    change(Action::Create, values, undo, (format!("New-{}", wanted.kind), parameters))
}

/// Where our rules stand among all rules, now and after what the plan creates. A stranger's rule is never given a
/// number: ours are placed beside ours, or at the top.
struct Places(Vec<Option<&'static str>>);

impl Places {
    fn of(rows: &[Row], observed: &Observed) -> Places {
        let ours = |row: &Row| {
            let is = |name: &&str| observed.find(rules::KIND, name).is_some_and(|found| std::ptr::eq(found, row));
            rules::NAMES.into_iter().find(is)
        };
        Places(rows.iter().map(ours).collect())
    }
    fn at(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|n| *n == Some(name))
    }
    fn insert(&mut self, name: &'static str) -> usize {
        let own = rules::NAMES.iter().position(|n| *n == name).unwrap_or(0);
        let (before, after) = (&rules::NAMES[..own], &rules::NAMES[own + 1..]);
        let place = after.iter().find_map(|n| self.at(n));
        let place = place.or_else(|| before.iter().rev().find_map(|n| self.at(n)).map(|n| n + 1)).unwrap_or(0);
        self.0.insert(place, Some(name));
        place
    }
    /// The strip rule sees only what the exceptions of the other two let through, so it comes last.
    fn order(self) -> Option<Change> {
        let seen: Vec<&str> = self.0.iter().flatten().copied().collect();
        let wanted: Vec<&str> = rules::NAMES.into_iter().filter(|n| seen.contains(n)).collect();
        let first = self.0.iter().position(Option::is_some).unwrap_or(0);
        let call = |(n, name): (usize, &&str)| Call::Exchange {
            cmdlet: format!("Set-{}", rules::KIND),
            parameters: object(json!({"Identity": name, "Priority": first + n})),
        };
        (seen != wanted).then(|| {
            let order = vec![ValueChange { name: "Priority".into(), before: json!(seen), after: json!(wanted) }];
            let why = "the rule that takes our mark off comes after those that look for it";
            Change::new(Action::Move, "the order of our mail flow rules".into(), why, NEEDS_EXCHANGE)
                .of(order)
                .graded(grade::ORDER)
                .undone_by("Set-TransportRule with the priorities of before")
                .by(wanted.iter().enumerate().map(call).collect())
        })
    }
}
