//! Our name among the ARC sealers that the tenant trusts, so that mail which we had to change keeps Microsoft's own
//! results of the first pass (transport.md F2.9). The list is shared with others: only our entry comes and goes.

use super::Need;
use super::exchange::NEEDS_EXCHANGE;
use super::permissions::EXCHANGE_APP;
use crate::plan::{Action, Before, Call, Change, Observed, ValueChange};
use m365::Row;
use serde_json::{Value, json};
use store::Severity;

pub(crate) const NEEDS: &[Need] = &[Need {
    permission: EXCHANGE_APP,
    reason: "the entry of the gateway among the trusted ARC sealers",
    cmdlets: &["Get-ArcConfig", "Set-ArcConfig"],
}];

pub(crate) fn object(sealer: &str) -> String {
    format!("trusted ARC sealer {sealer}")
}

/// Shown as a list or as one text with commas (wire.md 8.8).
fn entries(row: Option<&Row>) -> Vec<String> {
    let split = |text: &str| -> Vec<String> {
        text.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()
    };
    match row.and_then(|r| r.get("ArcTrustedSealers")) {
        Some(Value::String(text)) => split(text),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).flat_map(split).collect(),
        _ => Vec::new(),
    }
}

fn change(action: Action, sealer: &str, before: &[String], after: &[String], row: Option<&Row>) -> Change {
    // an empty list is refused; one blank clears it (wire.md 8.8)
    let set = if after.is_empty() { json!([" "]) } else { json!(after) };
    let values = vec![ValueChange { name: "ArcTrustedSealers".into(), before: json!(before), after: json!(after) }];
    Change::new(action, object(sealer), "mail that we had to change keeps what Microsoft saw first", NEEDS_EXCHANGE)
        .of(values)
        .graded(Severity::Low)
        .undone_by(format!("Set-ArcConfig with the other {} entries", before.len().min(after.len())))
        .by(vec![Call::exchange("Set-ArcConfig", json!({"Identity": "Default", "ArcTrustedSealers": set}))])
        .was(row)
        .optional()
}

pub(crate) fn changes(sealer: Option<&str>, observed: &Observed) -> Option<Change> {
    let (sealer, row) = (sealer?, observed.arc.as_ref().ok()?.first());
    let before = entries(row);
    if before.iter().any(|s| s.eq_ignore_ascii_case(sealer)) {
        return None;
    }
    let after = [before.clone(), vec![sealer.to_owned()]].concat();
    Some(change(Action::Create, sealer, &before, &after, row))
}

/// Only where our receipts say that we put it there: it may have been trusted before we came.
pub(crate) fn removal(sealer: Option<&str>, observed: &Observed, receipts: &Before<'_>) -> Option<Change> {
    let (sealer, row) = (sealer?, observed.arc.as_ref().ok()?.first());
    let is_ours = |s: &String| s.eq_ignore_ascii_case(sealer);
    let (before, name) = (entries(row), object(sealer));
    if !receipts.is_touched(&name) || entries(receipts.of(&name)).iter().any(is_ours) || !before.iter().any(is_ours) {
        return None;
    }
    let after: Vec<String> = before.iter().filter(|s| !is_ours(s)).cloned().collect();
    Some(change(Action::Remove, sealer, &before, &after, row))
}
