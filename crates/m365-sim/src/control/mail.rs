//! What the control door does with mailboxes, and shows of them: people who act, mail that arrives past the transport,
//! holds and licences, notifications and their troubles.

use super::{Answer, Body, Door, Wrong, show};
use crate::habits::Act;
use crate::mailbox::folders::{self, DRAFTS, SENT};
use crate::mailbox::{InboxRule, Mailbox, Mime, Standing};
use crate::world::{StoredMessage, Tenant};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::Json;
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// How often what is under way is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub fn routes(router: Router<Door>) -> Router<Door> {
    router
        .route("/tenants/{tenant}/act", post(act))
        .route("/tenants/{tenant}/zap", post(zap))
        .route("/tenants/{tenant}/people", post(people).delete(people_rest))
        .route("/tenants/{tenant}/deliver", post(deliver))
        .route("/tenants/{tenant}/mailboxes", post(mailbox))
        .route("/tenants/{tenant}/quarantine", get(quarantine))
        .route("/tenants/{tenant}/subscriptions", get(subscriptions).post(happen))
        .route("/notifications", get(notifications).delete(forget))
        .route("/meters", get(meters))
        .route("/mail-delta/void", post(void))
        .route("/mail/idle", post(idle))
}

/// For `GET /`.
pub fn index() -> Value {
    json!({
        "POST /tenants/{id}/act": {"user": "ada@domain", "act": "read|unread|flag|move|delete|shift_delete|junk|archive|forward|forward_as_attachment|reply|reply_all", "message": "Message-ID or id of Graph; without it the newest of the inbox", "to": ["forward"], "folder": "move", "text": "?", "message_id": "of what is sent?"},
        "POST /tenants/{id}/zap": {"message": "Message-ID", "to": "junk|quarantine", "unread_only": false},
        "POST /tenants/{id}/people, DELETE /tenants/{id}/people": {"seed": 1, "read": 0.6, "forward": 0.05, "reply": 0.05, "move": 0.1, "delete": 0.1, "within_secs": 3600},
        "POST /tenants/{id}/deliver": {"to": ["address, or * for every mailbox"], "raw": "whole message (or raw_base64); {n} becomes the number of the copy", "count": 1, "folder": "inbox"},
        "POST /tenants/{id}/mailboxes": {"address": "ada@domain", "standing": "served|unlicensed|on_premises|inactive", "hold": false, "in_place_archive": false, "rules": [{"name": "?", "sender_contains": "?", "subject_contains": "?", "folder": "Bills"}]},
        "GET /tenants/{id}/quarantine": "messages in Microsoft's quarantine",
        "GET /tenants/{id}/subscriptions": "subscriptions of every application",
        "POST /tenants/{id}/subscriptions": {"event": "reauthorizationRequired|subscriptionRemoved|missed", "subscription": "id; all without it"},
        "GET /notifications, DELETE /notifications": "what became of notifications, oldest first",
        "GET /meters": "requests of applications at mailboxes",
        "POST /mail/idle": {"timeout_secs": 60, "waits for": "mail under way, people who are late, notifications that are due"},
        "POST /mail-delta/void": "delta tokens of messages and folders given out so far are answered with 410",
    })
}

/// The messages of a mailbox; sent ones with `sent`, Recoverable Items and the archive with `all`.
pub fn shown(m: &Mailbox, query: &HashMap<String, String>) -> Value {
    let (sent, all) = (query.contains_key("sent"), query.contains_key("all"));
    let mut rows = Vec::new();
    for folder in m.folders() {
        let own = folder.id == SENT || folder.id == DRAFTS;
        if own && !(sent || all) || folders::is_recoverable(folder.id) && !all {
            continue;
        }
        let known = folders::WELL_KNOWN.iter().find(|f| f.id == folder.id).map(|f| f.name);
        for item in m.in_folder(folder.id) {
            let mut row = show(known.unwrap_or(&folder.name), &item.message);
            row["graph_id"] = crate::graph::mail::show::id(m.user(), item, false).into();
            row["immutable_id"] = crate::graph::mail::show::id(m.user(), item, true).into();
            row["is_read"] = item.is_read.into();
            row["opened"] = json!(item.opened);
            row["flag"] = item.flag.clone().into();
            row["categories"] = json!(item.categories);
            rows.push(row);
        }
    }
    if all {
        rows.extend(m.in_place_archive.iter().flatten().map(|message| show("in-place archive", message)));
    }
    rows.into()
}

fn tenant(d: &Door, name: &str) -> Result<Uuid, Wrong> {
    let state = d.world.state();
    state.tenant(name).map(|t| t.id).ok_or_else(|| Wrong(format!("no tenant is called {name}")))
}

fn on<T>(d: &Door, name: &str, work: impl FnOnce(&mut Tenant) -> Result<T, Wrong>) -> Result<T, Wrong> {
    let mut state = d.world.state();
    work(state.tenant_mut(name).ok_or_else(|| Wrong(format!("no tenant is called {name}")))?)
}

async fn act(State(d): State<Door>, Path(name): Path<String>, bytes: Bytes) -> Answer {
    let act: Act = serde_json::from_slice(&bytes).map_err(|e| Wrong(format!("act: {e}")))?;
    d.people.act(tenant(&d, &name)?, &act).map(Json).map_err(Wrong)
}

async fn zap(State(d): State<Door>, Path(name): Path<String>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let quarantine = match body.text("to")?.as_str() {
        "junk" => false,
        "quarantine" => true,
        _ => return Err(Wrong("field `to`: junk or quarantine is expected".into())),
    };
    let unread_only = body.flag("unread_only", false)?;
    let count = d.people.zap(tenant(&d, &name)?, &body.text("message")?, quarantine, unread_only).map_err(Wrong)?;
    Ok(Json(json!({"moved": count})))
}

async fn people(State(d): State<Door>, Path(name): Path<String>, bytes: Bytes) -> Answer {
    let habits = if bytes.is_empty() {
        Default::default()
    } else {
        serde_json::from_slice(&bytes).map_err(|e| Wrong(format!("people: {e}")))?
    };
    on(&d, &name, |t| {
        t.habits = Some(habits);
        Ok(Json(json!(t.habits)))
    })
}

async fn people_rest(State(d): State<Door>, Path(name): Path<String>) -> Answer {
    on(&d, &name, |t| {
        t.habits = None;
        Ok(Json(json!({})))
    })
}

/// Straight into mailboxes, past the transport: one message for all of them, or `count` of each.
async fn deliver(State(d): State<Door>, Path(name): Path<String>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let (to, raw, count) = (body.list("to")?, body.raw()?, body.number("count", 1)?);
    let folder = body.text("folder").unwrap_or_else(|_| "inbox".into());
    let now = d.world.clock.unix();
    let numbered = String::from_utf8_lossy(&raw).contains("{n}");
    on(&d, &name, |t| {
        let every = || t.users.iter().filter(|u| !u.mailbox_type.is_empty()).filter_map(|u| u.addresses.first());
        let to: Vec<String> = if to == ["*"] { every().cloned().collect() } else { to };
        let mut ids = Vec::new();
        for n in 0..count {
            let raw = if numbered {
                String::from_utf8_lossy(&raw).replace("{n}", &n.to_string()).into_bytes()
            } else {
                raw.clone()
            };
            let message_id = crate::transport::field(&raw, "Message-ID").unwrap_or_default();
            let sender = crate::transport::field(&raw, "From").unwrap_or_default();
            let mime = Mime::new(raw);
            for address in &to {
                let m =
                    t.mailbox_mut(address).ok_or_else(|| Wrong(format!("field `to`: nobody is called {address}")))?;
                let message = StoredMessage {
                    id: Uuid::new_v4().simple().to_string(),
                    received: now,
                    sender: sender.clone(),
                    recipient: address.clone(),
                    message_id: message_id.clone(),
                    mime: mime.clone(),
                };
                if folder == "inbox" {
                    m.deliver(message, false, now);
                } else {
                    let folder = m.folder_or_new(&folder);
                    m.add(message, folder, now, |_| {});
                }
            }
            ids.push(message_id);
        }
        Ok(Json(json!({"messages": ids.len(), "mailboxes": to.len()})))
    })
}

async fn mailbox(State(d): State<Door>, Path(name): Path<String>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let address = body.text("address")?;
    let standing = match body.text("standing").ok().as_deref() {
        None => None,
        Some("served") => Some(Standing::Served),
        Some("unlicensed") => Some(Standing::Unlicensed),
        Some("on_premises") => Some(Standing::OnPremises),
        Some("inactive") => Some(Standing::Inactive),
        Some(_) => {
            return Err(Wrong("field `standing`: served, unlicensed, on_premises or inactive is expected".into()));
        }
    };
    on(&d, &name, |t| {
        let m = t.mailbox_mut(&address).ok_or_else(|| Wrong(format!("field `address`: nobody is called {address}")))?;
        m.standing = standing.unwrap_or(m.standing);
        m.hold = body.flag("hold", m.hold)?;
        let archive = body.flag("in_place_archive", m.in_place_archive.is_some())?;
        m.in_place_archive = archive.then(|| m.in_place_archive.take().unwrap_or_default());
        if let Some(rules) = body.0.get("rules").and_then(Value::as_array) {
            let text = |r: &Value, key: &str| r[key].as_str().map(str::to_owned);
            m.rules.clear();
            for (n, r) in rules.iter().enumerate() {
                let folder = text(r, "folder").ok_or_else(|| Wrong("field `folder`: a name is expected".into()))?;
                let folder = m.folder_or_new(&folder);
                m.rules.push(InboxRule {
                    name: text(r, "name").unwrap_or_else(|| format!("rule {n}")),
                    sender_contains: text(r, "sender_contains"),
                    subject_contains: text(r, "subject_contains"),
                    folder,
                });
            }
        }
        let rules: Vec<&str> = m.rules.iter().map(|r| r.name.as_str()).collect();
        Ok(Json(
            json!({"standing": format!("{:?}", m.standing), "hold": m.hold, "in_place_archive": archive, "rules": rules}),
        ))
    })
}

async fn quarantine(State(d): State<Door>, Path(name): Path<String>) -> Answer {
    on(&d, &name, |t| Ok(Json(t.quarantine.iter().map(|m| show("quarantine", m)).collect())))
}

async fn subscriptions(State(d): State<Door>, Path(name): Path<String>) -> Answer {
    on(&d, &name, |t| Ok(Json(t.subscriptions.iter().map(crate::graph::show_subscription).collect())))
}

async fn happen(State(d): State<Door>, Path(name): Path<String>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let which = match body.text("subscription") {
        Err(_) => None,
        Ok(id) => Some(id.parse().map_err(|_| Wrong("field `subscription`: an id is expected".into()))?),
    };
    let count = d.graph.notifier.happen(tenant(&d, &name)?, which, &body.text("event")?).map_err(Wrong)?;
    Ok(Json(json!({"subscriptions": count})))
}

async fn notifications(State(d): State<Door>, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let state = d.world.state();
    let wanted = |n: &&Value| query.get("outcome").is_none_or(|o| n["outcome"] == **o);
    Json(state.notices.iter().filter(wanted).cloned().collect())
}

async fn forget(State(d): State<Door>) -> Json<Value> {
    d.world.state().notices.clear();
    Json(json!({}))
}

async fn meters(State(d): State<Door>) -> Json<Value> {
    let state = d.world.state();
    let row = |((app, user), m): (&(Uuid, Uuid), &crate::graph::meter::Meter)| json!({"app": app, "user": user, "most_at_once": m.most, "refused": m.refused, "requests_in_window": m.count()});
    Json(state.meters.iter().map(row).collect())
}

/// Waits until, at the world's present time, everything has happened that mail makes happen.
async fn idle(State(d): State<Door>, bytes: Bytes) -> Answer {
    let within = Duration::from_secs(Body::read(&bytes)?.number("timeout_secs", 60)?);
    let quiet = async {
        loop {
            let still = d.transport.idle(within).await;
            if still && d.world.hub.is_idle() && d.people.is_idle() && d.graph.notifier.is_idle() {
                // an event may have started mail anew
                if d.transport.idle(Duration::ZERO).await && d.world.hub.is_idle() {
                    return;
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    Ok(Json(json!({"idle": tokio::time::timeout(within, quiet).await.is_ok()})))
}

async fn void(State(d): State<Door>) -> Json<Value> {
    let now = d.world.clock.now().as_millisecond();
    d.world.state().switches.mail_delta_tokens_void_until = now;
    Json(json!({}))
}
