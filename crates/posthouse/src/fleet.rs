//! Many tenants by one file, for Git: each gets its own plan, rings go one after the other, and a ring that did not
//! come through keeps the next from beginning.

use crate::cli::{self, Stage};
use crate::config::Config;
use crate::{edits, lifecycle, show, wiring};
use anyhow::{Context, Result, anyhow, bail};
use control::Plan;
use serde::Deserialize;
use std::path::Path;
use std::process::ExitCode;
use store::Store;
use tenant::{Tenant, WhenUnjudged};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Names in the order in which they go; without it all tenants are one ring.
    #[serde(default)]
    rings: Vec<String>,
    #[serde(default)]
    tenant: Vec<Entry>,
}

/// What one tenant is to be; what is not said stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Tenant id, label or domain.
    name: String,
    ring: Option<String>,
    inbound: Option<Stage>,
    outbound: Option<Stage>,
    pilot_groups: Option<Vec<String>>,
    excluded_groups: Option<Vec<String>>,
    self_heal: Option<bool>,
    /// As `posthouse tenant fail-open --after` takes it.
    fail_open_after: Option<String>,
    when_unjudged: Option<WhenUnjudged>,
    only_note: Option<Vec<String>>,
    vips: Option<Vec<String>>,
    hold_days: Option<u32>,
    edits: Option<edits::Wish>,
    /// All of it; what is not said is as usual.
    quarantine: Option<tenant::Quarantine>,
}

/// A day is the least in which a person can look; more than a year is an archive.
const HOLD_DAYS: std::ops::RangeInclusive<u32> = 1..=365;

impl File {
    fn read(file: &Path) -> Result<File> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let read: File = toml::from_str(&text).with_context(|| file.display().to_string())?;
        if let Some(entry) = read.tenant.iter().find(|e| e.ring.as_ref().is_some_and(|r| !read.rings.contains(r))) {
            let ring = entry.ring.as_deref().unwrap_or_default();
            bail!("{}: tenant {} is in ring \"{ring}\", which `rings` does not list", file.display(), entry.name);
        }
        if let Some(entry) = read.tenant.iter().find(|e| e.ring.is_none() && !read.rings.is_empty()) {
            bail!("{}: tenant {} says no ring; `rings` lists {}", file.display(), entry.name, read.rings.join(", "));
        }
        Ok(read)
    }

    /// In order, up to the named one.
    fn rings(&self, last: Option<&str>) -> Result<Vec<(String, Vec<&Entry>)>> {
        let names = if self.rings.is_empty() { vec!["all".to_owned()] } else { self.rings.clone() };
        let end = match last {
            None => names.len(),
            Some(last) => {
                1 + names.iter().position(|n| n == last).ok_or_else(|| anyhow!("no ring is called \"{last}\""))?
            }
        };
        let of = |name: &String| self.tenant.iter().filter(|e| e.ring.as_ref().is_none_or(|r| r == name)).collect();
        Ok(names[..end].iter().map(|name| (name.clone(), of(name))).collect())
    }
}

/// The tenant with what the entry wishes; nothing is written down yet.
async fn wished(config: &Config, store: &Store, entry: &Entry) -> Result<Tenant> {
    let mut tenant = wiring::find_tenant(store, &entry.name).await?;
    let rollout = &mut tenant.rollout;
    rollout.inbound = entry.inbound.map_or(rollout.inbound, lifecycle::stage);
    rollout.outbound = entry.outbound.map_or(rollout.outbound, lifecycle::stage);
    if let Some(groups) = &entry.pilot_groups {
        tenant.rollout.pilot_groups = lifecycle::groups(store, &tenant, groups).await?;
    }
    if let Some(groups) = &entry.excluded_groups {
        tenant.rollout.excluded_groups = lifecycle::groups(store, &tenant, groups).await?;
    }
    let policy = &mut tenant.policy;
    policy.self_heal = entry.self_heal.unwrap_or(policy.self_heal);
    if let Some(after) = &entry.fail_open_after {
        let read = cli::fail_open(after).map_err(|e| anyhow!("tenant {}: fail_open_after: {e}", entry.name))?;
        policy.fail_open_after_minutes = read.0;
    }
    policy.when_unjudged = entry.when_unjudged.unwrap_or(policy.when_unjudged);
    policy.only_note = entry.only_note.clone().unwrap_or_else(|| policy.only_note.clone());
    policy.vips = entry.vips.clone().unwrap_or_else(|| policy.vips.clone());
    policy.hold_days = entry.hold_days.unwrap_or(policy.hold_days);
    if !HOLD_DAYS.contains(&policy.hold_days) {
        bail!("tenant {}: hold_days is {}; it can be 1 to 365", entry.name, policy.hold_days);
    }
    if let Some(wish) = &entry.edits {
        policy.edits = wish.on(&policy.edits, config).with_context(|| format!("tenant {}", entry.name))?;
    }
    if let Some(wish) = &entry.quarantine {
        crate::quarantine::checked(wish, &tenant).with_context(|| format!("tenant {}: quarantine", entry.name))?;
        tenant.policy.quarantine = wish.clone();
    }
    match tenant.rollout.wrong() {
        Some(wrong) => bail!("tenant {}: {wrong}", entry.name),
        None => Ok(tenant),
    }
}

pub async fn apply(
    config: &Config,
    store: &Store,
    file: &Path,
    last: Option<&str>,
    yes: bool,
    json: bool,
) -> Result<ExitCode> {
    let read = File::read(file)?;
    let (mut pending, mut shown) = (false, Vec::new());
    for (ring, entries) in read.rings(last)? {
        let mut failed = Vec::new();
        for entry in entries {
            match one(config, store, entry, yes, json).await {
                Ok(plan) => {
                    pending |= !plan.changes.is_empty();
                    shown.push(plan);
                }
                Err(e) => failed.push(format!("{}: {e:#}", entry.name)),
            }
        }
        if !failed.is_empty() {
            bail!("ring {ring} did not come through, and no later ring was touched:\n  {}", failed.join("\n  "));
        }
        if !json {
            println!("ring {ring}: {}", if yes { "done" } else { "shown" });
        }
    }
    if json {
        show::print(true, &shown, String::new)?;
    }
    Ok(if pending && !yes { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// The plan of one tenant; carried out where that was said.
async fn one(config: &Config, store: &Store, entry: &Entry, yes: bool, json: bool) -> Result<Plan> {
    let tenant = wished(config, store, entry).await?;
    let (settings, client) = (wiring::control_settings(config)?, wiring::client(config)?);
    let plan = control::plan_wish(&tenant, &client, store, &settings).await?;
    if !json {
        print!("{plan}");
    }
    if yes {
        let wish = (tenant.rollout.clone(), tenant.policy.clone());
        store.change_tenant(tenant.id, |known| (known.rollout, known.policy) = wish).await?;
        let mut tell = |event: control::Event| {
            if !json {
                println!("{event}");
            }
        };
        let done = control::apply(tenant.id, &plan.id, "apply", &client, store, &settings, &mut tell).await;
        let outcome = done.as_ref().map_or_else(|e| format!("not carried out: {e}"), |_| "carried out".into());
        let detail = format!("plan {} of a file {outcome}", plan.id);
        store.put_act(&lifecycle::who(), "apply", Some(tenant.id), &detail).await?;
        done?;
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<File> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tenants.toml");
        std::fs::write(&file, text).unwrap();
        File::read(&file).map_err(|e| anyhow!(format!("{e:#}").replace(&dir.path().display().to_string(), "")))
    }

    #[test]
    fn rings_go_in_order_and_every_tenant_says_its_ring() {
        let file = read("rings = [\"pilot\", \"rest\"]\n[[tenant]]\nname = \"b\"\nring = \"rest\"\n[[tenant]]\nname = \"a\"\nring = \"pilot\"\ninbound = \"pilot\"\n").unwrap();
        let names = |last| -> Vec<String> {
            let rings = file.rings(last).unwrap();
            rings.iter().flat_map(|(ring, all)| all.iter().map(move |e| format!("{ring} {}", e.name))).collect()
        };
        assert_eq!(names(None), ["pilot a", "rest b"]);
        assert_eq!(names(Some("pilot")), ["pilot a"]);
        assert!(file.rings(Some("nobody")).is_err());
        for (text, complaint) in [
            ("rings = [\"x\"]\n[[tenant]]\nname = \"a\"\n", "says no ring"),
            ("[[tenant]]\nname = \"a\"\nring = \"y\"\n", "does not list"),
            ("[[tenant]]\nname = \"a\"\ninbound = \"all\"\n", "unknown variant `all`"),
            ("[[tenant]]\nnmae = \"a\"\n", "unknown field `nmae`"),
        ] {
            let said = format!("{:#}", read(text).err().unwrap());
            assert!(said.contains(complaint), "{said}");
        }
    }
}
