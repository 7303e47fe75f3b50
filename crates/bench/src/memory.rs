//! What many large messages at the same time cost: each is in memory once, and only so many of them as there is room for.

use crate::document::{self, Machine};
use crate::load::{Load, Until};
use crate::run::run;
use crate::systems::{self, System};
use crate::world::World;
use anyhow::{Result, bail};
use std::path::Path;

#[derive(clap::Args)]
pub struct Memory {
    #[arg(long, default_value_t = 50)]
    sessions: usize,
    #[arg(long, default_value_t = 50)]
    mebibytes: usize,
    #[arg(long, default_value_t = 100)]
    messages: u32,
    /// Writes the figures into docs/performance.md.
    #[arg(long)]
    write: bool,
}

pub fn memory(args: &Memory, dir: &Path, posthouse: &Path) -> Result<()> {
    let world = World::start(dir)?;
    let running = systems::start(System::Posthouse, &world, posthouse)?;
    let specimen = world.specimen(args.mebibytes << 20)?;
    let small = Load {
        until: Until::Messages(200),
        ..Load::of(running.address, &world.exchange_tls, &world.specimen(4 << 10)?)
    };
    let before = run(&world, &running, &small)?.memory_mib;
    let load = Load {
        sessions: args.sessions,
        until: Until::Messages(args.messages),
        ..Load::of(running.address, &world.exchange_tls, &specimen)
    };
    let figures = run(&world, &running, &load)?;
    let text = format!(
        "Measured {}: {} messages of {} MiB over {} sessions at the same time ({} MiB in all): highest proportional set size {:.0} MiB, {:.0} MiB with small messages before; {:.1} messages a second ({:.0} MiB/s), {} refused for now and sent again.",
        Machine::here()?,
        figures.delivered,
        args.mebibytes,
        args.sessions,
        args.sessions * args.mebibytes,
        figures.memory_mib,
        before,
        figures.per_second,
        figures.per_second * args.mebibytes as f64,
        figures.refused,
    );
    println!("{text}");
    if figures.lost + figures.twice > 0 {
        bail!("{} lost, {} twice", figures.lost, figures.twice);
    }
    if args.write { document::put("memory", &text) } else { Ok(()) }
}
