//! `posthouse alerts`: the list with what became of each notice, a test of every target, and “seen to”.

use crate::cli::AlertsCommand;
use crate::commands::open;
use crate::config::Config;
use crate::{lifecycle, show, wiring};
use anyhow::{Result, bail};
use std::process::ExitCode;

pub async fn alerts(config: &Config, command: Option<AlertsCommand>, all: bool, json: bool) -> Result<ExitCode> {
    match command {
        None => list(config, all, json).await,
        Some(AlertsCommand::Test) => test(config, json).await,
        Some(AlertsCommand::Ack { id }) => acknowledge(config, id, json).await,
    }
}

async fn list(config: &Config, all: bool, json: bool) -> Result<ExitCode> {
    let mut list = open(config).await?.alerts().await?;
    let before = list.len();
    list.retain(|a| all || a.acknowledged.is_none());
    let hidden = before - list.len();
    show::print(json, &list, || {
        let note = if hidden > 0 { format!("\n{hidden} acknowledged; --all shows them") } else { String::new() };
        show::alerts(&list) + &note
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn test(config: &Config, json: bool) -> Result<ExitCode> {
    let targets = wiring::notify_targets(config)?;
    if targets.is_empty() {
        bail!("nobody is told of alerts: {} has no section [notify]", config.file.display());
    }
    let tested = control::notify_test(&targets).await;
    show::print(json, &tested, || show::tested(&tested))?;
    Ok(if tested.iter().all(|t| t.taken) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn acknowledge(config: &Config, id: i64, json: bool) -> Result<ExitCode> {
    let store = open(config).await?;
    let Some(alert) = store.alerts().await?.into_iter().find(|a| a.id == id) else {
        bail!("no alert has the number {id}; `posthouse alerts --all` shows them");
    };
    store.acknowledge(id).await?;
    store.put_act(&lifecycle::who(), "acknowledge", alert.tenant, &format!("alert {id}: {}", alert.subject)).await?;
    show::print(json, &serde_json::json!({"acknowledged": id}), || {
        format!("alert {id} is acknowledged; it comes back if it gets worse")
    })?;
    Ok(ExitCode::SUCCESS)
}
