//! Directory roles and who holds them (wire.md 3.3), by both of Graph's interfaces.

use super::directory::{show_user, typed};
use super::{Answer, Answered, Refusal, Request};
use crate::entra::{EXCHANGE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR, GLOBAL_READER};
use crate::world::{DirectoryRole, Tenant};
use serde_json::{Value, json};
use uuid::Uuid;

const WRITE_ROLES: [&str; 2] = ["RoleManagement.ReadWrite.Directory", "Directory.AccessAsUser.All"];
pub const READ_ROLES: [&str; 6] = [
    "RoleManagement.Read.Directory",
    "RoleManagement.ReadWrite.Directory",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "Directory.AccessAsUser.All",
    "User.Read",
];

/// The templates that are known here.
const ROLES: [(Uuid, &str); 3] = [
    (GLOBAL_ADMINISTRATOR, "Global Administrator"),
    (EXCHANGE_ADMINISTRATOR, "Exchange Administrator"),
    (GLOBAL_READER, "Global Reader"),
];

pub fn show_role(r: &DirectoryRole) -> Value {
    json!({"id": r.id, "deletedDateTime": null, "description": null, "displayName": r.display_name, "roleTemplateId": r.template})
}

fn role_name(template: Uuid) -> Option<&'static str> {
    ROLES.iter().find(|(id, _)| *id == template).map(|(_, name)| *name)
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
        ("GET", ["directoryRoleTemplates"]) => {
            let row = |(id, name): &(Uuid, &str)| json!({"id": id, "deletedDateTime": null, "description": null, "displayName": name});
            Ok(Answer::List("directoryRoleTemplates", ROLES.iter().map(row).collect()))
        }
        ("GET", ["directoryRoles", key, "members"]) => request.tenant(|t| {
            let n = find(t, key)?;
            let members = t.directory_roles[n].members.clone();
            let member = |(id, _): &(Uuid, i64)| {
                let user = t.users.by_id(*id).map(|u| typed(show_user(u), "#microsoft.graph.user"));
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
            let object = request.referenced()?;
            request.tenant(|t| find(t, key).and_then(|n| join(request, t, n, object)).map(|()| Answer::Empty))
        }
        ("DELETE", ["directoryRoles", key, "members", member, "$ref"]) => request.tenant(|t| {
            let n = find(t, key)?;
            let before = t.directory_roles[n].members.len();
            t.directory_roles[n].members.retain(|(m, _)| m.to_string() != **member);
            if t.directory_roles[n].members.len() == before {
                return Err(Refusal::not_found(member));
            }
            let role = json!({"role": t.directory_roles[n].display_name});
            request.audit(t, "Remove member from role", member, &role);
            Ok(Answer::Empty)
        }),
        ("GET", ["roleManagement", "directory", "roleAssignments"]) => request.tenant(|t| {
            let rows = t.directory_roles.iter().flat_map(|r| r.members.iter().map(move |(m, _)| assignment(r, *m)));
            Ok(Answer::List("roleManagement/directory/roleAssignments", rows.collect()))
        }),
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
                    let role = json!({"role": t.directory_roles[n].display_name});
                    request.audit(t, "Remove member from role", &member.to_string(), &role);
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
    let known = t.users.by_id(object).is_some() || t.service_principals.iter().any(|s| s.id == object);
    if !known {
        return Err(Refusal::not_found(&object.to_string()));
    }
    if t.directory_roles[role].members.iter().any(|(m, _)| *m == object) {
        return Err(Refusal::already_there());
    }
    let from = request.now() + request.delays.role;
    t.directory_roles[role].members.push((object, from));
    request.audit(t, "Add member to role", &object.to_string(), &json!({"role": t.directory_roles[role].display_name}));
    Ok(())
}
