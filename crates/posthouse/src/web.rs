//! The pages that people open from their mail, behind a proxy that speaks TLS. One listener for all of them; each kind of
//! page is a router of its own, which sets its own headers.

use crate::config::Web;
use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use gateway::Desk;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Requests of one client within [`WINDOW`]: a person opens a few links, an office behind one address some dozens.
const REQUESTS_MAX: u32 = 120;
const WINDOW: Duration = Duration::from_secs(60);
/// Clients that are counted; when more come within a window, all begin anew rather than grow.
const CLIENTS_MAX: usize = 20_000;
/// Requests at the same time: each may parse a whole message.
const AT_ONCE: usize = 16;
/// A release waits for Exchange Online's answer, at most so long.
const PATIENCE: Duration = Duration::from_secs(90);
/// A request here has a short path and no body worth reading.
const PATH_OCTETS_MAX: usize = 8 * 1024;

pub struct Serving {
    pub address: SocketAddr,
    pub serving: JoinHandle<()>,
}

struct Door {
    proxies: Vec<IpAddr>,
    room: Semaphore,
    clients: Mutex<Clients>,
}

struct Clients {
    since: Instant,
    requests: HashMap<IpAddr, u32>,
}

pub async fn serve(settings: &Web, desk: Desk) -> Result<Serving> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("web.listen {}: is another server there?", settings.listen))?;
    let address = listener.local_addr().context("web.listen")?;
    let door = Arc::new(Door {
        proxies: settings.proxies.clone(),
        room: Semaphore::new(AT_ONCE),
        clients: Mutex::new(Clients { since: Instant::now(), requests: HashMap::new() }),
    });
    let routes = Router::new().merge(quarantine::pages(desk)).layer(from_fn_with_state(door, admit));
    let serving = tokio::spawn(async move {
        let served = axum::serve(listener, routes.into_make_service_with_connect_info::<SocketAddr>());
        if let Err(e) = served.await {
            tracing::error!(error = %e, "the pages for people ended");
        }
    });
    Ok(Serving { address, serving })
}

/// Not too many, not too long, not too large.
async fn admit(
    State(door): State<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path().len() > PATH_OCTETS_MAX {
        return (StatusCode::URI_TOO_LONG, "This address is too long.\n").into_response();
    }
    if !door.counts(client(peer.ip(), request.headers(), &door.proxies), Instant::now()) {
        return (StatusCode::TOO_MANY_REQUESTS, "Too many requests. Try again in a minute.\n").into_response();
    }
    let answered = async {
        let _room = door.room.acquire().await.ok()?;
        Some(next.run(request).await)
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Some(answer)) => answer,
        _ => (StatusCode::SERVICE_UNAVAILABLE, "It takes too long now. Try again later.\n").into_response(),
    }
}

impl Door {
    fn counts(&self, client: IpAddr, now: Instant) -> bool {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(clients.since) >= WINDOW || clients.requests.len() >= CLIENTS_MAX {
            *clients = Clients { since: now, requests: HashMap::new() };
        }
        let count = clients.requests.entry(client).or_default();
        *count += 1;
        *count <= REQUESTS_MAX
    }
}

/// Who asks: the newest hop that a trusted proxy tells of. Of IPv6 the network, which one customer has.
fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpAddr]) -> IpAddr {
    let trusted = peer.is_loopback() || proxies.contains(&peer);
    let told = headers.get_all("x-forwarded-for").iter().last().filter(|_| trusted);
    let told = told.and_then(|v| v.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    match told.unwrap_or(peer) {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_proxys_word_counts() {
        let proxies = ["192.0.2.80".parse().unwrap()];
        let asked = |peer: &str, told: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", told.parse().unwrap());
            client(peer.parse().unwrap(), &headers, &proxies).to_string()
        };
        assert_eq!(asked("192.0.2.80", "203.0.113.1, 198.51.100.7"), "198.51.100.7");
        assert_eq!(asked("127.0.0.1", "2001:db8:1:2:3::4"), "2001:db8:1:2::");
        assert_eq!(asked("203.0.113.9", "198.51.100.7"), "203.0.113.9");
        assert_eq!(asked("127.0.0.1", "nonsense"), "127.0.0.1");
    }

    #[test]
    fn a_client_is_counted_by_itself_and_for_a_while() {
        let begun = Instant::now();
        let clients = Mutex::new(Clients { since: begun, requests: HashMap::new() });
        let door = Door { proxies: vec![], room: Semaphore::new(1), clients };
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert!((0..REQUESTS_MAX).all(|_| door.counts(one, begun)));
        assert!(!door.counts(one, begun) && door.counts(two, begun));
        assert!(door.counts(one, begun + WINDOW));
    }
}
