//! Microsoft Graph on the wire (wire.md 2–6): one door, routed by the segments of the path.

pub mod access;
mod answer;
pub mod applications;
mod batch;
pub mod delta;
mod directory;
mod domains;
mod filter;
pub mod mail;
pub mod meter;
mod roles;
mod subscriptions;
pub use domains::mx_host;
pub use subscriptions::show as show_subscription;

use answer::{finish, page_of, project};

use crate::audit::{self, AuditRecord};
use crate::entra::bearer::{Caller, authorise};
use crate::history;
use crate::notify::Notifier;
use crate::switches::Switches;
use crate::transport::Transport;
use crate::trouble;
use crate::world::{Tenant, World};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Clone)]
pub struct Door {
    pub world: World,
    pub base: Arc<str>,
    pub dns: SocketAddr,
    pub transport: Transport,
    pub notifier: Notifier,
}

impl Door {
    pub fn new(world: World, base: &str, dns: SocketAddr, transport: Transport, notifier: Notifier) -> Door {
        Door { world, base: base.into(), dns, transport, notifier }
    }
}

/// What an operation answers, before headers are put on it.
pub enum Answer {
    Json(u16, Value),
    /// A body that is already as it shall be.
    Whole(Value),
    /// A collection, paged and projected by the door.
    List(&'static str, Vec<Value>),
    /// The same where `$filter` was applied already; rows that no page shows may be null.
    Filtered(&'static str, Vec<Value>),
    Empty,
    /// Nothing but a status.
    Accepted,
    Text(Vec<u8>),
    /// Of that content type.
    Bytes(String, Vec<u8>),
}

/// A refusal in Graph's error object.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    /// Where to ask instead.
    pub location: Option<String>,
    /// Seconds after which to ask again.
    pub retry_after: Option<i64>,
}

impl Refusal {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), location: None, retry_after: None }
    }
    /// The error object (wire.md 2.2).
    fn object(&self, door: &Door, id: &str, client_id: &str) -> Value {
        let date = door.world.clock.now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
        json!({"error": {"code": self.code, "message": self.message, "innerError": {"date": date, "request-id": id, "client-request-id": client_id}}})
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
    pub if_match: Option<String>,
    pub delays: Delays,
    /// As they stood when the request came.
    pub switches: Switches,
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
    /// Whether ids of mail shall be those that stay.
    pub fn immutable(&self) -> bool {
        self.prefer.to_lowercase().contains("idtype=\"immutableid\"")
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
    let answered = carry_out(&door, caller, Asked::of(method.clone(), &uri, &headers, &body)).await;
    if let Some(trouble) = struck {
        return trouble.answer("graph", method.as_str(), None).await;
    }
    with_headers(respond(&door, answered, &id, &client_id), &id, &client_id)
}

/// A request as it came.
pub struct Asked<'a> {
    pub method: Method,
    pub uri: &'a Uri,
    pub prefer: String,
    pub if_match: Option<String>,
    pub content_type: String,
    pub body: &'a [u8],
}

impl<'a> Asked<'a> {
    pub fn of(method: Method, uri: &'a Uri, headers: &HeaderMap, body: &'a [u8]) -> Asked<'a> {
        let joined = |name: &str| {
            let all: Vec<&str> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
            all.join(", ")
        };
        let if_match = headers.get("if-match").and_then(|v| v.to_str().ok()).map(str::to_owned);
        Asked { method, uri, prefer: joined("prefer"), if_match, content_type: joined("content-type"), body }
    }
}

/// One request of somebody who is known; also the way of the control door's administrator.
pub async fn carry_out(door: &Door, caller: Caller, asked: Asked<'_>) -> Result<Finished, Refusal> {
    let Asked { method, uri, prefer, if_match, content_type, body } = asked;
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
    } else if content_type.to_ascii_lowercase().starts_with("text/plain") {
        // MIME in base64 (Graph "Create message" page)
        String::from_utf8_lossy(body).into_owned().into()
    } else {
        serde_json::from_slice(body)
            .map_err(|e| Refusal::new(400, "BadRequest", format!("Unable to read JSON request payload. {e}")))?
    };
    let (delays, page_size, switches) = {
        let switches = &door.world.state().switches;
        let delays = Delays {
            consent: switches.entra_consent_delay_secs,
            role: switches.entra_role_delay_secs,
            key: switches.entra_key_delay_secs,
        };
        (delays, switches.graph_page_size, switches.clone())
    };
    let request = Request { delays, page_size, switches, door, caller, method, path, query, prefer, if_match, body };
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
                Body::Bytes(kind, bytes) => (status, [("content-type", kind)], bytes).into_response(),
                Body::Json(body) => (status, [("content-type", JSON)], Json(body)).into_response(),
            };
            if let Some(location) = location.and_then(|l| l.parse().ok()) {
                response.headers_mut().insert("location", location);
            }
            response
        }
        Err(r) => {
            let error = r.object(door, id, client_id);
            let status = StatusCode::from_u16(r.status).unwrap_or(StatusCode::BAD_REQUEST);
            let mut response = (status, [("content-type", JSON)], Json(error)).into_response();
            let retry_after = r.retry_after.map(|secs| secs.to_string());
            for (name, value) in [("location", r.location), ("retry-after", retry_after)] {
                if let Some(value) = value.and_then(|v| v.parse().ok()) {
                    response.headers_mut().insert(name, value);
                }
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
        // also `/mailFolders('inbox')`
        Some((name, key)) if key.contains('=') || key.starts_with('\'') => {
            vec![name.to_owned(), key.trim_end_matches(')').replace('\'', "")]
        }
        _ => vec![s],
    };
    // names of what mail is about are known in any case of letters: notifications write `Users/…/Messages/…`
    const NAMES: [&str; 6] = ["users", "messages", "mailFolders", "childFolders", "attachments", "subscriptions"];
    let known = |s: String| NAMES.iter().find(|n| n.eq_ignore_ascii_case(&s)).map_or(s, |n| (*n).to_owned());
    segments.into_iter().flat_map(take).map(known).collect()
}

async fn route(request: &Request<'_>) -> Answered {
    match request.path.first().map(String::as_str).unwrap_or_default() {
        "organization" => directory::organization(request),
        "domains" => domains::route(request).await,
        "applications" | "servicePrincipals" | "oauth2PermissionGrants" => applications::route(request),
        "directoryRoles" | "directoryRoleTemplates" | "roleManagement" => roles::roles(request),
        "me" => directory::me(request),
        "users" | "groups" if request.path.get(1).is_some_and(|s| s == "delta") => delta::route(request),
        "users" if request.path.get(2).is_some_and(|s| mail::SEGMENTS.contains(&s.as_str())) => {
            mail::route(request).await
        }
        "subscriptions" => subscriptions::route(request).await,
        "directory" => directory::deleted(request),
        // the inner requests come this way again
        "$batch" => Box::pin(batch::route(request)).await,
        "users" | "groups" | "directoryObjects" => directory::objects(request),
        other => Err(Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{other}'."))),
    }
}

/// What Graph calls JSON (wire.md 2.1).
const JSON: &str = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";

pub enum Body {
    None,
    Text(Vec<u8>),
    Bytes(String, Vec<u8>),
    Json(Value),
}

pub struct Finished {
    pub status: u16,
    pub body: Body,
    location: Option<String>,
}
