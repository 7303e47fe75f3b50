//! The page that machines read: `/metrics`, `/healthz` (the process lives), `/readyz` (it can do its work),
//! `/engines` (how outside scanners are). Meant for this
//! machine or a network of one's own: it asks nobody who he is, and shows labels of tenants and counts, nothing of mail.

use crate::house::House;
use crate::metrics::Now;
use crate::serve::{GatewayError, Running};
use crate::{limits, room};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

/// OpenMetrics 1.0, which Prometheus reads as it is.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

struct Page {
    house: Arc<House>,
    accepting: AbortHandle,
    /// When the store was asked last, and what is wrong with it.
    store: Mutex<Option<(Instant, Option<String>)>>,
    /// Gauges are set for one reader at a time.
    one_reads: Mutex<()>,
}

impl Running {
    /// Serves the page beside the mail; it is there until the end of a drain.
    pub async fn serve_status(&mut self, listen: SocketAddr) -> Result<SocketAddr, GatewayError> {
        let wrong = |source| GatewayError::ListenStatus { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        let page = Arc::new(Page {
            house: self.house.clone(),
            accepting: self.accepting.abort_handle(),
            store: Mutex::default(),
            one_reads: Mutex::default(),
        });
        let routes = axum::Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || "alive\n"))
            .route("/readyz", get(ready))
            .route("/engines", get(scanners))
            .with_state(page);
        self.beside(tokio::spawn(async move {
            if let Err(e) = axum::serve(listener, routes).await {
                tracing::error!(error = %e, "the status page ended");
            }
        }));
        Ok(address)
    }
}

async fn metrics(State(page): State<Arc<Page>>) -> impl IntoResponse {
    let _one_reads = page.one_reads.lock().await;
    let now = page.now().await;
    ([(header::CONTENT_TYPE, OPEN_METRICS)], page.house.metrics.page(&now))
}

/// One line for each check that fails; one line when none does.
async fn ready(State(page): State<Arc<Page>>) -> impl IntoResponse {
    let failing = page.failing().await;
    let code = if failing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = String::new();
    for (check, problem) in &failing {
        text += &format!("{}\n", json!({"check": check, "problem": problem}));
    }
    if failing.is_empty() {
        text = format!("{}\n", json!({"ready": true}));
    }
    (code, [(header::CONTENT_TYPE, "application/jsonl")], text)
}

/// What `posthouse engines` shows.
async fn scanners(State(page): State<Arc<Page>>) -> axum::Json<engines::Report> {
    let house = &page.house;
    axum::Json(engines::Report { engines: house.engines.status(), lists: house.lists.status() })
}

impl Page {
    async fn failing(&self) -> Vec<(&'static str, String)> {
        let mut failing = Vec::new();
        if self.house.drain.is_draining() {
            failing.push(("drain", "the process was asked to end and takes no new mail".to_owned()));
        } else if self.accepting.is_finished() {
            failing.push(("smtp", "nobody listens for mail".to_owned()));
        }
        if self.house.live().certificate_end <= jiff::Timestamp::now().as_second() {
            failing.push((
                "certificate",
                "the gateway's own certificate has ended; Exchange Online does not connect".to_owned(),
            ));
        }
        if let Some(why) = self.store_problem().await {
            failing.push(("store", why));
        }
        failing
    }

    /// Asked by writing, since a disk that is full or read-only answers every other question.
    async fn store_problem(&self) -> Option<String> {
        let mut last = self.store.lock().await;
        if let Some((_, problem)) = last.as_ref().filter(|(at, _)| at.elapsed() < limits::READY_BELIEVED) {
            return problem.clone();
        }
        let problem = match tokio::time::timeout(limits::READY_WRITE, self.house.store.prove_writable()).await {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(e.to_string()),
            Err(_) => Some(format!("a small write took more than {} s", limits::READY_WRITE.as_secs())),
        };
        *last = Some((Instant::now(), problem.clone()));
        problem
    }

    async fn now(&self) -> Now {
        let house = &self.house;
        let label = |id| house.tenants.label(id);
        let lists = house.lists.status().into_iter();
        // while a disk does not answer, the rest is still worth knowing
        let held = match tokio::time::timeout(limits::READY_WRITE, house.store.held_counts()).await {
            Ok(Ok(counts)) => counts,
            _ => Vec::new(),
        };
        Now {
            journeys: limits::JOURNEYS_MAX - house.journeys.available_permits(),
            octets: room::taken(&house.octets),
            sessions: (
                limits::SESSIONS_MAX - house.sessions.available_permits(),
                limits::STRANGERS_MAX - house.strangers.available_permits(),
            ),
            returns: house
                .connections
                .counts()
                .into_iter()
                .filter_map(|(id, busy, idle)| Some((label(id)?, busy, idle)))
                .collect(),
            held: held.into_iter().filter_map(|(id, n)| Some((label(id)?, n))).collect(),
            engines: house.engines.status().into_iter().map(|e| (e.name, e.health.as_str())).collect(),
            lists: lists.map(|l| (l.name, l.entries, l.good.map_or(0, |at| at.as_second()))).collect(),
            tenants: house.tenants.count(),
            certificate_end: house.live().certificate_end,
            ready: self.failing().await.is_empty(),
            draining: house.drain.is_draining(),
        }
    }
}
