//! Organisation, users, groups, members, directory roles (wire.md 3.1, 3.3, 4).

use super::{Answer, Answered, Refusal, Request};
use crate::entra::{EXCHANGE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR, GLOBAL_READER};
use crate::world::{DirectoryRole, Group, Tenant, User};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const READ_USERS: [&str; 5] = [
    "User.Read.All",
    "User.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "Directory.AccessAsUser.All",
];
const READ_GROUPS: [&str; 6] = [
    "Group.Read.All",
    "GroupMember.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "Directory.AccessAsUser.All",
];
const WRITE_ROLES: [&str; 2] = ["RoleManagement.ReadWrite.Directory", "Directory.AccessAsUser.All"];
const READ_ROLES: [&str; 6] = [
    "RoleManagement.Read.Directory",
    "RoleManagement.ReadWrite.Directory",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "Directory.AccessAsUser.All",
    "User.Read",
];

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
        "onPremisesSyncEnabled",
        "preferredDataLocation",
        "preferredLanguage",
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
    let known = json!({"id": g.id, "displayName": g.display_name, "mail": g.mail, "mailEnabled": g.mail.is_some(), "mailNickname": nickname, "securityEnabled": g.kind.contains("security"), "groupTypes": types, "proxyAddresses": proxies, "isAssignableToRole": null, "createdDateTime": "2026-01-01T00:00:00Z"});
    row.extend(known.as_object().cloned().unwrap_or_default());
    row.into()
}

fn find_user<'t>(t: &'t Tenant, key: &str) -> Result<&'t User, Refusal> {
    t.users
        .iter()
        .find(|u| u.id.to_string() == key || u.upn.eq_ignore_ascii_case(key))
        .ok_or_else(|| Refusal::not_found(key))
}

pub fn objects(request: &Request<'_>) -> Answered {
    let get = request.method == "GET";
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["users"] if get => {
            request.needs(&READ_USERS)?;
            let wanted = request.filter_eq("userPrincipalName").or_else(|| request.filter_eq("mail"));
            request.tenant(|t| {
                Ok(Answer::List(
                    "users",
                    t.users
                        .iter()
                        .filter(|u| {
                            wanted.as_ref().is_none_or(|w| u.upn.eq_ignore_ascii_case(w) || u.addresses.contains(w))
                        })
                        .map(show_user)
                        .collect(),
                ))
            })
        }
        ["users", key] if get => {
            request.needs(&READ_USERS)?;
            request.tenant(|t| find_user(t, key).map(|u| Answer::Json(200, plain(show_user(u), request))))
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
            request.tenant(|t| Ok(Answer::List("groups", t.groups.iter().map(show_group).collect())))
        }
        ["groups", key] if get => {
            request.needs(&READ_GROUPS)?;
            request.tenant(|t| {
                t.groups
                    .iter()
                    .find(|g| g.id.to_string() == **key)
                    .map(|g| Answer::Json(200, show_group(g)))
                    .ok_or_else(|| Refusal::not_found(key))
            })
        }
        ["groups", key, "members" | "transitiveMembers"] if get => {
            request.needs(&READ_GROUPS)?;
            request.tenant(|t| {
                let group =
                    t.groups.iter().find(|g| g.id.to_string() == **key).ok_or_else(|| Refusal::not_found(key))?;
                let member = |id: &Uuid| {
                    let user =
                        t.users.iter().find(|u| u.id == *id).map(|u| typed(show_user(u), "#microsoft.graph.user"));
                    user.or_else(|| {
                        t.groups.iter().find(|g| g.id == *id).map(|g| typed(show_group(g), "#microsoft.graph.group"))
                    })
                };
                Ok(Answer::List("directoryObjects", group.members.iter().filter_map(member).collect()))
            })
        }
        _ => Err(Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{}'.", path.join("/")))),
    }
}

fn typed(mut row: Value, kind: &str) -> Value {
    row["@odata.type"] = kind.into();
    row
}

/// A single entity without the keys that must be selected.
fn plain(row: Value, request: &Request<'_>) -> Value {
    if request.query.contains_key("$select") {
        return row;
    }
    row.as_object()
        .map(|m| {
            m.iter()
                .filter(|(k, _)| !k.starts_with('~'))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect::<Map<_, _>>()
                .into()
        })
        .unwrap_or_default()
}

pub fn me(request: &Request<'_>) -> Answered {
    let user = request
        .caller
        .user
        .clone()
        .ok_or_else(|| Refusal::bad("/me request is only valid with delegated authentication flow."))?;
    match request.path.get(1).map(String::as_str) {
        None => request.tenant(|t| find_user(t, &user).map(|u| Answer::Json(200, plain(show_user(u), request)))),
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

pub fn show_role(r: &DirectoryRole) -> Value {
    json!({"id": r.id, "deletedDateTime": null, "description": null, "displayName": r.display_name, "roleTemplateId": r.template})
}

fn role_name(template: Uuid) -> Option<&'static str> {
    [
        (GLOBAL_ADMINISTRATOR, "Global Administrator"),
        (EXCHANGE_ADMINISTRATOR, "Exchange Administrator"),
        (GLOBAL_READER, "Global Reader"),
    ]
    .iter()
    .find(|(id, _)| *id == template)
    .map(|(_, name)| *name)
}

pub fn roles(request: &Request<'_>) -> Answered {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let method = request.method.as_str();
    request.needs(if method == "GET" { &READ_ROLES } else { &WRITE_ROLES })?;
    let find = |t: &mut Tenant, key: &str| -> Result<usize, Refusal> {
        let template = key.strip_prefix("roleTemplateId=");
        t.directory_roles
            .iter()
            .position(|r| template.map_or(r.id.to_string() == key, |x| r.template.to_string().eq_ignore_ascii_case(x)))
            .ok_or_else(|| Refusal::not_found(key))
    };
    match (method, path.as_slice()) {
        ("GET", ["directoryRoles"]) => {
            request.tenant(|t| Ok(Answer::List("directoryRoles", t.directory_roles.iter().map(show_role).collect())))
        }
        ("POST", ["directoryRoles"]) => {
            let template: Uuid = request.text("roleTemplateId")?.parse().map_err(|_| {
                Refusal::bad("Invalid value specified for property 'roleTemplateId' of resource 'DirectoryRole'.")
            })?;
            let name = role_name(template).ok_or_else(|| Refusal::not_found(&template.to_string()))?;
            request.tenant(|t| {
                if t.directory_roles.iter().any(|r| r.template == template) {
                    return Err(Refusal::new(400, "Request_BadRequest", "A conflicting object with one or more of the specified property values is present in the directory."));
                }
                let role = DirectoryRole { id: Uuid::new_v4(), template, display_name: name.into(), members: Vec::new() };
                let shown = show_role(&role);
                t.directory_roles.push(role);
                Ok(Answer::Json(201, shown))
            })
        }
        ("GET", ["directoryRoles", key]) => {
            request.tenant(|t| find(t, key).map(|n| Answer::Json(200, show_role(&t.directory_roles[n]))))
        }
        ("GET", ["directoryRoles", key, "members"]) => request.tenant(|t| {
            let n = find(t, key)?;
            let members = t.directory_roles[n].members.clone();
            let member = |(id, _): &(Uuid, i64)| {
                let user = t.users.iter().find(|u| u.id == *id).map(|u| typed(show_user(u), "#microsoft.graph.user"));
                user.or_else(|| {
                    t.service_principals
                        .iter()
                        .find(|s| s.id == *id)
                        .map(|s| typed(super::applications::show_principal(s), "#microsoft.graph.servicePrincipal"))
                })
            };
            Ok(Answer::List("directoryObjects", members.iter().filter_map(member).collect()))
        }),
        ("POST", ["directoryRoles", key, "members", "$ref"]) => {
            let id = request.text("@odata.id")?;
            let object: Uuid = id
                .rsplit('/')
                .next()
                .and_then(|s| s.parse().ok())
                .ok_or_else(|| Refusal::bad("Invalid URL in '@odata.id'."))?;
            request.tenant(|t| find(t, key).and_then(|n| join(request, t, n, object)).map(|()| Answer::Empty))
        }
        ("DELETE", ["directoryRoles", key, "members", member, "$ref"]) => request.tenant(|t| {
            let n = find(t, key)?;
            let before = t.directory_roles[n].members.len();
            t.directory_roles[n].members.retain(|(m, _)| m.to_string() != **member);
            if t.directory_roles[n].members.len() == before {
                return Err(Refusal::not_found(member));
            }
            request.audit(t, "Remove member from role", member, &Value::Null);
            Ok(Answer::Empty)
        }),
        ("GET", ["roleManagement", "directory", "roleAssignments"]) => {
            let principal = request.filter_eq("principalId");
            request.tenant(|t| {
                let rows = t.directory_roles.iter().flat_map(|r| r.members.iter().map(move |(m, _)| assignment(r, *m)));
                Ok(Answer::List(
                    "roleManagement/directory/roleAssignments",
                    rows.filter(|r| principal.as_ref().is_none_or(|p| r["principalId"] == **p)).collect(),
                ))
            })
        }
        ("POST", ["roleManagement", "directory", "roleAssignments"]) => {
            let template: Uuid =
                request.text("roleDefinitionId")?.parse().map_err(|_| Refusal::bad("Invalid roleDefinitionId."))?;
            let object: Uuid =
                request.text("principalId")?.parse().map_err(|_| Refusal::bad("Invalid principalId."))?;
            let name = role_name(template).ok_or_else(|| Refusal::not_found(&template.to_string()))?;
            request.tenant(|t| {
                if !t.directory_roles.iter().any(|r| r.template == template) {
                    t.directory_roles.push(DirectoryRole { id: Uuid::new_v4(), template, display_name: name.into(), members: Vec::new() });
                }
                let n = t.directory_roles.iter().position(|r| r.template == template).unwrap_or_default();
                if t.directory_roles[n].members.iter().any(|(m, _)| *m == object) {
                    return Err(Refusal::bad("A conflicting object with one or more of the specified property values is present in the directory. RoleAssignmentExists"));
                }
                join(request, t, n, object)?;
                Ok(Answer::Json(201, assignment(&t.directory_roles[n], object)))
            })
        }
        ("DELETE", ["roleManagement", "directory", "roleAssignments", id]) => request.tenant(|t| {
            for n in 0..t.directory_roles.len() {
                let role = &t.directory_roles[n];
                if let Some(member) = role.members.iter().map(|(m, _)| *m).find(|m| assignment(role, *m)["id"] == **id)
                {
                    t.directory_roles[n].members.retain(|(m, _)| *m != member);
                    request.audit(t, "Remove member from role", &member.to_string(), &Value::Null);
                    return Ok(Answer::Empty);
                }
            }
            Err(Refusal::not_found(id))
        }),
        _ => Err(Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{}'.", path.join("/")))),
    }
}

fn assignment(role: &DirectoryRole, member: Uuid) -> Value {
    json!({"id": format!("{}-{}", role.template.simple(), member.simple()), "principalId": member, "roleDefinitionId": role.template, "directoryScopeId": "/"})
}

fn join(request: &Request<'_>, t: &mut Tenant, role: usize, object: Uuid) -> Result<(), Refusal> {
    let known = t.users.iter().any(|u| u.id == object) || t.service_principals.iter().any(|s| s.id == object);
    if !known {
        return Err(Refusal::not_found(&object.to_string()));
    }
    if t.directory_roles[role].members.iter().any(|(m, _)| *m == object) {
        return Err(Refusal::bad(
            "One or more added object references already exist for the following modified properties: 'members'.",
        ));
    }
    let from = request.now() + request.delays.role;
    t.directory_roles[role].members.push((object, from));
    request.audit(t, "Add member to role", &object.to_string(), &json!({"role": t.directory_roles[role].display_name}));
    Ok(())
}
