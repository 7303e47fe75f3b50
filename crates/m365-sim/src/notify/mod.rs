//! Change notifications of Graph (wire.md 6): subscriptions, what mailboxes tell them, when they end.
//!
//! `endpoint` delivers, with retries and penalties; `rich` encrypts what is told of a message.

mod endpoint;
mod rich;

use crate::clock::Clock;
use crate::graph::access::{App, Right};
use crate::mailbox::ids::ItemId;
use crate::mailbox::{Event, FolderId, Kind};
use crate::trouble::dice;
use crate::world::{State, Tenant, World};
use endpoint::Endpoint;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use uuid::Uuid;

pub use endpoint::validate;

/// Whether resource data can be encrypted for it.
pub fn is_encryption_certificate(der: &[u8]) -> bool {
    rich::public_key(der).is_some()
}

/// Minutes before its end in which a subscription is asked to be authorised again (assumed; Graph's page gives none).
const CHALLENGE_SECS: i64 = 15 * 60;

#[derive(Clone, Debug)]
pub struct Subscription {
    pub id: Uuid,
    pub app_id: Uuid,
    pub creator: Uuid,
    pub resource: String,
    pub user: Uuid,
    /// `None`: all folders.
    pub folder: Option<FolderId>,
    pub select: Option<String>,
    /// Of `created`, `updated`, `deleted`.
    pub changes: Vec<String>,
    pub notification_url: String,
    pub lifecycle_url: Option<String>,
    pub client_state: Option<String>,
    pub expires: jiff::Timestamp,
    pub tls: String,
    pub immutable: bool,
    /// DER and id of the certificate to encrypt for, where messages are told with what is in them.
    pub certificate: Option<(Vec<u8>, String)>,
    /// When it was asked to be authorised again, and has not been since.
    pub challenged: Option<i64>,
}

impl Subscription {
    pub fn is_rich(&self) -> bool {
        self.certificate.is_some()
    }
    pub fn expires_text(&self) -> String {
        self.expires.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Change { kind: &'static str, number: u64, id: String },
    Lifecycle(&'static str),
}

/// One entry of a notification, on its way.
#[derive(Clone, Debug)]
struct Notice {
    tenant: Uuid,
    subscription: Uuid,
    content: Content,
    /// Milliseconds since 1970 of when it happened.
    happened: i64,
    tries: u32,
}

/// The handle; clone freely.
#[derive(Clone)]
pub struct Notifier {
    inner: Arc<Inner>,
}

struct Inner {
    world: World,
    http: reqwest::Client,
    endpoints: Mutex<HashMap<String, Arc<Endpoint>>>,
    /// A subscription came, changed or went.
    changed: Notify,
    /// Notices so far: which one is dropped or doubled follows from its number.
    count: Mutex<u64>,
}

impl Notifier {
    pub fn start(world: World, dns: SocketAddr) -> Result<Notifier, reqwest::Error> {
        let http = endpoint::client(&world, dns)?;
        let inner = Inner { world, http, endpoints: Mutex::default(), changed: Notify::new(), count: Mutex::default() };
        let notifier = Notifier { inner: Arc::new(inner) };
        tokio::spawn(notifier.clone().keep());
        Ok(notifier)
    }
    pub fn http(&self) -> &reqwest::Client {
        &self.inner.http
    }
    /// A subscription came, changed or went: its end is looked at anew.
    pub fn changed(&self) {
        self.inner.changed.notify_one();
    }

    /// True while nothing is due at a webhook, or on its way to one.
    pub fn is_idle(&self) -> bool {
        let now = self.inner.world.clock.now().as_millisecond();
        self.inner.endpoints.lock().unwrap_or_else(|e| e.into_inner()).values().all(|e| e.is_idle(now))
    }

    fn endpoint(&self, url: &str) -> Arc<Endpoint> {
        let mut all = self.inner.endpoints.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(there) = all.get(url) {
            return there.clone();
        }
        let new = Arc::new(Endpoint::new(url));
        all.insert(url.to_owned(), new.clone());
        tokio::spawn(endpoint::serve(self.clone(), new.clone()));
        new
    }

    /// An event of a mailbox becomes notices of the subscriptions that it concerns.
    pub fn take(&self, event: &Event) {
        let world = &self.inner.world;
        let now = world.clock.now().as_millisecond();
        let mut outgoing = Vec::new();
        {
            let state = world.state();
            let Some(t) = state.tenants.iter().find(|t| t.id == event.tenant) else { return };
            let concerned = t.subscriptions.iter().filter(|s| s.user == event.user);
            for s in concerned {
                for content in contents(s, event) {
                    let notice = Notice { tenant: t.id, subscription: s.id, content, happened: now, tries: 0 };
                    outgoing.push((s.notification_url.clone(), notice));
                }
            }
        }
        for (url, notice) in outgoing {
            self.send(&url, notice, now);
        }
    }

    /// Q67: some are dropped, some come twice, all after a while.
    fn send(&self, url: &str, notice: Notice, now: i64) {
        let switches = self.inner.world.state().switches.clone();
        let n = {
            let mut count = self.inner.count.lock().unwrap_or_else(|e| e.into_inner());
            *count += 1;
            *count
        };
        if dice(n, 11) < switches.notification_drops {
            self.note(url, &[&notice], "dropped", 0);
            if switches.notification_drops_told {
                self.missed(&notice);
            }
            return;
        }
        let late = if dice(n, 12) < switches.notification_late { switches.notification_late_ms } else { 0 };
        let due = now + switches.notification_delay_ms + late;
        let endpoint = self.endpoint(url);
        if dice(n, 13) < switches.notification_duplicates {
            endpoint.put(notice.clone(), due);
        }
        endpoint.put(notice, due);
    }

    /// Tells that notifications of a subscription did not arrive; once for several.
    fn missed(&self, notice: &Notice) {
        if notice.content != Content::Lifecycle("missed") {
            self.lifecycle(notice.tenant, notice.subscription, "missed");
        }
    }

    fn lifecycle(&self, tenant: Uuid, subscription: Uuid, event: &'static str) {
        let world = &self.inner.world;
        let url = {
            let state = world.state();
            let t = state.tenants.iter().find(|t| t.id == tenant);
            let s = t.and_then(|t| t.subscriptions.iter().find(|s| s.id == subscription));
            s.and_then(|s| s.lifecycle_url.clone())
        };
        let Some(url) = url else { return };
        let now = world.clock.now().as_millisecond();
        let content = Content::Lifecycle(event);
        let notice = Notice { tenant, subscription, content, happened: now, tries: 0 };
        self.endpoint(&url).put(notice, now);
    }

    /// What a scenario makes happen to subscriptions; says to how many.
    pub fn happen(&self, tenant: Uuid, which: Option<Uuid>, event: &str) -> Result<usize, String> {
        let event = ["reauthorizationRequired", "subscriptionRemoved", "missed"].into_iter().find(|e| *e == event);
        let event = event.ok_or("field `event`: reauthorizationRequired, subscriptionRemoved or missed is expected")?;
        let ids: Vec<Uuid> = {
            let now = self.inner.world.clock.unix();
            let mut state = self.inner.world.state();
            let Some(t) = state.tenants.iter_mut().find(|t| t.id == tenant) else { return Ok(0) };
            let meant = t.subscriptions.iter_mut().filter(|s| which.is_none_or(|w| w == s.id));
            meant
                .map(|s| {
                    if event == "reauthorizationRequired" {
                        s.challenged = Some(now);
                    }
                    s.id
                })
                .collect()
        };
        for id in &ids {
            self.lifecycle(tenant, *id, event);
        }
        if event == "subscriptionRemoved" {
            self.forget(tenant, &ids);
        }
        Ok(ids.len())
    }

    fn forget(&self, tenant: Uuid, ids: &[Uuid]) {
        let mut state = self.inner.world.state();
        let t = state.tenants.iter_mut().find(|t| t.id == tenant);
        // what is on its way about them needs to know what they were
        if let Some(t) = t {
            let (gone, left) = t.subscriptions.drain(..).partition(|s| ids.contains(&s.id));
            t.subscriptions = left;
            t.subscriptions_gone.extend::<Vec<_>>(gone);
        }
    }

    /// Ends subscriptions when their time is over, and asks for authorisation before.
    async fn keep(self) {
        let world = self.inner.world.clone();
        loop {
            let (challenged, next) = pass(&mut world.state(), &world.clock);
            for (tenant, id) in challenged {
                self.lifecycle(tenant, id, "reauthorizationRequired");
            }
            let changed = self.inner.changed.notified();
            match next {
                None => changed.await,
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = world.clock.until(at) => {}
                },
            }
        }
    }

    /// Remembers what became of notices, for scenarios.
    fn note(&self, url: &str, notices: &[&Notice], outcome: &str, took_ms: u128) {
        let at = self.inner.world.clock.now().to_string();
        let mut state = self.inner.world.state();
        let shown = |n: &&Notice| match &n.content {
            Content::Change { kind, id, .. } => json!({"subscription": n.subscription, "changeType": kind, "id": id}),
            Content::Lifecycle(event) => json!({"subscription": n.subscription, "lifecycleEvent": event}),
        };
        let entry = json!({"at": at, "url": url, "outcome": outcome, "took_ms": u64::try_from(took_ms).unwrap_or(u64::MAX), "tries": notices.first().map(|n| n.tries), "items": notices.iter().map(shown).collect::<Vec<_>>()});
        if state.notices.len() >= crate::limits::NOTICES_MAX {
            state.notices.pop_front();
        }
        state.notices.push_back(entry);
    }
}

/// Removes what has ended; gives what is to be challenged now, and when to look again.
fn pass(state: &mut State, clock: &Clock) -> (Vec<(Uuid, Uuid)>, Option<jiff::Timestamp>) {
    let now = clock.now();
    let mut challenged = Vec::new();
    let mut next: Option<jiff::Timestamp> = None;
    let mut soonest = |at: jiff::Timestamp| next = Some(next.map_or(at, |n| n.min(at)));
    for t in &mut state.tenants {
        t.subscriptions.retain(|s| s.expires > now);
        for s in &mut t.subscriptions {
            let lead = jiff::SignedDuration::from_secs(CHALLENGE_SECS);
            let challenge = s.expires.checked_sub(lead).unwrap_or(s.expires);
            if s.lifecycle_url.is_some() && s.challenged.is_none() {
                if challenge <= now {
                    s.challenged = Some(now.as_second());
                    challenged.push((t.id, s.id));
                } else {
                    soonest(challenge);
                }
            }
            soonest(s.expires);
        }
    }
    (challenged, next)
}

/// What an event is to one subscription. With ids that change a moved message is gone and another one there; with
/// immutable ids a mailbox-wide subscription sees it updated (assumed).
fn contents(s: &Subscription, event: &Event) -> Vec<Content> {
    let is = |folder: FolderId| match s.folder {
        Some(own) => own == folder,
        None => !crate::mailbox::folders::is_recoverable(folder),
    };
    let id =
        |moves: u32| ItemId { user: event.user, number: event.number, moves: (!s.immutable).then_some(moves) }.text();
    let change = |kind: &'static str, moves: u32| Content::Change { kind, number: event.number, id: id(moves) };
    let all = match event.kind {
        Kind::Created(folder) if is(folder) => vec![change("created", event.moves)],
        Kind::Updated(folder) if is(folder) => vec![change("updated", event.moves)],
        Kind::Deleted(folder) if is(folder) => vec![change("deleted", event.moves)],
        Kind::Moved { from, to } => {
            let before = event.moves.saturating_sub(1);
            match (is(from), is(to)) {
                (true, true) if s.immutable => vec![change("updated", event.moves)],
                (was, is) => {
                    let left = was.then(|| change("deleted", before));
                    left.into_iter().chain(is.then(|| change("created", event.moves))).collect()
                }
            }
        }
        _ => Vec::new(),
    };
    let wanted = |c: &Content| matches!(c, Content::Change { kind, .. } if s.changes.iter().any(|k| k == kind));
    all.into_iter().filter(wanted).collect()
}

/// The body of a notification, and what is left to tell: whose subscription is gone or may no longer read is not.
struct Told {
    body: Value,
    lost: Vec<Uuid>,
}

fn told(world: &World, notices: &[Notice]) -> Option<Told> {
    let now = world.clock.unix();
    let state = world.state();
    let grace = state.switches.reauthorization_grace_secs;
    let (mut value, mut apps, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    for notice in notices {
        let Some(t) = state.tenants.iter().find(|t| t.id == notice.tenant) else { continue };
        let alive = t.subscriptions.iter().find(|s| s.id == notice.subscription);
        let gone = || t.subscriptions_gone.iter().find(|s| s.id == notice.subscription);
        let lifecycle = matches!(notice.content, Content::Lifecycle(_));
        let Some(s) = alive.or_else(|| gone().filter(|_| lifecycle)) else { continue };
        if !lifecycle {
            // unanswered challenges stop the flow, and what happens meanwhile is lost
            if s.challenged.is_some_and(|at| at + grace <= now) {
                continue;
            }
            if !may_read(t, s, now) {
                lost.push(s.id);
                continue;
            }
        }
        value.push(entry(t, s, notice));
        if s.is_rich() && !lifecycle && !apps.contains(&(s.app_id, t.id)) {
            apps.push((s.app_id, t.id));
        }
    }
    drop(state);
    if value.is_empty() && lost.is_empty() {
        return None;
    }
    let mut body = json!({"value": value});
    if !apps.is_empty() {
        body["validationTokens"] =
            apps.iter().map(|(app, tenant)| rich::validation_token(world, *app, *tenant)).collect();
    }
    Some(Told { body, lost })
}

fn may_read(t: &Tenant, s: &Subscription, now: i64) -> bool {
    let right = if s.is_rich() { Right::Read } else { Right::Basic };
    let app = App::known(t, s.app_id, now);
    let user = t.users.by_id(s.user);
    app.zip(user).is_some_and(|(app, user)| app.may(t, user, right, now))
}

fn entry(t: &Tenant, s: &Subscription, notice: &Notice) -> Value {
    let mut entry = json!({"subscriptionId": s.id, "subscriptionExpirationDateTime": s.expires_text(), "clientState": s.client_state, "tenantId": t.id});
    match &notice.content {
        Content::Lifecycle(event) => {
            entry["lifecycleEvent"] = (*event).into();
            entry["organizationId"] = json!(t.id);
        }
        Content::Change { kind, number, id } => {
            let resource = format!("Users/{}/Messages/{id}", s.user);
            entry["changeType"] = (*kind).into();
            entry["resource"] = resource.clone().into();
            let item = t.users.by_id(s.user).and_then(|u| u.addresses.first());
            let item = item.and_then(|a| t.mailboxes.get(a)).and_then(|m| m.item(*number));
            let etag = item.map(crate::graph::mail::show::etag);
            entry["resourceData"] = json!({"@odata.type": "#Microsoft.Graph.Message", "@odata.id": resource, "@odata.etag": etag, "id": id});
            if let (Some((certificate, name)), Some(item)) = (&s.certificate, item.filter(|_| *kind != "deleted")) {
                let how = crate::graph::mail::show::How { whole: true, immutable: s.immutable };
                let shown = crate::graph::mail::show::message(s.user, item, how, s.select.as_deref());
                let shown = crate::graph::mail::projected(shown, s.select.as_deref());
                if let Some(content) = rich::encrypted(&shown, certificate, name) {
                    entry["encryptedContent"] = content;
                }
            }
        }
    }
    entry
}
