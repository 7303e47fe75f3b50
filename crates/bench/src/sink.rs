//! The tenant's mail exchanger of the benchmark: STARTTLS with a certificate, PIPELINING, CHUNKING; takes everything,
//! looks for the number in the header, keeps nothing. As cheap as it can be, since it shares the machine with what is
//! measured, and a reader of SMTP of its own, so that a mistake of ours does not agree with itself.

use crate::board::Board;
use crate::message::{HEADER_OCTETS_MAX, read_number};
use anyhow::{Context, Result};
use memchr::{memchr, memmem};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const READ_OCTETS: usize = 64 * 1024;
const LINE_OCTETS_MAX: usize = 4096;
/// RFC 5321 §4.1.1.4
const END_OF_DATA: &[u8] = b"\r\n.\r\n";

#[derive(Clone)]
pub struct Sink {
    pub address: SocketAddr,
    board: Arc<RwLock<Arc<Board>>>,
}

impl Sink {
    /// On a thread of its own, for as long as the process lives.
    pub fn start(chain_pem: &str, key_pem: &str) -> Result<Sink> {
        let tls: TlsAcceptor = smtp::tls::server_config(chain_pem, key_pem)?.into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("sink")?;
        let sink = Sink { address: listener.local_addr()?, board: Arc::new(RwLock::new(Arc::new(Board::new(0)))) };
        let taking = sink.clone();
        std::thread::Builder::new().name("sink".into()).spawn(move || {
            runtime.block_on(async move {
                loop {
                    match listener.accept().await {
                        Ok((tcp, _)) => drop(tokio::spawn(serve(tcp, tls.clone(), taking.clone()))),
                        Err(e) => eprintln!("bench: the sink could not accept a connection: {e}"),
                    }
                }
            });
        })?;
        Ok(sink)
    }

    /// What arrives from now on is written there.
    pub fn write_to(&self, board: Arc<Board>) {
        *self.board.write().unwrap_or_else(PoisonError::into_inner) = board;
    }

    fn arrived(&self, head: &[u8]) {
        let board = self.board.read().unwrap_or_else(PoisonError::into_inner);
        // what an earlier run left behind is nobody's
        if let Some((_, n)) = read_number(head).filter(|(run, _)| *run == board.run) {
            board.mark_delivered(n);
        }
    }
}

async fn serve(mut tcp: TcpStream, tls: TlsAcceptor, sink: Sink) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    tcp.write_all(b"220 mx.bench.example ESMTP\r\n").await?;
    if !converse(&mut tcp, &sink, false).await? {
        return Ok(());
    }
    let mut tls = tls.accept(tcp).await?;
    converse(&mut tls, &sink, true).await?;
    tls.shutdown().await
}

/// What the next octets are.
enum Reading {
    Lines,
    /// Octets of a chunk still to come, and whether it is the last.
    Chunk(usize, bool),
    Data,
}

/// Until the peer goes (false) or says STARTTLS (true).
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, sink: &Sink, secure: bool) -> io::Result<bool> {
    let (mut input, mut said) = (Vec::with_capacity(READ_OCTETS), Vec::new());
    let (mut head, mut reading) = (Vec::new(), Reading::Lines);
    loop {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            match &mut reading {
                Reading::Lines => {
                    let Some(end) = memchr(b'\n', rest) else { break };
                    let line = &rest[..end];
                    used += end + 1;
                    let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
                    match verb.as_slice() {
                        b"EHLO" if secure => said.extend_from_slice(FEATURES),
                        b"EHLO" => said.extend_from_slice(b"250-mx.bench.example\r\n250 STARTTLS\r\n"),
                        b"STAR" => {
                            stream.write_all(b"220 2.0.0 Ready\r\n").await?;
                            return Ok(true);
                        }
                        b"BDAT" => match chunk(line) {
                            Some((octets, last)) => reading = Reading::Chunk(octets, last),
                            None => said.extend_from_slice(b"501 5.5.4 BDAT takes a number\r\n"),
                        },
                        b"DATA" => {
                            reading = Reading::Data;
                            said.extend_from_slice(b"354 Go on\r\n");
                        }
                        b"QUIT" => {
                            said.extend_from_slice(b"221 2.0.0 Goodbye\r\n");
                            stream.write_all(&said).await?;
                            return Ok(false);
                        }
                        _ => said.extend_from_slice(b"250 2.0.0 OK\r\n"),
                    }
                }
                Reading::Chunk(left, last) => {
                    let part = rest.len().min(*left);
                    keep(&mut head, &rest[..part]);
                    used += part;
                    *left -= part;
                    if *left > 0 {
                        break;
                    }
                    if *last {
                        sink.arrived(&head);
                        head.clear();
                    }
                    reading = Reading::Lines;
                    said.extend_from_slice(b"250 2.6.0 Taken\r\n");
                }
                Reading::Data => {
                    let end = memmem::find(rest, END_OF_DATA);
                    // what may be the beginning of the end waits for the next octets
                    let part = end.unwrap_or(rest.len().saturating_sub(END_OF_DATA.len() - 1));
                    keep(&mut head, &rest[..part]);
                    used += part;
                    if end.is_none() {
                        break;
                    }
                    used += END_OF_DATA.len();
                    sink.arrived(&head);
                    head.clear();
                    reading = Reading::Lines;
                    said.extend_from_slice(b"250 2.6.0 Taken\r\n");
                }
            }
        }
        input.drain(..used);
        if matches!(reading, Reading::Lines) && input.len() > LINE_OCTETS_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if !said.is_empty() {
            stream.write_all(&said).await?;
            stream.flush().await?;
            said.clear();
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(false);
        }
    }
}

const FEATURES: &[u8] = b"250-mx.bench.example\r\n250-PIPELINING\r\n250-SIZE 157286400\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES\r\n";

fn keep(head: &mut Vec<u8>, octets: &[u8]) {
    let room = HEADER_OCTETS_MAX.saturating_sub(head.len());
    head.extend_from_slice(&octets[..octets.len().min(room)]);
}

/// `BDAT n [LAST]` (RFC 3030 §2)
fn chunk(line: &[u8]) -> Option<(usize, bool)> {
    let mut words = std::str::from_utf8(line).ok()?.split_whitespace().skip(1);
    let octets = words.next()?.parse().ok()?;
    Some((octets, words.next().is_some_and(|word| word.eq_ignore_ascii_case("LAST"))))
}
