//! `$batch` (wire.md 2.4): up to twenty requests in one, each with a status of its own. Those that depend on nothing
//! unfinished run together, of one mailbox no more than Q66 says.

use super::{Answer, Answered, Asked, Body, Door, Finished, Refusal, Request, carry_out, percent_decode};
use crate::entra::bearer::Caller;
use crate::limits::BATCH_MAX;
use crate::trouble;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use uuid::Uuid;

struct Step {
    id: String,
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Value,
    after: Vec<usize>,
}

fn bad(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "BadRequest", text)
}

pub async fn route(request: &Request<'_>) -> Answered {
    if request.method != Method::POST {
        return Err(bad("$batch takes POST only."));
    }
    let steps = steps(&request.body)?;
    let mut done: Vec<Option<Value>> = steps.iter().map(|_| None).collect();
    let width = request.switches.batch_parallel.max(1);
    let mut lanes: HashMap<String, Arc<Semaphore>> = HashMap::new();
    loop {
        let ready: Vec<usize> = (0..steps.len())
            .filter(|n| done[*n].is_none() && steps[*n].after.iter().all(|d| done[*d].is_some()))
            .collect();
        if ready.is_empty() {
            break;
        }
        let failed = |n: usize| {
            steps[n].after.iter().any(|d| done[*d].as_ref().is_some_and(|r| r["status"].as_u64() >= Some(400)))
        };
        let running = ready.iter().map(|n| {
            let step = &steps[*n];
            let lane = lanes.entry(mailbox(&step.url)).or_insert_with(|| Arc::new(Semaphore::new(width))).clone();
            let failed = failed(*n);
            async move {
                let _turn = lane.acquire().await;
                if failed {
                    let text = "The operation was not carried out because an operation that it depends on failed.";
                    return refused(step, request.door, &Refusal::new(424, "FailedDependency", text));
                }
                run(request.door, request.caller.clone(), step).await
            }
        });
        let answers = join_all(running.collect::<Vec<_>>()).await;
        for (n, answer) in ready.into_iter().zip(answers) {
            done[n] = Some(answer);
        }
    }
    Ok(Answer::Whole(json!({"responses": done.into_iter().flatten().collect::<Vec<_>>()})))
}

/// The mailbox that a request is about; requests about none have a lane of their own.
fn mailbox(url: &str) -> String {
    let path = url.trim_start_matches('/').to_lowercase();
    let mut segments = path.split(['/', '?']);
    match (segments.next(), segments.next()) {
        (Some("users"), Some(user)) => user.to_owned(),
        _ => String::new(),
    }
}

fn steps(body: &Value) -> Result<Vec<Step>, Refusal> {
    let list = body["requests"].as_array().ok_or_else(|| bad("Invalid batch payload format."))?;
    if list.is_empty() || list.len() > BATCH_MAX {
        return Err(bad(format!("Number of batch request steps exceeds the maximum value of {BATCH_MAX}.")));
    }
    let ids: Vec<String> = list.iter().map(|r| r["id"].as_str().unwrap_or_default().to_owned()).collect();
    for (n, id) in ids.iter().enumerate() {
        if id.is_empty() {
            return Err(bad("Every batch request step needs an id."));
        }
        if ids[..n].iter().any(|other| other.eq_ignore_ascii_case(id)) {
            return Err(bad(format!("Duplicate request id '{id}'.")));
        }
    }
    let step = |(n, r): (usize, &Value)| {
        let text = |key: &str| r[key].as_str().map(str::to_owned);
        let (method, url) = (text("method"), text("url"));
        let method = method.and_then(|m| m.to_uppercase().parse().ok()).ok_or_else(|| bad("A method is expected."))?;
        let url = url.ok_or_else(|| bad("A relative url is expected."))?;
        let mut headers = HeaderMap::new();
        for (key, value) in r["headers"].as_object().into_iter().flatten() {
            let name = HeaderName::from_bytes(key.as_bytes());
            let value = value.as_str().and_then(|v| HeaderValue::from_str(v).ok());
            if let (Ok(name), Some(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        let named = r["dependsOn"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let after = named
            .map(|d| {
                let at = ids.iter().position(|id| id.eq_ignore_ascii_case(d)).filter(|at| *at != n);
                at.ok_or_else(|| bad(format!("Request '{}' depends on '{d}', which is not there.", ids[n])))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Step { id: ids[n].clone(), method, url, headers, body: r["body"].clone(), after })
    };
    let steps = list.iter().enumerate().map(step).collect::<Result<Vec<_>, _>>()?;
    // what waits for itself never runs
    let mut free = vec![false; steps.len()];
    for _ in 0..steps.len() {
        for (n, step) in steps.iter().enumerate() {
            free[n] = free[n] || step.after.iter().all(|d| free[*d]);
        }
    }
    if free.contains(&false) {
        Err(bad("The batch request steps depend on each other in a circle."))
    } else {
        Ok(steps)
    }
}

async fn run(door: &Door, caller: Caller, step: &Step) -> Value {
    let refuse = |r: Refusal| refused(step, door, &r);
    let bytes = match &step.body {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    };
    if !bytes.is_empty() && !step.headers.contains_key("content-type") {
        return refuse(bad("Write request does not contain the Content-Type header or body."));
    }
    let relative = step.url.trim_start_matches('/').replace(' ', "%20").replace('<', "%3C").replace('>', "%3E");
    let Ok(uri) = format!("/v1.0/{relative}").parse::<Uri>() else {
        return refuse(bad(format!("'{}' is not a relative URL.", step.url)));
    };
    if uri.path() == "/v1.0/$batch" {
        return refuse(bad("A batch can't contain a batch."));
    }
    let asked = format!("{} {}", step.method, percent_decode(uri.path()));
    let struck = trouble::strike(&mut door.world.state(), "graph", &asked, step.method != Method::GET);
    if let Some(trouble) = struck.as_ref().filter(|t| !t.after) {
        return troubled(step, door, trouble).await;
    }
    let request = Asked::of(step.method.clone(), &uri, &step.headers, &bytes);
    let answered = carry_out(door, caller, request).await;
    if let Some(trouble) = &struck {
        return troubled(step, door, trouble).await;
    }
    match answered {
        Ok(finished) => shown(step, finished),
        Err(refusal) => refused(step, door, &refusal),
    }
}

async fn troubled(step: &Step, door: &Door, trouble: &trouble::Trouble) -> Value {
    let (status, after) = trouble.inner().await;
    let code = if status == 429 { "TooManyRequests" } else { "serviceNotAvailable" };
    let retry_after = after.and_then(|secs| i64::try_from(secs).ok());
    refused(
        step,
        door,
        &Refusal { retry_after, ..Refusal::new(status, code, "simulated weather or an injected fault") },
    )
}

fn shown(step: &Step, finished: Finished) -> Value {
    let mut headers = Map::new();
    if let Some(location) = finished.location {
        headers.insert("Location".into(), location.into());
    }
    let mut row = json!({"id": step.id, "status": finished.status});
    // MIME and other bytes come in base64 (Graph JSON batching page)
    let (kind, body) = match finished.body {
        Body::None => (None, None),
        Body::Json(value) => (Some("application/json".to_owned()), Some(value)),
        Body::Text(bytes) => (Some("text/plain".to_owned()), Some(STANDARD.encode(bytes).into())),
        Body::Bytes(kind, bytes) => (Some(kind), Some(STANDARD.encode(bytes).into())),
    };
    if let Some(kind) = kind {
        headers.insert("Content-Type".into(), kind.into());
    }
    row["headers"] = headers.into();
    if let Some(body) = body {
        row["body"] = body;
    }
    row
}

fn refused(step: &Step, door: &Door, refusal: &Refusal) -> Value {
    let id = Uuid::new_v4().to_string();
    let mut headers = Map::from_iter([("Content-Type".to_owned(), Value::from("application/json"))]);
    if let Some(secs) = refusal.retry_after {
        headers.insert("Retry-After".into(), secs.to_string().into());
    }
    if let Some(location) = &refusal.location {
        headers.insert("Location".into(), location.clone().into());
    }
    json!({"id": step.id, "status": refusal.status, "headers": headers, "body": refusal.object(door, &id, &id)})
}
