//! Exchange Online as an SMTP client (transport.md S45, S46).

use super::limits;
use super::pipeline::Envelope;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

/// How to talk to one host.
pub struct Target {
    pub address: SocketAddr,
    pub host: String,
    pub source: Option<IpAddr>,
    /// What the host shall take for our address; only the simulator's own MX obeys (Postfix's XCLIENT).
    pub appears_as: Option<IpAddr>,
    pub helo: String,
    pub tls: Tls,
    pub use_bdat: bool,
    pub end_of_data: Duration,
}

/// What TLS has to prove.
#[derive(Clone)]
pub enum Tls {
    Never,
    /// Used when offered, nothing is verified.
    Opportunistic,
    /// Mandatory; the chain is verified by these roots, and the name when one is given.
    Required {
        roots: Arc<RootCertStore>,
        verify_chain: bool,
        name: Option<String>,
        client: Option<(Vec<CertificateDer<'static>>, Arc<PrivateKeyDer<'static>>)>,
    },
}

/// What the host said.
#[derive(Debug, Default)]
pub struct Said {
    /// One reply a recipient, in order.
    pub recipients: Vec<String>,
    pub data: Option<String>,
}

#[derive(Debug)]
struct AcceptAny(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(m, c, d, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(m, c, d, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}
type Io = BufReader<Box<dyn Stream>>;

/// Delivers one message; `Err` is a fault of the connection, in Exchange's words.
pub async fn send(target: &Target, envelope: &Envelope, raw: &[u8]) -> Result<Said, String> {
    let socket = match target.address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(|e| e.to_string())?;
    if let Some(source) = target.source {
        socket.bind(SocketAddr::new(source, 0)).map_err(|e| format!("source address {source}: {e}"))?;
    }
    let connected = tokio::time::timeout(limits::CONNECT, socket.connect(target.address))
        .await
        .map_err(|_| "450 4.4.315 Connection timed out".to_owned())?;
    let tcp = connected.map_err(|_| format!("450 4.4.316 Connection refused [Message=Socket error code 10061] [LastAttemptedServerName={}] [LastAttemptedIP={}]", target.host, target.address))?;
    let _ = tcp.set_nodelay(true);
    let mut io: Io = BufReader::new(Box::new(tcp));
    expect(&mut io, '2', limits::CONNECT).await?;
    if let Some(ip) = target.appears_as {
        let said = command(&mut io, &format!("XCLIENT ADDR={ip}")).await?;
        if !said.starts_with('2') {
            return Err(said);
        }
    }
    let mut offered = ehlo(&mut io, &target.helo).await?;
    let starttls = offered.iter().any(|l| l.eq_ignore_ascii_case("STARTTLS"));
    let wanted = !matches!(target.tls, Tls::Never);
    if wanted && starttls {
        command(&mut io, "STARTTLS").await.and_then(|r| {
            if r.starts_with('2') {
                Ok(r)
            } else {
                Err(format!("450 4.4.317 Cannot connect to remote server [Message={r}]"))
            }
        })?;
        io = BufReader::new(secure(target, io).await?);
        offered = ehlo(&mut io, &target.helo).await?;
    } else if matches!(target.tls, Tls::Required { .. }) {
        return Err(
            "450 4.4.317 Cannot connect to remote server [Message=451 5.7.3 STARTTLS is required to send mail]".into(),
        );
    }
    let said = transaction(&mut io, target, &offered, envelope, raw).await;
    let _ = io.write_all(b"QUIT\r\n").await;
    said
}

async fn secure(target: &Target, io: Io) -> Result<Box<dyn Stream>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider.clone())));
    let mut config = match &target.tls {
        Tls::Required { client: Some((chain, key)), .. } => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(|e| e.to_string())?
        }
        _ => builder.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    let name = ServerName::try_from(target.host.clone()).unwrap_or(ServerName::IpAddress(target.address.ip().into()));
    let fault = |why: String| {
        format!(
            "450 4.4.317 Cannot connect to remote server [Message={why}] [LastAttemptedServerName={}] [LastAttemptedIP={}] [SmtpSecurity=-1;-1]",
            target.host, target.address
        )
    };
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, io.into_inner());
    let tls = tokio::time::timeout(limits::CONNECT, handshake)
        .await
        .map_err(|_| fault("TLS handshake timed out".into()))?
        .map_err(|e| fault(format!("TLS handshake failed: {e}")))?;
    if let Tls::Required { roots, verify_chain, name, .. } = &target.tls {
        judge(tls.get_ref().1.peer_certificates().unwrap_or_default(), roots, *verify_chain, name.as_deref(), provider)
            .map_err(fault)?;
    }
    Ok(Box::new(tls))
}

fn judge(
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    verify_chain: bool,
    name: Option<&str>,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<(), String> {
    let Some((leaf, above)) = chain.split_first() else { return Err("no certificate was presented".into()) };
    if !verify_chain {
        return Ok(());
    }
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.clone(), provider)
        .build()
        .map_err(|e| e.to_string())?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).map_err(|e| e.to_string())?;
    let subject = parsed.subject().to_string();
    let sans: Vec<String> = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|s| {
            s.value
                .general_names
                .iter()
                .filter_map(|n| {
                    if let x509_parser::extensions::GeneralName::DNSName(d) = n { Some(d.to_lowercase()) } else { None }
                })
                .collect()
        })
        .unwrap_or_default();
    let matches = |pattern: &str| {
        sans.iter().any(|s| {
            *s == pattern.to_lowercase()
                || pattern.strip_prefix("*.").is_some_and(|suffix| s.ends_with(&format!(".{suffix}")))
                || s.strip_prefix("*.")
                    .is_some_and(|suffix| pattern.split_once('.').is_some_and(|(_, rest)| rest == suffix))
        })
    };
    if let Some(expected) = name
        && !matches(expected)
    {
        return Err(format!(
            "SubjectMismatch Expected Subject: {expected}. Presented Subject: {subject}. Thumbprint:{}",
            thumbprint(leaf)
        ));
    }
    let any = sans.first().map(|s| s.replace("*.", "any.")).unwrap_or_default();
    let any = ServerName::try_from(any).map_err(|_| format!("the certificate names no host: {subject}"))?;
    rustls::client::danger::ServerCertVerifier::verify_server_cert(&*verifier, leaf, above, &any, &[], UnixTime::now())
        .map(drop)
        .map_err(|e| format!("UntrustedRoot or invalid chain: {e}. Presented Subject: {subject}"))
}

fn thumbprint(der: &[u8]) -> String {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der)
        .as_ref()
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect()
}

async fn transaction(
    io: &mut Io,
    target: &Target,
    offered: &[String],
    envelope: &Envelope,
    raw: &[u8],
) -> Result<Said, String> {
    let has = |word: &str| offered.iter().any(|l| l.split(' ').next().is_some_and(|w| w.eq_ignore_ascii_case(word)));
    let needs_utf8 =
        envelope.smtputf8 || !envelope.from.is_ascii() || envelope.recipients.iter().any(|r| !r.address.is_ascii());
    if needs_utf8 && !has("SMTPUTF8") {
        return Ok(Said {
            recipients: envelope
                .recipients
                .iter()
                .map(|_| "550 5.6.7 SMTPUTF8 is not supported by the next host".to_owned())
                .collect(),
            data: None,
        });
    }
    let mut mail = format!("MAIL FROM:<{}>", envelope.from);
    if has("SIZE") {
        mail += &format!(" SIZE={}", raw.len());
    }
    if has("8BITMIME") && (envelope.body.is_some() || !raw.is_ascii()) {
        mail += " BODY=8BITMIME";
    }
    if needs_utf8 {
        mail += " SMTPUTF8";
    }
    let dsn = has("DSN");
    if dsn {
        mail += &envelope.ret.as_ref().map(|r| format!(" RET={r}")).unwrap_or_default();
        mail += &envelope.envid.as_ref().map(|e| format!(" ENVID={e}")).unwrap_or_default();
    }
    let sender = command(io, &mail).await?;
    if !sender.starts_with('2') {
        return Ok(Said { recipients: envelope.recipients.iter().map(|_| sender.clone()).collect(), data: None });
    }
    let mut said = Said::default();
    for r in &envelope.recipients {
        let mut rcpt = format!("RCPT TO:<{}>", r.address);
        if dsn {
            rcpt += &r.notify.as_ref().map(|n| format!(" NOTIFY={n}")).unwrap_or_default();
            rcpt += &r.orcpt.as_ref().map(|o| format!(" ORCPT={o}")).unwrap_or_default();
        }
        said.recipients.push(command(io, &rcpt).await?);
    }
    if !said.recipients.iter().any(|r| r.starts_with('2')) {
        return Ok(said);
    }
    if target.use_bdat && has("CHUNKING") {
        io.write_all(format!("BDAT {} LAST\r\n", raw.len()).as_bytes()).await.map_err(dropped)?;
        io.write_all(raw).await.map_err(dropped)?;
    } else {
        let go = command(io, "DATA").await?;
        if !go.starts_with('3') {
            said.data = Some(go);
            return Ok(said);
        }
        io.write_all(&stuffed(raw)).await.map_err(dropped)?;
    }
    said.data = Some(reply(io, target.end_of_data).await?);
    Ok(said)
}

/// RFC 5321 §4.5.2; only lines that end in CRLF are lines.
fn stuffed(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 16);
    let mut start = true;
    for (n, byte) in raw.iter().enumerate() {
        if start && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        start = *byte == b'\n' && n > 0 && raw[n - 1] == b'\r';
    }
    if !out.ends_with(b"\r\n") && !out.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

fn dropped(_: std::io::Error) -> String {
    "450 4.4.318 Connection was closed abruptly (SuspiciousRemoteServerError)".into()
}

async fn command(io: &mut Io, line: &str) -> Result<String, String> {
    io.write_all(format!("{line}\r\n").as_bytes()).await.map_err(dropped)?;
    reply(io, limits::COMMAND).await
}

async fn ehlo(io: &mut Io, helo: &str) -> Result<Vec<String>, String> {
    io.write_all(format!("EHLO {helo}\r\n").as_bytes()).await.map_err(dropped)?;
    let said = reply(io, limits::COMMAND).await?;
    if !said.starts_with('2') {
        return Err(format!("450 4.4.318 EHLO was refused: {said}"));
    }
    Ok(said.split('\n').skip(1).map(str::to_owned).collect())
}

async fn expect(io: &mut Io, class: char, within: Duration) -> Result<String, String> {
    let said = reply(io, within).await?;
    if said.starts_with(class) { Ok(said) } else { Err(format!("450 4.4.318 {said}")) }
}

/// A whole reply: first line with its code, further lines without.
async fn reply(io: &mut Io, within: Duration) -> Result<String, String> {
    let mut out = String::new();
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut *io).take(limits::COMMAND_OCTETS_MAX as u64);
        let n = tokio::time::timeout(within, limited.read_until(b'\n', &mut line))
            .await
            .map_err(|_| "450 4.4.315 Connection timed out waiting for a reply".to_owned())?
            .map_err(dropped)?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if n == 0 || text.len() < 3 {
            return Err("450 4.4.318 Connection was closed abruptly (SuspiciousRemoteServerError)".into());
        }
        if out.is_empty() {
            out = text.clone();
            out.replace_range(3..text.len().min(4), " ");
        } else {
            out += "\n";
            out += text.get(4..).unwrap_or_default();
        }
        if text.as_bytes().get(3) != Some(&b'-') {
            return Ok(out);
        }
    }
}
