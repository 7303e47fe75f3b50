//! The tenant's unified audit log: without it the watch still sees what changed, but nobody can say who did it.

use super::Need;
use super::exchange::NEEDS_EXCHANGE;
use super::permissions::EXCHANGE_APP;
use crate::plan::{Action, Call, Change, Observed, ValueChange};
use m365::Row;
use serde_json::{Value, json};
use store::Severity;

pub(crate) const NEEDS: &[Need] = &[
    Need {
        permission: EXCHANGE_APP,
        reason: "the switch of the audit log",
        cmdlets: &["Get-AdminAuditLogConfig", "Set-AdminAuditLogConfig"],
    },
    Need {
        permission: "ActivityFeed.Read",
        reason: "reads who changed connectors, rules, domains and permissions, from where and when",
        cmdlets: &[],
    },
];

pub(crate) const OBJECT: &str = "audit log of the tenant";
const SWITCH: &str = "UnifiedAuditLogIngestionEnabled";

fn is_on(row: &Row) -> Option<bool> {
    row.get(SWITCH).and_then(Value::as_bool)
}

fn change(action: Action, row: &Row, to: bool) -> Change {
    Change::new(action, OBJECT.into(), "it says who changed what, and from where", NEEDS_EXCHANGE)
        .of(vec![ValueChange { name: SWITCH.into(), before: json!(is_on(row)), after: json!(to) }])
        .graded(Severity::Medium)
        .undone_by(format!("Set-AdminAuditLogConfig -{SWITCH} ${}", !to))
        .by(vec![Call::exchange("Set-AdminAuditLogConfig", json!({SWITCH: to}))])
        .was(Some(row))
        .optional()
}

/// Only what says that it is off: a tenant that does not tell is left alone.
pub(crate) fn changes(observed: &Observed) -> Option<Change> {
    let row = observed.audit_config.as_ref().ok()?.first()?;
    (is_on(row) == Some(false)).then(|| change(Action::Enable, row, true))
}

/// Off again where it was off before we came.
pub(crate) fn removal(observed: &Observed, prior: Option<&Row>) -> Option<Change> {
    let row = observed.audit_config.as_ref().ok()?.first()?;
    let was_off = prior.and_then(is_on) == Some(false);
    (was_off && is_on(row) == Some(true)).then(|| change(Action::Restore, row, false))
}
