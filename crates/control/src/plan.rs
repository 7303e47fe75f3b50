//! What would have to change so that a tenant is as it should be: read, compared, told; nothing is touched. What could
//! not be read is *unknown because …* and never taken for absent (house.md 5). Looks at what mail flow hangs on: the
//! accepted domain, both connectors, the rules and their order. Uses the application's own rights.

use crate::objects::application::App;
use crate::objects::exchange::{Wanted, is_named, object, value_changes};
use crate::objects::{inbound_connector, outbound_connector, rules};
use crate::{ControlError, Result, Settings};
use m365::{Client, Row};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt;
use store::Store;
use tenant::{Routing, Tenant, TenantId};

const NEEDS: &str = "Exchange.ManageAsApp with the role Exchange Administrator";

/// One property, before and after; a secret shows neither.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValueChange {
    pub name: String,
    pub before: Value,
    pub after: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Create,
    Change,
    Enable,
    Move,
}

#[derive(Clone, Debug, Serialize)]
pub struct Change {
    pub action: Action,
    pub object: String,
    pub values: Vec<ValueChange>,
    pub why: &'static str,
    /// The permission that it takes.
    pub needs: &'static str,
    pub undo: String,
}

/// An object that could not be read.
#[derive(Clone, Debug, Serialize)]
pub struct Unknown {
    pub object: String,
    pub because: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub tenant: TenantId,
    pub display_name: String,
    pub changes: Vec<Change>,
    pub unknown: Vec<Unknown>,
}

/// A whole list, or why it is not known; a list that was cut off is not known either.
type Seen = std::result::Result<Vec<Row>, String>;

/// Reads the tenant and compares.
pub async fn plan(id: TenantId, client: &Client, store: &Store, settings: &Settings) -> Result<Plan> {
    let tenant =
        store.tenant(id).await?.ok_or_else(|| ControlError::Refused(format!("tenant {id} is not connected")))?;
    if tenant.routing != Routing::Everyone {
        return Err(ControlError::Waits(format!(
            "connecting {} has not come to its end; run `posthouse tenant connect` again, it goes on where it stopped",
            tenant.display_name
        )));
    }
    let app = App::known(store, id).await?.map(|a| a.identity(id));
    let app = app.ok_or_else(|| ControlError::Refused("no application of ours is known in this tenant".into()))?;
    let mut seen = Vec::new();
    for kind in KINDS {
        let list = client.exchange(&app, &format!("Get-{kind}"), json!({"ResultSize": "Unlimited"})).await;
        seen.push((kind, list.map(|answer| answer.rows).map_err(|e| e.to_string())));
    }
    Ok(compare(&tenant, &settings.gateway_hostname, &seen))
}

/// In the order in which they are set up.
const KINDS: [&str; 4] = ["AcceptedDomain", inbound_connector::KIND, outbound_connector::KIND, rules::KIND];

fn compare(tenant: &Tenant, gateway_hostname: &str, seen: &[(&str, Seen)]) -> Plan {
    let [inbound, outbound, strip] = rules::all(tenant, rules::Stage::Everyone);
    let wanted = [
        (
            inbound_connector::desired(tenant),
            "Exchange Online takes mail from us for this tenant by the name in our certificate",
        ),
        (
            outbound_connector::desired(gateway_hostname),
            "the rules send mail to us through it, and to nobody who cannot show our name",
        ),
        (strip, "takes our mark off, so that no recipient sees it"),
        (inbound, "routes mail from outside to the gateway"),
        (outbound, "routes mail of the tenant's users to the gateway"),
    ];
    let mut plan =
        Plan { tenant: tenant.id, display_name: tenant.display_name.clone(), changes: Vec::new(), unknown: Vec::new() };
    for (kind, list) in seen {
        match list {
            Err(because) => {
                plan.unknown.push(Unknown { object: format!("{}s", called(kind)), because: because.clone() })
            }
            Ok(rows) if *kind == "AcceptedDomain" => plan.changes.extend(domain(tenant, rows)),
            Ok(rows) => {
                for (wanted, why) in wanted.iter().filter(|(w, _)| w.kind == *kind) {
                    plan.changes.extend(changes(wanted, why, rows));
                }
                if *kind == rules::KIND {
                    plan.changes.extend(order(rows));
                }
            }
        }
    }
    plan
}

fn called(kind: &str) -> &'static str {
    match kind {
        "AcceptedDomain" => "accepted domain",
        inbound_connector::KIND => "inbound connector",
        outbound_connector::KIND => "outbound connector",
        _ => "mail flow rule",
    }
}

fn text<'r>(row: &'r Row, key: &str) -> &'r str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The connector domain ties our certificate to the tenant; mail to it must be able to leave (wire.md 8.4).
fn domain(tenant: &Tenant, rows: &[Row]) -> Option<Change> {
    let name = &tenant.connector_domain;
    let row = rows.iter().find(|r| text(r, "DomainName").eq_ignore_ascii_case(name));
    let wanted = object(json!({"DomainType": "InternalRelay"}));
    let values = value_changes(&wanted, &[], row.unwrap_or(&Map::new()));
    (!values.is_empty()).then(|| Change {
        action: if row.is_some() { Action::Change } else { Action::Create },
        object: format!("accepted domain {name}"),
        values,
        why: "it ties our certificate to this tenant",
        needs: "Domain.ReadWrite.All, Exchange.ManageAsApp with the role Exchange Administrator",
        undo: if row.is_some() { "set the values of before".into() } else { format!("remove the domain {name}") },
    })
}

fn changes(wanted: &Wanted, why: &'static str, rows: &[Row]) -> Vec<Change> {
    let row = rows.iter().find(|r| is_named(r, wanted.name));
    let object = format!("{} “{}”", called(wanted.kind), wanted.name);
    let change = |action, values, undo: &str| Change {
        action,
        object: object.clone(),
        values,
        why,
        needs: NEEDS,
        undo: undo.to_owned(),
    };
    let Some(row) = row else {
        let shown = |name: &String, value: &Value| {
            let hidden = wanted.secret.contains(&name.as_str());
            ValueChange {
                name: name.clone(),
                before: Value::Null,
                after: if hidden { "(secret)".into() } else { value.clone() },
            }
        };
        let values = wanted.properties.iter().filter(|(_, v)| !v.is_null()).map(|(n, v)| shown(n, v)).collect();
        return vec![change(Action::Create, values, &format!("Remove-{}", wanted.kind))];
    };
    let mut out = Vec::new();
    let values = value_changes(&wanted.properties, wanted.secret, row);
    if !values.is_empty() {
        out.push(change(Action::Change, values, &format!("Set-{} with the values of before", wanted.kind)));
    }
    if rules::is_disabled(row) {
        let state = ValueChange { name: "State".into(), before: "Disabled".into(), after: "Enabled".into() };
        out.push(change(Action::Enable, vec![state], "Disable-TransportRule"));
    }
    out
}

/// The strip rule sees only what the exceptions of the other two let through, so it comes last.
fn order(rows: &[Row]) -> Option<Change> {
    let places = rules::places(rows);
    let wanted: Vec<&str> = places.iter().map(|(name, _)| *name).collect();
    let mut seen = places;
    seen.sort_by_key(|(_, place)| *place);
    let seen: Vec<&str> = seen.iter().map(|(name, _)| *name).collect();
    (seen != wanted).then(|| Change {
        action: Action::Move,
        object: "the order of our mail flow rules".into(),
        values: vec![ValueChange { name: "Priority".into(), before: json!(seen), after: json!(wanted) }],
        why: "the rule that takes our mark off comes after those that look for it",
        needs: NEEDS,
        undo: "Set-TransportRule with the priorities of before".into(),
    })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.changes.len() {
            0 if self.unknown.is_empty() => {
                writeln!(f, "{}: nothing to do, all is as it should be", self.display_name)?
            }
            0 => writeln!(f, "{}: nothing to do in what could be read", self.display_name)?,
            1 => writeln!(f, "{}: 1 change", self.display_name)?,
            n => writeln!(f, "{}: {n} changes", self.display_name)?,
        }
        for (n, change) in self.changes.iter().enumerate() {
            let action = match change.action {
                Action::Create => "create",
                Action::Change => "change",
                Action::Enable => "enable",
                Action::Move => "put right",
            };
            writeln!(f, "{:>3}. {action} {}", n + 1, change.object)?;
            for value in &change.values {
                writeln!(f, "       {}: {} → {}", value.name, value.before, value.after)?;
            }
            writeln!(f, "     why    {}", change.why)?;
            writeln!(f, "     needs  {}", change.needs)?;
            writeln!(f, "     undo   {}", change.undo)?;
        }
        for unknown in &self.unknown {
            writeln!(f, "  ?  {}: unknown because {}", unknown.object, unknown.because)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::objects::rules::tests::contoso;

    type Lists = Vec<(&'static str, Seen)>;

    /// The tenant exactly as it should be, as Exchange shows it.
    fn as_it_should_be(t: &Tenant) -> Lists {
        let row = |w: Wanted| {
            let mut row = w.properties;
            row.insert("Name".into(), w.name.into());
            row.insert("State".into(), "Enabled".into());
            row
        };
        vec![
            (
                "AcceptedDomain",
                Ok(vec![object(json!({"DomainName": t.connector_domain, "DomainType": "InternalRelay"}))]),
            ),
            (inbound_connector::KIND, Ok(vec![row(inbound_connector::desired(t))])),
            (outbound_connector::KIND, Ok(vec![row(outbound_connector::desired("gw.example"))])),
            (rules::KIND, Ok(rules::all(t, rules::Stage::Everyone).into_iter().map(row).collect())),
        ]
    }

    #[test]
    fn plans_say_what_why_and_how_back() {
        let t = contoso();
        let told = |change: &dyn Fn(&mut Lists)| {
            let mut seen = as_it_should_be(&t);
            change(&mut seen);
            compare(&t, "gw.example", &seen).to_string()
        };
        insta::assert_snapshot!("nothing to do", told(&|_| ()));
        insta::assert_snapshot!(
            "tampered rules",
            told(&|seen| {
                let rules = seen[3].1.as_mut().unwrap();
                rules[0].insert("Mode".into(), "Audit".into());
                rules[0].insert("State".into(), "Disabled".into());
                rules[1].insert("ExceptIfHeaderMatchesPatterns".into(), json!(["^forged$"]));
                rules[1].insert("ExceptIfFrom".into(), json!(["boss@contoso.example"]));
                rules.swap(1, 2);
            })
        );
        insta::assert_snapshot!(
            "half there, half unknown",
            told(&|seen| {
                seen[0].1.as_mut().unwrap()[0].insert("DomainType".into(), "Authoritative".into());
                seen[1].1 = Err("Exchange Online answered 504".into());
                seen[2].1 = Ok(Vec::new());
            })
        );
    }
}
