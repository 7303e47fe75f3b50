//! What every journey shares: settings, store, tenants, resolvers, connections back.

use crate::hand_back::Connections;
use crate::judgements::Judgements;
use crate::limits;
use crate::receive::Received;
use crate::room;
use crate::serve::{GatewayError, Settings};
use crate::tenants::Tenants;
use hickory_resolver::TokioResolver;
use mail_auth::MessageAuthenticator;
use smtp::tls::ClientJudge;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::{AlertKind, Probe, Severity, Store};
use tenant::TenantId;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Shared by every session; nothing in it belongs to one message.
pub(crate) struct House {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) tenants: Tenants,
    pub(crate) resolver: TokioResolver,
    pub(crate) authenticator: MessageAuthenticator,
    pub(crate) client_judge: ClientJudge,
    pub(crate) connections: Connections,
    pub(crate) judgements: Judgements,
    pub(crate) journeys: Semaphore,
    /// Journeys that wait for room.
    pub(crate) waiting: AtomicUsize,
    /// Room for the octets of messages under way.
    pub(crate) octets: Arc<Semaphore>,
    /// Turns for looking into large messages, each of which is decoded beside its octets.
    pub(crate) large: Semaphore,
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
    /// Never stops mail: an alert that cannot be written is in the log.
    pub(crate) async fn raise(&self, alert: &NewAlert) {
        tracing::warn!(kind = ?alert.kind, subject = %alert.subject, text = %alert.text, "alert");
        let (store, kind, tenant) = (self.store.clone(), alert.kind, alert.tenant);
        let (subject, text) = (alert.subject.clone(), alert.text.clone());
        written_meanwhile("an alert", async move { store.raise_alert(kind, tenant, &subject, &text).await }).await;
    }

    /// Mail itself tells that somebody changed a rule of ours. What repeats within an hour is one alert.
    pub(crate) async fn tampered(&self, tenant: TenantId, subject: &str, text: &str) {
        tracing::warn!(%tenant, subject, text, "tampered");
        let (store, subject, text) = (self.store.clone(), subject.to_owned(), text.to_owned());
        let raised = async move {
            store.raise_alert_of(Severity::High, AlertKind::Tampered, Some(tenant), &subject, &text).await
        };
        written_meanwhile("an alert", raised).await;
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
        Ok(Arc::new(House {
            tenants: Tenants::new(settings.roots.clone()),
            client_judge: ClientJudge::new(settings.roots.clone())?,
            settings,
            store,
            resolver,
            authenticator,
            connections: Connections::default(),
            judgements: Judgements::default(),
            journeys: Semaphore::new(limits::JOURNEYS_MAX),
            waiting: AtomicUsize::new(0),
            octets: room::of_octets(limits::OCTETS_UNDER_WAY_MAX),
            large: Semaphore::new(limits::LARGE_AT_ONCE),
        }))
    }
}

/// Waited for as long as a healthy store needs; a locked one gets it later, and mail goes on.
pub(crate) async fn written_meanwhile<T: Send + 'static>(
    what: &'static str,
    writing: impl Future<Output = store::Result<T>> + Send + 'static,
) {
    let written = tokio::spawn(async move {
        if let Err(e) = writing.await {
            tracing::error!(error = %e, "{what} was not written");
        }
    });
    let _ = tokio::time::timeout(limits::WRITTEN_MEANWHILE, written).await;
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
