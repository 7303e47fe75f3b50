//! Role-based access control of Exchange (wire.md 8.12; pages of the cmdlets below, 2026-08 and 2026-11): service
//! principals, role groups and their members, management roles and their entries, assignments.
//!
//! An application whose service principal is in a role group may run what the group's roles hold, without any
//! directory role in its token.

use super::objects::{self, find};
use super::parameters::{self, Parameters};
use super::roles::{self, built_in};
use super::run::{Run, row};
use super::{CmdletError, Output, Row};
use crate::entra::bearer::Caller;
use crate::seed::stable_id;
use crate::world::Tenant;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

#[derive(Clone, Default)]
pub struct Rbac {
    pub service_principals: Vec<Row>,
    /// With `_members`: the Guids of service principals and users.
    pub role_groups: Vec<Row>,
    /// Made here; the built-in ones are a table.
    pub roles: Vec<Row>,
    pub assignments: Vec<Row>,
    /// Management scopes.
    pub scopes: Vec<Row>,
}

impl Rbac {
    /// The built-in role groups with their roles.
    pub fn new(tenant: Uuid) -> Rbac {
        let mut rbac = Rbac::default();
        for (group, of_group) in roles::GROUPS {
            rbac.role_groups.push(row(
                json!({"Name": group, "Identity": group, "Guid": stable_id(tenant, group), "DisplayName": "", "Description": "", "ManagedBy": [], "RoleGroupType": "Standard", "IsValid": true, "_builtin": true, "_members": []}),
            ));
            let of_group: Vec<&str> = match of_group {
                // those for applications are assigned to nobody else
                [] => roles::ROLES.iter().map(|(name, _)| *name).filter(|n| !n.starts_with("Application ")).collect(),
                some => some.to_vec(),
            };
            for role in of_group {
                let name = format!("{role}-{group}");
                let guid = stable_id(tenant, &name);
                rbac.assignments.push(assignment(&name, role, group, "RoleGroup", guid));
            }
        }
        rbac
    }
    /// The cmdlets that a role holds.
    fn entries(&self, role: &str) -> Vec<&'static str> {
        if let Some((_, cmdlets)) = built_in(role) {
            return cmdlets.to_vec();
        }
        let made = find(&self.roles, role).map(|n| texts(&self.roles[n], "RoleEntries")).unwrap_or_default();
        made.iter().filter_map(|name| parameters::known(name)).collect()
    }
    /// A role's name as it is written, of both kinds.
    fn role_name(&self, role: &str) -> Result<String, CmdletError> {
        let made = find(&self.roles, role).map(|n| text(&self.roles[n], "Name").to_owned());
        let by_id = || roles::ROLES.iter().find(|(name, _)| role_guid(name).to_string().eq_ignore_ascii_case(role));
        made.or_else(|| built_in(role).or_else(|| by_id().copied()).map(|(name, _)| name.to_owned()))
            .ok_or_else(|| CmdletError::not_found(role))
    }
}

/// Built-in roles have the same Guid in every world.
fn role_guid(role: &str) -> Uuid {
    stable_id(Uuid::nil(), role)
}

fn text<'r>(object: &'r Row, key: &str) -> &'r str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn texts(object: &Row, key: &str) -> Vec<String> {
    object
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

fn is(object: &Row, key: &str, wanted: &str) -> bool {
    text(object, key).eq_ignore_ascii_case(wanted)
}

fn assignment(name: &str, role: &str, assignee: &str, kind: &str, guid: Uuid) -> Row {
    row(
        json!({"Name": name, "Identity": name, "Guid": guid, "Role": role, "RoleAssignee": assignee, "RoleAssigneeName": assignee, "RoleAssigneeType": kind, "AssignmentMethod": "Direct", "RoleAssignmentDelegationType": "Regular", "Enabled": true, "RecipientWriteScope": "Organization", "ConfigWriteScope": "OrganizationConfig", "CustomRecipientWriteScope": null, "CustomResourceScope": null, "IsValid": true}),
    )
}

/// What Exchange's own roles let a caller run: by its service principal, or as a user.
pub fn cmdlets_of(t: &Tenant, caller: &Caller) -> BTreeSet<&'static str> {
    let rbac = &t.settings.rbac;
    let (app, object) = (caller.app_id.to_string(), caller.object_id.to_string());
    let mut names = vec![object.clone()];
    if caller.user.is_none() {
        // both ids have to be right: the well-known mistake is to give the application's object id
        let own = rbac.service_principals.iter().find(|s| is(s, "AppId", &app) && is(s, "ObjectId", &object));
        let Some(own) = own else { return BTreeSet::new() };
        names = vec![text(own, "Guid").to_owned()];
    }
    let member = |g: &&Row| texts(g, "_members").iter().any(|m| names.iter().any(|n| n.eq_ignore_ascii_case(m)));
    names.extend(rbac.role_groups.iter().filter(member).map(|g| text(g, "Name").to_owned()).collect::<Vec<_>>());
    let held = |a: &&Row| {
        a.get("Enabled") != Some(&Value::Bool(false))
            && names.iter().any(|n| is(a, "RoleAssignee", n) || is(a, "_assignee", n))
    };
    rbac.assignments.iter().filter(held).flat_map(|a| rbac.entries(text(a, "Role"))).collect()
}

pub fn execute(t: &mut Tenant, name: &str, p: &Parameters, run: &Run<'_>) -> Option<Result<Output, CmdletError>> {
    Some(match name {
        "New-ServicePrincipal" => new_principal(t, p, run),
        "Get-ServicePrincipal" => get_principals(t, p, run),
        "Remove-ServicePrincipal" => remove_principal(t, p),
        "New-RoleGroup" => new_group(t, p, run),
        "Get-RoleGroup" => objects::pick(groups(t), p, run),
        "Remove-RoleGroup" => remove_group(t, p),
        "Add-RoleGroupMember" => change_member(t, p, true),
        "Remove-RoleGroupMember" => change_member(t, p, false),
        "Get-RoleGroupMember" => get_members(t, p),
        "New-ManagementRole" => new_role(t, p, run),
        "Get-ManagementRole" => get_roles(t, p, run),
        "Remove-ManagementRole" => remove_role(t, p),
        "Get-ManagementRoleEntry" => get_entries(t, p),
        "Remove-ManagementRoleEntry" => remove_entry(t, p),
        "New-ManagementRoleAssignment" => new_assignment(t, p, run),
        "Get-ManagementRoleAssignment" => get_assignments(t, p, run),
        "Remove-ManagementRoleAssignment" => remove_assignment(t, p),
        _ => return None,
    })
}

fn invalid(text: String) -> CmdletError {
    CmdletError::business("System.InvalidOperationException", text)
}

fn identity(p: &Parameters) -> String {
    p.text("Identity").unwrap_or_default()
}

fn new_principal(t: &mut Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let id = |key: &str| -> Result<Uuid, CmdletError> {
        let given = p.text(key).unwrap_or_default();
        given.parse().map_err(|_| CmdletError::transformation(key, &given, "System.Guid", &[]))
    };
    let (app, object) = (id("AppId")?, id("ObjectId")?);
    let (known, guid) = (&t.settings.rbac.service_principals, Uuid::new_v4());
    if known.iter().any(|s| is(s, "AppId", &app.to_string()) || is(s, "ObjectId", &object.to_string())) {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Data.Directory.ADObjectAlreadyExistsException",
            format!("The service principal '{app}' already exists."),
        ));
    }
    let name = p.text("DisplayName").unwrap_or_else(|| app.to_string());
    let made = row(
        json!({"DisplayName": name, "AppId": app, "ObjectId": object, "ServiceId": object, "Sid": format!("S-1-5-21-{}", guid.as_u128() % 4_000_000_000), "Name": object, "Identity": object, "Guid": guid, "IsValid": true, "WhenCreatedUTC": objects::stamp_z(run.now), "WhenChangedUTC": objects::stamp_z(run.now)}),
    );
    t.settings.rbac.service_principals.push(made.clone());
    Ok(Output::rows(vec![made]))
}

/// By any of its names.
fn principal(t: &Tenant, wanted: &str) -> Option<usize> {
    let keys = ["Guid", "ObjectId", "AppId", "DisplayName", "Sid"];
    t.settings.rbac.service_principals.iter().position(|s| keys.iter().any(|k| is(s, k, wanted)))
}

fn get_principals(t: &Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    match p.text("Identity").map(|i| (principal(t, &i), i)) {
        Some((Some(n), _)) => Ok(Output::rows(vec![t.settings.rbac.service_principals[n].clone()])),
        Some((None, i)) if !run.unknown_identity_returns_all => Err(CmdletError::not_found(&i)),
        _ => Ok(Output::rows(t.settings.rbac.service_principals.clone())),
    }
}

/// It leaves its groups and assignments, too (assumed).
fn remove_principal(t: &mut Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let n = principal(t, &identity(p)).ok_or_else(|| CmdletError::not_found(&identity(p)))?;
    let rbac = &mut t.settings.rbac;
    let gone = text(&rbac.service_principals.remove(n), "Guid").to_owned();
    for group in &mut rbac.role_groups {
        let left: Vec<String> = texts(group, "_members").into_iter().filter(|m| *m != gone).collect();
        group.insert("_members".into(), left.into());
    }
    rbac.assignments.retain(|a| text(a, "_assignee") != gone);
    Ok(Output::default())
}

/// The Guid of a service principal or user.
fn member(t: &Tenant, wanted: &str) -> Result<String, CmdletError> {
    if let Some(n) = principal(t, wanted) {
        return Ok(text(&t.settings.rbac.service_principals[n], "Guid").to_owned());
    }
    let by_id = wanted.parse().ok().and_then(|id| t.users.by_id(id));
    let user = by_id.or_else(|| t.users.by_name(wanted));
    user.map(|u| u.id.to_string()).ok_or_else(|| CmdletError::not_found(wanted))
}

/// (Guid, display name, kind) of a member.
fn member_row(t: &Tenant, guid: &str) -> Option<Row> {
    if let Some(n) = principal(t, guid) {
        let s = &t.settings.rbac.service_principals[n];
        return Some(row(
            json!({"Name": s.get("Name"), "DisplayName": s.get("DisplayName"), "Identity": s.get("Identity"), "Guid": guid, "ExternalDirectoryObjectId": s.get("ObjectId"), "RecipientType": "User", "RecipientTypeDetails": "ServicePrincipal"}),
        ));
    }
    let user = guid.parse().ok().and_then(|id| t.users.by_id(id))?;
    Some(row(
        json!({"Name": user.display_name, "DisplayName": user.display_name, "Identity": user.display_name, "Guid": guid, "ExternalDirectoryObjectId": user.id, "PrimarySmtpAddress": user.addresses.first(), "RecipientType": "UserMailbox", "RecipientTypeDetails": user.mailbox_type}),
    ))
}

/// Role groups as Get-RoleGroup shows them, with members and roles by name.
pub fn groups(t: &Tenant) -> Vec<Row> {
    let rbac = &t.settings.rbac;
    let show = |group: &Row| {
        let members = texts(group, "_members")
            .iter()
            .filter_map(|m| member_row(t, m))
            .map(|m| text(&m, "Name").to_owned())
            .collect::<Vec<_>>();
        let own: Vec<&Row> = rbac.assignments.iter().filter(|a| is(a, "RoleAssignee", text(group, "Name"))).collect();
        let mut shown = group.clone();
        shown.insert("Members".into(), members.into());
        shown.insert("Roles".into(), own.iter().map(|a| text(a, "Role").to_owned()).collect::<Vec<_>>().into());
        let names: Vec<String> = own.iter().map(|a| text(a, "Name").to_owned()).collect();
        shown.insert("RoleAssignments".into(), names.into());
        shown
    };
    rbac.role_groups.iter().map(show).collect()
}

fn new_group(t: &mut Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let mut group = objects::new_object(&t.settings.rbac.role_groups, p, run)?;
    let name = text(&group, "Name").to_owned();
    let roles = p.list("Roles").iter().map(|r| t.settings.rbac.role_name(r)).collect::<Result<Vec<_>, _>>()?;
    let members = p.list("Members").iter().map(|m| member(t, m)).collect::<Result<Vec<_>, _>>()?;
    group.extend(row(
        json!({"DisplayName": p.text("DisplayName").unwrap_or_default(), "Description": p.text("Description").unwrap_or_default(), "ManagedBy": p.list("ManagedBy"), "RoleGroupType": "Standard", "_members": members}),
    ));
    t.settings.rbac.role_groups.push(group);
    for role in roles {
        let made = assignment(&format!("{role}-{name}"), &role, &name, "RoleGroup", Uuid::new_v4());
        t.settings.rbac.assignments.push(made);
    }
    let shown = groups(t).pop();
    Ok(Output::rows(shown.into_iter().collect()))
}

fn group(t: &Tenant, wanted: &str) -> Result<usize, CmdletError> {
    find(&t.settings.rbac.role_groups, wanted).ok_or_else(|| CmdletError::not_found(wanted))
}

/// Its assignments go with it (Remove-RoleGroup page); built-in ones stay.
fn remove_group(t: &mut Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let n = group(t, &identity(p))?;
    let rbac = &mut t.settings.rbac;
    if rbac.role_groups[n].contains_key("_builtin") {
        return Err(invalid(format!("The built-in role group '{}' can't be removed.", identity(p))));
    }
    let gone = rbac.role_groups.remove(n);
    rbac.assignments.retain(|a| !is(a, "RoleAssignee", text(&gone, "Name")));
    Ok(Output::default())
}

fn change_member(t: &mut Tenant, p: &Parameters, add: bool) -> Result<Output, CmdletError> {
    let n = group(t, &identity(p))?;
    let wanted = p.text("Member").unwrap_or_default();
    let guid = member(t, &wanted)?;
    let group = &mut t.settings.rbac.role_groups[n];
    let mut members = texts(group, "_members");
    let there = members.contains(&guid);
    if add && there {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Management.Tasks.MemberAlreadyExistsException",
            format!("The recipient \"{wanted}\" is already a member of the group \"{}\".", text(group, "Name")),
        ));
    }
    if !add && !there {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Management.Tasks.MemberNotFoundException",
            format!("The recipient \"{wanted}\" isn't a member of the group \"{}\".", text(group, "Name")),
        ));
    }
    if add {
        members.push(guid);
    } else {
        members.retain(|m| *m != guid);
    }
    group.insert("_members".into(), members.into());
    Ok(Output::default())
}

fn get_members(t: &Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let n = group(t, &identity(p))?;
    let members = texts(&t.settings.rbac.role_groups[n], "_members");
    Ok(Output::rows(members.iter().filter_map(|m| member_row(t, m)).collect()))
}

/// A new role has its parent's entries, or those of them that are named.
fn new_role(t: &mut Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let rbac = &t.settings.rbac;
    let mut role = objects::new_object(&rbac.roles, p, run)?;
    if built_in(text(&role, "Name")).is_some() {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Data.Directory.ADObjectAlreadyExistsException",
            format!("The role \"{}\" already exists.", text(&role, "Name")),
        ));
    }
    let parent = rbac.role_name(&p.text("Parent").unwrap_or_default())?;
    let of_parent = rbac.entries(&parent);
    let named = p.list("EnabledCmdlets");
    if let Some(foreign) = named.iter().find(|n| !of_parent.iter().any(|c| c.eq_ignore_ascii_case(n))) {
        return Err(invalid(format!("The cmdlet '{foreign}' isn't an entry of the parent role '{parent}'.")));
    }
    let kept = |c: &&&str| named.is_empty() || named.iter().any(|n| n.eq_ignore_ascii_case(c));
    let entries: Vec<&str> = of_parent.iter().filter(kept).copied().collect();
    role.extend(row(
        json!({"Parent": parent, "RoleType": role_type(rbac, &parent), "Description": p.text("Description").unwrap_or_default(), "IsRootRole": false, "IsEndUserRole": false, "RoleEntries": entries}),
    ));
    t.settings.rbac.roles.push(role.clone());
    Ok(Output::rows(vec![role]))
}

/// `Transport Rules` is of type `TransportRules`, and so are its children.
fn role_type(rbac: &Rbac, role: &str) -> String {
    match find(&rbac.roles, role) {
        Some(n) => text(&rbac.roles[n], "RoleType").to_owned(),
        None => role.replace([' ', '-', '.'], ""),
    }
}

/// The built-in roles, then those that were made.
fn all_roles(t: &Tenant) -> Vec<Row> {
    let built = |(name, cmdlets): &(&str, &[&str])| {
        row(
            json!({"Name": name, "Identity": name, "Guid": role_guid(name), "Parent": null, "RoleType": name.replace([' ', '-', '.'], ""), "Description": "", "IsRootRole": true, "IsEndUserRole": false, "RoleEntries": cmdlets, "IsValid": true}),
        )
    };
    roles::ROLES.iter().map(built).chain(t.settings.rbac.roles.iter().cloned()).collect()
}

fn get_roles(t: &Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let rbac = &t.settings.rbac;
    let children = (p.flag("GetChildren") == Some(true), p.flag("Recurse") == Some(true));
    if let (Some(identity), (true, _) | (_, true)) = (p.text("Identity"), children) {
        let parent = rbac.role_name(&identity)?;
        let wanted: Vec<String> = match children {
            // the role itself and all below it, or those right below it (Get-ManagementRole page)
            (_, true) => family(rbac, &parent),
            _ => rbac.roles.iter().filter(|r| is(r, "Parent", &parent)).map(|r| text(r, "Name").to_owned()).collect(),
        };
        let rows = all_roles(t).into_iter().filter(|r| wanted.iter().any(|w| is(r, "Name", w)));
        return Ok(Output::rows(rows.collect()));
    }
    let (cmdlet, kind) = (p.text("Cmdlet"), p.text("RoleType"));
    let holds = |r: &Row| {
        let has = |c: &String| texts(r, "RoleEntries").iter().any(|e| e.eq_ignore_ascii_case(c));
        cmdlet.as_ref().is_none_or(has) && kind.as_ref().is_none_or(|k| is(r, "RoleType", k))
    };
    objects::pick(all_roles(t).into_iter().filter(holds).collect(), p, run)
}

/// A role and everything that was made from it.
fn family(rbac: &Rbac, role: &str) -> Vec<String> {
    let mut all = vec![role.to_owned()];
    let mut n = 0;
    while n < all.len() {
        let below = rbac.roles.iter().filter(|r| is(r, "Parent", &all[n])).map(|r| text(r, "Name").to_owned());
        all.extend(below.collect::<Vec<_>>());
        n += 1;
    }
    all
}

/// Neither while it or what was made from it is assigned, nor with children unless `Recurse`, nor a built-in one
/// (Remove-ManagementRole page; the texts are assumed).
fn remove_role(t: &mut Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let rbac = &mut t.settings.rbac;
    let name = rbac.role_name(&identity(p))?;
    if find(&rbac.roles, &name).is_none() {
        return Err(invalid(format!("The built-in role '{name}' can't be removed.")));
    }
    let gone = family(rbac, &name);
    if gone.len() > 1 && p.flag("Recurse") != Some(true) {
        return Err(invalid(format!("The role '{name}' can't be removed because it has child roles.")));
    }
    if let Some(by) = rbac.assignments.iter().find(|a| gone.iter().any(|g| is(a, "Role", g))) {
        return Err(invalid(format!(
            "The role '{name}' can't be removed because it is assigned: remove the role assignment '{}' first.",
            text(by, "Name")
        )));
    }
    rbac.roles.retain(|r| !gone.iter().any(|g| is(r, "Name", g)));
    Ok(Output::default())
}

/// `role\cmdlet`, with `*` in either place.
fn get_entries(t: &Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let wanted = identity(p);
    let (role, entry) = wanted.rsplit_once('\\').unwrap_or((&wanted, "*"));
    let like = |pattern: &str, value: &str| match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(value),
        Some((from, to)) => {
            let (from, to, value) = (from.to_lowercase(), to.to_lowercase(), value.to_lowercase());
            value.len() >= from.len() + to.len() && value.starts_with(&from) && value.ends_with(&to)
        }
    };
    if !role.contains('*') {
        t.settings.rbac.role_name(role)?;
    }
    let rows = all_roles(t).into_iter().filter(|r| like(role, text(r, "Name"))).flat_map(|r| {
        let role = text(&r, "Name").to_owned();
        let cmdlets: Vec<String> = texts(&r, "RoleEntries").into_iter().filter(|c| like(entry, c)).collect();
        cmdlets.into_iter().map(move |c| {
            let parameters: Vec<&str> = parameters::of(&c).collect();
            row(
                json!({"Name": c, "Role": role, "Id": role, "Identity": format!("{role}\\{c}"), "Parameters": parameters, "Type": "Cmdlet", "PSSnapinName": "Microsoft.Exchange.Management.PowerShell.E2010"}),
            )
        })
    });
    Ok(Output::rows(rows.collect()))
}

fn remove_entry(t: &mut Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let wanted = identity(p);
    let (role, entry) = wanted.rsplit_once('\\').ok_or_else(|| CmdletError::not_found(&wanted))?;
    let rbac = &mut t.settings.rbac;
    let name = rbac.role_name(role)?;
    let Some(n) = find(&rbac.roles, &name) else {
        return Err(invalid(format!("The entries of the built-in role '{name}' can't be changed.")));
    };
    let entries = texts(&rbac.roles[n], "RoleEntries");
    let left: Vec<String> = entries.iter().filter(|e| !e.eq_ignore_ascii_case(entry)).cloned().collect();
    if left.len() == entries.len() {
        return Err(CmdletError::not_found(&wanted));
    }
    rbac.roles[n].insert("RoleEntries".into(), left.into());
    Ok(Output::default())
}

fn new_assignment(t: &mut Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    super::scopes::check(t, p)?;
    let role = t.settings.rbac.role_name(&p.text("Role").unwrap_or_default())?;
    let (assignee, kind, guid) = match (p.text("SecurityGroup"), p.text("App"), p.text("User")) {
        (Some(wanted), None, None) => {
            let n = group(t, &wanted)?;
            (text(&t.settings.rbac.role_groups[n], "Name").to_owned(), "RoleGroup", Value::Null)
        }
        (None, Some(wanted), None) => {
            let n = principal(t, &wanted).ok_or_else(|| CmdletError::not_found(&wanted))?;
            let s = &t.settings.rbac.service_principals[n];
            (text(s, "ObjectId").to_owned(), "ServicePrincipal", s.get("Guid").cloned().unwrap_or_default())
        }
        (None, None, Some(wanted)) => (wanted.clone(), "User", member(t, &wanted)?.into()),
        _ => return Err(CmdletError::missing(&["SecurityGroup, App or User".to_owned()])),
    };
    let name = p.text("Name").unwrap_or_else(|| format!("{role}-{assignee}"));
    if find(&t.settings.rbac.assignments, &name).is_some() {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Data.Directory.ADObjectAlreadyExistsException",
            format!("The role assignment \"{name}\" already exists."),
        ));
    }
    let mut made = assignment(&name, &role, &assignee, kind, Uuid::new_v4());
    for scope in ["CustomRecipientWriteScope", "CustomResourceScope", "RecipientGroupScope"] {
        made.insert(scope.into(), p.text(scope).into());
    }
    if !guid.is_null() {
        made.insert("_from".into(), (run.now.as_second() + run.access_delay).into());
        made.insert("_assignee".into(), guid);
    }
    t.settings.rbac.assignments.push(made.clone());
    Ok(Output::rows(vec![made]))
}

fn get_assignments(t: &Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let wanted =
        |a: &&Row| ["Role", "RoleAssignee", "RoleAssigneeType"].iter().all(|k| p.text(k).is_none_or(|w| is(a, k, &w)));
    objects::pick(t.settings.rbac.assignments.iter().filter(wanted).cloned().collect(), p, run)
}

fn remove_assignment(t: &mut Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let assignments = &mut t.settings.rbac.assignments;
    let n = find(assignments, &identity(p)).ok_or_else(|| CmdletError::not_found(&identity(p)))?;
    assignments.remove(n);
    Ok(Output::default())
}
