//! SIGHUP: the configuration is read again while sessions go on. All of it is taken or none of it.

use crate::check::{self, Level};
use crate::config::Config;

/// A key, and its value as text.
type Key = (&'static str, fn(&Config) -> String);

/// Keys that are in effect at once.
const AT_ONCE: &[Key] = &[
    ("gateway.certificate", |c| format!("{:?}", c.certificate.as_ref().map(|p| &p.0))),
    ("gateway.key", |c| format!("{:?}", c.certificate.as_ref().map(|p| &p.1))),
    ("gateway.microsoft_names", |c| format!("{:?}", c.microsoft_names)),
    ("gateway.microsoft_ranges", |c| format!("{:?}", c.microsoft_ranges)),
    ("gateway.microsoft_ranges_file", |c| format!("{:?}", c.microsoft_ranges_file)),
    ("log.level", |c| c.log.level.clone()),
    ("notify", |c| format!("{:?}", c.notify)),
];

/// Keys that are in effect at the next start.
const AT_START: &[Key] = &[
    ("data_dir", |c| c.data_dir.display().to_string()),
    ("gateway.listen", |c| c.listen.to_string()),
    ("gateway.hostname", |c| c.hostname.clone()),
    ("gateway.return_port", |c| c.return_port.to_string()),
    ("gateway.egress_address", |c| format!("{:?}", c.egress_address)),
    ("gateway.public_address", |c| format!("{:?}", c.public_address)),
    ("gateway.arc_sealer", |c| format!("{:?}", c.arc_sealer)),
    ("gateway.arc_key", |c| format!("{:?}", c.arc_key)),
    ("gateway.arc_selector", |c| c.arc_selector.clone()),
    ("gateway.budget_secs", |c| format!("{:?}", c.budget)),
    ("gateway.binarymime", |c| c.binarymime.to_string()),
    ("gateway.sending_infrastructure", |c| format!("{:?}", c.sending_infrastructure)),
    ("zone.name", |c| c.zone.clone()),
    ("zone.listen", |c| format!("{:?}", c.zone_listen)),
    ("certificates", |c| format!("{:?} {:?}", c.issuer, c.trusted_roots)),
    ("dns.resolver", |c| format!("{:?}", c.resolver)),
    ("microsoft", |c| format!("{:?}", c.microsoft)),
    ("watch", |c| format!("{:?}", c.watch)),
    ("engine", |c| format!("{:?}", c.engines)),
    ("list", |c| format!("{:?}", c.lists)),
    ("web", |c| format!("{:?}", c.web)),
    ("status.listen", |c| format!("{:?}", c.status)),
    ("log.format", |c| format!("{:?}", c.log.format)),
    ("telemetry.otlp", |c| format!("{:?}", c.otlp)),
    ("classifier.model", |c| format!("{:?}", c.classifier)),
];

fn changed(keys: &[Key], before: &Config, after: &Config) -> Vec<&'static str> {
    keys.iter().filter(|(_, value)| value(before) != value(after)).map(|(key, _)| *key).collect()
}

/// What was read and is right.
pub struct Reread {
    /// As running, with what can be changed changed.
    pub config: Config,
    /// What differs and waits for the next start.
    pub waits: Vec<&'static str>,
    pub notify_changed: bool,
    pub level_changed: bool,
}

/// Reads the file again. `Err` is one sentence that says everything that is wrong.
pub fn read_again(running: &Config, started_with: &Config) -> Result<Reread, String> {
    let written = Config::read(&running.file).map_err(|e| e.to_string().replace('\n', "; "))?;
    let config = Config {
        certificate: written.certificate.clone(),
        microsoft_names: written.microsoft_names.clone(),
        microsoft_ranges: written.microsoft_ranges.clone(),
        microsoft_ranges_file: written.microsoft_ranges_file.clone(),
        notify: written.notify.clone(),
        log: crate::config::LogSettings { level: written.log.level.clone(), format: running.log.format },
        ..running.clone()
    };
    let problems: Vec<String> =
        check::readable(&config).iter().filter(|c| c.level == Level::Problem).map(ToString::to_string).collect();
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let at_once = changed(AT_ONCE, running, &config);
    Ok(Reread {
        waits: changed(AT_START, started_with, &written),
        notify_changed: at_once.contains(&"notify"),
        level_changed: at_once.contains(&"log.level"),
        config,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::EXAMPLE;

    /// docs/operate.md has the table.
    #[test]
    fn every_key_is_told_in_the_documented_table() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate.md")).unwrap();
        let row = |start: &str| page.lines().find(|l| l.starts_with(start)).unwrap_or_default().to_owned();
        let (at_once, at_start) = (row("| at once |"), row("| at the next start |"));
        for (key, _) in AT_ONCE {
            assert!(at_once.contains(&format!("`{key}`")), "{key} is not in: {at_once}");
        }
        for (key, _) in AT_START {
            assert!(at_start.contains(&format!("`{key}`")), "{key} is not in: {at_start}");
        }
    }

    /// Whatever stands in the example, changed, is noticed as one or the other.
    #[test]
    fn no_change_goes_unnoticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("posthouse.toml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Config::read(&file).unwrap()
        };
        let before = read(EXAMPLE);
        let changes = [
            ("data_dir = \"/var/lib/posthouse\"", "data_dir = \"/elsewhere\""),
            ("listen = \"0.0.0.0:25\"", "listen = \"0.0.0.0:26\""),
            ("gw.posthouse.example\"", "gw2.posthouse.example\""),
            ("# certificate =", "key = \"k\"\ncertificate ="),
            ("40.92.0.0/15", "40.92.0.0/16"),
            ("# microsoft_ranges_file", "microsoft_ranges_file"),
            ("# microsoft_names = [\"mail.", "microsoft_names = [\"other."),
            ("# egress_address", "egress_address"),
            ("# public_address", "public_address"),
            ("return_port = 25", "return_port = 26"),
            ("# arc_sealer = \"connect", "arc_sealer = \"other"),
            ("# sending_infrastructure", "sending_infrastructure"),
            ("name = \"connect.", "name = \"other."),
            ("listen = \"0.0.0.0:53\"", "listen = \"0.0.0.0:54\""),
            ("directory = \"/etc", "directory = \"/srv"),
            ("# trusted_roots", "trusted_roots"),
            ("# resolver", "resolver"),
            ("[microsoft]", "[microsoft]\nlogin = \"https://login.example\""),
            ("every_secs = 300", "every_secs = 301"),
            (
                "# [[list]]\n# name = \"phishing\"\n# kind = \"url\"\n# source",
                "[[list]]\nname = \"phishing\"\nkind = \"url\"\nsource",
            ),
            ("# [[engine]]\n# kind = \"clamd\"\n# address", "[[engine]]\nkind = \"clamd\"\naddress"),
            ("# public_url = \"https://links", "public_url = \"https://links"),
            ("# listen = \"127.0.0.1:9464\"", "listen = \"\""),
            ("# format = \"text\"", "format = \"json\" #"),
            ("# level = \"info\"", "level = \"debug\""),
        ];
        for (from, to) in changes {
            assert!(EXAMPLE.contains(from), "{from} is not in the example");
            let after = read(&EXAMPLE.replacen(from, to, 1));
            let noticed = [changed(AT_ONCE, &before, &after), changed(AT_START, &before, &after)].concat();
            assert!(!noticed.is_empty(), "{to} is not noticed");
        }
    }
}
