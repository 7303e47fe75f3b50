//! Delta queries over users and groups (wire.md 4.1). What changed is found by comparing with what was seen the last
//! time, so it shows whatever door changed it. Tokens hold the whole state of a round: nothing is kept for a client.

use super::directory::{READ_GROUPS, READ_USERS, show_group, show_user};
use super::{Answer, Answered, Refusal, Request, project};
use crate::switches::Switches;
use crate::world::{Group, Tenant, User};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound::{Excluded, Included};
use uuid::Uuid;

/// Pages that `GET /tenants/{id}/delta` still remembers: a scenario asks soon after.
const SERVED_MAX: usize = 100_000;

/// What was seen so far, each change with a number that only grows.
#[derive(Default)]
pub struct Log {
    newest: u64,
    users: Seen,
    groups: Seen,
    members: HashMap<Uuid, BTreeMap<Uuid, Membership>>,
    /// Every page that was handed out.
    pub served: Vec<Value>,
}

#[derive(Default)]
struct Seen {
    by_id: HashMap<Uuid, Entry>,
    by_number: BTreeMap<u64, Uuid>,
}

struct Entry {
    print: u64,
    /// Every change of it, oldest first: a round shows it at the last one that belongs to the round.
    numbers: Vec<u64>,
    gone: Option<&'static str>,
}

struct Membership {
    number: u64,
    kind: &'static str,
    present: bool,
}

impl Seen {
    fn note(&mut self, id: Uuid, print: u64, touched: bool, newest: &mut u64) {
        let entry = self.by_id.entry(id).or_insert(Entry { print: !print, numbers: Vec::new(), gone: None });
        if entry.print != print || touched || entry.gone.is_some() {
            *newest += 1;
            (entry.print, entry.gone) = (print, None);
            entry.numbers.push(*newest);
            self.by_number.insert(*newest, id);
        }
    }
    fn forget(&mut self, left: &HashSet<Uuid>, reason: impl Fn(&Uuid) -> &'static str, newest: &mut u64) {
        for (id, entry) in self.by_id.iter_mut().filter(|(id, e)| e.gone.is_none() && !left.contains(id)) {
            *newest += 1;
            entry.gone = Some(reason(id));
            entry.numbers.push(*newest);
            self.by_number.insert(*newest, *id);
        }
    }
}

fn print(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Compares everything with what was seen the last time. Q54: whether a group also tells of members that were deleted.
fn look(t: &mut Tenant, tells_deleted_members: bool) {
    let Tenant { delta: log, users, groups, .. } = t;
    let people: HashSet<Uuid> = users.iter().map(|u| u.id).collect();
    let circles: HashSet<Uuid> = groups.iter().map(|g| g.id).collect();
    for u in users.iter() {
        let now = print((&u.upn, &u.display_name, &u.addresses, u.enabled, &u.mailbox_type));
        log.users.note(u.id, now, false, &mut log.newest);
    }
    log.users.forget(&people, |_| "changed", &mut log.newest);
    for g in groups.iter() {
        let before = log.newest;
        let known = log.members.entry(g.id).or_default();
        let now: HashSet<Uuid> = g.members.iter().copied().collect();
        known.retain(|id, m| {
            let told = tells_deleted_members || people.contains(id) || circles.contains(id);
            if m.present && !now.contains(id) && told {
                log.newest += 1;
                (m.number, m.present) = (log.newest, false);
            }
            told || now.contains(id)
        });
        for id in &g.members {
            let kind = if circles.contains(id) { "group" } else { "user" };
            let m = known.entry(*id).or_insert(Membership { number: 0, kind, present: false });
            if !m.present {
                log.newest += 1;
                (m.number, m.present) = (log.newest, true);
            }
        }
        let touched = log.newest > before;
        log.groups.note(g.id, print((&g.display_name, &g.mail, &g.kind)), touched, &mut log.newest);
    }
    log.members.retain(|id, _| circles.contains(id));
    // simulated users can be restored, simulated groups cannot
    log.groups.forget(&circles, |_| "deleted", &mut log.newest);
}

/// What a token says; opaque to clients.
#[derive(Clone, Serialize, Deserialize)]
struct Token {
    set: String,
    select: Option<String>,
    /// The round tells the changes after `from` up to `upto`; those up to `at` (and of that group, `member`) are told.
    from: u64,
    upto: u64,
    at: u64,
    member: Option<Uuid>,
    issued: i64,
    /// Q52: an empty page was shown here already.
    paused: bool,
}

impl Token {
    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
    fn read(text: &str, set: &str) -> Result<Token, Refusal> {
        let token: Option<Token> =
            URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        token.filter(|t| t.set == set).ok_or_else(|| Refusal::bad("Badly formed token."))
    }
}

pub fn route(request: &Request<'_>) -> Answered {
    if request.method != "GET" {
        return Err(Refusal::bad("Unsupported request."));
    }
    let set = request.path.first().cloned().unwrap_or_default();
    request.needs(if set == "users" { &READ_USERS } else { &READ_GROUPS })?;
    let switches = request.door.world.state().switches.clone();
    let token = match (request.query.get("$skiptoken"), request.query.get("$deltatoken")) {
        (Some(text), _) => Some(alive(request, &set, &switches, Token::read(text, &set)?)?),
        (None, Some(text)) if !text.is_empty() && text != "latest" => {
            let token = alive(request, &set, &switches, Token::read(text, &set)?)?;
            Some(Token { from: token.upto, at: token.upto, upto: 0, member: None, paused: false, ..token })
        }
        _ => None,
    };
    let latest = request.query.get("$deltatoken").is_some_and(|t| t == "latest");
    let token = match token {
        Some(token) => token,
        None => {
            let refused = ["$top", "$orderby", "$search", "$count", "$filter", "$expand"];
            if let Some(option) = refused.iter().find(|o| request.query.contains_key(**o)) {
                return Err(Refusal::bad(format!("{option} is not supported by change tracking.")));
            }
            let select = request.query.get("$select").cloned();
            let issued = request.now();
            Token { set, select, from: 0, upto: 0, at: 0, member: None, issued, paused: false }
        }
    };
    request.tenant(|t| Ok(Answer::Whole(page(t, token, latest, &switches, &request.door.base, request.now()))))
}

/// Q50, Q55: after its life a token is answered with 410, and where to begin again.
fn alive(request: &Request<'_>, set: &str, switches: &Switches, token: Token) -> Result<Token, Refusal> {
    if token.issued + switches.delta_token_ttl_secs > request.now() {
        return Ok(token);
    }
    let begin = format!("{}/v1.0/{set}/delta", request.door.base);
    let location = match switches.delta_gone_location.as_str() {
        "none" => None,
        "bare" => Some(format!("{begin}?$deltatoken=")),
        _ => {
            let fresh = Token { from: 0, upto: 0, at: 0, member: None, paused: false, issued: request.now(), ..token };
            Some(format!("{begin}?$skiptoken={}", fresh.text()))
        }
    };
    let text = "Sync state generation is not found; the delta token has expired. Start a full synchronization.";
    Err(Refusal { location, ..Refusal::new(410, "syncStateNotFound", text) })
}

fn page(t: &mut Tenant, mut token: Token, latest: bool, switches: &Switches, base: &str, now: i64) -> Value {
    if token.upto == 0 {
        look(t, switches.delta_tells_deleted_members);
        token.upto = t.delta.newest;
    }
    if latest {
        token.at = token.upto;
    }
    let mut shown = Shown { rows: Vec::new(), at: token.at, member: token.member, more: false };
    if switches.delta_empty_pages && !token.paused {
        (token.paused, shown.more) = (true, true);
    } else {
        shown = if token.set == "users" { users(t, &token, switches) } else { groups(t, &token, switches) };
        token.paused = false;
    }
    let served = json!({"set": token.set, "from": token.from, "at": token.at, "member": token.member, "items": shown.rows.len()});
    if t.delta.served.len() < SERVED_MAX {
        t.delta.served.push(served);
    }
    let link = Token { at: shown.at, member: shown.member, issued: now, ..token };
    let selected = link.select.as_ref().map(|s| format!("({s})")).unwrap_or_default();
    let mut body = json!({"@odata.context": format!("{base}/v1.0/$metadata#{}{selected}/$delta", link.set)});
    let (name, kind) = if shown.more { ("nextLink", "skiptoken") } else { ("deltaLink", "deltatoken") };
    body[format!("@odata.{name}")] = format!("{base}/v1.0/{}/delta?${kind}={}", link.set, link.text()).into();
    body["value"] = shown.rows.into();
    body
}

/// What one page shows and up to where it tells.
struct Shown {
    rows: Vec<Value>,
    at: u64,
    member: Option<Uuid>,
    more: bool,
}

/// The objects that a round shows from here on, each at its last change that belongs to the round.
fn due<'l>(seen: &'l Seen, token: &Token) -> impl Iterator<Item = (u64, Uuid, &'l Entry)> + use<'l> {
    let begin = if token.member.is_some() { Included(token.at) } else { Excluded(token.at) };
    let (from, upto) = (token.from, token.upto);
    let range = seen.by_number.range((begin, Included(upto.max(token.at))));
    range.filter_map(move |(number, id)| {
        let entry = seen.by_id.get(id)?;
        let last = entry.numbers.iter().rev().find(|n| **n <= upto)?;
        // a first round does not tell of what was there and is gone
        (last == number && (entry.gone.is_none() || from > 0)).then_some((*number, *id, entry))
    })
}

/// Q51: the last object of the page before, once more.
fn repeated(seen: &Seen, token: &Token, switches: &Switches) -> Option<Uuid> {
    let wanted = switches.delta_duplicates && token.member.is_none() && token.at > token.from;
    wanted.then(|| seen.by_number.get(&token.at).copied()).flatten()
}

fn selected(row: Value, token: &Token) -> Value {
    let query: BTreeMap<String, String> = token.select.iter().map(|s| ("$select".to_owned(), s.clone())).collect();
    let mut row = project(row, &query);
    if let (0, Some(row)) = (token.from, row.as_object_mut()) {
        // what was never set does not appear
        row.retain(|_, value| !value.is_null());
    }
    row
}

fn users(t: &Tenant, token: &Token, switches: &Switches) -> Shown {
    let by_id: HashMap<Uuid, &User> = t.users.iter().map(|u| (u.id, u)).collect();
    let seen = &t.delta.users;
    let mut shown = Shown { rows: Vec::new(), at: token.at, member: None, more: false };
    if let Some(user) = repeated(seen, token, switches).and_then(|id| by_id.get(&id)) {
        shown.rows.push(selected(show_user(user), token));
    }
    let size = switches.delta_page_size.max(1) + shown.rows.len();
    for (number, id, entry) in due(seen, token) {
        if shown.rows.len() >= size {
            shown.more = true;
            return shown;
        }
        shown.at = number;
        match (by_id.get(&id), entry.gone) {
            (Some(user), _) => shown.rows.push(selected(show_user(user), token)),
            (None, Some(reason)) => shown.rows.push(json!({"id": id, "@removed": {"reason": reason}})),
            // gone since the round began: the next one tells
            (None, None) => {}
        }
    }
    shown
}

fn groups(t: &Tenant, token: &Token, switches: &Switches) -> Shown {
    let by_id: HashMap<Uuid, &Group> = t.groups.iter().map(|g| (g.id, g)).collect();
    let seen = &t.delta.groups;
    let wanted = token.select.as_ref().is_none_or(|s| s.split(',').any(|name| name.trim() == "members"));
    let mut shown = Shown { rows: Vec::new(), at: token.at, member: token.member, more: false };
    let mut told = 0;
    if let Some(group) = repeated(seen, token, switches).and_then(|id| by_id.get(&id)) {
        shown.rows.push(selected(show_group(group), token));
    }
    let size = switches.delta_page_size.max(1) + shown.rows.len();
    for (number, id, entry) in due(seen, token) {
        let mut after = token.member.filter(|_| number == token.at);
        loop {
            // Q53: a page also ends where it has told of enough members
            if shown.rows.len() >= size || told >= switches.delta_members_max * 2 {
                shown.more = true;
                return shown;
            }
            let Some(group) = by_id.get(&id) else {
                if let Some(reason) = entry.gone {
                    shown.rows.push(json!({"id": id, "@removed": {"reason": reason}}));
                }
                (shown.at, shown.member) = (number, None);
                break;
            };
            let part = if wanted { part(t, id, after, token, switches) } else { Vec::new() };
            // further entries of one group carry its id and its members alone
            let mut row = if after.is_none() { selected(show_group(group), token) } else { json!({}) };
            row["id"] = json!(id);
            if !part.is_empty() {
                row["members@delta"] = part.iter().map(|(_, m)| m.clone()).collect();
            }
            if after.is_none() || !part.is_empty() {
                shown.rows.push(row);
            }
            told += part.len();
            let whole = part.len() < switches.delta_members_max.max(1);
            after = part.last().map(|(id, _)| *id);
            (shown.at, shown.member) = (number, after.filter(|_| !whole));
            if whole {
                break;
            }
        }
    }
    shown
}

/// The next members of a group that the round has to tell of.
fn part(t: &Tenant, id: Uuid, after: Option<Uuid>, token: &Token, switches: &Switches) -> Vec<(Uuid, Value)> {
    let Some(members) = t.delta.members.get(&id) else { return Vec::new() };
    let rest = members.range((after.map_or(std::ops::Bound::Unbounded, Excluded), std::ops::Bound::Unbounded));
    let due = rest.filter(|(_, m)| m.number > token.from && m.number <= token.upto && (m.present || token.from > 0));
    due.take(switches.delta_members_max.max(1))
        .map(|(id, m)| {
            let mut row = json!({"@odata.type": format!("#microsoft.graph.{}", m.kind), "id": id});
            if !m.present {
                row["@removed"] = json!({"reason": "deleted"});
            }
            (*id, row)
        })
        .collect()
}
