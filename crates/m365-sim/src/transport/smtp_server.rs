//! The Internet-facing SMTP server of all tenants (transport.md S1–S17). Only CRLF.CRLF ends a message.

use super::attribution::{by_certificate, place};
use super::limits;
use super::pipeline::{Arrived, Envelope, Recipient};
use super::{Transport, fields};
use crate::world::Fault;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

pub(super) const HOST: &str = "SIM01FT001.mail.protection.outlook.com";

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Asks for a client certificate, takes any, checks that its key is held; the chain is judged afterwards.
#[derive(Debug)]
struct AskForAny(Arc<rustls::crypto::CryptoProvider>);

impl rustls::server::danger::ClientCertVerifier for AskForAny {
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<rustls::server::danger::ClientCertVerified, rustls::Error> {
        Ok(rustls::server::danger::ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

pub(super) async fn serve(transport: Transport, listener: TcpListener) {
    let tls = match tls_config(&transport) {
        Ok(config) => TlsAcceptor::from(Arc::new(config)),
        Err(e) => {
            tracing::error!(error = %e, "no TLS for the SMTP door");
            return;
        }
    };
    loop {
        let Ok((tcp, peer)) = listener.accept().await else { continue };
        let (transport, tls) = (transport.clone(), tls.clone());
        tokio::spawn(async move {
            if let Err(e) = (Session::new(transport, peer)).run(tcp, tls).await {
                tracing::debug!(%peer, error = %e, "SMTP session ended");
            }
        });
    }
}

fn tls_config(transport: &Transport) -> Result<ServerConfig, crate::pki::PkiError> {
    let issued = transport.world().pki.issue(
        &[
            "mail.protection.outlook.com",
            "*.mail.protection.outlook.com",
            "*.olc.protection.outlook.com",
            "outlook.com",
        ],
        false,
    )?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(AskForAny(provider)))
        .with_single_cert(issued.chain, issued.key)?;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

struct Session {
    transport: Transport,
    peer: SocketAddr,
    helo: String,
    tls: bool,
    /// Names of a client certificate that counts (S3).
    names: Vec<String>,
    from: Option<Envelope>,
    /// Tenant and connector that the certificate proves (S4, S5).
    by_certificate: Option<(Uuid, String)>,
    /// Tenant of each accepted recipient, in order.
    tenants: Vec<Uuid>,
    /// Set with the attribution of the transaction: the connector's name when Originating.
    connector: Option<String>,
}

enum Next {
    Go,
    StartTls,
    Quit,
}

impl Session {
    fn new(transport: Transport, peer: SocketAddr) -> Session {
        Session {
            transport,
            peer,
            helo: String::new(),
            tls: false,
            names: Vec::new(),
            from: None,
            by_certificate: None,
            tenants: Vec::new(),
            connector: None,
        }
    }

    async fn run(mut self, tcp: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
        let mut plain = BufReader::new(tcp);
        plain.write_all(format!("220 {HOST} Microsoft ESMTP MAIL Service ready\r\n").as_bytes()).await?;
        if !self.converse(&mut plain).await? {
            return Ok(());
        }
        // what was sent before the handshake is an injection (CVE-2011-0411): drop the peer
        if !plain.buffer().is_empty() {
            return Ok(());
        }
        let tls = tokio::time::timeout(limits::CONNECT, acceptor.accept(plain.into_inner())).await??;
        self.tls = true;
        self.names = self.judge(tls.get_ref().1.peer_certificates().unwrap_or_default());
        self.from = None;
        let mut secure = BufReader::new(tls);
        self.converse(&mut secure).await.map(drop)
    }

    /// S3: the chain must be complete and trusted, in time, and for mail of somebody.
    fn judge(&self, chain: &[CertificateDer<'static>]) -> Vec<String> {
        let Some((leaf, above)) = chain.split_first() else { return Vec::new() };
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(leaf) else { return Vec::new() };
        let mut names: Vec<String> = parsed
            .subject_alternative_name()
            .ok()
            .flatten()
            .map(|s| {
                s.value
                    .general_names
                    .iter()
                    .filter_map(|n| {
                        if let x509_parser::extensions::GeneralName::DNSName(d) = n {
                            Some(d.to_lowercase())
                        } else {
                            None
                        }
                    })
                    .collect()
            })
            .unwrap_or_default();
        if names.is_empty() {
            names.extend(parsed.subject().iter_common_name().filter_map(|c| c.as_str().ok()).map(str::to_lowercase));
        }
        let world = self.transport.world();
        let eku_needed = world.state().switches.require_client_auth_eku;
        let has_eku = parsed.extended_key_usage().ok().flatten().is_some_and(|e| e.value.client_auth || e.value.any);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let Ok(verifier) =
            rustls::client::WebPkiServerVerifier::builder_with_provider(world.pki.roots(), provider).build()
        else {
            return Vec::new();
        };
        let trusted = names.iter().any(|n| {
            let host = n.replace("*.", "any.");
            ServerName::try_from(host).is_ok_and(|name| {
                rustls::client::danger::ServerCertVerifier::verify_server_cert(
                    &*verifier,
                    leaf,
                    above,
                    &name,
                    &[],
                    UnixTime::now(),
                )
                .is_ok()
            })
        });
        if trusted && (!eku_needed || has_eku) { names } else { Vec::new() }
    }

    /// Until QUIT or the end (false), or until STARTTLS was agreed (true).
    async fn converse<S: Stream>(&mut self, io: &mut BufReader<S>) -> std::io::Result<bool> {
        loop {
            let Some(line) = read_line(io).await? else { return Ok(false) };
            match self.command(io, &line).await? {
                Next::Go => {}
                Next::StartTls => return Ok(true),
                Next::Quit => return Ok(false),
            }
        }
    }

    async fn command<S: Stream>(&mut self, io: &mut BufReader<S>, line: &[u8]) -> std::io::Result<Next> {
        let text = String::from_utf8_lossy(line).into_owned();
        let verb = text.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" => self.ehlo(&text),
            "HELO" => {
                self.helo = text[4..].trim().to_owned();
                format!("250 {HOST} Hello [{}]", self.peer.ip())
            }
            "STARTTLS" if self.tls => "503 5.5.1 Bad sequence of commands".into(),
            "STARTTLS" => {
                io.write_all(b"220 2.0.0 SMTP server ready\r\n").await?;
                return Ok(Next::StartTls);
            }
            "MAIL" => self.mail(&text).await,
            "RCPT" => self.rcpt(&text).await,
            "DATA" => return self.data(io).await,
            "BDAT" => return self.bdat(io, &text).await,
            "RSET" => {
                self.reset();
                "250 2.0.0 Resetting".into()
            }
            "XCLIENT" => self.xclient(&text),
            "NOOP" => "250 2.0.0 OK".into(),
            "QUIT" => {
                io.write_all(b"221 2.0.0 Service closing transmission channel\r\n").await?;
                return Ok(Next::Quit);
            }
            _ => "500 5.3.3 Unrecognized command".into(),
        };
        if reply == "drop" {
            return Ok(Next::Quit);
        }
        io.write_all(format!("{reply}\r\n").as_bytes()).await?;
        Ok(Next::Go)
    }

    /// Not Exchange's: how the outside world of this machine, which is all on loopback, comes from anywhere.
    fn xclient(&mut self, text: &str) -> String {
        match text.split_once("ADDR=").and_then(|(_, ip)| ip.trim().parse().ok()) {
            Some(ip) if self.peer.ip().is_loopback() && !self.tls => {
                self.peer.set_ip(ip);
                format!("220 {HOST} Microsoft ESMTP MAIL Service ready")
            }
            _ => "500 5.3.3 Unrecognized command".into(),
        }
    }

    fn reset(&mut self) {
        self.from = None;
        self.tenants.clear();
        self.connector = None;
        self.by_certificate = None;
    }

    fn ehlo(&mut self, text: &str) -> String {
        self.helo = text[4..].trim().to_owned();
        self.reset();
        let size = self.transport.world().state().switches.message_bytes_max;
        let starttls = if self.tls { "" } else { "250-STARTTLS\r\n" };
        format!(
            "250-{HOST} Hello [{}]\r\n250-SIZE {size}\r\n250-PIPELINING\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n{starttls}250-8BITMIME\r\n250-BINARYMIME\r\n250-CHUNKING\r\n250 SMTPUTF8",
            self.peer.ip()
        )
    }

    async fn fault(&self, door: &str, line: &str) -> Option<String> {
        self.struck(door, line).await.map(|fault| fault.answer)
    }

    async fn struck(&self, door: &str, line: &str) -> Option<Fault> {
        let fault: Fault =
            self.transport.world().state().take_fault(door, &format!("{line} peer={}", self.peer.ip()))?;
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        (!fault.answer.is_empty()).then_some(fault)
    }

    async fn mail(&mut self, text: &str) -> String {
        if let Some(answer) = self.fault("smtp_mail", text).await {
            return answer;
        }
        if self.helo.is_empty() {
            return "503 5.5.2 Send hello first".into();
        }
        if self.from.is_some() {
            return "503 5.5.2 Sender already specified".into();
        }
        let Some((address, parameters)) = path(text, "FROM:") else { return "501 5.1.7 Invalid address".into() };
        let mut envelope = Envelope { from: address, ..Envelope::default() };
        let limit = self.transport.world().state().switches.message_bytes_max;
        for parameter in parameters.split_whitespace() {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match key.to_ascii_uppercase().as_str() {
                "SIZE" if value.parse::<usize>().is_ok_and(|n| n > limit) => {
                    return "552 5.3.4 Message size exceeds fixed maximum message size".into();
                }
                "SIZE" => {}
                "BODY" => envelope.body = Some(value.to_ascii_uppercase()),
                "SMTPUTF8" => envelope.smtputf8 = true,
                "RET" => envelope.ret = Some(value.to_owned()),
                "ENVID" => envelope.envid = Some(value.to_owned()),
                "AUTH" => {}
                _ => return "501 5.5.4 Unrecognized parameter".into(),
            }
        }
        if !envelope.from.is_ascii() && !envelope.smtputf8 {
            return "553 5.6.7 Address requires SMTPUTF8".into();
        }
        self.by_certificate = {
            let state = self.transport.world().state();
            by_certificate(&state, &self.names, &fields::domain_of(&envelope.from))
        };
        self.from = Some(envelope);
        "250 2.1.0 Sender OK".into()
    }

    async fn rcpt(&mut self, text: &str) -> String {
        if let Some(answer) = self.fault("smtp_rcpt", text).await {
            return answer;
        }
        let Some(envelope) = &mut self.from else { return "503 5.5.2 Need mail command".into() };
        let Some((address, parameters)) = path(text, "TO:").filter(|(a, _)| a.contains('@')) else {
            return "501 5.1.3 Invalid address".into();
        };
        let domain = fields::domain_of(&address);
        if envelope.recipients.iter().filter(|r| fields::domain_of(&r.address) == domain).count()
            >= limits::RECIPIENTS_PER_DOMAIN_MAX
        {
            return "452 4.5.3 Too many recipients (AS780090) ".trim_end().into();
        }
        let state = self.transport.world().state();
        let placed = place(&state, &self.by_certificate, &self.names, self.peer.ip(), &envelope.from, &address);
        drop(state);
        let (tenant, connector) = match placed {
            Ok(right) => right,
            Err(refused) => return refused,
        };
        let mut recipient = Recipient { address, ..Recipient::default() };
        for parameter in parameters.split_whitespace() {
            match parameter.split_once('=').map(|(k, v)| (k.to_ascii_uppercase(), v)) {
                Some((k, v)) if k == "NOTIFY" => recipient.notify = Some(v.to_owned()),
                Some((k, v)) if k == "ORCPT" => recipient.orcpt = Some(v.to_owned()),
                _ => return "501 5.5.4 Unrecognized parameter".into(),
            }
        }
        self.connector = connector;
        self.tenants.push(tenant);
        envelope.recipients.push(recipient);
        "250 2.1.5 Recipient OK".into()
    }

    fn ready(&self) -> Result<(), &'static str> {
        match &self.from {
            None => Err("503 5.5.2 Need mail command"),
            Some(e) if e.recipients.is_empty() => Err("503 5.5.2 Need rcpt command"),
            Some(_) => Ok(()),
        }
    }

    async fn data<S: Stream>(&mut self, io: &mut BufReader<S>) -> std::io::Result<Next> {
        if let Err(refused) = self.ready() {
            io.write_all(format!("{refused}\r\n").as_bytes()).await?;
            return Ok(Next::Go);
        }
        io.write_all(b"354 Start mail input; end with <CRLF>.<CRLF>\r\n").await?;
        let limit = self.transport.world().state().switches.message_bytes_max;
        let raw = read_data(io, limit).await?;
        self.end(io, raw).await
    }

    async fn bdat<S: Stream>(&mut self, io: &mut BufReader<S>, first: &str) -> std::io::Result<Next> {
        let limit = self.transport.world().state().switches.message_bytes_max;
        let (mut raw, mut line) = (Vec::new(), first.to_owned());
        loop {
            let mut words = line.split_whitespace().skip(1);
            let Some(size) = words.next().and_then(|n| n.parse::<usize>().ok()) else {
                io.write_all(b"501 5.5.4 Invalid arguments\r\n").await?;
                return Ok(Next::Go);
            };
            let last = words.next().is_some_and(|w| w.eq_ignore_ascii_case("LAST"));
            if raw.len() + size > limit {
                io.write_all(b"552 5.3.4 Message size exceeds fixed maximum message size\r\n").await?;
                return Ok(Next::Quit);
            }
            let from = raw.len();
            raw.resize(from + size, 0);
            tokio::time::timeout(limits::IDLE, io.read_exact(&mut raw[from..])).await??;
            if let Err(refused) = self.ready() {
                io.write_all(format!("{refused}\r\n").as_bytes()).await?;
                return Ok(Next::Go);
            }
            if last {
                return self.end(io, Some(raw)).await;
            }
            io.write_all(format!("250 2.0.0 {size} octets received\r\n").as_bytes()).await?;
            let Some(next) = read_line(io).await? else { return Ok(Next::Quit) };
            line = String::from_utf8_lossy(&next).into_owned();
            if !line.to_ascii_uppercase().starts_with("BDAT") {
                io.write_all(b"503 5.5.1 Bad sequence of commands\r\n").await?;
                self.reset();
                return Ok(Next::Go);
            }
        }
    }

    /// The message is complete: the backend takes it, then the frontend says so (F3.11).
    async fn end<S: Stream>(&mut self, io: &mut BufReader<S>, raw: Option<Vec<u8>>) -> std::io::Result<Next> {
        let struck = self.struck("smtp_data", &self.from.as_ref().map(|f| f.from.clone()).unwrap_or_default()).await;
        let envelope = self.from.take().unwrap_or_default();
        let (tenants, connector) = (std::mem::take(&mut self.tenants), self.connector.take());
        let raw = match (&struck, raw) {
            (Some(fault), Some(raw)) if fault.after => {
                self.accept(envelope.clone(), tenants.clone(), connector.clone(), raw);
                None
            }
            (_, raw) => raw,
        };
        let reply = match (struck.map(|fault| fault.answer), raw) {
            (Some(answer), _) if answer == "drop" => return Ok(Next::Quit),
            (Some(answer), _) => answer,
            (None, None) => "552 5.3.4 Message size exceeds fixed maximum message size".into(),
            (None, Some(raw)) => {
                let size = raw.len();
                let id = fields::get(&raw, "Message-ID").unwrap_or_else(|| format!("<{}@{HOST}>", Uuid::new_v4()));
                self.accept(envelope, tenants, connector, raw);
                format!(
                    "250 2.6.0 {id} [InternalId={:014}, Hostname=SIM01MB0001.eurprd01.prod.outlook.com] {size} bytes in 0.001, {size} KB/sec Queued mail for delivery -> 250 2.1.5",
                    Uuid::new_v4().as_u128() % 100_000_000_000_000
                )
            }
        };
        io.write_all(format!("{reply}\r\n").as_bytes()).await?;
        Ok(Next::Go)
    }

    /// One message a tenant, should the recipients belong to several.
    fn accept(&self, envelope: Envelope, tenants: Vec<Uuid>, connector: Option<String>, raw: Vec<u8>) {
        let mut distinct = tenants.clone();
        distinct.sort();
        distinct.dedup();
        for tenant in distinct {
            let recipients = envelope
                .recipients
                .iter()
                .zip(&tenants)
                .filter(|(_, t)| **t == tenant)
                .map(|(r, _)| r.clone())
                .collect();
            let arrived = Arrived {
                tenant,
                envelope: Envelope { recipients, ..envelope.clone() },
                raw: raw.clone(),
                ip: self.peer.ip(),
                helo: self.helo.clone(),
                connector: connector.clone(),
                submitted: false,
            };
            self.transport.take(arrived);
        }
    }
}

/// `MAIL FROM:<a> X=Y` → address without brackets, rest.
fn path(text: &str, word: &str) -> Option<(String, String)> {
    let rest = text.get(5..)?.trim_start();
    if !rest.get(..word.len())?.eq_ignore_ascii_case(word) {
        return None;
    }
    let rest = rest[word.len()..].trim_start().strip_prefix('<')?;
    let mut quoted = false;
    let end = rest.char_indices().find(|(_, c)| {
        if *c == '"' {
            quoted = !quoted;
        }
        *c == '>' && !quoted
    })?;
    Some((rest[..end.0].to_owned(), rest[end.0 + 1..].to_owned()))
}

/// A command line without its CRLF; `None` at the end of the stream.
async fn read_line<S: AsyncBufRead + Unpin>(io: &mut S) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let mut limited =
            (&mut *io).take((limits::COMMAND_OCTETS_MAX - line.len().min(limits::COMMAND_OCTETS_MAX)) as u64);
        let n = tokio::time::timeout(limits::IDLE, limited.read_until(b'\n', &mut line)).await??;
        if n == 0 || line.len() >= limits::COMMAND_OCTETS_MAX {
            return Ok(None);
        }
        if line.ends_with(b"\r\n") {
            line.truncate(line.len() - 2);
            return Ok(Some(line));
        }
    }
}

/// Until CRLF.CRLF and nothing else, dots unstuffed; `None` when it was larger than `limit`.
async fn read_data<S: AsyncBufRead + Unpin>(io: &mut S, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut raw: Vec<u8> = Vec::new();
    let mut too_large = false;
    loop {
        // one line, ended by CRLF; bare LF and bare CR are data
        let mut line = Vec::new();
        loop {
            let n = tokio::time::timeout(limits::IDLE, io.read_until(b'\n', &mut line)).await??;
            if n == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line.ends_with(b"\r\n") || line.len() > limit {
                break;
            }
        }
        if line == b".\r\n" {
            return Ok((!too_large).then_some(raw));
        }
        let content = line.strip_prefix(b".").unwrap_or(&line);
        too_large |= raw.len() + content.len() > limit;
        if !too_large {
            raw.extend_from_slice(content);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn data(bytes: &[u8]) -> Option<String> {
        read_data(&mut BufReader::new(bytes), 1000).await.ok().map(|raw| String::from_utf8(raw.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn only_crlf_dot_crlf_ends_a_message() {
        assert_eq!(data(b".\r\n").await.unwrap(), "");
        assert_eq!(data(b"a\r\n.\r\n").await.unwrap(), "a\r\n");
        assert_eq!(data(b"..a\r\n.\r\n").await.unwrap(), ".a\r\n");
        for inside in ["a\n.\n", "a\n.\r\n", "a\r\n.\n", "a\r\n.\r\r\n", "a\r.\r\n"] {
            let sent = format!("{inside}b\r\n.\r\n");
            let got = data(sent.as_bytes()).await.unwrap();
            assert!(got.ends_with("b\r\n"), "{inside:?} ended the message: {got:?}");
        }
    }
}
