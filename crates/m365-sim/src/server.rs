//! Starts the world and opens its doors: four HTTPS origins, SMTP, DNS, the control door.

use crate::dns::Dns;
use crate::habits::People;
use crate::notify::Notifier;
use crate::transport::Transport;
use crate::world::World;
use crate::{clock::Clock, pki::Pki, seed};
use axum::Router;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A TLS handshake that takes longer is given up; a browser needs milliseconds here.
const HANDSHAKE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("certificates of the simulated world: {0}")]
    Pki(#[from] crate::pki::PkiError),
    #[error("client of the webhooks: {0}")]
    Webhooks(reqwest::Error),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
}

/// What the world holds and where it listens.
#[derive(Clone, Debug)]
pub struct Options {
    pub listen: IpAddr,
    /// `ca.pem` is written here.
    pub dir: PathBuf,
    pub tenants: Vec<seed::TenantSeed>,
    pub external: Vec<seed::ExternalSeed>,
}

impl Options {
    /// Contoso with forty mailboxes and an outside world.
    pub fn demo(dir: &Path) -> Options {
        Options {
            listen: Ipv4Addr::LOCALHOST.into(),
            dir: dir.to_owned(),
            tenants: vec![seed::contoso()],
            external: seed::outside(),
        }
    }
    /// The same beside a second tenant, Tailspin.
    pub fn two_tenants(dir: &Path) -> Options {
        let mut options = Options::demo(dir);
        options.tenants.push(seed::tailspin());
        options
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct SignIn {
    /// Both names say the same.
    pub user: String,
    pub username: String,
    pub password: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct TenantEndpoint {
    pub id: String,
    pub initial_domain: String,
    pub domains: Vec<String>,
    /// A Global Administrator.
    pub admin: SignIn,
    /// A user without any role.
    pub user: SignIn,
}

/// What the ready file says.
#[derive(Clone, Debug, Serialize)]
pub struct Endpoints {
    pub login: String,
    pub graph: String,
    pub exchange: String,
    pub activity: String,
    pub smtp_mx: String,
    pub dns: String,
    pub control: String,
    pub ca_file: String,
    pub tenants: Vec<TenantEndpoint>,
}

/// A running world; it ends when dropped or shut down.
pub struct Simulator {
    pub endpoints: Endpoints,
    pub world: World,
    doors: Vec<JoinHandle<()>>,
}

impl Simulator {
    pub async fn start(options: Options) -> Result<Simulator, SimError> {
        let (world, mut events) = World::new(Clock::default(), Pki::new()?);
        let tenants = seed::plant(&world, &options);
        let io = |what: &str| {
            let what = what.to_owned();
            move |source| SimError::Io { what, source }
        };
        let at = |port| SocketAddr::new(options.listen, port);
        let dir = std::fs::canonicalize(&options.dir).map_err(io(&options.dir.display().to_string()))?;
        let ca_file = dir.join("ca.pem");
        std::fs::write(&ca_file, world.pki.root_pem()).map_err(io(&ca_file.display().to_string()))?;
        let dns = Dns::start(world.clone(), at(0)).await.map_err(io("DNS"))?;
        let transport = Transport::start(world.clone(), dns.address(), at(0)).await.map_err(io("SMTP"))?;
        let tls = world.pki.server_config(&[
            "localhost",
            "127.0.0.1",
            "login.microsoftonline.com",
            "graph.microsoft.com",
            "outlook.office365.com",
            "manage.office.com",
        ])?;
        let mut doors = Vec::new();
        let mut bases = Vec::new();
        let mut listeners = Vec::new();
        for what in ["login", "graph", "exchange", "activity"] {
            let listener = TcpListener::bind(at(0)).await.map_err(io(what))?;
            bases.push(format!("https://localhost:{}", listener.local_addr().map_err(io(what))?.port()));
            listeners.push(listener);
        }
        let notifier = Notifier::start(world.clone(), dns.address()).map_err(SimError::Webhooks)?;
        let people = People::new(world.clone(), transport.clone());
        let hub = world.hub.clone();
        let at_work = people.clone();
        let graph =
            crate::graph::Door::new(world.clone(), &bases[1], dns.address(), transport.clone(), notifier.clone());
        doors.push(tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                notifier.take(&event);
                at_work.take(&event);
                hub.done();
            }
        }));
        let routers = [
            crate::entra::router(world.clone(), &bases[0]),
            crate::graph::router(graph.clone()),
            crate::exchange::router(world.clone()),
            crate::activity::router(world.clone(), &bases[3]),
        ];
        for (listener, router) in listeners.into_iter().zip(routers) {
            let router = dated(router, world.clock.clone());
            doors.push(tokio::spawn(serve_tls(listener, tls.clone(), router)));
        }
        let mut endpoints = Endpoints {
            login: bases[0].clone(),
            graph: bases[1].clone(),
            exchange: bases[2].clone(),
            activity: bases[3].clone(),
            smtp_mx: transport.mx_address().to_string(),
            dns: dns.address().to_string(),
            control: String::new(),
            ca_file: ca_file.display().to_string(),
            tenants,
        };
        let shown = serde_json::to_value(&endpoints).unwrap_or_default();
        let control = crate::control::serve(world.clone(), transport, graph, people, shown, at(0))
            .await
            .map_err(io("control door"))?;
        endpoints.control = format!("http://{control}");
        Ok(Simulator { endpoints, world, doors })
    }

    pub async fn shutdown(self) {
        for door in self.doors {
            door.abort();
        }
    }
}

/// Handshakes happen beside accepting, so that a silent client blocks nobody.
struct TlsListener {
    local: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.local)
    }
}

/// Every answer says the world's time, as Microsoft's say theirs.
fn dated(router: Router, clock: Clock) -> Router {
    router.layer(axum::middleware::map_response(move |mut response: axum::response::Response| {
        let date = clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        async move {
            if let Ok(date) = date.parse() {
                response.headers_mut().insert(axum::http::header::DATE, date);
            }
            response
        }
    }))
}

async fn serve_tls(listener: TcpListener, tls: Arc<rustls::ServerConfig>, router: Router) {
    let Ok(local) = listener.local_addr() else { return };
    let (send, ready) = mpsc::channel(64);
    let acceptor = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        loop {
            let Ok((tcp, peer)) = listener.accept().await else { continue };
            let (acceptor, send) = (acceptor.clone(), send.clone());
            tokio::spawn(async move {
                if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(tcp)).await {
                    let _ = send.send((stream, peer)).await;
                }
            });
        }
    });
    if let Err(e) = axum::serve(TlsListener { local, ready }, router).await {
        tracing::error!(error = %e, "an HTTPS door closed");
    }
}
