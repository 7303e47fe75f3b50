//! The generator: as many sessions as Exchange Online may open, each STARTTLS with Microsoft's certificate, EHLO, and
//! then one message after the other by MAIL and RCPT in one go and BDAT.

use crate::board::Board;
use crate::message::{Specimen, number};
use crate::world::{CONTOSO, GATEWAY_NAME, SENDER_DOMAIN};
use anyhow::{Context, Result, bail};
use memchr::memchr;
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A session that was refused a message offers the next after so long.
const AGAIN: Duration = Duration::from_millis(100);
/// A session that was turned away, or not greeted, comes again after so long; a mail server waits longer.
const CONNECT_AGAIN: Duration = Duration::from_secs(1);
/// For greeting and handshake. A listener whose queue is full forgets a connection that we believe in.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// A session that hears nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    After(Duration),
    Messages(u32),
}

#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    /// Whose certificate is expected there.
    pub server_name: &'static str,
    pub tls: Arc<rustls::ClientConfig>,
    pub specimen: Arc<Specimen>,
    pub sessions: usize,
    /// Connections stay open for the next message; else each carries one.
    pub kept: bool,
    /// Messages offered a second, all sessions together; as many as go without it.
    pub rate: Option<f64>,
    pub until: Until,
}

impl Load {
    /// Sends until the end of the run and the last answer.
    pub fn run(&self, board: &Arc<Board>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let left = Arc::new(AtomicU32::new(match self.until {
            Until::Messages(n) => n,
            Until::After(_) => u32::MAX,
        }));
        let began = Instant::now();
        runtime.block_on(async {
            let mut sessions = tokio::task::JoinSet::new();
            for n in 0..self.sessions {
                let session = Session { load: self.clone(), board: board.clone(), left: left.clone(), began, n };
                sessions.spawn(session.run());
            }
            while let Some(ended) = sessions.join_next().await {
                ended.context("a session panicked")?;
            }
            Ok(())
        })
    }
}

struct Session {
    load: Load,
    board: Arc<Board>,
    left: Arc<AtomicU32>,
    began: Instant,
    n: usize,
}

impl Session {
    fn goes_on(&self) -> bool {
        match self.load.until {
            Until::After(time) => self.began.elapsed() < time,
            Until::Messages(_) => self.left.load(Relaxed) > 0,
        }
    }

    async fn run(self) {
        let (mut wire, at) = self.load.specimen.wire();
        let mut connection = None;
        let mut sent = 0u32;
        while self.goes_on() {
            if let Some(rate) = self.load.rate {
                let due = (f64::from(sent) + self.n as f64 / self.load.sessions as f64) * self.load.sessions as f64;
                tokio::time::sleep_until((self.began + Duration::from_secs_f64(due / rate)).into()).await;
            }
            let mut open = match connection.take() {
                Some(open) => open,
                None => match self.open().await {
                    Some(open) => open,
                    None => {
                        tokio::time::sleep(CONNECT_AGAIN).await;
                        continue;
                    }
                },
            };
            let limited = matches!(self.load.until, Until::Messages(_));
            if limited && self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err() {
                break;
            }
            let Some(n) = self.board.take_number() else { break };
            number(&mut wire, at, self.board.run, n);
            sent += 1;
            match tokio::time::timeout(PATIENCE, self.hand_over(&mut open, &wire, n)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => tokio::time::sleep(AGAIN).await,
                Ok(Err(e)) => {
                    self.board.mark_broken(format!("{e:#}"));
                    continue;
                }
                Err(_) => {
                    self.board.mark_broken(format!("no answer within {} s", PATIENCE.as_secs()));
                    continue;
                }
            }
            if self.load.kept {
                connection = Some(open);
            } else {
                open.close().await;
            }
        }
        if let Some(open) = connection {
            open.close().await;
        }
    }

    /// `None` when there is no room for us, or nobody is there.
    async fn open(&self) -> Option<Connection<TlsStream<TcpStream>>> {
        match tokio::time::timeout(CONNECT_PATIENCE, self.connect()).await {
            Ok(Ok(Some(open))) => return Some(open),
            Ok(Ok(None)) => self.board.mark_turned_away(),
            Ok(Err(e)) => self.board.mark_broken(format!("{e:#}")),
            Err(_) => self.board.mark_broken(format!("not greeted within {} s", CONNECT_PATIENCE.as_secs())),
        }
        None
    }

    async fn connect(&self) -> Result<Option<Connection<TlsStream<TcpStream>>>> {
        connect(self.load.address, self.load.server_name, &self.load.tls).await
    }

    /// True when it was taken.
    async fn hand_over<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        open: &mut Connection<S>,
        wire: &[u8],
        n: u32,
    ) -> Result<bool> {
        let octets = self.load.specimen.octets();
        let envelope =
            format!("MAIL FROM:<pat@{SENDER_DOMAIN}> SIZE={octets} BODY=7BIT\r\nRCPT TO:<anna@{CONTOSO}>\r\n");
        open.write(envelope.as_bytes()).await?;
        let (sender, recipient) = (open.reply().await?, open.reply().await?);
        if let Some(refused) = [sender, recipient].into_iter().find(|r| r.0 != 250) {
            self.board.mark_refused(refused.1);
            open.command(b"RSET\r\n", 250).await?;
            return Ok(false);
        }
        open.write(wire).await?;
        self.board.mark_sent(n);
        let (code, words) = open.reply().await?;
        if code == 250 {
            self.board.mark_answered(n);
        } else {
            self.board.mark_refused(words);
        }
        Ok(code == 250)
    }
}

/// As Exchange Online opens one; `None` when it is turned away.
pub async fn connect(
    address: SocketAddr,
    server_name: &'static str,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Option<Connection<TlsStream<TcpStream>>>> {
    let tcp = TcpStream::connect(address).await.context("connect")?;
    tcp.set_nodelay(true)?;
    let mut plain = Connection::new(tcp);
    if plain.reply().await?.0 == 421 {
        return Ok(None);
    }
    plain.command(b"EHLO mail-bench.outbound.protection.outlook.com\r\n", 250).await?;
    plain.command(b"STARTTLS\r\n", 220).await?;
    let name = ServerName::try_from(server_name)?;
    let tls = TlsConnector::from(tls.clone()).connect(name, plain.stream).await.context("handshake")?;
    let mut secure = Connection::new(tls);
    secure.command(b"EHLO mail-bench.outbound.protection.outlook.com\r\n", 250).await?;
    Ok(Some(secure))
}

pub struct Connection<S> {
    stream: S,
    input: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(stream: S) -> Connection<S> {
        Connection { stream, input: Vec::with_capacity(1024) }
    }

    pub async fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.stream.write_all(octets).await?;
        Ok(self.stream.flush().await?)
    }

    pub async fn command(&mut self, line: &[u8], expected: u16) -> Result<()> {
        self.write(line).await?;
        let (code, words) = self.reply().await?;
        if code != expected {
            bail!("{} was answered with {words}", String::from_utf8_lossy(line).trim_end());
        }
        Ok(())
    }

    /// Code and last line (RFC 5321 §4.2.1: a hyphen says that more lines follow).
    pub async fn reply(&mut self) -> Result<(u16, String)> {
        loop {
            while let Some(end) = memchr(b'\n', &self.input) {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                if line.get(3) != Some(&b'-') {
                    let words = String::from_utf8_lossy(&line).trim_end().to_owned();
                    return Ok((words.get(..3).and_then(|c| c.parse().ok()).unwrap_or(0), words));
                }
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                bail!("the connection was closed");
            }
        }
    }

    async fn close(mut self) {
        if self.write(b"QUIT\r\n").await.is_ok() {
            let _ = tokio::time::timeout(PATIENCE, self.reply()).await;
        }
        let _ = self.stream.shutdown().await;
    }
}

impl Load {
    /// To a system that is to be the gateway.
    pub fn of(address: SocketAddr, tls: &Arc<rustls::ClientConfig>, specimen: &Arc<Specimen>) -> Load {
        Load {
            address,
            server_name: GATEWAY_NAME,
            tls: tls.clone(),
            specimen: specimen.clone(),
            sessions: 20,
            kept: true,
            rate: None,
            until: Until::After(Duration::from_secs(1)),
        }
    }
}
