//! TLS 1.2 lets a client ask for a new handshake within the old one; each costs the server a signature (CVE-2011-1473). No
//! client library of ours can ask, so the records are sealed here with the keys of a real session.

use crate::Server;
use crate::peers::start_tls;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ClientConfig, ConnectionTrafficSecrets};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

// kinds of records (RFC 5246 §6.2.1)
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION: u8 = 23;
const TRIES: usize = 50;

/// A ClientHello that asks for TLS 1.2 and nothing else (RFC 5246 §7.4.1.2).
fn client_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // no session id, one cipher suite (ECDHE-ECDSA-AES256-GCM-SHA384), no compression
    body.extend([0, 0, 2, 0xc0, 0x2c, 1, 0]);
    let mut hello = vec![1, 0, 0, u8::try_from(body.len()).unwrap()];
    hello.extend(body);
    hello
}

/// Seals records as the session would have gone on to do.
struct Sealer {
    key: LessSafeKey,
    salt: [u8; 4],
    sequence: u64,
}

impl Sealer {
    /// RFC 5288 §3: four octets of the nonce are of the key block, eight travel along.
    fn record(&mut self, kind: u8, plain: &[u8]) -> Vec<u8> {
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        let nonce: [u8; 12] = [&self.salt[..], &sequence].concat().try_into().unwrap();
        let length = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
        let aad = [&sequence[..], &[kind, 3, 3], &length(plain.len())].concat();
        let mut sealed = plain.to_vec();
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut sealed).unwrap();
        [&[kind, 3, 3][..], &length(sealed.len() + 8), &sequence, &sealed].concat()
    }
}

pub async fn is_refused(server: &Server) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(server.authority.roots.clone())
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    let connector = TlsConnector::from(Arc::new(config));
    let tls = connector.connect("mx.example".try_into().unwrap(), start_tls(server).await).await.unwrap();
    let (mut tcp, session) = tls.into_inner();
    let (sequence, secrets) = session.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("another cipher was agreed") };
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
    let mut sealer = Sealer { key, salt: iv.as_ref()[..4].try_into().unwrap(), sequence };

    // the first is refused with a warning, and the session goes on: NOOP is answered
    let first = [sealer.record(HANDSHAKE, &client_hello()), sealer.record(APPLICATION, b"NOOP\r\n")].concat();
    tcp.write_all(&first).await.unwrap();
    assert_eq!([kind_of_next(&mut tcp).await, kind_of_next(&mut tcp).await], [Some(ALERT), Some(APPLICATION)]);

    // who goes on asking is let go, without a handshake
    for _ in 0..TRIES {
        if tcp.write_all(&sealer.record(HANDSHAKE, &client_hello())).await.is_err() {
            break;
        }
    }
    let mut kinds = Vec::new();
    while let Some(kind) = kind_of_next(&mut tcp).await {
        kinds.push(kind);
    }
    println!("{TRIES} renegotiations more were answered with records {kinds:?} and the end");
    assert!(kinds.iter().all(|k| *k == ALERT) && kinds.len() < 5, "{kinds:?}");
}

/// `None` when the server has ended it.
async fn kind_of_next(tcp: &mut TcpStream) -> Option<u8> {
    let record = async {
        let mut head = [0; 5];
        tcp.read_exact(&mut head).await.ok()?;
        let mut rest = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        tcp.read_exact(&mut rest).await.ok()?;
        Some(head[0])
    };
    tokio::time::timeout(crate::PATIENCE.command * 2, record).await.expect("an answer or the end")
}
