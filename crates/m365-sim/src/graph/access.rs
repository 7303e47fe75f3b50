//! Who may open which mailbox: permissions of the token, limited by application access policies, and what Exchange
//! itself grants to applications ("RBAC for Applications"). Both ways add up (its page, 2026-08).

use super::Refusal;
use crate::entra::GRAPH;
use crate::entra::bearer::Caller;
use crate::exchange::scopes;
use crate::mailbox::{Mailbox, Standing};
use crate::world::{Tenant, User};
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// All but bodies and attachments.
    Basic,
    Read,
    Write,
    Send,
}

impl Right {
    fn permissions(self) -> &'static [&'static str] {
        match self {
            Right::Basic => &["Mail.ReadBasic", "Mail.ReadBasic.All", "Mail.Read", "Mail.ReadWrite"],
            Right::Read => &["Mail.Read", "Mail.ReadWrite"],
            Right::Write => &["Mail.ReadWrite"],
            Right::Send => &["Mail.Send"],
        }
    }
    fn is_in(self, held: &[impl AsRef<str>]) -> bool {
        held.iter().any(|h| self.permissions().iter().any(|p| p.eq_ignore_ascii_case(h.as_ref())))
    }
}

/// A mailbox that may be opened.
#[derive(Clone, Debug)]
pub struct Opened {
    pub user: Uuid,
    pub address: String,
    /// Bodies and attachments may be read.
    pub whole: bool,
}

impl Opened {
    pub fn mailbox<'t>(&self, t: &'t mut Tenant) -> Result<&'t mut Mailbox, Refusal> {
        t.mailboxes.get_mut(&self.address).ok_or_else(not_enabled)
    }
}

pub fn denied() -> Refusal {
    Refusal::new(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
}

fn not_enabled() -> Refusal {
    Refusal::new(
        404,
        "MailboxNotEnabledForRESTAPI",
        "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
    )
}

/// An application as it stands in the directory: its ids and the permissions of Graph that it has.
pub struct App {
    pub app_id: Uuid,
    pub object: Uuid,
    pub roles: Vec<String>,
}

impl App {
    /// What it was granted by now, whatever its token says.
    pub fn known(t: &Tenant, app_id: Uuid, now: i64) -> Option<App> {
        let own = t.service_principals.iter().find(|s| s.app_id == app_id && s.account_enabled)?;
        let graph = t.service_principals.iter().find(|s| s.app_id == GRAPH)?;
        let held = t.app_role_assignments.iter();
        let held = held.filter(|a| a.principal == own.id && a.resource == graph.id && a.visible_from <= now);
        let named = held.filter_map(|a| graph.app_roles.iter().find(|(id, _)| *id == a.app_role));
        Some(App { app_id, object: own.id, roles: named.map(|(_, name)| name.clone()).collect() })
    }
    /// Whether it may do so at any mailbox at all.
    fn may_somewhere(&self, t: &Tenant, right: Right) -> bool {
        let by_exchange = || scopes::granted(t, self.app_id, self.object).iter().any(|g| right.is_in(&g.permissions));
        right.is_in(&self.roles) || by_exchange()
    }
    pub fn may(&self, t: &Tenant, user: &User, right: Right, now: i64) -> bool {
        let by_entra = || right.is_in(&self.roles) && scopes::policies_allow(t, &self.app_id.to_string(), user, now);
        let by_exchange = || {
            let granted = scopes::granted(t, self.app_id, self.object);
            granted.iter().any(|g| right.is_in(&g.permissions) && g.is_effective(now) && g.covers(t, user))
        };
        by_entra() || by_exchange()
    }
}

/// The mailbox of `key` (an id or a user principal name) for the caller; refused as Outlook's side of Graph does.
pub fn open(t: &Tenant, caller: &Caller, key: &str, right: Right, now: i64) -> Result<Opened, Refusal> {
    let app = App { app_id: caller.app_id, object: caller.object_id, roles: caller.roles.clone() };
    let delegated = caller.user.is_some();
    let somewhere =
        caller.everything || if delegated { right.is_in(&caller.scopes) } else { app.may_somewhere(t, right) };
    if !somewhere {
        return Err(denied());
    }
    // `{id}@{tenant}`: the long form of notifications
    let id = key.split_once('@').filter(|(_, tenant)| *tenant == t.id.to_string()).map_or(key, |(id, _)| id);
    let by_id = id.parse().ok().and_then(|id| t.users.by_id(id));
    let user = by_id
        .or_else(|| t.users.by_name(key).filter(|u| u.upn.eq_ignore_ascii_case(key)))
        .ok_or_else(|| Refusal::new(404, "ErrorInvalidUser", format!("The requested user '{key}' is invalid.")))?;
    let address = user.addresses.first().filter(|_| !user.mailbox_type.is_empty()).ok_or_else(not_enabled)?;
    let mailbox = t.mailboxes.get(address).ok_or_else(not_enabled)?;
    if mailbox.standing != Standing::Served {
        return Err(not_enabled());
    }
    let may = |right: Right| {
        let own = || user.id == caller.object_id && right.is_in(&caller.scopes);
        caller.everything || if delegated { own() } else { app.may(t, user, right, now) }
    };
    if !may(right) {
        return Err(denied());
    }
    Ok(Opened { user: user.id, address: address.clone(), whole: may(Right::Read) })
}

/// Every application that has a permission for mail, by whichever way, for the export.
pub fn mail_permissions(t: &Tenant) -> Vec<Value> {
    let mut rows = Vec::new();
    for own in &t.service_principals {
        let row = |permission: &str, by: &str, scope: String| json!({"appId": own.app_id, "displayName": own.display_name, "permission": permission, "grantedBy": by, "scope": scope});
        let is_mail = |name: &str| name.starts_with("Mail.") || name.starts_with("MailboxSettings.");
        let app = App::known(t, own.app_id, i64::MAX);
        for role in app.iter().flat_map(|a| &a.roles).filter(|r| is_mail(r)) {
            let named = |p: &&crate::exchange::Row| {
                let id = p.get("AppId").and_then(Value::as_str).unwrap_or_default();
                id == "*" || id.eq_ignore_ascii_case(&own.app_id.to_string())
            };
            let policies = t.settings.access_policies.iter().filter(named);
            let texts = policies.map(|p| format!("{} {}", plain(p.get("AccessRight")), plain(p.get("ScopeName"))));
            let scope = texts.collect::<Vec<_>>().join(", ");
            rows.push(row(role, "appRoleAssignment", if scope.is_empty() { "Organization".into() } else { scope }));
        }
        for granted in scopes::granted(t, own.app_id, own.id) {
            for permission in &granted.permissions {
                rows.push(row(permission, "managementRoleAssignment", granted.shown_scope()));
            }
        }
        for grant in t.permission_grants.iter().filter(|g| g.client == own.id) {
            for scope in grant.scope.split_whitespace().filter(|s| is_mail(s)) {
                rows.push(row(scope, "oauth2PermissionGrant", grant.consent_type.clone()));
            }
        }
    }
    rows.sort_by_key(|r| r.to_string());
    rows
}

fn plain(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}
