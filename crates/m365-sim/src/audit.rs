//! The one internal audit log of a tenant; every change through any door is written here.
//!
//! The activity feed is made from it. What a client put into a parameter stands here as Exchange would audit it,
//! secrets included: keeping them out of its own logs is the client's duty.

use crate::world::Tenant;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// One change: who, what, on what, with which parameters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AuditRecord {
    pub id: Uuid,
    /// Unix seconds.
    pub at: i64,
    /// `Exchange`, `AzureActiveDirectory` or `Control`
    pub workload: String,
    /// Cmdlet or directory activity name, e.g. `New-InboundConnector`, `Add service principal`.
    pub operation: String,
    pub object_id: String,
    /// User principal name, or the application's display name.
    pub user_id: String,
    pub app_id: Option<Uuid>,
    /// Object id of the user or service principal, where a token named one.
    #[serde(default)]
    pub actor: Option<Uuid>,
    /// An application acted for itself, no user took part.
    #[serde(default)]
    pub by_app: bool,
    pub client_ip: String,
    pub succeeded: bool,
    pub parameters: Vec<(String, Value)>,
    /// What a directory change was done to.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// Auditing was on when it happened, so that the activity feed tells it.
    #[serde(default)]
    pub in_feed: bool,
}

/// An object of the directory as an audit record names it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// `ServicePrincipal`, `Application`, `User`, `Group`, `Role` or `Other`
    pub kind: String,
    pub id: String,
    pub name: String,
}

/// What `key` (an id, `appId=…`, a user's name, anything else) names; objects that are gone are named by `name`.
pub fn target(t: &Tenant, activity: &str, key: &str, name: &str) -> Target {
    let of = |kind: &str, id: String, name: &str| Target { kind: kind.into(), id, name: name.to_owned() };
    let app_id = key.strip_prefix("appId=").and_then(|id| id.parse::<Uuid>().ok());
    let id = key.parse::<Uuid>().ok();
    let is = |object: Uuid, app: Uuid| Some(object) == id || Some(app) == app_id;
    let principal = t.service_principals.iter().find(|s| is(s.id, s.app_id));
    let application = t.applications.iter().find(|a| is(a.id, a.app_id));
    if let Some(a) = application
        .filter(|_| principal.is_none() || activity.contains("application") && !activity.starts_with("Consent"))
    {
        return of("Application", a.id.to_string(), &a.display_name);
    }
    if let Some(s) = principal {
        return of("ServicePrincipal", s.id.to_string(), &s.display_name);
    }
    if let Some(u) = id.and_then(|id| t.users.by_id(id)).or_else(|| t.users.by_name(key)) {
        return of("User", u.id.to_string(), &u.upn);
    }
    if let Some(g) = id.and_then(|id| t.groups.by_id(id)) {
        return of("Group", g.id.to_string(), &g.display_name);
    }
    let kinds = [("service principal", "ServicePrincipal"), ("application", "Application"), ("user", "User")];
    let kinds = kinds.iter().chain(&[("group", "Group"), ("role", "Role")]);
    let kind = kinds.into_iter().find(|(word, _)| activity.contains(word)).map_or("Other", |(_, kind)| kind);
    of(kind, key.to_owned(), if name.is_empty() { key } else { name })
}

/// Whether a tenant records into the activity feed (UnifiedAuditLogIngestionEnabled), and since when.
#[derive(Clone, Debug)]
pub struct Ingestion {
    /// As Get-AdminAuditLogConfig shows it.
    pub wanted: bool,
    /// (Unix seconds from which it is so, on or off), oldest first; before the first: on.
    changes: Vec<(i64, bool)>,
}

impl Default for Ingestion {
    fn default() -> Ingestion {
        Ingestion { wanted: true, changes: Vec::new() }
    }
}

impl Ingestion {
    pub fn set(&mut self, on: bool, from: i64) {
        if self.wanted != on {
            self.wanted = on;
            self.changes.push((from, on));
        }
    }
    pub fn is_on(&self, now: i64) -> bool {
        self.changes.iter().rev().find(|(from, _)| *from <= now).is_none_or(|(_, on)| *on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_at_once_and_effective_later() {
        let mut ingestion = Ingestion::default();
        assert!(ingestion.is_on(0));
        ingestion.set(false, 100);
        assert!(!ingestion.wanted && ingestion.is_on(99) && !ingestion.is_on(100));
        ingestion.set(true, 3700);
        assert!(ingestion.wanted && !ingestion.is_on(3699) && ingestion.is_on(3700));
    }
}
