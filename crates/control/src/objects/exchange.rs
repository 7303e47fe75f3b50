//! What connectors and rules have in common: read the list, compare by value, create or set, remove, read again.
//! Lists are always read whole and matched here: asking Exchange for one that does not exist may return all of them
//! (wire.md 8.1).

use crate::events::{Event, State, Step};
use crate::plan::ValueChange;
use crate::proof::Shown;
use crate::work::Work;
use crate::{ControlError, Result};
use m365::{Identity, M365Error, Row};
use serde_json::{Map, Value, json};

/// The words in every comment of ours, so that a person who finds an object knows whose it is.
pub(crate) const COMMENT: &str = "Made by Posthouse; changing it by hand stops mail or lets it pass unchecked. Remove it with: posthouse tenant disconnect";

/// One object as it should be.
pub(crate) struct Wanted {
    /// `InboundConnector`, `OutboundConnector`, `TransportRule`
    pub kind: &'static str,
    pub name: &'static str,
    /// Every property that matters, with PowerShell's parameter names; `null` means unset.
    pub properties: Map<String, Value>,
    /// Properties that only New- takes.
    pub at_creation: Map<String, Value>,
    /// Values that must not be shown to anybody.
    pub secret: &'static [&'static str],
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

pub(crate) async fn read(work: &Work<'_>, app: &Identity, kind: &str, name: &str) -> Result<Option<Row>> {
    let rows = work.client.exchange(app, &format!("Get-{kind}"), json!({"ResultSize": "Unlimited"})).await?.rows;
    Ok(rows.into_iter().find(|r| is_named(r, name)))
}

/// Names are matched without case, as Exchange does.
pub(crate) fn is_named(row: &Row, name: &str) -> bool {
    row.get("Name").and_then(Value::as_str).is_some_and(|n| n.eq_ignore_ascii_case(name))
}

/// What differs; a secret shows that it does and nothing else.
pub(crate) fn value_changes(wanted: &Map<String, Value>, secret: &[&str], seen: &Row) -> Vec<ValueChange> {
    let mut out = Vec::new();
    for (name, after) in wanted {
        let before = seen.get(name).unwrap_or(&Value::Null);
        if same(after, before) {
            continue;
        }
        let (before, after) = match secret.contains(&name.as_str()) {
            true if before.is_null() => (Value::Null, "(secret)".into()),
            true => ("(another)".into(), "(secret)".into()),
            false => (before.clone(), after.clone()),
        };
        out.push(ValueChange { name: name.clone(), before, after });
    }
    out
}

/// The same in one line.
pub(crate) fn differences(wanted: &Wanted, seen: &Row) -> Vec<String> {
    let told = |c: ValueChange| {
        if wanted.secret.contains(&c.name.as_str()) {
            format!("{} differs", c.name)
        } else {
            format!("{} is {} instead of {}", c.name, c.before, c.after)
        }
    };
    value_changes(&wanted.properties, wanted.secret, seen).into_iter().map(told).collect()
}

/// Makes it so. True when something was changed.
pub(crate) async fn ensure(work: &mut Work<'_>, app: &Identity, step: Step, wanted: &Wanted) -> Result<bool> {
    let Wanted { kind, name, .. } = wanted;
    let seen = read(work, app, kind, name).await?;
    let changed = match &seen {
        None => {
            let mut parameters = wanted.properties.clone();
            parameters.retain(|_, v| !v.is_null());
            parameters.extend(wanted.at_creation.clone());
            parameters.insert("Name".into(), (*name).into());
            let made = work.client.exchange(app, &format!("New-{kind}"), parameters.into()).await;
            let answer = made.map_err(|e| without_secrets(e, wanted))?;
            for warning in answer.warnings {
                work.show(Event::new(step, State::Note, format!("Exchange warns about “{name}”: {warning}")));
            }
            true
        }
        Some(row) if differences(wanted, row).is_empty() => false,
        Some(row) => {
            work.show(Event::new(step, State::Note, format!("“{name}”: {}", differences(wanted, row).join("; "))));
            let mut parameters = wanted.properties.clone();
            parameters.retain(|key, value| !same(value, row.get(key).unwrap_or(&Value::Null)));
            parameters.insert("Identity".into(), row.get("Guid").cloned().unwrap_or_else(|| (*name).into()));
            let set = work.client.exchange(app, &format!("Set-{kind}"), parameters.into()).await;
            set.map_err(|e| without_secrets(e, wanted))?;
            true
        }
    };
    let now = read(work, app, kind, name).await?.ok_or_else(|| {
        ControlError::Waits(format!("Exchange took “{name}” but does not show it yet; run the command again later"))
    })?;
    let left = differences(wanted, &now);
    if !left.is_empty() {
        return Err(ControlError::Waits(format!("“{name}” is not as it should be: {}", left.join("; "))));
    }
    work.show(Event::new(
        step,
        if changed { State::Done } else { State::Already },
        format!("“{name}” {}", if changed { "is set up" } else { "is there" }),
    ));
    Ok(changed)
}

/// Exchange quotes the value that it does not like; some of ours nobody may read.
fn without_secrets(mut error: M365Error, wanted: &Wanted) -> M365Error {
    if let M365Error::Exchange { text, .. } = &mut error {
        for key in wanted.secret {
            let values = match wanted.properties.get(*key) {
                Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
                Some(Value::String(one)) => vec![one.as_str()],
                _ => Vec::new(),
            };
            for value in values {
                *text = text.replace(value.trim_matches(['^', '$']), "(secret)");
            }
        }
    }
    error
}

pub(crate) async fn remove(work: &Work<'_>, app: &Identity, kind: &str, name: &str) -> Result<()> {
    match work.client.exchange(app, &format!("Remove-{kind}"), json!({"Identity": name, "Confirm": false})).await {
        Err(e) if !e.is_absent() => Err(e.into()),
        _ => Ok(()),
    }
}

/// Looks whether it is gone.
pub(crate) async fn shown(work: &Work<'_>, app: &Identity, kind: &str, name: &str) -> Shown {
    match read(work, app, kind, name).await {
        Ok(None) => Shown::Absent,
        Ok(Some(row)) => Shown::StillThere { what: row.get("Guid").and_then(Value::as_str).unwrap_or(name).to_owned() },
        Err(e) => Shown::Unknown { why: e.to_string() },
    }
}

/// Exchange shows values in other forms than it takes them (wire.md 8.1): `*` as `smtp:*;1`, one value without its
/// list, unset as null, false, empty or absent, enumerations and names in another case.
fn same(wanted: &Value, seen: &Value) -> bool {
    match (wanted, seen) {
        (Value::Null | Value::Bool(false), _) => match seen {
            Value::Null | Value::Bool(false) => true,
            Value::String(s) => s.is_empty(),
            Value::Array(a) => a.is_empty(),
            _ => false,
        },
        (Value::String(w), Value::String(s)) => plain(w).eq_ignore_ascii_case(&plain(s)),
        (Value::Array(_), _) | (_, Value::Array(_)) => {
            let list = |v: &Value| {
                let mut all: Vec<String> = match v {
                    Value::Array(items) => {
                        items.iter().filter_map(Value::as_str).map(|s| plain(s).to_lowercase()).collect()
                    }
                    Value::String(s) => vec![plain(s).to_lowercase()],
                    _ => Vec::new(),
                };
                all.sort();
                all
            };
            list(wanted) == list(seen)
        }
        _ => wanted == seen,
    }
}

/// `smtp:*;1` → `*`
fn plain(text: &str) -> String {
    match text.strip_prefix("smtp:").and_then(|rest| rest.rsplit_once(';')) {
        Some((domain, cost)) if cost.chars().all(|c| c.is_ascii_digit()) => domain.to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_as_exchange_shows_them() {
        let equal = [
            (json!(["*"]), json!(["smtp:*;1"])),
            (json!(null), json!("")),
            (json!(false), json!(null)),
            (json!(["a.example", "b.example"]), json!(["B.example", "a.example"])),
            (json!(["x"]), json!("x")),
            (json!("OnPremises"), json!("onpremises")),
        ];
        for (wanted, seen) in &equal {
            assert!(same(wanted, seen), "{wanted} {seen}");
        }
        let different = [
            (json!(true), json!(false)),
            (json!(["*"]), json!(["smtp:a.example;1"])),
            (json!("a"), json!(null)),
            (json!(null), json!("a")),
            (json!(["a"]), json!([])),
        ];
        for (wanted, seen) in &different {
            assert!(!same(wanted, seen), "{wanted} {seen}");
        }
    }

    #[test]
    fn a_difference_never_shows_a_secret() {
        let wanted = Wanted {
            kind: "TransportRule",
            name: "n",
            properties: object(json!({"SetHeaderValue": "s3cret", "Mode": "Enforce"})),
            at_creation: Map::new(),
            secret: &["SetHeaderValue"],
        };
        let text = differences(&wanted, &object(json!({"SetHeaderValue": "other", "Mode": "Audit"}))).join("; ");
        let quoting = M365Error::Exchange {
            cmdlet: "New-TransportRule".into(),
            status: 400,
            kind: String::new(),
            text: "Cannot convert value \"s3cret\"".into(),
        };
        assert!(!without_secrets(quoting, &wanted).to_string().contains("s3cret"));
        assert_eq!(text, "SetHeaderValue differs; Mode is \"Audit\" instead of \"Enforce\"");
    }
}
