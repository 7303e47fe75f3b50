//! The binary: configuration, wiring, subcommands; nothing else.

mod alerts;
mod cli;
mod commands;
mod config;
mod demo;
mod directory;
mod edits;
mod fleet;
mod lifecycle;
mod show;
mod status;
mod wiring;

use clap::Parser;
use cli::{Cli, Command, ConfigCommand};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // law of the crypto provider: exactly one, installed before anything speaks TLS
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let quiet = if matches!(cli.command, Command::Serve { .. } | Command::Sim(_)) {
        "info,hickory_server=warn"
    } else {
        "error,hickory_server=off"
    };
    let filter = EnvFilter::try_from_env("POSTHOUSE_LOG").unwrap_or_else(|_| EnvFilter::new(quiet));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("posthouse: no runtime: {e}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("posthouse: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let json = cli.json;
    match cli.command {
        Command::Config(ConfigCommand::Example) => print!("{}", config::EXAMPLE),
        Command::Sim(args) => commands::sim(args).await?,
        Command::Demo(args) => return demo::run(args).await,
        other => {
            let config = config::Config::read(&cli.config)?;
            match other {
                Command::Config(_) => commands::checked(&config)?,
                Command::Serve { ready_file } => commands::serve(&config, ready_file).await?,
                Command::Tenant(command) => return commands::tenant(&config, command, json).await,
                Command::Plan { tenant, removal } => return lifecycle::plan(&config, &tenant, removal, json).await,
                Command::Apply { tenant, plan } => return lifecycle::apply(&config, &tenant, &plan, json).await,
                Command::Watch { tenant } => return lifecycle::watch(&config, &tenant, json).await,
                Command::Status { tenant } => return status::status(&config, &tenant, json).await,
                Command::Directory { tenant, command } => directory::run(&config, tenant, command, json).await?,
                Command::Pause { tenant, hours, why } => lifecycle::pause(&config, &tenant, hours, why, json).await?,
                Command::Resume { tenant } => lifecycle::resume(&config, &tenant, json).await?,
                Command::Audit(command) => return lifecycle::audit(&config, &command, json).await,
                Command::Trace { tenant, address, message_id, limit } => {
                    commands::trace(&config, tenant, address, message_id, limit, json).await?
                }
                Command::Explain { id } => commands::explain(&config, &id, json).await?,
                Command::Held(command) => commands::held(&config, command, json).await?,
                Command::Alerts { all, command } => return alerts::alerts(&config, command, all, json).await,
                Command::Sim(_) | Command::Demo(_) => {}
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
