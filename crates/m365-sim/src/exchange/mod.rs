//! The Exchange admin API on the wire (wire.md 7): InvokeCommand and who may run what.

mod answer;
mod errors;
mod filters;
mod objects;
mod opath;
pub mod parameters;
pub mod rbac;
mod roles;
mod rules;
mod run;
pub mod scopes;
mod settings;
mod trace;

pub use errors::CmdletError;
pub use run::{Actor, Output, run};
pub use settings::Settings;

use crate::entra::bearer::{Caller, authorise};
use crate::entra::{EXCHANGE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR, GLOBAL_READER};
use crate::trouble;
use crate::world::World;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};

/// An Exchange object: a flat table in the shape in which InvokeCommand returns it, keys with `_` being our own.
pub type Row = Map<String, Value>;

const AUDIENCE: &str = "https://outlook.office365.com";

pub fn router(world: World) -> Router {
    Router::new()
        .route("/adminapi/{version}/{tenant}/InvokeCommand", post(invoke))
        .route("/adminapi/{version}/{tenant}/EXOModuleFile", get(module_file))
        .route("/adminapi/v2.0/{tenant}/AcceptedDomain", post(accepted_domain_v2))
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(world)
}

/// What the caller may run, and nothing else (wire.md 7.1).
async fn module_file(
    State(world): State<World>,
    Path((_, tenant)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match climb(&world, &headers, &tenant) {
        Ok((_, allowed)) => {
            let exported = allowed.into_iter().collect::<Vec<_>>().join(",");
            Json(json!({"value": {"exportedCmdlets": exported}})).into_response()
        }
        Err(refused) => refused,
    }
}

async fn accepted_domain_v2(
    world: State<World>,
    Path(tenant): Path<String>,
    query: Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    invoke(world, Path(("v2.0".into(), tenant)), query, headers, body).await
}

/// The ladder (recorded): no usable token or app role 401; neither a directory role in the token nor a role of
/// Exchange's own 403; else what these allow.
fn climb(world: &World, headers: &HeaderMap, tenant: &str) -> Result<(Caller, BTreeSet<&'static str>), Response> {
    let unauthorized = || {
        (
            StatusCode::UNAUTHORIZED,
            [(
                "www-authenticate",
                "Bearer client_id=\"00000002-0000-0ff1-ce00-000000000000\", error=\"invalid_token\"",
            )],
        )
            .into_response()
    };
    let caller = authorise(world, headers, AUDIENCE).map_err(|_| unauthorized())?;
    if !caller.may(&["Exchange.ManageAsApp", "Exchange.Manage"]) {
        return Err(unauthorized());
    }
    let state = world.state();
    let own = state.tenant(tenant).filter(|t| t.id == caller.tenant);
    let mut allowed = own.map(|t| rbac::cmdlets_of(t, &caller)).unwrap_or_default();
    if own.is_some() {
        let holds = |roles: &[uuid::Uuid]| caller.wids.iter().any(|w| roles.contains(w));
        let all = holds(&[EXCHANGE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR]);
        let reads = holds(&[GLOBAL_READER]);
        allowed.extend(parameters::names().filter(|name| all || (reads && name.starts_with("Get-"))));
    }
    drop(state);
    if allowed.is_empty() { Err(forbidden(world, None)) } else { Ok((caller, allowed)) }
}

fn forbidden(world: &World, cmdlet: Option<&str>) -> Response {
    if world.state().switches.exo_403_body == "json" {
        let text = format!(
            "The cmdlet {} is not present in the role definition of the current user.",
            cmdlet.unwrap_or("InvokeCommand")
        );
        return (StatusCode::FORBIDDEN, Json(json!({"error": {"code": "Forbidden", "message": text}}))).into_response();
    }
    (StatusCode::FORBIDDEN, [("content-type", "application/octet-stream")], vec![0u8; 4096]).into_response()
}

async fn invoke(
    State(world): State<World>,
    Path((_version, tenant)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let cmdlet = input["CmdletInput"]["CmdletName"].as_str().unwrap_or_default().to_owned();
    let struck =
        trouble::strike(&mut world.state(), "exchange", &format!("{cmdlet} tenant={tenant}"), run::mutates(&cmdlet));
    let carried_out = match &struck {
        Some(trouble) if !trouble.after => None,
        _ => Some(carry_out(&world, &tenant, &query, &headers, &input)),
    };
    match (struck, carried_out) {
        (Some(trouble), _) => trouble.answer("exchange", "POST", None).await,
        (None, Some(response)) => response,
        (None, None) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn carry_out(
    world: &World,
    tenant: &str,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
    input: &Value,
) -> Response {
    let cmdlet = input["CmdletInput"]["CmdletName"].as_str().unwrap_or_default();
    let (caller, allowed) = match climb(world, headers, tenant) {
        Ok(passed) => passed,
        Err(refused) => return refused,
    };
    // recorded: an unknown cmdlet is refused like one the caller may not run
    if !allowed.iter().any(|name| name.eq_ignore_ascii_case(cmdlet)) {
        return forbidden(world, Some(cmdlet));
    }
    if let Some(refused) = trace::throttled(world, caller.tenant, cmdlet) {
        return refused;
    }
    let page = headers
        .get("prefer")
        .and_then(|p| p.to_str().ok())
        .and_then(|p| p.split("odata.maxpagesize=").nth(1))
        .and_then(|n| n.split(';').next()?.trim().parse().ok());
    let from: usize = query.get("$skiptoken").and_then(|t| t.strip_prefix("ADZm")?.parse().ok()).unwrap_or(0);
    let whole = world.state().switches.exo_paging == "complete";
    let window = if whole {
        0..usize::MAX
    } else {
        from..from.saturating_add(page.unwrap_or(answer::PAGE_ROWS).clamp(1, answer::PAGE_ROWS))
    };
    let given = &input["CmdletInput"]["Parameters"];
    match run::run_shown(world, caller.tenant, cmdlet, given, Actor::of(&caller), window) {
        Ok(output) => {
            let host = headers.get("host").and_then(|h| h.to_str().ok()).unwrap_or("outlook.office365.com");
            answer::respond(world, caller.tenant, host, output, query, page)
        }
        Err(error) => error.response(),
    }
}
