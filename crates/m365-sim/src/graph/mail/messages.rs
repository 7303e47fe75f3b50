//! Messages: find, read, change, move, copy, delete.

use super::{At, drafts, gone, show, unknown};
use crate::graph::filter::Filter;
use crate::graph::{Answer, Answered, Refusal, access, page_of};
use crate::mailbox::folders::{self, PURGES};
use crate::mailbox::{FolderId, Item, ids};
use serde_json::{Value, json};

/// Newest first unless ordered otherwise; without a folder all but Recoverable Items (wire.md 5).
pub fn list(at: &At<'_>, folder: Option<&str>) -> Answered {
    let query = &at.request.query;
    let filter =
        match query.get("$filter") {
            None => None,
            Some(text) => Some(Filter::parse(text).map_err(|rest| {
                Refusal::bad(format!("Invalid filter clause: not understood at '{rest}' of '{text}'."))
            })?),
        };
    let order = query.get("$orderby").map(|text| order(text, filter.as_ref())).transpose()?;
    let search = query.get("$search").map(|s| s.trim_matches('"').to_lowercase());
    if search.is_some() && (filter.is_some() || order.is_some()) {
        return Err(Refusal::new(
            400,
            "SearchWithFilter",
            "The query parameter '$filter' is not supported with '$search'.",
        ));
    }
    let (from, top) = page_of(query, 10, 1000)?;
    let hidden = at.purges() == "hidden";
    let expand = query.get("$expand").is_some_and(|e| e.starts_with("attachments"));
    if expand && !at.opened.whole {
        return Err(access::denied());
    }
    at.read(|m, _| {
        let folder = folder.map(|f| at.folder(m, f)).transpose()?;
        if folder == Some(PURGES) && hidden {
            return Err(gone());
        }
        let inside = |i: &&Item| folder.map_or(!folders::is_recoverable(i.folder), |f| i.folder == f);
        let holds = |i: &&Item| filter.as_ref().is_none_or(|f| f.holds(&show::light(m.user(), i, false)));
        let found = |i: &&Item| search.as_ref().is_none_or(|s| matches(i, s));
        let mut hits: Vec<&Item> = match filter.as_ref().and_then(|f| f.pins("internetMessageId")) {
            Some(id) => m.with_message_id(id).filter(inside).filter(holds).collect(),
            None => m.items().filter(inside).filter(holds).filter(found).collect(),
        };
        hits.sort_by_key(|i| (std::cmp::Reverse(i.message.received), std::cmp::Reverse(i.number)));
        if let Some((property, down)) = &order {
            let key = |i: &Item| show::light(m.user(), i, false)[property.as_str()].to_string();
            hits.sort_by_cached_key(|i| key(i));
            if *down {
                hits.reverse();
            }
        }
        let rows = hits.iter().enumerate().map(|(n, item)| {
            if !(from..from + top).contains(&n) {
                return Value::Null;
            }
            expanded(at, item, at.shown(item), expand)
        });
        Ok(Answer::Filtered("users/messages", rows.collect()))
    })
}

fn expanded(at: &At<'_>, item: &Item, mut row: Value, expand: bool) -> Value {
    if expand {
        // an expansion is there whatever was selected
        row["+attachments"] = show::attachments(at.opened.user, item, true).into();
    }
    row
}

/// What is filtered and ordered has to be filtered by the ordering property first (Graph "List messages" page).
fn order(text: &str, filter: Option<&Filter>) -> Result<(String, bool), Refusal> {
    let first = text.split(',').next().unwrap_or_default().trim();
    let (property, direction) = first.split_once(' ').unwrap_or((first, "asc"));
    if filter.is_some_and(|f| f.first() != property) {
        return Err(Refusal::new(
            400,
            "InefficientFilter",
            "The restriction or sort order is too complex for this operation.",
        ));
    }
    Ok((property.to_owned(), direction.trim().eq_ignore_ascii_case("desc")))
}

/// Words of a search, each of them somewhere, or in the property before a colon.
fn matches(item: &Item, search: &str) -> bool {
    let d = item.message.mime.digest();
    let text = |v: &Value| v["emailAddress"]["address"].as_str().unwrap_or_default().to_lowercase();
    let to = || d.to.iter().chain(&d.cc).map(text).collect::<Vec<_>>().join(" ");
    let subject = d.subject.clone().unwrap_or_default().to_lowercase();
    search.split_whitespace().all(|word| match word.split_once(':') {
        Some(("subject", wanted)) => subject.contains(wanted),
        Some(("from", wanted)) => text(&d.from).contains(wanted),
        Some(("to" | "recipients" | "participants", wanted)) => to().contains(wanted),
        _ => {
            let all = format!("{subject} {} {} {}", text(&d.from), to(), d.preview.to_lowercase());
            all.contains(word)
        }
    })
}

pub async fn one(at: &At<'_>, id: &str, rest: &[&str]) -> Answered {
    if let ("POST", ["send"]) = (at.request.method.as_str(), rest) {
        return drafts::send(at, id);
    }
    let now = at.now();
    let purges = at.purges();
    // finds it, as the caller may see it
    let number = at.read(|m, _| {
        let item = at.item(m, id)?;
        if item.folder == PURGES && purges == "hidden" {
            return Err(gone());
        }
        let unchanged = |wanted: &String| wanted == "*" || *wanted == show::etag(item);
        if !at.request.if_match.as_ref().is_none_or(unchanged) {
            return Err(Refusal::new(412, "ErrorIrresolvableConflict", "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item."));
        }
        Ok(item.number)
    })?;
    let action = rest.first().map(|a| a.trim_start_matches("microsoft.graph."));
    match (at.request.method.as_str(), action, rest.len()) {
        ("GET", None, _) => {
            let expand = at.request.query.get("$expand").is_some_and(|e| e.starts_with("attachments"));
            if expand && !at.opened.whole {
                return Err(access::denied());
            }
            with(at, number, |item| Ok(Answer::Json(200, expanded(at, item, at.shown(item), expand))))
        }
        ("GET", Some("$value"), 1) => with(at, number, |item| Ok(Answer::Text(item.message.mime.raw().to_vec()))),
        ("GET", Some("attachments"), _) => with(at, number, |item| attachments(at, item, &rest[1..])),
        ("PATCH", None, _) => change(at, number),
        ("DELETE", None, _) => at.on(|m| {
            let straight = at.request.switches.graph_delete_to == "recoverableitems";
            // the page of "Delete message": maybe not from there; the answer is assumed
            m.delete(number, straight, now).map(|()| Answer::Empty).ok_or_else(access::denied)
        }),
        ("POST", Some("permanentDelete"), 1) => purge(at, number),
        ("POST", Some(what @ ("move" | "copy")), 1) => {
            let wanted = at.request.text("destinationId")?;
            at.on(|m| {
                let to = at.folder(m, &wanted)?;
                let stuck = m.item(number).is_some_and(|i| i.folder == PURGES) && purges != "movable";
                if stuck || unfit(to) {
                    return Err(Refusal::new(400, "ErrorMoveCopyFailed", "The move or copy operation failed."));
                }
                let item = if what == "move" { m.move_to(number, to, now) } else { m.copy_to(number, to, now) };
                item.map(|item| Answer::Json(201, at.shown(item))).ok_or_else(gone)
            })
        }
        _ => Err(unknown(&[&["messages", id], rest].concat())),
    }
}

/// Folders that take no messages.
fn unfit(folder: FolderId) -> bool {
    [folders::ROOT, folders::RECOVERABLE, PURGES].contains(&folder)
}

fn with(at: &At<'_>, number: u64, work: impl FnOnce(&Item) -> Answered) -> Answered {
    at.read(|m, _| work(m.item(number).ok_or_else(gone)?))
}

fn attachments(at: &At<'_>, item: &Item, rest: &[&str]) -> Answered {
    let user = at.opened.user;
    let Some(key) = rest.first() else {
        return Ok(Answer::List("users/messages/attachments", show::attachments(user, item, true)));
    };
    let n = ids::read_attachment(key).filter(|(number, _)| *number == item.number).map(|(_, n)| n);
    let n = n.ok_or_else(gone)?;
    match rest.get(1) {
        None => {
            let all = show::attachments(user, item, true);
            let row = all.into_iter().find(|a| a["id"] == **key).ok_or_else(gone)?;
            Ok(Answer::Json(200, row))
        }
        Some(&"$value") => {
            let (kind, bytes) = show::attached(item, n).ok_or_else(gone)?;
            Ok(Answer::Bytes(kind, bytes))
        }
        Some(_) => Err(unknown(rest)),
    }
}

/// Of delivered mail only what belongs to its handling may be changed; the rest while it is a draft (wire.md 5).
fn change(at: &At<'_>, number: u64) -> Answered {
    const HANDLING: [&str; 6] = [
        "isRead",
        "categories",
        "flag",
        "inferenceClassification",
        "isReadReceiptRequested",
        "isDeliveryReceiptRequested",
    ];
    let body = at.request.body.clone();
    let keys = body.as_object().ok_or_else(|| Refusal::bad("A JSON object is expected."))?;
    let now = at.now();
    at.on(|m| {
        let item = m.item(number).ok_or_else(gone)?;
        let other = keys.keys().find(|k| !HANDLING.contains(&k.as_str()) && !k.starts_with('@'));
        let rewritten = match other {
            Some(key) if !item.is_draft => {
                return Err(Refusal::new(
                    400,
                    "ErrorInvalidPropertySet",
                    format!("Property '{key}' can only be set while the message is a draft."),
                ));
            }
            Some(_) => Some(drafts::rewritten(item, &body)?),
            None => None,
        };
        let item = m.change(number, now, |item| {
            if let Some(message) = rewritten {
                item.message = message;
            }
            item.is_read = body["isRead"].as_bool().unwrap_or(item.is_read);
            if let Some(flag) = body["flag"]["flagStatus"].as_str() {
                item.flag = flag.to_owned();
            }
            if let Some(list) = body["categories"].as_array() {
                item.categories = list.iter().filter_map(|c| c.as_str().map(str::to_owned)).collect();
            }
        });
        item.map(|item| Answer::Json(200, at.shown(item))).ok_or_else(gone)
    })
}

/// Into Purges, where only a hold keeps it for longer; Q63 says what a hold does.
fn purge(at: &At<'_>, number: u64) -> Answered {
    let switches = &at.request.switches;
    if !switches.permanent_delete {
        return Err(unknown(&["permanentDelete"]));
    }
    let now = at.now();
    at.on(|m| {
        if m.hold && switches.hold_permanent_delete == "refuse" {
            return Err(Refusal::new(
                403,
                "ErrorAccessDenied",
                "The item can't be hard-deleted because the mailbox is on hold.",
            ));
        }
        m.move_to(number, PURGES, now).map(|_| Answer::Empty).ok_or_else(gone)
    })
}

/// For delta queries and notifications: nothing but what was selected, and always the id.
pub fn projected(mut row: Value, select: Option<&str>) -> Value {
    let id = row["id"].clone();
    let mut query = std::collections::BTreeMap::new();
    if let Some(select) = select {
        query.insert("$select".to_owned(), select.to_owned());
    }
    row = crate::graph::project(row, &query);
    row["id"] = id;
    row["@odata.type"] = json!("#microsoft.graph.message");
    row
}
