//! Notices of alerts, against real receivers in this process: signed, retried, in order, lost by no kill, and without a
//! secret anywhere.

use crate::harness::{World, until};
use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket, UnixDatagram};

const SECRET: &str = "5e0c8a2f-never-to-be-seen-anywhere-0011223344";
const TOKEN: &str = "T0KEN-in-the-path";

/// A webhook's other end: what came, and how many it still refuses.
#[derive(Clone, Default)]
pub struct Receiver {
    came: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    refusals: Arc<Mutex<usize>>,
}

impl Receiver {
    pub async fn start(refusals: usize) -> (Receiver, SocketAddr) {
        let receiver = Receiver { refusals: Arc::new(Mutex::new(refusals)), ..Receiver::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let take = async |State(r): State<Receiver>, headers: HeaderMap, body: String| {
            r.came.lock().unwrap().push((headers, body));
            let mut left = r.refusals.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            StatusCode::NO_CONTENT
        };
        let router = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, address)
    }

    pub fn bodies(&self) -> Vec<Value> {
        self.came.lock().unwrap().iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    }

    /// As docs/operate.md tells receivers to do.
    fn all_are_signed(&self) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        for (headers, body) in self.came.lock().unwrap().iter() {
            let of = |name: &str| headers[name].to_str().unwrap().to_owned();
            let hex = of("posthouse-signature").strip_prefix("v1=").unwrap().to_owned();
            let tag: Vec<u8> =
                (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect();
            hmac::verify(&key, format!("{}.{body}", of("posthouse-timestamp")).as_bytes(), &tag).unwrap();
            let notice: Value = serde_json::from_str(body).unwrap();
            assert_eq!(notice["id"], of("posthouse-id").as_str());
        }
    }
}

/// A smart host on this machine: takes everything; what came, envelope and all.
async fn smart_host() -> (Arc<Mutex<Vec<String>>>, SocketAddr) {
    let came = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, all) = (listener.local_addr().unwrap(), came.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let all = all.clone();
            tokio::spawn(async move {
                let _ = one_session(stream, &all).await;
            });
        }
    });
    (came, address)
}

async fn one_session(stream: TcpStream, came: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut io = BufReader::new(stream);
    io.get_mut().write_all(b"220 smart.example ESMTP\r\n").await?;
    let (mut line, mut message, mut in_data) = (String::new(), String::new(), false);
    loop {
        line.clear();
        if io.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = match (in_data, line.trim_end()) {
            (true, ".") => {
                in_data = false;
                came.lock().unwrap().push(std::mem::take(&mut message));
                "250 2.0.0 queued"
            }
            (true, _) => {
                message += &line;
                continue;
            }
            (false, "DATA") => {
                in_data = true;
                "354 go ahead"
            }
            (false, command) => {
                message += &line;
                if command == "QUIT" { "221 bye" } else { "250 ok" }
            }
        };
        io.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

/// Everything that one connection after the other brought.
async fn syslog_tcp() -> (Arc<Mutex<String>>, SocketAddr) {
    let came = Arc::new(Mutex::new(String::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, all) = (listener.local_addr().unwrap(), came.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text).await;
            all.lock().unwrap().push_str(&text);
        }
    });
    (came, address)
}

fn closed_port() -> u16 {
    engines::started::free_port()
}

/// Raises the alert that a stranger at `127.0.0.<last>` wants to hand us mail.
async fn alert_from(world: &World, last: u8) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    let mut tcp = socket.connect(SocketAddr::from(([127, 0, 0, 1], world.gateway_port))).await.unwrap();
    tcp.write_all(b"EHLO stranger.example\r\nMAIL FROM:<pat@acme.example>\r\nQUIT\r\n").await.unwrap();
    let mut said = String::new();
    tcp.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("451 4.7.0"), "{said}");
}

async fn configured(world: &mut World, sections: &str) {
    let before = std::fs::read_to_string(&world.config).unwrap();
    std::fs::write(&world.config, format!("{before}[notify]\nleast = \"low\"\n{sections}")).unwrap();
    world.restart_gateway().await;
}

fn hook(address: impl std::fmt::Display, name: &str) -> String {
    format!("[[notify.webhook]]\nname = \"{name}\"\nurl = \"http://{address}/{TOKEN}\"\nsecret = \"{SECRET}\"\n")
}

/// What became of each alert about `127.0.0.<last>` at `target`.
fn state(world: &World, last: u8, target: &str) -> String {
    let alerts = world.json(&["alerts", "--all"]);
    let about = format!("127.0.0.{last}");
    let alert = alerts.as_array().unwrap().iter().find(|a| a["subject"] == about.as_str());
    let deliveries = alert.and_then(|a| a["deliveries"].as_array().cloned()).unwrap_or_default();
    let found = deliveries.iter().find(|d| d["target"] == target).map(|d| d["state"].as_str().unwrap().to_owned());
    found.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_in_order_and_a_dead_target_holds_up_nobody() {
    let mut world = World::start().await;
    let (receiver, hooks) = Receiver::start(2).await;
    let (mail, smart) = smart_host().await;
    let (tcp, log) = syslog_tcp().await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let local = UnixDatagram::bind(&socket).unwrap();
    let dead = format!("127.0.0.1:{}", closed_port());
    let sections = [
        hook(hooks, "hook"),
        hook(&dead, "dead"),
        format!("[[notify.syslog]]\nname = \"udp\"\naddress = \"udp://{}\"\n", udp.local_addr().unwrap()),
        format!("[[notify.syslog]]\nname = \"unix\"\naddress = \"unix://{}\"\n", socket.display()),
        format!("[[notify.syslog]]\nname = \"tcp\"\naddress = \"tcp://{log}\"\nfacility = \"local3\"\n"),
        format!(
            "[[notify.mail]]\nname = \"mail\"\nfrom = \"posthouse@ops.example\"\nto = [\"a@ops.example\", \"b@ops.example\"]\nsmart_host = \"{smart}\"\n"
        ),
        format!(
            "[[notify.webhook]]\nname = \"grave\"\nleast = \"high\"\nurl = \"http://{hooks}/\"\nsecret = \"{SECRET}\"\n"
        ),
    ];
    configured(&mut world, &sections.concat()).await;
    for last in [11, 12, 13] {
        alert_from(&world, last).await;
        alert_from(&world, last).await;
    }
    for target in ["hook", "udp", "tcp", "unix", "mail"] {
        until(target, async || [11, 12, 13].iter().all(|n| state(&world, *n, target) == "delivered")).await;
    }
    assert_eq!([11, 12, 13].map(|n| state(&world, n, "dead")), ["waiting"; 3]);
    assert_eq!(state(&world, 11, "grave"), "", "told of less than it wants");
    // two refusals, then each once and in order, the refused one under the id that it had
    receiver.all_are_signed();
    let bodies = receiver.bodies();
    let about: Vec<_> = bodies.iter().map(|b| b["subject"].as_str().unwrap()).collect();
    assert_eq!(about, ["127.0.0.11", "127.0.0.11", "127.0.0.11", "127.0.0.12", "127.0.0.13"]);
    assert!(bodies[0] == bodies[1] && bodies[1] == bodies[2]);
    for key in ["id", "kind", "severity", "tenant", "subject", "text", "first", "last", "count"] {
        assert!(bodies[0].get(key).is_some(), "{key}: {}", bodies[0]);
    }

    let mut datagram = [0u8; 4096];
    let length = udp.recv(&mut datagram).await.unwrap();
    let line = String::from_utf8_lossy(&datagram[..length]).into_owned();
    assert!(line.starts_with("<28>1 2") && line.contains(" posthouse "), "{line}");
    assert!(line.contains("[posthouse@32473 id=\"") && line.contains("kind=\"untrusted_peer\""), "{line}");
    let length = local.recv(&mut datagram).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&datagram[..length]), line, "the same to each");
    let octets = tcp.lock().unwrap().clone().into_bytes();
    let mut rest = octets.as_slice();
    for n in 0..3 {
        let space = rest.iter().position(|b| *b == b' ').unwrap();
        let length: usize = std::str::from_utf8(&rest[..space]).unwrap().parse().unwrap();
        assert!(rest[space + 1..].starts_with(b"<156>1 "), "{n}");
        rest = &rest[space + 1 + length..];
    }
    assert!(rest.is_empty());

    let mails = mail.lock().unwrap().clone();
    assert_eq!(mails.len(), 3);
    assert!(mails[0].contains("RCPT TO:<a@ops.example>") && mails[0].contains("RCPT TO:<b@ops.example>"));
    assert!(mails[0].contains("Subject: [Posthouse] medium: 127.0.0.11"), "{}", mails[0]);
    assert!(mails[0].contains("Auto-Submitted: auto-generated"), "{}", mails[0]);

    assert_no_secret(&world, &[&["alerts"], &["--json", "alerts"], &["alerts", "test"], &["--json", "alerts", "test"]]);
    let id = world.json(&["alerts"])[0]["id"].clone();
    assert!(world.command(&["alerts", "ack", &id.to_string()]).status().unwrap().success());
    assert!(world.json(&["alerts"]).as_array().unwrap().iter().all(|a| a["id"] != id));
    assert!(world.json(&["alerts", "--all"]).as_array().unwrap().iter().any(|a| a["id"] == id));
    assert!(!world.command(&["alerts", "ack", "4711"]).status().unwrap().success());
}

fn assert_no_secret(world: &World, commands: &[&[&str]]) {
    for args in commands {
        let output = world.command(args).env("POSTHOUSE_LOG", "debug").output().unwrap();
        let said = [output.stdout, output.stderr].map(|o| String::from_utf8_lossy(&o).into_owned()).concat();
        assert!(!said.contains(SECRET) && !said.contains(TOKEN), "{args:?} shows a secret: {said}");
        if args.contains(&"test") {
            assert!(said.contains("dead") && said.contains("204") && said.contains("queued"), "{said}");
            assert_eq!(output.status.code(), Some(1), "one target is dead");
        }
    }
}

/// Between raise and delivery the process is killed; what was raised is told all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_raise_and_delivery_loses_nothing() {
    let mut world = World::start().await;
    let (receiver, hooks) = Receiver::start(usize::MAX).await;
    configured(&mut world, &hook(hooks, "hook")).await;
    for last in [21, 22] {
        alert_from(&world, last).await;
    }
    until("a first try", async || !receiver.bodies().is_empty()).await;
    world.gateway.kill();
    assert_eq!([21, 22].map(|n| state(&world, n, "hook")), ["waiting"; 2]);
    *receiver.refusals.lock().unwrap() = 0;
    world.restart_gateway().await;
    until("delivery after the kill", async || [21, 22].iter().all(|n| state(&world, *n, "hook") == "delivered")).await;
    receiver.all_are_signed();
    let bodies = receiver.bodies();
    let (first, last) = (&bodies[0], &bodies[bodies.len() - 1]);
    assert!(first["subject"] == "127.0.0.21" && last["subject"] == "127.0.0.22", "{bodies:?}");
    assert_eq!(bodies.iter().filter(|b| b["subject"] == "127.0.0.22").count(), 1, "told twice: {bodies:?}");
}

/// A smart host that is written by its name must prove it, wherever DNS says it is.
#[tokio::test(flavor = "multi_thread")]
async fn mail_to_a_smart_host_goes_over_tls_with_its_name() {
    let mut world = World::start().await;
    let port = world.endpoints["smtp_mx"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let record = serde_json::json!({"name": "other.example", "type": "A", "values": ["127.0.0.1"]});
    world.door.post("/dns/record", record).await.unwrap();
    let target = |name: &str, host: &str| {
        format!(
            "[[notify.mail]]\nname = \"{name}\"\nfrom = \"pat@acme.example\"\nto = [\"admin@contoso.example\"]\nsmart_host = \"{host}:{port}\"\n"
        )
    };
    let right = target("right", "contoso-example.mail.protection.outlook.com");
    configured(&mut world, &(right + &target("wrong", "other.example"))).await;
    alert_from(&world, 31).await;
    until("delivery", async || state(&world, 31, "right") == "delivered").await;
    let has_it = async || {
        let mailbox = world.door.mailbox("admin@contoso.example", false).await.unwrap();
        mailbox.iter().any(|m| String::from_utf8_lossy(&m.raw).contains("[Posthouse] medium: 127.0.0.31"))
    };
    until("arrival", has_it).await;
    let tested = world.command(&["--json", "alerts", "test"]).output().unwrap();
    assert_eq!(tested.status.code(), Some(1));
    let tested: Value = serde_json::from_slice(&tested.stdout).unwrap();
    assert!(tested[0]["taken"] == true && tested[1]["taken"] == false, "{tested}");
    assert!(tested[1]["said"].as_str().unwrap().contains("TLS"), "{tested}");
    assert_ne!(state(&world, 31, "wrong"), "delivered");
}
