//! The stage of the demo: a simulated Microsoft 365, a real gateway, and the world told about each other.

use super::door::Door;
use crate::config::Config;
use crate::wiring;
use anyhow::{Context, Result};
use serde_json::json;
use std::path::Path;
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
}

impl Stage {
    pub async fn start(dir: &Path) -> Result<Stage> {
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
        std::fs::write(&config_file, configuration(dir, &endpoints))?;
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
        Ok(Stage { config, simulator, gateway, store, door })
    }
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
