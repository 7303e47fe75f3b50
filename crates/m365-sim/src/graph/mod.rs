//! Microsoft Graph on the wire (wire.md 2–5): one door, routed by the segments of the path.

pub mod applications;
pub mod delta;
mod directory;
mod domains;
mod filter;
mod messages;
mod roles;
pub use domains::mx_host;

use crate::audit::{self, AuditRecord};
use crate::entra::bearer::{Caller, authorise};
use crate::history;
use crate::trouble;
use crate::world::{Tenant, World};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Clone)]
pub struct Door {
    pub world: World,
    pub base: Arc<str>,
    pub dns: SocketAddr,
}

impl Door {
    pub fn new(world: World, base: &str, dns: SocketAddr) -> Door {
        Door { world, base: base.into(), dns }
    }
}

/// What an operation answers, before headers are put on it.
pub enum Answer {
    Json(u16, Value),
    /// A body that is already as it shall be.
    Whole(Value),
    /// A collection, paged and projected by the door.
    List(&'static str, Vec<Value>),
    Empty,
    Text(Vec<u8>),
}

/// A refusal in Graph's error object.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    /// Where to ask instead.
    pub location: Option<String>,
}

impl Refusal {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), location: None }
    }
    pub fn not_found(what: &str) -> Refusal {
        Refusal::new(
            404,
            "Request_ResourceNotFound",
            format!(
                "Resource '{what}' does not exist or one of its queried reference-property objects are not present."
            ),
        )
    }
    pub fn already_there() -> Refusal {
        Refusal::bad(
            "One or more added object references already exist for the following modified properties: 'members'.",
        )
    }
    pub fn bad(message: impl Into<String>) -> Refusal {
        Refusal::new(400, "Request_BadRequest", message)
    }
}

pub type Answered = Result<Answer, Refusal>;

/// One request, taken apart.
pub struct Request<'a> {
    pub door: &'a Door,
    pub caller: Caller,
    pub method: Method,
    pub path: Vec<String>,
    pub query: BTreeMap<String, String>,
    pub body: Value,
    /// The header `Prefer`.
    pub prefer: String,
    pub delays: Delays,
    /// Rows on a page unless `$top` says otherwise (Q26).
    pub page_size: usize,
}

/// Propagation delays at the time of the request, in seconds (Q1–Q3).
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    pub consent: i64,
    pub role: i64,
    pub key: i64,
}

impl Request<'_> {
    /// Refuses unless the token carries one of the permissions.
    pub fn needs(&self, permissions: &[&str]) -> Result<(), Refusal> {
        if self.caller.may(permissions) {
            Ok(())
        } else {
            Err(Refusal::new(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."))
        }
    }
    pub fn now(&self) -> i64 {
        self.door.world.clock.unix()
    }
    /// The rows of a long list; only those that the page shows are written out, unless a filter has to see all.
    pub fn shown<T>(&self, all: &[T], show: impl Fn(&T) -> Value) -> Vec<Value> {
        let page = page_of(&self.query, self.page_size, 999).ok().filter(|_| !self.query.contains_key("$filter"));
        let seen = |n: usize| page.is_none_or(|(from, top)| (from..from + top).contains(&n));
        all.iter().enumerate().map(|(n, one)| if seen(n) { show(one) } else { Value::Null }).collect()
    }
    /// Runs on the caller's tenant under the lock; who only reads may see an earlier state (Q36).
    pub fn tenant<T>(&self, work: impl FnOnce(&mut Tenant) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut guard = self.door.world.state();
        let state = &mut *guard;
        let (id, now) = (self.caller.tenant, self.door.world.clock.now());
        let tenant = state.tenants.iter_mut().find(|t| t.id == id).ok_or_else(|| {
            Refusal::new(404, "Directory_ObjectNotFound", "Unable to read the company information from the directory.")
        })?;
        if self.method != Method::GET {
            history::put_aside(tenant, now, &state.switches);
            return work(tenant);
        }
        let lag = if self.caller.everything { 0 } else { state.switches.graph_replication_delay_secs };
        let view = history::graph(tenant, now, lag);
        history::reading(tenant, view, work)
    }
    /// The object that a `…/$ref` request names.
    pub fn referenced(&self) -> Result<Uuid, Refusal> {
        let id = self.text("@odata.id")?;
        let last = id.rsplit('/').next().and_then(|s| s.parse().ok());
        last.ok_or_else(|| Refusal::bad("Invalid URL in '@odata.id'."))
    }
    pub fn text(&self, key: &str) -> Result<String, Refusal> {
        self.body[key].as_str().map(str::to_owned).ok_or_else(|| Refusal::bad(format!("A value without a type name was found and no expected type is available; property '{key}' is expected to be a string.")))
    }
    pub fn audit(&self, t: &mut Tenant, activity: &str, object: &str, parameters_of: &Value) {
        let parameters = parameters_of
            .as_object()
            .map(|m| m.iter().filter(|(k, _)| *k != "keyCredentials").map(|(k, v)| (k.clone(), v.clone())).collect())
            .unwrap_or_default();
        let name = parameters_of["displayName"].as_str().unwrap_or_default();
        let target = audit::target(t, activity, object, name);
        let object_id = if matches!(target.kind.as_str(), "Other" | "User") { object } else { target.id.as_str() };
        t.audit.push(AuditRecord {
            id: Uuid::new_v4(),
            at: self.now(),
            workload: "AzureActiveDirectory".into(),
            operation: activity.into(),
            object_id: object_id.into(),
            user_id: self.caller.user.clone().unwrap_or_else(|| self.caller.display_name.clone()),
            app_id: Some(self.caller.app_id),
            actor: Some(self.caller.object_id),
            by_app: self.caller.user.is_none(),
            client_ip: self.caller.client_ip.clone(),
            succeeded: true,
            parameters,
            in_feed: t.settings.ingestion.is_on(self.now()),
            targets: vec![target],
        });
    }
}

pub fn router(door: Door) -> Router {
    Router::new().fallback(serve).with_state(door)
}

async fn serve(
    State(door): State<Door>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = format!("{method} {}", percent_decode(uri.path()));
    let struck = trouble::strike(&mut door.world.state(), "graph", &asked, method != Method::GET);
    if let Some(trouble) = struck.as_ref().filter(|t| !t.after) {
        return trouble.answer("graph", method.as_str(), None).await;
    }
    let caller = match authorise(&door.world, &headers, "https://graph.microsoft.com") {
        Ok(caller) => caller,
        Err(refused) => return refused,
    };
    let id = Uuid::new_v4().to_string();
    let client_id = headers.get("client-request-id").and_then(|v| v.to_str().ok()).unwrap_or(&id).to_owned();
    let prefer = headers.get("prefer").and_then(|p| p.to_str().ok()).unwrap_or_default();
    let answered = carry_out(&door, caller, method.clone(), &uri, prefer, &body).await;
    if let Some(trouble) = struck {
        return trouble.answer("graph", method.as_str(), None).await;
    }
    with_headers(respond(&door, answered, &id, &client_id), &id, &client_id)
}

/// One request of somebody who is known; also the way of the control door's administrator.
pub async fn carry_out(
    door: &Door,
    caller: Caller,
    method: Method,
    uri: &axum::http::Uri,
    prefer: &str,
    body: &[u8],
) -> Result<Finished, Refusal> {
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let path = percent_decode(uri.path());
    let segments: Vec<String> = path.trim_matches('/').split('/').skip(1).map(str::to_owned).collect();
    let mut path = addressed(segments);
    let counting = path.len() > 1 && path.last().is_some_and(|s| s == "$count");
    if counting {
        path.pop();
    }
    if path.first().is_some_and(|s| s == "me")
        && path.get(1).is_some_and(|s| ["messages", "mailFolders", "mailboxSettings"].contains(&s.as_str()))
        && let Some(user) = &caller.user
    {
        path.splice(0..1, ["users".to_owned(), user.clone()]);
    }
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(body)
            .map_err(|e| Refusal::new(400, "BadRequest", format!("Unable to read JSON request payload. {e}")))?
    };
    let (delays, page_size) = {
        let switches = &door.world.state().switches;
        let delays = Delays {
            consent: switches.entra_consent_delay_secs,
            role: switches.entra_role_delay_secs,
            key: switches.entra_key_delay_secs,
        };
        (delays, switches.graph_page_size)
    };
    let prefer = prefer.to_owned();
    let request = Request { delays, page_size, door, caller, method, path, query, prefer, body };
    let answer = route(&request).await?;
    finish(&request, uri, counting, answer)
}

fn respond(door: &Door, answered: Result<Finished, Refusal>, id: &str, client_id: &str) -> Response {
    match answered {
        Ok(Finished { status, body, location }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let mut response = match body {
                Body::None => status.into_response(),
                Body::Text(text) => (status, [("content-type", "text/plain")], text).into_response(),
                Body::Json(body) => (status, [("content-type", JSON)], Json(body)).into_response(),
            };
            if let Some(location) = location.and_then(|l| l.parse().ok()) {
                response.headers_mut().insert("location", location);
            }
            response
        }
        Err(r) => {
            let date = door.world.clock.now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
            let error = json!({"error": {"code": r.code, "message": r.message, "innerError": {"date": date, "request-id": id, "client-request-id": client_id}}});
            let status = StatusCode::from_u16(r.status).unwrap_or(StatusCode::BAD_REQUEST);
            let mut response = (status, [("content-type", JSON)], Json(error)).into_response();
            if let Some(location) = r.location.and_then(|l| l.parse().ok()) {
                response.headers_mut().insert("location", location);
            }
            response
        }
    }
}

fn with_headers(mut response: Response, id: &str, client_id: &str) -> Response {
    for (name, value) in [
        ("request-id", id),
        ("client-request-id", client_id),
        (
            "x-ms-ags-diagnostic",
            "{\"ServerInfo\":{\"DataCenter\":\"West Europe\",\"Slice\":\"E\",\"Ring\":\"5\",\"ScaleUnit\":\"002\",\"RoleInstance\":\"SIM\"}}",
        ),
        ("odata-version", "4.0"),
        ("cache-control", "no-cache"),
    ] {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn percent_decode(path: &str) -> String {
    url::form_urlencoded::parse(format!("p={}", path.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, v)| v.into_owned())
        .unwrap_or_default()
}

/// `/servicePrincipals(appId='x')` becomes `/servicePrincipals/appId=x`.
fn addressed(segments: Vec<String>) -> Vec<String> {
    let take = |s: String| match s.split_once("(") {
        Some((name, key)) if key.contains('=') => vec![name.to_owned(), key.trim_end_matches(')').replace('\'', "")],
        _ => vec![s],
    };
    segments.into_iter().flat_map(take).collect()
}

async fn route(request: &Request<'_>) -> Answered {
    match request.path.first().map(String::as_str).unwrap_or_default() {
        "organization" => directory::organization(request),
        "domains" => domains::route(request).await,
        "applications" | "servicePrincipals" | "oauth2PermissionGrants" => applications::route(request),
        "directoryRoles" | "directoryRoleTemplates" | "roleManagement" => roles::roles(request),
        "me" => directory::me(request),
        "users" | "groups" if request.path.get(1).is_some_and(|s| s == "delta") => delta::route(request),
        "users" if request.path.get(2).is_some_and(|s| s == "messages" || s == "mailFolders") => {
            messages::route(request)
        }
        "users" | "groups" | "directoryObjects" => directory::objects(request),
        other => Err(Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{other}'."))),
    }
}

/// What Graph calls JSON (wire.md 2.1).
const JSON: &str = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";

pub enum Body {
    None,
    Text(Vec<u8>),
    Json(Value),
}

pub struct Finished {
    pub status: u16,
    pub body: Body,
    location: Option<String>,
}

fn finish(request: &Request<'_>, uri: &axum::http::Uri, counting: bool, answer: Answer) -> Result<Finished, Refusal> {
    let done = |status, body| Ok(Finished { status, body, location: None });
    match answer {
        Answer::Empty => done(204, Body::None),
        Answer::Whole(value) => done(200, Body::Json(value)),
        Answer::Text(text) => done(200, Body::Text(text)),
        Answer::Json(status, value) => {
            let at = format!("{}{}", request.door.base, uri.path());
            let location = value["id"].as_str().filter(|_| status == 201).map(|id| format!("{at}/{id}"));
            Ok(Finished { status, body: Body::Json(entity(request, value)), location })
        }
        Answer::List(what, rows) => {
            let rows = filtered(request, rows)?;
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

fn page(request: &Request<'_>, uri: &axum::http::Uri, what: &str, rows: Vec<Value>) -> Result<Value, Refusal> {
    let (base, query) = (&request.door.base, &request.query);
    let mail = what == "users/messages";
    // wire.md 2.3: directory 1..999, messages 1..1000 and 10 at a time
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
            .filter(|(k, _)| *k != "$skiptoken")
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
fn page_of(query: &BTreeMap<String, String>, usual: usize, most: usize) -> Result<(usize, usize), Refusal> {
    let top = match query.get("$top") {
        None => usual,
        Some(text) => text.parse().ok().filter(|n| (1..=most).contains(n)).ok_or_else(|| {
            Refusal::bad(format!("Invalid page size specified: it must be between 1 and {most} inclusive."))
        })?,
    };
    let from = match query.get("$skiptoken") {
        None => 0,
        Some(token) => token
            .strip_prefix("RFNwdAIAAQ")
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| Refusal::bad("The skip token is invalid."))?,
    };
    Ok((from, top))
}

/// Keys that begin with `~` are only there when selected; unknown names are silently nothing (recorded).
fn project(row: Value, query: &BTreeMap<String, String>) -> Value {
    let Value::Object(row) = row else { return row };
    let selected: Option<Vec<&str>> = query.get("$select").map(|s| s.split(',').map(str::trim).collect());
    row.into_iter()
        .filter_map(|(key, value)| match (&selected, key.strip_prefix('~')) {
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
