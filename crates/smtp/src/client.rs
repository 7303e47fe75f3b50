//! Hands messages to one host over TLS that is verified before a word about mail is said.

use crate::data::stuffed;
use crate::{Reply, limits};
use mail::{Body, Envelope, Recipient, Return};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
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
    #[error("{server} offers no CHUNKING, and a message with {what} cannot be sent by DATA without changing it")]
    NotRepresentable { server: String, what: &'static str },
}

impl ClientError {
    /// True when the host may have the message although we did not hear so.
    pub fn may_be_delivered(&self) -> bool {
        matches!(self, ClientError::Closed { stage: END_OF_DATA, .. } | ClientError::Silent { stage: END_OF_DATA, .. })
    }
}

const END_OF_DATA: &str = "the end of data";

/// What the host said to one message.
#[derive(Debug)]
pub struct Delivery {
    /// One reply a recipient, in the order of the envelope.
    pub recipients: Vec<Reply>,
    /// The reply to the message itself; `None` when no recipient was taken.
    pub data: Option<Reply>,
}

impl Delivery {
    /// What became of recipient `n`: its own refusal, else the answer to the message.
    pub fn of(&self, n: usize) -> &Reply {
        let own = &self.recipients[n];
        match &self.data {
            Some(data) if own.is_success() => data,
            _ => own,
        }
    }
}

/// A connection over which messages can be handed, one after the other; over TLS unless it is to this machine.
pub struct Connection<S = TlsStream<TcpStream>> {
    io: BufReader<S>,
    server: String,
    features: Vec<String>,
    used: bool,
    idle_since: Instant,
}

impl Connection {
    pub async fn open(target: &Target) -> Result<Connection, ClientError> {
        let server = target.server_name.clone();
        let tcp = connect(target).await.map_err(|source| ClientError::Connect {
            server: server.clone(),
            address: target.address,
            source,
        })?;
        let mut plain = BufReader::new(tcp);
        accepted(read(&mut plain, &server, "the connection", limits::REPLY_TIMEOUT).await?, &server, "the connection")?;
        let features = ehlo(&mut plain, &server, &target.helo).await?;
        if !offers(&features, "STARTTLS") {
            return Err(ClientError::NoTls { server });
        }
        accepted(command(&mut plain, &server, "STARTTLS", "STARTTLS").await?, &server, "STARTTLS")?;
        let tls_error = |source| ClientError::Tls { server: server.clone(), address: target.address, source };
        if !plain.buffer().is_empty() {
            return Err(tls_error(std::io::Error::other("octets before the handshake")));
        }
        let name = ServerName::try_from(server.clone()).map_err(|e| tls_error(std::io::Error::other(e)))?;
        let handshake = TlsConnector::from(target.tls.clone()).connect(name, plain.into_inner());
        let tls = timeout(limits::HANDSHAKE_TIMEOUT, handshake)
            .await
            .map_err(|_| ClientError::Silent {
                server: server.clone(),
                stage: "the TLS handshake",
                within: limits::HANDSHAKE_TIMEOUT,
            })?
            .map_err(tls_error)?;
        let mut io = BufReader::new(tls);
        let features = ehlo(&mut io, &server, &target.helo).await?;
        Ok(Connection { io, server, features, used: false, idle_since: Instant::now() })
    }
}

impl Connection<TcpStream> {
    /// Without TLS; to a loopback address only, where nobody else can listen or answer.
    pub async fn open_local(target: &Target) -> Result<Connection<TcpStream>, ClientError> {
        let server = target.server_name.clone();
        if !target.address.ip().is_loopback() {
            return Err(ClientError::NoTls { server });
        }
        let tcp = connect(target).await.map_err(|source| ClientError::Connect {
            server: server.clone(),
            address: target.address,
            source,
        })?;
        let mut io = BufReader::new(tcp);
        accepted(read(&mut io, &server, "the connection", limits::REPLY_TIMEOUT).await?, &server, "the connection")?;
        let features = ehlo(&mut io, &server, &target.helo).await?;
        Ok(Connection { io, server, features, used: false, idle_since: Instant::now() })
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

    /// Offers one message. `Err` leaves the connection unusable.
    pub async fn send(&mut self, envelope: &Envelope, raw: &[u8]) -> Result<Delivery, ClientError> {
        let needs_utf8 = envelope.smtputf8
            || !envelope.sender.is_ascii()
            || envelope.recipients.iter().any(|r| !r.address.is_ascii());
        if needs_utf8 && !self.offers("SMTPUTF8") {
            // RFC 6531 §3.2
            let refused =
                Reply::new(550, (5, 6, 7), format!("{} does not take internationalised addresses", self.server));
            return Ok(Delivery { recipients: vec![refused; envelope.recipients.len()], data: None });
        }
        let chunking = self.offers("CHUNKING");
        if !chunking && let Some(what) = not_representable(raw) {
            return Err(ClientError::NotRepresentable { server: self.server.clone(), what });
        }
        let recipients = self.envelope(envelope, raw, needs_utf8).await?;
        self.used = true;
        let mut delivery = Delivery { recipients, data: None };
        if delivery.recipients.iter().any(Reply::is_success) {
            delivery.data = Some(self.data(raw, chunking).await?);
        } else {
            // the next message needs a clean slate, whatever of this one was taken
            self.command("RSET", "RSET").await?;
        }
        self.idle_since = Instant::now();
        Ok(delivery)
    }

    pub async fn quit(mut self) {
        let _ = timeout(limits::REPLY_TIMEOUT, self.io.write_all(b"QUIT\r\n")).await;
        let _ = timeout(limits::REPLY_TIMEOUT, self.io.get_mut().shutdown()).await;
    }

    fn offers(&self, word: &str) -> bool {
        offers(&self.features, word)
    }

    async fn command(&mut self, line: &str, stage: &'static str) -> Result<Reply, ClientError> {
        command(&mut self.io, &self.server, line, stage).await
    }

    /// MAIL and RCPT, pipelined where the host allows it.
    async fn envelope(&mut self, envelope: &Envelope, raw: &[u8], utf8: bool) -> Result<Vec<Reply>, ClientError> {
        let dsn = self.offers("DSN");
        let mail = self.mail_line(envelope, raw, utf8, dsn);
        let group = if self.offers("PIPELINING") { limits::PIPELINED_MAX } else { 0 };
        let mut replies = Vec::with_capacity(envelope.recipients.len());
        let mut sender: Option<Reply> = None;
        if group == 0 {
            sender = Some(self.command(&mail, "MAIL").await?);
        }
        let lines: Vec<String> = envelope.recipients.iter().map(|r| rcpt_line(r, dsn)).collect();
        for part in lines.chunks(group.max(1)) {
            if let Some(refused) = sender.as_ref().filter(|s| !s.is_success()) {
                replies.extend(std::iter::repeat_n(refused.clone(), part.len()));
                continue;
            }
            let first = sender.is_none();
            let mut wire = if first { mail.clone() + "\r\n" } else { String::new() };
            part.iter().for_each(|line| wire += &format!("{line}\r\n"));
            self.write(wire.as_bytes(), "MAIL and RCPT").await?;
            if first {
                sender = Some(self.reply("MAIL", limits::REPLY_TIMEOUT).await?);
            }
            for _ in part {
                let own = self.reply("RCPT", limits::REPLY_TIMEOUT).await?;
                // after a refused sender every RCPT is out of order: the sender's refusal is the reason
                replies.push(sender.clone().filter(|s| !s.is_success()).unwrap_or(own));
            }
        }
        Ok(replies)
    }

    fn mail_line(&self, envelope: &Envelope, raw: &[u8], utf8: bool, dsn: bool) -> String {
        let mut line = format!("MAIL FROM:<{}>", envelope.sender);
        if self.offers("SIZE") {
            line += &format!(" SIZE={}", raw.len());
        }
        if self.offers("8BITMIME") {
            match envelope.body {
                Some(Body::SevenBit) => line += " BODY=7BIT",
                Some(Body::EightBitMime) => line += " BODY=8BITMIME",
                None => {}
            }
        }
        if utf8 {
            line += " SMTPUTF8";
        }
        if dsn {
            line += match envelope.ret {
                Some(Return::Full) => " RET=FULL",
                Some(Return::Headers) => " RET=HDRS",
                None => "",
            };
            line += &envelope.envid.as_ref().map(|id| format!(" ENVID={id}")).unwrap_or_default();
        }
        line
    }

    /// BDAT where it is offered: octets are counted, so nothing in them can end a message.
    async fn data(&mut self, raw: &[u8], chunking: bool) -> Result<Reply, ClientError> {
        if chunking {
            self.write(format!("BDAT {} LAST\r\n", raw.len()).as_bytes(), "BDAT").await?;
            self.write(raw, "data").await?;
        } else {
            let go = self.command("DATA", "DATA").await?;
            if go.is_success() {
                // a "yes" before anything was sent is no yes to the message
                return Err(ClientError::Refused { server: self.server.clone(), stage: "DATA", reply: go });
            }
            if go.code != 354 {
                return Ok(go);
            }
            self.write(&stuffed(raw), "data").await?;
        }
        self.reply(END_OF_DATA, limits::END_OF_DATA_TIMEOUT).await
    }

    async fn write(&mut self, octets: &[u8], stage: &'static str) -> Result<(), ClientError> {
        write(&mut self.io, &self.server, octets, stage).await
    }

    async fn reply(&mut self, stage: &'static str, within: Duration) -> Result<Reply, ClientError> {
        read(&mut self.io, &self.server, stage, within).await
    }
}

fn rcpt_line(recipient: &Recipient, dsn: bool) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.address);
    if dsn {
        line += &recipient.notify.as_ref().map(|n| format!(" NOTIFY={n}")).unwrap_or_default();
        line += &recipient.orcpt.as_ref().map(|o| format!(" ORCPT={o}")).unwrap_or_default();
    }
    line
}

/// What DATA cannot carry unchanged past every reader: see the file data.rs.
fn not_representable(raw: &[u8]) -> Option<&'static str> {
    let mut before = 0;
    for byte in raw {
        match (before, *byte) {
            (b'\r', b'\n') => {}
            (b'\r', _) => return Some("a bare CR"),
            (_, b'\n') => return Some("a bare LF"),
            _ => {}
        }
        before = *byte;
    }
    (!raw.is_empty() && !raw.ends_with(b"\r\n")).then_some("no line end at its end")
}

fn offers(features: &[String], word: &str) -> bool {
    features.iter().any(|f| f.split(' ').next().is_some_and(|w| w.eq_ignore_ascii_case(word)))
}

async fn connect(target: &Target) -> std::io::Result<TcpStream> {
    let socket = if target.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(source) = target.source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let tcp = timeout(limits::CONNECT_TIMEOUT, socket.connect(target.address)).await??;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn ehlo<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut BufReader<S>,
    server: &str,
    helo: &str,
) -> Result<Vec<String>, ClientError> {
    let reply = accepted(command(io, server, &format!("EHLO {helo}"), "EHLO").await?, server, "EHLO")?;
    Ok(reply.text.split('\n').skip(1).map(str::to_owned).collect())
}

fn accepted(reply: Reply, server: &str, stage: &'static str) -> Result<Reply, ClientError> {
    if reply.is_success() { Ok(reply) } else { Err(ClientError::Refused { server: server.to_owned(), stage, reply }) }
}

async fn command<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut BufReader<S>,
    server: &str,
    line: &str,
    stage: &'static str,
) -> Result<Reply, ClientError> {
    write(io, server, format!("{line}\r\n").as_bytes(), stage).await?;
    read(io, server, stage, limits::REPLY_TIMEOUT).await
}

async fn write<S: AsyncWrite + Unpin>(
    io: &mut S,
    server: &str,
    octets: &[u8],
    stage: &'static str,
) -> Result<(), ClientError> {
    let closed = |_| ClientError::Closed { server: server.to_owned(), stage };
    // a large message over a slow line takes long; what must not be long is standing still
    for piece in octets.chunks(64 * 1024) {
        let silent = |_| ClientError::Silent { server: server.to_owned(), stage, within: limits::REPLY_TIMEOUT };
        timeout(limits::REPLY_TIMEOUT, io.write_all(piece)).await.map_err(silent)?.map_err(closed)?;
    }
    timeout(limits::REPLY_TIMEOUT, io.flush())
        .await
        .map_err(|_| ClientError::Silent { server: server.to_owned(), stage, within: limits::REPLY_TIMEOUT })?
        .map_err(closed)
}

async fn read<S: AsyncBufRead + Unpin>(
    io: &mut S,
    server: &str,
    stage: &'static str,
    within: Duration,
) -> Result<Reply, ClientError> {
    let closed = || ClientError::Closed { server: server.to_owned(), stage };
    let heard = timeout(within, read_lines(io)).await.map_err(|_| ClientError::Silent {
        server: server.to_owned(),
        stage,
        within,
    })?;
    let lines = heard.map_err(|_| closed())?;
    Reply::parse(&lines).ok_or_else(closed)
}

async fn read_lines<S: AsyncBufRead + Unpin>(io: &mut S) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    while lines.len() < limits::REPLY_LINES_MAX {
        let mut line = Vec::new();
        let mut limited = (&mut *io).take(limits::COMMAND_OCTETS_MAX as u64);
        if limited.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        let more = text.as_bytes().get(3) == Some(&b'-');
        lines.push(text);
        if !more {
            break;
        }
    }
    Ok(lines)
}
