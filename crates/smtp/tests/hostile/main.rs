//! Peers that mean ill, thousands of them, against a server in a process of its own, whose memory is read from /proc. Beside
//! each crowd an honest session is timed. Linux only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

#[path = "../peers/authority.rs"]
mod authority;
#[path = "../peers/keeper.rs"]
mod keeper;
mod peers;
mod renegotiation;

use authority::Authority;
use mail::Envelope;
use smtp::{Connection, Patience, ServerSettings, Target, tls};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Fewer where the limit of open files forbids it.
const CONNECTIONS: usize = 10_000;
/// For a message of 20 kB with its handshake, while the crowd is there, built without optimisation.
const HONEST: Duration = Duration::from_secs(5);
/// What the server may hold more than at rest, whatever comes: 10,000 sessions at 16 KiB.
const KIB_MAX: u64 = 160 * 1024;

/// As the product's, but short.
const PATIENCE: Patience = Patience {
    command: Duration::from_secs(5),
    data: Duration::from_secs(2),
    write: Duration::from_secs(2),
    handshake: Duration::from_secs(2),
    session: Duration::from_secs(600),
    data_octets_per_second: 1000,
};

/// This test again as a process of its own, with as many open files as allowed.
fn again(role: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "hostile_peers", "--nocapture"]).env("HOSTILE_ROLE", role);
    command
}

#[test]
fn hostile_peers() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match std::env::var("HOSTILE_ROLE").as_deref() {
        Ok("server") => runtime.block_on(serve()),
        Ok("peers") => runtime.block_on(attack()),
        _ => {
            let peers = again("peers").output().unwrap();
            println!("{}{}", String::from_utf8_lossy(&peers.stdout), String::from_utf8_lossy(&peers.stderr));
            assert!(peers.status.success(), "see above");
        }
    }
}

/// Until whoever started us is gone.
async fn serve() {
    let told = |name: &str| std::env::var(name).unwrap();
    let settings = keeper::settings(&(told("HOSTILE_CHAIN"), told("HOSTILE_KEY")));
    let command = told("HOSTILE_COMMAND_SECS").parse().map(Duration::from_secs).unwrap();
    let settings = ServerSettings { patience: Patience { command, ..PATIENCE }, ..settings };
    let (address, _) = keeper::serve(settings).await;
    println!("\nlistening {address}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

pub struct Server {
    process: Child,
    pub address: SocketAddr,
    pub authority: Authority,
    at_rest_kib: u64,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    async fn start(command: Duration) -> Server {
        let authority = Authority::new();
        let (chain, key) = authority.issue("mx.example");
        let mut server = again("server");
        server.env("HOSTILE_CHAIN", chain).env("HOSTILE_KEY", key);
        server.env("HOSTILE_COMMAND_SECS", command.as_secs().to_string());
        let mut process = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|l| l.strip_prefix("listening ")?.parse().ok()).unwrap();
        let mut server = Server { process, address, authority, at_rest_kib: 0 };
        server.honest("at rest").await;
        server.at_rest_kib = server.resident_kib();
        server
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Somebody who only wants to hand over a message.
    async fn honest(&self, beside: &str) {
        let target = Target {
            address: self.address,
            server_name: "mx.example".into(),
            helo: "honest.example".into(),
            source: None,
            tls: tls::client_config(self.authority.roots.clone(), None).unwrap(),
        };
        let began = Instant::now();
        let mut connection = Connection::open(&target).await.unwrap();
        let envelope = Envelope::new("a@b.example", ["c@d.example"]);
        let delivery = connection.send(&envelope, &b"0123456789\r\n".repeat(1700)).await.unwrap();
        assert!(delivery.of(0).is_success());
        let took = began.elapsed();
        connection.quit().await;
        let more = self.resident_kib().saturating_sub(self.at_rest_kib);
        println!("{beside}: an honest message took {} ms, {more} KiB more than at rest", took.as_millis());
        assert!(took < HONEST, "{beside}: {took:?}");
        assert!(self.at_rest_kib == 0 || more < KIB_MAX, "{beside}: {more} KiB");
    }
}

async fn attack() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find(|l| l.starts_with("Max open files")).unwrap();
    let files: usize = files.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    let many = CONNECTIONS.min(files - 200);
    println!("{many} connections of {CONNECTIONS} (open files: {files})");

    // a crowd takes its time to come together, however busy the machine is
    let server = Server::start(Duration::from_secs(600)).await;
    let crowd = peers::idle(&server, many).await;
    server.honest("beside silent connections").await;
    let crowd = peers::half_a_line(crowd).await;
    server.honest("beside half lines").await;
    drop(crowd);
    server.honest("after them").await;
    drop(server);

    let server = Server::start(PATIENCE.command).await;
    let crowd = peers::half_a_line(peers::idle(&server, 500).await).await;
    peers::are_let_go(crowd, "421 4.4.2 Waited too long").await;
    server.honest("after slow writers of commands").await;
    let slow = tokio::spawn(peers::drop_by_drop(server.address, 200));
    server.honest("beside slow writers of data").await;
    slow.await.unwrap();
    let slow = tokio::spawn(peers::never_reading(server.address, 20));
    server.honest("beside peers that do not read").await;
    slow.await.unwrap();
    server.honest("after them").await;
    peers::endless_lines(&server, 300).await;
    server.honest("after endless lines").await;
    peers::garbage(&server, 300).await;
    server.honest("after garbage").await;
    peers::silent_handshakes(&server, 200).await;
    server.honest("after silent handshakes").await;
    peers::tiny_records(&server).await;
    server.honest("after tiny records").await;
    peers::octet_by_octet(&server).await;
    renegotiation::is_refused(&server).await;
    server.honest("after renegotiations").await;
}
