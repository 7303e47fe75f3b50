//! `[notify]`: who is told of alerts. Addresses of webhooks and secrets are quoted in no complaint.

use super::ConfigError;
use super::complaint::Complaint;
use control::notify::SyslogAddress;
use serde::Deserialize;
use std::path::PathBuf;
use store::Severity;
use tenant::Secret;
use toml::Spanned;

/// One who is told, checked.
#[derive(Clone, Debug)]
pub struct NotifyTarget {
    pub name: String,
    pub least: Severity,
    pub tenants: Vec<String>,
    pub way: NotifyWay,
}

#[derive(Clone, Debug)]
pub enum NotifyWay {
    Webhook { url: Secret, secret: SecretSource, roots: Option<PathBuf> },
    Syslog { address: SyslogAddress, facility: u8 },
    Mail { from: String, to: Vec<String>, host: String, port: u16 },
}

#[derive(Clone, Debug)]
pub enum SecretSource {
    Written(Secret),
    File(PathBuf),
}

/// A shorter one can be guessed from one signed notice; 32 characters of hex are 128 bits.
pub const SECRET_CHARACTERS_MIN: usize = 32;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifySection {
    least: Option<Spanned<String>>,
    #[serde(default)]
    webhook: Vec<WebhookSection>,
    #[serde(default)]
    syslog: Vec<SyslogSection>,
    #[serde(default)]
    mail: Vec<MailSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookSection {
    name: Option<String>,
    url: Spanned<String>,
    secret: Option<Spanned<String>>,
    secret_file: Option<PathBuf>,
    roots: Option<PathBuf>,
    least: Option<Spanned<String>>,
    #[serde(default)]
    tenants: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SyslogSection {
    name: Option<String>,
    address: Spanned<String>,
    facility: Option<Spanned<String>>,
    least: Option<Spanned<String>>,
    #[serde(default)]
    tenants: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MailSection {
    name: Option<String>,
    from: Spanned<String>,
    to: Spanned<Vec<Spanned<String>>>,
    smart_host: Spanned<String>,
    least: Option<Spanned<String>>,
    #[serde(default)]
    tenants: Vec<String>,
}

pub(super) fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Host and port of `host:port` or `[address]:port`.
fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    (!host.is_empty()).then_some(())?;
    Some((host.to_owned(), port.parse().ok()?))
}

impl Complaint<'_> {
    pub(super) fn notify(&self, written: NotifySection) -> Result<Vec<NotifyTarget>, ConfigError> {
        let least = self.or(self.least(written.least.as_ref(), Severity::Medium), Severity::Medium);
        let mut targets: Vec<(usize, NotifyTarget)> = Vec::new();
        for w in written.webhook {
            let at = w.url.span().start;
            targets.extend(self.or(self.webhook(w, least).map(|t| Some((at, t))), None));
        }
        for s in written.syslog {
            let at = s.address.span().start;
            targets.extend(self.or(self.syslog(s, least).map(|t| Some((at, t))), None));
        }
        for m in written.mail {
            let at = m.from.span().start;
            targets.extend(self.or(self.mail(m, least).map(|t| Some((at, t))), None));
        }
        let mut names = std::collections::BTreeSet::new();
        for (at, target) in &targets {
            if !names.insert(&target.name) {
                let name = &target.name;
                return Err(self.at(*at, format!("section `notify`: two are called \"{name}\"; expected a `name` of its own for each, under which `posthouse alerts` shows it")));
            }
        }
        Ok(targets.into_iter().map(|(_, t)| t).collect())
    }

    fn least(&self, written: Option<&Spanned<String>>, otherwise: Severity) -> Result<Severity, ConfigError> {
        let Some(written) = written else { return Ok(otherwise) };
        match written.get_ref().as_str() {
            "low" => Ok(Severity::Low),
            "medium" => Ok(Severity::Medium),
            "high" => Ok(Severity::High),
            other => Err(self.at(
                written.span().start,
                format!("key `notify.least`: \"{other}\" is not \"low\", \"medium\" or \"high\""),
            )),
        }
    }

    fn webhook(&self, w: WebhookSection, least: Severity) -> Result<NotifyTarget, ConfigError> {
        let at = w.url.span().start;
        let wrong = || {
            let expected = "key `notify.webhook.url`: expected an https address, e.g. \"https://hooks.example.net/posthouse\"; http only to this machine";
            self.at(at, expected.into())
        };
        let url = reqwest::Url::parse(w.url.get_ref()).map_err(|_| wrong())?;
        if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
            return Err(wrong());
        }
        let secret = match (w.secret, w.secret_file) {
            (Some(secret), None) if secret.get_ref().chars().count() < SECRET_CHARACTERS_MIN => {
                return Err(self.at(secret.span().start, format!("key `notify.webhook.secret`: expected at least {SECRET_CHARACTERS_MIN} characters, e.g. what `openssl rand -hex 32` prints")));
            }
            (Some(secret), None) => SecretSource::Written(Secret::new(secret.into_inner())),
            (None, Some(file)) => SecretSource::File(file),
            _ => return Err(self.at(at, "section `notify.webhook`: expected either `secret` or `secret_file`; receivers verify our signature by it".into())),
        };
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
        Ok(NotifyTarget {
            name: w.name.unwrap_or_else(|| format!("webhook {host}{port}")),
            least: self.least(w.least.as_ref(), least)?,
            tenants: w.tenants,
            way: NotifyWay::Webhook { url: Secret::new(w.url.into_inner()), secret, roots: w.roots },
        })
    }

    fn syslog(&self, s: SyslogSection, least: Severity) -> Result<NotifyTarget, ConfigError> {
        let text = s.address.get_ref().clone();
        let host = |rest: &str| host_port(rest).map(|_| rest.to_owned());
        let address = match text.split_once("://") {
            Some(("udp", rest)) => host(rest).map(SyslogAddress::Udp),
            Some(("tcp", rest)) => host(rest).map(SyslogAddress::Tcp),
            Some(("unix", path)) if path.starts_with('/') => Some(SyslogAddress::Unix(path.into())),
            _ => None,
        };
        let address = address.ok_or_else(|| {
            self.at(s.address.span().start, format!("key `notify.syslog.address`: \"{text}\" is not like \"udp://log.example.net:514\", \"tcp://log.example.net:601\" or \"unix:///dev/log\""))
        })?;
        let facility = match &s.facility {
            None => control::notify::facility("daemon").unwrap_or_default(),
            Some(name) => control::notify::facility(name.get_ref()).ok_or_else(|| {
                self.at(
                    name.span().start,
                    format!(
                        "key `notify.syslog.facility`: \"{}\" is not a facility such as \"daemon\" or \"local0\"",
                        name.get_ref()
                    ),
                )
            })?,
        };
        Ok(NotifyTarget {
            name: s.name.unwrap_or_else(|| format!("syslog {text}")),
            least: self.least(s.least.as_ref(), least)?,
            tenants: s.tenants,
            way: NotifyWay::Syslog { address, facility },
        })
    }

    fn mail(&self, m: MailSection, least: Severity) -> Result<NotifyTarget, ConfigError> {
        let address = |key: &str, written: &Spanned<String>| -> Result<String, ConfigError> {
            let text = written.get_ref();
            let plain = text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
                && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>'));
            if plain {
                return Ok(text.clone());
            }
            Err(self.at(
                written.span().start,
                format!("key `notify.mail.{key}`: \"{text}\" is not a mail address such as \"ops@example.net\""),
            ))
        };
        if m.to.get_ref().is_empty() {
            return Err(self.at(m.to.span().start, "key `notify.mail.to`: expected at least one mail address".into()));
        }
        let to = m.to.get_ref().iter().map(|t| address("to", t)).collect::<Result<Vec<_>, _>>()?;
        let smart_host = m.smart_host.get_ref();
        let host = host_port(smart_host).filter(|(h, _)| h.contains('.') || h.contains(':'));
        let (host, port) = host.ok_or_else(|| {
            self.at(
                m.smart_host.span().start,
                format!("key `notify.mail.smart_host`: \"{smart_host}\" is not a host and port such as \"mail.example.net:25\" or \"127.0.0.1:25\""),
            )
        })?;
        Ok(NotifyTarget {
            name: m.name.unwrap_or_else(|| format!("mail {}", to.join(", "))),
            least: self.least(m.least.as_ref(), least)?,
            tenants: m.tenants,
            way: NotifyWay::Mail { from: address("from", &m.from)?, to, host, port },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Config, EXAMPLE};
    use std::path::Path;

    fn with(section: &str) -> Result<Config, String> {
        match Config::parse(Path::new("posthouse.toml"), &format!("{EXAMPLE}\n{section}")) {
            (Some(config), complaints) if complaints.is_empty() => Ok(config),
            (_, complaints) => Err(complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }

    /// The commented example, its comment signs taken off.
    #[test]
    fn the_commented_example_is_accepted() {
        let (before, notify) = EXAMPLE.split_once("# [notify]").unwrap();
        let uncommented = notify.lines().map(|l| l.strip_prefix("# ").filter(|l| l.contains(['=', '['])).unwrap_or(""));
        let text = format!("{before}[notify]\n{}", uncommented.collect::<Vec<_>>().join("\n"));
        let (config, complaints) = Config::parse(Path::new("posthouse.toml"), &text);
        assert!(complaints.is_empty(), "{complaints:?}");
        let config = config.unwrap();
        let names: Vec<_> = config.notify.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(
            names,
            ["webhook hooks.example.net", "syslog udp://log.example.net:514", "mail ops@example.net"],
            "{text}"
        );
        assert!(!format!("{config:?}").contains("hooks.example.net/"), "a debug print shows a webhook's address");
    }

    #[test]
    fn complaints_say_what_is_expected_and_quote_no_secret() {
        let secret = "0123456789abcdef0123456789abcdef";
        let hook = |url: &str, rest: &str| format!("[[notify.webhook]]\nurl = \"{url}\"\n{rest}\n");
        let good = format!("secret = \"{secret}\"");
        let cases = [
            ("http to elsewhere", hook("http://hooks.example.net/token", &good)),
            ("no address", hook("token", &good)),
            ("a short secret", hook("https://hooks.example.net/token", "secret = \"token\"")),
            ("no secret", hook("https://hooks.example.net/token", "")),
            ("both secrets", hook("https://hooks.example.net/token", &format!("{good}\nsecret_file = \"x\""))),
            ("a wrong least", format!("[notify]\nleast = \"loud\"\n{}", hook("https://a.example.net", &good))),
            ("twice the same", hook("https://a.example.net", &good) + &hook("https://a.example.net/b", &good)),
            ("a wrong scheme", "[[notify.syslog]]\naddress = \"log.example.net\"".into()),
            ("a wrong facility", "[[notify.syslog]]\naddress = \"unix:///dev/log\"\nfacility = \"x\"".into()),
            (
                "no mail address",
                "[[notify.mail]]\nfrom = \"posthouse\"\nto = [\"ops@example.net\"]\nsmart_host = \"mail.example.net:25\"".into(),
            ),
            (
                "nobody",
                "[[notify.mail]]\nfrom = \"p@example.net\"\nto = []\nsmart_host = \"mail.example.net:25\"".into(),
            ),
            (
                "no port",
                "[[notify.mail]]\nfrom = \"p@example.net\"\nto = [\"o@example.net\"]\nsmart_host = \"mail.example.net\"".into(),
            ),
        ];
        let mut text = String::new();
        for (what, section) in cases {
            let said = with(&section).err().unwrap_or_else(|| "accepted".into());
            assert!(!said.contains("token") && !said.contains(secret), "{said}");
            text += &format!("{what}: {said}\n");
        }
        insta::assert_snapshot!(text);
        assert!(with(&hook("http://127.0.0.1:8080/x", &good)).is_ok());
    }
}
