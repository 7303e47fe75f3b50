//! The tenant's audit feed: who did what, from where. It says who; what is wrong the watch sees for itself, so nothing
//! depends on the feed being there, on time, in order or only once.

use crate::objects::application::{App, MAIL_FLOW};
use crate::{Result, limits};
use jiff::{SignedDuration, Timestamp};
use m365::{Client, Identity, M365Error};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::Store;

const CONTENT_TYPES: [&str; 2] = ["Audit.Exchange", "Audit.AzureActiveDirectory"];

/// Exchange cmdlets that can touch what we need (wire.md 9.1).
const CMDLETS: &[&str] = &[
    "InboundConnector",
    "OutboundConnector",
    "TransportRule",
    "HostedConnectionFilterPolicy",
    "ArcConfig",
    "AcceptedDomain",
    "AdminAuditLogConfig",
    "OrganizationConfig",
    "TransportConfig",
    "ServicePrincipal",
    "RoleGroup",
    "RoleGroupMember",
    "ManagementRole",
    "ManagementRoleEntry",
    "ManagementRoleAssignment",
    "TenantAllowBlockListSpoofItems",
    "JournalRule",
];
/// Words of directory activities that can touch our application or our domain (wire.md 9.3).
const ACTIVITIES: &[&str] =
    &["service principal", "application", "app role assignment", "permission grant", "role", "domain", "consent"];

/// What somebody did. Values of parameters are not kept: ours are secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    id: String,
    pub at: Timestamp,
    pub operation: String,
    /// By which what it was done to can be known: names, GUIDs.
    names: Vec<String>,
    pub who: String,
    pub from: String,
    pub by_us: bool,
    succeeded: bool,
}

impl Act {
    /// On something that is called so, or has this id.
    pub(crate) fn is_on(&self, names: &[&str]) -> bool {
        self.names.iter().any(|known| names.iter().any(|name| known.eq_ignore_ascii_case(name)))
    }
}

impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let from = if self.from.is_empty() { String::new() } else { format!(" from {}", self.from) };
        write!(f, "{}{from} with {} at {}", self.who, self.operation, self.at.strftime("%Y-%m-%d %H:%M:%S UTC"))
    }
}

/// When a difference may have been made, by Microsoft's clock. Who did something else to the same object before or
/// after is not to blame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct When {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl When {
    /// Records have whole seconds.
    fn holds(&self, at: Timestamp) -> bool {
        at.as_second() >= self.from.as_second() && at <= self.to
    }
}

/// What is remembered between two readings; bounded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Feed {
    /// Everything that arrived before was read, by content type.
    read_until: BTreeMap<String, Timestamp>,
    /// Blobs that were read and may be listed again, with their arrival.
    blobs: BTreeMap<String, Timestamp>,
    /// Newest last.
    pub acts: Vec<Act>,
    /// Why it could not be read the last time.
    pub trouble: Option<String>,
    /// Times of which nothing can be read any more.
    pub gaps: Vec<String>,
    /// By which our application is known: its ids and its name.
    pub(crate) ours: Vec<String>,
}

const STEP: &str = "audit feed";

/// Who connected the tenant last, and when: what she did through us meanwhile is our doing, not hers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Connecting {
    pub who: String,
    pub from: Timestamp,
    /// Nothing: it was cut off, or is under way.
    pub to: Option<Timestamp>,
}

impl Connecting {
    pub(crate) const STEP: &str = "connecting";

    fn did(&self, act: &Act) -> bool {
        let to = self.to.unwrap_or(self.from + limits::SHOWS_WITHIN) + limits::RECORD_SKEW;
        act.who.eq_ignore_ascii_case(&self.who) && self.from - limits::RECORD_SKEW <= act.at && act.at <= to
    }
}

impl Feed {
    pub async fn known(store: &Store, tenant: tenant::TenantId) -> Result<Feed> {
        Ok(serde_json::from_value(store.step(tenant, STEP).await?.unwrap_or_default()).unwrap_or_default())
    }
    /// The newest act of somebody else in that time, on one of these names and of one of these operations; none of
    /// either stands for any.
    pub(crate) fn culprit(&self, names: &[&str], operations: &[&str], when: When) -> Option<&Act> {
        let fits = |act: &&Act| {
            let did = operations.iter().any(|o| act.operation.to_lowercase().contains(&o.to_lowercase()));
            !act.by_us
                && act.succeeded
                && when.holds(act.at)
                && (names.is_empty() || act.is_on(names))
                && (operations.is_empty() || did)
        };
        self.acts.iter().filter(fits).max_by_key(|act| act.at)
    }
    /// What was done in that time nobody can say any more.
    fn gap(&mut self, content_type: &str, from: Timestamp, to: Timestamp) {
        self.gaps.push(format!("{content_type} from {from:.0} to {to:.0}"));
        self.gaps.drain(..self.gaps.len().saturating_sub(limits::FEED_GAPS_KEPT));
    }
    fn take(&mut self, act: Act) -> bool {
        if self.acts.iter().any(|known| known.id == act.id) {
            return false;
        }
        self.acts.push(act);
        true
    }
}

/// Reads what arrived since the last time; true when somebody else did something that may concern us.
pub(crate) async fn read(client: &Client, app: &Identity, store: &Store) -> Result<(Feed, bool)> {
    let tenant = app.tenant();
    let mut feed = Feed::known(store, tenant).await?;
    let ours = App::known(store, tenant).await?;
    if let Some(App { object_id, app_id, principal_id, .. }) = &ours {
        feed.ours = [object_id, app_id, principal_id].map(Clone::clone).to_vec();
        feed.ours.push(MAIL_FLOW.name.into());
    }
    let (before, mut now) = (feed.clone(), client.now());
    let mut news = read_all(client, app, ours.as_ref(), &mut feed, now).await;
    // the answers may have taught us that it is another time
    if client.now().duration_since(now).abs() > limits::RECORD_SKEW {
        (feed, now) = (before, client.now());
        news = read_all(client, app, ours.as_ref(), &mut feed, now).await;
    }
    let connecting = store.step(tenant, Connecting::STEP).await?;
    if let Some(by) = connecting.and_then(|step| serde_json::from_value::<Connecting>(step).ok()) {
        feed.acts.iter_mut().filter(|act| by.did(act)).for_each(|act| act.by_us = true);
    }
    let oldest = now - SignedDuration::from_secs(limits::FEED_OVERLAP_SECS * 2);
    feed.blobs.retain(|_, arrived| *arrived > oldest);
    feed.acts.sort_by_key(|act| act.at);
    let too_many = feed.acts.len().saturating_sub(limits::ACTS_KEPT);
    feed.acts.drain(..too_many);
    store.put_step(tenant, STEP, &json!(feed)).await?;
    Ok((feed, news))
}

/// What was read before an error came counts as well.
async fn read_all(client: &Client, app: &Identity, ours: Option<&App>, feed: &mut Feed, now: Timestamp) -> bool {
    let mut news = false;
    feed.trouble = None;
    for content_type in CONTENT_TYPES {
        if let Err(e) = read_one(client, app, ours, feed, content_type, now, &mut news).await {
            feed.trouble = Some(trouble(&e));
        }
    }
    news
}

async fn read_one(
    client: &Client,
    app: &Identity,
    ours: Option<&App>,
    feed: &mut Feed,
    content_type: &str,
    now: Timestamp,
    news: &mut bool,
) -> m365::Result<()> {
    for (from, to) in windows(feed, content_type, now) {
        let blobs = match client.activity_blobs(app, content_type, from, to).await {
            // not subscribed: what happens from now on will be there the next time
            Err(M365Error::Activity { code, .. }) if code == "AF20022" => {
                client.activity_start(app, content_type).await?;
                if let Some(last) = feed.read_until.insert(content_type.into(), now) {
                    feed.gap(content_type, last, now);
                }
                return Ok(());
            }
            other => other?,
        };
        for blob in blobs.iter().filter(|b| !feed.blobs.contains_key(&b.id)).cloned().collect::<Vec<_>>() {
            let records = match client.activity_records(app, &blob).await {
                // listed, and gone since
                Err(M365Error::Activity { code, .. }) if code == "AF20050" || code == "AF20051" => Vec::new(),
                other => other?,
            };
            for act in records.iter().filter_map(|record| act(record, ours)) {
                let (theirs, worked) = (!act.by_us, act.succeeded);
                *news |= feed.take(act) && theirs && worked;
            }
            feed.blobs.insert(blob.id.clone(), blob.created);
        }
        feed.read_until.insert(content_type.into(), to);
    }
    Ok(())
}

/// From where the last reading ended, and a little before it, since blobs come late; in pieces of a day at most.
fn windows(feed: &mut Feed, content_type: &str, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let hours = SignedDuration::from_hours;
    let oldest = now - hours(limits::FEED_HOURS_BACK);
    let last = feed.read_until.get(content_type).copied();
    let mut from = last.unwrap_or(now - hours(24)) - SignedDuration::from_secs(limits::FEED_OVERLAP_SECS);
    if from < oldest {
        if let Some(last) = last.filter(|last| *last < oldest) {
            feed.gap(content_type, last, oldest);
        }
        from = oldest;
    }
    let mut out = Vec::new();
    while from < now {
        let to = (from + hours(24)).min(now);
        out.push((from, to));
        from = to;
    }
    out
}

fn trouble(error: &M365Error) -> String {
    match error {
        M365Error::Activity { code, message, .. } if code == "AF20011" || message.contains("does not exist") => {
            "the tenant's audit log is off, or was switched on less than an hour ago".into()
        }
        other => other.to_string(),
    }
}

/// What of a record concerns us; most do not.
fn act(record: &Value, ours: Option<&App>) -> Option<Act> {
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    let operation = text("Operation").trim_end_matches('.');
    let noun = operation.split_once('-').map(|(_, noun)| noun);
    let directory = ACTIVITIES.iter().any(|word| operation.to_lowercase().contains(word));
    if !noun.is_some_and(|noun| CMDLETS.contains(&noun)) && !directory {
        return None;
    }
    // CreationTime has no zone and is UTC (wire.md 9.1)
    let at = format!("{}Z", text("CreationTime").trim_end_matches('Z')).parse().ok()?;
    // directory activities name the application among their actors
    let actors = record["Actor"].as_array().into_iter().flatten().filter_map(|actor| actor["ID"].as_str());
    let by_us = ours.is_some_and(|app| {
        let is_ours = |id: &str| app.app_id.eq_ignore_ascii_case(id);
        is_ours(text("AppId")) || actors.clone().any(is_ours)
    });
    Some(Act {
        id: text("Id").to_owned(),
        at,
        operation: operation.to_owned(),
        names: names(record),
        who: text("UserId").to_owned(),
        from: address(text("ClientIP")),
        by_us,
        succeeded: !text("ResultStatus").eq_ignore_ascii_case("false")
            && !text("ResultStatus").eq_ignore_ascii_case("failure"),
    })
}

fn names(record: &Value) -> Vec<String> {
    let object = record["ObjectId"].as_str().unwrap_or_default();
    let mut names = vec![object.to_owned(), object.rsplit('\\').next().unwrap_or_default().to_owned()];
    let list = |key: &str| record[key].as_array().into_iter().flatten().cloned().collect::<Vec<_>>();
    for parameter in list("Parameters") {
        if matches!(parameter["Name"].as_str(), Some("Identity" | "Name" | "Member")) {
            names.extend(parameter["Value"].as_str().map(str::to_owned));
        }
    }
    for target in [list("Target"), list("ModifiedProperties")].concat() {
        names.extend(
            ["ID", "NewValue", "OldValue"]
                .iter()
                .filter_map(|key| target[*key].as_str())
                .map(|v| v.trim_matches('"').to_owned()),
        );
    }
    names.retain(|name| !name.is_empty() && name.len() <= 200);
    names.dedup();
    names
}

/// `203.0.113.9:51234`, `[2001:db8::1]:443`, `2001:db8::1` or nothing.
fn address(text: &str) -> String {
    match text.parse::<std::net::SocketAddr>() {
        Ok(socket) => socket.ip().to_string(),
        Err(_) => text.to_owned(),
    }
}

pub(crate) async fn unsubscribe(client: &Client, app: &Identity) -> Result<()> {
    for content_type in CONTENT_TYPES {
        client.activity_stop(app, content_type).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(change: impl Fn(&mut Value)) -> Value {
        let mut record = json!({"CreationTime": "2026-03-04T10:11:12", "Id": "1", "Operation": "Set-TransportRule", "ResultStatus": "True", "ClientIP": "203.0.113.9:51234", "ObjectId": "contoso.onmicrosoft.com\\Posthouse inbound", "UserId": "admin@contoso.example", "AppId": "x", "Parameters": [{"Name": "Identity", "Value": "Posthouse inbound"}, {"Name": "SetHeaderValue", "Value": "s3cret"}]});
        change(&mut record);
        record
    }

    #[test]
    fn a_record_tells_who_and_on_what_and_no_secret() {
        let act = act(&record(|_| ()), None).unwrap();
        assert_eq!(
            act.to_string(),
            "admin@contoso.example from 203.0.113.9 with Set-TransportRule at 2026-03-04 10:11:12 UTC"
        );
        assert!(act.is_on(&["posthouse INBOUND"]) && !act.is_on(&["Posthouse outbound"]));
        assert!(!json!(act).to_string().contains("s3cret"));
        let of = |operation: &str| super::act(&record(|r| r["Operation"] = operation.into()), None);
        assert!(of("Remove app role assignment from service principal.").is_some());
        assert!(of("Set-Mailbox").is_none() && of("FileAccessed").is_none());
        assert_eq!(
            super::act(&record(|r| r["ClientIP"] = "[2001:db8::1]:443".into()), None).unwrap().from,
            "2001:db8::1"
        );
    }

    #[test]
    fn the_same_record_counts_once_and_the_newest_of_somebody_else_is_the_culprit() {
        let mut feed = Feed::default();
        let ever = When { from: Timestamp::MIN, to: Timestamp::MAX };
        let one = |id: &str, at: &str, who: &str, ok: &str| {
            act(
                &record(|r| {
                    r["Id"] = id.into();
                    r["CreationTime"] = at.into();
                    r["UserId"] = who.into();
                    r["ResultStatus"] = ok.into();
                }),
                None,
            )
            .unwrap()
        };
        assert!(feed.take(one("1", "2026-03-04T10:00:00", "early", "True")));
        assert!(!feed.take(one("1", "2026-03-04T10:00:00", "early", "True")));
        feed.take(one("3", "2026-03-04T12:00:00", "failed", "False"));
        feed.take(one("2", "2026-03-04T11:00:00", "late", "True"));
        assert_eq!(feed.culprit(&["Posthouse inbound"], &[], ever).unwrap().who, "late");
        assert_eq!(feed.culprit(&["other"], &[], ever), None);
        let early = When { to: "2026-03-04T10:30:00Z".parse().unwrap(), ..ever };
        assert_eq!(feed.culprit(&["Posthouse inbound"], &[], early).unwrap().who, "early");
    }

    /// Making the application Exchange Administrator is an act of hers on our principal, and no tampering with it.
    #[test]
    fn what_an_administrator_did_while_connecting_is_not_held_against_her() {
        let mut one = act(&record(|r| r["UserId"] = "Admin@contoso.example".into()), None).unwrap();
        one.at = "2026-03-04T10:00:00Z".parse().unwrap();
        let by = |from: &str, to: Option<&str>| Connecting {
            who: "admin@contoso.example".into(),
            from: from.parse().unwrap(),
            to: to.map(|t| t.parse().unwrap()),
        };
        assert!(by("2026-03-04T09:59:00Z", Some("2026-03-04T10:00:30Z")).did(&one));
        assert!(by("2026-03-04T09:59:00Z", None).did(&one));
        assert!(!by("2026-03-04T08:00:00Z", Some("2026-03-04T09:00:00Z")).did(&one));
        let other = Connecting { who: "other@contoso.example".into(), ..by("2026-03-04T09:59:00Z", None) };
        assert!(!other.did(&one));
    }

    #[test]
    fn a_long_silence_is_read_in_days_and_what_is_lost_is_told() {
        let now: Timestamp = "2026-03-20T00:00:00Z".parse().unwrap();
        let mut feed = Feed::default();
        feed.read_until.insert("x".into(), "2026-03-01T00:00:00Z".parse().unwrap());
        let all = windows(&mut feed, "x", now);
        assert!(all.iter().all(|(from, to)| to.duration_since(*from) <= SignedDuration::from_hours(24)));
        assert_eq!(all.last().unwrap().1, now);
        assert_eq!(feed.gaps.len(), 1);
        feed.read_until.insert("x".into(), now - SignedDuration::from_mins(5));
        assert_eq!(windows(&mut feed, "x", now).len(), 1);
    }
}
