//! What the control door does to one tenant: cmdlets and Graph requests of an administrator in the portal, switches of
//! the tenant itself, many people at once, its configuration as text.

use super::{Answer, Body, Door, Wrong};
use crate::entra::bearer::Caller;
use crate::exchange::Actor;
use crate::graph::{self, Finished};
use crate::world::Tenant;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Map, Value, json};

fn on<T>(d: &Door, tenant: &str, work: impl FnOnce(&mut Tenant) -> Result<T, Wrong>) -> Result<T, Wrong> {
    let mut state = d.world.state();
    let t = state.tenant_mut(tenant).ok_or_else(|| Wrong(format!("no tenant is called {tenant}")))?;
    work(t)
}

/// Under which name and from where; both stand in the audit log.
fn who(body: &Body) -> (String, String) {
    let text = |key: &str, otherwise: &str| body.text(key).unwrap_or_else(|_| otherwise.to_owned());
    (text("by", "portal administrator"), text("client_ip", "127.0.0.1"))
}

pub async fn patch(State(d): State<Door>, Path(tenant): Path<String>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    on(&d, &tenant, |t| {
        t.onprem_connector_restricted = body.flag("onprem_connector_restricted", t.onprem_connector_restricted)?;
        if let Some(dehydrated) = body.0.get("is_dehydrated").and_then(Value::as_bool) {
            t.organization_config.insert("IsDehydrated".into(), dehydrated.into());
        }
        Ok(Json(json!({"onprem_connector_restricted": t.onprem_connector_restricted})))
    })
}

/// A cmdlet run by an administrator in the portal.
pub async fn exchange(State(d): State<Door>, Path(tenant): Path<String>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let id = on(&d, &tenant, |t| Ok(t.id))?;
    let mut parameters = body.0.get("parameters").cloned().unwrap_or_else(|| json!({}));
    let cmdlet = body.text("cmdlet")?;
    // the portal has asked its administrator already
    if (cmdlet.starts_with("Remove-") || cmdlet.starts_with("Disable-")) && parameters.get("Confirm").is_none() {
        parameters["Confirm"] = false.into();
    }
    let (by, client_ip) = who(&body);
    let output = crate::exchange::run(&d.world, id, &cmdlet, &parameters, Actor::portal(&by, &client_ip))
        .map_err(|e| Wrong(e.text().to_owned()))?;
    Ok(Json(
        output
            .rows
            .into_iter()
            .map(|r| r.into_iter().filter(|(k, _)| !k.starts_with('_')).collect::<Map<_, _>>())
            .map(Value::Object)
            .collect(),
    ))
}

/// A Graph request of an administrator in the portal, with every right.
pub async fn graph(State(d): State<Door>, Path(tenant): Path<String>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let (by, client_ip) = who(&body);
    let caller = on(&d, &tenant, |t| Ok(Caller::portal(t, &by, &client_ip)))?;
    let method: Method = body
        .text("method")?
        .parse()
        .map_err(|_| Wrong("field `method`: GET, POST, PATCH or DELETE is expected".into()))?;
    let path = body.text("path")?;
    let path = if path.starts_with("/v1.0/") { path } else { format!("/v1.0/{}", path.trim_start_matches('/')) };
    let uri: Uri = path.parse().map_err(|_| Wrong(format!("field `path`: {path} is not a path of Graph")))?;
    let sent = body.0.get("body").filter(|b| !b.is_null()).map(|b| b.to_string().into_bytes()).unwrap_or_default();
    let prefer = body.text("prefer").unwrap_or_default();
    let content_type = "application/json".to_owned();
    let asked = graph::Asked { method, uri: &uri, prefer, if_match: None, content_type, body: &sent };
    match graph::carry_out(&d.graph, caller, asked).await {
        Ok(Finished { body: graph::Body::Json(answer), .. }) => Ok(Json(answer)),
        Ok(Finished { body: graph::Body::Text(text) | graph::Body::Bytes(_, text), .. }) => {
            Ok(Json(String::from_utf8_lossy(&text).into_owned().into()))
        }
        Ok(Finished { body: graph::Body::None, .. }) => Ok(Json(json!({}))),
        Err(refusal) => Err(Wrong(format!("{} {}: {}", refusal.status, refusal.code, refusal.message))),
    }
}

/// The tenant's whole configuration as text that two exports can be compared by.
pub async fn export(State(d): State<Door>, Path(tenant): Path<String>) -> Result<Response, Wrong> {
    let text = on(&d, &tenant, |t| Ok(crate::export::text(t)))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Adds many people and groups, the same ones in every run.
pub async fn seed(State(d): State<Door>, Path(tenant): Path<String>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let count = |key: &str, otherwise: u64| -> Result<usize, Wrong> {
        let n = body.number(key, otherwise)?;
        let most = crate::limits::SEED_MAX;
        usize::try_from(n)
            .ok()
            .filter(|_| n <= most)
            .ok_or_else(|| Wrong(format!("field `{key}`: at most {most} is expected")))
    };
    let crowd = crate::crowd::Crowd {
        users: count("users", 0)?,
        groups: count("groups", 0)?,
        members_max: count("members_max", 20)?,
        // true: all of them
        nested: if body.0.get("nested") == Some(&true.into()) { usize::MAX } else { count("nested", 0)? },
    };
    on(&d, &tenant, |t| {
        crowd.join(t);
        Ok(Json(json!({"users": t.users.len(), "groups": t.groups.len()})))
    })
}
