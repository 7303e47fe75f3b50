//! The stage of the demo: a simulated Microsoft 365, a real gateway, and the world told about each other.

use super::door::Door;
use crate::config::Config;
use crate::wiring;
use anyhow::{Context, Result};
use engines::started::{self, Started};
use serde_json::json;
use std::path::{Path, PathBuf};
use store::Store;

pub const ZONE: &str = "connect.posthouse.example";
pub const HOSTNAME: &str = "gw.posthouse.example";

/// Everything that runs.
pub struct Stage {
    pub config: Config,
    pub simulator: m365_sim::Simulator,
    pub gateway: gateway::Running,
    pub store: Store,
    pub door: Door,
    /// Real ones, where they are installed.
    pub scanners: Vec<Started>,
}

impl Stage {
    pub async fn start(dir: &Path, with_scanners: bool) -> Result<Stage> {
        let simulator = m365_sim::Simulator::start(m365_sim::Options::demo(dir))
            .await
            .context("the simulated Microsoft 365 does not start")?;
        let endpoints = serde_json::to_value(&simulator.endpoints)?;
        let door = Door::new(endpoints["control"].as_str().unwrap_or_default());
        let authority = door.post("/pki/issuing-ca", json!({})).await?;
        let file = |name: &str| dir.join(name);
        write_private(&file("authority.pem"), authority["chain_pem"].as_str().unwrap_or_default())?;
        write_private(&file("authority.key"), authority["key_pem"].as_str().unwrap_or_default())?;
        let config_file = file("posthouse.toml");
        let scanners = if with_scanners { scanners(dir).await? } else { Vec::new() };
        std::fs::write(&config_file, configuration(dir, &endpoints) + &sections(&scanners))?;
        let mut config = Config::read(&config_file)?;
        let store = Store::open(&config.data_dir).await?;
        let gateway = gateway::start(wiring::gateway_settings(&config)?, store.clone()).await?;
        // the ports are only known now; a second terminal reads the same file
        config.listen = gateway.smtp_address;
        config.zone_listen = gateway.dns_address;
        let dns = gateway.dns_address.context("the gateway serves no zone")?;
        door.post("/dns/forward", json!({"zone": ZONE, "server": dns.to_string()})).await?;
        door.post("/dns/record", json!({"name": HOSTNAME, "type": "A", "values": ["127.0.0.1"]})).await?;
        door.post("/smtp-ports", json!({"host": HOSTNAME, "port": gateway.smtp_address.port()})).await?;
        door.patch("/switches", json!({"record_wire": true})).await?;
        Ok(Stage { config, simulator, gateway, store, door, scanners })
    }
}

/// clamd and rspamd; without them the detectors judge alone.
async fn scanners(dir: &Path) -> Result<Vec<Started>> {
    let missing = started::missing();
    if !missing.is_empty() {
        println!("without outside scanners: {} missing (Debian: clamav-daemon, rspamd)", missing.join(" and "));
        return Ok(Vec::new());
    }
    println!("starting clamd and rspamd …");
    let folder = |name: &str| -> Result<PathBuf> {
        let folder = dir.join(name);
        std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    };
    let (clamd, rspamd) = (folder("clamd")?, folder("rspamd")?);
    let both = move || std::io::Result::Ok(vec![started::clamd(&clamd)?, started::rspamd(&rspamd)?]);
    tokio::task::spawn_blocking(both).await?.context("an outside scanner does not start")
}

fn sections(scanners: &[Started]) -> String {
    let one = |(kind, scanner): (&str, &Started)| {
        format!("\n[[engine]]\nkind = \"{kind}\"\naddress = \"{}\"\n", scanner.addresses[0])
    };
    ["clamd", "rspamd"].into_iter().zip(scanners).map(one).collect()
}

fn configuration(dir: &Path, endpoints: &serde_json::Value) -> String {
    let at = |key: &str| endpoints[key].as_str().unwrap_or_default().to_owned();
    let port = at("smtp_mx").rsplit(':').next().unwrap_or("25").to_owned();
    let (dir, ca) = (dir.display(), at("ca_file"));
    format!(
        r#"# Written by `posthouse demo`: a gateway before a simulated Microsoft 365.
data_dir = "{dir}/data"

[gateway]
listen = "127.0.0.1:0"
hostname = "{HOSTNAME}"
microsoft_ranges = ["127.0.40.0/24"]
egress_address = "127.0.50.1"
return_port = {port}

[status]
listen = "127.0.0.1:0"

[zone]
name = "{ZONE}"
listen = "127.0.0.1:0"

[certificates]
authority_chain = "{dir}/authority.pem"
authority_key = "{dir}/authority.key"
trusted_roots = "{ca}"

[dns]
resolver = "{}"

[microsoft]
login = "{}"
graph = "{}"
exchange = "{}"
activity = "{}"
roots = "{ca}"
"#,
        at("dns"),
        at("login"),
        at("graph"),
        at("exchange"),
        at("activity"),
    )
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    open.write_all(text.as_bytes()).with_context(|| file.display().to_string())
}
