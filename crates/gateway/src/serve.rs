//! Starting and ending: sockets, the DNS of the connector zone, and the retries of what was refused.

use crate::arc::ArcSettings;
use crate::house::House;
use crate::live::Live;
use crate::receive::Session;
use crate::web::WebSettings;
use crate::{limits, release, replies, scan, zone};
use ipnet::IpNet;
use smtp::serve_connection;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use store::Store;
use tenant::{Secret, TenantId};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
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
    /// From the last octet of a message to our answer; [`limits::JOURNEY_BUDGET`] unless the operator says otherwise.
    pub budget: std::time::Duration,
    /// With what edited messages are sealed; without it none is edited.
    pub arc: Option<ArcSettings>,
    /// The operator's own, which he trained.
    pub classifier: Option<Arc<verdict::classifier::Model>>,
    /// Outside scanners, each asked about every message.
    pub engines: Vec<engines::EngineSettings>,
    /// What is known to be bad, and where feeds of it are kept.
    pub lists: Vec<engines::FeedSettings>,
    pub lists_dir: std::path::PathBuf,
    /// Where people's pages are, if anywhere.
    pub web: Option<WebSettings>,
}

/// Why the gateway cannot work, or a message cannot be released.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("gateway.listen {address}: {source}; is another server there, or does the port need more rights?")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("zone.listen {address}: {source}; is another server there, or does the port need more rights?")]
    ListenDns { address: SocketAddr, source: std::io::Error },
    #[error("status.listen {address}: {source}; is another server there?")]
    ListenStatus { address: SocketAddr, source: std::io::Error },
    #[error("web.listen {address}: {source}; is another server there, or does the port need more rights?")]
    ListenWeb { address: SocketAddr, source: std::io::Error },
    #[error("the gateway's own certificate: {0}")]
    Certificate(#[from] smtp::tls::TlsError),
    #[error("gateway.arc_key: {0}")]
    ArcKey(String),
    #[error("{0}")]
    Rules(String),
    #[error("dns.resolver: {0}")]
    Resolver(String),
    #[error("store: {0}")]
    Store(#[from] store::StoreError),
    #[error("nothing held is called {0}; perhaps it was released or deleted meanwhile")]
    NotHeld(String),
    #[error("somebody else is releasing it at this moment; look again with `posthouse held list`")]
    UnderWay,
    #[error(
        "{0} holds malware and goes back to nobody as it is; `posthouse held archive {0} --to ADMIN` sends an administrator an archive with a password"
    )]
    Malware(String),
    #[error("tenant {0} is not connected any more; connect it again before releasing its mail")]
    NotConnected(TenantId),
    #[error("{0}")]
    Return(String),
}

/// A gateway that serves.
pub struct Running {
    pub smtp_address: SocketAddr,
    pub dns_address: Option<SocketAddr>,
    pub(crate) house: Arc<House>,
    pub(crate) accepting: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

pub async fn start(settings: Settings, store: Store) -> Result<Running, GatewayError> {
    match rlimit::increase_nofile_limit(limits::OPEN_FILES) {
        Ok(files) if files < limits::OPEN_FILES => {
            tracing::warn!(
                files,
                wanted = limits::OPEN_FILES,
                "few files may be open: under load sessions are turned away"
            );
        }
        Ok(_) => {}
        Err(e) => tracing::warn!(error = %e, "the limit of open files cannot be raised"),
    }
    let listen = settings.listen;
    let house = House::new(settings, store)?;
    let listener = smtp::listen(listen).map_err(|source| GatewayError::Listen { address: listen, source })?;
    let smtp_address = listener.local_addr().map_err(|source| GatewayError::Listen { address: listen, source })?;
    let mut tasks =
        vec![tokio::spawn(release::retry_refused(house.clone())), tokio::spawn(forget_the_old(house.clone()))];
    let dns_address = match house.settings.dns_listen {
        Some(address) => {
            let (bound, task) =
                zone::serve(&house, address).await.map_err(|source| GatewayError::ListenDns { address, source })?;
            tasks.push(task);
            Some(bound)
        }
        None => None,
    };
    let with_rules = house.clone();
    match tokio::task::spawn_blocking(move || with_rules.engines.reload()).await {
        Ok(Ok(())) => {}
        // it is a scanner that fails, like any other
        Ok(Err(why)) => tracing::error!("{why}"),
        Err(e) => tracing::error!(error = %e, "rules of scanners were not read"),
    }
    if !(house.engines.is_empty() && house.lists.is_empty()) {
        tasks.push(tokio::spawn(scan::tend(house.clone())));
    }
    let accepting = tokio::spawn(accept(listener, house.clone()));
    Ok(Running { smtp_address, dns_address, house, accepting, tasks })
}

async fn accept(listener: TcpListener, house: Arc<House>) {
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
        let live = house.live();
        let of_microsoft = live.is_microsofts(peer.ip());
        let room = if of_microsoft { &house.sessions } else { &house.strangers };
        let room = room.clone().try_acquire_owned().ok().filter(|_| !house.is_overloaded());
        house.metrics.session(of_microsoft, room.is_some());
        let Some(room) = room else {
            tokio::spawn(turn_away(tcp));
            continue;
        };
        let (house, mut session) = (house.clone(), Session::new(house.clone(), peer));
        tokio::spawn(async move {
            let _room = room;
            if let Err(e) = serve_connection(tcp, &live.server, &mut session).await {
                house.metrics.session_failed(&e);
                tracing::debug!(%peer, error = %e, "session ended");
            }
        });
    }
}

/// The journal, the alerts and held mail have an end.
async fn forget_the_old(house: Arc<House>) {
    loop {
        let life = jiff::SignedDuration::try_from(limits::JOURNAL_LIFE).unwrap_or(jiff::SignedDuration::MAX);
        if let Err(e) = house.store.forget_before(jiff::Timestamp::now() - life).await {
            tracing::error!(error = %e, "the journal was not swept");
        }
        if let Err(e) = house.store.forget_reports_before(jiff::Timestamp::now() - life).await {
            tracing::error!(error = %e, "reports of wrong judgements were not swept");
        }
        if let Err(e) = release::delete_expired(&house.store).await {
            tracing::error!(error = %e, "held mail whose time is over was not deleted");
        }
        tokio::time::sleep(limits::JOURNAL_SWEEP).await;
    }
}

/// Said instead of a greeting; whoever is a mail server comes again.
async fn turn_away(mut tcp: TcpStream) {
    let said = replies::too_many_sessions().wire();
    let _ = tokio::time::timeout(smtp::limits::REPLY_TIMEOUT, tcp.write_all(said.as_bytes())).await;
}

impl Running {
    /// Certificate, names and ranges for whoever connects from now on; sessions that are open go on. What cannot be used
    /// changes nothing.
    pub fn reload(&self, settings: &Settings) -> Result<(), GatewayError> {
        let live = Live::of(settings)?;
        self.house.engines.reload().map_err(GatewayError::Rules)?;
        self.house.set_live(live);
        Ok(())
    }

    /// Releases and sends with what this gateway has open.
    pub fn desk(&self) -> release::Desk {
        release::Desk::of(self.house.clone())
    }

    /// Ends with the gateway.
    pub(crate) fn beside(&mut self, task: JoinHandle<()>) {
        self.tasks.push(task);
    }

    /// Counts a configuration that was read on request, taken or not.
    pub fn count_reload(&self, taken: bool) {
        self.house.metrics.reloaded(taken);
    }

    /// Listens no more, lets what is under way finish, and ends. False: patience ended first, and something was cut.
    pub async fn shutdown(self) -> bool {
        self.accepting.abort();
        let finished = self.house.drain.finish().await;
        self.house.clicks.write(&self.house.store).await;
        self.tasks.iter().for_each(JoinHandle::abort);
        finished
    }
}
