//! Step d: the administrator grants our applications what the list says, after having been shown it.

use crate::events::{Event, State, Step};
use crate::objects::application::{App, MAIL_FLOW, Purpose};
use crate::objects::permissions::{EXCHANGE_ADMINISTRATOR, Permission, needed};
use crate::objects::role_group;
use crate::receipts::{Origin, receipted};
use crate::work::{Asked, Work};
use crate::{ControlError, Result, limits};
use m365::Identity;
use serde_json::{Value, json};
use std::time::Instant;
use tenant::ExchangeRights;

/// Shows, asks, grants, and waits until all of it is in effect.
pub(crate) async fn grant(
    work: &mut Work<'_>,
    admin: &Identity,
    app: &App,
    rights: ExchangeRights,
) -> Result<Identity> {
    let identity = app.identity(admin.tenant());
    give_all(work, admin, app, &MAIL_FLOW, needed(rights)).await?;
    match rights {
        ExchangeRights::Administrator => await_effect(work, &identity).await?,
        ExchangeRights::RoleGroup => role_group::ensure(work, admin, app, &identity).await?,
    }
    Ok(identity)
}

/// Those that are not granted yet, after an administrator said yes to them.
pub(crate) async fn give_all(
    work: &mut Work<'_>,
    admin: &Identity,
    app: &App,
    purpose: &Purpose,
    wanted: Vec<Permission>,
) -> Result<()> {
    let missing = missing(work, admin, app, wanted).await?;
    if missing.is_empty() {
        work.show(Event::new(Step::Permissions, State::Already, "every permission is granted"));
    } else {
        for permission in &missing {
            work.show(Event::new(Step::Permissions, State::Note, permission.to_string()));
        }
        if !work.approve(Asked::Permissions(&missing)) {
            return Err(ControlError::Refused(format!(
                "the permissions were not granted; the application “{}” exists but may do nothing, and no mail is routed. Run `posthouse tenant connect` again to grant them, or delete the application in Entra under App registrations",
                purpose.name
            )));
        }
        for permission in &missing {
            let step = format!("grant {}", permission.name);
            let object = format!("permission {}", permission.name);
            let what = give(work, admin, app, permission);
            receipted(
                work.store,
                admin.tenant(),
                Origin::CONNECT,
                &step,
                &object,
                "POST appRoleAssignedTo",
                Value::Null,
                what,
            )
            .await?;
        }
        work.show(Event::new(Step::Permissions, State::Done, format!("{} permissions granted", missing.len())));
    }
    Ok(())
}

/// A principal that was made a moment ago may not be shown yet; it has nothing then.
async fn list(work: &Work<'_>, admin: &Identity, path: &str) -> Result<Vec<Value>> {
    match work.client.graph_list(admin, path).await {
        Err(e) if e.is_absent() => Ok(Vec::new()),
        other => Ok(other?),
    }
}

async fn missing(work: &Work<'_>, admin: &Identity, app: &App, wanted: Vec<Permission>) -> Result<Vec<Permission>> {
    let principal = format!("servicePrincipals/{}", app.principal_id);
    let granted = list(work, admin, &format!("{principal}/appRoleAssignments")).await?;
    let cast = "transitiveMemberOf/microsoft.graph.directoryRole?$select=roleTemplateId";
    let roles = list(work, admin, &format!("{principal}/{cast}")).await?;
    let mut missing = Vec::new();
    for permission in wanted {
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
pub(crate) async fn make_exchange_administrator(work: &Work<'_>, admin: &Identity, app: &App) -> Result<()> {
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
pub(crate) async fn await_effect(work: &mut Work<'_>, identity: &Identity) -> Result<()> {
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
