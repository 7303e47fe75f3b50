//! Client and server over a real socket with real TLS.

use crate::authority::Authority;
use crate::keeper::{serve, settings};
use mail::Envelope;
use smtp::{ClientError, Connection, Target, tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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
    let (right, keeper) = serve(settings(&authority.issue("mx.example"))).await;
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
    let (address, keeper) = serve(settings(&authority.issue("mx.example"))).await;
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
    let (address, keeper) = serve(settings(&authority.issue("mx.example"))).await;
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
    let (address, _) = serve(settings(&authority.issue("mx.example"))).await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@example>\r\n").await.unwrap();
    let mut said = String::new();
    let _ = tcp.read_to_string(&mut said).await;
    assert!(!said.contains("220 2.0.0") && said.contains("STARTTLS"), "{said}");
}
