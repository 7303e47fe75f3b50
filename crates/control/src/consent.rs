//! What signing in leaves in a tenant goes away again. The administrator consents to one permission of the public
//! client: to manage such consents. With it the sign-in lends itself what connecting needs, to her account alone, and
//! takes everything back at the end, so that the tenant has the consents that it had before.

use crate::account::DELEGATED;
use crate::events::{Event, State, Step};
use crate::receipts::{Origin, receipted};
use crate::work::Work;
use crate::{ControlError, Result, limits};
use m365::{Identity, Service, SignedIn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Instant;

/// All that the page of Microsoft's asks the administrator for. What was there before this consent cannot be read
/// before it; so this one permission counts as ours wherever the client has it.
pub(crate) const MANAGES: &str = "DelegatedPermissionGrant.ReadWrite.All";

/// What Entra writes into a grant without being asked for a permission of Graph's (OpenID Connect Core §5.4).
const OPENID: [&str; 4] = ["openid", "profile", "offline_access", "email"];

/// Where it is remembered what was lent: a run that was cut off must not take it for what was there before.
const LENT: &str = "sign-in consent";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Lent {
    client: String,
    resource: String,
    to: Vec<LentTo>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct LentTo {
    principal: String,
    permissions: Vec<String>,
    /// Id of the grant, where there was none: reads lag, and what was made a moment ago may not show yet.
    made: Option<String>,
}

fn written(lent: &Lent) -> Result<Value> {
    serde_json::to_value(lent).map_err(|e| ControlError::Refused(e.to_string()))
}

/// An oauth2PermissionGrant (Graph v1.0).
#[derive(Debug)]
struct Grant {
    id: String,
    client: String,
    resource: String,
    /// Nobody: it is for every user of the tenant.
    principal: Option<String>,
    permissions: Vec<String>,
}

impl Grant {
    fn of(value: &Value) -> Grant {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Grant {
            id: text("id"),
            client: text("clientId"),
            resource: text("resourceId"),
            principal: value["principalId"].as_str().map(str::to_owned),
            permissions: text("scope").split_whitespace().map(str::to_owned).collect(),
        }
    }
    fn has(&self, permission: &str) -> bool {
        has(&self.permissions, permission)
    }
    fn path(&self) -> String {
        format!("oauth2PermissionGrants/{}", self.id)
    }
}

fn has(permissions: &[String], one: &str) -> bool {
    permissions.iter().any(|p| p.eq_ignore_ascii_case(one))
}

/// What stays of a grant without what is ours; nothing where only what every sign-in writes would stay.
fn without(grant: &Grant, ours: &[String]) -> Vec<String> {
    let stays: Vec<String> = grant.permissions.iter().filter(|p| !has(ours, p)).cloned().collect();
    if stays.iter().all(|p| OPENID.contains(&p.as_str())) { Vec::new() } else { stays }
}

fn person(admin: &Identity) -> Result<&SignedIn> {
    match admin {
        Identity::Admin(person) => Ok(person),
        Identity::App(_) => Err(ControlError::Refused("an application cannot sign in as an administrator".into())),
    }
}

/// Those for everybody, and those for one person.
async fn grants(work: &Work<'_>, admin: &Identity, person: &str) -> Result<Vec<Grant>> {
    let mut all = Vec::new();
    for filter in ["consentType eq 'AllPrincipals'".to_owned(), format!("principalId eq '{person}'")] {
        let path = format!("oauth2PermissionGrants?$filter={filter}");
        all.extend(work.client.graph_list(admin, &path).await?.iter().map(Grant::of));
    }
    Ok(all)
}

/// The grants of the client that was signed in through, known by the permission she has just consented to; which may
/// show a little later. `None`: other clients have that permission, too, and nothing tells which is which.
async fn of_this_sign_in(work: &Work<'_>, admin: &Identity) -> Result<Option<Vec<Grant>>> {
    let person = &person(admin)?.object_id;
    let (until, mut pause) = (Instant::now() + limits::CLOSED_PATIENCE, limits::LOOK_FIRST);
    loop {
        let all = grants(work, admin, person).await?;
        let mut clients: Vec<_> = all.iter().filter(|g| g.has(MANAGES)).map(|g| (&g.client, &g.resource)).collect();
        clients.sort_unstable();
        clients.dedup();
        match clients[..] {
            [(client, resource)] => {
                let (client, resource) = (client.clone(), resource.clone());
                let ours = |g: &Grant| g.client == client && g.resource == resource;
                return Ok(Some(all.into_iter().filter(ours).collect()));
            }
            [] if Instant::now() < until => {}
            _ => return Ok(None),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}

/// Lends the sign-in what connecting needs and waits until it has it. False where it cannot be lent.
pub(crate) async fn lend(work: &mut Work<'_>, admin: &Identity) -> Result<bool> {
    let Some(grants) = of_this_sign_in(work, admin).await? else { return Ok(false) };
    let me = &person(admin)?.object_id;
    let (tenant, [first, ..]) = (admin.tenant(), &grants[..]) else { return Ok(false) };
    let there = |p: &&str| !grants.iter().any(|g| g.has(p));
    let missing: Vec<String> = DELEGATED.iter().map(|(p, _)| *p).filter(there).map(str::to_owned).collect();
    let mut lent: Lent = match work.store.step(tenant, LENT).await? {
        Some(record) => serde_json::from_value(record).unwrap_or_default(),
        None => Lent::default(),
    };
    (lent.client, lent.resource) = (first.client.clone(), first.resource.clone());
    match lent.to.iter_mut().find(|l| l.principal == *me) {
        Some(known) => known.permissions.extend(missing.iter().cloned()),
        None => lent.to.push(LentTo { principal: me.clone(), permissions: missing.clone(), made: None }),
    }
    work.store.put_step(tenant, LENT, &written(&lent)?).await?;
    if !missing.is_empty() {
        let made = give(work, admin, &grants, &missing).await?;
        if let (Some(made), Some(to)) = (made, lent.to.iter_mut().find(|l| l.principal == *me)) {
            to.made = Some(made);
            work.store.put_step(tenant, LENT, &written(&lent)?).await?;
        }
        let text = format!("for as long as this runs, and for your account alone: {}", missing.join(", "));
        work.show(Event::new(Step::SignIn, State::Note, text));
    }
    await_effect(work, admin).await?;
    Ok(true)
}

const OBJECT: &str = "consent to the sign-in client";

/// Into her own grant, or a new one; the id of that.
async fn give(work: &Work<'_>, admin: &Identity, grants: &[Grant], missing: &[String]) -> Result<Option<String>> {
    let (tenant, me) = (admin.tenant(), &person(admin)?.object_id);
    if let Some(mine) = grants.iter().find(|g| g.principal.as_ref() == Some(me)) {
        let scope = [&mine.permissions[..], missing].concat().join(" ");
        let body = json!({"scope": scope});
        let path = mine.path();
        let what = async { Ok(work.client.graph_patch(admin, &path, &body).await?) };
        let (call, prior) = ("PATCH oauth2PermissionGrants", json!({"scope": mine.permissions.join(" ")}));
        match receipted(work.store, tenant, Origin::CONNECT, LENT, OBJECT, call, prior, what).await {
            // shown still, but gone: it was taken back a moment ago
            Err(ControlError::Microsoft(e)) if e.is_absent() => {}
            other => return other.map(|_| None),
        }
    }
    let Some(one) = grants.first() else { return Ok(None) };
    let body = json!({"clientId": one.client, "consentType": "Principal", "principalId": me, "resourceId": one.resource, "scope": missing.join(" ")});
    let what = async {
        match work.client.graph_post(admin, "oauth2PermissionGrants", &body).await {
            Ok(made) => Ok(made["id"].as_str().map(str::to_owned)),
            // an earlier try made it
            Err(e) if e.is_duplicate() => Ok(None),
            Err(e) => Err(e.into()),
        }
    };
    let call = "POST oauth2PermissionGrants";
    receipted(work.store, tenant, Origin::CONNECT, LENT, OBJECT, call, Value::Null, what).await
}

/// A grant shows in tokens that are made after it has spread (wire.md 1.3).
async fn await_effect(work: &Work<'_>, admin: &Identity) -> Result<()> {
    let (until, mut pause) = (Instant::now() + limits::PROPAGATION_PATIENCE, limits::LOOK_FIRST);
    loop {
        let scopes = work.client.claims(admin, Service::Graph).await?.scopes;
        if DELEGATED.iter().all(|(permission, _)| has(&scopes, permission)) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(ControlError::Waits(
                "the sign-in does not get the permissions that it was given; run the command again".into(),
            ));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}

/// The consents as they were before the sign-in; the one by which they are managed goes last.
pub(crate) async fn take_back(work: &mut Work<'_>, admin: &Identity) -> Result<()> {
    let tenant = admin.tenant();
    let Some(record) = work.store.step(tenant, LENT).await? else { return Ok(()) };
    let lent: Lent = serde_json::from_value(record).unwrap_or_default();
    let mut grants = grants(work, admin, &person(admin)?.object_id).await?;
    for other in lent.to.iter().filter(|l| person(admin).is_ok_and(|me| me.object_id != l.principal)) {
        let path = format!("oauth2PermissionGrants?$filter=principalId eq '{}'", other.principal);
        grants.extend(work.client.graph_list(admin, &path).await?.iter().map(Grant::of));
    }
    for to in &lent.to {
        if let Some(id) = to.made.as_ref().filter(|id| !grants.iter().any(|g| g.id == **id)) {
            let (client, resource) = (lent.client.clone(), lent.resource.clone());
            let (principal, permissions) = (Some(to.principal.clone()), to.permissions.clone());
            grants.push(Grant { id: id.clone(), client, resource, principal, permissions });
        }
    }
    grants.retain(|g| g.client == lent.client && g.resource == lent.resource);
    grants.sort_by_key(|g| g.has(MANAGES));
    for grant in &grants {
        let given = lent.to.iter().filter(|l| Some(&l.principal) == grant.principal.as_ref());
        let mut ours: Vec<String> = given.flat_map(|l| l.permissions.iter().cloned()).collect();
        ours.push(MANAGES.into());
        let stays = without(grant, &ours);
        if stays == grant.permissions {
            continue;
        }
        let what = async {
            if stays.is_empty() {
                return Ok(work.client.graph_delete(admin, &grant.path()).await?);
            }
            work.client.graph_patch(admin, &grant.path(), &json!({"scope": stays.join(" ")})).await?;
            Ok(())
        };
        let call = if stays.is_empty() { "DELETE oauth2PermissionGrants" } else { "PATCH oauth2PermissionGrants" };
        let prior = json!({"scope": grant.permissions.join(" ")});
        let step = "sign-in consent taken back";
        receipted(work.store, tenant, Origin::CONNECT, step, OBJECT, call, prior, what).await?;
    }
    work.store.delete_step(tenant, LENT).await?;
    work.show(Event::new(Step::SignIn, State::Done, "the consent to the sign-in was taken back"));
    Ok(())
}

/// What a run that was cut off could not take back; only an administrator's sign-in can.
pub(crate) async fn left(work: &Work<'_>, tenant: tenant::TenantId) -> Result<Option<String>> {
    Ok(work.store.step(tenant, LENT).await?.map(|_| {
        "the consent that was given while signing in, since the last `posthouse tenant connect` did not come to its end: in Entra under Enterprise applications, Microsoft Graph Command Line Tools, Permissions".to_owned()
    }))
}
