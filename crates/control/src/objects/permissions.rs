//! Step d: what the application may do in the tenant, each with its reason, shown before it is granted.
//! docs/permissions.md is written from this list by its test.

use crate::objects;
use crate::plan::{Action, Change, Observed, ValueChange};
use m365::{Claims, Service};
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use store::Severity;
use tenant::{ExchangeRights, Tenant};

const GRAPH: &str = "00000003-0000-0000-c000-000000000000";
const EXCHANGE: &str = "00000002-0000-0ff1-ce00-000000000000";
const ACTIVITY: &str = "c5393580-f805-4401-95e8-94b7a6ef2fc2";
/// Directory role template (wire.md Appendix A).
pub(crate) const EXCHANGE_ADMINISTRATOR: &str = "29232cdf-9323-42fd-ade2-1d097af3e4de";

/// One thing the application may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// `Microsoft Graph`, `Office 365 Exchange Online`, or `Directory role`.
    pub resource: &'static str,
    pub name: &'static str,
    pub reason: String,
    /// The application that offers it; empty for a directory role.
    #[serde(skip)]
    pub(crate) app_id: &'static str,
    #[serde(skip)]
    pub(crate) service: Option<Service>,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} · {}: {}", self.resource, self.name, self.reason)
    }
}

/// Every permission that an object may name: the resource that offers it and the service whose tokens carry it.
const CATALOGUE: &[(&str, &str, &str, Option<Service>)] = &[
    ("User.Read.All", "Microsoft Graph", GRAPH, Some(Service::Graph)),
    ("Group.Read.All", "Microsoft Graph", GRAPH, Some(Service::Graph)),
    ("Organization.Read.All", "Microsoft Graph", GRAPH, Some(Service::Graph)),
    ("Domain.ReadWrite.All", "Microsoft Graph", GRAPH, Some(Service::Graph)),
    ("Application.ReadWrite.OwnedBy", "Microsoft Graph", GRAPH, Some(Service::Graph)),
    (EXCHANGE_APP, "Office 365 Exchange Online", EXCHANGE, Some(Service::Exchange)),
    ("ActivityFeed.Read", "Office 365 Management APIs", ACTIVITY, Some(Service::Activity)),
];

pub(crate) const EXCHANGE_APP: &str = "Exchange.ManageAsApp";
const ROLE: &str = "Exchange Administrator";

/// The smallest set that the objects of this crate need, each with the reasons of all who need it.
pub fn needed(rights: ExchangeRights) -> Vec<Permission> {
    let mut all: Vec<Permission> = Vec::new();
    for (name, resource, app_id, service) in CATALOGUE {
        let needs = objects::NEEDS.iter().flat_map(|(_, needs)| needs.iter()).filter(|n| n.permission == *name);
        let reasons: Vec<&str> = needs.map(|n| n.reason).collect();
        if !reasons.is_empty() {
            let reason = reasons.join("; ");
            all.push(Permission { resource, name, reason, app_id, service: *service });
        }
    }
    if rights == ExchangeRights::Administrator {
        all.push(Permission {
            resource: "Directory role",
            name: ROLE,
            reason: "Exchange takes cmdlets of an application only if it also has a role; of the directory roles this is the smallest that may change connectors and rules".into(),
            app_id: "",
            service: None,
        });
    }
    all
}

/// What the second application needs, where the tenant wants bad mail taken back out of mailboxes.
pub fn needed_after_delivery() -> Vec<Permission> {
    let graph = |name, reason: &str| Permission {
        resource: "Microsoft Graph",
        name,
        reason: reason.into(),
        app_id: GRAPH,
        service: Some(Service::Graph),
    };
    vec![
        graph("Mail.ReadWrite", "moves mail that turned out to be bad out of mailboxes, and back"),
        graph(
            "Application.ReadWrite.OwnedBy",
            "renews its own certificate, and deletes itself; reaches no other application",
        ),
    ]
}

/// What fresh tokens say that the application may do, service by service: names of permissions and of the role.
pub(crate) struct Granted(pub Vec<(Service, std::result::Result<Claims, String>)>);

impl Granted {
    /// `None`: not known.
    pub(crate) fn has(&self, permission: &Permission) -> Option<bool> {
        let wanted = permission.service.unwrap_or(Service::Exchange);
        let (_, claims) = self.0.iter().find(|(service, _)| *service == wanted)?;
        let claims = claims.as_ref().ok()?;
        Some(match permission.service {
            Some(_) => claims.roles.iter().any(|r| r == permission.name),
            None => claims.wids.iter().any(|w| w.eq_ignore_ascii_case(EXCHANGE_ADMINISTRATOR)),
        })
    }
}

/// What was revoked. Only an administrator can grant it again.
pub(crate) fn changes(tenant: &Tenant, observed: &Observed) -> Vec<Change> {
    let gone = needed(tenant.policy.exchange_rights).into_iter().filter(|p| observed.granted.has(p) == Some(false));
    let again = |p: Permission| Change {
        waits_for: Some("a Global Administrator to grant it again: posthouse tenant connect".into()),
        ..Change::new(
            Action::Create,
            format!("permission {}", p.name),
            "our application may no longer do what it must",
            "sign-in of a Global Administrator",
        )
        .of(vec![ValueChange { name: p.resource.into(), before: Value::Null, after: p.name.into() }])
        .graded(Severity::High)
        .undone_by("an administrator revokes it in Entra")
    };
    gone.map(again).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::objects::role_group;
    use std::fmt::Write;

    #[test]
    fn the_documented_permissions_are_the_list() {
        let mut page = "# What Posthouse may do in a tenant\n\nWritten from the `NEEDS` of `crates/control/src/objects` by a test (`UPDATE_EXPECT=1`); do not edit.\n\n## The application “Posthouse Mail Flow”\n\nGranted once, by a Global Administrator, after having been shown this list.\n\n| of | permission | why |\n|---|---|---|\n".to_owned();
        for p in needed(ExchangeRights::Administrator) {
            writeln!(page, "| {} | `{}` | {} |", p.resource, p.name, p.reason).unwrap();
        }
        page += "\n## What each object asks for\n\n| object | permission | cmdlets of Exchange |\n|---|---|---|\n";
        for (object, needs) in objects::NEEDS {
            for need in *needs {
                writeln!(page, "| {object} | `{}` | {} |", need.permission, need.cmdlets.join(", ")).unwrap();
            }
        }
        page += &format!(
            "\n## A role group instead of Exchange Administrator\n\nWith `posthouse tenant connect --exchange-rights role-group` the application gets no directory role but membership in the role group “{}”, whose roles hold these {} cmdlets and no other:\n\n",
            role_group::NAME,
            role_group::cmdlets().len()
        );
        for (parent, cmdlets) in role_group::roles() {
            writeln!(page, "* of “{parent}”: {}", cmdlets.join(", ")).unwrap();
        }
        page += "\nMaking it takes the role Exchange Administrator for some minutes, since a role group cannot make itself; it is taken away again before any mail is routed. The price: an application may not remove the last role by which it may remove things, so after disconnecting an administrator deletes what the proof then lists as still there. An organization that was never customised (dehydrated) refuses role groups.\n";
        page += "\n## The application “Posthouse Post Delivery”\n\nMade only with `posthouse tenant connect --post-delivery`; an application of its own, so that what carries mail has no right to read mailboxes, and the other way round.\n\n| of | permission | why |\n|---|---|---|\n";
        for p in needed_after_delivery() {
            writeln!(page, "| {} | `{}` | {} |", p.resource, p.name, p.reason).unwrap();
        }
        page += "\n## The administrator's sign-in\n\nDelegated, through a public client, while `posthouse tenant connect` runs; the token is never written down. Microsoft's page asks for `DelegatedPermissionGrant.ReadWrite.All` alone; the others are lent with it to the account that signed in, and all of them are taken back when the command ends.\n\n| permission | why |\n|---|---|\n";
        for (name, why) in crate::account::DELEGATED {
            writeln!(page, "| `{name}` | {why} |").unwrap();
        }
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/permissions.md");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), page, "run with UPDATE_EXPECT=1");
    }

    /// A permission that no object names is not asked for, and no object names one that the catalogue does not know.
    #[test]
    fn nothing_is_asked_for_without_an_object_that_needs_it() {
        let asked: Vec<_> = needed(ExchangeRights::RoleGroup).into_iter().map(|p| p.name).collect();
        for (object, needs) in objects::NEEDS {
            for need in *needs {
                assert!(asked.contains(&need.permission), "{object} needs {}", need.permission);
            }
        }
        let covered: Vec<_> = role_group::roles().into_iter().flat_map(|(_, cmdlets)| cmdlets).collect();
        for cmdlet in objects::cmdlets() {
            assert!(covered.contains(&cmdlet), "no role holds {cmdlet}");
        }
    }
}
