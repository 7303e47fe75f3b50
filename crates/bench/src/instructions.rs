//! Instructions of one message, counted by callgrind: of the whole gateway, and of what no gateway can do without.
//! Two runs of different length are subtracted, so that starting and ending count nothing. What the kernel does is not
//! counted on either side.

use crate::document::{self, Machine};
use crate::load::{Load, Until};
use crate::parts::Part;
use crate::run::run;
use crate::systems;
use crate::world::World;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Enough for the differences to be of the work and not of timers.
const FEW: u32 = 100;
const MANY: u32 = 600;
/// Sessions of the generator; callgrind runs one thread at a time, so more bring nothing.
const SESSIONS: usize = 4;
const OCTETS: usize = 4 << 10;

#[derive(clap::Args)]
pub struct Instructions {
    /// Octets of a message.
    #[arg(long, default_value_t = OCTETS)]
    octets: usize,
    /// Keeps callgrind's files there, for callgrind_annotate.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Writes the figures into docs/performance.md.
    #[arg(long)]
    write: bool,
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Counted {
    machine: Machine,
    octets: usize,
    whole: u64,
    parts: Vec<(Part, u64)>,
}

pub fn instructions(args: &Instructions, dir: &Path, posthouse: &Path) -> Result<()> {
    let world = World::start(dir)?;
    let kept = args.keep.clone().unwrap_or_else(|| dir.join("callgrind"));
    std::fs::create_dir_all(&kept)?;
    let specimen = world.specimen(args.octets)?;
    std::fs::write(dir.join("message.eml"), specimen.raw())?;
    std::fs::write(dir.join("record.txt"), &world.signer.record)?;
    let whole = |messages: u32| -> Result<u64> {
        let file = kept.join(format!("posthouse-{messages}.out"));
        let data = dir.join(format!("callgrind-{messages}"));
        std::fs::create_dir_all(&data)?;
        let running = systems::posthouse(&world, posthouse, &data, &callgrind(&file))?;
        let load = Load {
            sessions: SESSIONS,
            until: Until::Messages(messages),
            ..Load::of(running.address, &world.exchange_tls, &specimen)
        };
        let figures = run(&world, &running, &load)?;
        ensure!(figures.delivered == messages, "{} of {messages} messages were delivered", figures.delivered);
        // the counts are written when it ends
        drop(running);
        total(&file)
    };
    let counted = Counted {
        machine: Machine::here()?,
        octets: specimen.octets(),
        whole: a_message(whole)?,
        parts: Part::ALL
            .into_iter()
            .map(|part| Ok((part, a_message(|count| of_part(part, count, dir, &kept))?)))
            .collect::<Result<_>>()?,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&counted)?);
    } else {
        println!("{}", counted.table());
    }
    if args.write {
        document::put("instructions", &format!("Measured {}.\n\n{}", counted.machine, counted.table()))?;
    }
    Ok(())
}

fn a_message(count: impl Fn(u32) -> Result<u64>) -> Result<u64> {
    Ok(count(MANY)?.saturating_sub(count(FEW)?) / u64::from(MANY - FEW))
}

fn callgrind(file: &Path) -> Vec<String> {
    let out = format!("--callgrind-out-file={}", file.display());
    ["valgrind", "--quiet", "--tool=callgrind", "--error-limit=no", &out].map(str::to_owned).to_vec()
}

/// This program again, doing one part so often.
fn of_part(part: Part, count: u32, dir: &Path, kept: &Path) -> Result<u64> {
    let file = kept.join(format!("{part:?}-{count}.out"));
    let under = callgrind(&file);
    let own = std::env::current_exe()?;
    let mut command = Command::new(&under[0]);
    command.args(&under[1..]).arg(own).arg("part").arg(format!("{part:?}").to_lowercase());
    command.arg(count.to_string()).arg(dir.join("message.eml")).arg(dir.join("record.txt")).stdout(Stdio::null());
    let status = command.status().context("valgrind")?;
    ensure!(status.success(), "{part:?} ended with {status}");
    total(&file)
}

fn total(file: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}: callgrind wrote nothing", file.display()))?;
    let line = text.lines().rev().find_map(|l| l.strip_prefix("totals:").or_else(|| l.strip_prefix("summary:")));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).context("callgrind's file has no total")
}

impl Counted {
    fn table(&self) -> String {
        let sum: u64 = self.parts.iter().map(|(_, n)| n).sum();
        let row = |name: &str, n: u64| format!("| {name} | {:.0} | {:.2} |\n", n as f64 / 1e3, n as f64 / sum as f64);
        let mut text =
            format!("| of a message of {} octets | thousand instructions | of the sum |\n|---|---|---|\n", self.octets);
        for (part, n) in &self.parts {
            text += &row(&part.to_string(), *n);
        }
        text += &row("what cannot be avoided, together", sum);
        text + &row("**the whole gateway**", self.whole)
    }
}
