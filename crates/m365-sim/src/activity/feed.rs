//! From the audit log to blobs: when a record becomes available, with which others, how often (Q30–Q33).

use crate::limits;
use crate::switches::Switches;
use crate::trouble::dice;
use crate::world::Tenant;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Feed {
    /// Content type → enabled; what was never started is absent.
    pub subscriptions: BTreeMap<&'static str, bool>,
    /// In the order in which they became available.
    pub blobs: Vec<Blob>,
    /// Records of the audit log that were looked at.
    seen: usize,
    /// Looked at, but not yet due.
    waiting: Vec<usize>,
}

/// Some records that became available together.
#[derive(Clone)]
pub struct Blob {
    pub number: u64,
    pub id: String,
    pub kind: &'static str,
    /// Unix seconds from which it is listed: `contentCreated`.
    pub created: i64,
    /// Positions in the tenant's audit log.
    pub records: Vec<usize>,
}

impl Blob {
    pub fn expires(&self) -> i64 {
        self.created + limits::CONTENT_DAYS * 86_400
    }
    pub fn show(&self, root: &str) -> Value {
        let date = |unix: i64| {
            Timestamp::from_second(unix).map(|t| t.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()).unwrap_or_default()
        };
        json!({"contentType": self.kind, "contentId": self.id, "contentUri": format!("{root}/audit/{}", self.id), "contentCreated": date(self.created), "contentExpiration": date(self.expires())})
    }
}

fn kind_of(workload: &str) -> Option<&'static str> {
    match workload {
        "Exchange" => Some("Audit.Exchange"),
        "AzureActiveDirectory" => Some("Audit.AzureActiveDirectory"),
        _ => None,
    }
}

/// Puts every record that is due by now into a blob. A blob never changes once it is there: it is created when the last
/// of its records became due, so that a client who asked until an earlier moment has missed nothing.
pub fn publish(t: &mut Tenant, switches: &Switches, now: i64) {
    let new = t.feed.seen..t.audit.len();
    t.feed.seen = t.audit.len();
    t.feed.waiting.extend(new.filter(|n| t.audit[*n].in_feed && kind_of(&t.audit[*n].workload).is_some()));
    let due = |n: usize| {
        let late = if dice(n as u64, 5) < switches.activity_late { switches.activity_late_secs } else { 0 };
        t.audit[n].at + switches.activity_latency_secs + late
    };
    let (mut ready, waiting): (Vec<usize>, Vec<usize>) = t.feed.waiting.iter().copied().partition(|n| due(*n) <= now);
    ready.sort_by_key(|n| due(*n));
    let ready: Vec<(usize, i64)> = ready.into_iter().map(|n| (n, due(n))).collect();
    t.feed.waiting = waiting;
    for kind in ["Audit.Exchange", "Audit.AzureActiveDirectory"] {
        let mut of_kind: Vec<(usize, i64)> = Vec::new();
        for (n, due) in ready.iter().filter(|(n, _)| kind_of(&t.audit[*n].workload) == Some(kind)) {
            let full = of_kind.len() >= limits::BLOB_RECORDS_MAX;
            if full || of_kind.first().is_some_and(|(_, first)| due - first > limits::BLOB_SPAN_SECS) {
                close(&mut t.feed, kind, std::mem::take(&mut of_kind), switches);
            }
            of_kind.push((*n, *due));
        }
        close(&mut t.feed, kind, of_kind, switches);
    }
}

fn close(feed: &mut Feed, kind: &'static str, records: Vec<(usize, i64)>, switches: &Switches) {
    let Some(created) = records.iter().map(|(_, due)| *due).max() else { return };
    let all: Vec<usize> = records.into_iter().map(|(n, _)| n).collect();
    let twice: Vec<usize> = all.iter().copied().filter(|n| dice(*n as u64, 6) < switches.activity_duplicates).collect();
    for records in [all, twice] {
        if !records.is_empty() {
            let number = feed.blobs.len() as u64;
            let stamp = Timestamp::from_second(created).map(|t| t.strftime("%Y%m%d%H%M%S").to_string());
            let stamp = format!("{}{number:06}", stamp.unwrap_or_default());
            let id = format!(
                "{stamp}${stamp}${}${}$emea0001",
                kind.to_lowercase().replace('.', "_"),
                kind.replace('.', "_")
            );
            feed.blobs.push(Blob { number, id, kind, created, records });
        }
    }
}
