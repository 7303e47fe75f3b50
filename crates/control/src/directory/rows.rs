//! What Graph and Exchange say about one object, as the store keeps it. A property that is not there was not told.

use serde_json::{Map, Value};
use store::{GroupChange, MICROSOFT_365_GROUP, Mailbox, Told, UserChange};

fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().filter(|t| !t.is_empty()).map(str::to_owned)
}

/// Absent is not told, `null` is cleared.
fn told<T>(row: &Value, key: &str, read: impl Fn(&Value) -> T) -> Option<T> {
    row.get(key).map(read)
}

fn lower(value: &Value) -> Option<String> {
    value.as_str().filter(|t| !t.is_empty()).map(str::to_lowercase)
}

fn plain(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// `SMTP:a` is the primary address, `smtp:b` another, everything else is no mail address (wire.md 4.2).
fn addresses(list: &Value) -> Vec<String> {
    let mail = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    mail.filter_map(|a| a.get(..5).filter(|p| p.eq_ignore_ascii_case("smtp:")).map(|_| a[5..].to_lowercase())).collect()
}

/// `changed`: deleted for now, may be restored; `deleted`: for good.
fn gone<T>(row: &Value, id: &str) -> Option<Told<T>> {
    let removed = row.get("@removed")?;
    Some(Told::Gone { id: id.to_owned(), for_good: removed["reason"].as_str() == Some("deleted") })
}

pub(super) fn user(row: &Value) -> Option<Told<UserChange>> {
    let id = text(row, "id")?;
    gone(row, &id).or(Some(Told::Changed(UserChange {
        id,
        upn: told(row, "userPrincipalName", plain),
        display_name: told(row, "displayName", plain),
        mail: told(row, "mail", lower),
        addresses: told(row, "proxyAddresses", addresses),
        enabled: row["accountEnabled"].as_bool(),
        guest: told(row, "userType", |t| t.as_str() == Some("Guest")),
    })))
}

pub(super) fn group(row: &Value) -> Option<Told<GroupChange>> {
    let id = text(row, "id")?;
    let members = |removed: bool| {
        let told = row["members@delta"].as_array().into_iter().flatten();
        told.filter(move |m| m.get("@removed").is_some() == removed).filter_map(|m| text(m, "id")).collect()
    };
    gone(row, &id).or_else(|| {
        Some(Told::Changed(GroupChange {
            id,
            display_name: told(row, "displayName", plain),
            mail: told(row, "mail", lower),
            kind: kind(row),
            members_added: members(false),
            members_removed: members(true),
        }))
    })
}

/// Told only where everything is that decides it: further parts of a large group carry its members alone.
fn kind(row: &Value) -> Option<String> {
    let (mail, security) = (row["mailEnabled"].as_bool()?, row["securityEnabled"].as_bool()?);
    let unified = row["groupTypes"].as_array().is_some_and(|t| t.iter().any(|v| v == "Unified"));
    let kind = match (unified, mail, security) {
        (true, ..) => MICROSOFT_365_GROUP,
        (_, true, true) => "mail-enabled security",
        (_, true, _) => "distribution",
        _ => "security",
    };
    Some(kind.into())
}

/// What is asked of Exchange about a mailbox: five properties of the three hundred and more that it has.
pub(super) const MAILBOX: [&str; 6] = [
    "ExternalDirectoryObjectId",
    "Guid",
    "PrimarySmtpAddress",
    "DisplayName",
    "RecipientTypeDetails",
    "EmailAddresses",
];

pub(super) fn mailbox(row: Map<String, Value>) -> Option<Mailbox> {
    let row = Value::Object(row);
    // the object id of the user, where there is one: it is what groups list as members
    let id = text(&row, "ExternalDirectoryObjectId").or_else(|| text(&row, "Guid"))?;
    Some(Mailbox {
        id,
        address: text(&row, "PrimarySmtpAddress")?.to_lowercase(),
        display_name: text(&row, "DisplayName").unwrap_or_default(),
        kind: text(&row, "RecipientTypeDetails").unwrap_or_default(),
        addresses: addresses(&row["EmailAddresses"]),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_is_not_told_and_null_is_cleared() {
        let Told::Changed(change) = user(&json!({"id": "a", "mail": null, "userType": "Guest"})).unwrap() else {
            panic!("changed");
        };
        assert_eq!((change.mail, change.display_name, change.guest), (Some(None), None, Some(true)));
        let proxies = json!(["SMTP:Ada@contoso.example", "smtp:al@contoso.example", "SIP:ada@contoso.example", "é"]);
        let Told::Changed(change) = user(&json!({"id": "a", "proxyAddresses": proxies})).unwrap() else {
            panic!("changed");
        };
        assert_eq!(change.addresses.unwrap(), ["ada@contoso.example", "al@contoso.example"]);
        assert!(user(&json!({"displayName": "nobody"})).is_none());
    }

    #[test]
    fn what_was_deleted_may_come_back_or_not() {
        let told = |reason: &str| user(&json!({"id": "a", "@removed": {"reason": reason}})).unwrap();
        assert_eq!(told("changed"), Told::Gone { id: "a".into(), for_good: false });
        assert_eq!(told("deleted"), Told::Gone { id: "a".into(), for_good: true });
    }

    #[test]
    fn further_parts_of_a_group_change_its_members_alone() {
        let members = json!([{"id": "m"}, {"id": "n", "@removed": {"reason": "deleted"}}]);
        let part = group(&json!({"id": "g", "members@delta": members})).unwrap();
        let Told::Changed(change) = part else { panic!("changed") };
        assert_eq!((change.display_name, change.kind, change.mail), (None, None, None));
        assert_eq!((change.members_added, change.members_removed), (vec!["m".into()], vec!["n".into()]));
        let whole = json!({"id": "g", "mailEnabled": true, "securityEnabled": false, "groupTypes": ["Unified"]});
        let Told::Changed(change) = group(&whole).unwrap() else { panic!("changed") };
        assert_eq!(change.kind.unwrap(), MICROSOFT_365_GROUP);
    }
}
