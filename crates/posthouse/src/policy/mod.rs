//! What a tenant wants done with what is found (docs/policy.md): shown, set, checked, and tried on a message that lies in
//! a file.

mod asked;
mod file;
mod lists;

pub use asked::{ListCommand, PolicyCommand};
pub use file::read;
pub use lists::lists;

use crate::commands::open;
use crate::config::Config;
use crate::lifecycle::who;
use crate::{lifecycle, show, wiring};
use anyhow::{Context, Result, bail};
use asked::{TryArgs, Way};
use mail::Envelope;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use store::Store;
use tenant::{Action, Direction, Kind, Rule, Rules, Tenant};
use verdict::{CustomRules, Decision, Finding, Ground, Saved};

pub async fn run(config: &Path, command: PolicyCommand, json: bool) -> Result<()> {
    match command {
        PolicyCommand::Check { file } => {
            let rules = file::read(&file)?;
            show::print(json, &rules, || {
                format!("{} is a policy: {} rules and a base policy", file.display(), rules.rule.len())
            })
        }
        PolicyCommand::Show { tenant, toml } => {
            let store = open(&Config::read(config)?).await?;
            let tenant = wiring::find_tenant(&store, &tenant).await?;
            if toml {
                print!("{}", toml::to_string(&tenant.policy.rules)?);
                return Ok(());
            }
            show::print(json, &Shown::of(&tenant), || text(&tenant))
        }
        PolicyCommand::Set { tenant, file } => set(&Config::read(config)?, &tenant, &file, json).await,
        PolicyCommand::Test(args) => test(config, &args, json).await,
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    tenant: String,
    revision: u64,
    #[serde(flatten)]
    rules: &'a Rules,
    only_note: &'a [String],
    allowed: usize,
    blocked: usize,
}

impl Shown<'_> {
    fn of(tenant: &Tenant) -> Shown<'_> {
        let policy = &tenant.policy;
        Shown {
            tenant: tenant.display_name.clone(),
            revision: policy.revision,
            rules: &policy.rules,
            only_note: &policy.only_note,
            allowed: policy.lists.allow.len(),
            blocked: policy.lists.block.len(),
        }
    }
}

async fn set(config: &Config, name: &str, file: &Path, json: bool) -> Result<()> {
    let mut rules = file::read(file)?;
    let store = open(config).await?;
    let tenant = wiring::find_tenant(&store, name).await?;
    if let Some((at, to)) = rules.own_addresses().into_iter().find(|(_, to)| !tenant.is_own(to)) {
        bail!(
            "{}: key `{}`: {to} is of none of the tenant's domains: nothing is redirected to strangers, nor are they told",
            file.display(),
            at.join(".")
        );
    }
    for rule in &mut rules.rule {
        let known = lifecycle::groups(&store, &tenant, &rule.groups).await;
        rule.groups = known.with_context(|| format!("{}: rule \"{}\"", file.display(), rule.name))?;
    }
    let changed = store.change_tenant(tenant.id, |known| known.policy.set_rules(rules.clone())).await?;
    let Some(tenant) = changed else { bail!("{name} was disconnected meanwhile; nothing was set") };
    let detail = format!("revision {}: {}", tenant.policy.revision, serde_json::to_string(&rules)?);
    store.put_act(&who(), "policy", Some(tenant.id), &detail).await?;
    show::print(json, &Shown::of(&tenant), || {
        let note = match wiring::arc_key(config) {
            Ok(None) => {
                "\ntags and banners wait for gateway.arc_key: without it nothing can be sealed, and mail passes unmarked (docs/edits.md)"
            }
            _ => "",
        };
        text(&tenant) + note
    })
}

fn compiled(rules: &Rules) -> Arc<CustomRules> {
    Arc::new(CustomRules::of(&rules.custom).0)
}

fn text(tenant: &Tenant) -> String {
    let rules = &tenant.policy.rules;
    let actions = |rule: Option<&Rule>| {
        let said = |kind: &&Kind| rule.is_none_or(|r| r.actions.contains_key(kind) || r.notify.contains_key(kind));
        let all = Kind::ALL.iter().filter(said);
        let one = |k: &Kind| {
            let action = rules.action(rule, *k);
            let to = rules.redirect_to(rule).filter(|_| action == Action::Redirect);
            let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
            let told = rules.notified(rule, *k).map(|who| format!(", notify {who}")).unwrap_or_default();
            format!("{} = {}{to}{told}", k.as_str(), action.as_str())
        };
        let all: Vec<_> = all.map(one).collect();
        if all.is_empty() { "as the base policy says".into() } else { all.join("\n") }
    };
    let watched = |is: bool| if is { " (only watched)" } else { "" };
    let mut rows: Vec<[String; 3]> = rules
        .rule
        .iter()
        .map(|r| [show::safe(&r.name) + watched(r.monitor_only), people(r), actions(Some(r))])
        .collect();
    rows.push(["base policy".to_owned() + watched(rules.monitor_only), "everybody's, both ways".into(), actions(None)]);
    let lists = &tenant.policy.lists;
    format!(
        "{} · policy revision {}{}\n{}\n{} custom rules (`posthouse rules show`), {} senders allowed, {} blocked; the first rule that fits counts, and what it does not say the base policy says",
        tenant.display_name,
        tenant.policy.revision,
        if rules.monitor_only { " · MONITOR ONLY: nothing is done" } else { "" },
        show::table(["rule", "whose mail", "what is done"], rows),
        rules.custom.len(),
        lists.allow.len(),
        lists.block.len()
    )
}

fn people(rule: &Rule) -> String {
    let mut all: Vec<String> = rule.users.iter().chain(&rule.domains).cloned().collect();
    all.extend(rule.groups.iter().map(|g| format!("members of {g}")));
    let whose = if all.is_empty() { "everybody's".into() } else { all.join("\n") };
    match rule.direction {
        None => whose,
        Some(Direction::Inbound) => format!("{whose}, from outside"),
        Some(Direction::Outbound) => format!("{whose}, to the outside"),
    }
}

#[derive(Serialize)]
struct Tried {
    #[serde(flatten)]
    decision: Decision,
    findings: Vec<Finding>,
}

async fn test(config: &Path, args: &TryArgs, json: bool) -> Result<()> {
    let (name, message) = match args.what.as_slice() {
        [message] if args.file.is_some() => (None, message),
        [name, message] => (Some(name), message),
        _ => bail!("say whose policy: `posthouse policy test TENANT MESSAGE.eml`, or `--file POLICY.toml MESSAGE.eml`"),
    };
    let mut ground = match name {
        Some(name) => of_tenant(&open(&Config::read(config)?).await?, name).await?,
        None => Ground::default(),
    };
    if let Some(file) = &args.file {
        ground.set_rules(file::read(file)?);
    }
    let raw = std::fs::read(message).with_context(|| format!("message {message}"))?;
    let tried = judged(Saved::read(raw), &ground, args);
    show::print(json, &tried, || {
        let lines = tried.findings.iter().flat_map(show::finding);
        lines.chain(show::decision(&tried.decision)).collect::<Vec<_>>().join("\n")
    })
}

/// By whose rules a message is judged.
pub async fn of_tenant(store: &Store, name: &str) -> Result<Ground> {
    let tenant = wiring::find_tenant(store, name).await?;
    Ok(Ground {
        people: gateway::people(store, tenant.id).await?,
        members: gateway::members(store, tenant.id, &tenant.policy.rules.groups()).await?,
        domains: tenant.domains,
        custom: compiled(&tenant.policy.rules),
        policy: tenant.policy,
    })
}

/// As if it came now, from and to whom the arguments say.
fn judged(mut saved: Saved, ground: &Ground, args: &TryArgs) -> Tried {
    let from = args.from.clone().or_else(|| saved.message.from_address()).unwrap_or_default();
    let written = || saved.message.header_values("To").first().and_then(|to| address_in(to));
    let recipients: Vec<String> = if args.to.is_empty() { written().into_iter().collect() } else { args.to.clone() };
    saved.envelope = Envelope::new(from, &recipients);
    saved.direction = match args.direction {
        Way::Inbound => Direction::Inbound,
        Way::Outbound => Direction::Outbound,
    };
    let (findings, decision) = saved.judge(ground, jiff::Timestamp::now().as_second());
    Tried { decision, findings }
}

fn address_in(text: &str) -> Option<String> {
    let ends = |c: char| c.is_whitespace() || "<>,;()\"".contains(c);
    text.split(ends).find(|word| word.contains('@')).map(str::to_owned)
}
