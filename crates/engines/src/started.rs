//! clamd and rspamd from Debian's packages, started with a configuration of their own in a folder of their own: what tests
//! and the demo ask, without the Internet and without the system's own services.

use crate::limits;
use std::io::{Error, ErrorKind, Result};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const CLAMD: &str = "/usr/sbin/clamd";
const RSPAMD: &str = "/usr/bin/rspamd";
/// What clamd's only signature finds.
pub const MARK: &str = "posthouse-test-mark-of-no-harm-7f3a91";

/// A scanner with whatever it starts; ended when dropped.
pub struct Started {
    /// As `[[engine]]` has them.
    pub addresses: Vec<String>,
    process: Child,
}

impl Started {
    pub fn kill(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Those of the two that are not installed.
pub fn missing() -> Vec<&'static str> {
    [CLAMD, RSPAMD].into_iter().filter(|program| !Path::new(program).exists()).collect()
}

/// With a signature of our own and nothing else.
pub fn clamd(folder: &Path) -> Result<Started> {
    let port = free_port();
    let hex: String = MARK.bytes().map(|b| format!("{b:02x}")).collect();
    std::fs::create_dir(folder.join("db"))?;
    // name, any kind of file, at any place (docs.clamav.net/manual/Signatures/ExtendedSignatures.html)
    std::fs::write(folder.join("db/own.ndb"), format!("Posthouse.Test.Mark:0:*:{hex}\n"))?;
    let (shown, socket, file) = (folder.display(), folder.join("clamd.ctl"), folder.join("clamd.conf"));
    let user = if is_root() { "User root\n" } else { "" };
    std::fs::write(
        &file,
        format!(
            "Foreground yes\nLogFile {shown}/clamd.log\nDatabaseDirectory {shown}/db\nTemporaryDirectory {shown}\nLocalSocket {}\nTCPSocket {port}\nTCPAddr 127.0.0.1\nStreamMaxLength 2M\nMaxThreads 4\n{user}",
            socket.display()
        ),
    )?;
    let process = start(Command::new(CLAMD).arg("-c").arg(file))?;
    let addresses = vec![format!("127.0.0.1:{port}"), format!("unix:{}", socket.display())];
    up(Started { addresses, process }, &folder.join("clamd.log"), || listens(port) && socket.exists())
}

/// Debian's rules as they come; names are asked of nobody.
pub fn rspamd(folder: &Path) -> Result<Started> {
    let (scan, controller, proxy, nobody) = (free_port(), free_port(), free_port(), free_port());
    for below in ["conf/local.d", "conf/override.d", "run", "log", "db"] {
        std::fs::create_dir_all(folder.join(below))?;
    }
    let shown = folder.display();
    let bind = |port| format!("bind_socket = \"127.0.0.1:{port}\"; count = 1;\n");
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
        ("override.d/worker-normal.inc", bind(scan)),
        ("override.d/worker-controller.inc", bind(controller)),
        ("override.d/worker-proxy.inc", bind(proxy)),
        ("override.d/worker-fuzzy.inc", "count = -1;\n".into()),
        // its servers are on the Internet
        ("override.d/fuzzy_check.conf", "enabled = false;\n".into()),
        ("override.d/rbl.conf", "enabled = false;\n".into()),
    ] {
        std::fs::write(folder.join("conf").join(name), text)?;
    }
    let mut command = Command::new(RSPAMD);
    command.args(["-f", "-c", "/etc/rspamd/rspamd.conf"]);
    if is_root() {
        // it gives its rights away
        let owned = [folder.join("run"), folder.join("log"), folder.join("db"), folder.to_owned()];
        if !Command::new("chown").arg("_rspamd").args(owned).status()?.success() {
            return Err(Error::other("there is no user _rspamd; Debian's package makes one"));
        }
        command.args(["-u", "_rspamd", "-g", "_rspamd"]);
    } else {
        command.arg("-i");
    }
    for (name, below) in [("LOCAL_CONFDIR", "conf"), ("RUNDIR", "run"), ("LOGDIR", "log"), ("DBDIR", "db")] {
        command.arg(format!("--var={name}={shown}/{below}"));
    }
    let addresses = vec![format!("http://127.0.0.1:{scan}")];
    up(Started { addresses, process: start(&mut command)? }, &folder.join("log/rspamd.log"), || listens(scan))
}

fn start(command: &mut Command) -> Result<Child> {
    let quiet = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.spawn().map_err(|e| Error::new(e.kind(), format!("{}: {e}", command.get_program().display())))
}

/// Waits until it answers; else what it said of itself.
fn up(mut scanner: Started, log: &Path, mut is_up: impl FnMut() -> bool) -> Result<Started> {
    let began = Instant::now();
    while !is_up() {
        let ended = scanner.process.try_wait()?.is_some();
        if ended || began.elapsed() > limits::START_PATIENCE {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let what = if ended { "it ended at once" } else { "it did not come up" };
            return Err(Error::new(ErrorKind::TimedOut, format!("{what}: {said}")));
        }
        std::thread::sleep(Duration::from_millis(20)); // between two looks at another process
    }
    Ok(scanner)
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0")
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Below the ports that the system hands out by itself (32768 and up on Linux): between this look and the server's own, a
/// client's connection may take one of those.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let at = ("127.0.0.1", 12_000 + (n % 20_000) as u16);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return at.1;
        }
    }
}
