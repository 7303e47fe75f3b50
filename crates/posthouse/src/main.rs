//! The binary: configuration, wiring, subcommands; nothing else.

mod alerts;
mod check;
mod classifier;
mod cli;
mod clouds;
mod commands;
mod config;
mod demo;
mod directory;
mod edits;
mod engine;
mod fleet;
mod held;
mod ledger;
mod lifecycle;
mod link;
mod logging;
mod policy;
mod quarantine;
mod ranges;
mod reload;
mod replay;
mod rules;
mod running;
mod serve;
mod show;
mod status;
#[cfg(feature = "otlp")]
mod traces;
mod wiring;

use clap::Parser;
use cli::{ClassifierCommand, Cli, Command, ConfigCommand, RangesCommand};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // law of the crypto provider: exactly one, installed before anything speaks TLS
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
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
    // serving tells what it does; whoever gives a command sees its answer
    match &cli.command {
        Command::Serve { .. } | Command::Watchdog => {}
        Command::Sim(_) => drop(logging::begin(&config::LogSettings::default(), None)?),
        _ => logging::begin_quietly(),
    }
    match cli.command {
        Command::Config(ConfigCommand::Example) => print!("{}", config::EXAMPLE),
        Command::Sim(args) => commands::sim(args).await?,
        Command::Demo(args) => return demo::run(args).await,
        Command::Replay(args) => replay::run(&cli.config, &args, json).await?,
        // a file is looked at without any configuration
        Command::Policy(command) => policy::run(&cli.config, command, json).await?,
        Command::Rules(command) => rules::run(&cli.config, command, json).await?,
        Command::Classifier(ClassifierCommand::Train(args)) => classifier::train(&args, json)?,
        Command::CheckConfig => return check::command(&cli.config, json).await,
        Command::Serve { ready_file } => {
            let config = config::Config::read(&cli.config)?;
            let logging = logging::begin(&config.log, config.otlp.as_deref())?;
            return serve::serve(config, &logging, ready_file).await;
        }
        Command::Watchdog => {
            let config = config::Config::read(&cli.config)?;
            let _logging = logging::begin(&config.log, config.otlp.as_deref())?;
            commands::watchdog(&config).await?;
        }
        other => {
            let config = config::Config::read(&cli.config)?;
            match other {
                Command::Ranges(RangesCommand::Check { file }) => commands::ranges(&config, &file, json)?,
                Command::Tenant(command) => return commands::tenant(&config, command, json).await,
                Command::Plan { tenant, removal } => return lifecycle::plan(&config, &tenant, removal, json).await,
                Command::Apply { tenant, plan } => return lifecycle::apply(&config, &tenant, &plan, json).await,
                Command::Watch { tenant } => return lifecycle::watch(&config, &tenant, json).await,
                Command::Engines => return engine::command(&config, json).await,
                Command::Status { tenant } => return status::status(&config, &tenant, json).await,
                Command::Ledger(command) => return ledger::run(&config, command, json).await,
                Command::Directory { tenant, command } => directory::run(&config, tenant, command, json).await?,
                Command::Pause { tenant, hours, why } => lifecycle::pause(&config, &tenant, hours, why, json).await?,
                Command::Resume { tenant } => lifecycle::resume(&config, &tenant, json).await?,
                Command::Audit(command) => return lifecycle::audit(&config, &command, json).await,
                Command::Trace { tenant, address, message_id, limit } => {
                    commands::trace(&config, tenant, address, message_id, limit, json).await?
                }
                Command::Link(command) => link::run(&config, command, json).await?,
                Command::Explain { id } => commands::explain(&config, &id, json).await?,
                Command::Allow { tenant, user, command } => {
                    policy::lists(&config, &tenant, user.as_deref(), false, command, json).await?
                }
                Command::Block { tenant, user, command } => {
                    policy::lists(&config, &tenant, user.as_deref(), true, command, json).await?
                }
                Command::Held(command) => held::run(&config, command, json).await?,
                Command::Reports(command) => held::reports(&config, command, json).await?,
                Command::Digest(args) => return held::digest(&config, &args, json).await,
                Command::Alerts { all, command } => return alerts::alerts(&config, command, all, json).await,
                Command::Sim(_)
                | Command::Classifier(_)
                | Command::Demo(_)
                | Command::Config(_)
                | Command::CheckConfig
                | Command::Replay(_)
                | Command::Policy(_)
                | Command::Rules(_)
                | Command::Serve { .. }
                | Command::Watchdog => {}
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
