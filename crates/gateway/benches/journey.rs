//! The whole journey of a 20 KB message: over TLS into the gateway, eight steps with a real DKIM verification and the
//! journal on disk, over TLS out to a host that takes everything, and the answer back. Beside it the floor: the same
//! client and the same host with nothing between them. docs/performance.md has the figures.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::KeyPair as _;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mail::{Envelope, Recipient};
use mail_auth::crypto::{RsaKey, Sha256};
use mail_auth::dkim::DkimSigner;
use mail_auth::headers::HeaderWriter;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use smtp::{Connection, Handler, Reply, ServerSettings, Target, serve_connection, tls};
use std::net::SocketAddr;
use std::sync::Arc;
use store::{Store, ZoneRecord};
use tenant::{Direction, MarkSecrets, Policy, ReturnCertificate, Rollout, Routing, Secret, Tenant, TenantId};
use tokio::net::TcpListener;

const ZONE: &str = "bench.example";
const MICROSOFT: &str = "mail.protection.outlook.com";
const MESSAGE_OCTETS: usize = 20 * 1024;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<rustls::RootCertStore>,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "bench root");
        let certificate = params.self_signed(&key).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Authority { issuer: Issuer::new(params, key), roots: Arc::new(roots) }
    }
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// Takes everything, keeps nothing.
struct Sink;

impl Handler for Sink {
    fn secured(&mut self, _: &[CertificateDer<'_>], _: &str) {}
    async fn mail(&mut self, _: &str, _: &Envelope, _: usize) -> Reply {
        Reply::new(250, (2, 1, 0), "Sender OK")
    }
    async fn rcpt(&mut self, _: &Recipient) -> Reply {
        Reply::new(250, (2, 1, 5), "Recipient OK")
    }
    async fn message(&mut self, _: Envelope, raw: Bytes) -> Reply {
        Reply::new(250, (2, 6, 0), format!("{} bytes queued", raw.len()))
    }
}

async fn sink(authority: &Authority) -> SocketAddr {
    let (chain, key) = authority.issue(&format!("mx.{ZONE}"));
    let settings = ServerSettings {
        octets_max: 1 << 26,
        ..ServerSettings::new(format!("mx.{ZONE}"), tls::server_config(&chain, &key).unwrap())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let settings = settings.clone();
            tokio::spawn(async move { serve_connection(tcp, &settings, &mut Sink).await });
        }
    });
    address
}

fn contoso(authority: &Authority) -> Tenant {
    let (chain_pem, key_pem) = authority.issue(&format!("contoso.{ZONE}"));
    Tenant {
        id: TenantId(uuid::Uuid::from_u128(7)),
        label: "contoso".into(),
        display_name: "Contoso".into(),
        initial_domain: "contoso.onmicrosoft.com".into(),
        domains: vec!["contoso.example".into()],
        connector_domain: format!("contoso.{ZONE}"),
        return_host: format!("mx.{ZONE}"),
        pass: MarkSecrets::new(Secret::new("a".repeat(64))),
        route: MarkSecrets::new(Secret::new("b".repeat(64))),
        certificate: ReturnCertificate { chain_pem, key_pem: Secret::new(key_pem) },
        policy: Policy::default(),
        routing: Routing::Proven,
        rollout: Rollout::default(),
        closed: Vec::new(),
    }
}

/// Text, HTML and an attachment, DKIM-signed by its sender, with the fields of Exchange Online's first pass on top.
fn message(tenant: &Tenant, key: Vec<u8>) -> Vec<u8> {
    let attachment = STANDARD.encode(vec![0x5a; (MESSAGE_OCTETS - 3500) * 3 / 4 * 76 / 78]);
    let lines: String =
        attachment.as_bytes().chunks(76).map(|l| format!("{}\r\n", String::from_utf8_lossy(l))).collect();
    let raw = format!(
        "From: Pat Partner <pat@{ZONE}>\r\nTo: Anna <anna@contoso.example>\r\nSubject: Figures of the quarter\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <bench@{ZONE}>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Please find <a href=\"https://www.{ZONE}/q\">the figures</a> attached.</p>\r\n{}--b\r\nContent-Type: application/octet-stream; name=figures.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n{lines}--b--\r\n",
        "<p>The same as every quarter, with the new department.</p>\r\n".repeat(20)
    );
    let key = RsaKey::<Sha256>::from_key_der(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key))).unwrap();
    let signature = DkimSigner::from_key(key)
        .domain(ZONE)
        .selector("s1")
        .headers(["From", "To", "Subject", "Date"])
        .sign(raw.as_bytes())
        .unwrap()
        .to_header();
    let route = tenant.route_token(Direction::Inbound);
    let id = tenant.id;
    format!("X-MS-Exchange-CrossTenant-Id: {id}\r\nX-Posthouse-Route: {route}\r\nX-Forefront-Antispam-Report: CIP:127.0.0.1;SCL:1;SFV:NSPM;DIR:INB;\r\nAuthentication-Results: spf=pass (sender IP is 127.0.0.1) smtp.mailfrom={ZONE}; dkim=pass (signature was verified) header.d={ZONE};dmarc=pass action=none header.from={ZONE};compauth=pass reason=100\r\n{signature}{raw}").into_bytes()
}

/// One open connection as Exchange Online would keep it.
async fn exchange(authority: &Authority, address: SocketAddr, name: &str) -> Connection {
    let (chain, key) = authority.issue(MICROSOFT);
    let tls = tls::client_config(authority.roots.clone(), Some((&chain, &key))).unwrap();
    Connection::open(&Target { address, server_name: name.into(), helo: "exo.example".into(), source: None, tls })
        .await
        .unwrap()
}

struct World {
    gateway: SocketAddr,
    sink: SocketAddr,
    authority: Authority,
    raw: Vec<u8>,
    store: Store,
    _dir: tempfile::TempDir,
    _running: gateway::Running,
}

async fn world() -> World {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let (store, sink) = (Store::open(dir.path()).await.unwrap(), sink(&authority).await);
    let tenant = contoso(&authority);
    store.put_tenant(&tenant).await.unwrap();
    let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let public: aws_lc_rs::encoding::PublicKeyX509Der<'static> = key.public_key().as_der().unwrap();
    let private: aws_lc_rs::encoding::Pkcs8V1Der<'static> = key.as_der().unwrap();
    for (name, kind, value) in [
        (format!("mx.{ZONE}"), "A", "127.0.0.1".to_owned()),
        (format!("s1._domainkey.{ZONE}"), "TXT", format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(public.as_ref()))),
    ] {
        store.put_zone_record(&ZoneRecord { tenant: None, name, kind: kind.into(), value }).await.unwrap();
    }
    let raw = message(&tenant, private.as_ref().to_vec());
    // the zone's own DNS server answers the gateway too; its port has to be known before
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (chain_pem, key_pem) = authority.issue("gw.example");
    let settings = gateway::Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        hostname: "gw.example".into(),
        chain_pem,
        key_pem: Secret::new(key_pem),
        roots: authority.roots.clone(),
        microsoft_names: vec![MICROSOFT.into()],
        microsoft_ranges: vec!["127.0.0.0/8".parse().unwrap()],
        resolver: Some(port),
        return_port: sink.port(),
        binarymime: false,
        egress_address: None,
        public_address: None,
        zone: ZONE.into(),
        dns_listen: Some(port),
        budget: std::time::Duration::from_secs(20),
        arc: None,
        classifier: None,
        engines: vec![],
        lists: vec![],
        lists_dir: std::path::PathBuf::new(),
        web: None,
    };
    let running = gateway::start(settings, store.clone()).await.unwrap();
    World { gateway: running.smtp_address, sink, authority, raw, store, _dir: dir, _running: running }
}

fn journey(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(world());
    let envelope = Envelope::new(format!("pat@{ZONE}"), ["anna@contoso.example"]);
    let proven = runtime.block_on(async {
        let said =
            exchange(&world.authority, world.gateway, "gw.example").await.send(&envelope, &world.raw).await.unwrap();
        assert!(said.of(0).is_success(), "{}", said.of(0));
        world.store.journeys(&store::JourneyFilter::default()).await.unwrap()
    });
    assert!(
        proven[0].proofs.own.iter().any(|p| p.method == "dkim" && p.result == "pass"),
        "the benchmark's DKIM signature does not verify: {:?}",
        proven[0].proofs
    );
    assert!((19_000..22_000).contains(&world.raw.len()), "the message has {} octets", world.raw.len());
    let mut group = criterion.benchmark_group("a message of 20 KB");
    group.throughput(Throughput::Elements(1));
    for (name, address, host) in
        [("floor, no gateway", world.sink, format!("mx.{ZONE}")), ("journey", world.gateway, "gw.example".to_owned())]
    {
        let connection =
            Arc::new(tokio::sync::Mutex::new(runtime.block_on(exchange(&world.authority, address, &host))));
        group.bench_function(BenchmarkId::new(name, "one after the other"), |bench| {
            bench.to_async(&runtime).iter(|| async {
                let said = connection.lock().await.send(&envelope, &world.raw).await.unwrap();
                assert!(said.of(0).is_success());
            });
        });
    }
    group.throughput(Throughput::Elements(CONNECTIONS as u64));
    for (name, address, host) in
        [("floor, no gateway", world.sink, format!("mx.{ZONE}")), ("journey", world.gateway, "gw.example".to_owned())]
    {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Arc::new(tokio::sync::Mutex::new(runtime.block_on(exchange(
                &world.authority,
                address,
                &host,
            )))));
        }
        let (envelope, raw) = (Arc::new(envelope.clone()), Arc::new(world.raw.clone()));
        group.bench_function(BenchmarkId::new(name, format!("{CONNECTIONS} connections")), |bench| {
            bench.to_async(&runtime).iter(|| async {
                let mut under_way = tokio::task::JoinSet::new();
                for connection in &connections {
                    let (connection, envelope, raw) = (connection.clone(), envelope.clone(), raw.clone());
                    under_way.spawn(async move {
                        connection.lock().await.send(&envelope, &raw).await.unwrap().of(0).is_success()
                    });
                }
                while let Some(taken) = under_way.join_next().await {
                    assert!(taken.unwrap());
                }
            });
        });
    }
    group.finish();
}

/// As many as Exchange Online may open to a small gateway.
const CONNECTIONS: usize = 16;

criterion_group!(benches, journey);
criterion_main!(benches);
