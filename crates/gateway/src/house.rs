//! What every journey shares: settings, store, tenants, resolvers, connections back.

use crate::arc::ArcKey;
use crate::drain::Drain;
use crate::hand_back::Connections;
use crate::judgements::Judgements;
use crate::limits;
use crate::links::click::Clicks;
use crate::live::Live;
use crate::log::Log;
use crate::metrics::{Metrics, Stored};
use crate::notify::Notified;
use crate::receive::Received;
use crate::room;
use crate::serve::{GatewayError, Settings};
use crate::tenants::Tenants;
use engines::{Engines, Feeds};
use hickory_resolver::TokioResolver;
use mail_auth::MessageAuthenticator;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use store::{AlertKind, Outcome, Probe, Severity, Store};
use tenant::TenantId;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Instrument;

/// Shared by every session; nothing in it belongs to one message.
pub(crate) struct House {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) tenants: Tenants,
    pub(crate) resolver: TokioResolver,
    pub(crate) authenticator: MessageAuthenticator,
    pub(crate) connections: Connections,
    pub(crate) judgements: Judgements,
    pub(crate) notified: Notified,
    pub(crate) engines: Engines,
    pub(crate) lists: Feeds,
    pub(crate) clicks: Clicks,
    /// Without it no content is edited.
    pub(crate) arc: Option<ArcKey>,
    pub(crate) journeys: Semaphore,
    /// Journeys that wait for room.
    pub(crate) waiting: AtomicUsize,
    /// Room for the octets of messages under way.
    pub(crate) octets: Arc<Semaphore>,
    /// Turns for looking into large messages, each of which is decoded beside its octets.
    pub(crate) large: Semaphore,
    /// Room for sessions of Exchange Online's addresses, and of others.
    pub(crate) sessions: Arc<Semaphore>,
    pub(crate) strangers: Arc<Semaphore>,
    pub(crate) drain: Drain,
    pub(crate) metrics: Metrics,
    live: RwLock<Arc<Live>>,
}

/// Something that somebody must look at.
pub(crate) struct NewAlert {
    pub kind: AlertKind,
    pub tenant: Option<TenantId>,
    /// What repeats is counted under it.
    pub subject: String,
    pub text: String,
}

impl House {
    /// As it is at this moment; whoever asks keeps what he got.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_live(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }

    /// Never stops mail: an alert that cannot be written is in the log.
    pub(crate) async fn raise(&self, alert: &NewAlert) {
        tracing::warn!(kind = ?alert.kind, subject = %alert.subject, text = %alert.text, "alert");
        self.metrics.alert(alert.kind);
        let (store, kind, tenant) = (self.store.clone(), alert.kind, alert.tenant);
        let (subject, text) = (alert.subject.clone(), alert.text.clone());
        let raised = async move { store.raise_alert(kind, tenant, &subject, &text).await };
        let _ = self.metrics.stored(Stored::Alert, written_meanwhile("an alert", raised)).await;
    }

    /// Mail itself tells that somebody changed a rule of ours. What repeats within an hour is one alert.
    pub(crate) async fn tampered(&self, tenant: TenantId, subject: &str, text: &str) {
        tracing::warn!(%tenant, subject, text, "tampered");
        self.metrics.alert(AlertKind::Tampered);
        let (store, subject, text) = (self.store.clone(), subject.to_owned(), text.to_owned());
        let raised = async move {
            store.raise_alert_of(Severity::High, AlertKind::Tampered, Some(tenant), &subject, &text).await
        };
        let _ = self.metrics.stored(Stored::Alert, written_meanwhile("an alert", raised)).await;
    }

    pub(crate) fn journey_ended(&self, log: &Log, outcome: Outcome, whole: Duration) {
        self.metrics.journey(log, log.entry.tenant.and_then(|id| self.tenants.label(id)), outcome, whole);
    }

    /// A probe that we sent and still expect.
    pub(crate) async fn live_probe(&self, token: &str) -> store::Result<Option<Probe>> {
        let oldest = jiff::Timestamp::now().as_second() - i64::try_from(limits::PROBE_LIFE.as_secs()).unwrap_or(0);
        Ok(self.store.probe(token).await?.filter(|p| p.created.as_second() > oldest))
    }

    /// Room for one journey, as long as its message has time.
    pub(crate) async fn room(&self, received: &Received) -> Option<SemaphorePermit<'_>> {
        if let Ok(room) = self.journeys.try_acquire() {
            return Some(room);
        }
        let _waits = Waits::begin(&self.waiting);
        tokio::time::timeout_at(received.judged_by().into(), self.journeys.acquire()).await.ok()?.ok()
    }

    /// Who comes now would only make those late who are here.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= limits::JOURNEYS_WAITING_MAX
    }

    pub(crate) fn new(settings: Settings, store: Store) -> Result<Arc<House>, GatewayError> {
        let resolver = smtp::resolver::resolver(settings.resolver, true).map_err(GatewayError::Resolver)?;
        let (config, options) = smtp::resolver::name_servers(settings.resolver).map_err(GatewayError::Resolver)?;
        let authenticator =
            MessageAuthenticator::new(config, options).map_err(|e| GatewayError::Resolver(e.to_string()))?;
        let live = Live::of(&settings)?;
        let arc = settings.arc.as_ref().map(ArcKey::new).transpose().map_err(GatewayError::ArcKey)?;
        Ok(Arc::new(House {
            arc,
            engines: Engines::new(settings.engines.clone()),
            lists: Feeds::new(settings.lists.clone(), settings.lists_dir.clone()),
            clicks: Clicks::default(),
            tenants: Tenants::new(settings.roots.clone()),
            settings,
            store,
            resolver,
            authenticator,
            connections: Connections::default(),
            judgements: Judgements::default(),
            notified: Notified::default(),
            journeys: Semaphore::new(limits::JOURNEYS_MAX),
            waiting: AtomicUsize::new(0),
            octets: room::of_octets(limits::OCTETS_UNDER_WAY_MAX),
            large: Semaphore::new(limits::LARGE_AT_ONCE),
            sessions: Arc::new(Semaphore::new(limits::SESSIONS_MAX)),
            strangers: Arc::new(Semaphore::new(limits::STRANGERS_MAX)),
            drain: Drain::default(),
            metrics: Metrics::new(),
            live: RwLock::new(Arc::new(live)),
        }))
    }
}

/// Waited for as long as a healthy store needs; a locked one gets it later, and mail goes on. `Err`: not yet, or not at all.
pub(crate) async fn written_meanwhile<T: Send + 'static>(
    what: &'static str,
    writing: impl Future<Output = store::Result<T>> + Send + 'static,
) -> Result<(), ()> {
    let writing = async move {
        let written = writing.await;
        if let Err(e) = &written {
            tracing::error!(error = %e, "{what} was not written");
        }
        written.map(drop).map_err(drop)
    };
    let written = tokio::spawn(writing.in_current_span());
    tokio::time::timeout(limits::WRITTEN_MEANWHILE, written).await.map_err(drop)?.map_err(drop)?
}

/// Counts one who waits, however the waiting ends.
struct Waits<'a>(&'a AtomicUsize);

impl Waits<'_> {
    fn begin(waiting: &AtomicUsize) -> Waits<'_> {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
