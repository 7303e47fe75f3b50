//! What the watch has told and still is so. A lasting difference is one alert, told again when more of it is known, and
//! over as soon as it was seen to be over; a list that cannot be read shows neither.

use crate::Result;
use crate::feed::When;
use crate::limits;
use crate::look::{Drift, Look};
use crate::objects::audit_config;
use crate::plan::Unknown;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use store::{AlertKind, Severity, Store};
use tenant::TenantId;

/// Times are Microsoft's: they are compared with its records.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    told: BTreeMap<String, Told>,
    /// When what had been told was over, by object.
    over: BTreeMap<String, Timestamp>,
    /// The last look.
    looked: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Told {
    kind: AlertKind,
    what: String,
    who: Option<String>,
    /// It cannot have been done before.
    from: Timestamp,
    /// When it was seen for the first time.
    seen: Timestamp,
}

const TOLD: &str = "told";
const SHUT_OUT: &str = "our application";

impl Memory {
    pub(crate) async fn known(store: &Store, id: TenantId) -> Result<Memory> {
        Ok(serde_json::from_value(store.step(id, TOLD).await?.unwrap_or_default()).unwrap_or_default())
    }
    async fn write_down(&self, store: &Store, id: TenantId) -> Result<()> {
        Ok(store.put_step(id, TOLD, &json!(self)).await?)
    }
    /// Nothing is wrong, as far as was told.
    pub(crate) fn is_calm(&self) -> bool {
        self.told.is_empty()
    }
    /// When a difference of this object, seen now or told before, can have been made.
    pub(crate) fn when(&self, object: &str, now: Timestamp) -> When {
        let (from, seen) = match self.told.get(object) {
            Some(told) => (told.from, told.seen),
            None => (self.not_before(object), now),
        };
        When { from, to: seen + limits::RECORD_SKEW }
    }
    fn not_before(&self, object: &str) -> Timestamp {
        let last_look = self.looked.map_or(Timestamp::MIN, |at| at - limits::SHOWS_WITHIN);
        self.over.get(object).map_or(last_look, |over| last_look.max(*over))
    }
}

/// Everything that is wrong with one object.
struct Case<'l> {
    drift: Vec<&'l Drift>,
    worst: &'l Drift,
}

impl Case<'_> {
    fn what(&self) -> String {
        self.drift.iter().map(|d| d.what.as_str()).collect::<Vec<_>>().join("; ")
    }
    /// What changed, who did it, what mail is affected now, and what repairs it.
    fn text(&self, look: &Look) -> String {
        let dark = look.drift.iter().any(|d| d.object == audit_config::OBJECT);
        let who = match (&self.worst.who, &look.feed_trouble) {
            (Some(who), _) => format!("Done by {who}."),
            (None, _) if dark => "Who did it cannot be seen: the tenant's audit log is off.".into(),
            (None, Some(trouble)) => format!("Who did it cannot be seen: {trouble}."),
            (None, None) => "Who did it is not known yet: the audit feed comes late.".into(),
        };
        let worst = self.worst;
        format!("{}: {}. {who} Effect: {}. Repair: {}", worst.object, self.what(), worst.effect, worst.repair)
    }
}

fn cases(look: &Look) -> BTreeMap<&str, Case<'_>> {
    let mut cases = BTreeMap::<&str, Case<'_>>::new();
    // the worst comes first
    for drift in &look.drift {
        let case = cases.entry(&drift.object).or_insert(Case { drift: Vec::new(), worst: drift });
        case.drift.push(drift);
    }
    cases
}

/// Raises what is new, tells again what is better known, ends what is over.
pub(crate) async fn tell(look: &Look, shut_out: Option<&str>, store: &Store, now: Timestamp) -> Result<Memory> {
    let id = look.tenant;
    let mut memory = Memory::known(store, id).await?;
    let cases = cases(look);
    for (object, case) in &cases {
        let (what, who) = (case.what(), case.worst.who.clone());
        let before = memory.told.get(*object);
        let same = before.filter(|told| told.what == what && told.kind == case.worst.kind);
        if same.is_some_and(|told| told.who == who || who.is_none()) {
            continue;
        }
        store.tell_alert(case.worst.severity, case.worst.kind, id, object, &case.text(look)).await?;
        let (from, seen) = same.map_or_else(|| (memory.not_before(object), now), |told| (told.from, told.seen));
        memory.told.insert((*object).to_owned(), Told { kind: case.worst.kind, what, who, from, seen });
    }
    let lost = look.drift.iter().any(|d| d.kind == AlertKind::PermissionsLost);
    let shut_out = shut_out.filter(|_| !lost);
    // lists are read before the token is made that shows permissions: what just came back was not there for the lists
    let came_back = memory.told.values().any(|told| told.kind == AlertKind::PermissionsLost);
    if let Some(because) = shut_out.filter(|_| !came_back) {
        let text = format!(
            "{because}. Mail flows as the rules in the tenant route it, and is checked; nobody watches the set-up. Repair: posthouse tenant connect"
        );
        store.tell_alert(Severity::High, AlertKind::PermissionsLost, id, SHUT_OUT, &text).await?;
        let told = Told { kind: AlertKind::PermissionsLost, what: because.into(), who: None, from: now, seen: now };
        memory.told.insert(SHUT_OUT.into(), told);
    }
    let is_over = |object: &String| match object.as_str() {
        SHUT_OUT => shut_out.is_none(),
        object => !cases.contains_key(object) && is_known(object, &look.unknown),
    };
    for object in memory.told.keys().filter(|o| is_over(o)).cloned().collect::<Vec<_>>() {
        if let Some(told) = memory.told.remove(&object) {
            store.end_alert(told.kind, id, &object).await?;
            memory.over.insert(object, now);
        }
    }
    memory.over.retain(|_, at| *at > now - limits::SHOWS_WITHIN * 2);
    memory.looked = Some(now);
    memory.write_down(store, id).await?;
    Ok(memory)
}

/// False where the list in which it would stand could not be read.
fn is_known(object: &str, unknown: &[Unknown]) -> bool {
    let head = match object {
        _ if object.starts_with("the order") => "mail flow",
        _ if object.starts_with("cert") || object.starts_with("cred") || object.starts_with("app") => "application",
        _ if object.starts_with("permission") => "permission",
        // the first two words are those of the list
        _ => object.match_indices(' ').nth(1).map_or(object, |(end, _)| &object[..end]),
    };
    !unknown.iter().any(|u| u.object.starts_with(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_over() {
        let unknown = |object: &str| vec![Unknown { object: object.into(), because: "x".into(), optional: false }];
        let pairs = [
            ("mail flow rule “Posthouse inbound”", "mail flow rules"),
            ("the order of our mail flow rules", "mail flow rules"),
            ("inbound connector “Posthouse from gateway”", "inbound connectors"),
            ("accepted domain contoso.connect.example", "accepted domains"),
            ("spoof allow entry for 127.0.50.1, external", "spoof allow entries"),
            ("audit log of the tenant", "audit log settings"),
            ("permission ActivityFeed.Read", "permissions at Microsoft Graph"),
            ("credentials of the application", "application"),
        ];
        for (object, list) in pairs {
            assert!(!is_known(object, &unknown(list)), "{object} {list}");
            assert!(is_known(object, &unknown("journal rules")) && is_known(object, &[]), "{object}");
        }
        assert!(!is_known("trusted ARC sealer gw.example", &unknown("trusted ARC sealers")));
    }

    #[test]
    fn only_who_was_there_in_time_is_blamed() {
        let at = |secs: i64| Timestamp::from_second(secs).unwrap_or_default();
        let mut memory = Memory { looked: Some(at(100_000)), ..Memory::default() };
        assert_eq!(memory.when("x", at(100_300)).from, at(96_400));
        memory.over.insert("x".into(), at(99_990));
        assert_eq!(memory.when("x", at(100_300)).from, at(99_990));
        assert_eq!(memory.when("y", at(100_300)).to, at(100_420));
    }
}
