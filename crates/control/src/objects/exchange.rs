//! What connectors and rules have in common: read the list, compare by value.
//! Lists are always read whole and matched here: asking Exchange for one that does not exist may return all of them
//! (wire.md 8.1).

use crate::Result;
use crate::plan::ValueChange;
use crate::proof::Shown;
use crate::work::Work;
use m365::{Identity, M365Error, Row};
use serde_json::{Map, Value, json};

/// The words in every comment of ours, so that a person who finds an object knows whose it is.
pub(crate) const COMMENT: &str = "Made by Posthouse; changing it by hand stops mail or lets it pass unchecked. Remove it with: posthouse tenant disconnect";

/// The permission that every change of Exchange takes.
pub(crate) const NEEDS_EXCHANGE: &str = "Exchange.ManageAsApp with the role Exchange Administrator";

/// One object as it should be.
pub(crate) struct Wanted {
    /// `InboundConnector`, `OutboundConnector`, `TransportRule`
    pub kind: &'static str,
    pub name: &'static str,
    /// Every property that matters, with PowerShell's parameter names; `null` means unset.
    pub properties: Map<String, Value>,
    /// Rules alone: on or off. `State` is shown by Get-, set by Enable- and Disable-.
    pub enabled: Option<bool>,
    pub why: &'static str,
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

#[cfg(test)]
fn differences(values: &[ValueChange]) -> String {
    values.iter().map(|c| format!("{} is {} instead of {}", c.name, c.before, c.after)).collect::<Vec<_>>().join("; ")
}

/// Exchange quotes the value that it does not like; some of ours nobody may read.
pub(crate) fn without_secrets(mut error: M365Error, secrets: &[String]) -> M365Error {
    if let M365Error::Exchange { text, .. } = &mut error {
        for secret in secrets {
            *text = text.replace(secret, "(secret)");
        }
    }
    error
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
        let wanted = object(json!({"SetHeaderValue": "s3cret", "Mode": "Enforce"}));
        let seen = object(json!({"SetHeaderValue": "other", "Mode": "Audit"}));
        let text = differences(&value_changes(&wanted, &["SetHeaderValue"], &seen));
        assert_eq!(
            text,
            "SetHeaderValue is \"(another)\" instead of \"(secret)\"; Mode is \"Audit\" instead of \"Enforce\""
        );
        let quoting = M365Error::Exchange {
            cmdlet: "New-TransportRule".into(),
            status: 400,
            kind: String::new(),
            text: "Cannot convert value \"s3cret\"".into(),
        };
        assert!(!without_secrets(quoting, &["s3cret".into()]).to_string().contains("s3cret"));
    }
}
