//! From what an operation answers to the body on the wire: filter, projection, pages (wire.md 2.3).

use super::{Answer, Body, Finished, Refusal, Request, filter};
use axum::http::Uri;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub(super) fn finish(request: &Request<'_>, uri: &Uri, counting: bool, answer: Answer) -> Result<Finished, Refusal> {
    let done = |status, body| Ok(Finished { status, body, location: None });
    match answer {
        Answer::Empty => done(204, Body::None),
        Answer::Accepted => done(202, Body::None),
        Answer::Bytes(kind, bytes) => done(200, Body::Bytes(kind, bytes)),
        Answer::Whole(value) => done(200, Body::Json(value)),
        Answer::Text(text) => done(200, Body::Text(text)),
        Answer::Json(status, value) => {
            let at = format!("{}{}", request.door.base, uri.path());
            let location = value["id"].as_str().filter(|_| status == 201).map(|id| format!("{at}/{id}"));
            Ok(Finished { status, body: Body::Json(entity(request, value)), location })
        }
        Answer::List(..) | Answer::Filtered(..) => {
            let (what, rows) = match answer {
                Answer::Filtered(what, rows) => (what, rows),
                Answer::List(what, rows) => (what, filtered(request, rows)?),
                _ => ("", Vec::new()),
            };
            if counting {
                return done(200, Body::Text(rows.len().to_string().into_bytes()));
            }
            done(200, Body::Json(page(request, uri, what, rows)?))
        }
    }
}

/// What `$filter` lets through.
fn filtered(request: &Request<'_>, rows: Vec<Value>) -> Result<Vec<Value>, Refusal> {
    let Some(text) = request.query.get("$filter") else { return Ok(rows) };
    let filter = filter::Filter::parse(text)
        .map_err(|rest| Refusal::bad(format!("Invalid filter clause: not understood at '{rest}' of '{text}'.")))?;
    Ok(rows.into_iter().filter(|row| filter.holds(row)).collect())
}

/// One object says where its description is; unknown names in $select leave nothing else (recorded).
fn entity(request: &Request<'_>, value: Value) -> Value {
    let Value::Object(shown) = project(value, &request.query) else { return Value::Null };
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let what = match path.as_slice() {
        ["me"] => "users".to_owned(),
        [set, key, inner, ..] => format!("{set}('{key}')/{inner}"),
        [set, ..] => (*set).to_owned(),
        [] => String::new(),
    };
    let selected = request.query.get("$select").map(|s| format!("({s})")).unwrap_or_default();
    let mut body = Map::new();
    body.insert(
        "@odata.context".into(),
        format!("{}/v1.0/$metadata#{what}{selected}/$entity", request.door.base).into(),
    );
    body.extend(shown);
    body.into()
}

fn page(request: &Request<'_>, uri: &Uri, what: &str, rows: Vec<Value>) -> Result<Value, Refusal> {
    let (base, query) = (&request.door.base, &request.query);
    let mail = what.starts_with("users/");
    // wire.md 2.3: directory 1..999, messages (and folders) 1..1000 and 10 at a time
    let (usual, most) = if mail { (10, 1000) } else { (request.page_size, 999) };
    let (from, top) = page_of(query, usual, most)?;
    let total = rows.len();
    let page: Vec<Value> = rows.into_iter().skip(from).take(top).map(|row| project(row, query)).collect();
    let mut body = Map::new();
    let selected = query.get("$select").map(|s| format!("({s})")).unwrap_or_default();
    body.insert("@odata.context".into(), format!("{base}/v1.0/$metadata#{what}{selected}").into());
    if query.get("$count").is_some_and(|c| c == "true") {
        body.insert("@odata.count".into(), total.into());
    }
    if from + page.len() < total {
        let kept: Vec<String> = query
            .iter()
            .filter(|(k, _)| *k != "$skiptoken" && *k != "$skip")
            .map(|(k, v)| format!("{k}={}", url::form_urlencoded::byte_serialize(v.as_bytes()).collect::<String>()))
            .collect();
        let kept = if kept.is_empty() { String::new() } else { kept.join("&") + "&" };
        let next = format!("{base}{}?{kept}$skiptoken=RFNwdAIAAQ{}", uri.path(), from + page.len());
        body.insert("@odata.nextLink".into(), next.into());
    }
    body.insert("value".into(), page.into());
    Ok(body.into())
}

/// First row and number of rows of the page that is asked for.
pub(super) fn page_of(query: &BTreeMap<String, String>, usual: usize, most: usize) -> Result<(usize, usize), Refusal> {
    let top = match query.get("$top") {
        None => usual,
        Some(text) => text.parse().ok().filter(|n| (1..=most).contains(n)).ok_or_else(|| {
            Refusal::bad(format!("Invalid page size specified: it must be between 1 and {most} inclusive."))
        })?,
    };
    let from = match query.get("$skiptoken") {
        None => query.get("$skip").and_then(|n| n.parse().ok()).unwrap_or(0),
        Some(token) => token
            .strip_prefix("RFNwdAIAAQ")
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| Refusal::bad("The skip token is invalid."))?,
    };
    Ok((from, top))
}

/// Keys that begin with `~` are only there when selected, those that begin with `+` always; unknown names are silently nothing (recorded).
pub(super) fn project(row: Value, query: &BTreeMap<String, String>) -> Value {
    let Value::Object(row) = row else { return row };
    let selected: Option<Vec<&str>> = query.get("$select").map(|s| s.split(',').map(str::trim).collect());
    row.into_iter()
        .filter_map(|(key, value)| match (&selected, key.strip_prefix('~')) {
            _ if key.starts_with('+') => Some((key[1..].to_owned(), value)),
            (None, None) => Some((key, value)),
            (None, Some(_)) => None,
            (Some(names), plain) => {
                let name = plain.unwrap_or(&key).to_owned();
                (names.contains(&name.as_str()) || name.starts_with('@')).then_some((name, value))
            }
        })
        .collect::<Map<_, _>>()
        .into()
}
