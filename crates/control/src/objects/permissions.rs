//! Step d: what the application may do in the tenant, each with its reason, shown before it is granted.
//! docs/permissions.md is written from this list by its test.

use crate::events::{Event, State, Step};
use crate::objects::application::App;
use crate::work::Work;
use crate::{ControlError, Result, limits};
use m365::Identity;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::time::Instant;

const GRAPH: &str = "00000003-0000-0000-c000-000000000000";
const EXCHANGE: &str = "00000002-0000-0ff1-ce00-000000000000";
/// Directory role template (wire.md Appendix A).
const EXCHANGE_ADMINISTRATOR: &str = "29232cdf-9323-42fd-ade2-1d097af3e4de";

/// One thing the application may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// `Microsoft Graph`, `Office 365 Exchange Online`, or `Directory role`.
    pub resource: &'static str,
    pub name: &'static str,
    pub reason: &'static str,
    #[serde(skip)]
    app_id: &'static str,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} · {}: {}", self.resource, self.name, self.reason)
    }
}

/// The smallest set that the objects of this crate need.
pub fn needed() -> Vec<Permission> {
    let graph = |name, reason| Permission { resource: "Microsoft Graph", name, reason, app_id: GRAPH };
    vec![
        graph("User.Read.All", "keeps the list of users up to date: whose name may be impersonated"),
        graph("Group.Read.All", "keeps the list of groups and their members up to date"),
        graph("Organization.Read.All", "reads the tenant's name and domains"),
        graph(
            "Domain.ReadWrite.All",
            "adds, verifies and at the end removes the subdomain that ties our certificate to this tenant; reads the host that takes mail back",
        ),
        graph(
            "Application.ReadWrite.OwnedBy",
            "renews its own certificate, and deletes itself when the tenant is disconnected; reaches no other application",
        ),
        Permission {
            resource: "Office 365 Exchange Online",
            name: "Exchange.ManageAsApp",
            reason: "runs Exchange cmdlets: the two connectors, the three mail flow rules, the accepted domain's type, the list of mailboxes",
            app_id: EXCHANGE,
        },
        Permission {
            resource: "Directory role",
            name: "Exchange Administrator",
            reason: "Exchange takes cmdlets of an application only if it also has a directory role; this is the smallest that may change connectors and rules",
            app_id: "",
        },
    ]
}

/// Shows, asks, grants, and waits until all of it is in effect.
pub(crate) async fn grant(work: &mut Work<'_>, admin: &Identity, app: &App) -> Result<Identity> {
    let identity = app.identity(admin.tenant());
    let missing = missing(work, admin, app).await?;
    if missing.is_empty() {
        work.show(Event::new(Step::Permissions, State::Already, "every permission is granted"));
    } else {
        for permission in &missing {
            work.show(Event::new(Step::Permissions, State::Note, permission.to_string()));
        }
        if !work.approve(&missing) {
            return Err(ControlError::Refused(
                "the permissions were not granted; the application exists but may do nothing, and no mail is routed"
                    .into(),
            ));
        }
        for permission in &missing {
            give(work, admin, app, permission).await?;
        }
        work.show(Event::new(Step::Permissions, State::Done, format!("{} permissions granted", missing.len())));
    }
    await_effect(work, &identity).await?;
    Ok(identity)
}

async fn missing(work: &Work<'_>, admin: &Identity, app: &App) -> Result<Vec<Permission>> {
    let granted =
        work.client.graph_list(admin, &format!("servicePrincipals/{}/appRoleAssignments", app.principal_id)).await?;
    let roles = work
        .client
        .graph_list(
            admin,
            &format!(
                "servicePrincipals/{}/transitiveMemberOf/microsoft.graph.directoryRole?$select=roleTemplateId",
                app.principal_id
            ),
        )
        .await?;
    let mut missing = Vec::new();
    for permission in needed() {
        let there = if permission.app_id.is_empty() {
            roles
                .iter()
                .any(|r| r["roleTemplateId"].as_str().is_some_and(|id| id.eq_ignore_ascii_case(EXCHANGE_ADMINISTRATOR)))
        } else {
            let (_, role) = resource_role(work, admin, &permission).await?;
            granted.iter().any(|g| g["appRoleId"].as_str() == Some(&role))
        };
        if !there {
            missing.push(permission);
        }
    }
    Ok(missing)
}

/// The resource's service principal and the id of its role, both read: ids of roles are Microsoft's to change.
async fn resource_role(work: &Work<'_>, admin: &Identity, permission: &Permission) -> Result<(String, String)> {
    let resource = work
        .client
        .graph_get(admin, &format!("servicePrincipals(appId='{}')?$select=id,appRoles", permission.app_id))
        .await?;
    let role =
        resource["appRoles"].as_array().into_iter().flatten().find(|r| r["value"].as_str() == Some(permission.name));
    let id = |v: &Value| v["id"].as_str().map(str::to_owned);
    match (id(&resource), role.and_then(id)) {
        (Some(resource), Some(role)) => Ok((resource, role)),
        _ => Err(ControlError::Refused(format!(
            "{} does not offer the permission {} in this tenant",
            permission.resource, permission.name
        ))),
    }
}

async fn give(work: &Work<'_>, admin: &Identity, app: &App, permission: &Permission) -> Result<()> {
    if permission.app_id.is_empty() {
        return make_exchange_administrator(work, admin, app).await;
    }
    let (resource, role) = resource_role(work, admin, permission).await?;
    let body = json!({"principalId": app.principal_id, "resourceId": resource, "appRoleId": role});
    match work.client.graph_post(admin, &format!("servicePrincipals/{resource}/appRoleAssignedTo"), &body).await {
        Err(e) if !e.is_duplicate() => Err(e.into()),
        _ => Ok(()),
    }
}

/// A role that was never used in a tenant must be activated first (wire.md 3.3).
async fn make_exchange_administrator(work: &Work<'_>, admin: &Identity, app: &App) -> Result<()> {
    let path = format!("directoryRoles(roleTemplateId='{EXCHANGE_ADMINISTRATOR}')/members/$ref");
    let body = json!({"@odata.id": format!("{}/v1.0/directoryObjects/{}", work.client.cloud().graph_resource, app.principal_id)});
    let mut joined = work.client.graph_post(admin, &path, &body).await;
    if joined.as_ref().is_err_and(m365::M365Error::is_absent) {
        match work.client.graph_post(admin, "directoryRoles", &json!({"roleTemplateId": EXCHANGE_ADMINISTRATOR})).await
        {
            Err(e) if !e.is_duplicate() => return Err(e.into()),
            _ => {}
        }
        joined = work.client.graph_post(admin, &path, &body).await;
    }
    match joined {
        Err(e) if !e.is_duplicate() => Err(e.into()),
        _ => Ok(()),
    }
}

/// 401, then 403, then 200, over minutes; each look needs a new token (wire.md 7.6).
async fn await_effect(work: &mut Work<'_>, identity: &Identity) -> Result<()> {
    let (until, mut pause, mut told) = (Instant::now() + limits::PROPAGATION_PATIENCE, limits::LOOK_FIRST, false);
    loop {
        work.client.forget_tokens(identity);
        let graph = work.client.graph_list(identity, "domains").await.map(drop);
        let exchange = work.client.exchange(identity, "Get-AcceptedDomain", json!({})).await.map(drop);
        let error = match graph.and(exchange) {
            Ok(()) => {
                work.show(Event::new(Step::Permissions, State::Done, "Graph and Exchange take the application"));
                return Ok(());
            }
            Err(e) if !e.may_be_propagation() => return Err(e.into()),
            Err(e) => e,
        };
        if Instant::now() > until {
            return Err(ControlError::Waits(format!(
                "the permissions are granted but still not in effect after {} minutes ({error}); run the command again later",
                limits::PROPAGATION_PATIENCE.as_secs() / 60
            )));
        }
        if !told && pause > limits::LOOK_FIRST * 8 {
            work.show(Event::new(
                Step::Permissions,
                State::Doing,
                "waiting until Microsoft has spread the permissions; this may take up to an hour",
            ));
            told = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fmt::Write;

    #[test]
    fn the_documented_permissions_are_the_list() {
        let mut page = "# What Posthouse may do in a tenant\n\nWritten from `crates/control/src/objects/permissions.rs` by its test (`UPDATE_EXPECT=1`); do not edit.\n\n## The application “Posthouse Mail Flow”\n\nGranted once, by a Global Administrator, after having been shown this list.\n\n| of | permission | why |\n|---|---|---|\n".to_owned();
        for p in needed() {
            writeln!(page, "| {} | `{}` | {} |", p.resource, p.name, p.reason).unwrap();
        }
        page += "\n## The administrator's sign-in\n\nDelegated, through a public client, while `posthouse tenant connect` runs; the token is never written down.\n\n| permission | why |\n|---|---|\n";
        for (name, why) in crate::account::DELEGATED {
            writeln!(page, "| `{name}` | {why} |").unwrap();
        }
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/permissions.md");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), page, "run with UPDATE_EXPECT=1");
    }
}
