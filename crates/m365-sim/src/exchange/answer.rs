//! The success envelope of InvokeCommand (wire.md 7.3, 7.4): sidecar annotations, projection, paging.

use super::{CmdletError, Output};
use crate::world::World;
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use uuid::Uuid;

/// Rows on a page unless the client prefers fewer.
const PAGE_ROWS: usize = 1000;

pub fn respond(
    world: &World,
    tenant: Uuid,
    host: &str,
    output: Output,
    query: &HashMap<String, String>,
    page: Option<usize>,
) -> Response {
    let paging = world.state().switches.exo_paging.clone();
    let total = output.rows.len();
    let from: usize = match query.get("$skiptoken") {
        None => 0,
        Some(_) if paging == "affinity_broken" => {
            return CmdletError::plain("Expired or Invalid pagination request. Default Expiry time is 00:30:00")
                .response();
        }
        Some(token) => token.strip_prefix("ADZm").and_then(|n| n.parse().ok()).unwrap_or(0),
    };
    let size = if paging == "complete" { usize::MAX } else { page.unwrap_or(PAGE_ROWS).clamp(1, PAGE_ROWS) };
    let select: Option<Vec<&str>> = query.get("$select").map(|s| s.split(',').map(str::trim).collect());
    let rows: Vec<Value> =
        output.rows.into_iter().skip(from).take(size).map(|r| annotate(r, select.as_deref())).collect();
    let mut warnings = output.warnings;
    let more = from + rows.len() < total;
    if more {
        warnings.push("There are more results available than are currently displayed. To view them, increase the value for the ResultSize parameter.".into());
    }
    let mut body = json!({"@odata.context": format!("https://outlook.office365.com/adminapi/beta/{tenant}/$metadata#Collection(Exchange.GenericHashTable)"), "adminapi.warnings@odata.type": "#Collection(String)", "@adminapi.warnings": warnings});
    if more {
        body["@odata.nextLink"] =
            format!("https://{host}/adminapi/beta/{tenant}/InvokeCommand?%24skiptoken=ADZm{}", from + rows.len())
                .into();
    }
    if let Some(text) = output.confirmation {
        body["@adminapi.confirmationmessage"] = text.into();
    }
    body["value"] = rows.into();
    ([("request-id", Uuid::new_v4().to_string()), ("organizationstatus", "Active".to_owned())], Json(body))
        .into_response()
}

fn annotate(row: Map<String, Value>, select: Option<&[&str]>) -> Value {
    let mut out = Map::new();
    for (key, value) in row {
        if key.starts_with('_') || select.is_some_and(|names| !names.contains(&key.as_str())) {
            continue;
        }
        match &value {
            Value::Number(_) => drop(out.insert(format!("{key}@data.type"), "System.Int32".into())),
            Value::Array(_) => drop(out.insert(format!("{key}@odata.type"), "#Collection(String)".into())),
            Value::String(_) if key == "Guid" => drop(out.insert(format!("{key}@data.type"), "System.Guid".into())),
            Value::String(_) if key == "WhenChanged" || key == "Received" || key == "Date" => {
                drop(out.insert(format!("{key}@data.type"), "System.DateTime".into()))
            }
            _ => {}
        }
        out.insert(key, value);
    }
    out.into()
}
