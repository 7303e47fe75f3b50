//! `posthouse check-config`: everything that can be known to be wrong without serving, all of it at once, one sentence each.
//! `serve` asks the same before it starts, and SIGHUP before anything is changed.

mod certificates;
mod disk;
mod ports;

use crate::config::{Config, ConfigError, NotifyWay, SecretSource};
use crate::{ranges, show, wiring};
use anyhow::Result;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// Nothing to wait for, and nothing that keeps it from serving.
    Warning,
    Problem,
}

/// What was looked at, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub key: String,
    pub level: Level,
    pub text: String,
}

impl Checked {
    fn new(level: Level, key: &str, text: impl Into<String>) -> Checked {
        Checked { key: key.into(), level, text: text.into() }
    }
    fn ok(key: &str, text: impl Into<String>) -> Checked {
        Checked::new(Level::Ok, key, text)
    }
    fn warning(key: &str, text: impl Into<String>) -> Checked {
        Checked::new(Level::Warning, key, text)
    }
    fn problem(key: &str, text: impl Into<String>) -> Checked {
        Checked::new(Level::Problem, key, text)
    }
    fn of(key: &str, done: Result<impl Into<String>, String>) -> Checked {
        match done {
            Ok(text) => Checked::ok(key, text),
            Err(text) => Checked::problem(key, text),
        }
    }
}

/// The sentence as `serve` ends with it.
impl std::fmt::Display for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

impl From<&ConfigError> for Checked {
    fn from(error: &ConfigError) -> Checked {
        Checked { key: error.key(), level: Level::Problem, text: error.to_string() }
    }
}

/// Prints what was seen. Exit code 1 when something is wrong; warnings are none.
pub async fn command(file: &Path, json: bool) -> Result<ExitCode> {
    let (config, complaints) = Config::judge(file);
    let mut all: Vec<Checked> = complaints.iter().map(Checked::from).collect();
    if let Some(config) = config {
        // of a stand-in nothing is said beside the complaint
        let complained = |key: &str| complaints.iter().any(|c| c.key() == key);
        all.extend(everything(&config).await.into_iter().filter(|c| !complained(&c.key)));
    }
    show::print(json, &all, || listed(&all))?;
    let wrong = all.iter().any(|c| c.level == Level::Problem);
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn listed(all: &[Checked]) -> String {
    let line = |c: &Checked| match c.level {
        Level::Ok => format!("ok       {c}"),
        Level::Warning => format!("warning  {c}"),
        // a complaint about the file names file, line and key itself
        Level::Problem if c.text.contains(&format!("`{}`", c.key)) => format!("problem  {}", c.text),
        Level::Problem => format!("problem  {c}"),
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Every check, in the order in which a start would stumble.
pub async fn everything(config: &Config) -> Vec<Checked> {
    let mut all = vec![disk::data_dir(&config.data_dir)];
    all.extend(ports::all(config).await);
    all.extend(readable(config));
    all
}

/// The key with which edited messages are sealed, and what somebody still has to publish for it.
fn arc_key(config: &Config) -> Option<Checked> {
    let key = match wiring::arc_key(config) {
        Ok(key) => key?,
        Err(e) => return Some(Checked::problem("gateway.arc_key", format!("{e:#}"))),
    };
    if key.record_name.ends_with(&format!(".{}", config.zone)) {
        return Some(Checked::ok("gateway.arc_key", format!("seals; our DNS serves {}", key.record_name)));
    }
    let publish = format!("publish as TXT at {}: {}", key.record_name, key.record);
    Some(Checked::warning("gateway.arc_key", publish))
}

/// What can be changed while serving: files that are read, and nothing that is taken.
pub fn readable(config: &Config) -> Vec<Checked> {
    let mut all = certificates::all(config);
    all.push(microsoft_ranges(config));
    all.extend(arc_key(config));
    if config.microsoft.roots.is_some() || config.microsoft.cloud.is_some() {
        let client = wiring::client(config).map(|_| "can be used").map_err(|e| format!("{e:#}"));
        all.push(Checked::of("microsoft", client));
    }
    if config.classifier.is_some() {
        let model = wiring::classifier(config).map(|_| "can be used").map_err(|e| format!("{e:#}"));
        all.push(Checked::of("classifier.model", model));
    }
    all.extend(notify(config));
    all
}

fn microsoft_ranges(config: &Config) -> Checked {
    let Some(file) = &config.microsoft_ranges_file else {
        return Checked::ok("gateway.microsoft_ranges", format!("{} ranges", config.microsoft_ranges.len()));
    };
    let key = "gateway.microsoft_ranges_file";
    let read = ranges::read(file).map(|read| format!("{} ranges in {}", read.len(), file.display()));
    Checked::of(key, read.map_err(|e| format!("{e:#}")))
}

/// What each target would be told with can be read and used; nobody is told anything.
fn notify(config: &Config) -> Vec<Checked> {
    let one = |target: &crate::config::NotifyTarget| {
        let key = match &target.way {
            NotifyWay::Webhook { secret: SecretSource::File(_), .. } => "notify.webhook.secret_file",
            NotifyWay::Webhook { .. } => "notify.webhook",
            NotifyWay::Syslog { .. } => "notify.syslog",
            NotifyWay::Mail { .. } => "notify.mail",
        };
        Checked::of(key, wiring::notify_target(config, target).map(|t| t.name).map_err(|e| words(key, &e)))
    };
    config.notify.iter().map(one).collect()
}

/// An error of the wiring, which begins with the key and the file where one cannot be read.
fn words(key: &str, error: &anyhow::Error) -> String {
    let said = format!("{error:#}");
    let rest = said.strip_prefix(&format!("{key} ")).unwrap_or(&said);
    match (error.downcast_ref::<std::io::Error>(), rest.split_once(": ")) {
        (Some(io), Some((file, _))) => unreadable(Path::new(file), io),
        _ => rest.to_owned(),
    }
}

/// Why a file cannot be read, and what to do.
pub fn unreadable(file: &Path, error: &std::io::Error) -> String {
    use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
    let file = file.display();
    match error.kind() {
        NotFound => format!("{file} does not exist"),
        PermissionDenied => {
            format!("{file} may not be read by the user that runs posthouse; let it (group and mode 0640)")
        }
        IsADirectory => format!("{file} is a folder; expected a file"),
        _ => format!("{file} cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests;
