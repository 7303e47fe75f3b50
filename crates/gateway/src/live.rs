//! What an operator may change while the gateway serves: its certificate, and who is taken for Exchange Online. A session
//! that is open keeps what it was greeted with; whoever comes next gets the new.

use crate::serve::{GatewayError, Settings};
use ipnet::IpNet;
use smtp::ServerSettings;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) struct Live {
    /// Greeting and TLS of a new session.
    pub server: ServerSettings,
    /// When our certificate ends, in seconds since 1970.
    pub certificate_end: i64,
    pub roots: Arc<rustls::RootCertStore>,
    pub microsoft_names: Vec<String>,
    microsoft_ranges: Vec<IpNet>,
}

impl Live {
    pub(crate) fn of(settings: &Settings) -> Result<Live, GatewayError> {
        let tls = smtp::tls::server_config(&settings.chain_pem, settings.key_pem.expose())?;
        Ok(Live {
            server: ServerSettings {
                hostname: settings.hostname.clone(),
                octets_max: smtp::limits::MESSAGE_OCTETS_MAX,
                tls: tls.into(),
            },
            certificate_end: smtp::tls::not_after(&settings.chain_pem).unwrap_or(0),
            roots: settings.roots.clone(),
            microsoft_names: settings.microsoft_names.clone(),
            microsoft_ranges: settings.microsoft_ranges.clone(),
        })
    }

    /// True when the address is one from which Exchange Online sends.
    pub(crate) fn is_microsofts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.microsoft_ranges.iter().any(|range| range.contains(&ip))
    }
}
