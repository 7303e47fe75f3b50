//! Engines that are down, slow, or answer garbage: each a real socket on this machine that does so.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use engines::{Address, Asked, EngineSettings, Engines, Fault, Health, KINDS, Kind, OnFault};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const BUDGET: Duration = Duration::from_millis(300);

#[derive(Clone)]
enum Peer {
    /// Takes the connection and reads, and says nothing.
    Silent,
    /// Says so as soon as somebody comes, and closes.
    Says(Vec<u8>),
    /// Says so once it was asked, and closes.
    Answers(Vec<u8>),
    /// An octet now and then, without an end.
    Drips,
    /// As fast as it is read.
    Endless,
}

async fn listening(peer: Peer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let peer = peer.clone();
            tokio::spawn(async move {
                match peer {
                    Peer::Silent => while socket.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {},
                    Peer::Says(words) => {
                        let _ = socket.write_all(&words).await;
                        // what was not read makes the end a reset
                    }
                    Peer::Answers(words) => {
                        let _ = socket.read(&mut [0; 4096]).await;
                        let _ = socket.write_all(&words).await;
                        let _ = socket.shutdown().await;
                        while socket.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {}
                    }
                    Peer::Drips => {
                        while socket.write_all(b"x").await.is_ok() {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                    Peer::Endless => while socket.write_all(&[b'x'; 4096]).await.is_ok() {},
                }
            });
        }
    });
    address
}

fn settings(kind: Kind, at: &str) -> EngineSettings {
    let address = match kind {
        Kind::Clamd => at.to_owned(),
        Kind::Rspamd => format!("http://{at}"),
        Kind::Icap => format!("icap://{at}/scan"),
        #[cfg(feature = "yara")]
        Kind::Yara => unreachable!("nobody is asked over a socket"),
    };
    let address = Address::read(kind, &address).unwrap();
    EngineSettings { name: kind.as_str().into(), kind, address, budget: BUDGET, on_fault: OnFault::Defer }
}

fn message(octets: usize) -> Asked {
    let raw = [b"Subject: x\r\n\r\n".to_vec(), vec![b'x'; octets]].concat();
    Asked { id: "1".into(), raw: Bytes::from(raw), ..Asked::default() }
}

async fn faults(at: &str, octets: usize) -> Vec<String> {
    let mut seen = Vec::new();
    // those that are asked over a socket
    for kind in KINDS.iter().copied().filter(|kind| kind.as_str() != "yara") {
        let engines = Engines::new(vec![settings(kind, at)]);
        let began = Instant::now();
        let answers = engines.ask(&message(octets), began + Duration::from_secs(20)).await;
        assert!(began.elapsed() < BUDGET * 3, "{kind:?} took {:?}", began.elapsed());
        assert!(answers[0].findings.is_empty(), "{kind:?}: {:?}", answers[0].findings);
        let fault = answers[0].fault.as_ref().expect("a fault");
        seen.push(format!("{} {}", kind.as_str(), fault.kind()));
    }
    seen
}

#[tokio::test]
async fn nobody_is_there() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    assert_eq!(faults(&free, 100).await, ["clamd down", "rspamd down", "icap down"]);
    let socket = Address::read(Kind::Clamd, "unix:/nonexistent/clamd.ctl").unwrap();
    let engines = Engines::new(vec![EngineSettings { address: socket, ..settings(Kind::Clamd, "127.0.0.1:1") }]);
    let answer = engines.ask(&message(1), Instant::now() + BUDGET).await.remove(0);
    assert!(matches!(answer.fault, Some(Fault::Down(_))), "{:?}", answer.fault);
}

#[tokio::test]
async fn it_says_nothing_or_too_little_at_a_time() {
    let silent = listening(Peer::Silent).await;
    assert_eq!(faults(&silent, 100).await, ["clamd slow", "rspamd slow", "icap slow"]);
    // more than fits into the buffers on the way
    assert_eq!(faults(&silent, 8 << 20).await, ["clamd slow", "rspamd slow", "icap slow"]);
    let drips = listening(Peer::Drips).await;
    let seen = faults(&drips, 100).await;
    assert_eq!((seen[0].as_str(), seen[2].as_str()), ("clamd slow", "icap slow"));
}

#[tokio::test]
async fn it_closes_without_a_word() {
    let closes = listening(Peer::Says(Vec::new())).await;
    assert_eq!(faults(&closes, 100).await, ["clamd down", "rspamd down", "icap down"]);
    assert_eq!(faults(&closes, 8 << 20).await, ["clamd down", "rspamd down", "icap down"]);
}

#[tokio::test]
async fn it_answers_garbage() {
    let garbage = listening(Peer::Says(b"220 mx.example ESMTP\r\n\0\r\n\r\n".to_vec())).await;
    let seen = faults(&garbage, 100).await;
    assert_eq!((seen[0].as_str(), seen[2].as_str()), ("clamd garbage", "icap garbage"));
    let page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_vec();
    assert_eq!(faults(&listening(Peer::Answers(page)).await, 100).await[1], "rspamd garbage");
    let error = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops".to_vec();
    assert_eq!(faults(&listening(Peer::Answers(error)).await, 100).await[1], "rspamd failed");
    let endless = faults(&listening(Peer::Endless).await, 100).await;
    assert_eq!((endless[0].as_str(), endless[2].as_str()), ("clamd garbage", "icap garbage"));
}

/// clamd says so while it is still written to, and closes.
#[tokio::test]
async fn a_message_that_is_too_large_is_said_to_be_and_is_no_outage() {
    let small = listening(Peer::Says(b"INSTREAM size limit exceeded. ERROR\0".to_vec())).await;
    for (on_fault, severity) in
        [(OnFault::Defer, verdict::Severity::Suspicious), (OnFault::Pass, verdict::Severity::Note)]
    {
        let engines = Engines::new(vec![EngineSettings { on_fault, ..settings(Kind::Clamd, &small) }]);
        for _ in 0..5 {
            let answer = engines.ask(&message(8 << 20), Instant::now() + BUDGET).await.remove(0);
            assert!(matches!(answer.fault, Some(Fault::TooLarge(_))), "{:?}", answer.fault);
            assert_eq!((answer.lacks(), answer.findings[0].severity), (None, severity));
            assert_eq!(answer.findings[0].category, verdict::Category::Unscannable);
        }
        assert_eq!(engines.status()[0].health, Health::Healthy);
    }
}

/// Three messages pay for an engine that is silent; the others do not wait, and the clock finds it when it is back.
#[tokio::test]
async fn a_silent_engine_is_waited_for_three_times_and_not_by_every_message() {
    let at = listening(Peer::Silent).await;
    let engines = Engines::new(vec![settings(Kind::Clamd, &at)]);
    let began = Instant::now();
    for _ in 0..3 {
        engines.ask(&message(10), Instant::now() + BUDGET * 2).await;
    }
    assert!(began.elapsed() >= BUDGET * 3);
    let began = Instant::now();
    for _ in 0..1000 {
        let answer = engines.ask(&message(10), Instant::now() + BUDGET * 2).await.remove(0);
        assert!(matches!(answer.fault, Some(Fault::Resting { .. })), "{:?}", answer.fault);
    }
    assert!(began.elapsed() < BUDGET, "a thousand messages waited {:?}", began.elapsed());
    let told = engines.tend().await;
    assert!(told.len() == 1 && told[0].is_down && told[0].text.contains("did not answer within"), "{told:?}");
    assert!(engines.tend().await.is_empty(), "told once");
}

/// What a message had no time for is not the engine's fault.
#[tokio::test]
async fn an_engine_is_not_blamed_for_a_message_that_is_late() {
    let at = listening(Peer::Silent).await;
    let engines = Engines::new(vec![settings(Kind::Clamd, &at)]);
    for _ in 0..5 {
        let answer = engines.ask(&message(10), Instant::now() + Duration::from_millis(10)).await.remove(0);
        assert!(matches!(answer.fault, Some(Fault::Slow(_))), "{:?}", answer.fault);
    }
    assert_eq!(engines.status()[0].health, Health::Unknown);
}

#[tokio::test]
async fn an_engine_that_is_back_is_found_by_the_clock() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let engines = Engines::new(vec![settings(Kind::Clamd, &at.to_string())]);
    engines.try_all().await;
    assert!(engines.tend().await[0].is_down);
    let listener = TcpListener::bind(at).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(&[0; 4]) && !asked.starts_with(b"zVERSION\0") {
                socket.read_buf(&mut asked).await.unwrap();
            }
            let said: &[u8] = if asked.starts_with(b"zVERSION") { b"ClamAV 1.0/1/now\0" } else { b"stream: OK\0" };
            let _ = socket.write_all(said).await;
        }
    });
    let began = Instant::now();
    let back = loop {
        if let Some(change) = engines.tend().await.pop() {
            break change;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", engines.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(!back.is_down && back.text.contains("answers again"), "{back:?}");
    assert_eq!(engines.status()[0].version.as_deref(), Some("ClamAV 1.0/1/now"));
    let answer = engines.ask(&message(100_000), Instant::now() + BUDGET).await.remove(0);
    assert_eq!(answer.fault, None);
}
