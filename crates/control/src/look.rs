//! A tenant as it is against the tenant as it should be: each difference graded, with what it means for mail and who
//! did it. Reads and tells, and changes nothing.

use crate::applied::as_applied;
use crate::feed::{Feed, When};
use crate::objects::{arc_sealer, audit_config, credential, rules};
use crate::plan::{self, Action, Change, Notice, Plan, Unknown};
use crate::tell::Memory;
use crate::{Result, Settings};
use jiff::Timestamp;
use m365::Client;
use serde::Serialize;
use std::fmt;
use store::{AlertKind, Severity, Store};
use tenant::TenantId;

/// One thing that is not as it should be.
#[derive(Clone, Debug, Serialize)]
pub struct Drift {
    pub severity: Severity,
    pub object: String,
    /// What is different, in one line.
    pub what: String,
    /// What it means for mail now.
    pub effect: &'static str,
    /// Who did it, as far as the audit feed says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// What puts it right.
    pub repair: String,
    #[serde(skip)]
    pub(crate) kind: AlertKind,
}

/// A look at one tenant.
#[derive(Clone, Debug, Serialize)]
pub struct Look {
    pub tenant: TenantId,
    pub display_name: String,
    pub drift: Vec<Drift>,
    pub unknown: Vec<Unknown>,
    /// The plan that repairs it.
    pub plan: Option<String>,
    /// Why the audit feed cannot be read now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed_trouble: Option<String>,
    /// Times of which the audit feed can tell nothing any more.
    pub feed_gaps: Vec<String>,
}

/// Reads and grades, and changes nothing.
pub async fn look(id: TenantId, client: &Client, store: &Store, settings: &Settings) -> Result<Look> {
    let plan = plan_as_applied(id, client, store, settings).await?;
    Ok(graded(&plan, &Feed::known(store, id).await?, &Memory::known(store, id).await?, client.now()))
}

/// Against what was applied last: a wish that nobody carried out yet is no difference that somebody made.
pub(crate) async fn plan_as_applied(id: TenantId, client: &Client, store: &Store, settings: &Settings) -> Result<Plan> {
    let (tenant, app) = plan::acting(id, store).await?;
    let (tenant, settings) = as_applied(store, tenant, settings).await?;
    plan::of_tenant(&tenant, &app, client, store, &settings).await
}

pub(crate) fn graded(plan: &Plan, feed: &Feed, memory: &Memory, now: Timestamp) -> Look {
    let of_change = |change: &Change| Drift {
        severity: change.severity,
        object: change.object.clone(),
        what: what(change),
        effect: effect(change),
        who: culprit(&change.object, feed, memory.when(&change.object, now)),
        repair: match &change.waits_for {
            Some(waits_for) => format!("it waits for {waits_for}"),
            None => format!("posthouse plan {0}; posthouse apply {0} --plan {1}", plan.tenant, plan.id),
        },
        kind: kind(&change.object),
    };
    let of_notice = |notice: &Notice| {
        Some(Drift {
            severity: notice.severity?,
            object: notice.object.clone(),
            what: notice.found.clone(),
            effect: effect_of_notice(notice),
            who: culprit(&notice.object, feed, memory.when(&notice.object, now)),
            repair: notice.advice.into(),
            kind: AlertKind::Tampered,
        })
    };
    let mut drift: Vec<Drift> = plan.changes.iter().map(of_change).collect();
    drift.extend(plan.notices.iter().filter_map(of_notice));
    drift.sort_by_key(|d| std::cmp::Reverse(d.severity));
    Look {
        tenant: plan.tenant,
        display_name: plan.display_name.clone(),
        drift,
        unknown: plan.unknown.clone(),
        plan: (!plan.changes.is_empty()).then(|| plan.id.clone()),
        feed_trouble: feed.trouble.clone(),
        feed_gaps: feed.gaps.clone(),
    }
}

fn effect_of_notice(notice: &Notice) -> &'static str {
    if notice.object.starts_with("inbound connector") {
        return "mail that comes back from us may be taken by it instead of ours: refused, or taken for another's";
    }
    "mail that it takes is not checked here"
}

fn what(change: &Change) -> String {
    let values = || {
        let told = change.values.iter().map(|v| format!("{} is {} instead of {}", v.name, v.before, v.after));
        told.collect::<Vec<_>>().join("; ")
    };
    match change.action {
        Action::Create if change.prior.is_none() && !is_ours(&change.object) => "is gone".into(),
        Action::Enable if change.object != audit_config::OBJECT => "is disabled".into(),
        Action::Disable => "is enabled and should not be".into(),
        Action::Move => "the strip rule does not come last".into(),
        _ => values(),
    }
}

/// The application and what it may do, which Microsoft keeps apart from mail.
fn is_ours(object: &str) -> bool {
    object.starts_with("application") || object.starts_with("permission")
}

fn kind(object: &str) -> AlertKind {
    let expires = object == credential::OBJECT || object.starts_with("return certificate");
    match object {
        _ if expires => AlertKind::CertificateExpires,
        _ if is_ours(object) => AlertKind::PermissionsLost,
        _ => AlertKind::Tampered,
    }
}

/// Rules and connectors are known by their names, which stand in quotes, domains by their last word, our application by
/// its ids; the rest there is once in a tenant.
pub(crate) fn culprit(object: &str, feed: &Feed, when: When) -> Option<String> {
    let name = object.split(['“', '”']).nth(1).or_else(|| object.rsplit(' ').next()).unwrap_or(object);
    let ours: Vec<&str> = feed.ours.iter().map(String::as_str).collect();
    let (names, operations): (&[&str], &[&str]) = match object {
        audit_config::OBJECT => (&[], &["Set-AdminAuditLogConfig"]),
        _ if object.starts_with("the order") => (&rules::NAMES, &["TransportRule"]),
        _ if object.starts_with("permission") => {
            (&ours, &["app role assignment", "member from role", "RoleGroupMember", "permission grant"])
        }
        _ if is_ours(object) || object.ends_with(" of the application") => (&ours, &[]),
        _ if object.starts_with("spoof allow") => (&[], &["TenantAllowBlockListSpoofItems"]),
        _ if object == arc_sealer::object(name) => (&[], &["Set-ArcConfig"]),
        _ => (&[name], &[]),
    };
    feed.culprit(names, operations, when).map(ToString::to_string)
}

/// What mail is affected, by object; of the most that the severity allows.
fn effect(change: &Change) -> &'static str {
    let object = change.object.as_str();
    match change.severity {
        _ if object == credential::OBJECT || object.starts_with("return certificate") => {
            "no mail is affected before it ends"
        }
        Severity::Low => "no mail is affected",
        _ if is_ours(object) => {
            "mail flows as the rules in the tenant route it, and is checked; nobody watches the set-up, new users are not seen, and disconnecting needs an administrator"
        }
        _ if object.starts_with("inbound connector") || object.starts_with("accepted domain") => {
            "mail that was checked may not come back: Exchange Online keeps it in its queue and tries again for a day"
        }
        _ if object.starts_with("outbound connector") => {
            "mail may not reach the gateway: it waits at Exchange Online, or goes where the connector points now"
        }
        _ if object == audit_config::OBJECT => "no mail is affected; who changes something is not known",
        _ if object.starts_with("spoof allow") => "mail that comes back may be taken for spoofed and end in Junk",
        _ if object.contains("strip") => "recipients outside see our mark, which ought to stay secret",
        _ if object.starts_with("the order") => "mail may be sent round twice, and our mark may reach recipients",
        _ if object.contains("outbound") => "mail of users may leave unchecked, or be sent round twice",
        _ => "mail from outside may arrive unchecked, or be sent round twice",
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.drift.len(), self.unknown.len()) {
            (0, 0) => write!(f, "{}: as it should be", self.display_name)?,
            (0, _) => write!(f, "{}: nothing wrong in what could be read", self.display_name)?,
            (1, _) => write!(f, "{}: one thing is not as it should be", self.display_name)?,
            (n, _) => write!(f, "{}: {n} things are not as they should be", self.display_name)?,
        }
        for drift in &self.drift {
            write!(f, "\n  {:?}: {}: {}\n         {}", drift.severity, drift.object, drift.what, drift.effect)?;
            if let Some(who) = &drift.who {
                write!(f, "\n         done by {who}")?;
            }
        }
        for unknown in &self.unknown {
            write!(f, "\n  ?: {}: unknown because {}", unknown.object, unknown.because)?;
        }
        if let Some(trouble) = &self.feed_trouble {
            write!(f, "\n  audit feed: not read: {trouble}")?;
        }
        for gap in &self.feed_gaps {
            write!(f, "\n  audit feed: nobody can say who did something in {gap}")?;
        }
        if let Some(plan) = &self.plan {
            write!(f, "\nrepaired by plan {plan}: posthouse plan {0}; posthouse apply {0} --plan {plan}", self.tenant)?;
        }
        Ok(())
    }
}
