//! Subcommands for the life of a tenant after it is connected. Every one that changes something is written into the
//! log of administrative acts.

use crate::cli::{AuditCommand, FailOpen, Renewable, Rights, Stage, Switch, TenantCommand};
use crate::commands::open;
use crate::config::Config;
use crate::{show, wiring};
use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;
use control::Plan;
use std::process::ExitCode;
use store::{Pause, Store};
use tenant::Tenant;

/// The account that runs the command, for the log of acts.
pub fn who() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_else(|| "unknown".into())
}

fn exit_code(plan: &Plan) -> ExitCode {
    match (plan.changes.is_empty(), plan.unknown.is_empty()) {
        (false, _) => ExitCode::from(2),
        (true, false) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
    }
}

pub async fn plan(config: &Config, name: &str, removal: bool, json: bool) -> Result<ExitCode> {
    let store = open(config).await?;
    let tenant = wiring::find_tenant(&store, name).await?;
    let (settings, client) = (wiring::control_settings(config)?, wiring::client(config)?);
    let plan = if removal {
        control::plan_removal(tenant.id, &client, &store, &settings).await?
    } else {
        control::plan(tenant.id, &client, &store, &settings).await?
    };
    let next = match (plan.changes.is_empty(), removal) {
        (true, _) => String::new(),
        (false, true) => format!("carry out with: posthouse tenant disconnect {}", tenant.label),
        (false, false) => format!("carry out with: posthouse apply {} --plan {}", tenant.label, plan.id),
    };
    show::print(json, &plan, || format!("{plan}{next}"))?;
    Ok(exit_code(&plan))
}

pub async fn apply(config: &Config, name: &str, id: &str, json: bool) -> Result<ExitCode> {
    let store = open(config).await?;
    let tenant = wiring::find_tenant(&store, name).await?;
    let (settings, client) = (wiring::control_settings(config)?, wiring::client(config)?);
    let mut show_event = |event: control::Event| {
        if json { println!("{}", serde_json::to_string(&event).unwrap_or_default()) } else { println!("{event}") }
    };
    store.put_act(&who(), "apply", Some(tenant.id), &format!("plan {id} begun")).await?;
    let done = control::apply(tenant.id, id, "apply", &client, &store, &settings, &mut show_event).await;
    let outcome = done.as_ref().map_or_else(|e| format!("not carried out: {e}"), |_| "carried out".into());
    store.put_act(&who(), "apply", Some(tenant.id), &format!("plan {id} {outcome}")).await?;
    let plan = done?;
    let waiting = plan.waiting();
    if !json {
        let done = plan.changes.len() - waiting.len();
        println!("{}: {done} changes carried out and read back", tenant.display_name);
        waiting.iter().for_each(|w| println!("left: {w}"));
    }
    Ok(if waiting.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

pub async fn watch(config: &Config, name: &str, json: bool) -> Result<ExitCode> {
    let store = open(config).await?;
    let tenant = wiring::find_tenant(&store, name).await?;
    let (settings, client) = (wiring::control_settings(config)?, wiring::client(config)?);
    let seen = control::look(tenant.id, &client, &store, &settings).await?;
    show::print(json, &seen, || seen.to_string())?;
    Ok(if !seen.unknown.is_empty() {
        ExitCode::FAILURE
    } else if seen.drift.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

pub async fn pause(config: &Config, name: &str, hours: u16, why: String, json: bool) -> Result<()> {
    let store = open(config).await?;
    let tenant = wiring::find_tenant(&store, name).await?;
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours.into());
    let pause = Pause { until, why };
    store.pause(tenant.id, Some(&pause)).await?;
    store.put_act(&who(), "pause", Some(tenant.id), &format!("{hours} h {}", pause.why)).await?;
    show::print(json, &pause, || {
        format!("{}: not watched and not healed until {until:.0}; mail goes on as before", tenant.display_name)
    })
}

pub async fn resume(config: &Config, name: &str, json: bool) -> Result<()> {
    let store = open(config).await?;
    let tenant = wiring::find_tenant(&store, name).await?;
    store.pause(tenant.id, None).await?;
    store.put_act(&who(), "resume", Some(tenant.id), "").await?;
    show::print(json, &serde_json::json!({"paused": false}), || format!("{} is watched again", tenant.display_name))
}

pub async fn audit(config: &Config, command: &AuditCommand, json: bool) -> Result<ExitCode> {
    let store = open(config).await?;
    match command {
        AuditCommand::List => {
            let acts = store.acts().await?;
            show::print(json, &acts, || show::acts(&acts))?;
        }
        AuditCommand::Verify => {
            let verified = store.verify_acts().await?;
            let newest = verified.newest_hash.clone().unwrap_or_else(|| "none".into());
            show::print(json, &verified, || match &verified.broken {
                None => format!("{} entries, none altered; the newest hash is {newest}", verified.entries),
                Some(broken) => format!("BROKEN: {broken}; what follows cannot be trusted"),
            })?;
            if verified.broken.is_some() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn tenant(store: &Store, command: TenantCommand, json: bool) -> Result<ExitCode> {
    match command {
        TenantCommand::Rollout { tenant, inbound, outbound, pilot, exclude, exclude_nobody } => {
            let mut tenant = wiring::find_tenant(store, &tenant).await?;
            let asked = inbound.is_some() || outbound.is_some() || exclude_nobody;
            if asked || !pilot.is_empty() || !exclude.is_empty() {
                let rollout = &mut tenant.rollout;
                rollout.inbound = inbound.map_or(rollout.inbound, stage);
                rollout.outbound = outbound.map_or(rollout.outbound, stage);
                if !pilot.is_empty() {
                    tenant.rollout.pilot_groups = groups(store, &tenant, &pilot).await?;
                }
                if !exclude.is_empty() || exclude_nobody {
                    tenant.rollout.excluded_groups = groups(store, &tenant, &exclude).await?;
                }
                if let Some(wrong) = tenant.rollout.wrong() {
                    bail!("{wrong}; name one with --pilot GROUP");
                }
                store.change_tenant(tenant.id, |known| known.rollout.clone_from(&tenant.rollout)).await?;
                let wish = serde_json::to_string(&tenant.rollout)?;
                store.put_act(&who(), "rollout", Some(tenant.id), &wish).await?;
            }
            show::print(json, &tenant.rollout, || show::rollout(&tenant))?;
        }
        TenantCommand::SelfHeal { tenant, to } => {
            let mut tenant = wiring::find_tenant(store, &tenant).await?;
            tenant.policy.self_heal = to == Switch::On;
            store.change_tenant(tenant.id, |known| known.policy.self_heal = tenant.policy.self_heal).await?;
            let word = if tenant.policy.self_heal { "on" } else { "off" };
            store.put_act(&who(), "self-heal", Some(tenant.id), word).await?;
            show::print(json, &tenant.policy, || format!("{}: self-heal is {word}", tenant.display_name))?;
        }
        TenantCommand::FailOpen { tenant, after } => {
            let mut tenant = wiring::find_tenant(store, &tenant).await?;
            if let Some(FailOpen(minutes)) = after {
                tenant.policy.fail_open_after_minutes = minutes;
                store.change_tenant(tenant.id, |known| known.policy.fail_open_after_minutes = minutes).await?;
                let wish = minutes.map_or_else(|| "off".into(), |m| format!("after {m} min"));
                store.put_act(&who(), "fail-open", Some(tenant.id), &wish).await?;
            }
            show::print(json, &tenant.policy, || show::fail_open(&tenant))?;
        }
        TenantCommand::Rotate { tenant, what } => {
            let tenant = wiring::find_tenant(store, &tenant).await?;
            let has = |one| what.contains(&one);
            let wish =
                control::Rotate { application: has(Renewable::Application), certificate: has(Renewable::Certificate) };
            wish.wish(store, tenant.id).await?;
            if has(Renewable::Secrets) {
                control::rotate_secrets(store, tenant.id).await?;
            }
            let names: Vec<String> =
                what.iter().filter_map(|w| Some(w.to_possible_value()?.get_name().to_owned())).collect();
            store.put_act(&who(), "rotate", Some(tenant.id), &names.join(", ")).await?;
            show::print(json, &serde_json::json!({"rotate": names}), || {
                format!("{} will be renewed; next: posthouse plan {}", names.join(", "), tenant.label)
            })?;
        }
        TenantCommand::Receipts { tenant } => {
            let tenant = wiring::find_tenant(store, &tenant).await?;
            let receipts = store.receipts(tenant.id).await?;
            // prior values may hold secrets: shown is what was done, by whom and what came of it
            let rows: Vec<_> = receipts
                .iter()
                .map(|(at, r)| {
                    serde_json::json!({"at": at, "by": r.by, "plan": r.plan, "step": r.step, "call": r.call, "answer": r.answer, "was_there": !r.prior.is_null()})
                })
                .collect();
            show::print(json, &rows, || show::receipts(&receipts))?;
        }
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The same stage both ways, as a tenant begins.
pub fn rollout(asked: Stage, pilot_groups: Vec<String>) -> Result<tenant::Rollout> {
    let both = stage(asked);
    let rollout = tenant::Rollout { inbound: both, outbound: both, pilot_groups, excluded_groups: Vec::new() };
    match rollout.wrong() {
        Some(wrong) => bail!("{wrong}; name one with --pilot GROUP"),
        None => Ok(rollout),
    }
}

pub fn rights(asked: Rights) -> tenant::ExchangeRights {
    match asked {
        Rights::Administrator => tenant::ExchangeRights::Administrator,
        Rights::RoleGroup => tenant::ExchangeRights::RoleGroup,
    }
}

pub fn stage(asked: Stage) -> tenant::Stage {
    match asked {
        Stage::Off => tenant::Stage::Off,
        Stage::Audit => tenant::Stage::Audit,
        Stage::Pilot => tenant::Stage::Pilot,
        Stage::Everyone => tenant::Stage::Everyone,
    }
}

/// Exchange takes a group in a rule only by an address; a wrong one would stop mail of nobody or everybody.
pub async fn groups(store: &Store, tenant: &Tenant, asked: &[String]) -> Result<Vec<String>> {
    let known = store.groups(tenant.id).await?;
    let mut out = Vec::new();
    for name in asked {
        let wanted = name.to_lowercase();
        let found = known.iter().find(|g| {
            g.mail.as_deref() == Some(wanted.as_str()) || g.display_name.to_lowercase() == wanted || g.id == wanted
        });
        let found = found.ok_or_else(|| anyhow!("no group of {} is called {name}", tenant.display_name))?;
        let mail = found.mail.clone().ok_or_else(|| {
            anyhow!("the group {name} has no mail address, and mail flow rules know groups by theirs; take a mail-enabled group")
        })?;
        out.push(mail);
    }
    Ok(out)
}
