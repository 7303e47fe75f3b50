//! Drives a [`Session`] over a socket: reads, writes, waits, shakes hands. Decides nothing.

use crate::{Event, Reply, Session, limits};
use bytes::Bytes;
use mail::{Envelope, Recipient};
use rustls_pki_types::CertificateDer;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

/// Who answers for one connection.
pub trait Handler: Send {
    /// Octets came in a session that rested; `Err`: nothing more is taken, this is said and the connection ends.
    fn resume(&mut self) -> Result<(), Reply> {
        Ok(())
    }
    /// Everything is answered and written, and no message is under way.
    fn rest(&mut self) {}
    /// Ends when a session that rests is to be sent away, with what is said then (RFC 5321 §3.8).
    fn dismissed(&mut self) -> impl Future<Output = Reply> + Send {
        std::future::pending()
    }
    /// The handshake is done: the chain that the client showed (empty when none) and the protocol.
    fn secured(&mut self, chain: &[CertificateDer<'_>], protocol: &str);
    /// The size that the peer announced, zero when none.
    fn mail(&mut self, helo: &str, envelope: &Envelope, size: usize) -> impl Future<Output = Reply> + Send;
    fn rcpt(&mut self, recipient: &Recipient) -> impl Future<Output = Reply> + Send;
    /// The message under way has so many octets now; `Err` where there is no room for them, and what to say at its end.
    fn grows(&mut self, _octets: usize) -> Result<(), Reply> {
        Ok(())
    }
    /// What this returns is the whole promise: 2xx means that somebody has the message durably.
    fn message(&mut self, envelope: Envelope, raw: Bytes) -> impl Future<Output = Reply> + Send;
}

/// What every connection of a server has in common.
#[derive(Clone)]
pub struct ServerSettings {
    pub hostname: String,
    pub octets_max: usize,
    /// Whether BINARYMIME is offered (RFC 3030 §3): other hops may be unable to carry what then comes.
    pub binarymime: bool,
    pub patience: Patience,
    pub tls: TlsAcceptor,
}

impl ServerSettings {
    /// With the bounds of [`limits`], and without BINARYMIME.
    pub fn new(hostname: impl Into<String>, tls: impl Into<TlsAcceptor>) -> ServerSettings {
        ServerSettings {
            hostname: hostname.into(),
            octets_max: limits::MESSAGE_OCTETS_MAX,
            binarymime: false,
            patience: Patience::default(),
            tls: tls.into(),
        }
    }
}

/// How long a peer may take for what; whoever takes longer hears 421 and is let go.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a whole command.
    pub command: Duration,
    /// For the next octets of a message.
    pub data: Duration,
    /// For reading what we say.
    pub write: Duration,
    pub handshake: Duration,
    /// For all, except a message under way.
    pub session: Duration,
    /// A message may last `data`, and a second more for each so many octets.
    pub data_octets_per_second: usize,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            command: limits::COMMAND_TIMEOUT,
            data: limits::DATA_TIMEOUT,
            write: limits::WRITE_TIMEOUT,
            handshake: limits::HANDSHAKE_TIMEOUT,
            session: limits::SESSION_TIMEOUT,
            data_octets_per_second: limits::DATA_OCTETS_PER_SECOND_MIN,
        }
    }
}

/// A socket on which many may come at once.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // a server that was ended must not wait for its old connections before it starts again
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::LISTEN_BACKLOG)
}

/// One connection from greeting to goodbye. An error is the peer's going away; it concerns nobody else.
pub async fn serve_connection(
    mut tcp: TcpStream,
    settings: &ServerSettings,
    handler: &mut impl Handler,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let patience = settings.patience;
    let mut session = Session::new(settings.hostname.clone(), settings.octets_max, settings.binarymime);
    let mut watch = Watch::new(patience);
    write(&mut tcp, &mut session.greeting().wire(), patience).await?;
    if !converse(&mut tcp, &mut session, handler, &mut watch).await? {
        return timeout(patience.write, tcp.shutdown()).await?;
    }
    // RFC 3207 §4.2, CVE-2011-0411: what came before the handshake must not be taken for what comes after it
    if session.has_pending_input() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "octets after STARTTLS and before the handshake"));
    }
    write(&mut tcp, &mut Reply::new(220, (2, 0, 0), "Ready").wire(), patience).await?;
    let mut tls = timeout(patience.handshake, settings.tls.accept(tcp)).await??;
    let (_, connection) = tls.get_ref();
    let protocol = connection.protocol_version().and_then(|v| v.as_str()).unwrap_or("TLS").to_owned();
    handler.secured(connection.peer_certificates().unwrap_or_default(), &protocol);
    session.secured();
    converse(&mut tls, &mut session, handler, &mut watch).await?;
    timeout(patience.write, tls.shutdown()).await?
}

/// Until the peer goes (false) or TLS is agreed (true).
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: &mut S,
    session: &mut Session,
    handler: &mut impl Handler,
    watch: &mut Watch,
) -> io::Result<bool> {
    let patience = watch.patience;
    let mut said = String::new();
    loop {
        while let Some(event) = session.next_event() {
            let reply = match event {
                Event::Reply(reply) => reply,
                Event::Close(reply) => {
                    said += &reply.wire();
                    write(stream, &mut said, patience).await?;
                    return Ok(false);
                }
                Event::StartTls => {
                    write(stream, &mut said, patience).await?;
                    return Ok(true);
                }
                Event::Mail(envelope, size) => {
                    let reply = handler.mail(session.helo(), &envelope, size).await;
                    session.answered(&reply);
                    reply
                }
                Event::Rcpt(recipient) => {
                    let reply = handler.rcpt(&recipient).await;
                    session.answered(&reply);
                    reply
                }
                Event::Message(envelope, raw) => {
                    let reply = handler.message(envelope, raw).await;
                    session.answered(&reply);
                    reply
                }
            };
            watch.progress();
            // replies of a pipelined group go out together (RFC 2920 §3.2)
            said += &reply.wire();
            if said.len() > limits::REPLIES_OCTETS_MAX {
                write(stream, &mut said, patience).await?;
            }
        }
        write(stream, &mut said, patience).await?;
        let rests = session.rests();
        if rests {
            handler.rest();
            session.idle();
        }
        session.input().reserve(if rests { limits::IDLE_READ_OCTETS } else { limits::READ_OCTETS });
        let until = watch.deadline(session.in_data());
        let heard = tokio::select! {
            heard = timeout_at(until, stream.read_buf(session.input())) => heard,
            goodbye = handler.dismissed(), if rests => return close(stream, &goodbye, patience).await,
        };
        match heard {
            Ok(Ok(0)) => return Ok(false),
            Ok(Ok(octets)) if Instant::now() < until => {
                if let Err(goodbye) = if rests { handler.resume() } else { Ok(()) } {
                    return close(stream, &goodbye, patience).await;
                }
                watch.read(octets);
                if session.in_data()
                    && let Err(reply) = handler.grows(session.message_octets() + octets)
                {
                    session.give_up(reply);
                }
            }
            Ok(Err(e)) => return Err(e),
            // a peer that never pauses is late all the same
            Ok(Ok(_)) | Err(_) => {
                return close(stream, &Reply::new(421, (4, 4, 2), "Waited too long"), patience).await;
            }
        }
    }
}

/// Until when a peer may take for what it is at.
struct Watch {
    patience: Patience,
    began: Instant,
    /// When the command or the message under way began.
    since: Instant,
    /// Octets since then.
    octets: usize,
}

impl Watch {
    fn new(patience: Patience) -> Watch {
        Watch { patience, began: Instant::now(), since: Instant::now(), octets: 0 }
    }
    fn progress(&mut self) {
        (self.since, self.octets) = (Instant::now(), 0);
    }
    fn read(&mut self, octets: usize) {
        self.octets += octets;
    }
    fn deadline(&self, in_data: bool) -> Instant {
        let Patience { command, data, session, data_octets_per_second, .. } = self.patience;
        if in_data {
            let brought = Duration::from_secs((self.octets / data_octets_per_second.max(1)) as u64);
            return (Instant::now() + data).min(self.since + data + brought);
        }
        (self.since + command).min(self.began + session)
    }
}

async fn close<S: AsyncWrite + Unpin>(stream: &mut S, goodbye: &Reply, patience: Patience) -> io::Result<bool> {
    write(stream, &mut goodbye.wire(), patience).await?;
    Ok(false)
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, said: &mut String, patience: Patience) -> io::Result<()> {
    if !said.is_empty() {
        let until = Instant::now() + patience.write;
        timeout_at(until, stream.write_all(said.as_bytes())).await??;
        timeout_at(until, stream.flush()).await??;
        said.clear();
    }
    Ok(())
}
