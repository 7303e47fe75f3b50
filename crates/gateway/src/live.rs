//! What an operator may change while the gateway serves: its certificate, and who is taken for Exchange Online. A session
//! that is open keeps what it was greeted with; whoever comes next gets the new.

use crate::serve::{GatewayError, Settings};
use ipnet::IpNet;
use smtp::ServerSettings;
use smtp::tls::ClientJudge;
use std::net::IpAddr;

pub(crate) struct Live {
    /// Greeting and TLS of a new session.
    pub server: ServerSettings,
    /// When our certificate ends, in seconds since 1970.
    pub certificate_end: i64,
    pub client_judge: ClientJudge,
    pub microsoft_names: Vec<String>,
    microsoft_ranges: Vec<IpNet>,
}

impl Live {
    pub(crate) fn of(settings: &Settings) -> Result<Live, GatewayError> {
        let tls = smtp::tls::server_config(&settings.chain_pem, settings.key_pem.expose())?;
        Ok(Live {
            server: ServerSettings {
                binarymime: settings.binarymime,
                ..ServerSettings::new(settings.hostname.clone(), tls)
            },
            certificate_end: smtp::tls::not_after(&settings.chain_pem).unwrap_or(0),
            client_judge: ClientJudge::new(settings.roots.clone())?,
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
