//! A role group of our own with only the cmdlets that we run, instead of the directory role Exchange Administrator
//! (Microsoft: "Permissions in Exchange Online", "App-only authentication … custom Exchange Online role groups").
//! It takes Exchange Administrator for some minutes to make it.

use super::application::{App, MAIL_FLOW};
use super::permissions::EXCHANGE_ADMINISTRATOR;
use crate::events::{Event, State, Step};
use crate::receipts::{Origin, receipted};
use crate::work::Work;
use crate::{ControlError, Result, grant, objects};
use m365::{Identity, M365Error};
use serde_json::{Value, json};

pub(crate) const NAME: &str = "Posthouse Mail Flow";
const DESCRIPTION: &str = "Made by Posthouse (posthouse tenant connect): the cmdlets that it runs, and no other.";

/// Which of Exchange's own roles holds a cmdlet (Get-ManagementRoleEntry "*\<cmdlet>").
const PARENTS: &[(&str, &[&str])] = &[
    (
        "Remote and Accepted Domains",
        &[
            "Get-AcceptedDomain",
            "Set-AcceptedDomain",
            "Get-InboundConnector",
            "New-InboundConnector",
            "Set-InboundConnector",
            "Remove-InboundConnector",
            "Get-OutboundConnector",
            "New-OutboundConnector",
            "Set-OutboundConnector",
            "Remove-OutboundConnector",
        ],
    ),
    (
        "Transport Rules",
        &[
            "Get-TransportRule",
            "New-TransportRule",
            "Set-TransportRule",
            "Enable-TransportRule",
            "Disable-TransportRule",
            "Remove-TransportRule",
        ],
    ),
    (
        "Transport Hygiene",
        &[
            "Get-ArcConfig",
            "Set-ArcConfig",
            "Get-TenantAllowBlockListSpoofItems",
            "New-TenantAllowBlockListSpoofItems",
            "Set-TenantAllowBlockListSpoofItems",
            "Remove-TenantAllowBlockListSpoofItems",
        ],
    ),
    ("Audit Logs", &["Get-AdminAuditLogConfig", "Set-AdminAuditLogConfig"]),
    ("Message Tracking", &["Get-MessageTraceV2", "Get-MessageTraceDetailV2"]),
    ("View-Only Recipients", &["Get-Mailbox"]),
    ("View-Only Configuration", &["Get-OrganizationConfig", "Get-JournalRule"]),
];

/// Each role of Exchange that we take from, and what of it.
pub(crate) fn roles() -> Vec<(&'static str, Vec<&'static str>)> {
    let used = objects::cmdlets();
    let of = |(parent, holds): &(&'static str, &[&'static str])| {
        (*parent, holds.iter().copied().filter(|c| used.contains(c)).collect::<Vec<_>>())
    };
    PARENTS.iter().map(of).filter(|(_, cmdlets)| !cmdlets.is_empty()).collect()
}

#[cfg(test)]
pub(crate) fn cmdlets() -> Vec<&'static str> {
    roles().into_iter().flat_map(|(_, cmdlets)| cmdlets).collect()
}

fn own_name(parent: &str) -> String {
    format!("Posthouse {parent}")
}

/// What an application may not take back by itself: the last role by which it may remove things.
pub(crate) fn left_for_an_administrator() -> Vec<String> {
    let roles = roles().into_iter().map(|(parent, _)| format!("Remove-ManagementRole \"{}\"", own_name(parent)));
    let mut all = vec![format!("Remove-RoleGroup \"{NAME}\"")];
    all.extend(roles);
    all.push(format!("Remove-ServicePrincipal \"{}\"", MAIL_FLOW.name));
    all
}

/// Until Exchange takes the application by its membership alone.
pub(crate) async fn ensure(work: &mut Work<'_>, admin: &Identity, app: &App, identity: &Identity) -> Result<()> {
    work.client.forget_tokens(identity);
    let role = has_the_directory_role(work, admin, app).await?;
    if role.is_none() && work.client.exchange(identity, "Get-AcceptedDomain", json!({})).await.is_ok() {
        work.show(Event::new(Step::Permissions, State::Already, format!("the role group “{NAME}” is there")));
        return Ok(());
    }
    work.show(Event::new(
        Step::Permissions,
        State::Doing,
        "Exchange Administrator for as long as it takes to make the role group",
    ));
    grant::make_exchange_administrator(work, admin, app).await?;
    grant::await_effect(work, identity).await?;
    let what = made(work, identity, app);
    let object = format!("role group “{NAME}”");
    let made = receipted(
        work.store,
        admin.tenant(),
        Origin::CONNECT,
        &format!("create {object}"),
        &object,
        "New-RoleGroup",
        Value::Null,
        what,
    )
    .await;
    // taken away whether it worked or not, and by the role's template: what Graph shows of members lags
    let member = format!("directoryRoles(roleTemplateId='{EXCHANGE_ADMINISTRATOR}')/members/{}/$ref", app.principal_id);
    work.client.graph_delete(admin, &member).await?;
    made?;
    grant::await_effect(work, identity).await?;
    work.show(Event::new(
        Step::Permissions,
        State::Done,
        format!("the role group “{NAME}” holds the application; Exchange Administrator is taken away again"),
    ));
    Ok(())
}

const DEHYDRATED: &str = "this organization was never customised (dehydrated) and refuses role groups; nothing of Exchange was changed and no mail is routed. Run Enable-OrganizationCustomization once, or connect with --exchange-rights administrator";

async fn has_the_directory_role(work: &Work<'_>, admin: &Identity, app: &App) -> Result<Option<String>> {
    let path = format!(
        "servicePrincipals/{}/transitiveMemberOf/microsoft.graph.directoryRole?$select=id,roleTemplateId",
        app.principal_id
    );
    let roles = match work.client.graph_list(admin, &path).await {
        Err(e) if e.is_absent() => return Ok(None),
        other => other?,
    };
    let found = roles
        .iter()
        .find(|r| r["roleTemplateId"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(EXCHANGE_ADMINISTRATOR)));
    Ok(found.and_then(|r| r["id"].as_str().map(str::to_owned)))
}

async fn made(work: &Work<'_>, identity: &Identity, app: &App) -> Result<()> {
    let run = async |cmdlet: &str, parameters: Value| -> Result<m365::Answer> {
        match work.client.exchange(identity, cmdlet, parameters).await {
            Err(e) if e.is_duplicate() => Ok(m365::Answer::default()),
            Err(M365Error::Exchange { kind, .. }) if kind == "InvalidOperationInDehydratedContextException" => {
                Err(ControlError::Waits(DEHYDRATED.into()))
            }
            other => Ok(other?),
        }
    };
    let organization = run("Get-OrganizationConfig", json!({})).await?;
    if organization.rows.iter().any(|row| row.get("IsDehydrated") == Some(&Value::Bool(true))) {
        return Err(ControlError::Waits(DEHYDRATED.into()));
    }
    let principal = json!({"AppId": app.app_id, "ObjectId": app.principal_id, "DisplayName": MAIL_FLOW.name});
    run("New-ServicePrincipal", principal).await?;
    for (parent, cmdlets) in roles() {
        let name = own_name(parent);
        run("New-ManagementRole", json!({"Name": name, "Parent": parent, "Description": DESCRIPTION})).await?;
        let entries =
            run("Get-ManagementRoleEntry", json!({"Identity": format!("{name}\\*"), "ResultSize": "Unlimited"}))
                .await?;
        let entry = |row: &m365::Row| row.get("Name").and_then(Value::as_str).map(str::to_owned);
        for other in entries.rows.iter().filter_map(entry).filter(|entry| !cmdlets.contains(&entry.as_str())) {
            run("Remove-ManagementRoleEntry", json!({"Identity": format!("{name}\\{other}"), "Confirm": false}))
                .await?;
        }
    }
    let names: Vec<String> = roles().into_iter().map(|(parent, _)| own_name(parent)).collect();
    run("New-RoleGroup", json!({"Name": NAME, "Roles": names, "Description": DESCRIPTION})).await?;
    run("Add-RoleGroupMember", json!({"Identity": NAME, "Member": app.principal_id})).await?;
    Ok(())
}
