//! The configuration file: first exactly what the operator wrote, then checked values.
//!
//! Every complaint names the file, the line, the key and what is expected there.

mod notify;

pub use notify::{NotifyTarget, NotifyWay, SECRET_CHARACTERS_MIN, SecretSource};

use ipnet::IpNet;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub file: PathBuf,
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub hostname: String,
    pub certificate: Option<(PathBuf, PathBuf)>,
    pub microsoft_ranges: Vec<IpNet>,
    pub microsoft_names: Vec<String>,
    pub egress_address: Option<IpAddr>,
    pub public_address: Option<IpAddr>,
    pub return_port: u16,
    pub zone: String,
    pub zone_listen: Option<SocketAddr>,
    pub issuer: Issuer,
    pub trusted_roots: Option<PathBuf>,
    pub resolver: Option<SocketAddr>,
    pub microsoft: MicrosoftSection,
    pub arc_sealer: Option<String>,
    pub arc_key: Option<PathBuf>,
    pub arc_selector: String,
    pub sending_infrastructure: Option<String>,
    pub watch: control::Rhythm,
    pub notify: Vec<NotifyTarget>,
}

/// Where the per-tenant return certificates come from.
#[derive(Clone, Debug)]
pub enum Issuer {
    /// `<name>.pem` and `<name>.key` put there by the operator (or an ACME client).
    Directory(PathBuf),
    /// An issuing certificate authority whose root Exchange Online trusts.
    Authority { chain: PathBuf, key: PathBuf },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: Spanned<PathBuf>,
    gateway: GatewaySection,
    zone: ZoneSection,
    certificates: Spanned<CertificateSection>,
    #[serde(default)]
    dns: DnsSection,
    #[serde(default)]
    microsoft: MicrosoftSection,
    #[serde(default)]
    watch: WatchSection,
    #[serde(default)]
    notify: notify::NotifySection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(default)]
struct WatchSection {
    /// Seconds between two looks at everything of ours in a tenant.
    every_secs: u64,
    /// Seconds between two readings of the audit feed.
    feed_secs: u64,
    /// Seconds between two probes in each direction.
    probe_secs: u64,
    /// A probe that has not come back by then is lost.
    probe_patience_secs: u64,
}

impl Default for WatchSection {
    /// A dozen cmdlets a look and two requests a reading: far below what Microsoft lets an application do, and soon
    /// enough for a person. A probe an hour is noticed by nobody but us; in the field its round trip takes seconds, under
    /// a backlog of Microsoft's minutes.
    fn default() -> WatchSection {
        WatchSection { every_secs: 300, feed_secs: 60, probe_secs: 3600, probe_patience_secs: 600 }
    }
}

impl WatchSection {
    fn rhythm(&self) -> control::Rhythm {
        let secs = |n: u64| std::time::Duration::from_secs(n.max(1));
        control::Rhythm {
            look: secs(self.every_secs),
            feed: secs(self.feed_secs),
            probe: secs(self.probe_secs),
            probe_patience: secs(self.probe_patience_secs),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewaySection {
    listen: Spanned<String>,
    hostname: Spanned<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    microsoft_ranges: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    microsoft_names: Vec<String>,
    egress_address: Option<Spanned<String>>,
    sending_infrastructure: Option<String>,
    arc_sealer: Option<String>,
    arc_key: Option<Spanned<PathBuf>>,
    arc_selector: Option<Spanned<String>>,
    public_address: Option<Spanned<String>>,
    #[serde(default = "smtp_port")]
    return_port: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneSection {
    name: Spanned<String>,
    listen: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateSection {
    directory: Option<PathBuf>,
    authority_chain: Option<PathBuf>,
    authority_key: Option<PathBuf>,
    trusted_roots: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct DnsSection {
    resolver: Option<Spanned<String>>,
}

/// Addresses of Microsoft's services; everything but `cloud` is for rehearsals and new clouds.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct MicrosoftSection {
    pub cloud: Option<String>,
    pub login: Option<String>,
    pub graph: Option<String>,
    pub exchange: Option<String>,
    pub activity: Option<String>,
    /// Certificates to trust for these addresses beside the public ones (PEM).
    pub roots: Option<PathBuf>,
    /// Public client through which an administrator signs in.
    pub public_client_id: Option<String>,
}

fn smtp_port() -> u16 {
    25
}

/// A complaint about the file, ready to be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {source}\nsay where the configuration is with --config FILE; `posthouse config example` prints one to start from", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("{}:{line}: {message}", file.display())]
    Wrong { file: PathBuf, line: usize, message: String },
}

/// What `posthouse config example` prints; the tests read it back.
pub const EXAMPLE: &str = include_str!("example.toml");

impl Config {
    pub fn read(file: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
        Config::parse(file, &text)
    }

    pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
        let written: File = toml::from_str(text).map_err(|e| Complaint { file, text }.of_toml(&e))?;
        Complaint { file, text }.check(written)
    }
}

struct Complaint<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Complaint<'_> {
    fn at(&self, offset: usize, message: String) -> ConfigError {
        let line = self.text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1;
        ConfigError::Wrong { file: self.file.to_owned(), line, message }
    }

    fn of_toml(&self, error: &toml::de::Error) -> ConfigError {
        let offset = error.span().map_or(0, |s| s.start);
        let line = self.text[..offset.min(self.text.len())].rsplit('\n').next().unwrap_or("").len();
        let whole = self.text[offset.min(self.text.len()) - line.min(offset)..].lines().next().unwrap_or("");
        let key = whole.split_once('=').map(|(k, _)| k.trim()).filter(|k| !k.is_empty());
        let message = error.message().trim().replace('\n', " ");
        let message = match key {
            Some(key) if !message.contains(&format!("`{key}`")) => format!("key `{key}`: {message}"),
            _ => message,
        };
        self.at(offset, message)
    }

    fn value<T: std::str::FromStr>(
        &self,
        key: &str,
        value: &Spanned<String>,
        expected: &str,
    ) -> Result<T, ConfigError> {
        value
            .get_ref()
            .parse()
            .map_err(|_| self.at(value.span().start, format!("key `{key}`: \"{}\" is not {expected}", value.get_ref())))
    }

    /// One label of a domain name.
    fn label(&self, key: &str, value: &Spanned<String>) -> Result<String, ConfigError> {
        let label = value.get_ref();
        if (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Ok(label.to_ascii_lowercase());
        }
        Err(self.at(value.span().start, format!("key `{key}`: \"{label}\" is not one label of a domain name")))
    }

    fn host_name(&self, key: &str, value: &Spanned<String>) -> Result<String, ConfigError> {
        let name = value.get_ref().trim_end_matches('.').to_ascii_lowercase();
        let label =
            |l: &str| !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if name.contains('.') && name.split('.').all(label) {
            return Ok(name);
        }
        Err(self.at(
            value.span().start,
            format!(
                "key `{key}`: \"{}\" is not a host name with at least one dot, e.g. \"gw.example.net\"",
                value.get_ref()
            ),
        ))
    }

    fn check(&self, written: File) -> Result<Config, ConfigError> {
        let (gateway, zone) = (written.gateway, written.zone);
        let certificate =
            match (gateway.certificate, gateway.key) {
                (Some(chain), Some(key)) => Some((chain, key)),
                (None, None) => None,
                _ => return Err(self.at(
                    gateway.hostname.span().start,
                    "keys `gateway.certificate` and `gateway.key` are expected together: a PEM chain and its PEM key"
                        .into(),
                )),
            };
        if gateway.microsoft_ranges.get_ref().is_empty() {
            return Err(self.at(gateway.microsoft_ranges.span().start, "key `gateway.microsoft_ranges`: expected at least one range, e.g. \"40.92.0.0/15\"; an empty list would refuse all mail".into()));
        }
        let ranges = gateway.microsoft_ranges.get_ref().iter();
        let ranges = ranges
            .map(|r| self.value("gateway.microsoft_ranges", r, "an address range such as \"40.92.0.0/15\""))
            .collect::<Result<_, _>>()?;
        let at = written.certificates.span().start;
        let certificates = written.certificates.into_inner();
        let issuer = match (certificates.directory, certificates.authority_chain, certificates.authority_key) {
            (Some(directory), None, None) => Issuer::Directory(directory),
            (None, Some(chain), Some(key)) => Issuer::Authority { chain, key },
            _ => return Err(self.at(at, "section `certificates`: expected either `directory` (with <name>.pem and <name>.key for each tenant) or both `authority_chain` and `authority_key`".into())),
        };
        let address = "an address and port such as \"0.0.0.0:25\"";
        let zone_name = self.host_name("zone.name", &zone.name)?;
        // an empty text says: none
        let or = |written: Option<String>, usual: Option<String>| {
            written.map_or(usual, |w| Some(w).filter(|w| !w.is_empty())).map(|w| w.to_ascii_lowercase())
        };
        let arc_sealer = or(gateway.arc_sealer, Some(zone_name.clone()));
        if let (Some(key), None) = (&gateway.arc_key, &arc_sealer) {
            return Err(self.at(
                key.span().start,
                "key `gateway.arc_key` needs `gateway.arc_sealer`, the domain that seals".into(),
            ));
        }
        let arc_selector = match &gateway.arc_selector {
            None => "posthouse".into(),
            Some(written) => self.label("gateway.arc_selector", written)?,
        };
        let egress = gateway.egress_address.as_ref().map(|v| v.get_ref().clone());
        Ok(Config {
            arc_sealer,
            arc_key: gateway.arc_key.map(Spanned::into_inner),
            arc_selector,
            sending_infrastructure: or(gateway.sending_infrastructure, egress),
            file: self.file.to_owned(),
            data_dir: written.data_dir.into_inner(),
            listen: self.value("gateway.listen", &gateway.listen, address)?,
            hostname: self.host_name("gateway.hostname", &gateway.hostname)?,
            certificate,
            microsoft_ranges: ranges,
            microsoft_names: if gateway.microsoft_names.is_empty() {
                vec!["mail.protection.outlook.com".into()]
            } else {
                gateway.microsoft_names
            },
            egress_address: gateway
                .egress_address
                .as_ref()
                .map(|v| self.value("gateway.egress_address", v, "an IP address"))
                .transpose()?,
            public_address: gateway
                .public_address
                .as_ref()
                .map(|v| self.value("gateway.public_address", v, "an IP address"))
                .transpose()?,
            return_port: gateway.return_port,
            zone: zone_name,
            zone_listen: zone
                .listen
                .as_ref()
                .map(|v| self.value("zone.listen", v, "an address and port such as \"0.0.0.0:53\""))
                .transpose()?,
            issuer,
            trusted_roots: certificates.trusted_roots,
            resolver: written
                .dns
                .resolver
                .as_ref()
                .map(|v| self.value("dns.resolver", v, "an address and port such as \"127.0.0.1:53\""))
                .transpose()?,
            microsoft: written.microsoft,
            watch: written.watch.rhythm(),
            notify: self.notify(written.notify)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn complaint(change: impl Fn(&str) -> String) -> String {
        match Config::parse(Path::new("posthouse.toml"), &change(EXAMPLE)) {
            Ok(_) => "accepted".into(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn the_example_is_accepted() {
        let config = Config::parse(Path::new("posthouse.toml"), EXAMPLE).unwrap();
        assert_eq!(config.hostname, "gw.posthouse.example");
    }

    #[test]
    fn a_broken_file_names_line_key_and_what_is_expected() {
        let cases = [
            ("a word for a port", complaint(|t| t.replace("return_port = 25", "return_port = \"smtp\""))),
            ("an unknown key", complaint(|t| t.replace("return_port", "retrun_port"))),
            ("not an address", complaint(|t| t.replace("0.0.0.0:25", "everywhere"))),
            ("not a host name", complaint(|t| t.replace("\"gw.posthouse.example\"", "\"gw\""))),
            ("a wrong range", complaint(|t| t.replace("40.92.0.0/15", "40.92.0.0/95"))),
            ("a missing section", complaint(|t| t.replace("[zone]", "[zones]"))),
            ("not toml", complaint(|t| t.replace("[zone]", "[zone"))),
            ("no issuer", complaint(|t| t.replace("directory =", "trusted_roots ="))),
            ("half a certificate", complaint(|t| t.replace("return_port = 25", "certificate = \"a.pem\""))),
        ];
        let text = cases.iter().fold(String::new(), |all, (what, said)| format!("{all}{what}: {said}\n"));
        insta::assert_snapshot!(text);
    }
}
