//! Client and server over a real socket with real TLS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use mail::{Envelope, Recipient};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use smtp::{ClientError, Connection, Handler, Reply, ServerSettings, Target, serve_connection, tls};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<rustls::RootCertStore>,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test root");
        let certificate = params.self_signed(&key).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Authority { issuer: Issuer::new(params, key), roots: Arc::new(roots) }
    }

    /// A leaf with the serverAuth purpose only, as public authorities issue them.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// Remembers what came; refuses recipients that begin with `no`.
#[derive(Clone, Default)]
struct Keeper {
    messages: Arc<Mutex<Vec<(Envelope, Bytes)>>>,
    chain: Arc<Mutex<Vec<CertificateDer<'static>>>>,
}

impl Handler for Keeper {
    fn secured(&mut self, chain: &[CertificateDer<'_>], _: &str) {
        *self.chain.lock().unwrap() = chain.iter().map(|c| c.clone().into_owned()).collect();
    }
    async fn mail(&mut self, _: &str, _: &Envelope, _: usize) -> Reply {
        Reply::new(250, (2, 1, 0), "yes")
    }
    async fn rcpt(&mut self, recipient: &Recipient) -> Reply {
        if recipient.address.starts_with("no") {
            Reply::new(550, (5, 1, 1), "no")
        } else {
            Reply::new(250, (2, 1, 5), "yes")
        }
    }
    async fn message(&mut self, envelope: Envelope, raw: Bytes) -> Reply {
        self.messages.lock().unwrap().push((envelope, raw));
        Reply::new(250, (2, 6, 0), "taken")
    }
}

async fn server(authority: &Authority) -> (std::net::SocketAddr, Keeper) {
    let (chain, key) = authority.issue("mx.example");
    let settings = ServerSettings {
        hostname: "mx.example".into(),
        octets_max: 1 << 20,
        tls: tls::server_config(&chain, &key).unwrap().into(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, keeper) = (listener.local_addr().unwrap(), Keeper::default());
    let kept = keeper.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (settings, mut keeper) = (settings.clone(), kept.clone());
            tokio::spawn(async move { serve_connection(tcp, &settings, &mut keeper).await });
        }
    });
    (address, keeper)
}

fn target(authority: &Authority, address: std::net::SocketAddr, name: &str, identity: Option<(&str, &str)>) -> Target {
    Target {
        address,
        server_name: name.into(),
        helo: "gw.example".into(),
        source: None,
        tls: tls::client_config(authority.roots.clone(), identity).unwrap(),
    }
}

/// A port on which nobody listens, a host that takes the connection and never greets, one with a wrong name, the right one.
#[tokio::test]
async fn the_first_address_that_takes_us_is_used() {
    let authority = Authority::new();
    let (right, keeper) = server(&authority).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let to = |address| target(&authority, address, "mx.example", None);
    let targets = [to(refused), to(silent.local_addr().unwrap()), to(right)];
    let began = std::time::Instant::now();
    let mut connection = Connection::open_first(&targets).await.unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    connection.send(&Envelope::new("a@b.example", ["c@d.example"]), b"x").await.unwrap();
    assert_eq!(keeper.messages.lock().unwrap().len(), 1);
    let wrong = target(&authority, right, "other.example", None);
    assert!(Connection::open_first(&[wrong.clone(), to(right)]).await.is_ok(), "a wrong name makes way");
    assert!(matches!(Connection::open_first(&[to(refused), wrong]).await, Err(Some(_))));
    assert!(matches!(Connection::open_first(&[]).await, Err(None)));
}

#[tokio::test]
async fn any_octets_arrive_as_they_left() {
    let authority = Authority::new();
    let (address, keeper) = server(&authority).await;
    let mut connection = Connection::open(&target(&authority, address, "mx.example", None)).await.unwrap();
    let messages: [&[u8]; 8] = [
        b"",
        b"x",
        b"A: b\r\n\r\n.\r\n..\r\nend\r\n",
        b"bare\nLF\n.\n",
        b"bare\rCR\r.\r",
        b"\0",
        b"\r\n.\r\nMAIL FROM:<evil@example>\r\n",
        b"no line end",
    ];
    for raw in messages {
        let mut envelope = Envelope::new("a@b.example", ["c@d.example", "no@d.example"]);
        envelope.envid = Some("id".into());
        envelope.recipients[0].notify = Some("NEVER".into());
        let delivery = connection.send(&envelope, raw).await.unwrap();
        assert_eq!((delivery.of(0).code, delivery.of(1).code), (250, 550));
        let (taken, octets) = keeper.messages.lock().unwrap().pop().unwrap();
        assert_eq!(octets, raw);
        assert_eq!((taken.envid, taken.recipients), (envelope.envid, envelope.recipients[..1].to_vec()));
    }
    let delivery = connection.send(&Envelope::new("a@b.example", ["no@d.example"]), b"x").await.unwrap();
    assert!(delivery.data.is_none() && delivery.of(0).code == 550);
    assert!(connection.send(&Envelope::new("", ["c@d.example"]), b"after a refusal").await.unwrap().of(0).is_success());
    let many = Envelope::new("a@b.example", (0..1500).map(|n| format!("user{n}@d.example")));
    assert!(connection.send(&many, b"many").await.unwrap().of(1499).is_success());
    connection.quit().await;
}

#[tokio::test]
async fn both_sides_prove_their_names() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (address, keeper) = server(&authority).await;
    let wrong_name = Connection::open(&target(&authority, address, "other.example", None)).await;
    assert!(matches!(wrong_name, Err(ClientError::Tls { .. })));
    let wrong_root = Connection::open(&target(&other, address, "mx.example", None)).await;
    assert!(matches!(wrong_root, Err(ClientError::Tls { .. })));
    let names = ["mail.example".to_owned()];
    for (identity, proven) in [
        (Some(authority.issue("mail.example")), true),
        (Some(authority.issue("evil.example")), false),
        (Some(other.issue("mail.example")), false),
        (None, false),
    ] {
        let identity = identity.as_ref().map(|(chain, key)| (chain.as_str(), key.as_str()));
        let mut connection = Connection::open(&target(&authority, address, "mx.example", identity)).await.unwrap();
        connection.send(&Envelope::new("", ["c@d.example"]), b"").await.unwrap();
        let chain = std::mem::take(&mut *keeper.chain.lock().unwrap());
        assert_eq!(tls::ClientJudge::new(authority.roots.clone()).unwrap().judge(&chain, &names).is_ok(), proven);
    }
}

#[tokio::test]
async fn commands_before_the_handshake_are_not_taken_for_ones_after_it() {
    let authority = Authority::new();
    let (address, _) = server(&authority).await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@example>\r\n").await.unwrap();
    let mut said = String::new();
    let _ = tcp.read_to_string(&mut said).await;
    assert!(!said.contains("220 2.0.0") && said.contains("STARTTLS"), "{said}");
}
