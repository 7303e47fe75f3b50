//! Applications, service principals, consent (wire.md 3.2).

use super::{Answer, Answered, Refusal, Request};
use crate::world::{AppRoleAssignment, Application, Credential, PermissionGrant, ServicePrincipal, Tenant};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const READ: [&str; 6] = [
    "Application.Read.All",
    "Application.ReadWrite.All",
    "Application.ReadWrite.OwnedBy",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "Directory.AccessAsUser.All",
];
/// Documented (Graph, "List oauth2PermissionGrants", "Create oAuth2PermissionGrant").
const READ_GRANTS: [&str; 4] = [
    "Directory.Read.All",
    "DelegatedPermissionGrant.ReadWrite.All",
    "Directory.ReadWrite.All",
    "Directory.AccessAsUser.All",
];
const MANAGE_GRANTS: [&str; 2] = ["DelegatedPermissionGrant.ReadWrite.All", "Directory.AccessAsUser.All"];
const WRITE: [&str; 2] = ["Application.ReadWrite.All", "Directory.AccessAsUser.All"];
const OWNED: [&str; 1] = ["Application.ReadWrite.OwnedBy"];
const GRANT: [&str; 2] = ["AppRoleAssignment.ReadWrite.All", "Directory.AccessAsUser.All"];

pub fn show_application(a: &Application) -> Value {
    let mut row = Map::new();
    let keys: Vec<Value> = a.credentials.iter().filter(|c| c.certificate.is_some()).map(|c| json!({"customKeyIdentifier": null, "displayName": c.display_name, "endDateTime": date(c.end), "key": null, "keyId": c.key_id, "startDateTime": date(c.start), "type": "AsymmetricX509Cert", "usage": "Verify"})).collect();
    let secrets: Vec<Value> = a.credentials.iter().filter(|c| c.secret.is_some()).map(|c| json!({"customKeyIdentifier": null, "displayName": c.display_name, "endDateTime": date(c.end), "hint": c.secret.as_ref().map(|s| s.chars().take(3).collect::<String>()), "keyId": c.key_id, "secretText": null, "startDateTime": date(c.start)})).collect();
    let known = json!({"id": a.id, "deletedDateTime": null, "appId": a.app_id, "applicationTemplateId": null, "createdDateTime": date(a.created), "displayName": a.display_name, "description": null, "identifierUris": [], "isFallbackPublicClient": a.is_public_client, "notes": null, "publisherDomain": null, "signInAudience": a.sign_in_audience, "tags": [], "requiredResourceAccess": a.required_resource_access, "keyCredentials": keys, "passwordCredentials": secrets, "web": {"redirectUris": a.redirect_uris}});
    row.extend(known.as_object().cloned().unwrap_or_default());
    row.extend(a.other.clone());
    row.into()
}

pub fn show_principal(s: &ServicePrincipal) -> Value {
    let roles: Vec<Value> = s.app_roles.iter().map(|(id, value)| json!({"allowedMemberTypes": ["Application"], "description": value, "displayName": value, "id": id, "isEnabled": true, "origin": "Application", "value": value})).collect();
    let scopes: Vec<Value> = s.scopes.iter().map(|(id, value)| json!({"adminConsentDescription": value, "adminConsentDisplayName": value, "id": id, "isEnabled": true, "type": "Admin", "value": value})).collect();
    json!({"id": s.id, "deletedDateTime": null, "accountEnabled": s.account_enabled, "alternativeNames": [], "appDisplayName": s.display_name, "appId": s.app_id, "appRoleAssignmentRequired": false, "displayName": s.display_name, "servicePrincipalType": "Application", "servicePrincipalNames": s.names, "appRoles": roles, "oauth2PermissionScopes": scopes, "tags": []})
}

fn date(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

fn unix(text: Option<&str>) -> Option<i64> {
    text?.parse::<jiff::Timestamp>().ok().map(|t| t.as_second())
}

pub fn route(request: &Request<'_>) -> Answered {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let method = request.method.as_str();
    match (method, path.as_slice()) {
        ("GET", ["applications"]) => list_applications(request),
        ("POST", ["applications"]) => create_application(request, None),
        ("GET", ["applications", key]) => request.needs(&READ).and_then(|()| {
            request.tenant(|t| application(t, key).map(|n| Answer::Json(200, show_application(&t.applications[n]))))
        }),
        ("PATCH", ["applications", key]) => patch_application(request, key),
        ("DELETE", ["applications", key]) => delete_application(request, key),
        ("POST", ["applications", key, "addPassword"]) => add_password(request, key),
        ("POST", ["applications", key, "removePassword"]) => {
            writing(request, key)?;
            let id = request.text("keyId")?;
            request.tenant(|t| {
                let n = application(t, key)?;
                t.applications[n].credentials.retain(|c| c.secret.is_none() || c.key_id.to_string() != id);
                request.audit(t, "Update application – Certificates and secrets management", key, &Value::Null);
                Ok(Answer::Empty)
            })
        }
        ("GET", ["applications", key, "owners"]) => request.needs(&READ).and_then(|()| {
            request.tenant(|t| {
                application(t, key).map(|n| {
                    Answer::List(
                        "directoryObjects",
                        t.applications[n].owners.iter().map(|o| json!({"id": o})).collect(),
                    )
                })
            })
        }),
        ("POST", ["applications", key, "owners", "$ref"]) => add_owner(request, key),
        ("GET", ["servicePrincipals"]) => list_principals(request),
        ("POST", ["servicePrincipals"]) => create_principal(request),
        ("GET", ["servicePrincipals", key]) => request.needs(&READ).and_then(|()| {
            request.tenant(|t| principal(t, key).map(|n| Answer::Json(200, show_principal(&t.service_principals[n]))))
        }),
        ("PATCH", ["servicePrincipals", key]) => {
            request.needs(&WRITE)?;
            request.tenant(|t| {
                let n = principal(t, key)?;
                if let Some(enabled) = request.body["accountEnabled"].as_bool() {
                    t.service_principals[n].account_enabled = enabled;
                }
                request.audit(t, "Update service principal", key, &request.body);
                Ok(Answer::Empty)
            })
        }
        ("DELETE", ["servicePrincipals", key]) => delete_principal(request, key),
        ("GET", ["servicePrincipals", key, "appRoleAssignments"]) => {
            request.needs(&READ).and_then(|()| assignments(request, key, |a, id| a.principal == id))
        }
        ("GET", ["servicePrincipals", key, "appRoleAssignedTo"]) => {
            request.needs(&READ).and_then(|()| assignments(request, key, |a, id| a.resource == id))
        }
        ("POST", ["servicePrincipals", key, "appRoleAssignedTo" | "appRoleAssignments"]) => assign(request, key),
        ("DELETE", ["servicePrincipals", _, "appRoleAssignedTo" | "appRoleAssignments", id]) => {
            request.needs(&GRANT)?;
            request.tenant(|t| {
                let n =
                    t.app_role_assignments.iter().position(|a| a.id == **id).ok_or_else(|| Refusal::not_found(id))?;
                let gone = t.app_role_assignments.remove(n);
                let (client, facts) = (gone.principal.to_string(), audited(t, &gone));
                request.audit(t, "Remove app role assignment from service principal", &client, &facts);
                Ok(Answer::Empty)
            })
        }
        ("GET", ["servicePrincipals", key, "transitiveMemberOf" | "memberOf", ..]) => {
            request.needs(&READ)?;
            request.tenant(|t| {
                let n = principal(t, key)?;
                let id = t.service_principals[n].id;
                Ok(Answer::List(
                    "directoryObjects",
                    t.directory_roles
                        .iter()
                        .filter(|r| r.members.iter().any(|(m, _)| *m == id))
                        .map(super::roles::show_role)
                        .collect(),
                ))
            })
        }
        ("GET", ["servicePrincipals", key, "oauth2PermissionGrants"]) => {
            request.needs(&READ)?;
            request.tenant(|t| {
                let n = principal(t, key)?;
                let id = t.service_principals[n].id;
                Ok(Answer::List(
                    "oauth2PermissionGrants",
                    t.permission_grants.iter().filter(|g| g.client == id).map(show_grant).collect(),
                ))
            })
        }
        ("GET", ["oauth2PermissionGrants"]) => {
            request.needs(&READ_GRANTS)?;
            request.tenant(|t| {
                Ok(Answer::List("oauth2PermissionGrants", t.permission_grants.iter().map(show_grant).collect()))
            })
        }
        ("POST", ["oauth2PermissionGrants"]) => grant(request),
        ("PATCH", ["oauth2PermissionGrants", id]) => {
            request.needs(&MANAGE_GRANTS)?;
            let scope = request.text("scope")?;
            request.tenant(|t| {
                let found = t.permission_grants.iter_mut().find(|g| g.id == **id);
                let grant = found.ok_or_else(|| Refusal::not_found(id))?;
                grant.scope = scope;
                let (client, shown) = (grant.client.to_string(), show_grant(grant));
                request.audit(t, "Add delegated permission grant", &client, &shown);
                Ok(Answer::Empty)
            })
        }
        ("DELETE", ["oauth2PermissionGrants", id]) => {
            request.needs(&MANAGE_GRANTS)?;
            request.tenant(|t| {
                let n = t.permission_grants.iter().position(|g| g.id == **id).ok_or_else(|| Refusal::not_found(id))?;
                let gone = t.permission_grants.remove(n);
                let client = gone.client.to_string();
                request.audit(t, "Remove delegated permission grant", &client, &show_grant(&gone));
                Ok(Answer::Empty)
            })
        }
        _ => Err(Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{}'.", path.join("/")))),
    }
}

/// By object id, `appId='…'` or `uniqueName='…'`.
fn application(t: &Tenant, key: &str) -> Result<usize, Refusal> {
    let is = |a: &Application| match key.split_once('=') {
        Some(("appId", id)) => a.app_id.to_string() == id,
        Some(("uniqueName", name)) => a.other.get("uniqueName").and_then(Value::as_str) == Some(name),
        _ => a.id.to_string() == key,
    };
    t.applications.iter().position(is).ok_or_else(|| Refusal::not_found(key))
}

fn principal(t: &Tenant, key: &str) -> Result<usize, Refusal> {
    let app_id = key.strip_prefix("appId=");
    t.service_principals
        .iter()
        .position(|s| app_id.map_or(s.id.to_string() == key, |id| s.app_id.to_string() == id))
        .ok_or_else(|| Refusal::not_found(key))
}

/// Application.ReadWrite.OwnedBy reaches only what the calling service principal owns (documented).
fn writing(request: &Request<'_>, key: &str) -> Result<(), Refusal> {
    if request.caller.may(&WRITE) {
        return Ok(());
    }
    request.needs(&OWNED)?;
    let own = request
        .tenant(|t| application(t, key).map(|n| t.applications[n].owners.contains(&request.caller.object_id)))?;
    if own {
        Ok(())
    } else {
        Err(Refusal::new(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."))
    }
}

fn list_applications(request: &Request<'_>) -> Answered {
    request.needs(&READ)?;
    request.tenant(|t| Ok(Answer::List("applications", t.applications.iter().map(show_application).collect())))
}

fn list_principals(request: &Request<'_>) -> Answered {
    request.needs(&READ)?;
    request.tenant(|t| Ok(Answer::List("servicePrincipals", t.service_principals.iter().map(show_principal).collect())))
}

fn certificates(request: &Request<'_>, keys: &Value) -> Result<Vec<Credential>, Refusal> {
    let bad = |why: &str| Refusal::bad(format!("Key credential end date or value is invalid: {why}"));
    keys.as_array()
        .into_iter()
        .flatten()
        .map(|key| {
            let der = key["key"]
                .as_str()
                .and_then(|k| STANDARD.decode(k).ok())
                .ok_or_else(|| bad("'key' is expected to be the base64 of a DER certificate"))?;
            let (_, parsed) =
                x509_parser::parse_x509_certificate(&der).map_err(|_| bad("the certificate cannot be read"))?;
            let (start, end) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
            Ok(Credential {
                key_id: Uuid::new_v4(),
                display_name: key["displayName"].as_str().unwrap_or_default().into(),
                certificate: Some(der.clone()),
                secret: None,
                start,
                end: unix(key["endDateTime"].as_str()).unwrap_or(end),
                usable_from: request.now() + request.delays.key,
            })
        })
        .collect()
}

fn create_application(request: &Request<'_>, unique_name: Option<&str>) -> Answered {
    request.needs(&[WRITE.as_slice(), OWNED.as_slice()].concat())?;
    let display_name = request.text("displayName")?;
    if request.body.get("passwordCredentials").and_then(Value::as_array).is_some_and(|p| !p.is_empty()) {
        return Err(Refusal::bad("New password credentials must be generated with service actions."));
    }
    let credentials = certificates(request, &request.body["keyCredentials"])?;
    let mut other: Map<String, Value> = request
        .body
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(k, _)| {
            matches!(
                k.as_str(),
                "notes" | "tags" | "description" | "info" | "serviceManagementReference" | "publicClient"
            )
        })
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    other.extend(unique_name.map(|name| ("uniqueName".to_owned(), name.into())));
    let redirects = request.body["web"]["redirectUris"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|u| u.as_str().map(str::to_owned))
        .collect();
    let application = Application {
        id: Uuid::new_v4(),
        app_id: Uuid::new_v4(),
        display_name,
        sign_in_audience: request.body["signInAudience"]
            .as_str()
            .unwrap_or("AzureADandPersonalMicrosoftAccount")
            .into(),
        required_resource_access: if request.body["requiredResourceAccess"].is_array() {
            request.body["requiredResourceAccess"].clone()
        } else {
            json!([])
        },
        redirect_uris: redirects,
        is_public_client: request.body["isFallbackPublicClient"].as_bool().unwrap_or(false),
        credentials,
        created: request.now(),
        owners: vec![request.caller.object_id],
        other,
    };
    request.tenant(|t| {
        let shown = show_application(&application);
        let id = application.id.to_string();
        t.applications.push(application);
        request.audit(t, "Add application", &id, &request.body);
        Ok(Answer::Json(201, shown))
    })
}

fn add_owner(request: &Request<'_>, key: &str) -> Answered {
    writing(request, key)?;
    let id = request.text("@odata.id")?;
    let owner: Uuid = id
        .rsplit('/')
        .next()
        .and_then(|s| s.parse().ok())
        .ok_or_else(|| Refusal::bad("Invalid URL in '@odata.id'."))?;
    request.tenant(|t| {
        let n = application(t, key)?;
        if t.users.by_id(owner).is_none() && !t.service_principals.iter().any(|s| s.id == owner) {
            return Err(Refusal::not_found(&owner.to_string()));
        }
        if t.applications[n].owners.contains(&owner) {
            return Err(Refusal::bad(
                "One or more added object references already exist for the following modified properties: 'owners'.",
            ));
        }
        t.applications[n].owners.push(owner);
        request.audit(t, "Add owner to application", key, &request.body);
        Ok(Answer::Empty)
    })
}

/// Documented: PATCH by a unique name creates what is not there if the caller prefers so (Graph, "Upsert application").
fn patch_application(request: &Request<'_>, key: &str) -> Answered {
    let missing = request.tenant(|t| Ok(application(t, key).is_err()))?;
    if let Some(name) =
        key.strip_prefix("uniqueName=").filter(|_| missing && request.prefer.contains("create-if-missing"))
    {
        return create_application(request, Some(name));
    }
    writing(request, key)?;
    let credentials = if request.body["keyCredentials"].is_array() {
        Some(certificates(request, &request.body["keyCredentials"])?)
    } else {
        None
    };
    request.tenant(|t| {
        let n = application(t, key)?;
        let a = &mut t.applications[n];
        if let Some(new) = credentials {
            // the list is replaced as a whole; secrets live in another list
            a.credentials.retain(|c| c.secret.is_some());
            a.credentials.extend(new);
        }
        if let Some(name) = request.body["displayName"].as_str() {
            a.display_name = name.into();
        }
        if request.body["requiredResourceAccess"].is_array() {
            a.required_resource_access = request.body["requiredResourceAccess"].clone();
        }
        for name in ["notes", "tags", "description"] {
            if let Some(value) = request.body.get(name) {
                a.other.insert(name.into(), value.clone());
            }
        }
        request.audit(t, "Update application", key, &request.body);
        Ok(Answer::Empty)
    })
}

fn add_password(request: &Request<'_>, key: &str) -> Answered {
    writing(request, key)?;
    let wish = &request.body["passwordCredential"];
    let (start, end) = (request.now(), unix(wish["endDateTime"].as_str()).unwrap_or(request.now() + 2 * 365 * 86_400));
    let secret = format!("sim~{}", Uuid::new_v4().simple());
    let credential = Credential {
        key_id: Uuid::new_v4(),
        display_name: wish["displayName"].as_str().unwrap_or_default().into(),
        certificate: None,
        secret: Some(secret.clone()),
        start,
        end,
        usable_from: start,
    };
    request.tenant(|t| {
        let n = application(t, key)?;
        let shown = json!({"customKeyIdentifier": null, "displayName": credential.display_name, "endDateTime": date(end), "hint": &secret[..3], "keyId": credential.key_id, "secretText": secret, "startDateTime": date(start)});
        t.applications[n].credentials.push(credential);
        request.audit(t, "Update application – Certificates and secrets management", key, &Value::Null);
        Ok(Answer::Json(200, shown))
    })
}

fn forget_principal(t: &mut Tenant, id: Uuid) {
    t.service_principals.retain(|s| s.id != id);
    t.app_role_assignments.retain(|a| a.principal != id && a.resource != id);
    t.permission_grants.retain(|g| g.client != id && g.resource != id);
    for role in &mut t.directory_roles {
        role.members.retain(|(m, _)| *m != id);
    }
}

fn delete_application(request: &Request<'_>, key: &str) -> Answered {
    writing(request, key)?;
    request.tenant(|t| {
        let n = application(t, key)?;
        let gone = t.applications.remove(n);
        let app_id = gone.app_id;
        if let Some(id) = t.service_principals.iter().find(|s| s.app_id == app_id).map(|s| s.id) {
            forget_principal(t, id);
            let named = json!({"displayName": gone.display_name, "appId": app_id});
            request.audit(t, "Remove service principal", &id.to_string(), &named);
        }
        let named = json!({"displayName": gone.display_name, "appId": app_id});
        request.audit(t, "Delete application", &gone.id.to_string(), &named);
        Ok(Answer::Empty)
    })
}

fn delete_principal(request: &Request<'_>, key: &str) -> Answered {
    let own = request.caller.may(&OWNED)
        && request.tenant(|t| principal(t, key).map(|n| t.service_principals[n].app_id))? == request.caller.app_id;
    if !own {
        request.needs(&WRITE)?;
    }
    request.tenant(|t| {
        let n = principal(t, key)?;
        let gone = t.service_principals[n].clone();
        forget_principal(t, gone.id);
        let named = json!({"displayName": gone.display_name, "appId": gone.app_id});
        request.audit(t, "Remove service principal", &gone.id.to_string(), &named);
        Ok(Answer::Empty)
    })
}

fn create_principal(request: &Request<'_>) -> Answered {
    request.needs(&[WRITE.as_slice(), OWNED.as_slice()].concat())?;
    let app_id: Uuid = request
        .text("appId")?
        .parse()
        .map_err(|_| Refusal::bad("Invalid value specified for property 'appId' of resource 'ServicePrincipal'."))?;
    let visible_from = request.now() + request.delays.consent;
    request.tenant(|t| {
        if t.service_principals.iter().any(|s| s.app_id == app_id) {
            return Err(Refusal::new(409, "Request_MultipleObjectsWithSameKeyValue", format!("The service principal cannot be created, updated, or restored because the service principal name {app_id} is already in use.")));
        }
        let display_name = t.applications.iter().find(|a| a.app_id == app_id).map(|a| a.display_name.clone()).ok_or_else(|| Refusal::bad(format!("When using this permission, the backing application of the service principal being created must in the local tenant: '{app_id}'.")))?;
        let new = ServicePrincipal { id: Uuid::new_v4(), app_id, display_name, account_enabled: true, app_roles: vec![], scopes: vec![], names: vec![app_id.to_string()], first_party: false, visible_from };
        let shown = show_principal(&new);
        let id = new.id.to_string();
        t.service_principals.push(new);
        request.audit(t, "Add service principal", &id, &request.body);
        Ok(Answer::Json(201, shown))
    })
}

fn show_assignment(t: &Tenant, a: &AppRoleAssignment) -> Value {
    let name = |id: Uuid| t.service_principals.iter().find(|s| s.id == id).map(|s| s.display_name.clone());
    json!({"id": a.id, "deletedDateTime": null, "appRoleId": a.app_role, "createdDateTime": date(a.created), "principalDisplayName": name(a.principal), "principalId": a.principal, "principalType": "ServicePrincipal", "resourceDisplayName": name(a.resource), "resourceId": a.resource})
}

/// An assignment in the words of the audit log: what was granted to whom, at which resource.
fn audited(t: &Tenant, a: &AppRoleAssignment) -> Value {
    let find = |id: Uuid| t.service_principals.iter().find(|s| s.id == id);
    let (client, resource) = (find(a.principal), find(a.resource));
    let role = resource.and_then(|s| s.app_roles.iter().find(|(id, _)| *id == a.app_role)).map(|(_, value)| value);
    json!({"AppRole.Id": a.app_role, "AppRole.Value": role, "ServicePrincipal.ObjectID": a.principal, "ServicePrincipal.DisplayName": client.map(|s| &s.display_name), "ServicePrincipal.AppId": client.map(|s| s.app_id), "TargetId.ServicePrincipalNames": resource.map(|s| s.names.join(";"))})
}

fn assignments(request: &Request<'_>, key: &str, which: impl Fn(&AppRoleAssignment, Uuid) -> bool) -> Answered {
    request.tenant(|t| {
        let n = principal(t, key)?;
        let id = t.service_principals[n].id;
        Ok(Answer::List(
            "appRoleAssignments",
            t.app_role_assignments.iter().filter(|a| which(a, id)).map(|a| show_assignment(t, a)).collect(),
        ))
    })
}

fn assign(request: &Request<'_>, _key: &str) -> Answered {
    request.needs(&GRANT)?;
    let id = |name: &str| -> Result<Uuid, Refusal> {
        request.text(name)?.parse().map_err(|_| Refusal::bad(format!("Invalid value specified for property '{name}'.")))
    };
    let (client, resource, app_role) = (id("principalId")?, id("resourceId")?, id("appRoleId")?);
    let (now, visible_from) = (request.now(), request.now() + request.delays.role);
    request.tenant(|t| {
        let offers = t
            .service_principals
            .iter()
            .find(|s| s.id == resource)
            .ok_or_else(|| Refusal::not_found(&resource.to_string()))?;
        if !offers.app_roles.iter().any(|(r, _)| *r == app_role) {
            return Err(Refusal::bad("Permission being assigned was not found on application"));
        }
        if !t.service_principals.iter().any(|s| s.id == client) {
            return Err(Refusal::not_found(&client.to_string()));
        }
        if t.app_role_assignments.iter().any(|a| (a.principal, a.resource, a.app_role) == (client, resource, app_role))
        {
            return Err(Refusal::bad("Permission being assigned already exists on the object"));
        }
        let new = AppRoleAssignment {
            id: Uuid::new_v4().simple().to_string(),
            principal: client,
            resource,
            app_role,
            created: now,
            visible_from,
        };
        let (shown, facts) = (show_assignment(t, &new), audited(t, &new));
        t.app_role_assignments.push(new);
        request.audit(t, "Add app role assignment to service principal", &client.to_string(), &facts);
        Ok(Answer::Json(201, shown))
    })
}

fn show_grant(g: &PermissionGrant) -> Value {
    json!({"id": g.id, "clientId": g.client, "consentType": g.consent_type, "principalId": g.principal, "resourceId": g.resource, "scope": g.scope})
}

fn grant(request: &Request<'_>) -> Answered {
    request.needs(&MANAGE_GRANTS)?;
    let id = |name: &str| -> Result<Uuid, Refusal> {
        request.text(name)?.parse().map_err(|_| Refusal::bad(format!("Invalid value specified for property '{name}'.")))
    };
    let (client, resource) = (id("clientId")?, id("resourceId")?);
    let principal = request.body["principalId"].as_str().and_then(|p| p.parse().ok());
    let new = PermissionGrant {
        id: Uuid::new_v4().simple().to_string(),
        client,
        resource,
        consent_type: request.text("consentType")?,
        principal,
        scope: request.text("scope")?,
    };
    request.tenant(|t| {
        if t.permission_grants.iter().any(|g| (g.client, g.resource, g.principal) == (client, resource, principal)) {
            return Err(Refusal::new(
                409,
                "Request_MultipleObjectsWithSameKeyValue",
                "Permission entry already exists.",
            ));
        }
        let shown = show_grant(&new);
        t.permission_grants.push(new);
        request.audit(t, "Add delegated permission grant", &client.to_string(), &request.body);
        Ok(Answer::Json(201, shown))
    })
}

/// What one click on the admin-consent page grants: everything in requiredResourceAccess. False: no such application.
pub fn grant_required(t: &mut Tenant, app_id: Uuid, now: i64, visible_from: i64) -> bool {
    let Some(application) = t.applications.iter().find(|a| a.app_id == app_id).cloned() else { return false };
    if !t.service_principals.iter().any(|s| s.app_id == app_id) {
        t.service_principals.push(ServicePrincipal {
            id: Uuid::new_v4(),
            app_id,
            display_name: application.display_name.clone(),
            account_enabled: true,
            app_roles: vec![],
            scopes: vec![],
            names: vec![app_id.to_string()],
            first_party: false,
            visible_from,
        });
    }
    let Some(client) = t.service_principals.iter().find(|s| s.app_id == app_id).map(|s| s.id) else { return false };
    for wanted in application.required_resource_access.as_array().into_iter().flatten() {
        let resource = wanted["resourceAppId"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let Some(resource) = t.service_principals.iter().find(|s| Some(s.app_id) == resource).map(|s| s.id) else {
            continue;
        };
        for access in wanted["resourceAccess"].as_array().into_iter().flatten().filter(|a| a["type"] == "Role") {
            let Some(app_role) = access["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()) else { continue };
            if !t
                .app_role_assignments
                .iter()
                .any(|a| (a.principal, a.resource, a.app_role) == (client, resource, app_role))
            {
                t.app_role_assignments.push(AppRoleAssignment {
                    id: Uuid::new_v4().simple().to_string(),
                    principal: client,
                    resource,
                    app_role,
                    created: now,
                    visible_from,
                });
            }
        }
    }
    true
}
