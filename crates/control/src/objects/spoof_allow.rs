//! The pair of entries that lets mail of any sender come back from our servers without being taken for spoofed: one
//! for senders outside, one for our own (transport.md F2.12). Only from our servers, and only our two entries.

use super::Need;
use super::exchange::NEEDS_EXCHANGE;
use super::permissions::EXCHANGE_APP;
use crate::plan::{Action, Before, Call, Change, Observed, ValueChange, text};
use m365::Row;
use serde_json::json;
use store::Severity;

pub(crate) const NEEDS: &[Need] = &[Need {
    permission: EXCHANGE_APP,
    reason: "the two entries that allow mail to come back from the gateway's address",
    cmdlets: &[
        "Get-TenantAllowBlockListSpoofItems",
        "New-TenantAllowBlockListSpoofItems",
        "Set-TenantAllowBlockListSpoofItems",
        "Remove-TenantAllowBlockListSpoofItems",
    ],
}];

pub(crate) const OBJECTS: [&str; 2] = ["External", "Internal"];
const WHY: &str = "mail that comes back from our servers is not taken for spoofed";

pub(crate) fn object(kind: &str, infrastructure: &str) -> String {
    format!("spoof allow entry for {infrastructure}, {}", kind.to_lowercase())
}

fn find<'o>(observed: &'o Observed, kind: &str, infrastructure: &str) -> Option<&'o Row> {
    observed.spoof_items.iter().flatten().find(|row| {
        text(row, "SendingInfrastructure").eq_ignore_ascii_case(infrastructure)
            && text(row, "SpoofType").eq_ignore_ascii_case(kind)
            && text(row, "SpoofedUser") == "*"
    })
}

pub(crate) fn changes(infrastructure: Option<&str>, observed: &Observed) -> Vec<Change> {
    let (Some(infrastructure), Ok(_)) = (infrastructure, &observed.spoof_items) else { return Vec::new() };
    let missing = OBJECTS.into_iter().filter(|kind| {
        !find(observed, kind, infrastructure).is_some_and(|row| text(row, "Action").eq_ignore_ascii_case("Allow"))
    });
    let made = |kind: &str| {
        let seen = find(observed, kind, infrastructure);
        let before = seen.and_then(|row| row.get("Action").cloned()).unwrap_or_default();
        let add = json!({"Identity": "Default", "Action": "Allow", "SpoofedUser": "*", "SendingInfrastructure": infrastructure, "SpoofType": kind});
        // somebody's own entry stays that entry, so that it can be given back
        let call =
            seen.map_or_else(|| Call::exchange("New-TenantAllowBlockListSpoofItems", add), |row| set(row, "Allow"));
        Change::new(Action::Create, object(kind, infrastructure), WHY, NEEDS_EXCHANGE)
            .of(vec![ValueChange { name: "Action".into(), before, after: "Allow".into() }])
            .graded(Severity::Medium)
            .undone_by("Remove-TenantAllowBlockListSpoofItems of this entry")
            .by(vec![call])
            .was(seen)
            .optional()
    };
    missing.map(made).collect()
}

fn set(row: &Row, action: &str) -> Call {
    let parameters = json!({"Identity": "Default", "Ids": [row.get("Identity")], "Action": action});
    Call::exchange("Set-TenantAllowBlockListSpoofItems", parameters)
}

/// Only what our receipts say that we touched: an entry that was there already is somebody's own, and one that was
/// changed becomes what it was.
pub(crate) fn removal(infrastructure: Option<&str>, observed: &Observed, before: &Before<'_>) -> Vec<Change> {
    let Some(infrastructure) = infrastructure else { return Vec::new() };
    let gone = |kind: &str| {
        let name = object(kind, infrastructure);
        let row = find(observed, kind, infrastructure).filter(|_| before.is_touched(&name))?;
        if let Some(prior) = before.of(&name) {
            let action = text(prior, "Action");
            return (!text(row, "Action").eq_ignore_ascii_case(action)).then(|| {
                Change::new(
                    Action::Restore,
                    name,
                    "it was there before we came, and is as it was again",
                    NEEDS_EXCHANGE,
                )
                .undone_by("posthouse tenant connect sets it up again")
                .by(vec![set(row, action)])
                .was(Some(row))
                .optional()
            });
        }
        let take = json!({"Identity": "Default", "Ids": [row.get("Identity")], "Confirm": false});
        Some(
            Change::new(Action::Remove, name, "nothing comes back from our servers any more", NEEDS_EXCHANGE)
                .undone_by("New-TenantAllowBlockListSpoofItems")
                .by(vec![Call::exchange("Remove-TenantAllowBlockListSpoofItems", take)])
                .was(Some(row))
                .optional(),
        )
    };
    OBJECTS.into_iter().filter_map(gone).collect()
}
