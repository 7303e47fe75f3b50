//! Organisation, users, groups, members, directory roles (wire.md 3.1, 3.3, 4).

use super::roles::{READ_ROLES, show_role};
use super::{Answer, Answered, Refusal, Request};
use crate::mailbox::Mailbox;
use crate::world::{Group, Tenant, User};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use uuid::Uuid;

pub(super) const READ_USERS: [&str; 5] = [
    "User.Read.All",
    "User.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "Directory.AccessAsUser.All",
];
pub(super) const READ_GROUPS: [&str; 6] = [
    "Group.Read.All",
    "GroupMember.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "Directory.AccessAsUser.All",
];

const WRITE_USERS: [&str; 3] = ["User.ReadWrite.All", "Directory.ReadWrite.All", "Directory.AccessAsUser.All"];
const WRITE_GROUPS: [&str; 3] = ["Group.ReadWrite.All", "Directory.ReadWrite.All", "Directory.AccessAsUser.All"];

pub fn organization(request: &Request<'_>) -> Answered {
    request.needs(&[
        "Organization.Read.All",
        "Organization.ReadWrite.All",
        "Directory.Read.All",
        "Directory.ReadWrite.All",
        "User.Read",
    ])?;
    request.tenant(|t| {
        let domains: Vec<Value> = t.domains.iter().filter(|d| d.is_verified).map(|d| json!({"capabilities": if d.supported_services.is_empty() { "None".to_owned() } else { d.supported_services.join(", ") }, "isDefault": d.is_default, "isInitial": d.is_initial, "name": d.id, "type": "Managed"})).collect();
        Ok(Answer::List("organization", vec![json!({"id": t.id, "deletedDateTime": null, "displayName": t.display_name, "tenantType": "AAD", "countryLetterCode": "DE", "preferredLanguage": "en", "onPremisesSyncEnabled": null, "verifiedDomains": domains, "assignedPlans": [{"assignedDateTime": "2026-01-01T00:00:00Z", "capabilityStatus": "Enabled", "service": "exchange", "servicePlanId": "efb87545-963c-4e0d-99df-69c6916d9eb0"}], "technicalNotificationMails": [], "securityComplianceNotificationMails": []})]))
    })
}

/// Keys with `~` are shown only when selected (recorded default projection).
pub fn show_user(u: &User) -> Value {
    let mail = if u.mailbox_type.is_empty() { Value::Null } else { json!(u.addresses.first()) };
    let (given, surname) = u.display_name.split_once(' ').unwrap_or((&u.display_name, ""));
    let proxies: Vec<String> = u
        .addresses
        .iter()
        .enumerate()
        .map(|(n, a)| if n == 0 { format!("SMTP:{a}") } else { format!("smtp:{a}") })
        .collect();
    json!({"businessPhones": [], "displayName": u.display_name, "givenName": given, "jobTitle": null, "mail": mail, "mobilePhone": null, "officeLocation": null, "preferredLanguage": null, "surname": surname, "userPrincipalName": u.upn, "id": u.id,
        "~accountEnabled": u.enabled, "~proxyAddresses": proxies, "~userType": "Member", "~onPremisesSyncEnabled": null, "~onPremisesImmutableId": null,
        "~assignedPlans": if u.mailbox_type == "UserMailbox" { json!([{"capabilityStatus": "Enabled", "service": "exchange"}]) } else { json!([]) }})
}

pub fn show_group(g: &Group) -> Value {
    let types = if g.kind == "unified" { json!(["Unified"]) } else { json!([]) };
    let proxies: Vec<String> = g.mail.iter().map(|m| format!("SMTP:{m}")).collect();
    let mut row = Map::new();
    for key in [
        "classification",
        "deletedDateTime",
        "description",
        "expirationDateTime",
        "membershipRule",
        "membershipRuleProcessingState",
        "onPremisesDomainName",
        "onPremisesLastSyncDateTime",
        "onPremisesNetBiosName",
        "onPremisesSamAccountName",
        "onPremisesSecurityIdentifier",
        "onPremisesSyncEnabled",
        "preferredDataLocation",
        "preferredLanguage",
        "renewedDateTime",
        "securityIdentifier",
        "theme",
        "uniqueName",
        "visibility",
    ] {
        row.insert(key.into(), Value::Null);
    }
    let nickname = g
        .mail
        .as_deref()
        .and_then(|m| m.split('@').next())
        .map_or_else(|| g.display_name.replace(' ', ""), str::to_owned);
    let known = json!({"id": g.id, "displayName": g.display_name, "mail": g.mail, "mailEnabled": g.mail.is_some(), "mailNickname": nickname, "securityEnabled": g.kind.contains("security"), "groupTypes": types, "proxyAddresses": proxies, "isAssignableToRole": null, "creationOptions": [], "infoCatalogs": [], "onPremisesProvisioningErrors": [], "resourceBehaviorOptions": [], "resourceProvisioningOptions": [], "serviceProvisioningErrors": [], "createdDateTime": "2026-01-01T00:00:00Z"});
    row.extend(known.as_object().cloned().unwrap_or_default());
    row.into()
}

fn find_user<'t>(t: &'t Tenant, key: &str) -> Result<&'t User, Refusal> {
    let by_id = key.parse().ok().and_then(|id| t.users.by_id(id));
    let found = by_id.or_else(|| t.users.by_name(key).filter(|u| u.upn.eq_ignore_ascii_case(key)));
    found.ok_or_else(|| Refusal::not_found(key))
}

pub fn objects(request: &Request<'_>) -> Answered {
    let get = request.method == "GET";
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["users"] if get => {
            request.needs(&READ_USERS)?;
            request.tenant(|t| Ok(Answer::List("users", request.shown(&t.users, show_user))))
        }
        ["users", key] if get => {
            request.needs(&READ_USERS)?;
            request.tenant(|t| find_user(t, key).map(|u| Answer::Json(200, show_user(u))))
        }
        ["users", key, "mailboxSettings"] if get => {
            request.needs(&["MailboxSettings.Read", "MailboxSettings.ReadWrite"])?;
            request.tenant(|t| {
                let user = find_user(t, key)?;
                let purpose = match user.mailbox_type.as_str() {
                    "UserMailbox" => "user",
                    "SharedMailbox" => "shared",
                    "RoomMailbox" => "room",
                    _ => {
                        return Err(Refusal::new(
                            404,
                            "MailboxNotEnabledForRESTAPI",
                            "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
                        ));
                    }
                };
                Ok(Answer::Json(200, json!({"userPurpose": purpose})))
            })
        }
        ["groups"] if get => {
            request.needs(&READ_GROUPS)?;
            request.tenant(|t| Ok(Answer::List("groups", request.shown(&t.groups, show_group))))
        }
        ["groups", key] if get => {
            request.needs(&READ_GROUPS)?;
            request.tenant(|t| find_group(t, key).map(|n| Answer::Json(200, show_group(&t.groups[n]))))
        }
        ["groups", key, kind @ ("members" | "transitiveMembers"), cast @ ..] if get => {
            request.needs(&READ_GROUPS)?;
            request.tenant(|t| {
                let group = find_group(t, key)?;
                let mut ids = t.groups[group].members.clone();
                if *kind == "transitiveMembers" {
                    let mut seen: HashSet<Uuid> = ids.iter().copied().collect();
                    let mut n = 0;
                    while n < ids.len() {
                        let inner = t.groups.by_id(ids[n]).map(|g| g.members.as_slice()).unwrap_or_default();
                        ids.extend(inner.iter().filter(|m| seen.insert(**m)));
                        n += 1;
                    }
                }
                let rows = ids.iter().filter_map(|id| member(t, *id));
                // both spellings of a type cast are served (wire.md 11.1)
                let cast = cast.first().map(|c| c.trim_start_matches("microsoft.").to_owned());
                let of_type =
                    |row: &Value| cast.as_ref().is_none_or(|c| row["@odata.type"] == format!("#microsoft.{c}"));
                Ok(Answer::List("directoryObjects", rows.filter(of_type).collect()))
            })
        }
        _ if !get => change(request, &path),
        _ => Err(Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{}'.", path.join("/")))),
    }
}

fn find_group(t: &Tenant, key: &str) -> Result<usize, Refusal> {
    key.parse().ok().and_then(|id| t.groups.at(id)).ok_or_else(|| Refusal::not_found(key))
}

fn member(t: &Tenant, id: Uuid) -> Option<Value> {
    let user = t.users.by_id(id).map(|u| typed(show_user(u), "#microsoft.graph.user"));
    user.or_else(|| t.groups.by_id(id).map(|g| typed(show_group(g), "#microsoft.graph.group")))
}

/// People come and go: users, groups, members.
fn change(request: &Request<'_>, path: &[&str]) -> Answered {
    request.needs(if path[0] == "users" { &WRITE_USERS } else { &WRITE_GROUPS })?;
    let body = &request.body;
    match (request.method.as_str(), path) {
        ("POST", ["users"]) => {
            let upn = request.text("userPrincipalName")?.to_lowercase();
            let display_name = request.text("displayName")?;
            let password = body["passwordProfile"]["password"].as_str().unwrap_or_default().to_owned();
            let enabled = body["accountEnabled"].as_bool().unwrap_or(true);
            request.tenant(|t| {
                let domain = upn.split_once('@').map(|(_, d)| d.to_owned()).unwrap_or_default();
                if !t.domains.iter().any(|d| d.is_verified && d.id == domain) {
                    return Err(Refusal::bad("The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization."));
                }
                if t.users.by_name(&upn).is_some() {
                    return Err(Refusal::bad("Another object with the same value for property userPrincipalName already exists."));
                }
                let user = User { id: Uuid::new_v4(), upn: upn.clone(), display_name, password, addresses: vec![upn.clone()], enabled, mailbox_type: "UserMailbox".into() };
                t.mailboxes.insert(upn.clone(), Mailbox::new(t.id, user.id, t.hub.clone()));
                let shown = show_user(&user);
                t.users.push(user);
                request.audit(t, "Add user", &upn, &json!({"displayName": shown["displayName"]}));
                Ok(Answer::Json(201, shown))
            })
        }
        ("PATCH", ["users", key]) => request.tenant(|t| {
            let id = find_user(t, key)?.id;
            if let Some(user) = t.users.iter_mut().find(|u| u.id == id) {
                user.display_name = body["displayName"].as_str().unwrap_or(&user.display_name).to_owned();
                user.enabled = body["accountEnabled"].as_bool().unwrap_or(user.enabled);
            }
            request.audit(t, "Update user", key, &json!({"displayName": body["displayName"]}));
            Ok(Answer::Empty)
        }),
        ("DELETE", ["users", key]) => request.tenant(|t| {
            let user = find_user(t, key)?.clone();
            t.soft_delete(user.id);
            request.audit(t, "Delete user", &user.upn, &Value::Null);
            Ok(Answer::Empty)
        }),
        ("POST", ["groups"]) => {
            let display_name = request.text("displayName")?;
            let nickname = request.text("mailNickname")?;
            let unified = body["groupTypes"].as_array().is_some_and(|k| k.contains(&"Unified".into()));
            // Graph makes Microsoft 365 groups and security groups; other mail-enabled groups are Exchange's to make
            if body["mailEnabled"].as_bool() == Some(true) && !unified {
                return Err(Refusal::bad(
                    "The service does not currently support writes of mail-enabled groups. Please ensure that the mail-enablement property is unset and try again.",
                ));
            }
            request.tenant(|t| {
                let domain = t.domains.iter().find(|d| d.is_default).map(|d| d.id.clone()).unwrap_or_default();
                let mail = unified.then(|| format!("{}@{domain}", nickname.to_lowercase()));
                let kind = if unified { "unified" } else { "security" };
                let group = Group { id: Uuid::new_v4(), display_name, mail, kind: kind.into(), members: Vec::new() };
                let shown = show_group(&group);
                request.audit(t, "Add group", &group.id.to_string(), &json!({"displayName": group.display_name}));
                t.groups.push(group);
                Ok(Answer::Json(201, shown))
            })
        }
        ("PATCH", ["groups", key]) => request.tenant(|t| {
            let n = find_group(t, key)?;
            let name = body["displayName"].as_str().unwrap_or(&t.groups[n].display_name).to_owned();
            t.groups[n].display_name = name;
            request.audit(t, "Update group", key, &json!({"displayName": body["displayName"]}));
            Ok(Answer::Empty)
        }),
        ("DELETE", ["groups", key]) => request.tenant(|t| {
            let id = t.groups.remove(find_group(t, key)?).id;
            t.groups.iter_mut().for_each(|g| g.members.retain(|m| *m != id));
            request.audit(t, "Delete group", key, &Value::Null);
            Ok(Answer::Empty)
        }),
        ("POST", ["groups", key, "members", "$ref"]) => {
            let object = request.referenced()?;
            request.tenant(|t| {
                let n = find_group(t, key)?;
                member(t, object).ok_or_else(|| Refusal::not_found(&object.to_string()))?;
                if t.groups[n].members.contains(&object) {
                    return Err(Refusal::already_there());
                }
                t.groups[n].members.push(object);
                request.audit(t, "Add member to group", key, &json!({"member": object}));
                Ok(Answer::Empty)
            })
        }
        ("DELETE", ["groups", key, "members", gone, "$ref"]) => request.tenant(|t| {
            let n = find_group(t, key)?;
            let before = t.groups[n].members.len();
            t.groups[n].members.retain(|m| m.to_string() != **gone);
            if t.groups[n].members.len() == before {
                return Err(Refusal::not_found(gone));
            }
            request.audit(t, "Remove member from group", key, &json!({"member": gone}));
            Ok(Answer::Empty)
        }),
        _ => Err(Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{}'.", path.join("/")))),
    }
}

/// Users that were deleted, and their way back.
pub fn deleted(request: &Request<'_>) -> Answered {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["directory", "deletedItems", "microsoft.graph.user" | "microsoft.graph.User"]) => {
            request.needs(&READ_USERS)?;
            request.tenant(|t| Ok(Answer::List("users", t.soft_deleted.iter().map(|(u, _)| show_user(u)).collect())))
        }
        ("POST", ["directory", "deletedItems", key, "restore"]) => {
            request.needs(&WRITE_USERS)?;
            request.tenant(|t| {
                let user = key.parse().ok().and_then(|id| t.restore(id)).ok_or_else(|| Refusal::not_found(key))?;
                request.audit(t, "Restore user", &user.upn, &Value::Null);
                Ok(Answer::Json(200, typed(show_user(&user), "#microsoft.graph.user")))
            })
        }
        _ => Err(Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{}'.", path.join("/")))),
    }
}

pub fn typed(mut row: Value, kind: &str) -> Value {
    row["@odata.type"] = kind.into();
    row
}

pub fn me(request: &Request<'_>) -> Answered {
    let user = request
        .caller
        .user
        .clone()
        .ok_or_else(|| Refusal::bad("/me request is only valid with delegated authentication flow."))?;
    match request.path.get(1).map(String::as_str) {
        None => request.tenant(|t| find_user(t, &user).map(|u| Answer::Json(200, show_user(u)))),
        Some("transitiveMemberOf" | "memberOf") => {
            request.needs(&READ_ROLES)?;
            let me = request.caller.object_id;
            request.tenant(|t| {
                Ok(Answer::List(
                    "directoryObjects",
                    t.directory_roles
                        .iter()
                        .filter(|r| r.members.iter().any(|(m, _)| *m == me))
                        .map(|r| typed(show_role(r), "#microsoft.graph.directoryRole"))
                        .collect(),
                ))
            })
        }
        Some(other) => Err(Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{other}'."))),
    }
}
