//! What no gateway of this kind can do without, each alone, for callgrind to count: the records of TLS on both legs,
//! one look at the MIME structure, one DKIM verification, one row in the journal.

use crate::world::{Authority, GATEWAY_NAME, MICROSOFT, SENDER_DOMAIN};
use anyhow::{Context, Result, ensure};
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use rustls::{ClientConnection, ServerConnection};
use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Tls,
    Mime,
    Dkim,
    Journal,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::Tls, Part::Mime, Part::Dkim, Part::Journal];
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Part::Tls => "TLS records of both legs",
            Part::Mime => "one parse of the MIME structure",
            Part::Dkim => "one DKIM verification",
            Part::Journal => "one row of the journal",
        })
    }
}

#[derive(clap::Args)]
pub struct OnePart {
    part: Part,
    count: u32,
    message: PathBuf,
    /// The DNS record of the key that signed it.
    record: PathBuf,
}

/// Message and key are made before, elsewhere: finding an RSA key takes another number of instructions each time.
pub fn part(args: &OnePart) -> Result<()> {
    let raw = fs::read(&args.message)?;
    match args.part {
        Part::Tls => tls(args.count, &raw),
        Part::Mime => {
            for _ in 0..args.count {
                black_box(mail_parser::MessageParser::new().parse(black_box(raw.as_slice())));
            }
            Ok(())
        }
        Part::Dkim => dkim(args.count, &raw, &fs::read_to_string(&args.record)?),
        Part::Journal => journal(args.count),
    }
}

/// One side of each leg is ours: that is as much as both sides of one.
fn tls(count: u32, raw: &[u8]) -> Result<()> {
    let authority = Authority::new()?;
    let (chain, key) = authority.issue(GATEWAY_NAME)?;
    let mut server = ServerConnection::new(smtp::tls::server_config(&chain, &key)?)?;
    let (chain, key) = authority.issue(MICROSOFT)?;
    let config = smtp::tls::client_config(authority.roots.clone(), Some((&chain, &key)))?;
    let mut client = ClientConnection::new(config, GATEWAY_NAME.try_into()?)?;
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut wire, |w| client.write_tls(w), |r| server.read_tls(r))?;
        server.process_new_packets()?;
        carry(&mut wire, |w| server.write_tls(w), |r| client.read_tls(r))?;
        client.process_new_packets()?;
    }
    let envelope = format!("MAIL FROM:<pat@{SENDER_DOMAIN}> SIZE=4096\r\nRCPT TO:<anna@contoso.example>\r\n");
    let mut heard = vec![0; 64 * 1024];
    for _ in 0..count {
        for (asked, answered) in [
            (envelope.as_bytes(), b"250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n".as_slice()),
            (raw, b"250 2.6.0 Taken as 0192f0c0-0000-7000-8000-000000000000\r\n"),
        ] {
            for piece in asked.chunks(64 * 1024) {
                client.writer().write_all(piece)?;
                carry(&mut wire, |w| client.write_tls(w), |r| server.read_tls(r))?;
                server.process_new_packets()?;
                read_all(&mut server.reader(), &mut heard)?;
            }
            server.writer().write_all(answered)?;
            carry(&mut wire, |w| server.write_tls(w), |r| client.read_tls(r))?;
            client.process_new_packets()?;
            read_all(&mut client.reader(), &mut heard)?;
        }
    }
    Ok(())
}

fn carry(
    wire: &mut Vec<u8>,
    mut write: impl FnMut(&mut Vec<u8>) -> std::io::Result<usize>,
    mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>,
) -> Result<()> {
    wire.clear();
    while write(wire)? > 0 {}
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        read(&mut rest)?;
    }
    Ok(())
}

fn read_all(reader: &mut impl Read, heard: &mut [u8]) -> Result<()> {
    loop {
        match reader.read(heard) {
            Ok(0) => return Ok(()),
            Ok(n) => drop(black_box(&heard[..n])),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// With the key remembered from the first time.
fn dkim(count: u32, raw: &[u8], record: &str) -> Result<()> {
    let name = format!("s1._domainkey.{SENDER_DOMAIN}");
    let name_server = crate::dns::start([crate::dns::txt(&name, record)].into_iter().collect())?;
    let (config, options): (ResolverConfig, ResolverOpts) =
        smtp::resolver::name_servers(Some(name_server)).map_err(anyhow::Error::msg)?;
    let authenticator = MessageAuthenticator::new(config, options).context("resolver")?;
    runtime()?.block_on(async {
        for _ in 0..count {
            let message = AuthenticatedMessage::parse(raw).context("not a message")?;
            let verified = authenticator.verify_dkim(&message).await;
            ensure!(verified.iter().any(|v| *v.result() == DkimResult::Pass), "the signature does not verify");
        }
        Ok(())
    })
}

/// As much as one entry says, twenty in a statement: what the database itself cannot do without.
fn journal(count: u32) -> Result<()> {
    const ROWS: u32 = 20;
    let dir = std::env::temp_dir().join(format!("posthouse-bench-row-{}", std::process::id()));
    let filled = runtime()?.block_on(async {
        store::Store::open(&dir).await?.close().await;
        let options = SqliteConnectOptions::new()
            .filename(dir.join("posthouse.db"))
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        let json = "x".repeat(ENTRY_OCTETS);
        for from in (0..count).step_by(ROWS as usize) {
            let head = "INSERT INTO journeys(id,tenant,started,message_id,addresses,json) ";
            let mut query = sqlx::QueryBuilder::new(head);
            query.push_values(from..count.min(from + ROWS), |mut row, n| {
                let id = uuid::Uuid::now_v7().to_string();
                row.push_bind(id).push_bind("00000000-0000-0000-0000-000000000007").push_bind(i64::from(n));
                let token = uuid::Uuid::new_v4().to_string();
                row.push_bind(token).push_bind("pat@partner.example anna@contoso.example").push_bind(json.clone());
            });
            query.build().execute(&pool).await?;
        }
        pool.close().await;
        anyhow::Ok(())
    });
    let _ = fs::remove_dir_all(&dir);
    filled
}

/// Of the JSON of an ordinary journey.
const ENTRY_OCTETS: usize = 1500;
