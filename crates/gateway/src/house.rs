//! What every journey shares: settings, store, tenants, resolvers, connections back.

use crate::arc::ArcKey;
use crate::hand_back::Connections;
use crate::limits;
use crate::serve::{GatewayError, Settings};
use crate::tenants::Tenants;
use hickory_resolver::TokioResolver;
use mail_auth::MessageAuthenticator;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use store::{AlertKind, Probe, Severity, Store};
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
    /// Without it no content is edited.
    pub(crate) arc: Option<ArcKey>,
    pub(crate) journeys: Semaphore,
    pub(crate) octets_under_way: AtomicUsize,
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
        if let Err(e) = self.store.raise_alert(alert.kind, alert.tenant, &alert.subject, &alert.text).await {
            tracing::error!(error = %e, "an alert was not written");
        }
    }

    /// Mail itself tells that somebody changed a rule of ours. What repeats within an hour is one alert.
    pub(crate) async fn tampered(&self, tenant: TenantId, subject: &str, text: &str) {
        tracing::warn!(%tenant, subject, text, "tampered");
        let raised = self.store.raise_alert_of(Severity::High, AlertKind::Tampered, Some(tenant), subject, text).await;
        if let Err(e) = raised {
            tracing::error!(error = %e, "an alert was not written");
        }
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
        let arc = settings.arc.as_ref().map(ArcKey::new).transpose().map_err(GatewayError::ArcKey)?;
        Ok(Arc::new(House {
            arc,
            tenants: Tenants::new(settings.roots.clone()),
            settings,
            store,
            resolver,
            authenticator,
            connections: Connections::default(),
            journeys: Semaphore::new(limits::JOURNEYS_MAX),
            octets_under_way: AtomicUsize::new(0),
        }))
    }
}
