//! One webhook: what waits for it, the calls to it, what slow or failing answers cost it.
//!
//! Source: "Receive change notifications through webhooks", 2023-03 and its changes until 2026 (Q68, Q69).

use super::{Content, Notice, Notifier, told};
use crate::world::World;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

/// Entries of one call at most (assumed; Microsoft gives no number).
const BATCH_MAX: usize = 20;
/// Calls to one endpoint at the same time (assumed).
const CALLS_MAX: usize = 4;
/// Seconds for the answer to a validation request (documented).
const VALIDATION_SECS: u64 = 10;
/// Answers are counted over ten minutes, and count from a hundred on (documented).
const STATS_WINDOW_MS: i64 = 600_000;
const STATS_MIN: u32 = 100;

pub struct Endpoint {
    url: String,
    waiting: Mutex<Vec<(i64, Notice)>>,
    wake: Notify,
    stats: Mutex<Stats>,
    calls: Arc<Semaphore>,
    /// Calls that were taken out of the queue and are not over.
    taken: AtomicUsize,
}

#[derive(Default)]
struct Stats {
    began: i64,
    all: u32,
    slow: u32,
    /// Until when it is punished, and whether its notifications are dropped meanwhile.
    penalty: Option<(i64, bool)>,
}

impl Endpoint {
    pub fn new(url: &str) -> Endpoint {
        Endpoint {
            url: url.to_owned(),
            waiting: Mutex::default(),
            wake: Notify::new(),
            stats: Mutex::default(),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            taken: AtomicUsize::new(0),
        }
    }
    /// Queues a notice for a time; a lifecycle event that waits already is not told twice.
    pub fn put(&self, notice: Notice, due: i64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        let same = |(_, n): &(i64, Notice)| n.subscription == notice.subscription && n.content == notice.content;
        if !matches!(notice.content, Content::Lifecycle(_)) || !waiting.iter().any(same) {
            waiting.push((due, notice));
        }
        drop(waiting);
        self.wake.notify_one();
    }
    /// What is due, up to one call's worth, in its order; or when something will be.
    fn due(&self, now: i64) -> Result<Vec<Notice>, Option<i64>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        waiting.sort_by_key(|(due, n)| (*due, n.happened));
        let count = waiting.iter().take_while(|(due, _)| *due <= now).count().min(BATCH_MAX);
        if count == 0 {
            return Err(waiting.first().map(|(due, _)| *due));
        }
        self.taken.fetch_add(1, Ordering::SeqCst);
        Ok(waiting.drain(..count).map(|(_, notice)| notice).collect())
    }
    pub fn is_idle(&self, now: i64) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        waiting.iter().all(|(due, _)| *due > now) && self.taken.load(Ordering::SeqCst) == 0
    }
    fn count(&self, slow: bool, now: i64, delay_secs: i64) {
        let mut s = self.stats.lock().unwrap_or_else(|e| e.into_inner());
        if now - s.began >= STATS_WINDOW_MS {
            *s = Stats { began: now, penalty: s.penalty, ..Stats::default() };
        }
        s.all += 1;
        s.slow += u32::from(slow);
        if s.all >= STATS_MIN {
            let share = f64::from(s.slow) / f64::from(s.all);
            s.penalty = match share {
                share if share >= 0.15 => Some((now + STATS_WINDOW_MS, true)),
                share if share >= 0.10 => Some((now + delay_secs * 1000, false)),
                _ => None,
            };
        }
    }
    /// Until when it is punished, and whether by dropping.
    fn penalty(&self, now: i64) -> Option<(i64, bool)> {
        let s = self.stats.lock().unwrap_or_else(|e| e.into_inner());
        s.penalty.filter(|(until, _)| *until > now)
    }
}

/// Serves one endpoint as long as the world lasts.
pub async fn serve(notifier: Notifier, endpoint: Arc<Endpoint>) {
    let clock = notifier.inner.world.clock.clone();
    loop {
        match endpoint.due(clock.now().as_millisecond()) {
            Ok(notices) => {
                let Ok(call) = endpoint.calls.clone().acquire_owned().await else { return };
                let (notifier, endpoint) = (notifier.clone(), endpoint.clone());
                tokio::spawn(async move {
                    deliver(&notifier, &endpoint, notices).await;
                    endpoint.taken.fetch_sub(1, Ordering::SeqCst);
                    drop(call);
                });
            }
            Err(None) => endpoint.wake.notified().await,
            Err(Some(due)) => {
                let at = jiff::Timestamp::from_millisecond(due).unwrap_or(jiff::Timestamp::MAX);
                tokio::select! {
                    () = endpoint.wake.notified() => {}
                    () = clock.until(at) => {}
                }
            }
        }
    }
}

async fn deliver(notifier: &Notifier, endpoint: &Endpoint, notices: Vec<Notice>) {
    let world = &notifier.inner.world;
    let switches = world.state().switches.clone();
    let now = world.clock.now().as_millisecond();
    if let Some((until, drops)) = endpoint.penalty(now) {
        if drops {
            // what says so comes when the endpoint is called again
            let (kept, lost): (Vec<_>, Vec<_>) =
                notices.into_iter().partition(|n| matches!(n.content, Content::Lifecycle(_)));
            kept.into_iter().for_each(|n| endpoint.put(n, until));
            if !lost.is_empty() {
                let refs: Vec<&Notice> = lost.iter().collect();
                notifier.note(&endpoint.url, &refs, "dropped: the endpoint is too slow", 0);
                lost.iter().for_each(|n| notifier.missed(n));
            }
            return;
        }
        // each is put off once
        let (fresh, waited): (Vec<_>, Vec<_>) = notices.into_iter().partition(|n| n.tries == 0);
        let due = now + switches.webhook_slow_delay_secs * 1000;
        for n in fresh {
            endpoint.put(Notice { tries: 1, ..n }, due);
        }
        if !waited.is_empty() {
            call(notifier, endpoint, waited).await;
        }
        return;
    }
    call(notifier, endpoint, notices).await;
}

async fn call(notifier: &Notifier, endpoint: &Endpoint, notices: Vec<Notice>) {
    let world = &notifier.inner.world;
    let Some(told) = told(world, &notices) else { return };
    for id in &told.lost {
        if let Some(n) = notices.iter().find(|n| n.subscription == *id) {
            notifier.lifecycle(n.tenant, *id, "subscriptionRemoved");
            notifier.forget(n.tenant, &[*id]);
        }
    }
    if told.body["value"].as_array().is_none_or(Vec::is_empty) {
        return;
    }
    let switches = world.state().switches.clone();
    let patience = Duration::from_millis(switches.webhook_answer_ms);
    let began = Instant::now();
    let outcome = if switches.webhooks_down {
        Err("down".to_owned())
    } else {
        let request = notifier.http().post(&endpoint.url).json(&told.body).timeout(patience);
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(response.status().as_u16()),
            Ok(response) => Err(response.status().as_u16().to_string()),
            Err(e) if e.is_timeout() => Err("timeout".into()),
            Err(e) => Err(format!("unreachable: {e}")),
        }
    };
    let took = began.elapsed();
    let slow = took.as_millis() >= u128::from(switches.webhook_slow_ms);
    let now = world.clock.now().as_millisecond();
    endpoint.count(slow, now, switches.webhook_slow_delay_secs);
    let refs: Vec<&Notice> = notices.iter().collect();
    let text = outcome.as_ref().map_or_else(String::clone, u16::to_string);
    notifier.note(&endpoint.url, &refs, &text, took.as_millis());
    if outcome.is_ok() {
        return;
    }
    let pauses = &switches.notification_retry_secs;
    for n in notices {
        let tries = usize::try_from(n.tries).unwrap_or_default().min(pauses.len().saturating_sub(1));
        let due = now + pauses.get(tries).copied().unwrap_or(60).max(1) * 1000;
        if due - n.happened > switches.notification_give_up_secs * 1000 {
            notifier.note(&endpoint.url, &[&n], "given up", 0);
            notifier.missed(&n);
        } else {
            endpoint.put(Notice { tries: n.tries + 1, ..n }, due);
        }
    }
}

/// Asks an endpoint whether it wants notifications; the refusal says what was wrong, in Graph's words.
pub async fn validate(notifier: &Notifier, url: &str) -> Result<(), String> {
    let failed = |why: &str| Err(format!("Subscription validation request failed. {why}"));
    if notifier.inner.world.state().switches.webhooks_down {
        return failed("The underlying connection was closed: An unexpected error occurred on a send.");
    }
    let token =
        format!("Validation: Testing client application reachability for subscription Request-Id: {}", Uuid::new_v4());
    let Ok(mut target) = url::Url::parse(url) else { return failed("The notification URL is malformed.") };
    target.query_pairs_mut().append_pair("validationToken", &token);
    let request = notifier
        .http()
        .post(target.as_str())
        .header("content-type", "text/plain; charset=utf-8")
        .header("content-length", "0")
        .timeout(Duration::from_secs(VALIDATION_SECS));
    match request.send().await {
        Err(e) if e.is_timeout() => failed("The operation has timed out."),
        Err(_) => failed("The underlying connection was closed: An unexpected error occurred on a send."),
        Ok(answer) if answer.status().as_u16() != 200 => failed(&format!(
            "Notification endpoint must respond with 200 OK to validation request. HTTP status code is '{}'.",
            answer.status().canonical_reason().unwrap_or_default().replace(' ', "")
        )),
        Ok(answer) => {
            let kind = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
            let plain = kind.to_ascii_lowercase().starts_with("text/plain");
            if !plain || answer.text().await.unwrap_or_default() != token {
                return failed("Response must contain the validationToken query parameter as text/plain.");
            }
            Ok(())
        }
    }
}

/// Asks the world's own DNS; loopback names and addresses are what they are.
struct WorldDns {
    dns: SocketAddr,
}

impl Resolve for WorldDns {
    fn resolve(&self, name: Name) -> Resolving {
        let dns = self.dns;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let addresses: Vec<IpAddr> = if host == "localhost" {
                vec![IpAddr::from([127, 0, 0, 1])]
            } else {
                crate::dns::resolver(dns).lookup_ip(format!("{host}.")).await?.iter().collect()
            };
            let all: Addrs = Box::new(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(all)
        })
    }
}

/// Trusts the world's own root only.
pub fn client(world: &World, dns: SocketAddr) -> Result<reqwest::Client, reqwest::Error> {
    let root = reqwest::Certificate::from_pem(world.pki.root_pem().as_bytes())?;
    let client = reqwest::Client::builder().tls_certs_only([root]).dns_resolver(WorldDns { dns }).no_proxy();
    client.redirect(reqwest::redirect::Policy::none()).build()
}
