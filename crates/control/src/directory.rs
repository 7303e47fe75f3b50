//! Step b: users, groups and mailboxes into the store. What the detectors know of people comes from here.

use crate::Result;
use crate::events::{Event, State, Step};
use crate::objects::{Need, permissions::EXCHANGE_APP};
use crate::work::Work;
use m365::Identity;
use serde_json::{Value, json};
use std::collections::HashSet;
use store::{Directory, Group, Mailbox, User};

pub(crate) const NEEDS: &[Need] = &[
    Need {
        permission: "User.Read.All",
        reason: "keeps the list of users up to date: whose name may be impersonated",
        cmdlets: &[],
    },
    Need {
        permission: "Group.Read.All",
        reason: "keeps the list of groups and their members up to date",
        cmdlets: &[],
    },
    Need { permission: EXCHANGE_APP, reason: "the list of mailboxes", cmdlets: &["Get-Mailbox"] },
];

fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().filter(|t| !t.is_empty()).map(str::to_owned)
}

/// `SMTP:a` is the primary address, `smtp:b` another, everything else is no mail address (wire.md 4.2).
fn addresses(list: &Value) -> Vec<String> {
    let mail = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    mail.filter_map(|a| a.get(..5).filter(|p| p.eq_ignore_ascii_case("smtp:")).map(|_| a[5..].to_lowercase())).collect()
}

/// Everything that Graph knows, as the administrator sees it.
pub(crate) async fn synchronise(work: &mut Work<'_>, identity: &Identity) -> Result<()> {
    work.show(Event::new(Step::Directory, State::Doing, "reading users and groups"));
    let select = "id,displayName,userPrincipalName,mail,proxyAddresses,accountEnabled,userType,assignedPlans";
    let users = work.client.graph_list(identity, &format!("users?$select={select}&$top=999")).await?;
    let mut directory = Directory { users: users.iter().filter_map(user).collect(), ..Directory::default() };
    directory.mailboxes = users.iter().filter_map(likely_mailbox).collect();
    let groups = work
        .client
        .graph_list(identity, "groups?$select=id,displayName,mail,mailEnabled,securityEnabled,groupTypes&$top=999")
        .await?;
    for (n, found) in groups.iter().enumerate() {
        let Some(id) = text(found, "id") else { continue };
        let members = work.client.graph_list(identity, &format!("groups/{id}/members?$select=id&$top=999")).await?;
        directory.groups.push(group(found, id, &members));
        if (n + 1) % 100 == 0 {
            work.show(Event::new(Step::Directory, State::Doing, format!("{} of {} groups", n + 1, groups.len())));
        }
    }
    work.store.replace_directory(identity.tenant(), &directory).await?;
    work.show(Event::new(
        Step::Directory,
        State::Done,
        format!(
            "{} users, {} of them with a mail address, {} groups",
            directory.users.len(),
            directory.mailboxes.len(),
            directory.groups.len()
        ),
    ));
    Ok(())
}

/// What Exchange says about mailboxes is final; Graph only guesses. Done as soon as Exchange takes our application.
pub(crate) async fn confirm_mailboxes(work: &mut Work<'_>, app: &Identity) -> Result<()> {
    let rows = work.client.exchange(app, "Get-Mailbox", json!({"ResultSize": "Unlimited"})).await?.rows;
    let mut directory = work.store.directory(app.tenant()).await?;
    directory.mailboxes = rows.into_iter().map(Value::Object).filter_map(|row| mailbox(&row)).collect();
    let known: HashSet<&str> = directory.users.iter().map(|u| u.id.as_str()).collect();
    let strange = directory.mailboxes.iter().filter(|m| !known.contains(m.id.as_str())).count();
    let text = format!(
        "Exchange confirms {} mailboxes{}",
        directory.mailboxes.len(),
        if strange > 0 { format!(", {strange} of them without a user") } else { String::new() }
    );
    work.store.replace_directory(app.tenant(), &directory).await?;
    work.show(Event::new(Step::Directory, State::Done, text));
    Ok(())
}

fn user(row: &Value) -> Option<User> {
    Some(User {
        id: text(row, "id")?,
        upn: text(row, "userPrincipalName")?,
        display_name: text(row, "displayName").unwrap_or_default(),
        mail: text(row, "mail").map(|m| m.to_lowercase()),
        addresses: addresses(&row["proxyAddresses"]),
        enabled: row["accountEnabled"].as_bool().unwrap_or(true),
    })
}

fn likely_mailbox(row: &Value) -> Option<Mailbox> {
    let address = text(row, "mail")?.to_lowercase();
    Some(Mailbox {
        id: text(row, "id")?,
        address,
        display_name: text(row, "displayName").unwrap_or_default(),
        kind: "Unconfirmed".into(),
        addresses: addresses(&row["proxyAddresses"]),
    })
}

fn mailbox(row: &Value) -> Option<Mailbox> {
    // the object id of the user, where there is one: it is what groups list as members
    let id = text(row, "ExternalDirectoryObjectId").or_else(|| text(row, "Guid"))?;
    Some(Mailbox {
        id,
        address: text(row, "PrimarySmtpAddress")?.to_lowercase(),
        display_name: text(row, "DisplayName").unwrap_or_default(),
        kind: text(row, "RecipientTypeDetails").unwrap_or_default(),
        addresses: addresses(&row["EmailAddresses"]),
    })
}

fn group(row: &Value, id: String, members: &[Value]) -> Group {
    let unified = row["groupTypes"].as_array().is_some_and(|t| t.iter().any(|v| v == "Unified"));
    let kind = match (unified, row["mailEnabled"].as_bool(), row["securityEnabled"].as_bool()) {
        (true, ..) => "Microsoft 365",
        (_, Some(true), Some(true)) => "mail-enabled security",
        (_, Some(true), _) => "distribution",
        _ => "security",
    };
    Group {
        id,
        display_name: text(row, "displayName").unwrap_or_default(),
        mail: text(row, "mail").map(|m| m.to_lowercase()),
        kind: kind.into(),
        members: members.iter().filter_map(|m| text(m, "id")).collect(),
    }
}
