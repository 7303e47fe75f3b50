//! Hands messages to one host over TLS that is verified before a word about mail is said. What is said is decided by
//! [`ClientSession`]; here are sockets, time-outs and the handshake.

use crate::client_session::{Action, ClientSession, END_OF_DATA, Form};
use crate::data::Stuffing;
use crate::{Delivery, Reply, limits};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mail::{Envelope, Pieces};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where to, as whom, and how the host must prove itself.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// The name that the host's certificate must have.
    pub server_name: String,
    /// What we call ourselves (transport.md G24).
    pub helo: String,
    /// Our address towards the host.
    pub source: Option<IpAddr>,
    pub tls: Arc<ClientConfig>,
}

/// Why a message could not even be offered, or nobody knows what became of it. Always worth trying again.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{server} ({address}): {source}")]
    Connect { server: String, address: SocketAddr, source: std::io::Error },
    #[error("{server} ({address}): TLS: {source}")]
    Tls { server: String, address: SocketAddr, source: std::io::Error },
    #[error("{server} does not offer STARTTLS")]
    NoTls { server: String },
    #[error("{server} answered {stage} with {reply}")]
    Refused { server: String, stage: &'static str, reply: Reply },
    #[error("{server} closed the connection at {stage}")]
    Closed { server: String, stage: &'static str },
    #[error("{server} did not answer {stage} within {} s", within.as_secs())]
    Silent { server: String, stage: &'static str, within: Duration },
    #[error("{server} answered {stage} with something that is no SMTP reply")]
    Garbled { server: String, stage: &'static str },
    #[error("{server} said something before {stage} that nobody had asked")]
    OutOfStep { server: String, stage: &'static str },
    #[error("{server} offers no {missing}, and a message with {what} cannot be sent without it unchanged")]
    NotRepresentable { server: String, what: &'static str, missing: &'static str },
}

impl ClientError {
    /// True when the host may have the message although we did not hear so.
    pub fn may_be_delivered(&self) -> bool {
        matches!(
            self,
            ClientError::Closed { stage: END_OF_DATA, .. }
                | ClientError::Silent { stage: END_OF_DATA, .. }
                | ClientError::Garbled { stage: END_OF_DATA, .. }
        )
    }
}

/// Until when a caller can wait, beside the time-outs of each step.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For every answer but the last one.
    pub commands: Instant,
    /// For the octets to be written and the answer to them.
    pub end_of_data: Instant,
}

impl Deadlines {
    /// As long as each step may take by itself.
    pub fn usual() -> Deadlines {
        let long = Instant::now() + limits::COMMAND_TIMEOUT;
        Deadlines { commands: long, end_of_data: long }
    }
    fn left(&self, stage: &str, within: Duration) -> Duration {
        let until = if stage == END_OF_DATA { self.end_of_data } else { self.commands };
        within.min(until.saturating_duration_since(Instant::now()))
    }
}

/// A connection over which messages can be handed, one after the other; over TLS unless it is to this machine.
pub struct Connection<S = TlsStream<TcpStream>> {
    io: S,
    session: ClientSession,
    used: bool,
    idle_since: Instant,
}

/// How far one address of several has come.
enum Step<'a> {
    Connected(&'a Target, Result<TcpStream, ClientError>),
    Opened(Result<Box<Connection>, ClientError>),
}

impl Connection {
    pub async fn open(target: &Target) -> Result<Connection, ClientError> {
        let tcp = connect(target).await?;
        Connection::over(target, tcp).await
    }

    /// To the first of several addresses that takes us. One that does not connect gets company soon (RFC 8305 §5), one
    /// that connects and then says nothing a little later. The last error where none does; `None`: no address.
    pub async fn open_first(targets: &[Target]) -> Result<Connection, Option<ClientError>> {
        type Racing<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Step<'a>> + Send + 'a>>>;
        let (mut left, mut racing, mut last) = (targets.iter(), Racing::new(), None);
        let mut next_after = Duration::ZERO;
        loop {
            let wait = tokio::time::sleep(next_after);
            let step = tokio::select! {
                Some(step) = racing.next() => step,
                () = wait, if left.len() > 0 => {
                    if let Some(target) = left.next() {
                        racing.push(Box::pin(async move { Step::Connected(target, connect(target).await) }));
                    }
                    next_after = limits::NEXT_ADDRESS_AFTER;
                    continue;
                }
                else => return Err(last),
            };
            match step {
                Step::Opened(Ok(connection)) => return Ok(*connection),
                Step::Connected(target, Ok(tcp)) => {
                    let opening = async move { Step::Opened(Connection::over(target, tcp).await.map(Box::new)) };
                    racing.push(Box::pin(opening));
                    next_after = limits::NEXT_GREETING_AFTER;
                }
                Step::Connected(_, Err(e)) | Step::Opened(Err(e)) => {
                    last = Some(e);
                    next_after = Duration::ZERO;
                }
            }
        }
    }

    async fn over(target: &Target, mut tcp: TcpStream) -> Result<Connection, ClientError> {
        let (patience, nothing) = (Deadlines::usual(), Pieces::default());
        let mut session = ClientSession::new(&target.server_name, &target.helo, true);
        drive(&mut tcp, &mut session, &nothing, &patience).await?;
        let mut tls = handshake(target, tcp).await?;
        session.secured();
        drive(&mut tls, &mut session, &nothing, &patience).await?;
        Ok(Connection { io: tls, session, used: false, idle_since: Instant::now() })
    }
}

impl Connection<TcpStream> {
    /// Without TLS; to a loopback address only, where nobody else can listen or answer.
    pub async fn open_local(target: &Target) -> Result<Connection<TcpStream>, ClientError> {
        if !target.address.ip().is_loopback() {
            return Err(ClientError::NoTls { server: target.server_name.clone() });
        }
        let mut tcp = connect(target).await?;
        let mut session = ClientSession::new(&target.server_name, &target.helo, false);
        drive(&mut tcp, &mut session, &Pieces::default(), &Deadlines::usual()).await?;
        Ok(Connection { io: tcp, session, used: false, idle_since: Instant::now() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// True once a message went over it: such a one may have been closed by the host in the meantime.
    pub fn was_used(&self) -> bool {
        self.used
    }
    pub fn idle_for(&self) -> Duration {
        self.idle_since.elapsed()
    }

    /// A small message in one piece, without hurry; see [`Connection::offer`].
    pub async fn send(&mut self, envelope: &Envelope, raw: &[u8]) -> Result<Delivery, ClientError> {
        self.offer(envelope, &bytes::Bytes::copy_from_slice(raw).into(), &Deadlines::usual()).await
    }

    /// Offers one message. `Err` leaves the connection unusable.
    pub async fn offer(
        &mut self,
        envelope: &Envelope,
        raw: &Pieces,
        patience: &Deadlines,
    ) -> Result<Delivery, ClientError> {
        if self.used {
            self.still_quiet().await?;
        }
        self.session.begin(envelope, raw.len(), || Form::of(raw))?;
        self.used = true;
        let delivery = drive(&mut self.io, &mut self.session, raw, patience).await?;
        self.idle_since = Instant::now();
        // a session that has begun ends with a delivery or an error
        delivery.ok_or_else(|| ClientError::Closed { server: self.session.server().to_owned(), stage: "MAIL" })
    }

    pub async fn quit(mut self) {
        let _ = timeout(limits::REPLY_TIMEOUT, self.io.write_all(b"QUIT\r\n")).await;
        let _ = timeout(limits::REPLY_TIMEOUT, self.io.shutdown()).await;
    }

    /// What a host says while nothing is asked is its goodbye, or an answer too many; neither is one to what comes.
    async fn still_quiet(&mut self) -> Result<(), ClientError> {
        let (server, stage) = (self.session.server().to_owned(), "the next message");
        match timeout(Duration::ZERO, self.io.read(&mut [0; 1])).await {
            Err(_) => Ok(()),
            Ok(Ok(1)) => Err(ClientError::OutOfStep { server, stage }),
            Ok(_) => Err(ClientError::Closed { server, stage }),
        }
    }
}

/// Does what the session says until it waits for its caller. What is written before the next answer goes out in one go.
async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    session: &mut ClientSession,
    raw: &Pieces,
    patience: &Deadlines,
) -> Result<Option<Delivery>, ClientError> {
    let mut out = Vec::new();
    loop {
        match session.next_action()? {
            Action::Write(lines) => out.extend_from_slice(lines.as_bytes()),
            Action::WriteMessage { stuffed } => {
                let wait = patience.left(END_OF_DATA, limits::END_OF_DATA_TIMEOUT);
                let written = write_message(io, session.server(), std::mem::take(&mut out), raw, stuffed);
                timeout(wait, written).await.map_err(|_| silent(session.server(), "data", wait))??;
            }
            Action::Hear { stage, within } => {
                if !out.is_empty() {
                    write(io, session.server(), &std::mem::take(&mut out), "a command").await?;
                }
                hear(io, session, stage, patience.left(stage, within)).await?;
            }
            Action::Handshake | Action::Ready => return Ok(None),
            Action::Done(delivery) => return Ok(Some(delivery)),
        }
    }
}

fn silent(server: &str, stage: &'static str, within: Duration) -> ClientError {
    ClientError::Silent { server: server.to_owned(), stage, within }
}

/// `out` are commands that go before it. Small pieces travel together, large ones are not copied.
async fn write_message<S: AsyncWrite + Unpin>(
    io: &mut S,
    server: &str,
    mut out: Vec<u8>,
    raw: &Pieces,
    stuffed: bool,
) -> Result<(), ClientError> {
    let mut stuffing = stuffed.then(Stuffing::new);
    for piece in raw.as_slice().iter().flat_map(|piece| piece.chunks(limits::WRITE_OCTETS)) {
        match &mut stuffing {
            Some(stuffing) => stuffing.put(piece, &mut out),
            None if out.len() + piece.len() <= limits::WRITE_OCTETS => out.extend_from_slice(piece),
            None => {
                write_some(io, server, &out, "data").await?;
                out.clear();
                write_some(io, server, piece, "data").await?;
            }
        }
        if out.len() >= limits::WRITE_OCTETS {
            write_some(io, server, &out, "data").await?;
            out.clear();
        }
    }
    if let Some(stuffing) = stuffing {
        stuffing.end(&mut out);
    }
    write(io, server, &out, "data").await
}

async fn connect(target: &Target) -> Result<TcpStream, ClientError> {
    let connected = async {
        let socket = if target.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(source) = target.source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let tcp = timeout(limits::CONNECT_TIMEOUT, socket.connect(target.address)).await??;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    };
    connected.await.map_err(|source| ClientError::Connect {
        server: target.server_name.clone(),
        address: target.address,
        source,
    })
}

async fn handshake(target: &Target, tcp: TcpStream) -> Result<TlsStream<TcpStream>, ClientError> {
    let server = target.server_name.clone();
    let tls_error = |source| ClientError::Tls { server: server.clone(), address: target.address, source };
    let name = ServerName::try_from(server.clone()).map_err(|e| tls_error(std::io::Error::other(e)))?;
    let shaking = TlsConnector::from(target.tls.clone()).connect(name, tcp);
    let within = limits::HANDSHAKE_TIMEOUT;
    match timeout(within, shaking).await {
        Ok(done) => done.map_err(tls_error),
        Err(_) => Err(ClientError::Silent { server: server.clone(), stage: "the TLS handshake", within }),
    }
}

/// A large message over a slow line takes long; what must not be long is standing still.
async fn write_some<S: AsyncWrite + Unpin>(
    io: &mut S,
    server: &str,
    octets: &[u8],
    stage: &'static str,
) -> Result<(), ClientError> {
    let within = limits::REPLY_TIMEOUT;
    let done = timeout(within, io.write_all(octets)).await.map_err(|_| silent(server, stage, within))?;
    done.map_err(|_| ClientError::Closed { server: server.to_owned(), stage })
}

async fn write<S: AsyncWrite + Unpin>(
    io: &mut S,
    server: &str,
    octets: &[u8],
    stage: &'static str,
) -> Result<(), ClientError> {
    write_some(io, server, octets, stage).await?;
    let within = limits::REPLY_TIMEOUT;
    let done = timeout(within, io.flush()).await.map_err(|_| silent(server, stage, within))?;
    done.map_err(|_| ClientError::Closed { server: server.to_owned(), stage })
}

async fn hear<S: AsyncRead + Unpin>(
    io: &mut S,
    session: &mut ClientSession,
    stage: &'static str,
    within: Duration,
) -> Result<(), ClientError> {
    let server = session.server().to_owned();
    let whole = async {
        // a line of a reply is no longer (RFC 5321 §4.5.3.1.5)
        let mut piece = [0; 512];
        loop {
            match io.read(&mut piece).await {
                Ok(n) if n > 0 && !session.feed(&piece[..n]) => {}
                Ok(n) => return n > 0,
                Err(_) => return false,
            }
        }
    };
    match timeout(within, whole).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(ClientError::Closed { server, stage }),
        Err(_) => Err(ClientError::Silent { server, stage, within }),
    }
}
