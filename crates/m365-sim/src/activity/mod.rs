//! The Office 365 Management Activity API on the wire (wire.md 9.1; its reference page, 2026-06): subscriptions,
//! the list of what there is, the blobs. Polling only: a webhook is refused as not validated.

mod feed;
mod records;

pub use feed::Feed;

use crate::entra::bearer::{Caller, authorise};
use crate::limits;
use crate::trouble;
use crate::world::{Tenant, World};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use feed::Blob;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

const AUDIENCE: &str = "https://manage.office.com";
/// What may be subscribed to; only the first two ever have content here.
const CONTENT_TYPES: [&str; 5] =
    ["Audit.Exchange", "Audit.AzureActiveDirectory", "Audit.SharePoint", "Audit.General", "DLP.All"];

#[derive(Clone)]
struct Door {
    world: World,
    base: Arc<str>,
}

pub fn router(world: World, base: &str) -> Router {
    Router::new().fallback(serve).with_state(Door { world, base: base.into() })
}

/// A refusal in this API's error object.
#[derive(Debug)]
struct Refusal(u16, &'static str, String);

impl Refusal {
    fn response(self) -> Response {
        let status = StatusCode::from_u16(self.0).unwrap_or(StatusCode::BAD_REQUEST);
        (status, Json(json!({"error": {"code": self.1, "message": self.2}}))).into_response()
    }
}

type Answered = Result<Response, Refusal>;

/// One request, taken apart.
struct Request<'a> {
    door: &'a Door,
    tenant: Uuid,
    query: BTreeMap<String, String>,
    body: &'a [u8],
}

async fn serve(
    State(door): State<Door>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = format!("{method} {} {}", uri.path(), uri.query().unwrap_or_default());
    let struck = trouble::strike(&mut door.world.state(), "activity", &asked, method != Method::GET);
    if let Some(trouble) = struck.as_ref().filter(|t| !t.after) {
        return trouble.answer("activity", method.as_str()).await;
    }
    let answered = route(&door, &method, &uri, &headers, &body);
    match struck {
        Some(trouble) => trouble.answer("activity", method.as_str()).await,
        None => answered,
    }
}

fn route(door: &Door, method: &Method, uri: &axum::http::Uri, headers: &HeaderMap, body: &[u8]) -> Response {
    let Ok(caller) = authorise(&door.world, headers, AUDIENCE) else {
        let text = json!({"Message": "Authorization has been denied for this request."});
        return (StatusCode::UNAUTHORIZED, Json(text)).into_response();
    };
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let ["api", "v1.0", tenant, "activity", "feed", rest @ ..] = path.as_slice() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let answered = admitted(&caller, tenant).and_then(|tenant| {
        let request = Request { door, tenant, query, body };
        request.publisher()?;
        match (method.as_str(), rest) {
            ("POST", ["subscriptions", "start"]) => start(&request),
            ("POST", ["subscriptions", "stop"]) => stop(&request),
            ("GET", ["subscriptions", "list"]) => list(&request),
            ("GET", ["subscriptions", "content"]) => content(&request),
            ("GET", ["subscriptions", "notifications"]) => {
                request.subscribed().map(|_| Json(json!([])).into_response())
            }
            ("GET", ["audit", id]) => blob(&request, id),
            _ => Ok(StatusCode::NOT_FOUND.into_response()),
        }
    });
    answered.unwrap_or_else(Refusal::response)
}

/// The path names the token's own tenant, and the token carries the permission.
fn admitted(caller: &Caller, tenant: &str) -> Result<Uuid, Refusal> {
    let id: Uuid = tenant.parse().map_err(|_| {
        Refusal(400, "AF20013", format!("The tenant ID passed in the URL ({tenant}) is not a valid GUID."))
    })?;
    if id != caller.tenant {
        return Err(Refusal(
            401,
            "AF20010",
            format!(
                "The tenant ID passed in the URL ({tenant}) does not match the tenant ID passed in the access token ({}).",
                caller.tenant
            ),
        ));
    }
    if !caller.may(&["ActivityFeed.Read"]) {
        let held = [caller.roles.clone(), caller.scopes.clone()].concat().join(" ");
        return Err(Refusal(
            401,
            "AF10001",
            format!(
                "The permission set ({held}) sent in the request did not include the expected permission ActivityFeed.Read."
            ),
        ));
    }
    Ok(id)
}

impl Request<'_> {
    fn now(&self) -> Timestamp {
        self.door.world.clock.now()
    }
    /// Optional here as there; a wrong one is told.
    fn publisher(&self) -> Result<(), Refusal> {
        match self.query.get("PublisherIdentifier").map(|p| p.parse::<Uuid>()) {
            Some(Err(_)) => {
                Err(Refusal(400, "AF20002", "Invalid parameter type: PublisherIdentifier. Expected type: guid".into()))
            }
            _ => Ok(()),
        }
    }
    fn content_type(&self) -> Result<&'static str, Refusal> {
        let given = self
            .query
            .get("contentType")
            .ok_or_else(|| Refusal(400, "AF20001", "Missing parameter: contentType.".into()))?;
        CONTENT_TYPES
            .into_iter()
            .find(|c| c.eq_ignore_ascii_case(given))
            .ok_or_else(|| Refusal(400, "AF20020", "The specified content type is not valid.".into()))
    }
    /// Works on the tenant once everything that is due is in blobs.
    fn tenant<T>(&self, work: impl FnOnce(&mut Tenant, &crate::switches::Switches) -> T) -> Result<T, Refusal> {
        let now = self.now().as_second();
        let mut guard = self.door.world.state();
        let state = &mut *guard;
        let t = state.tenants.iter_mut().find(|t| t.id == self.tenant).ok_or_else(|| unknown(self.tenant))?;
        feed::publish(t, &state.switches, now);
        Ok(work(t, &state.switches))
    }
    fn subscribed(&self) -> Result<&'static str, Refusal> {
        let kind = self.content_type()?;
        match self.tenant(|t, _| t.feed.subscriptions.get(kind).copied())? {
            Some(true) => Ok(kind),
            _ => Err(Refusal(400, "AF20022", "No subscription found for the specified content type.".into())),
        }
    }
}

fn unknown(tenant: Uuid) -> Refusal {
    Refusal(400, "AF20011", format!("Tenant {tenant} does not exist."))
}

fn shown(kind: &str, enabled: bool) -> Value {
    json!({"contentType": kind, "status": if enabled { "enabled" } else { "disabled" }, "webhook": null})
}

fn start(request: &Request<'_>) -> Answered {
    let kind = request.content_type()?;
    let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
    if let Some(address) = body["webhook"]["address"].as_str() {
        let why = if address.starts_with("https://") {
            "The endpoint did not return HTTP 200."
        } else {
            "The address must begin with HTTPS."
        };
        let text = format!("The webhook endpoint ({address}) could not be validated. {why}");
        return Err(Refusal(400, "AF20021", text));
    }
    let now = request.now().as_second();
    request.tenant(|t, switches| {
        // documented in the troubleshooting page: auditing is off, and this is how the feed says it
        if !t.settings.ingestion.is_on(now) {
            return Err(unknown(t.id));
        }
        // recorded: a second start without a change is an error (Q34)
        if t.feed.subscriptions.insert(kind, true) == Some(true) && switches.activity_start_again {
            return Err(Refusal(400, "AF20024", "The subscription is already enabled. No property change.".into()));
        }
        Ok(Json(shown(kind, true)).into_response())
    })?
}

fn stop(request: &Request<'_>) -> Answered {
    let kind = request.subscribed()?;
    request.tenant(|t, _| t.feed.subscriptions.insert(kind, false))?;
    Ok(StatusCode::OK.into_response())
}

fn list(request: &Request<'_>) -> Answered {
    let all: Vec<Value> =
        request.tenant(|t, _| t.feed.subscriptions.iter().map(|(kind, on)| shown(kind, *on)).collect())?;
    Ok(Json(Value::from(all)).into_response())
}

/// Both ends or neither, at most 24 hours apart, at most seven days back; neither is the last 24 hours.
fn window(query: &BTreeMap<String, String>, now: Timestamp) -> Result<(Timestamp, Timestamp), Refusal> {
    let day = SignedDuration::from_hours(limits::CONTENT_WINDOW_HOURS);
    let wrong = |code, more: &str| {
        Refusal(
            400,
            code,
            format!(
                "Start time and end time must both be specified (or both omitted) and must be less than or equal to 24 hours apart, with the start time {more}no more than 7 days in the past."
            ),
        )
    };
    let time = |key: &str| -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = query.get(key) else { return Ok(None) };
        let bare = text.trim_end_matches('Z');
        let whole = match bare.len() {
            10 => format!("{bare}T00:00:00Z"),
            16 => format!("{bare}:00Z"),
            _ => format!("{bare}Z"),
        };
        let wrong = || Refusal(400, "AF20002", format!("Invalid parameter type: {key}. Expected type: datetime"));
        whole.parse().map(Some).map_err(|_| wrong())
    };
    let before = |by: SignedDuration| now.checked_sub(by).unwrap_or(Timestamp::UNIX_EPOCH);
    match (time("startTime")?, time("endTime")?) {
        (None, None) => Ok((before(day), now)),
        (Some(start), Some(end)) if start > end => Err(wrong("AF20055", "prior to end time and start time ")),
        (Some(start), Some(end)) if end.duration_since(start) > day => Err(wrong("AF20030", "")),
        (Some(start), Some(_)) if start < before(SignedDuration::from_hours(24 * limits::CONTENT_DAYS)) => {
            Err(wrong("AF20030", ""))
        }
        (Some(start), Some(end)) => Ok((start, end)),
        _ => Err(wrong("AF20030", "")),
    }
}

/// What became available within the window: start included, end not.
fn content(request: &Request<'_>) -> Answered {
    let kind = request.subscribed()?;
    let (start, end) = window(&request.query, request.now())?;
    let from: usize = match request.query.get("nextPage") {
        None => 0,
        Some(page) => page
            .strip_prefix('R')
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| Refusal(400, "AF20031", format!("Invalid nextPage Input: {page}.")))?,
    };
    let omitted = !request.query.contains_key("startTime");
    let root = format!("{}/api/v1.0/{}/activity/feed", request.door.base, request.tenant);
    let (rows, more) = request.tenant(|t, switches| {
        let inside = |b: &&Blob| {
            let after_start = b.created >= start.as_second();
            // without times everything until this very moment is meant
            b.kind == kind && after_start && (b.created < end.as_second() || omitted && b.created <= end.as_second())
        };
        let mut blobs: Vec<&Blob> = t.feed.blobs.iter().filter(inside).collect();
        if switches.activity_reordered {
            blobs.sort_by(|a, b| trouble::dice(a.number, 7).total_cmp(&trouble::dice(b.number, 7)));
        }
        let page = switches.activity_page_size.max(1);
        let rows: Vec<Value> = blobs.iter().skip(from).take(page).map(|b| b.show(&root)).collect();
        (rows, from + page < blobs.len()).clone()
    })?;
    let next = from + rows.len();
    let mut response = Json(Value::from(rows)).into_response();
    if more {
        // the times stand in the link even where they were omitted (reference page)
        let plain = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let end = if omitted { end.checked_add(SignedDuration::from_secs(1)).unwrap_or(end) } else { end };
        let link = format!(
            "{root}/subscriptions/content?contentType={kind}&startTime={}&endTime={}&nextPage=R{next}",
            plain(start),
            plain(end)
        );
        if let Ok(link) = link.parse() {
            response.headers_mut().insert("nextpageuri", link);
        }
    }
    Ok(response)
}

fn blob(request: &Request<'_>, id: &str) -> Answered {
    let id = id.replace("%24", "$");
    if id.split('$').count() != 5 {
        return Err(Refusal(400, "AF20052", format!("Content ID {id} in the URL is invalid.")));
    }
    let now = request.now().as_second();
    request.tenant(|t, switches| {
        let Some(blob) = t.feed.blobs.iter().find(|b| b.id == id) else {
            return Err(Refusal(400, "AF20050", format!("The specified content ({id}) does not exist.")));
        };
        if blob.expires() <= now {
            return Err(Refusal(
                400,
                "AF20051",
                format!(
                    "Content requested with the key {id} has already expired. Content older than 7 days cannot be retrieved."
                ),
            ));
        }
        let mut rows: Vec<Value> = blob.records.iter().map(|n| records::show(t, *n, switches)).collect();
        if switches.activity_reordered {
            rows.reverse();
        }
        Ok(Json(Value::from(rows)).into_response())
    })?
}
