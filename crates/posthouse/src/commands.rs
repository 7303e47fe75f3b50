//! One function a subcommand.

use crate::cli::{SimArgs, TenantCommand};
use crate::config::Config;
use crate::{edits, lifecycle, quarantine, show, wiring};
use anyhow::{Context, Result, anyhow};
use std::path::Path;
use std::process::ExitCode;
use store::{JourneyFilter, Store};

pub async fn open(config: &Config) -> Result<Store> {
    Store::open(&config.data_dir).await.with_context(|| format!("data directory {}", config.data_dir.display()))
}

/// Written beside and renamed, so that whoever waits for the file never reads half of it.
pub fn write_ready(file: &Path, value: &impl serde::Serialize) -> Result<()> {
    let beside = file.with_extension("part");
    std::fs::write(&beside, serde_json::to_vec_pretty(value)?)
        .with_context(|| format!("ready file {}", file.display()))?;
    std::fs::rename(&beside, file).with_context(|| format!("ready file {}", file.display()))
}

/// Returns when the process is asked to end.
pub async fn asked_to_end() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}

/// `+` would be added, `-` removed, against what is in the configuration now.
pub fn ranges(config: &Config, file: &Path, json: bool) -> Result<()> {
    let comparison = crate::ranges::compare(&wiring::microsoft_ranges(config)?, crate::ranges::read(file)?);
    show::print(json, &comparison, || comparison.to_string())
}

/// The control plane's watch over the gateway, and nothing that carries mail. What it has to tell reaches people although
/// `posthouse serve`, whose work notices are, may be dead.
pub async fn watchdog(config: &Config) -> Result<()> {
    let store = open(config).await?;
    let targets = wiring::notify_targets(config)?;
    control::notify::settle(&targets, &store).await?;
    let (client, settings) = (wiring::client(config)?, wiring::control_settings(config)?);
    let gateway = wiring::gateway_door(config);
    tracing::info!(%gateway, "keeping watch");
    let notices = tokio::spawn(control::notify_what_lies(targets, store.clone()));
    tokio::select! {
        () = control::watchdog(client, store.clone(), settings, config.watch, gateway) => {}
        () = asked_to_end() => {}
    }
    notices.abort();
    store.close().await;
    Ok(())
}

pub async fn sim(args: SimArgs) -> Result<()> {
    let dir = args.dir.unwrap_or_else(|| std::env::temp_dir().join(format!("posthouse-sim-{}", std::process::id())));
    std::fs::create_dir_all(&dir).with_context(|| format!("folder {}", dir.display()))?;
    let options = if args.two_tenants { m365_sim::Options::two_tenants(&dir) } else { m365_sim::Options::demo(&dir) };
    let simulator = m365_sim::Simulator::start(options).await?;
    if let Some(file) = args.ready_file {
        write_ready(&file, &simulator.endpoints)?;
    }
    println!("{}", serde_json::to_string_pretty(&simulator.endpoints)?);
    asked_to_end().await;
    simulator.shutdown().await;
    Ok(())
}

pub async fn tenant(config: &Config, command: TenantCommand, json: bool) -> Result<ExitCode> {
    let store = open(config).await?;
    match command {
        TenantCommand::List => {
            let tenants = store.tenants().await?;
            let plain: Vec<_> = tenants.iter().map(show::tenant_json).collect();
            show::print(json, &plain, || show::tenants(&tenants))?;
        }
        TenantCommand::Connect {
            tenant,
            browser,
            probe_recipient,
            stage,
            pilot,
            exchange_rights,
            post_delivery,
            preview,
            yes,
        } => {
            let sign_in = if browser { control::SignIn::Browser } else { control::SignIn::DeviceCode };
            let wish = control::Wish {
                probe_recipient,
                rollout: stage.map(|stage| lifecycle::rollout(stage, pilot)).transpose()?,
                exchange_rights: exchange_rights.map(lifecycle::rights),
                post_delivery: post_delivery.then_some(true),
                ..control::Wish::new(tenant, sign_in)
            };
            if preview {
                return previewed(config, &store, wish, json).await;
            }
            return connect(config, &store, wish, json, &mut |asked| yes || confirmed(asked)).await;
        }
        TenantCommand::Disconnect { tenant } => return disconnect(config, &store, &tenant, json).await,
        TenantCommand::Apply { file, ring, yes } => {
            return crate::fleet::apply(config, &store, &file, ring.as_deref(), yes, json).await;
        }
        TenantCommand::Quarantine { tenant, wish } => quarantine::quarantine(&store, &tenant, wish, json).await?,
        TenantCommand::Edits { tenant, wish } => edits::edits(config, &store, &tenant, wish, json).await?,
        other => return lifecycle::tenant(&store, other, json).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what is asked for and waits for a yes.
fn confirmed(asked: control::Asked<'_>) -> bool {
    match asked {
        control::Asked::Permissions(all) => eprint!("Grant these {} permissions? [y/N] ", all.len()),
        control::Asked::Plan(plan) => eprint!("{plan}Carry this plan out? [y/N] "),
    }
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "ja")
}

/// Progress goes to the other stream, so that the plan is all that stands on this one.
async fn previewed(config: &Config, store: &Store, wish: control::Wish, json: bool) -> Result<ExitCode> {
    let (settings, client) = (wiring::control_settings(config)?, wiring::client(config)?);
    let mut show = |event: control::Event| {
        if json { eprintln!("{}", serde_json::to_string(&event).unwrap_or_default()) } else { eprintln!("{event}") }
    };
    let plan = control::preview(wish, &client, store, &settings, &mut show).await?;
    show::print(json, &plan, || format!("{plan}nothing was done; to do it: posthouse tenant connect {}", plan.tenant))?;
    Ok(ExitCode::from(2))
}

pub async fn connect(
    config: &Config,
    store: &Store,
    wish: control::Wish,
    json: bool,
    approve: &mut (dyn FnMut(control::Asked<'_>) -> bool + Send),
) -> Result<ExitCode> {
    let settings = wiring::control_settings(config)?;
    let client = wiring::client(config)?;
    let mut show = |event: control::Event| {
        if json { println!("{}", serde_json::to_string(&event).unwrap_or_default()) } else { println!("{event}") }
    };
    match control::connect(wish, &client, store, &settings, approve, &mut show).await {
        Ok(connected) => {
            store.put_act(&lifecycle::who(), "connect", Some(connected.id), &connected.display_name).await?;
            if !json {
                println!(
                    "{} is connected: mail of {} goes through Posthouse",
                    connected.display_name,
                    connected.domains.join(", ")
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            store.put_act(&lifecycle::who(), "connect", None, &format!("not connected: {error}")).await?;
            Err(anyhow!(error)
                .context("the tenant is not connected; `posthouse tenant connect` goes on where it stopped"))
        }
    }
}

async fn disconnect(config: &Config, store: &Store, name: &str, json: bool) -> Result<ExitCode> {
    let tenant = wiring::find_tenant(store, name).await?;
    let (settings, client) = (wiring::control_settings(config)?, wiring::client(config)?);
    let mut show = |event: control::Event| {
        if json { println!("{}", serde_json::to_string(&event).unwrap_or_default()) } else { println!("{event}") }
    };
    store.put_act(&lifecycle::who(), "disconnect", Some(tenant.id), &format!("{}: begun", tenant.display_name)).await?;
    let proof = control::disconnect(tenant.id, &client, store, &settings, &mut show).await?;
    let outcome = if proof.is_complete() { "proven clean" } else { "not proven clean" };
    let detail = format!("{}: {outcome}", tenant.display_name);
    store.put_act(&lifecycle::who(), "disconnect", Some(tenant.id), &detail).await?;
    show::print(json, &proof, || proof.to_string())?;
    Ok(if proof.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub async fn trace(
    config: &Config,
    tenant: Option<String>,
    address: Option<String>,
    message_id: Option<String>,
    limit: u32,
    json: bool,
) -> Result<()> {
    let store = open(config).await?;
    let tenant = match tenant {
        Some(name) => Some(wiring::find_tenant(&store, &name).await?.id),
        None => None,
    };
    let entries = store.journeys(&JourneyFilter { tenant, address, message_id, probe: None, limit }).await?;
    show::print(json, &entries, || show::trace(&entries))
}

pub async fn explain(config: &Config, id: &str, json: bool) -> Result<()> {
    let store = open(config).await?;
    let entry =
        store.journey(id).await?.ok_or_else(|| anyhow!("no journey is called {id}; `posthouse trace` lists them"))?;
    let tenant = match entry.tenant {
        Some(id) => store.tenant(id).await?,
        None => None,
    };
    let clicks = match entry.tenant {
        Some(id) => store.clicks_of(id, &entry.id).await?,
        None => Vec::new(),
    };
    let mut told = serde_json::to_value(&entry)?;
    told["clicks"] = serde_json::to_value(&clicks)?;
    show::print(json, &told, || show::explain(&entry, tenant.as_ref()) + &show::clicks(&clicks))
}
