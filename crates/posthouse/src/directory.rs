//! Subcommands about a tenant's people.

use crate::cli::DirectoryCommand;
use crate::commands::open;
use crate::config::Config;
use crate::{show, wiring};
use anyhow::{Result, anyhow};
use control::DirectoryStatus;
use std::fmt::Write;
use store::{Directory, Store, SyncState};
use tenant::Tenant;

pub async fn run(config: &Config, tenant: Option<String>, command: Option<DirectoryCommand>, json: bool) -> Result<()> {
    let store = open(config).await?;
    match command {
        None => {
            let tenant = wiring::find_tenant(&store, &tenant.unwrap_or_default()).await?;
            let status = control::directory_status(tenant.id, &store).await?;
            show::print(json, &status, || text(&tenant, &status))
        }
        Some(DirectoryCommand::Sync { tenant }) => sync(config, &store, &tenant, json).await,
        Some(DirectoryCommand::Find { tenant, text }) => {
            let tenant = wiring::find_tenant(&store, &tenant).await?;
            let found = store.find_in_directory(tenant.id, &text).await?;
            show::print(json, &found, || found_text(&found))
        }
        Some(DirectoryCommand::Members { tenant, group }) => {
            let tenant = wiring::find_tenant(&store, &tenant).await?;
            let wanted = group.to_lowercase();
            let groups = store.groups(tenant.id).await?;
            let found = groups.iter().find(|g| {
                g.id == wanted || g.mail.as_ref() == Some(&wanted) || g.display_name.to_lowercase() == wanted
            });
            let found = found.ok_or_else(|| anyhow!("no group of {} is called {group}", tenant.display_name))?;
            let users = control::members_of(tenant.id, &found.id, &store).await?;
            show::print(json, &users, || found_text(&Directory { users: users.clone(), ..Directory::default() }))
        }
    }
}

async fn sync(config: &Config, store: &Store, name: &str, json: bool) -> Result<()> {
    let tenant = wiring::find_tenant(store, name).await?;
    let client = wiring::client(config)?;
    let mut show_event = |event: control::Event| {
        if json { println!("{}", serde_json::to_string(&event).unwrap_or_default()) } else { println!("{event}") }
    };
    let status = control::synchronise_now(tenant.id, &client, store, &mut show_event).await?;
    // with --json: one event a line, the last line is the state
    if json {
        println!("{}", serde_json::to_string(&status)?);
    } else {
        println!("{}", text(&tenant, &status));
    }
    Ok(())
}

fn reading(state: &SyncState) -> String {
    let what = format!("{:?}", state.kind).to_lowercase();
    let now = match (state.whole, state.more) {
        (true, true) => format!("the whole is being read, {} so far", state.seen),
        (true, false) if state.finished.is_none() => "not read yet".into(),
        (true, false) => "about to be read anew".into(),
        (false, true) => format!("changes are being read, {} so far", state.seen),
        (false, false) => "up to date".into(),
    };
    let last = state.finished.map_or_else(|| "never read to the end".into(), |at| format!("last read {at:.0}"));
    format!("{what:<10} {now}; {last}")
}

fn text(tenant: &Tenant, status: &DirectoryStatus) -> String {
    let (counts, name) = (&status.counts, &tenant.display_name);
    let mut out = format!(
        "{name}: {} users, {} guests, {} groups with {} memberships",
        counts.users, counts.guests, counts.groups, counts.memberships
    );
    for (kind, count) in &counts.mailboxes {
        let _ = write!(out, "\n  {count:>7} {kind}");
    }
    for state in &status.readings {
        let _ = write!(out, "\n  {}", reading(state));
    }
    if let Some(state) = status.readings.iter().find(|s| !s.trouble.is_empty()) {
        let _ = write!(out, "\n  the last attempt failed: {}", show::safe(&state.trouble));
    }
    let age = status.age_secs.map_or_else(|| "unknown".into(), |secs| format!("{secs} s"));
    let _ = write!(out, "\n  age        {age}");
    out
}

fn found_text(found: &Directory) -> String {
    let mut out: Vec<String> = Vec::new();
    for user in &found.users {
        let kind = if user.guest { "guest" } else { "user" };
        out.push(format!("{kind:<8} {} <{}> {}", user.display_name, user.upn, user.addresses.join(", ")));
    }
    for group in &found.groups {
        let mail = group.mail.as_deref().unwrap_or("no address");
        out.push(format!("group    {} <{mail}> {}", group.display_name, group.kind));
    }
    for mailbox in &found.mailboxes {
        let (name, address) = (&mailbox.display_name, &mailbox.address);
        out.push(format!("mailbox  {name} <{address}> {} {}", mailbox.kind, mailbox.addresses.join(", ")));
    }
    if out.is_empty() {
        return "nobody".into();
    }
    out.iter().map(|line| show::safe(line)).collect::<Vec<_>>().join("\n")
}
