//! clamd and rspamd, started for a test.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What our own signature finds.
pub const MARK: &str = "posthouse-test-mark-of-no-harm-7f3a91";

pub struct Started {
    pub addresses: Vec<String>,
    pub process: Process,
    _dir: TempDir,
}

/// A program and whatever it starts, ended with the test.
pub struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Process {
        let started = command.process_group(0).stdin(Stdio::null()).spawn();
        Process(started.unwrap_or_else(|e| panic!("{command:?}: {e}; `cargo xtask test` installs it")))
    }

    fn wait_for(&mut self, log: &Path, mut what: impl FnMut() -> bool) {
        let began = Instant::now();
        while !what() {
            let ended = self.0.try_wait().unwrap();
            let said = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(ended.is_none(), "it ended at once:\n{}", said());
            assert!(began.elapsed() < Duration::from_secs(60), "it did not come up:\n{}", said());
            std::thread::sleep(Duration::from_millis(20)); // between two looks at another process
        }
    }

    pub fn kill(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Below the ports that the system hands out by itself (32768 and up on Linux): between this look and the server's own, a
/// client's connection may take one of those.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 12_000 + u16::try_from(n % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// With a signature of our own and nothing else: no network is needed.
pub fn clamd() -> Started {
    let dir = tempfile::tempdir().unwrap();
    let (at, port) = (dir.path(), free_port());
    let hex: String = MARK.bytes().map(|b| format!("{b:02x}")).collect();
    std::fs::create_dir(at.join("db")).unwrap();
    // name, any kind of file, at any place (docs.clamav.net/manual/Signatures/ExtendedSignatures.html)
    std::fs::write(at.join("db/own.ndb"), format!("Posthouse.Test.Mark:0:*:{hex}\n")).unwrap();
    let log = at.join("clamd.log");
    let shown = at.display();
    let configuration = format!(
        "Foreground yes\nLogFile {shown}/clamd.log\nDatabaseDirectory {shown}/db\nTemporaryDirectory {shown}\nLocalSocket {shown}/clamd.ctl\nTCPSocket {port}\nTCPAddr 127.0.0.1\nStreamMaxLength 2M\nMaxThreads 4\nUser root\n"
    );
    let configuration = match unprivileged() {
        true => configuration.replace("User root\n", ""),
        false => configuration,
    };
    std::fs::write(at.join("clamd.conf"), configuration).unwrap();
    let mut command = Command::new("/usr/sbin/clamd");
    command.arg("-c").arg(at.join("clamd.conf")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(&mut command);
    process.wait_for(&log, || listens(port) && at.join("clamd.ctl").exists());
    let addresses = vec![format!("127.0.0.1:{port}"), format!("unix:{shown}/clamd.ctl")];
    Started { addresses, process, _dir: dir }
}

fn unprivileged() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() != b"0")
}

/// Debian's rules as they come; names are asked of nobody.
pub fn rspamd() -> Started {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let (scan, controller, proxy) = (free_port(), free_port(), free_port());
    for folder in ["conf/local.d", "conf/override.d", "run", "log", "db"] {
        std::fs::create_dir_all(at.join(folder)).unwrap();
    }
    let shown = at.display();
    let nobody = free_port();
    for (name, text) in [
        (
            "local.d/options.inc",
            format!(
                "dns {{ nameserver = [\"127.0.0.1:{nobody}:10\"]; timeout = 0.1s; retransmits = 1; }}\npidfile = \"{shown}/run/rspamd.pid\";\nlocal_addrs = [];\n"
            ),
        ),
        (
            "local.d/logging.inc",
            format!("type = \"file\"; filename = \"{shown}/log/rspamd.log\"; level = \"notice\";\n"),
        ),
        ("override.d/worker-normal.inc", format!("bind_socket = \"127.0.0.1:{scan}\"; count = 1;\n")),
        ("override.d/worker-controller.inc", format!("bind_socket = \"127.0.0.1:{controller}\"; count = 1;\n")),
        ("override.d/worker-proxy.inc", format!("bind_socket = \"127.0.0.1:{proxy}\"; count = 1;\n")),
        ("override.d/worker-fuzzy.inc", "count = -1;\n".into()),
        // its servers are on the Internet
        ("override.d/fuzzy_check.conf", "enabled = false;\n".into()),
        ("override.d/rbl.conf", "enabled = false;\n".into()),
    ] {
        std::fs::write(at.join("conf").join(name), text).unwrap();
    }
    let mut command = Command::new("/usr/bin/rspamd");
    command.args(["-f", "-c", "/etc/rspamd/rspamd.conf"]);
    if unprivileged() {
        command.arg("-i");
    } else {
        let owned = [at.join("run"), at.join("log"), at.join("db"), at.to_owned()];
        assert!(Command::new("chown").arg("_rspamd").args(owned).status().unwrap().success());
        command.args(["-u", "_rspamd", "-g", "_rspamd"]);
    }
    for (name, folder) in [("LOCAL_CONFDIR", "conf"), ("RUNDIR", "run"), ("LOGDIR", "log"), ("DBDIR", "db")] {
        command.arg(format!("--var={name}={shown}/{folder}"));
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(&mut command);
    process.wait_for(&at.join("log/rspamd.log"), || listens(scan));
    Started { addresses: vec![format!("http://127.0.0.1:{scan}")], process, _dir: dir }
}
