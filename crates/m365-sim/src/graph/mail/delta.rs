//! Delta queries over the messages of a folder, and over folders (Graph "message: delta" page, delta-query-messages,
//! 2024-11). A token holds the whole state of a round: nothing is kept for a client.

use super::{At, gone, messages, show};
use crate::graph::filter::Filter;
use crate::graph::{Answer, Answered, Refusal};
use crate::mailbox::ids::{self, ItemId};
use crate::mailbox::{FolderId, Item};
use crate::switches::Switches;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Clone, Serialize, Deserialize)]
struct Token {
    user: Uuid,
    /// 0: the folders themselves.
    folder: FolderId,
    select: Option<String>,
    /// Filter as it was given: `receivedDateTime ge …`.
    filter: Option<String>,
    kinds: Option<String>,
    top: Option<usize>,
    /// The round tells the changes after `from` up to `upto`; those up to `at` are told.
    from: u64,
    upto: u64,
    at: u64,
    /// Milliseconds since 1970.
    issued: i64,
    paused: bool,
}

impl Token {
    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
    fn read(text: &str) -> Option<Token> {
        URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }
}

/// One row of a round, at the number of its change.
struct Row {
    change: u64,
    value: Value,
}

pub fn messages(at: &At<'_>, folder: &str) -> Answered {
    let token = begin(at, Some(folder))?;
    answer(at, token, "Collection(message)", |at, token| {
        let filter = token.filter.as_deref().map(Filter::parse).transpose().ok().flatten();
        let (user, fixed) = (at.opened.user, at.request.immutable());
        // a first round tells everything, whatever kind of change is asked for (delta-query-messages, example 2)
        let first = token.from == 0;
        let wanted =
            |kind: &str| first || token.kinds.as_deref().is_none_or(|k| k.split(',').any(|w| w.trim() == kind));
        at.read(|m, _| {
            let left = m.gone_since(token.from).ok_or_else(expired)?;
            let due = |change: u64| change > token.at && change <= token.upto;
            let kind = |i: &Item| if i.entered > token.from { "created" } else { "updated" };
            let shown = m.in_folder(token.folder).filter(|i| due(i.changed) && wanted(kind(i)));
            let passes = |i: &&Item| filter.as_ref().is_none_or(|f| f.holds(&show::light(user, i, fixed)));
            let mut rows: Vec<Row> = shown
                .filter(passes)
                .map(|i| Row { change: i.changed, value: messages::projected(at.shown(i), token.select.as_deref()) })
                .collect();
            // a first round does not tell of what was there and is gone
            let left =
                left.filter(|g| token.from > 0 && g.folder == token.folder && due(g.change) && wanted("deleted"));
            // by its immutable id what came back was never away
            let back = |n: u64| fixed && m.item(n).is_some_and(|i| i.folder == token.folder);
            rows.extend(left.filter(|g| !back(g.number)).map(|g| {
                let id = ItemId { user, number: g.number, moves: (!fixed).then_some(g.moves) }.text();
                let removed =
                    json!({"@odata.type": "#microsoft.graph.message", "id": id, "@removed": {"reason": "deleted"}});
                Row { change: g.change, value: removed }
            }));
            Ok(rows)
        })
    })
}

/// Folders by name: what is in them is no change of theirs (assumed).
pub fn folders(at: &At<'_>) -> Answered {
    let token = begin(at, None)?;
    answer(at, token, "Collection(mailFolder)", |at, token| {
        at.read(|m, _| {
            let due = |change: u64| change > token.at && change <= token.upto;
            let fresh = token.from == 0 && token.at == 0;
            let shown = m.folders().filter(|f| !f.hidden && f.id != f.parent);
            let shown = shown.filter(|f| if f.changed == 0 { fresh } else { due(f.changed) });
            let mut rows: Vec<Row> = shown.map(|f| Row { change: f.changed, value: show::folder(m, &f) }).collect();
            let left = m.folders_gone.iter().filter(|(change, _)| token.from > 0 && due(*change));
            rows.extend(left.map(|(change, id)| Row {
                change: *change,
                value: json!({"id": ids::folder(m.user(), *id), "@removed": {"reason": "deleted"}}),
            }));
            Ok(rows)
        })
    })
}

/// The state of the round that the request means: its token's, or that of a new one.
fn begin(at: &At<'_>, folder: Option<&str>) -> Result<Token, Refusal> {
    let query = &at.request.query;
    let id = at.read(|m, _| folder.map_or(Ok(0), |f| at.folder(m, f)))?;
    let broken = || Refusal::new(400, "ErrorInvalidSyncStateData", "The sync state data is malformed.");
    let given = |text: &str| {
        let token = Token::read(text).filter(|t| t.user == at.opened.user && t.folder == id);
        token.ok_or_else(broken).and_then(|t| alive(at, t))
    };
    match (query.get("$skiptoken"), query.get("$deltatoken")) {
        (Some(text), _) => given(text),
        (None, Some(text)) => {
            let token = given(text)?;
            Ok(Token { from: token.upto, at: token.upto, upto: 0, paused: false, ..token })
        }
        (None, None) => {
            if let Some(option) = ["$search", "$count", "$skip"].iter().find(|o| query.contains_key(**o)) {
                return Err(Refusal::bad(format!("{option} is not supported by change tracking.")));
            }
            let filter = query.get("$filter").cloned();
            let supported = |f: &String| {
                let words: Vec<&str> = f.split_whitespace().collect();
                matches!(words.as_slice(), ["receivedDateTime", "ge" | "gt", _])
            };
            if !filter.as_ref().is_none_or(supported) {
                return Err(Refusal::new(
                    400,
                    "ErrorInvalidUrlQueryFilter",
                    "Change tracking supports only receivedDateTime with ge or gt.",
                ));
            }
            if query.get("$orderby").is_some_and(|o| !o.eq_ignore_ascii_case("receivedDateTime desc")) {
                return Err(Refusal::bad("Change tracking supports only the order receivedDateTime desc."));
            }
            Ok(Token {
                user: at.opened.user,
                folder: id,
                select: query.get("$select").cloned(),
                filter,
                kinds: query.get("changeType").cloned(),
                top: query.get("$top").and_then(|t| t.parse().ok()),
                from: 0,
                upto: 0,
                at: 0,
                issued: millis(at),
                paused: false,
            })
        }
    }
}

fn millis(at: &At<'_>) -> i64 {
    at.request.door.world.clock.now().as_millisecond()
}

fn expired() -> Refusal {
    Refusal::new(410, "SyncStateNotFound", "The sync state generation is not found. Start a full synchronization.")
}

/// Q65: tokens end with their life, or when a scenario says so.
fn alive(at: &At<'_>, token: Token) -> Result<Token, Refusal> {
    let s: &Switches = &at.request.switches;
    let life = s.mail_delta_token_ttl_secs * 1000;
    let old = life > 0 && token.issued + life <= millis(at);
    if !old && token.issued > s.mail_delta_tokens_void_until {
        return Ok(token);
    }
    let code = if s.mail_delta_gone_code == "resyncRequired" { "resyncRequired" } else { "SyncStateNotFound" };
    Err(Refusal { code, ..expired() })
}

fn answer(
    at: &At<'_>,
    mut token: Token,
    what: &str,
    rows: impl FnOnce(&At<'_>, &Token) -> Result<Vec<Row>, Refusal>,
) -> Answered {
    let switches = &at.request.switches;
    if token.upto == 0 {
        token.upto = at.read(|m, _| Ok(m.newest()))?;
    }
    let preferred = at.request.prefer.split([';', ',']).find_map(|p| p.trim().strip_prefix("odata.maxpagesize="));
    let size = preferred.and_then(|n| n.parse().ok()).or(token.top).unwrap_or(switches.mail_delta_page_size).max(1);
    let (mut page, mut more) = (Vec::new(), true);
    if switches.delta_empty_pages && !token.paused {
        token.paused = true;
    } else {
        token.paused = false;
        let mut rows = rows(at, &token)?;
        rows.sort_by_key(|r| r.change);
        // several rows of one change stay together: the next page begins after its number
        let mut end = size.min(rows.len());
        while end > 0 && end < rows.len() && rows[end].change == rows[end - 1].change {
            end += 1;
        }
        more = end < rows.len();
        token.at = if more { rows[end - 1].change } else { token.upto };
        page = rows.into_iter().take(end).map(|r| r.value).collect();
        if switches.delta_duplicates
            && let Some(last) = page.last().cloned()
        {
            page.push(last);
        }
    }
    token.issued = millis(at);
    let base = &at.request.door.base;
    let set = match token.folder {
        0 => format!("{base}/v1.0/users/{}/mailFolders", at.opened.user),
        folder => {
            format!("{base}/v1.0/users/{}/mailFolders('{}')/messages", at.opened.user, ids::folder(token.user, folder))
        }
    };
    let (name, kind) = if more { ("nextLink", "skiptoken") } else { ("deltaLink", "deltatoken") };
    let mut body = json!({"@odata.context": format!("{base}/v1.0/$metadata#{what}")});
    body[format!("@odata.{name}")] = format!("{set}/delta?${kind}={}", token.text()).into();
    body["value"] = page.into();
    if token.folder != 0 {
        at.read(|m, _| m.folder(token.folder).map(drop).ok_or_else(gone))?;
    }
    Ok(Answer::Whole(body))
}
