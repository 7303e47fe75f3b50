//! The control door: plain HTTP on loopback, for scenarios. `GET /` tells what it can do.

mod mail;
mod tenants;

use crate::habits::People;
use crate::people;
use crate::transport::{InternetMail, Transport};
use crate::world::{Fault, State as WorldState, StoredMessage, Tenant, World};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// A request may carry a message of the largest size in base64.
const BODY_BYTES_MAX: usize = 300 * 1024 * 1024;

#[derive(Clone)]
struct Door {
    world: World,
    transport: Transport,
    graph: crate::graph::Door,
    people: People,
    endpoints: Value,
}

type Answer = Result<Json<Value>, Wrong>;

/// Bad input: 400 and a sentence that names the field.
struct Wrong(String);

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({"error": self.0}))).into_response()
    }
}

pub async fn serve(
    world: World,
    transport: Transport,
    graph: crate::graph::Door,
    people: People,
    endpoints: Value,
    listen: SocketAddr,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let router = router(Door { world, transport, graph, people, endpoints });
    tokio::spawn(async move {
        if let Err(e) = axum::serve(listener, router).await {
            tracing::error!(error = %e, "the control door closed");
        }
    });
    Ok(address)
}

fn router(door: Door) -> Router {
    mail::routes(Router::new())
        .route("/", get(index))
        .route("/endpoints", get(async |State(d): State<Door>| Json(d.endpoints)))
        .route("/submit", post(submit))
        .route("/internet/send", post(internet_send))
        .route("/mailbox", get(mailbox))
        .route("/mailboxes", axum::routing::delete(empty_mailboxes))
        .route("/external", get(external))
        .route("/trace", get(trace))
        .route(
            "/wire",
            get(wire).delete(async |State(d): State<Door>| {
                d.world.state().wire.clear();
                Json(json!({}))
            }),
        )
        .route("/queue", get(async |State(d): State<Door>| Json(json!(d.transport.queue()))))
        .route(
            "/queue/retry",
            post(async |State(d): State<Door>| {
                d.transport.retry_now().await;
                Json(json!({}))
            }),
        )
        .route("/queue/idle", post(idle))
        .route("/clock/advance", post(advance))
        .route(
            "/switches",
            get(async |State(d): State<Door>| Json(json!(d.world.state().switches.clone()))).patch(switches),
        )
        .route(
            "/faults",
            post(add_fault).delete(async |State(d): State<Door>| {
                d.world.state().faults.clear();
                Json(json!({}))
            }),
        )
        .route("/dns/record", post(dns_record))
        .route("/dns/forward", post(dns_forward))
        .route("/smtp-ports", post(smtp_port))
        .route("/audit", get(audit))
        .route("/pki/issuing-ca", post(issuing_ca))
        .route("/pki/issue", post(issue))
        .route("/tenants/{tenant}", axum::routing::patch(tenants::patch))
        .route("/tenants/{tenant}/exchange", post(tenants::exchange))
        .route("/tenants/{tenant}/graph", post(tenants::graph))
        .route("/tenants/{tenant}/export", get(tenants::export))
        .route("/tenants/{tenant}/seed", post(tenants::seed))
        .route("/tenants/{tenant}/users", post(put_user).delete(remove_user))
        .route("/tenants/{tenant}/groups", post(put_group).delete(remove_group))
        .route("/tenants/{tenant}/delta", get(delta_pages))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(door)
}

async fn index() -> Json<Value> {
    let mut all = json!({
        "GET /endpoints": "what the ready file says",
        "POST /submit": {"tenant": "id or domain", "from": "user@domain", "to": ["someone@domain"], "raw": "whole message (or raw_base64)"},
        "POST /internet/send": {"from": "pat@acme.example", "to": ["user@domain"], "raw": "…", "source_ip": "127.0.10.1?", "client_ip": "any address that the MX shall see?", "sign": "bool?", "smtputf8": false, "helo": "?", "notify": "?", "starttls": true},
        "GET /mailbox?address=": "messages of a tenant's mailbox, raw_base64; with &sent also sent ones, with &all everything",
        "GET /external?address=": "messages of an outside mailbox",
        "DELETE /mailboxes": "empties every mailbox of the world",
        "GET /trace?message_id=&tenant=": "message trace",
        "GET /wire, DELETE /wire": "copies of what crossed the wire to and from gateways, while the switch record_wire is on",
        "GET /queue, POST /queue/retry, POST /queue/idle": {"timeout_secs": 60},
        "POST /clock/advance": {"secs": 3600},
        "GET /switches, PATCH /switches": "every uncertain behaviour, docs/quirks.md",
        "POST /faults, DELETE /faults": {"door": "graph|exchange|entra|activity|smtp_mail|smtp_rcpt|smtp_data", "matching": "words joined by &&, e.g. anna@ && peer=127.0.50.1, Get-TransportRule && tenant={id}", "answer": "429, timeout, concurrency, transient; an SMTP reply or drop", "after": "true: carried out, then answered so", "retry_after_secs": 1, "delay_ms": 0, "times": 1},
        "POST /dns/record": {"name": "host.example", "type": "A|TXT|MX", "values": ["127.0.0.1"]},
        "POST /dns/forward": {"zone": "connect.example", "server": "127.0.0.1:5353"},
        "POST /smtp-ports": {"host": "gw.example or *", "port": 2525},
        "GET /audit?tenant=": "every change through any door",
        "POST /pki/issuing-ca": {}, "POST /pki/issue": {"names": ["host.example"], "client_auth": false},
        "PATCH /tenants/{id}": {"onprem_connector_restricted": true, "is_dehydrated": false},
        "POST /tenants/{id}/exchange": {"cmdlet": "Get-TransportRule", "parameters": {}, "by": "second.admin@domain?", "client_ip": "203.0.113.9?"},
        "POST /tenants/{id}/graph": {"method": "DELETE", "path": "/applications/{object id}", "body": "?", "by": "second.admin@domain?", "client_ip": "203.0.113.9?"},
        "GET /tenants/{id}/export": "the whole configuration, in the same order and format every time",
        "POST /tenants/{id}/seed": {"users": 50000, "groups": 5000, "members_max": 50, "nested": true},
        "POST /tenants/{id}/users": {"upn": "ada@domain", "new_upn": "?", "display_name": "?", "addresses": ["primary first"], "enabled": true, "mailbox_type": "UserMailbox"},
        "DELETE /tenants/{id}/users": {"upn": "ada@domain"},
        "POST /tenants/{id}/groups": {"name": "Sales", "new_name": "?", "mail": "?", "kind": "distribution|security|mail_security|unified", "add": ["upn or group name"], "remove": []},
        "DELETE /tenants/{id}/groups": {"name": "Sales"},
        "GET /tenants/{id}/delta": "every page of delta queries that was handed out",
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, mail::index()) {
        all.extend(more);
    }
    Json(all)
}

struct Body(Map<String, Value>);

impl Body {
    fn read(bytes: &Bytes) -> Result<Body, Wrong> {
        if bytes.is_empty() {
            return Ok(Body(Map::new()));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => Ok(Body(map)),
            Ok(_) => Err(Wrong("the body is expected to be a JSON object".into())),
            Err(e) => Err(Wrong(format!("the body is not JSON: {e}"))),
        }
    }
    fn text(&self, key: &str) -> Result<String, Wrong> {
        self.0
            .get(key)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| Wrong(format!("field `{key}`: a string is expected")))
    }
    fn list(&self, key: &str) -> Result<Vec<String>, Wrong> {
        let list = self
            .0
            .get(key)
            .and_then(Value::as_array)
            .ok_or_else(|| Wrong(format!("field `{key}`: a list of strings is expected")))?;
        list.iter()
            .map(|v| {
                v.as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| Wrong(format!("field `{key}`: a list of strings is expected")))
            })
            .collect()
    }
    fn flag(&self, key: &str, otherwise: bool) -> Result<bool, Wrong> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(otherwise),
            Some(v) => v.as_bool().ok_or_else(|| Wrong(format!("field `{key}`: true or false is expected"))),
        }
    }
    fn number(&self, key: &str, otherwise: u64) -> Result<u64, Wrong> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(otherwise),
            Some(v) => v.as_u64().ok_or_else(|| Wrong(format!("field `{key}`: a number is expected"))),
        }
    }
    fn raw(&self) -> Result<Vec<u8>, Wrong> {
        match (self.0.get("raw_base64").and_then(Value::as_str), self.0.get("raw").and_then(Value::as_str)) {
            (Some(text), _) => STANDARD.decode(text).map_err(|e| Wrong(format!("field `raw_base64`: {e}"))),
            (None, Some(text)) => Ok(text.as_bytes().to_vec()),
            (None, None) => Err(Wrong("field `raw` or `raw_base64`: the whole message is expected".into())),
        }
    }
}

async fn submit(State(d): State<Door>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    d.transport
        .submit(&body.text("tenant")?, &body.text("from")?, body.list("to")?, body.raw()?)
        .await
        .map_err(Wrong)?;
    Ok(Json(json!({"accepted": true})))
}

async fn internet_send(State(d): State<Door>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let address = |key: &str| {
        body.0
            .get(key)
            .and_then(Value::as_str)
            .map(|t| t.parse().map_err(|_| Wrong(format!("field `{key}`: an IP address is expected"))))
            .transpose()
    };
    let optional = |key: &str| body.0.get(key).and_then(Value::as_str).map(str::to_owned);
    let mail = InternetMail {
        from: body.text("from")?,
        to: body.list("to")?,
        raw: body.raw()?,
        source_ip: address("source_ip")?,
        client_ip: address("client_ip")?,
        sign: body.0.get("sign").and_then(Value::as_bool),
        smtputf8: body.flag("smtputf8", false)?,
        helo: optional("helo"),
        notify: optional("notify"),
        starttls: body.flag("starttls", true)?,
    };
    let reply = d.transport.send_from_internet(mail).await.map_err(Wrong)?;
    Ok(Json(json!(reply)))
}

fn show(folder: &str, m: &StoredMessage) -> Value {
    let subject = &m.mime.digest().subject;
    json!({"id": m.id, "received": m.received, "sender": m.sender, "recipient": m.recipient, "message_id": m.message_id, "subject": subject, "folder": folder, "raw_base64": STANDARD.encode(m.mime.raw())})
}

fn address_of(query: &HashMap<String, String>) -> Result<String, Wrong> {
    query
        .get("address")
        .map(|a| a.to_lowercase())
        .ok_or_else(|| Wrong("query `address`: a mail address is expected".into()))
}

async fn mailbox(State(d): State<Door>, Query(query): Query<HashMap<String, String>>) -> Answer {
    let address = address_of(&query)?;
    let state = d.world.state();
    let found = state
        .tenants
        .iter()
        .find_map(|t| t.user_by_address(&address).and_then(|u| u.addresses.first()).and_then(|a| t.mailboxes.get(a)));
    let mailbox = found.ok_or_else(|| Wrong(format!("query `address`: no mailbox is called {address}")))?;
    Ok(Json(mail::shown(mailbox, &query)))
}

async fn external(State(d): State<Door>, Query(query): Query<HashMap<String, String>>) -> Answer {
    let address = address_of(&query)?;
    let state = d.world.state();
    let list = state.external.iter().filter_map(|e| e.mailboxes.get(&address)).flatten();
    Ok(Json(list.map(|m| show("inbox", m)).collect()))
}

async fn empty_mailboxes(State(d): State<Door>) -> Json<Value> {
    let mut state = d.world.state();
    for mailbox in state.tenants.iter_mut().flat_map(|t| t.mailboxes.values_mut()) {
        mailbox.empty();
    }
    for domain in &mut state.external {
        domain.mailboxes.clear();
    }
    Json(json!({}))
}

async fn trace(State(d): State<Door>, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let state = d.world.state();
    let tenant = query.get("tenant").and_then(|t| state.tenant(t)).map(|t| t.id);
    let id = query.get("message_id").map(|i| i.trim_matches(['<', '>']).to_owned());
    let hits = state.trace.iter().filter(|e| {
        (!query.contains_key("tenant") || e.tenant == tenant)
            && id.as_ref().is_none_or(|i| e.message_id.trim_matches(['<', '>']) == i)
    });
    Json(json!(hits.collect::<Vec<_>>()))
}

async fn wire(State(d): State<Door>) -> Json<Value> {
    let state = d.world.state();
    Json(state.wire.iter().map(|w| json!({"leg": w.leg, "at": w.at, "sender": w.sender, "recipients": w.recipients, "raw_base64": STANDARD.encode(&w.raw)})).collect())
}

async fn idle(State(d): State<Door>, bytes: Bytes) -> Answer {
    let secs = Body::read(&bytes)?.number("timeout_secs", 60)?;
    Ok(Json(json!({"idle": d.transport.idle(Duration::from_secs(secs)).await})))
}

async fn advance(State(d): State<Door>, bytes: Bytes) -> Answer {
    let secs = Body::read(&bytes)?.number("secs", 0)?;
    d.world.clock.advance(Duration::from_secs(secs));
    d.transport.due_now().await;
    Ok(Json(json!({"now": d.world.clock.now().to_string()})))
}

async fn switches(State(d): State<Door>, bytes: Bytes) -> Answer {
    let change = Body::read(&bytes)?;
    let mut state = d.world.state();
    let mut all = serde_json::to_value(&state.switches).unwrap_or_default();
    for (key, value) in change.0 {
        all[key] = value;
    }
    state.switches = serde_json::from_value(all).map_err(|e| Wrong(format!("switches: {e}")))?;
    Ok(Json(json!(state.switches)))
}

async fn add_fault(State(d): State<Door>, bytes: Bytes) -> Answer {
    let fault: Fault = serde_json::from_slice(&bytes).map_err(|e| Wrong(format!("fault: {e}")))?;
    d.world.state().faults.push(fault);
    Ok(Json(json!({})))
}

fn insert(d: &Door, work: impl FnOnce(&mut WorldState)) -> Answer {
    work(&mut d.world.state());
    Ok(Json(json!({})))
}

async fn dns_record(State(d): State<Door>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let (name, kind, values) =
        (body.text("name")?.to_lowercase(), body.text("type")?.to_uppercase(), body.list("values")?);
    insert(&d, |s| {
        s.dns_records.insert((name, kind), values);
    })
}

async fn dns_forward(State(d): State<Door>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let (zone, server) = (body.text("zone")?.to_lowercase(), body.text("server")?);
    server.parse::<SocketAddr>().map_err(|_| Wrong("field `server`: an address and port is expected".into()))?;
    insert(&d, |s| {
        s.dns_forward.insert(zone, server);
    })
}

async fn smtp_port(State(d): State<Door>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let (host, port) = (
        body.text("host")?.to_lowercase(),
        u16::try_from(body.number("port", 0)?).map_err(|_| Wrong("field `port`: a TCP port is expected".into()))?,
    );
    insert(&d, |s| {
        s.smtp_ports.insert(host, port);
    })
}

async fn audit(State(d): State<Door>, Query(query): Query<HashMap<String, String>>) -> Answer {
    let state = d.world.state();
    let tenant = query
        .get("tenant")
        .and_then(|t| state.tenant(t))
        .ok_or_else(|| Wrong("query `tenant`: the id or a domain of a tenant is expected".into()))?;
    Ok(Json(json!(tenant.audit)))
}

async fn issuing_ca(State(d): State<Door>) -> Answer {
    let (chain, key) = d.world.pki.issuing_ca_pem().map_err(|e| Wrong(e.to_string()))?;
    Ok(Json(json!({"chain_pem": chain, "key_pem": key})))
}

async fn issue(State(d): State<Door>, bytes: Bytes) -> Answer {
    let body = Body::read(&bytes)?;
    let names = body.list("names")?;
    let issued = d
        .world
        .pki
        .issue(&names.iter().map(String::as_str).collect::<Vec<_>>(), body.flag("client_auth", false)?)
        .map_err(|e| Wrong(format!("field `names`: {e}")))?;
    Ok(Json(json!({"chain_pem": issued.chain_pem, "key_pem": issued.key_pem})))
}
fn in_tenant(d: &Door, name: &str, work: impl FnOnce(&mut Tenant) -> Result<Value, String>) -> Answer {
    let mut state = d.world.state();
    let t = state.tenant_mut(name).ok_or_else(|| Wrong(format!("no tenant is called {name}")))?;
    work(t).map(Json).map_err(Wrong)
}

async fn put_user(State(d): State<Door>, Path(tenant): Path<String>, bytes: Bytes) -> Answer {
    let body = Value::Object(Body::read(&bytes)?.0);
    in_tenant(&d, &tenant, |t| people::put_user(t, &body))
}

async fn remove_user(State(d): State<Door>, Path(tenant): Path<String>, bytes: Bytes) -> Answer {
    let upn = Body::read(&bytes)?.text("upn")?;
    in_tenant(&d, &tenant, |t| people::remove_user(t, &upn))
}

async fn put_group(State(d): State<Door>, Path(tenant): Path<String>, bytes: Bytes) -> Answer {
    let body = Value::Object(Body::read(&bytes)?.0);
    in_tenant(&d, &tenant, |t| people::put_group(t, &body))
}

async fn remove_group(State(d): State<Door>, Path(tenant): Path<String>, bytes: Bytes) -> Answer {
    let name = Body::read(&bytes)?.text("name")?;
    in_tenant(&d, &tenant, |t| people::remove_group(t, &name))
}

async fn delta_pages(State(d): State<Door>, Path(tenant): Path<String>) -> Answer {
    in_tenant(&d, &tenant, |t| Ok(json!(t.delta.served)))
}
