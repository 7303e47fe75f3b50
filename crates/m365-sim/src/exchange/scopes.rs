//! Which mailboxes an application may open: application access policies, and management scopes of the roles that
//! Exchange itself gives to applications (pages of New-ApplicationAccessPolicy, New-ManagementScope,
//! Test-ServicePrincipalAuthorization and "RBAC for Applications", 2026-08).

use super::objects::{self, find};
use super::opath::Opath;
use super::parameters::Parameters;
use super::run::{Run, row};
use super::{CmdletError, Output, Row};
use crate::world::{Group, Tenant, User};
use serde_json::{Value, json};
use std::collections::HashSet;
use uuid::Uuid;

/// Nothing for a cmdlet of another file.
pub fn execute(t: &mut Tenant, name: &str, p: &Parameters, run: &Run<'_>) -> Option<Result<Output, CmdletError>> {
    Some(match name {
        "New-ApplicationAccessPolicy" => new_policy(t, p, run),
        "Get-ApplicationAccessPolicy" => objects::pick(t.settings.access_policies.clone(), p, run),
        "Set-ApplicationAccessPolicy" => policy(t, p).map(|n| {
            if let Some(description) = p.text("Description") {
                t.settings.access_policies[n].insert("Description".into(), description.into());
            }
            Output::default()
        }),
        "Remove-ApplicationAccessPolicy" => policy(t, p).map(|n| {
            t.settings.access_policies.remove(n);
            Output::default()
        }),
        "Test-ApplicationAccessPolicy" => test_policy(t, p, run),
        "New-ManagementScope" => new_scope(t, p, run),
        "Get-ManagementScope" => objects::pick(t.settings.rbac.scopes.clone(), p, run),
        "Remove-ManagementScope" => remove_scope(t, p),
        "Test-ServicePrincipalAuthorization" => test_principal(t, p),
        _ => return None,
    })
}

fn text<'r>(object: &'r Row, key: &str) -> &'r str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn identity(p: &Parameters) -> String {
    p.text("Identity").unwrap_or_default()
}

fn policy(t: &Tenant, p: &Parameters) -> Result<usize, CmdletError> {
    find(&t.settings.access_policies, &identity(p)).ok_or_else(|| CmdletError::not_found(&identity(p)))
}

fn user<'t>(t: &'t Tenant, wanted: &str) -> Option<&'t User> {
    let by_id = wanted.parse().ok().and_then(|id| t.users.by_id(id));
    by_id.or_else(|| t.users.by_name(wanted)).filter(|u| !u.mailbox_type.is_empty())
}

fn group<'t>(t: &'t Tenant, wanted: &str) -> Option<&'t Group> {
    let by_id = wanted.parse().ok().and_then(|id| t.groups.by_id(id));
    let named = || t.groups.iter().find(|g| g.display_name.eq_ignore_ascii_case(wanted) || dn(g) == wanted);
    by_id.or_else(|| t.groups.by_name(wanted)).or_else(named)
}

/// Only mail-enabled security groups and user mailboxes are security principals that a policy may name.
fn principal(t: &Tenant, wanted: &str) -> Result<(Uuid, String), CmdletError> {
    let group = group(t, wanted).filter(|g| g.kind == "mail_security").map(|g| (g.id, g.display_name.clone()));
    let user = || user(t, wanted).filter(|u| u.mailbox_type == "UserMailbox").map(|u| (u.id, u.display_name.clone()));
    group.or_else(user).ok_or_else(|| {
        CmdletError::business(
            "Microsoft.Exchange.Management.Tasks.RecipientTaskException",
            format!("The recipient \"{wanted}\" isn't a security principal: a mail-enabled security group or a user mailbox is expected."),
        )
    })
}

fn new_policy(t: &mut Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let right = p.text("AccessRight").unwrap_or_default();
    let right =
        ["RestrictAccess", "DenyAccess"].into_iter().find(|r| r.eq_ignore_ascii_case(&right)).ok_or_else(|| {
            let names = ["RestrictAccess", "DenyAccess"];
            CmdletError::transformation("AccessRight", &right, "ApplicationAccessPolicyRight", &names)
        })?;
    let (id, name) = principal(t, &p.text("PolicyScopeGroupId").unwrap_or_default())?;
    let mut made = Vec::new();
    for app in p.list("AppId") {
        let guid = Uuid::new_v4();
        let identity = format!("{}\\{app}:{id};{guid}", t.id);
        made.push(row(
            json!({"ScopeName": name, "ScopeIdentity": name, "Identity": identity, "Name": identity, "Guid": guid, "AppId": app, "ScopeIdentityRaw": id, "Description": p.text("Description").unwrap_or_default(), "AccessRight": right, "ShardType": "All", "IsValid": true, "ObjectState": "Unchanged", "_principal": id, "_from": run.now.as_second() + run.access_delay}),
        ));
    }
    t.settings.access_policies.extend(made.clone());
    Ok(Output::rows(made))
}

fn test_policy(t: &Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let found = user(t, &identity(p)).ok_or_else(|| CmdletError::not_found(&identity(p)))?;
    let app = p.text("AppId").unwrap_or_default();
    // the test sees policies at once (New-ApplicationAccessPolicy guide: the change itself takes longer)
    let granted = policies_allow(t, &app, found, run.now.as_second() + run.access_delay);
    Ok(Output::rows(vec![row(
        json!({"AppId": app, "Mailbox": found.upn, "MailboxId": found.id, "MailboxSid": format!("S-1-5-21-{}", found.id.as_u128() % 4_000_000_000), "AccessCheckResult": if granted { "Granted" } else { "Denied" }}),
    )]))
}

fn is_in(t: &Tenant, principal: &str, user: &User) -> bool {
    let Ok(id) = principal.parse::<Uuid>() else { return false };
    let (mut ids, mut seen) = (vec![id], HashSet::new());
    while let Some(id) = ids.pop() {
        if id == user.id {
            return true;
        }
        if seen.insert(id)
            && let Some(group) = t.groups.by_id(id)
        {
            ids.extend(&group.members);
        }
    }
    false
}

/// The five rules of the New-ApplicationAccessPolicy page: who is denied stays out, who is restricted needs a policy
/// that names the mailbox, everybody else is let in.
pub fn policies_allow(t: &Tenant, app: &str, user: &User, now: i64) -> bool {
    let effective = |p: &&Row| p.get("_from").and_then(Value::as_i64).is_none_or(|from| from <= now);
    let own = |p: &&Row| text(p, "AppId") == "*" || text(p, "AppId").eq_ignore_ascii_case(app);
    let of = |right: &'static str| {
        let all = t.settings.access_policies.iter().filter(effective).filter(own);
        all.filter(move |p| text(p, "AccessRight") == right)
    };
    if of("DenyAccess").any(|p| is_in(t, text(p, "_principal"), user)) {
        return false;
    }
    of("RestrictAccess").next().is_none() || of("RestrictAccess").any(|p| is_in(t, text(p, "_principal"), user))
}

/// The distinguished name of a group, by which filters name it.
pub fn dn(g: &Group) -> String {
    let name = g.display_name.replace(',', "\\,");
    format!("CN={name},OU=Microsoft Exchange Hosted Organizations,DC=EURPR01A001,DC=PROD,DC=OUTLOOK,DC=COM")
}

fn new_scope(t: &mut Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let filter = p.text("RecipientRestrictionFilter").unwrap_or_default();
    Opath::parse(&filter).map_err(|rest| {
        CmdletError::business(
            "Microsoft.Exchange.Data.ParsingException",
            format!("Invalid filter syntax: \"{filter}\" isn't understood at \"{rest}\"."),
        )
    })?;
    let mut scope = objects::new_object(&t.settings.rbac.scopes, p, run)?;
    scope.extend(row(
        json!({"RecipientFilter": filter, "RecipientRoot": "", "ScopeRestrictionType": "RecipientScope", "Exclusive": p.flag("Exclusive").unwrap_or(false)}),
    ));
    t.settings.rbac.scopes.push(scope.clone());
    Ok(Output::rows(vec![scope]))
}

/// Not while an assignment has it (Remove-ManagementScope page; the text is assumed).
fn remove_scope(t: &mut Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let rbac = &mut t.settings.rbac;
    let n = find(&rbac.scopes, &identity(p)).ok_or_else(|| CmdletError::not_found(&identity(p)))?;
    let name = text(&rbac.scopes[n], "Name").to_owned();
    let has = |a: &&Row| {
        ["CustomResourceScope", "CustomRecipientWriteScope"].iter().any(|k| text(a, k).eq_ignore_ascii_case(&name))
    };
    if let Some(by) = rbac.assignments.iter().find(has) {
        return Err(CmdletError::business(
            "System.InvalidOperationException",
            format!("The scope '{name}' can't be removed because the role assignment '{}' has it.", text(by, "Name")),
        ));
    }
    rbac.scopes.remove(n);
    Ok(Output::default())
}

/// What Exchange itself grants to an application.
pub struct Granted<'t> {
    pub assignment: &'t Row,
    /// As Graph calls it: `Mail.ReadWrite`.
    pub permissions: Vec<&'static str>,
}

/// `Application Mail.ReadWrite` and its like: the permissions that a role grants to applications.
fn permissions(role: &str) -> Vec<&'static str> {
    match role {
        "Application Mail.ReadBasic" => vec!["Mail.ReadBasic"],
        "Application Mail.Read" => vec!["Mail.Read"],
        "Application Mail.ReadWrite" => vec!["Mail.ReadWrite"],
        "Application Mail.Send" => vec!["Mail.Send"],
        "Application Mail Full Access" | "Application Exchange Full Access" => vec!["Mail.ReadWrite", "Mail.Send"],
        _ => Vec::new(),
    }
}

/// By the service principal that Exchange knows; both of its ids have to be right.
pub fn granted<'t>(t: &'t Tenant, app: Uuid, object: Uuid) -> Vec<Granted<'t>> {
    let rbac = &t.settings.rbac;
    let (app, object) = (app.to_string(), object.to_string());
    let own = rbac
        .service_principals
        .iter()
        .find(|s| text(s, "AppId").eq_ignore_ascii_case(&app) && text(s, "ObjectId").eq_ignore_ascii_case(&object));
    let Some(own) = own else { return Vec::new() };
    let held = rbac.assignments.iter().filter(|a| text(a, "_assignee") == text(own, "Guid"));
    let granted = held.map(|a| Granted { assignment: a, permissions: permissions(text(a, "Role")) });
    granted.filter(|g| !g.permissions.is_empty()).collect()
}

impl Granted<'_> {
    /// The name of its scope, and whether that is a scope or a group.
    fn scope(&self) -> (&str, &'static str) {
        let scope = text(self.assignment, "CustomResourceScope");
        match text(self.assignment, "RecipientGroupScope") {
            "" if scope.is_empty() => ("Organization", "Organization"),
            "" => (scope, "CustomRecipientScope"),
            group => (group, "Group"),
        }
    }
    pub fn is_effective(&self, now: i64) -> bool {
        self.assignment.get("_from").and_then(Value::as_i64).is_none_or(|from| from <= now)
    }
    /// Whether a mailbox is in it. Nested groups are not looked into.
    pub fn covers(&self, t: &Tenant, user: &User) -> bool {
        match self.scope() {
            (_, "Organization") => true,
            (name, "Group") => group(t, name).is_some_and(|g| g.members.contains(&user.id)),
            (name, _) => {
                let scope = find(&t.settings.rbac.scopes, name).map(|n| &t.settings.rbac.scopes[n]);
                let filter = scope.and_then(|s| Opath::parse(text(s, "RecipientFilter")).ok());
                filter.is_some_and(|f| f.holds(&recipient(t, user)))
            }
        }
    }
    pub fn shown_scope(&self) -> String {
        self.scope().0.to_owned()
    }
}

/// What a filter may ask of a mailbox.
fn recipient(t: &Tenant, u: &User) -> Row {
    let groups: Vec<String> = t.groups.iter().filter(|g| g.members.contains(&u.id)).map(dn).collect();
    let primary = u.addresses.first().cloned().unwrap_or_default();
    row(
        json!({"Name": u.display_name, "DisplayName": u.display_name, "UserPrincipalName": u.upn, "PrimarySmtpAddress": primary, "EmailAddresses": u.addresses, "Alias": primary.split('@').next(), "Guid": u.id, "ExternalDirectoryObjectId": u.id, "RecipientType": "UserMailbox", "RecipientTypeDetails": u.mailbox_type, "MemberOfGroup": groups}),
    )
}

/// What an assignment to an application may be limited by has to be there.
pub fn check(t: &Tenant, p: &Parameters) -> Result<(), CmdletError> {
    if let Some(scope) = p.text("CustomResourceScope")
        && find(&t.settings.rbac.scopes, &scope).is_none()
    {
        return Err(CmdletError::not_found(&scope));
    }
    match p.text("RecipientGroupScope") {
        Some(name) if group(t, &name).is_none() => Err(CmdletError::not_found(&name)),
        _ => Ok(()),
    }
}

fn test_principal(t: &Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let wanted = identity(p);
    let keys = ["Guid", "ObjectId", "AppId", "DisplayName"];
    let is = |s: &&Row| keys.iter().any(|k| text(s, k).eq_ignore_ascii_case(&wanted));
    let found = t.settings.rbac.service_principals.iter().find(is).ok_or_else(|| CmdletError::not_found(&wanted))?;
    let resource = match p.text("Resource") {
        None => None,
        Some(name) => Some(user(t, &name).ok_or_else(|| CmdletError::not_found(&name))?),
    };
    let id = |key: &str| text(found, key).parse().unwrap_or_default();
    let rows = granted(t, id("AppId"), id("ObjectId")).into_iter().map(|g| {
        let (scope, kind) = g.scope();
        // it bypasses the cache that delays the change itself (RBAC for Applications page)
        let in_scope = resource.map_or(Value::from("Not Run"), |u| g.covers(t, u).into());
        row(json!({"RoleName": text(g.assignment, "Role"), "GrantedPermissions": g.permissions.join(", "), "AllowedResourceScope": scope, "ScopeType": kind, "InScope": in_scope}))
    });
    Ok(Output::rows(rows.collect()))
}
