//! Held mail at the command line: listed, looked at, decided, reported, and told to users.

use crate::commands::open;
use crate::config::Config;
use crate::lifecycle::who;
use crate::{show, wiring};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use gateway::{Desk, expires};
use jiff::{SignedDuration, Timestamp};
use quarantine::{Act, Actor, carry_out};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use store::{Held, HeldFilter, Store};
use tenant::{Category, Policy, TenantId};

#[derive(Subcommand)]
pub enum HeldCommand {
    /// What waits, newest first, why, and when it is deleted.
    List(Wanted),
    /// Show one: envelope, reasons, headers.
    Show {
        id: String,
        /// Print the whole message as it came, harmful or not.
        #[arg(long)]
        raw: bool,
    },
    /// Look at one without danger: its text as a reader sees it, or its HTML with nothing that loads, runs or leads anywhere.
    Preview {
        id: String,
        /// Write a page to this file.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// Its text; the same as without a wish.
        #[arg(long, conflicts_with = "html")]
        text: bool,
    },
    /// Hand it back to Microsoft; it is deleted here once Microsoft has it. Malware is not: see `archive`.
    Release {
        #[command(flatten)]
        which: Which,
        /// Let the sender through from now on, where SPF, DKIM or DMARC proves who it is.
        #[arg(long)]
        allow: bool,
    },
    /// Delete it for good.
    Delete {
        #[command(flatten)]
        which: Which,
    },
    /// Keep the sender out from now on, and delete it.
    Block {
        #[command(flatten)]
        which: Which,
    },
    /// Say that it was judged wrongly; a copy is kept with all that was known of it, and it stays held.
    Report {
        #[command(flatten)]
        which: Which,
        /// What is wrong about it.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Send it as an archive with a password to an administrator of the quarantine: the only way out for malware. The
    /// password is printed here, once, and stays nowhere.
    Archive {
        id: String,
        #[arg(long, value_name = "ADDRESS")]
        to: String,
    },
}

#[derive(Args)]
pub struct Which {
    id: String,
    /// For this recipient alone, on his behalf; lists are his own.
    #[arg(long = "for", value_name = "ADDRESS")]
    recipient: Option<String>,
}

#[derive(Args)]
pub struct Wanted {
    #[arg(long)]
    tenant: Option<String>,
    /// For this recipient, the whole address.
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// From, or the envelope's sender, contains this.
    #[arg(long, value_name = "TEXT")]
    sender: Option<String>,
    /// malware, phishing, spam …
    #[arg(long, value_parser = category)]
    category: Option<Category>,
    /// So long back from now: 90m, 24h, 7d.
    #[arg(long, value_name = "TIME", value_parser = crate::ledger::duration)]
    since: Option<SignedDuration>,
}

#[derive(Subcommand)]
pub enum ReportsCommand {
    /// Newest first.
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
    /// The message that was reported, as it came, for `posthouse replay`.
    Raw { id: String },
}

#[derive(Args)]
pub struct DigestArgs {
    /// Tenant id, label or domain.
    tenant: String,
    /// Only to this person.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Everything that is held, not only what came since each was told last.
    #[arg(long)]
    all: bool,
    /// Show what would be sent; links are not shown, since they are good.
    #[arg(long)]
    dry_run: bool,
}

/// As JSON writes it, with `-` or blanks as well.
pub fn category(text: &str) -> Result<Category, String> {
    let wanted = text.to_lowercase().replace(['-', '_'], " ");
    let found = Category::ALL.into_iter().find(|c| c.as_str().to_lowercase() == wanted);
    let all: Vec<String> = Category::ALL.iter().map(|c| c.as_str().to_lowercase().replace(' ', "-")).collect();
    found.ok_or_else(|| format!("\"{text}\" is none of {}", all.join(", ")))
}

/// An empty text is none.
pub fn category_or_none(text: &str) -> Result<Option<Category>, String> {
    if text.is_empty() { Ok(None) } else { category(text).map(Some) }
}

async fn one(store: &Store, id: &str) -> Result<Held> {
    let held = store.held_one(id).await?;
    held.ok_or_else(|| anyhow!("nothing held is called {id}; `posthouse held list` shows what is"))
}

async fn tenant_of(store: &Store, name: Option<&str>) -> Result<Option<TenantId>> {
    match name {
        Some(name) => Ok(Some(wiring::find_tenant(store, name).await?.id)),
        None => Ok(None),
    }
}

pub async fn run(config: &Config, command: HeldCommand, json: bool) -> Result<()> {
    let store = open(config).await?;
    match command {
        HeldCommand::List(wanted) => list(&store, wanted, json).await,
        HeldCommand::Show { id, raw } => show_one(&store, &id, raw, json).await,
        HeldCommand::Preview { id, html, text: _ } => {
            let held = one(&store, &id).await?;
            let seen = quarantine::preview(&held.hold, store.held_body(&held.id).await?);
            match html {
                Some(file) => {
                    std::fs::write(&file, seen.page()).with_context(|| file.display().to_string())?;
                    show::print(json, &serde_json::json!({"written": file}), || {
                        format!("written to {}", file.display())
                    })
                }
                None => show::print(json, &seen, || show::preview(&seen)),
            }
        }
        HeldCommand::Release { which, allow } => {
            let act = if allow { Act::ReleaseAndAllow } else { Act::Release };
            decide(config, &store, &which, act, "", json).await
        }
        HeldCommand::Delete { which } => decide(config, &store, &which, Act::Delete, "", json).await,
        HeldCommand::Block { which } => decide(config, &store, &which, Act::Block, "", json).await,
        HeldCommand::Report { which, note } => decide(config, &store, &which, Act::Report, &note, json).await,
        HeldCommand::Archive { id, to } => {
            let held = one(&store, &id).await?;
            let Some(tenant) = store.tenant(held.hold.tenant).await? else {
                bail!("its tenant is not connected any more")
            };
            let (desk, name) = (Desk::open(&wiring::gateway_settings(config)?, &store)?, who());
            let actor = Actor { name: &name, recipient: None, note: "" };
            let password = quarantine::archive(&desk, &tenant, &held, &to, &actor).await?;
            let shown = serde_json::json!({"archived": held.id, "to": to, "password": password.expose()});
            show::print(json, &shown, || {
                format!("sent to {to}; it is still held\npassword, shown this once: {}", password.expose())
            })
        }
    }
}

async fn decide(config: &Config, store: &Store, which: &Which, act: Act, note: &str, json: bool) -> Result<()> {
    let held = one(store, &which.id).await?;
    let (desk, name) = (Desk::open(&wiring::gateway_settings(config)?, store)?, who());
    let actor = Actor { name: &name, recipient: which.recipient.as_deref(), note };
    let done = carry_out(&desk, &held, act, &actor).await?;
    let mut shown = serde_json::to_value(&done)?;
    match act {
        Act::Release | Act::ReleaseAndAllow => shown["released"] = done.done.into(),
        Act::Delete => shown["deleted"] = done.held.clone().into(),
        Act::Block | Act::Report => {}
    }
    show::print(json, &shown, || done.told.join("\n"))?;
    if !done.done {
        bail!("it is still held");
    }
    Ok(())
}

/// When each is deleted stands beside it.
async fn list(store: &Store, wanted: Wanted, json: bool) -> Result<()> {
    let since = wanted.since.map(|back| Timestamp::now().checked_sub(back)).transpose()?;
    let filter = HeldFilter {
        tenant: tenant_of(store, wanted.tenant.as_deref()).await?,
        recipient: wanted.recipient,
        sender: wanted.sender,
        category: wanted.category,
        since,
        reason: None,
    };
    let list = store.held_by(&filter).await?;
    let policies: HashMap<TenantId, Policy> = store.tenants().await?.into_iter().map(|t| (t.id, t.policy)).collect();
    let usual = Policy::default();
    let ends: Vec<Timestamp> =
        list.iter().map(|h| expires(h, policies.get(&h.hold.tenant).unwrap_or(&usual))).collect();
    let mut rows = Vec::new();
    for (held, ends) in list.iter().zip(&ends) {
        let mut row = serde_json::to_value(held)?;
        row["deleted_at"] = serde_json::to_value(ends)?;
        rows.push(row);
    }
    show::print(json, &rows, || show::held(&list, &ends))
}

async fn show_one(store: &Store, id: &str, raw: bool, json: bool) -> Result<()> {
    let held = one(store, id).await?;
    let body = store.held_body(&held.id).await?;
    if raw {
        std::io::Write::write_all(&mut std::io::stdout().lock(), &body)?;
        return Ok(());
    }
    let policy = store.tenant(held.hold.tenant).await?.map(|t| t.policy).unwrap_or_default();
    let message = mail::Message::parse(body);
    let header = String::from_utf8_lossy(&message.raw()[..message.headers().body_start()]).into_owned();
    let ends = expires(&held, &policy);
    let shown = serde_json::json!({"held": held, "deleted_at": ends, "header": header});
    show::print(json, &shown, || show::held_one(&held, ends, &header))
}

pub async fn reports(config: &Config, command: ReportsCommand, json: bool) -> Result<()> {
    let store = open(config).await?;
    match command {
        ReportsCommand::List { tenant } => {
            let list = store.reports(tenant_of(&store, tenant.as_deref()).await?).await?;
            show::print(json, &list, || show::reports(&list))
        }
        ReportsCommand::Raw { id } => {
            let report = store.report(&id).await?;
            let report =
                report.ok_or_else(|| anyhow!("no report is called {id}; `posthouse reports list` shows them"))?;
            std::io::Write::write_all(&mut std::io::stdout().lock(), &store.report_body(&report.id).await?)?;
            Ok(())
        }
    }
}

/// Exit code 0: all were taken, or there was nothing to tell; 2: some were not.
pub async fn digest(config: &Config, args: &DigestArgs, json: bool) -> Result<ExitCode> {
    let store = open(config).await?;
    let tenant = wiring::find_tenant(&store, &args.tenant).await?;
    let digests = quarantine::digests(&store, &tenant, args.to.as_deref(), args.all).await?;
    let public_url = config.web.as_ref().map(|w| w.public_url.as_str());
    let (mut told, mut failed) = (Vec::new(), false);
    if !args.dry_run && !digests.is_empty() {
        let desk = Desk::open(&wiring::gateway_settings(config)?, &store)?;
        for digest in &digests {
            let said = quarantine::send(&desk, &tenant, digest, public_url).await;
            failed |= said.is_err();
            told.push(said.unwrap_or_else(|e| format!("NOT SENT: {e}")));
        }
        let detail = format!("{} digests, {}", digests.len(), if failed { "not all taken" } else { "all taken" });
        store.put_act(&who(), "digest", Some(tenant.id), &detail).await?;
    }
    let mut rows = Vec::new();
    for (n, digest) in digests.iter().enumerate() {
        let mut row = serde_json::to_value(digest)?;
        row["answer"] = told.get(n).cloned().into();
        rows.push(row);
    }
    show::print(json, &rows, || show::digests(&digests, &told, public_url.is_some()))?;
    Ok(if failed { ExitCode::from(2) } else { ExitCode::SUCCESS })
}
