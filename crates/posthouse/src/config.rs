//! The configuration file: first exactly what the operator wrote, then checked values.
//!
//! Every complaint names the file, the line, the key and what is expected there.

mod complaint;
mod engine;
mod list;
mod notify;
mod web;

pub use complaint::{ConfigError, ConfigErrors};
pub use notify::{NotifyTarget, NotifyWay, SECRET_CHARACTERS_MIN, SecretSource};

pub(crate) use complaint::Complaint;
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
    /// As written here; those of the file come to them.
    pub microsoft_ranges: Vec<IpNet>,
    pub microsoft_ranges_file: Option<PathBuf>,
    pub microsoft_names: Vec<String>,
    pub egress_address: Option<IpAddr>,
    pub public_address: Option<IpAddr>,
    pub return_port: u16,
    /// From the last octet of a message to our answer.
    pub budget: std::time::Duration,
    pub binarymime: bool,
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
    /// Outside scanners.
    pub engines: Vec<engines::EngineSettings>,
    pub lists: Vec<engines::FeedSettings>,
    /// The pages that people see, if there are any.
    pub web: Option<gateway::WebSettings>,
    /// Where /metrics, /healthz and /readyz are; `None`: nowhere.
    pub status: Option<SocketAddr>,
    pub log: LogSettings,
    /// Where traces go, if anywhere.
    pub otlp: Option<String>,
    /// The classifier's model, if there is one.
    pub classifier: Option<PathBuf>,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings { format: LogFormat::Text, level: "info".into() }
    }
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub format: LogFormat,
    /// `info`, or directives such as `info,gateway=debug`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
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
    #[serde(default)]
    engine: Vec<engine::EngineSection>,
    #[serde(default)]
    list: Vec<list::ListSection>,
    #[serde(default)]
    web: web::WebSection,
    #[serde(default)]
    status: StatusSection,
    #[serde(default)]
    log: LogSection,
    #[serde(default)]
    telemetry: TelemetrySection,
    #[serde(default)]
    classifier: ClassifierSection,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ClassifierSection {
    model: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct StatusSection {
    listen: Option<Spanned<String>>,
}

/// To this machine alone: the page asks nobody who he is.
const STATUS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LogSection {
    #[serde(default)]
    format: LogFormat,
    level: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct TelemetrySection {
    otlp: Option<Spanned<String>>,
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
    /// Seconds between two readings of the host that takes a tenant's mail back.
    host_secs: u64,
    /// Seconds between two rounds of the watchdog.
    watchdog_secs: u64,
    /// For rehearsals: how long a minute of what the watchdog allows lasts.
    watchdog_minute_millis: u64,
}

impl Default for WatchSection {
    /// A dozen cmdlets a look and two requests a reading: far below what Microsoft lets an application do, and soon
    /// enough for a person. A probe an hour is noticed by nobody but us; in the field its round trip takes seconds, under
    /// a backlog of Microsoft's minutes.
    fn default() -> WatchSection {
        WatchSection {
            every_secs: 300,
            feed_secs: 60,
            probe_secs: 3600,
            probe_patience_secs: 600,
            host_secs: 86_400,
            watchdog_secs: 60,
            watchdog_minute_millis: 60_000,
        }
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
            host: secs(self.host_secs),
            watchdog: secs(self.watchdog_secs),
            minute: std::time::Duration::from_millis(self.watchdog_minute_millis.clamp(100, 60_000)),
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
    #[serde(default)]
    microsoft_ranges: Vec<Spanned<String>>,
    microsoft_ranges_file: Option<PathBuf>,
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
    budget_secs: Option<Spanned<u64>>,
    #[serde(default)]
    binarymime: bool,
}

/// Below, an ordinary message over a slow line would be late; above, Exchange Online may have given up (transport.md F3.9).
const BUDGET_SECS: std::ops::RangeInclusive<u64> = 2..=45;

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
    pub cloud: Option<Spanned<String>>,
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

/// What `posthouse config example` prints; the tests read it back.
pub const EXAMPLE: &str = include_str!("example.toml");

impl Config {
    pub fn read(file: &Path) -> Result<Config, ConfigErrors> {
        match Config::judge(file) {
            (Some(config), complaints) if complaints.is_empty() => Ok(config),
            (_, complaints) => Err(ConfigErrors(complaints)),
        }
    }

    /// Everything that is wrong with the file, and as much of a configuration as there is: with stand-ins for what was
    /// complained of, good for nothing but looking for more that is wrong.
    pub fn judge(file: &Path) -> (Option<Config>, Vec<ConfigError>) {
        match std::fs::read_to_string(file) {
            Ok(text) => Config::parse(file, &text),
            Err(source) => (None, vec![ConfigError::Unreadable { file: file.to_owned(), source }]),
        }
    }

    fn parse(file: &Path, text: &str) -> (Option<Config>, Vec<ConfigError>) {
        let complaint = Complaint::about(file, text);
        let config = complaint.read().map(|written| complaint.check(written));
        (config, complaint.into_said())
    }
}

impl Complaint<'_> {
    /// One label of a domain name.
    fn label(&self, key: &str, value: &Spanned<String>) -> Result<String, ConfigError> {
        let label = value.get_ref();
        if (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Ok(label.to_ascii_lowercase());
        }
        Err(self.at(value.span().start, format!("key `{key}`: \"{label}\" is not one label of a domain name")))
    }

    fn budget(&self, written: Option<&Spanned<u64>>) -> std::time::Duration {
        let usual = gateway::limits::JOURNEY_BUDGET;
        let Some(secs) = written else { return usual };
        if BUDGET_SECS.contains(secs.get_ref()) {
            return std::time::Duration::from_secs(*secs.get_ref());
        }
        let (from, to) = (BUDGET_SECS.start(), BUDGET_SECS.end());
        let text = format!("key `gateway.budget_secs`: {} is not from {from} to {to} seconds", secs.get_ref());
        self.say(self.at(secs.span().start, text));
        usual
    }

    fn check(&self, written: File) -> Config {
        let (gateway, zone) = (written.gateway, written.zone);
        let (certificate, ranges) = (self.certificate(&gateway), self.ranges(&gateway));
        let nowhere = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
        let address = "an address and port such as \"0.0.0.0:25\"";
        let ip = |key: &str, written: &Option<Spanned<String>>| -> Option<IpAddr> {
            written.as_ref().and_then(|v| self.or(self.value(key, v, "an IP address").map(Some), None))
        };
        let socket = |key: &str, written: &Option<Spanned<String>>, example: &str| -> Option<SocketAddr> {
            let expected = format!("an address and port such as \"{example}\"");
            written.as_ref().and_then(|v| self.or(self.value(key, v, &expected).map(Some), None))
        };
        let zone_name = self.or(self.host_name("zone.name", &zone.name), "zone.invalid".into());
        // an empty text says: none
        let or = |written: Option<String>, usual: Option<String>| {
            written.map_or(usual, |w| Some(w).filter(|w| !w.is_empty())).map(|w| w.to_ascii_lowercase())
        };
        let arc_sealer = or(gateway.arc_sealer, Some(zone_name.clone()));
        if let (Some(key), None) = (&gateway.arc_key, &arc_sealer) {
            self.say(self.at(
                key.span().start,
                "key `gateway.arc_key` needs `gateway.arc_sealer`, the domain that seals".into(),
            ));
        }
        let arc_selector = match &gateway.arc_selector {
            None => "posthouse".into(),
            Some(written) => self.or(self.label("gateway.arc_selector", written), "posthouse".into()),
        };
        let egress = gateway.egress_address.as_ref().map(|v| v.get_ref().clone());
        let status = match &written.status.listen {
            None => Some(STATUS_LISTEN),
            Some(off) if off.get_ref().is_empty() => None,
            some => socket("status.listen", some, "127.0.0.1:9464"),
        };
        let cloud = self.cloud(&written.microsoft);
        Config {
            microsoft_names: if gateway.microsoft_names.is_empty() {
                crate::clouds::certificate_names(&cloud)
            } else {
                gateway.microsoft_names
            },
            arc_sealer,
            arc_key: gateway.arc_key.map(Spanned::into_inner),
            arc_selector,
            sending_infrastructure: or(gateway.sending_infrastructure, egress),
            file: self.file.to_owned(),
            data_dir: written.data_dir.into_inner(),
            listen: self.or(self.value("gateway.listen", &gateway.listen, address), nowhere),
            hostname: self.or(self.host_name("gateway.hostname", &gateway.hostname), "gateway.invalid".into()),
            certificate,
            microsoft_ranges: ranges,
            microsoft_ranges_file: gateway.microsoft_ranges_file,
            egress_address: ip("gateway.egress_address", &gateway.egress_address),
            public_address: ip("gateway.public_address", &gateway.public_address),
            return_port: gateway.return_port,
            budget: self.budget(gateway.budget_secs.as_ref()),
            binarymime: gateway.binarymime,
            zone: zone_name,
            zone_listen: socket("zone.listen", &zone.listen, "0.0.0.0:53"),
            trusted_roots: written.certificates.get_ref().trusted_roots.clone(),
            issuer: self.issuer(written.certificates),
            resolver: socket("dns.resolver", &written.dns.resolver, "127.0.0.1:53"),
            microsoft: written.microsoft,
            watch: written.watch.rhythm(),
            notify: self.or(self.notify(written.notify), Vec::new()),
            engines: self.engines(written.engine),
            lists: self.lists(written.list),
            web: self.web(written.web),
            status,
            log: LogSettings { format: written.log.format, level: self.level(written.log.level) },
            otlp: self.otlp(written.telemetry.otlp),
            classifier: written.classifier.model,
        }
    }

    fn cloud(&self, microsoft: &MicrosoftSection) -> String {
        let Some(written) = &microsoft.cloud else { return "global".into() };
        if m365::Cloud::named(written.get_ref()).is_none() {
            self.say(self.at(
                written.span().start,
                format!(
                    "key `microsoft.cloud`: \"{}\" is not \"global\", \"us-gov-high\", \"us-dod\" or \"china\"",
                    written.get_ref()
                ),
            ));
        }
        written.get_ref().clone()
    }

    fn certificate(&self, gateway: &GatewaySection) -> Option<(PathBuf, PathBuf)> {
        match (gateway.certificate.clone(), gateway.key.clone()) {
            (Some(chain), Some(key)) => Some((chain, key)),
            (None, None) => None,
            _ => {
                self.say(self.at(
                    gateway.hostname.span().start,
                    "keys `gateway.certificate` and `gateway.key` are expected together: a PEM chain and its PEM key"
                        .into(),
                ));
                None
            }
        }
    }

    fn ranges(&self, gateway: &GatewaySection) -> Vec<IpNet> {
        let mut ranges = Vec::new();
        for written in &gateway.microsoft_ranges {
            match self.value("gateway.microsoft_ranges", written, "an address range such as \"40.92.0.0/15\"") {
                Ok(range) => ranges.push(range),
                Err(e) => self.say(e),
            }
        }
        if gateway.microsoft_ranges.is_empty() && gateway.microsoft_ranges_file.is_none() {
            self.say(self.at(
                gateway.listen.span().start,
                format!(
                    "key `gateway.microsoft_ranges`: nothing says from where Exchange Online sends; download {} and name the file under `gateway.microsoft_ranges_file`, or write the ranges here",
                    crate::ranges::SERVICE
                ),
            ));
        }
        ranges
    }

    fn issuer(&self, written: Spanned<CertificateSection>) -> Issuer {
        let at = written.span().start;
        let certificates = written.into_inner();
        match (certificates.directory, certificates.authority_chain, certificates.authority_key) {
            (Some(directory), None, None) => Issuer::Directory(directory),
            (None, Some(chain), Some(key)) => Issuer::Authority { chain, key },
            _ => {
                self.say(self.at(at, "section `certificates`: expected either `directory` (with <name>.pem and <name>.key for each tenant) or both `authority_chain` and `authority_key`".into()));
                Issuer::Directory(PathBuf::new())
            }
        }
    }

    fn level(&self, written: Option<Spanned<String>>) -> String {
        let Some(written) = written else { return LogSettings::default().level };
        if tracing_subscriber::EnvFilter::try_new(written.get_ref()).is_err() {
            self.say(self.at(
                written.span().start,
                format!(
                    "key `log.level`: \"{}\" is not a level such as \"info\", or levels of parts such as \"info,gateway=debug\"",
                    written.get_ref()
                ),
            ));
        }
        written.into_inner()
    }

    fn otlp(&self, written: Option<Spanned<String>>) -> Option<String> {
        let written = written.filter(|w| !w.get_ref().is_empty())?;
        let right = reqwest::Url::parse(written.get_ref()).is_ok_and(|u| matches!(u.scheme(), "http" | "https"));
        let problem = match (right, cfg!(feature = "otlp")) {
            (false, _) => "is not an address such as \"http://127.0.0.1:4318/v1/traces\"",
            (true, false) => "cannot be used: this posthouse was built without the feature `otlp`",
            (true, true) => return Some(written.into_inner()),
        };
        self.say(self.at(written.span().start, format!("key `telemetry.otlp`: \"{}\" {problem}", written.get_ref())));
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn complaint(change: impl Fn(&str) -> String) -> String {
        let (_, complaints) = Config::parse(Path::new("posthouse.toml"), &change(EXAMPLE));
        if complaints.is_empty() { "accepted".into() } else { ConfigErrors(complaints).to_string() }
    }

    #[test]
    fn the_example_is_accepted() {
        let (config, complaints) = Config::parse(Path::new("posthouse.toml"), EXAMPLE);
        assert!(complaints.is_empty(), "{complaints:?}");
        let config = config.unwrap();
        assert_eq!((config.hostname.as_str(), config.binarymime), ("gw.posthouse.example", false));
        let on = EXAMPLE.replace("# binarymime = false", "binarymime = true");
        assert!(Config::parse(Path::new("posthouse.toml"), &on).0.unwrap().binarymime);
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
            ("no ranges", complaint(|t| t.replace("microsoft_ranges = [", "microsoft_ranges = [] # ["))),
            ("a wrong level", complaint(|t| t.replace("# level = \"info\"", "level = \"info=loud=1\""))),
            ("a wrong format", complaint(|t| t.replace("# format = \"text\"", "format = \"xml\" #"))),
            ("not a cloud", complaint(|t| t.replace("# cloud = \"global\" |", "cloud = \"mars\" #"))),
            ("nothing like a key", complaint(|t| t.replace("return_port = 25", "colour = \"blue\""))),
            ("a missing key", complaint(|t| t.replace("hostname = \"gw.posthouse.example\"", ""))),
            (
                "everything at once",
                complaint(|t| {
                    t.replace("return_port = 25", "retrun_port = 25")
                        .replace("0.0.0.0:53", "everywhere")
                        .replace("40.92.0.0/15", "40.92.0.0/95")
                        .replace("every_secs = 300", "every_secs = \"often\"")
                        .replace("feed_secs", "fed_secs")
                }),
            ),
            ("half a certificate", complaint(|t| t.replace("return_port = 25", "certificate = \"a.pem\""))),
        ];
        let text = cases.iter().fold(String::new(), |all, (what, said)| format!("{all}{what}: {said}\n"));
        insta::assert_snapshot!(text);
    }
}
