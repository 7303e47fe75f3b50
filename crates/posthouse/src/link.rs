//! `posthouse link`: what a rewritten link is, without following it.

use crate::commands::open;
use crate::config::Config;
use crate::show;
use anyhow::Result;
use clap::Subcommand;
use engines::Feeds;
use gateway::links::explain::{Explained, Signature, explain};

#[derive(Subcommand)]
pub enum LinkCommand {
    /// Where a link leads, whose it is, whether it was made here, until when it leads on, and what a click would do now.
    Explain { url: String },
}

pub async fn run(config: &Config, command: LinkCommand, json: bool) -> Result<()> {
    let LinkCommand::Explain { url } = command;
    let store = open(config).await?;
    // as they are kept: fetching is for who serves
    let lists = Feeds::new(config.lists.clone(), config.data_dir.join("lists"));
    let public = config.web.as_ref().map(|web| &web.public_url);
    let told = explain(&store, public, &config.lists, &lists, &url).await?;
    show::print(json, &told, || text(&told))
}

fn text(told: &Explained) -> String {
    let signed = match told.signature {
        Signature::Right => "made and signed here",
        Signature::Wrong => "NOT made here, or altered: it leads nowhere",
        Signature::NotOurs => "no rewritten link of this Posthouse; judged as it stands",
    };
    let mut out = vec![format!("  signature   {signed}")];
    let mut row = |name: &str, value: Option<String>| {
        out.extend(value.map(|value| format!("  {name:11} {}", show::safe(&value))));
    };
    row("leads to", told.destination.clone());
    row("host", told.host.clone());
    let tenant = told.tenant.map(|id| match &told.tenant_name {
        Some(name) => format!("{name} ({id})"),
        None => format!("{id}, which is not connected any more"),
    });
    row("tenant", tenant);
    row("journey", told.journey.as_ref().map(|id| format!("{id}  (posthouse explain {id})")));
    let end = told.ends.map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
    row(if told.is_expired { "expired" } else { "leads on to" }, end);
    if told.signature != Signature::Wrong {
        row("standing", Some(told.standing.into()));
    }
    for why in &told.reasons {
        row("", Some(format!("· {why}")));
    }
    let click = match told.click {
        "pass" => "leads on",
        "warn" => "shows a warning, with a way on",
        "block" => "is blocked",
        "expired" => "tells that the link is too old",
        _ => "leads nowhere and says so",
    };
    row("a click now", Some(click.into()));
    out.join("\n")
}
