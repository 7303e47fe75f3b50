//! `posthouse status TENANT`: what mail really does, beside what was wished.

use crate::commands::open;
use crate::config::Config;
use crate::{show, wiring};
use anyhow::Result;
use std::process::ExitCode;

/// Exit code 0: all as wished; 2: something is not; 1: nothing is known to be wrong, but something could not be looked at.
pub async fn status(config: &Config, name: &str, json: bool) -> Result<ExitCode> {
    let store = open(config).await?;
    let tenant = wiring::find_tenant(&store, name).await?;
    let (settings, client) = (wiring::control_settings(config)?, wiring::client(config)?);
    let status = control::status(tenant.id, &client, &store, &settings).await?;
    // addresses and Message-IDs are of mail
    show::print(json, &status, || status.to_string().lines().map(show::safe).collect::<Vec<_>>().join("\n"))?;
    Ok(match (status.wrong.is_empty(), status.unknown.is_empty()) {
        (false, _) => ExitCode::from(2),
        (true, false) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
    })
}
