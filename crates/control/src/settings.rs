//! What the operator settled, and what an administrator wishes.

use crate::CertificateIssuer;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tenant::{ExchangeRights, Rollout};

#[derive(Clone, Debug)]
pub struct Settings {
    /// The connector zone: every tenant gets one name below it.
    pub zone: String,
    /// The smart host that Exchange Online verifies.
    pub gateway_hostname: String,
    pub issuer: CertificateIssuer,
    /// Public client through which an administrator signs in.
    pub public_client_id: String,
    /// `None`: the system's.
    pub resolver: Option<SocketAddr>,
    /// Roots by which Exchange Online's mail servers are judged when a probe is handed to them.
    pub roots: Arc<rustls::RootCertStore>,
    pub return_port: u16,
    /// `d=` of our ARC seals, to be trusted by the tenants; `None`: they are not asked to.
    pub arc_sealer: Option<String>,
    /// Domain of the PTR record, or the address, from which mail comes back; `None`: no spoof allow entries.
    pub sending_infrastructure: Option<String>,
    pub egress_address: Option<IpAddr>,
}

/// How an administrator proves who she is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    DeviceCode,
    Browser,
}

#[derive(Clone, Debug)]
pub struct Wish {
    /// Tenant id or domain; `None`: the account that signs in decides.
    pub tenant: Option<String>,
    pub sign_in: SignIn,
    /// Mailbox that receives the inbound probe; `None`: the administrator's own.
    pub probe_recipient: Option<String>,
    /// How far mail is to be routed; `None`: as before, everyone at first.
    pub rollout: Option<Rollout>,
    pub exchange_rights: Option<ExchangeRights>,
    pub post_delivery: Option<bool>,
}

impl Wish {
    pub fn new(tenant: Option<String>, sign_in: SignIn) -> Wish {
        Wish { tenant, sign_in, probe_recipient: None, rollout: None, exchange_rights: None, post_delivery: None }
    }
}
