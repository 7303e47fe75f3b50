//! People and groups that a scenario puts in, changes or takes out one by one through the control door; as an
//! administrator would in the portal, without signing in.

use crate::mailbox::Mailbox;
use crate::world::{Group, Tenant, User};
use serde_json::{Value, json};
use std::collections::HashSet;
use uuid::Uuid;

fn list(body: &Value, key: &str) -> Option<Vec<String>> {
    let list = body[key].as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_lowercase).collect())
}

/// Puts a user in, or changes the one of that `upn`: `display_name`, `new_upn`, `addresses` (the primary one first),
/// `enabled`, `mailbox_type`. Answers its id.
pub fn put_user(t: &mut Tenant, body: &Value) -> Result<Value, String> {
    let upn = body["upn"].as_str().ok_or("field `upn`: a string is expected")?.to_lowercase();
    let position = match t.users.iter().position(|u| u.upn == upn) {
        Some(position) => position,
        None => {
            let id = Uuid::new_v4();
            t.users.push(User {
                id,
                upn: upn.clone(),
                display_name: upn.clone(),
                password: String::new(),
                addresses: vec![upn.clone()],
                enabled: true,
                mailbox_type: "UserMailbox".into(),
            });
            t.mailboxes.insert(upn, Mailbox::new(t.id, id, t.hub.clone()));
            t.users.len() - 1
        }
    };
    let user = &mut t.users[position];
    let before = user.addresses.first().cloned();
    for (key, field) in
        [("display_name", &mut user.display_name), ("new_upn", &mut user.upn), ("mailbox_type", &mut user.mailbox_type)]
    {
        if let Some(text) = body[key].as_str() {
            *field = text.to_owned();
        }
    }
    user.enabled = body["enabled"].as_bool().unwrap_or(user.enabled);
    if let Some(addresses) = list(body, "addresses").filter(|a| !a.is_empty()) {
        user.addresses = addresses;
    }
    let (id, now) = (user.id, user.addresses.first().cloned());
    // a mailbox follows its primary address
    if let (Some(before), Some(now)) = (before, now)
        && before != now
        && let Some(mailbox) = t.mailboxes.remove(&before)
    {
        t.mailboxes.insert(now, mailbox);
    }
    Ok(json!({"id": id}))
}

/// Takes a user out, of every group too.
pub fn remove_user(t: &mut Tenant, upn: &str) -> Result<Value, String> {
    let user = t.users.iter().find(|u| u.upn.eq_ignore_ascii_case(upn)).map(|u| u.id).ok_or("no user is called so")?;
    t.soft_delete(user);
    Ok(json!({"id": user}))
}

/// Puts a group in, or changes the one of that `name`: `new_name`, `mail`, `kind`, `add` and `remove` (UPNs of users,
/// names of groups). Answers its id.
pub fn put_group(t: &mut Tenant, body: &Value) -> Result<Value, String> {
    let name = body["name"].as_str().ok_or("field `name`: a string is expected")?.to_owned();
    let position = match t.groups.iter().position(|g| g.display_name == name) {
        Some(position) => position,
        None => {
            let kind = "distribution".into();
            t.groups.push(Group { id: Uuid::new_v4(), display_name: name, mail: None, kind, members: Vec::new() });
            t.groups.len() - 1
        }
    };
    let named = |t: &Tenant, key: &str| -> Result<Vec<Uuid>, String> {
        let wanted = body[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        let found = wanted.map(|wanted| {
            let user = t.users.iter().find(|u| u.upn.eq_ignore_ascii_case(wanted)).map(|u| u.id);
            let group = || t.groups.iter().find(|g| g.display_name == wanted).map(|g| g.id);
            user.or_else(group).ok_or_else(|| format!("field `{key}`: nobody is called {wanted}"))
        });
        found.collect()
    };
    let (add, remove) = (named(t, "add")?, named(t, "remove")?);
    let group = &mut t.groups[position];
    if let Some(name) = body["new_name"].as_str() {
        group.display_name = name.to_owned();
    }
    if let Some(mail) = body["mail"].as_str() {
        group.mail = Some(mail.to_lowercase());
    }
    if let Some(kind) = body["kind"].as_str() {
        group.kind = kind.to_owned();
    }
    group.members.retain(|m| !remove.contains(m));
    group.members.extend(add.into_iter().collect::<HashSet<_>>());
    Ok(json!({"id": group.id}))
}

/// Takes a group out, of every other group too.
pub fn remove_group(t: &mut Tenant, name: &str) -> Result<Value, String> {
    let position = t.groups.iter().position(|g| g.display_name == name).ok_or("no group is called so")?;
    let group = t.groups.remove(position);
    t.groups.iter_mut().for_each(|g| g.members.retain(|m| *m != group.id));
    Ok(json!({"id": group.id}))
}
