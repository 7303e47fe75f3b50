//! Starting and ending: sockets, the DNS of the connector zone, and the retries of what was refused.

use crate::house::House;
use crate::receive::Session;
use crate::{limits, release, replies, zone};
use ipnet::IpNet;
use smtp::{ServerSettings, serve_connection};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use store::Store;
use tenant::{Secret, TenantId};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// What a gateway is told by its operator.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    /// The name that Exchange Online's connector verifies, and our EHLO name.
    pub hostname: String,
    pub chain_pem: String,
    pub key_pem: Secret,
    /// By these we judge Microsoft's certificates, both as client and as server.
    pub roots: Arc<rustls::RootCertStore>,
    /// `mail.protection.outlook.com`; other clouds have others.
    pub microsoft_names: Vec<String>,
    pub microsoft_ranges: Vec<IpNet>,
    /// `None`: the system's.
    pub resolver: Option<SocketAddr>,
    pub return_port: u16,
    /// Offers BINARYMIME; only where every hop behind the tenant carries it.
    pub binarymime: bool,
    /// Our address towards Microsoft.
    pub egress_address: Option<IpAddr>,
    /// Where the connector zone says that we are.
    pub public_address: Option<IpAddr>,
    pub zone: String,
    pub dns_listen: Option<SocketAddr>,
}

/// Why the gateway cannot work, or a message cannot be released.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("gateway.listen {address}: {source}; is another server there, or does the port need more rights?")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("zone.listen {address}: {source}; is another server there, or does the port need more rights?")]
    ListenDns { address: SocketAddr, source: std::io::Error },
    #[error("the gateway's own certificate: {0}")]
    Certificate(#[from] smtp::tls::TlsError),
    #[error("dns.resolver: {0}")]
    Resolver(String),
    #[error("store: {0}")]
    Store(#[from] store::StoreError),
    #[error("nothing held is called {0}")]
    NotHeld(String),
    #[error("tenant {0} is not connected any more; connect it again before releasing its mail")]
    NotConnected(TenantId),
    #[error("{0}")]
    Return(String),
}

/// A gateway that serves.
pub struct Running {
    pub smtp_address: SocketAddr,
    pub dns_address: Option<SocketAddr>,
    house: Arc<House>,
    tasks: Vec<JoinHandle<()>>,
}

pub async fn start(settings: Settings, store: Store) -> Result<Running, GatewayError> {
    let tls = smtp::tls::server_config(&settings.chain_pem, settings.key_pem.expose())?;
    let server =
        ServerSettings { binarymime: settings.binarymime, ..ServerSettings::new(settings.hostname.clone(), tls) };
    let listener =
        smtp::listen(settings.listen).map_err(|source| GatewayError::Listen { address: settings.listen, source })?;
    let smtp_address =
        listener.local_addr().map_err(|source| GatewayError::Listen { address: settings.listen, source })?;
    let house = House::new(settings, store)?;
    let mut tasks = vec![
        tokio::spawn(accept(listener, server, house.clone())),
        tokio::spawn(release::retry_refused(house.clone())),
        tokio::spawn(forget_the_old(house.clone())),
    ];
    let dns_address = match house.settings.dns_listen {
        Some(address) => {
            let (bound, task) =
                zone::serve(&house, address).await.map_err(|source| GatewayError::ListenDns { address, source })?;
            tasks.push(task);
            Some(bound)
        }
        None => None,
    };
    Ok(Running { smtp_address, dns_address, house, tasks })
}

async fn accept(listener: TcpListener, server: ServerSettings, house: Arc<House>) {
    let sessions = Arc::new(Semaphore::new(limits::SESSIONS_MAX));
    let strangers = Arc::new(Semaphore::new(limits::STRANGERS_MAX));
    loop {
        let (tcp, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(e) => {
                // out of file descriptors: give sessions time to end instead of spinning
                tracing::error!(error = %e, "a connection was not accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let of_microsoft = house.settings.is_microsofts(peer.ip());
        let room = if of_microsoft { &sessions } else { &strangers };
        let Ok(room) = room.clone().try_acquire_owned() else {
            tokio::spawn(turn_away(tcp));
            continue;
        };
        let (server, mut session) = (server.clone(), Session::new(house.clone(), peer));
        tokio::spawn(async move {
            let _room = room;
            if let Err(e) = serve_connection(tcp, &server, &mut session).await {
                tracing::debug!(%peer, error = %e, "session ended");
            }
        });
    }
}

/// The journal and the alerts have an end; held mail has none.
async fn forget_the_old(house: Arc<House>) {
    loop {
        let life = jiff::SignedDuration::try_from(limits::JOURNAL_LIFE).unwrap_or(jiff::SignedDuration::MAX);
        if let Err(e) = house.store.forget_before(jiff::Timestamp::now() - life).await {
            tracing::error!(error = %e, "the journal was not swept");
        }
        tokio::time::sleep(limits::JOURNAL_SWEEP).await;
    }
}

/// Said instead of a greeting; whoever is a mail server comes again.
async fn turn_away(mut tcp: TcpStream) {
    let said = replies::too_many_sessions().wire();
    let _ = tokio::time::timeout(smtp::limits::REPLY_TIMEOUT, tcp.write_all(said.as_bytes())).await;
}

impl Settings {
    /// True when the address is one from which Exchange Online sends.
    pub(crate) fn is_microsofts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.microsoft_ranges.iter().any(|range| range.contains(&ip))
    }
}

impl Running {
    /// Takes no more messages, lets those under way finish, and ends.
    pub async fn shutdown(self) {
        if let Some(accepting) = self.tasks.first() {
            accepting.abort();
        }
        // whoever holds all room knows that nobody is under way
        let all = u32::try_from(limits::JOURNEYS_MAX).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(limits::SHUTDOWN_PATIENCE, self.house.journeys.acquire_many(all))
            .await
            .map(|room| room.map(|r| r.forget()));
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
