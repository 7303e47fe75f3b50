//! What the peers do.

use crate::{PATIENCE, Server};
use smtp::tls;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Long enough for whatever the server does by its own clock, on a busy machine.
const WAIT: Duration = Duration::from_secs(60);

/// Reads until the text is there.
pub async fn until(io: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut heard = Vec::new();
    let read = async {
        let mut piece = [0; 1024];
        while !String::from_utf8_lossy(&heard).contains(text) {
            match io.read(&mut piece).await {
                Ok(n) if n > 0 => heard.extend_from_slice(&piece[..n]),
                _ => break,
            }
        }
    };
    let _ = tokio::time::timeout(WAIT, read).await;
    let heard = String::from_utf8_lossy(&heard).into_owned();
    assert!(heard.contains(text), "heard {heard:?} instead of {text:?}");
    heard
}

/// Everything until the server ends it; an error counts as an end.
async fn rest(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut heard = Vec::new();
    tokio::time::timeout(WAIT, io.read_to_end(&mut heard)).await.expect("the server lets go").ok();
    String::from_utf8_lossy(&heard).into_owned()
}

async fn greeted(address: SocketAddr) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    until(&mut tcp, "220 mx.example").await;
    tcp
}

pub async fn idle(server: &Server, many: usize) -> Vec<TcpStream> {
    let mut crowd = Vec::with_capacity(many);
    while crowd.len() < many {
        // not more at once than the queue of a listening socket holds
        let mut some = JoinSet::new();
        (0..100.min(many - crowd.len())).for_each(|_| drop(some.spawn(greeted(server.address))));
        crowd.extend(some.join_all().await);
    }
    crowd
}

pub async fn half_a_line(mut crowd: Vec<TcpStream>) -> Vec<TcpStream> {
    for tcp in &mut crowd {
        tcp.write_all(b"EHLO nobody\r\nMAIL FROM:<").await.unwrap();
    }
    for tcp in &mut crowd {
        until(tcp, "250 STARTTLS\r\n").await;
    }
    crowd
}

pub async fn are_let_go(crowd: Vec<TcpStream>, said: &'static str) {
    let mut all = JoinSet::new();
    for mut tcp in crowd {
        all.spawn(async move { assert_eq!(rest(&mut tcp).await.trim_end(), said) });
    }
    all.join_all().await;
}

const ENVELOPE: &[u8] = b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";

/// An octet at a time keeps every single time-out, and not the rate.
pub async fn drop_by_drop(address: SocketAddr, many: usize) {
    let mut all = JoinSet::new();
    for _ in 0..many {
        all.spawn(async move {
            let tcp = greeted(address).await;
            let (mut read, mut write) = tcp.into_split();
            write.write_all(&[ENVELOPE, b"DATA\r\n"].concat()).await.unwrap();
            until(&mut read, "354").await;
            let dripping = tokio::spawn(async move {
                let mut pace = tokio::time::interval(PATIENCE.data / 20);
                while write.write_all(b"x").await.is_ok() {
                    pace.tick().await;
                }
            });
            assert_eq!(rest(&mut read).await, "421 4.4.2 Waited too long\r\n");
            dripping.abort();
        });
    }
    all.join_all().await;
}

/// Commands whose answers nobody reads: when the buffers of both systems are full, the server waits as long as its patience
/// says, and ends it.
pub async fn never_reading(address: SocketAddr, many: usize) {
    let recipients = b"RCPT TO:<c@d.example>\r\n".repeat(smtp::limits::RECIPIENTS_MAX);
    let flood = [b"MAIL FROM:<a@b.example>\r\n", recipients.as_slice(), b"RSET\r\n"].concat();
    let mut all = JoinSet::new();
    for _ in 0..many {
        let flood = flood.clone();
        all.spawn(async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let mut tcp = socket.connect(address).await.unwrap();
            let began = Instant::now();
            tcp.write_all(b"EHLO x\r\n").await.unwrap();
            let writing = async { while tcp.write_all(&flood).await.is_ok() {} };
            tokio::time::timeout(WAIT, writing).await.expect("the server lets go");
            assert!(began.elapsed() >= PATIENCE.write, "it waited for us: {:?}", began.elapsed());
        });
    }
    all.join_all().await;
}

pub async fn endless_lines(server: &Server, many: usize) {
    let mut all = JoinSet::new();
    for _ in 0..many {
        let address = server.address;
        all.spawn(async move {
            let (mut read, mut write) = greeted(address).await.into_split();
            let writing = tokio::spawn(async move { while write.write_all(&[b'x'; 1000]).await.is_ok() {} });
            assert_eq!(rest(&mut read).await, "500 5.5.2 Line too long\r\n");
            writing.await.unwrap();
        });
    }
    all.join_all().await;
}

/// Lines without sense, each with other octets.
pub async fn garbage(server: &Server, many: usize) {
    let mut all = JoinSet::new();
    for n in 0..many {
        let address = server.address;
        all.spawn(async move {
            let mut tcp = greeted(address).await;
            let mut octet = u8::try_from(n % 256).unwrap();
            let mut noise = move || {
                octet = octet.wrapping_mul(5).wrapping_add(113);
                octet
            };
            for _ in 0..30 {
                let line: Vec<u8> = std::iter::repeat_with(&mut noise).filter(|b| *b != b'\n').take(40).collect();
                if tcp.write_all(&[line.as_slice(), b"\r\n"].concat()).await.is_err() {
                    break;
                }
            }
            let said = rest(&mut tcp).await;
            assert!(said.lines().all(|l| l.starts_with("500 ") || l == "421 4.7.0 Too many errors"), "{said}");
        });
    }
    all.join_all().await;
}

pub async fn start_tls(server: &Server) -> TcpStream {
    let mut tcp = greeted(server.address).await;
    tcp.write_all(b"EHLO x\r\n").await.unwrap();
    until(&mut tcp, "250 STARTTLS\r\n").await;
    tcp.write_all(b"STARTTLS\r\n").await.unwrap();
    until(&mut tcp, "220 2.0.0 Ready\r\n").await;
    tcp
}

/// STARTTLS, and then nothing, half a record, or no TLS at all.
pub async fn silent_handshakes(server: &Server, many: usize) {
    let begins: [&[u8]; 4] = [b"", b"\x16\x03\x01\x02\x00\x01", b"EHLO x\r\n", b"\x16\x03\x01\xff\xff"];
    let mut crowd = Vec::new();
    for n in 0..many {
        let mut tcp = start_tls(server).await;
        tcp.write_all(begins[n % begins.len()]).await.unwrap();
        crowd.push(tcp);
    }
    for mut tcp in crowd {
        let said = rest(&mut tcp).await;
        assert!(!said.contains("250"), "{said}");
    }
}

async fn tls_over<S: AsyncRead + AsyncWrite + Unpin>(server: &Server, io: S) -> TlsStream<S> {
    let config = tls::client_config(server.authority.roots.clone(), None).unwrap();
    TlsConnector::from(config).connect("mx.example".try_into().unwrap(), io).await.unwrap()
}

/// Each octet in a record of its own: slow, and right.
pub async fn tiny_records(server: &Server) {
    let mut tls = tls_over(server, start_tls(server).await).await;
    let message = b"BDAT 1000 LAST\r\n".iter().chain(&[b'x'; 1000]);
    for octet in ENVELOPE.iter().chain(message) {
        tls.write_all(&[*octet]).await.unwrap();
        tls.flush().await.unwrap();
    }
    until(&mut tls, "250 2.6.0 taken\r\n").await;
}

/// The handshake too, in segments of one octet.
pub async fn octet_by_octet(server: &Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, tcp) = (TcpStream::connect(listener.local_addr().unwrap()).await.unwrap(), start_tls(server).await);
    let (far, _) = listener.accept().await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let (mut from_us, mut to_us) = far.into_split();
    let (mut from_server, mut to_server) = tcp.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_us).await });
    let there = tokio::spawn(async move {
        while let Ok(octet) = from_us.read_u8().await {
            to_server.write_u8(octet).await.unwrap();
        }
    });
    let mut tls = tls_over(server, near).await;
    tls.write_all(&[ENVELOPE, b"DATA\r\n"].concat()).await.unwrap();
    until(&mut tls, "354").await;
    tls.write_all(b"hi\r\n.\r\n").await.unwrap();
    until(&mut tls, "250 2.6.0 taken\r\n").await;
    back.abort();
    there.abort();
}
