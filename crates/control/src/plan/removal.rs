//! Pure: what taking everything back takes, in safe order. What was there before we came is put back as it was, by the
//! oldest receipt of each object; of lists that we share with others only our own entries go.

use super::compare::object_of;
use super::observe::text;
use super::{Action, Call, Change, Observed, ValueChange};
use crate::objects::exchange::{NEEDS_EXCHANGE, Wanted};
use crate::objects::rules::is_disabled;
use crate::objects::{
    application, arc_sealer, audit_config, inbound_connector, outbound_connector, rules, spoof_allow,
};
use crate::{Settings, plan::wanted};
use m365::Row;
use serde_json::{Value, json};
use store::Receipt;
use tenant::Tenant;

/// What the receipts remember of an object before we first touched it.
pub(crate) struct Before<'r>(pub &'r [Receipt]);

impl Before<'_> {
    /// The object as it was; `None`: it was not there, or nothing is remembered.
    pub(crate) fn of(&self, object: &str) -> Option<&Row> {
        self.first(object)?.prior.as_object()
    }
    /// We changed it, or may have.
    pub(crate) fn is_touched(&self, object: &str) -> bool {
        self.first(object).is_some()
    }
    fn first(&self, object: &str) -> Option<&Receipt> {
        self.0.iter().find(|r| r.object == object && r.may_have_changed())
    }
}

pub(crate) fn removal(tenant: &Tenant, settings: &Settings, observed: &Observed, before: &Before<'_>) -> Vec<Change> {
    let wanted = wanted(tenant, &settings.gateway_hostname);
    let remove = |kind: &str, name: &str, why| {
        let wanted = wanted.iter().find(|w| w.kind == kind && w.name == name);
        gone(kind, name, why, wanted, observed, before)
    };
    let mut out: Vec<Change> =
        [rules::INBOUND, rules::OUTBOUND].into_iter().filter_map(|name| closed(name, observed)).collect();
    if rules_are_there(observed) {
        out.push(drained());
    }
    out.extend(remove(rules::KIND, rules::INBOUND, "nothing is routed by it any more"));
    out.extend(remove(rules::KIND, rules::OUTBOUND, "nothing is routed by it any more"));
    out.extend(remove(outbound_connector::KIND, outbound_connector::NAME, "no rule uses it any more"));
    out.extend(remove(rules::KIND, rules::STRIP, "mail that was on its way has come back without our mark"));
    out.extend(remove(inbound_connector::KIND, inbound_connector::NAME, "nothing comes back any more"));
    let infrastructure = settings.sending_infrastructure.as_deref();
    out.extend(spoof_allow::removal(infrastructure, observed, before));
    out.extend(arc_sealer::removal(settings.arc_sealer.as_deref(), observed, before));
    out.extend(audit_config::removal(observed, before.of(audit_config::OBJECT)));
    out.push(domain(tenant, observed));
    out.push(
        Change::new(
            Action::Remove,
            "subscription to the activity feed".into(),
            "nobody reads it any more",
            "ActivityFeed.Read",
        )
        .undone_by("posthouse tenant connect")
        .by(vec![Call::Unsubscribe])
        .optional(),
    );
    out.push(Change {
        waits_for: Some("the proof that nothing else is left".into()),
        ..Change::new(
            Action::Remove,
            format!("application “{}”, its permissions and its role", application::MAIL_FLOW.name),
            "it has nothing more to do",
            "Application.ReadWrite.OwnedBy",
        )
        .undone_by(AGAIN)
        .by(vec![Call::RemoveApplication])
    });
    out
}

const AGAIN: &str = "posthouse tenant connect sets it up again";

fn rules_are_there(observed: &Observed) -> bool {
    observed.rules.is_err()
        || [rules::INBOUND, rules::OUTBOUND].iter().any(|name| observed.find(rules::KIND, name).is_some())
}

/// The way out of one direction, unless it is seen to be closed.
fn closed(name: &'static str, observed: &Observed) -> Option<Change> {
    let row = observed.find(rules::KIND, name);
    let there = row.map_or(observed.rules.is_err(), |row| !is_disabled(row));
    let identity = identity(row, name);
    there.then(|| {
        let value = ValueChange { name: "State".into(), before: "Enabled".into(), after: "Disabled".into() };
        let call = Call::exchange("Disable-TransportRule", json!({"Identity": identity, "Confirm": false}));
        Change::new(Action::Disable, object_of(rules::KIND, name), "closes the way out", NEEDS_EXCHANGE)
            .of(vec![value])
            .undone_by("Enable-TransportRule")
            .by(vec![call])
            .was(row)
    })
}

fn drained() -> Change {
    Change::new(
        Action::Wait,
        "mail that is under way".into(),
        "a message that was routed before comes back by the connector that goes next",
        NEEDS_EXCHANGE,
    )
    .undone_by("nothing is changed")
    .by(vec![Call::Drain])
    .optional()
}

fn identity(row: Option<&Row>, name: &str) -> Value {
    row.and_then(|r| r.get("Guid").cloned()).unwrap_or_else(|| name.into())
}

/// One connector or rule: removed, or what it was before we came.
fn gone(
    kind: &str,
    name: &str,
    why: &'static str,
    wanted: Option<&Wanted>,
    observed: &Observed,
    before: &Before<'_>,
) -> Option<Change> {
    let row = observed.find(kind, name);
    if row.is_none() && observed.rows(kind).is_ok() {
        return None;
    }
    let (object, identity) = (object_of(kind, name), identity(row, name));
    if let (Some(prior), Some(wanted)) = (before.of(&object), wanted) {
        return Some(put_back(kind, object, identity, prior, wanted, row));
    }
    let call = Call::exchange(format!("Remove-{kind}"), json!({"Identity": identity, "Confirm": false}));
    Some(Change::new(Action::Remove, object, why, NEEDS_EXCHANGE).undone_by(AGAIN).by(vec![call]).was(row))
}

/// Somebody had an object of this name before: it gets its own values again.
fn put_back(kind: &str, object: String, identity: Value, prior: &Row, wanted: &Wanted, row: Option<&Row>) -> Change {
    let mut parameters: Row =
        wanted.properties.keys().map(|key| (key.clone(), prior.get(key).cloned().unwrap_or_default())).collect();
    parameters.insert("Identity".into(), identity.clone());
    let mut calls = vec![Call::Exchange { cmdlet: format!("Set-{kind}"), parameters }];
    if wanted.enabled.is_some() {
        let verb = if is_disabled(prior) { "Disable" } else { "Enable" };
        calls.push(Call::exchange(format!("{verb}-{kind}"), json!({"Identity": identity, "Confirm": false})));
    }
    Change::new(Action::Restore, object, "it was there before we came, and is as it was again", NEEDS_EXCHANGE)
        .undone_by(AGAIN)
        .by(calls)
        .was(row)
}

/// Graph may still know a domain that Exchange no longer shows; removing what is gone is a success.
fn domain(tenant: &Tenant, observed: &Observed) -> Change {
    let name = &tenant.connector_domain;
    let rows = observed.accepted_domains.as_ref().ok();
    let row = rows.and_then(|rows| rows.iter().find(|r| text(r, "DomainName").eq_ignore_ascii_case(name)));
    Change::new(
        Action::Remove,
        format!("accepted domain {name}"),
        "our certificate is no longer tied to this tenant",
        "Domain.ReadWrite.All",
    )
    .undone_by(AGAIN)
    .by(vec![Call::RemoveDomain])
    .was(row)
}
