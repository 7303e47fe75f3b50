//! Drives a [`Session`] over a socket: reads, writes, waits, shakes hands. Decides nothing.

use crate::{Event, Reply, Session, limits};
use bytes::{Bytes, BytesMut};
use mail::{Envelope, Recipient};
use rustls_pki_types::CertificateDer;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
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
    /// What this returns is the whole promise: 2xx means that somebody has the message durably.
    fn message(&mut self, envelope: Envelope, raw: Bytes) -> impl Future<Output = Reply> + Send;
}

/// What every connection of a server has in common.
#[derive(Clone)]
pub struct ServerSettings {
    pub hostname: String,
    pub octets_max: usize,
    pub tls: TlsAcceptor,
}

/// One connection from greeting to goodbye. An error is the peer's going away; it concerns nobody else.
pub async fn serve_connection(
    mut tcp: TcpStream,
    settings: &ServerSettings,
    handler: &mut impl Handler,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut session = Session::new(settings.hostname.clone(), settings.octets_max);
    tcp.write_all(session.greeting().wire().as_bytes()).await?;
    if !converse(&mut tcp, &mut session, handler).await? {
        return tcp.shutdown().await;
    }
    // RFC 3207 §4.2, CVE-2011-0411: what came before the handshake must not be taken for what comes after it
    if session.has_pending_input() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "octets after STARTTLS and before the handshake"));
    }
    tcp.write_all(Reply::new(220, (2, 0, 0), "Ready").wire().as_bytes()).await?;
    let mut tls = timeout(limits::HANDSHAKE_TIMEOUT, settings.tls.accept(tcp)).await??;
    let (_, connection) = tls.get_ref();
    let protocol = connection.protocol_version().and_then(|v| v.as_str()).unwrap_or("TLS").to_owned();
    handler.secured(connection.peer_certificates().unwrap_or_default(), &protocol);
    session.secured();
    converse(&mut tls, &mut session, handler).await?;
    tls.shutdown().await
}

/// Until the peer goes (false) or TLS is agreed (true).
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: &mut S,
    session: &mut Session,
    handler: &mut impl Handler,
) -> io::Result<bool> {
    let mut piece = BytesMut::with_capacity(64 * 1024);
    let mut said = String::new();
    loop {
        while let Some(event) = session.next_event() {
            let reply = match event {
                Event::Reply(reply) => reply,
                Event::Close(reply) => {
                    said += &reply.wire();
                    write(stream, &mut said).await?;
                    return Ok(false);
                }
                Event::StartTls => {
                    write(stream, &mut said).await?;
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
            // replies of a pipelined group go out together (RFC 2920 §3.2)
            said += &reply.wire();
        }
        write(stream, &mut said).await?;
        let patience: Duration = if session.in_data() { limits::DATA_TIMEOUT } else { limits::COMMAND_TIMEOUT };
        piece.clear();
        let rests = session.rests();
        if rests {
            handler.rest();
        }
        let heard = tokio::select! {
            heard = timeout(patience, stream.read_buf(&mut piece)) => heard,
            goodbye = handler.dismissed(), if rests => return close(stream, &goodbye).await,
        };
        match heard {
            Ok(Ok(0)) => return Ok(false),
            Ok(Ok(_)) => {
                if let Err(goodbye) = if rests { handler.resume() } else { Ok(()) } {
                    return close(stream, &goodbye).await;
                }
                session.feed(&piece);
            }
            Ok(Err(e)) => return Err(e),
            Err(_) => return close(stream, &Reply::new(421, (4, 4, 2), "Waited too long")).await,
        }
    }
}

async fn close<S: AsyncWrite + Unpin>(stream: &mut S, goodbye: &Reply) -> io::Result<bool> {
    write(stream, &mut goodbye.wire()).await?;
    Ok(false)
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, said: &mut String) -> io::Result<()> {
    if !said.is_empty() {
        timeout(limits::COMMAND_TIMEOUT, stream.write_all(said.as_bytes())).await??;
        timeout(limits::COMMAND_TIMEOUT, stream.flush()).await??;
        said.clear();
    }
    Ok(())
}
