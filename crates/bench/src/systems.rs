//! The systems that are measured, each started anew for every run, in the foreground, below one scratch folder.

use crate::group::{Group, cpu_seconds};
use crate::world::{CONTOSO, GATEWAY_NAME, MICROSOFT, World, ZONE};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// Generator and sink alone: what nobody can be faster than.
    Floor,
    Posthouse,
    Postfix,
    PostfixRspamd,
}

impl std::fmt::Display for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            System::Floor => "generator and sink alone",
            System::Posthouse => "Posthouse",
            System::Postfix => "Postfix",
            System::PostfixRspamd => "Postfix + Rspamd",
        })
    }
}

/// A system that takes mail.
pub struct Running {
    pub address: SocketAddr,
    pub server_name: &'static str,
    groups: Vec<Group>,
    dir: Option<PathBuf>,
}

impl Running {
    /// The first process of each of its groups.
    pub fn leaders(&self) -> Vec<u32> {
        self.groups.iter().map(Group::id).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // the first started is the last to be needed
        while self.groups.pop().is_some() {}
        if let Some(dir) = &self.dir {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// What is missing for a system on this machine, in words of what to do.
pub fn missing(system: System) -> Option<String> {
    let programs: &[(&str, &str)] = match system {
        System::Floor | System::Posthouse => return None,
        System::Postfix => &[("/usr/sbin/postfix", "postfix")],
        System::PostfixRspamd => &[("/usr/sbin/postfix", "postfix"), ("/usr/bin/rspamd", "rspamd")],
    };
    if let Some((_, package)) = programs.iter().find(|(path, _)| !Path::new(path).exists()) {
        return Some(format!("{system} cannot be measured: install it with: apt-get install {package}"));
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0");
    (!root).then(|| format!("{system} cannot be measured: Postfix starts as root only"))
}

/// Starts a system and waits until it has nothing more to do of its own, at most so long.
pub fn start(system: System, world: &World, posthouse: &Path) -> Result<Running> {
    const SETTLED_AFTER_MAX: Duration = Duration::from_secs(60);
    let running = up(system, world, posthouse)?;
    let (began, leaders) = (Instant::now(), running.leaders());
    let mut before = f64::NEG_INFINITY;
    loop {
        let now = cpu_seconds(&leaders);
        // a few hundredths of a second are what housekeeping takes
        if now - before < 0.03 || began.elapsed() > SETTLED_AFTER_MAX {
            return Ok(running);
        }
        before = now;
        std::thread::sleep(Duration::from_millis(500)); // over which the use of CPU is looked at
    }
}

fn up(system: System, world: &World, posthouse: &Path) -> Result<Running> {
    match system {
        System::Floor => Ok(Running {
            address: world.sink.address,
            server_name: crate::world::SINK_NAME,
            groups: Vec::new(),
            dir: None,
        }),
        System::Posthouse => {
            let dir = fresh(world, "posthouse")?;
            let mut started = self::posthouse(world, posthouse, &dir, &[])?;
            started.dir = Some(dir);
            Ok(started)
        }
        System::Postfix => postfix(world, None),
        System::PostfixRspamd => {
            let rspamd = rspamd(world)?;
            let mut running = postfix(world, Some(rspamd.milter))?;
            running.groups.insert(0, rspamd.group);
            Ok(running)
        }
    }
}

fn fresh(world: &World, name: &str) -> Result<PathBuf> {
    let dir = world.dir.join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn running(port: u16, groups: Vec<Group>, dir: PathBuf) -> Running {
    Running { address: ([127, 0, 0, 1], port).into(), server_name: GATEWAY_NAME, groups, dir: Some(dir) }
}

/// `posthouse serve` over the store in `dir`, which is made when it is not there; `under` is a program that runs it.
pub fn posthouse(world: &World, binary: &Path, dir: &Path, under: &[String]) -> Result<Running> {
    let (data, file, ready) = (dir.join("data"), dir.join("posthouse.toml"), dir.join("ready.json"));
    let _ = fs::remove_file(&ready);
    if !data.exists() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let store = store::Store::open(&data).await?;
            store.put_tenant(&world.tenant).await?;
            store.close().await;
            anyhow::Ok(())
        })?;
    }
    fs::write(&file, posthouse_toml(world, &data))?;
    let program = under.first().map_or(binary, |first| Path::new(first));
    let mut command = Command::new(program);
    if !under.is_empty() {
        command.args(&under[1..]).arg(binary);
    }
    command.arg("--config").arg(&file).args(["serve", "--ready-file"]).arg(&ready).env("POSTHOUSE_LOG", "warn");
    command.stderr(fs::File::create(dir.join("posthouse.log"))?);
    let mut group = Group::start("posthouse", &mut command)?;
    let up = group.wait_for(|| ready.exists());
    if up.is_err() {
        eprintln!("{}", fs::read_to_string(dir.join("posthouse.log")).unwrap_or_default());
    }
    up?;
    let said: serde_json::Value = serde_json::from_slice(&fs::read(&ready)?)?;
    let address = said["smtp"].as_str().and_then(|a| a.parse().ok()).context("posthouse said no address")?;
    Ok(Running { address, server_name: GATEWAY_NAME, groups: vec![group], dir: None })
}

/// Microsoft's doors lead nowhere: the watch over the tenant has nothing to do with mail.
fn posthouse_toml(world: &World, data: &Path) -> String {
    let dir = world.dir.display();
    format!(
        r#"data_dir = "{}"
[gateway]
listen = "127.0.0.1:0"
hostname = "{GATEWAY_NAME}"
certificate = "{dir}/server.pem"
key = "{dir}/server.key"
microsoft_names = ["{MICROSOFT}"]
microsoft_ranges = ["127.0.0.0/8"]
return_port = {}
[zone]
name = "{ZONE}"
[certificates]
authority_chain = "{dir}/root.pem"
authority_key = "{dir}/root.key"
trusted_roots = "{dir}/root.pem"
[dns]
resolver = "{}"
[microsoft]
login = "https://127.0.0.1:9"
graph = "https://127.0.0.1:9"
exchange = "https://127.0.0.1:9"
activity = "https://127.0.0.1:9"
[status]
listen = ""
[watch]
every_secs = 86400
feed_secs = 86400
probe_secs = 86400
"#,
        data.display(),
        world.sink.address.port(),
        world.name_server,
    )
}

const POSTFIX_DAEMONS: &str = "/usr/lib/postfix/sbin";

/// A relay that hands everything to the sink: TLS demanded on both legs, sessions of TLS kept where Postfix can keep
/// them, no flow control between taking and delivering, room for as many deliveries as there are sessions.
fn postfix(world: &World, milter: Option<u16>) -> Result<Running> {
    let dir = fresh(world, "postfix")?;
    let (etc, port) = (dir.join("etc"), free_port()?);
    for folder in ["etc", "spool", "data", "log"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    succeed(Command::new("chown").arg("postfix").arg(dir.join("data")))?;
    fs::write(etc.join("main.cf"), main_cf(world, &dir, milter))?;
    fs::write(etc.join("master.cf"), master_cf(port))?;
    // makes the folders of the queue
    let mut check = Command::new("/usr/sbin/postfix");
    succeed(check.arg("-c").arg(&etc).arg("check").stdout(Stdio::null()).stderr(Stdio::null()))?;
    // the daemon itself: `postfix start-fg` puts it into a session of its own, where we would lose it
    let mut master = Command::new(format!("{POSTFIX_DAEMONS}/master"));
    master.arg("-c").arg(&etc).arg("-d").stdout(Stdio::null()).stderr(Stdio::null());
    let mut group = Group::start("postfix", &mut master)?;
    if let Err(e) = group.wait_for(|| listens(port)) {
        eprintln!("{}", fs::read_to_string(dir.join("log/mail.log")).unwrap_or_default());
        return Err(e);
    }
    Ok(running(port, vec![group], dir))
}

fn main_cf(world: &World, dir: &Path, milter: Option<u16>) -> String {
    let (dir, certificates, sink) = (dir.display(), world.dir.display(), world.sink.address.port());
    let mut text = format!(
        "compatibility_level = 3.6
queue_directory = {dir}/spool
data_directory = {dir}/data
daemon_directory = {POSTFIX_DAEMONS}
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {dir}/log/mail.log
maillog_file_prefixes = {dir}
myhostname = {GATEWAY_NAME}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
relay_domains = {CONTOSO}
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
relayhost = [127.0.0.1]:{sink}
smtp_dns_support_level = disabled
smtp_host_lookup = native
message_size_limit = 157286400
mailbox_size_limit = 0
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {certificates}/server.pem
smtpd_tls_key_file = {certificates}/server.key
smtpd_tls_ask_ccert = yes
smtp_tls_security_level = encrypt
smtp_tls_cert_file = {certificates}/server.pem
smtp_tls_key_file = {certificates}/server.key
smtp_tls_CAfile = {certificates}/root.pem
smtp_tls_connection_reuse = yes
smtp_destination_concurrency_limit = 50
initial_destination_concurrency = 20
in_flow_delay = 0
"
    );
    if let Some(port) = milter {
        text +=
            &format!("smtpd_milters = inet:127.0.0.1:{port}\nmilter_default_action = tempfail\nmilter_protocol = 6\n");
    }
    text
}

/// Debian's services of a relay, none in a chroot, and room for as many sessions as the generator opens.
fn master_cf(port: u16) -> String {
    format!(
        "127.0.0.1:{port} inet n - n - 120 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - 120 smtp
relay unix - - n - 120 smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsproxy unix - - n - 0 tlsproxy
postlog unix-dgram n - n - 1 postlogd
"
    )
}

/// A running Rspamd and its ports.
pub struct Rspamd {
    group: Group,
    milter: u16,
    /// HTTP, `/checkv2`.
    pub scan: u16,
}

/// Debian's rules as they come, scanning inside two milter workers, one for each core; every name is asked of our name
/// server. Nothing is refused or delayed: what is measured is the looking.
pub fn rspamd(world: &World) -> Result<Rspamd> {
    let dir = fresh(world, "rspamd")?;
    let (milter, scan, controller) = (free_port()?, free_port()?, free_port()?);
    // its patterns are compiled once and found there by those that start later
    let compiled = world.dir.join("rspamd-compiled");
    for folder in ["conf/local.d", "conf/override.d", "run", "log"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    fs::create_dir_all(&compiled)?;
    let at = dir.display();
    let dns = world.name_server;
    let local = |name: &str, text: String| fs::write(dir.join("conf/local.d").join(name), text);
    let instead = |name: &str, text: String| fs::write(dir.join("conf/override.d").join(name), text);
    local(
        "options.inc",
        format!(
            "dns {{ nameserver = [\"{}:{}:10\"]; timeout = 1s; retransmits = 1; }}\npidfile = \"{at}/run/rspamd.pid\";\nlocal_addrs = [];\n",
            dns.ip(),
            dns.port()
        ),
    )?;
    local("logging.inc", format!("type = \"file\"; filename = \"{at}/log/rspamd.log\"; level = \"notice\";\n"))?;
    // what comes from this machine is looked at like anything else
    for module in ["spf", "dkim", "dmarc", "arc"] {
        local(&format!("{module}.conf"), "check_local = true; check_authed = true;\n".into())?;
    }
    local(
        "milter_headers.conf",
        "use = [\"authentication-results\", \"x-spamd-bar\", \"x-spam-status\"]; skip_local = false; skip_authenticated = false;\n".into(),
    )?;
    instead(
        "worker-proxy.inc",
        format!(
            "bind_socket = \"127.0.0.1:{milter}\"; milter = yes; timeout = 120s; count = 2;\nupstream \"local\" {{ default = yes; self_scan = yes; }}\n"
        ),
    )?;
    instead("worker-normal.inc", format!("bind_socket = \"127.0.0.1:{scan}\"; count = 1;\n"))?;
    instead("worker-controller.inc", format!("bind_socket = \"127.0.0.1:{controller}\"; count = 1;\n"))?;
    instead("worker-fuzzy.inc", "count = -1;\n".into())?;
    // its servers are on the Internet
    instead("fuzzy_check.conf", "enabled = false;\n".into())?;
    instead("actions.conf", "reject = 9999; add_header = 15; greylist = null; rewrite_subject = null;\n".into())?;
    succeed(Command::new("chown").arg("-R").arg("_rspamd").args([dir.join("run"), dir.join("log"), compiled.clone()]))?;
    let mut command = Command::new("/usr/bin/rspamd");
    command.args(["-f", "-u", "_rspamd", "-g", "_rspamd", "-c", "/etc/rspamd/rspamd.conf"]);
    for (name, folder) in [("LOCAL_CONFDIR", "conf"), ("RUNDIR", "run"), ("LOGDIR", "log")] {
        command.arg(format!("--var={name}={at}/{folder}"));
    }
    command.arg(format!("--var=DBDIR={}", compiled.display()));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut group = Group::start("rspamd", &mut command)?;
    if let Err(e) = group.wait_for(|| listens(milter) && listens(scan)) {
        eprintln!("{}", fs::read_to_string(dir.join("log/rspamd.log")).unwrap_or_default());
        return Err(e);
    }
    Ok(Rspamd { group, milter, scan })
}

/// A running spamd.
pub struct Spamd {
    _group: Group,
    pub port: u16,
}

/// Debian's rules as they come, two children, local tests only (`-L`): nothing is asked of the Internet, and nothing is
/// learnt from message to message. The first hop above our own mail server is the client.
pub fn spamd(world: &World) -> Result<Spamd> {
    let dir = fresh(world, "spamd")?;
    let port = free_port()?;
    let site = dir.join("site");
    fs::create_dir_all(&site)?;
    for entry in fs::read_dir("/etc/spamassassin").context("/etc/spamassassin")? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|e| e == "pre")) {
            fs::copy(&path, site.join(name))?;
        }
    }
    fs::write(
        site.join("local.cf"),
        "use_bayes 0\nuse_txrep 0\nuse_auto_whitelist 0\nskip_rbl_checks 1\ntrusted_networks 127.0.0.0/8\n",
    )?;
    let mut command = Command::new("/usr/sbin/spamd");
    command.args([
        "-L",
        "-x",
        "-m",
        "2",
        "--min-children=2",
        "-i",
        "127.0.0.1",
        "-u",
        "nobody",
        "-p",
        &port.to_string(),
    ]);
    command.arg(format!("--siteconfigpath={}", site.display())).args(["-C", "/usr/share/spamassassin"]);
    command.arg(format!("--pidfile={}", dir.join("pid").display())).args(["-s", "stderr"]);
    command.stdout(Stdio::null()).stderr(fs::File::create(dir.join("log"))?);
    let mut group = Group::start("spamd", &mut command)?;
    if let Err(e) = group.wait_for(|| listens(port)) {
        eprintln!("{}", fs::read_to_string(dir.join("log")).unwrap_or_default());
        return Err(e);
    }
    Ok(Spamd { _group: group, port })
}

fn succeed(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| shown.clone())?;
    if !status.success() {
        bail!("{shown} ended with {status}");
    }
    Ok(())
}

/// `3.7.11`, for the heading of the figures.
pub fn version(system: System) -> Option<String> {
    match system {
        System::Postfix => version_of("/usr/sbin/postconf", &["-d", "-h", "mail_version"]),
        System::PostfixRspamd => version_of("/usr/bin/rspamd", &["--version"]),
        System::Floor | System::Posthouse => None,
    }
}

pub fn version_of(program: &str, args: &[&str]) -> Option<String> {
    let said = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    text.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}
