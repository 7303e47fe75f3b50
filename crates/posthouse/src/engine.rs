//! `posthouse engines`: how each outside scanner is.

use crate::config::Config;
use crate::running::Running;
use crate::show;
use anyhow::{Context, Result};
use engines::{Engines, Feeds, Health, Report};
use serde::Serialize;
use std::process::ExitCode;

/// Who asked them.
#[derive(Serialize)]
struct Seen {
    /// Of the gateway that serves; without one they were asked from here.
    pid: Option<u32>,
    #[serde(flatten)]
    report: Report,
}

pub async fn command(config: &Config, json: bool) -> Result<ExitCode> {
    let serving = Running::of(&config.data_dir).and_then(|r| Some((r.pid, r.status?)));
    let seen = match serving {
        Some((pid, status)) => {
            let page = format!("http://{status}/engines");
            let client = reqwest::Client::builder().no_proxy().build()?;
            let answer = client.get(&page).send().await.and_then(reqwest::Response::error_for_status);
            let report = answer.with_context(|| format!("{page} does not answer"))?.json().await?;
            Seen { pid: Some(pid), report }
        }
        None => Seen { pid: None, report: asked_from_here(config).await },
    };
    show::print(json, &seen, || listed(&seen))?;
    let Report { engines, lists } = &seen.report;
    let failing =
        engines.iter().any(|e| matches!(e.health, Health::Failing { .. })) || lists.iter().any(|l| l.fault.is_some());
    Ok(if failing { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// Nobody is given up after one try: as often as it takes to be sure.
async fn asked_from_here(config: &Config) -> Report {
    let engines = Engines::new(config.engines.clone());
    engines.try_all().await;
    // as they are kept: fetching is for who serves
    let lists = Feeds::new(config.lists.clone(), config.data_dir.join("lists"));
    Report { engines: engines.status(), lists: lists.status() }
}

fn listed(seen: &Seen) -> String {
    let Report { engines, lists } = &seen.report;
    let mut out = Vec::new();
    if engines.is_empty() && lists.is_empty() {
        return "no outside scanner and no list is configured; docs/engines.md says how".into();
    }
    let at = |time: &jiff::Timestamp| time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    if !engines.is_empty() {
        let rows = engines.iter().map(|e| {
            let state = match &e.health {
                Health::Failing { since, why } => format!("failing since {}: {}", at(since), show::safe(why)),
                other => other.as_str().to_owned(),
            };
            let version = show::safe(e.version.as_deref().unwrap_or("?"));
            [e.name.clone(), e.address.clone(), state, version, format!("{} ms", e.budget_millis), e.on_fault.clone()]
        });
        out.push(show::table(["engine", "address", "state", "version", "budget", "on fault"], rows).to_string());
    }
    if !lists.is_empty() {
        let rows = lists.iter().map(|l| {
            let state = l.fault.as_deref().map_or_else(|| "read".to_owned(), show::safe);
            let good = l.good.as_ref().map_or_else(|| "?".to_owned(), at);
            [l.name.clone(), l.source.clone(), state, good, l.entries.to_string(), l.rejected.to_string()]
        });
        out.push(show::table(["list", "source", "state", "as of (UTC)", "entries", "no entries"], rows).to_string());
    }
    out.push(match seen.pid {
        Some(pid) => format!("as process {pid} sees them, which serves"),
        None => "asked from here: nobody serves".into(),
    });
    out.join("\n")
}
