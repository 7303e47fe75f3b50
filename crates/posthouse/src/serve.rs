//! `posthouse serve`: checks, starts, and then listens to signals: HUP reads the configuration again, TERM and INT end.

use crate::check::{self, Level};
use crate::commands::{open, write_ready};
use crate::config::Config;
use crate::logging::Logging;
use crate::running::ServeLock;
use crate::{reload, wiring};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::ExitCode;
use store::Store;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

enum Asked {
    ReadAgain,
    End,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    fn listen() -> Result<Signals> {
        let listen = |kind| signal(kind).context("no signals");
        Ok(Signals {
            hang_up: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hang_up.recv() => Asked::ReadAgain,
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
        }
    }

    async fn end(&mut self) {
        while matches!(self.next().await, Asked::ReadAgain) {}
    }
}

pub async fn serve(config: Config, logging: &Logging, ready_file: Option<PathBuf>) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    if !is_right(&config).await {
        return Ok(ExitCode::FAILURE);
    }
    let store = open(&config).await?;
    let mut lock = ServeLock::take(&config.data_dir)?;
    let targets = wiring::notify_targets(&config)?;
    control::notify::settle(&targets, &store).await?;
    let mut running = gateway::start(wiring::gateway_settings(&config)?, store.clone()).await?;
    let status = match config.status {
        Some(listen) => Some(running.serve_status(listen).await?),
        None => None,
    };
    let desk = running.desk();
    let web = running.serve_web(::quarantine::pages(desk.clone())).await?;
    let digests = tokio::spawn(::quarantine::run(desk, config.web.as_ref().map(|w| w.public_url.clone())));
    lock.tell([Some(running.smtp_address), running.dns_address, status, web].into_iter().flatten().collect(), status)?;
    tracing::info!(smtp = %running.smtp_address, dns = ?running.dns_address, ?status, ?web, "serving");
    // the control plane beside the gateway: its failure is told and stops no mail
    let (client, settings) = (wiring::client(&config)?, wiring::control_settings(&config)?);
    let beside = [
        tokio::spawn(control::watch_mail(client.clone(), store.clone(), settings.clone())),
        tokio::spawn(control::watch(client.clone(), store.clone(), settings, config.watch)),
        tokio::spawn(control::follow(client, store.clone())),
    ];
    let mut notices = tokio::spawn(control::notify(targets, store.clone()));
    if let Some(file) = ready_file {
        let addresses = serde_json::json!({"smtp": running.smtp_address, "dns": running.dns_address, "status": status, "web": web, "pid": std::process::id()});
        write_ready(&file, &addresses)?;
    }
    let mut present = config.clone();
    while let Asked::ReadAgain = signals.next().await {
        let done = read_again(&mut present, &config, &running, logging, &store, &mut notices).await;
        running.count_reload(done.is_ok());
        if let Err(why) = done {
            tracing::error!("SIGHUP: the configuration was not taken and what was in effect stays: {why}");
        }
    }
    tracing::info!("asked to end: finishing what is under way; a second signal ends at once");
    beside.iter().chain([&notices, &digests]).for_each(JoinHandle::abort);
    let finished = tokio::select! {
        finished = running.shutdown() => finished,
        () = signals.end() => {
            tracing::warn!("asked to end at once: what was under way is cut, Exchange Online sends it again");
            std::process::exit(1);
        }
    };
    if !finished {
        tracing::warn!("patience is over: what was still under way is cut, Exchange Online sends it again");
    }
    store.close().await;
    tokio::task::block_in_place(|| logging.end());
    Ok(ExitCode::SUCCESS)
}

/// The checks of `check-config`; what is wrong goes to standard error, one sentence each.
async fn is_right(config: &Config) -> bool {
    let seen = check::everything(config).await;
    for checked in &seen {
        match checked.level {
            Level::Ok => {}
            Level::Warning => tracing::warn!("{checked}"),
            Level::Problem => eprintln!("posthouse: {checked}"),
        }
    }
    !seen.iter().any(|c| c.level == Level::Problem)
}

/// Nothing is changed unless all of it can be.
async fn read_again(
    present: &mut Config,
    started_with: &Config,
    running: &gateway::Running,
    logging: &Logging,
    store: &Store,
    notices: &mut JoinHandle<()>,
) -> Result<(), String> {
    let reread = reload::read_again(present, started_with)?;
    let words = |e: anyhow::Error| format!("{e:#}");
    let settings = wiring::gateway_settings(&reread.config).map_err(words)?;
    let targets = wiring::notify_targets(&reread.config).map_err(words)?;
    // rules of scanners may take seconds to compile
    tokio::task::block_in_place(|| running.reload(&settings)).map_err(|e| e.to_string())?;
    if reread.level_changed {
        logging.set_level(&reread.config.log.level);
    }
    if reread.notify_changed {
        // a notice that is cut here is written down still, and told by the next
        notices.abort();
        if let Err(e) = control::notify::settle(&targets, store).await {
            tracing::error!(error = %e, "who is told of alerts was not written down; it is tried again");
        }
        *notices = tokio::spawn(control::notify(targets, store.clone()));
    }
    *present = reread.config;
    tracing::info!("SIGHUP: the configuration was read again and is in effect");
    if !reread.waits.is_empty() {
        tracing::warn!("these keys have changed and take effect at the next start: {}", reread.waits.join(", "));
    }
    Ok(())
}
