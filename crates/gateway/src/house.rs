//! What every journey shares: settings, store, tenants, resolvers, connections back.

use crate::drain::Drain;
use crate::hand_back::Connections;
use crate::limits;
use crate::live::Live;
use crate::log::Log;
use crate::metrics::{Metrics, Stored};
use crate::serve::{GatewayError, Settings};
use crate::tenants::Tenants;
use hickory_resolver::TokioResolver;
use mail_auth::MessageAuthenticator;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use store::{AlertKind, Outcome, Probe, Severity, Store};
use tenant::TenantId;
use tokio::sync::Semaphore;

/// Shared by every session; nothing in it belongs to one message.
pub(crate) struct House {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) tenants: Tenants,
    pub(crate) resolver: TokioResolver,
    pub(crate) authenticator: MessageAuthenticator,
    pub(crate) connections: Connections,
    pub(crate) journeys: Semaphore,
    pub(crate) octets_under_way: AtomicUsize,
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
        let raised = self.store.raise_alert(alert.kind, alert.tenant, &alert.subject, &alert.text);
        if let Err(e) = self.metrics.stored(Stored::Alert, raised).await {
            tracing::error!(error = %e, "an alert was not written");
        }
    }

    /// Mail itself tells that somebody changed a rule of ours. What repeats within an hour is one alert.
    pub(crate) async fn tampered(&self, tenant: TenantId, subject: &str, text: &str) {
        tracing::warn!(%tenant, subject, text, "tampered");
        self.metrics.alert(AlertKind::Tampered);
        let raised = self.store.raise_alert_of(Severity::High, AlertKind::Tampered, Some(tenant), subject, text);
        if let Err(e) = self.metrics.stored(Stored::Alert, raised).await {
            tracing::error!(error = %e, "an alert was not written");
        }
    }

    pub(crate) fn journey_ended(&self, log: &Log, outcome: Outcome, whole: Duration) {
        self.metrics.journey(log, log.entry.tenant.and_then(|id| self.tenants.label(id)), outcome, whole);
    }

    /// A probe that we sent and still expect.
    pub(crate) async fn live_probe(&self, token: &str) -> store::Result<Option<Probe>> {
        let oldest = jiff::Timestamp::now().as_second() - i64::try_from(limits::PROBE_LIFE.as_secs()).unwrap_or(0);
        Ok(self.store.probe(token).await?.filter(|p| p.created.as_second() > oldest))
    }

    pub(crate) fn new(settings: Settings, store: Store) -> Result<Arc<House>, GatewayError> {
        let resolver = smtp::resolver::resolver(settings.resolver, true).map_err(GatewayError::Resolver)?;
        let (config, options) = smtp::resolver::name_servers(settings.resolver).map_err(GatewayError::Resolver)?;
        let authenticator =
            MessageAuthenticator::new(config, options).map_err(|e| GatewayError::Resolver(e.to_string()))?;
        let live = Live::of(&settings)?;
        Ok(Arc::new(House {
            tenants: Tenants::new(settings.roots.clone()),
            settings,
            store,
            resolver,
            authenticator,
            connections: Connections::default(),
            journeys: Semaphore::new(limits::JOURNEYS_MAX),
            octets_under_way: AtomicUsize::new(0),
            sessions: Arc::new(Semaphore::new(limits::SESSIONS_MAX)),
            strangers: Arc::new(Semaphore::new(limits::STRANGERS_MAX)),
            drain: Drain::default(),
            metrics: Metrics::new(),
            live: RwLock::new(Arc::new(live)),
        }))
    }
}
