//! The gateway beside its peers on the same work: alternately in one run, so that what the machine does in the meantime
//! meets all alike; medians of the rounds.

use crate::document::{self, Machine};
use crate::load::{Load, Until};
use crate::message::Specimen;
use crate::plot::{self, Bars};
use crate::run::{Figures, median, run, warm_up};
use crate::systems::{self, System};
use crate::world::World;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const SESSIONS: usize = 20;
/// A run during which others used more of the machine is made again, at most so often; the least disturbed one counts.
const FOREIGN_PERCENT_MAX: f64 = 10.0;
const AGAIN_MAX: u32 = 2;
const SYSTEMS: [System; 4] = [System::Posthouse, System::Postfix, System::PostfixRspamd, System::Floor];

#[derive(clap::Args)]
pub struct Peers {
    /// Three seconds and one round for each case instead of eight and three.
    #[arg(long)]
    quick: bool,
    /// Rounds, in each of which every system has its turn.
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of sending in a run.
    #[arg(long)]
    seconds: Option<u64>,
    /// Only the cases whose name contains this, e.g. "4 KB, kept".
    #[arg(long, default_value = "")]
    case: String,
    /// Only these systems.
    #[arg(long = "system", value_enum)]
    systems: Vec<System>,
    /// Writes the figures into docs/performance.md and its plots.
    #[arg(long)]
    write: bool,
    /// Prints every run as JSON instead of the table.
    #[arg(long)]
    json: bool,
}

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Case {
    pub octets: usize,
    pub kept: bool,
    /// Messages offered a second; as many as go without it.
    pub rate: Option<u32>,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", size(self.octets), if self.kept { "kept" } else { "one per connection" })?;
        self.rate.map_or(Ok(()), |rate| write!(f, ", {rate}/s"))
    }
}

pub fn size(octets: usize) -> String {
    match octets {
        0..1024 => format!("{octets} B"),
        1024..1_048_576 => format!("{} KB", octets / 1024),
        _ => format!("{} MB", octets / 1_048_576),
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for octets in [4 << 10, 50 << 10, 1 << 20] {
        cases.extend([true, false].map(|kept| Case { octets, kept, rate: None }));
    }
    // what a user waits for while nobody is at the limit
    cases.push(Case { octets: 4 << 10, kept: true, rate: Some(50) });
    cases
}

/// All figures of one run of the command.
#[derive(Serialize, Deserialize)]
pub struct Comparison {
    pub machine: Machine,
    pub rounds: u32,
    pub seconds: u64,
    pub runs: Vec<(Case, System, Figures)>,
}

pub fn peers(args: &Peers, dir: &Path, posthouse: &Path) -> Result<()> {
    let (seconds, rounds) = if args.quick { (3, 1) } else { (8, 3) };
    let (seconds, rounds) = (args.seconds.unwrap_or(seconds), args.rounds.unwrap_or(rounds));
    let wanted = |system: &System| args.systems.is_empty() || args.systems.contains(system);
    let mut systems: Vec<System> = SYSTEMS.into_iter().filter(wanted).collect();
    systems.retain(|system| match systems::missing(*system) {
        Some(why) => {
            eprintln!("bench: {why}");
            false
        }
        None => true,
    });
    let world = World::start(dir)?;
    let mut comparison = Comparison { machine: Machine::here()?, rounds, seconds, runs: Vec::new() };
    for case in cases().into_iter().filter(|case| case.to_string().contains(&args.case)) {
        let specimen = world.specimen(case.octets)?;
        for round in 1..=rounds {
            for system in &systems {
                let again_max = if args.quick { 0 } else { AGAIN_MAX };
                let figures = calmest(again_max, || once(&world, posthouse, *system, case, &specimen, seconds))?;
                eprintln!("{case}, round {round}, {system}: {figures}");
                comparison.runs.push((case, *system, figures));
            }
        }
    }
    finish(args, &comparison)
}

fn calmest(again_max: u32, once: impl Fn() -> Result<Figures>) -> Result<Figures> {
    let mut calmest = once()?;
    for _ in 0..again_max {
        if calmest.foreign_percent <= FOREIGN_PERCENT_MAX {
            break;
        }
        let again = once()?;
        if again.foreign_percent < calmest.foreign_percent {
            calmest = again;
        }
    }
    Ok(calmest)
}

fn once(
    world: &World,
    posthouse: &Path,
    system: System,
    case: Case,
    specimen: &Arc<Specimen>,
    seconds: u64,
) -> Result<Figures> {
    let running = systems::start(system, world, posthouse)?;
    let load = Load {
        server_name: running.server_name,
        sessions: SESSIONS,
        kept: case.kept,
        rate: case.rate.map(f64::from),
        until: Until::After(Duration::from_secs(seconds)),
        ..Load::of(running.address, &world.exchange_tls, specimen)
    };
    warm_up(world, &load, Duration::from_millis(1000))?;
    run(world, &running, &load)
}

fn finish(args: &Peers, comparison: &Comparison) -> Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(comparison)?);
    } else {
        println!("{}", comparison.table());
        println!("{}", comparison.ratios());
    }
    let folder = if args.write { PathBuf::from(document::PLOTS) } else { PathBuf::from("target/bench") };
    comparison.plot(&folder)?;
    if args.write {
        let text = format!(
            "{}{}\n{}\n![Messages a second](performance/peers-throughput.svg)\n![CPU of a message](performance/peers-cpu.svg)\n",
            comparison.heading(),
            comparison.ratios(),
            comparison.table()
        );
        document::put("peers", &text)?;
    } else {
        eprintln!("plots: {}", folder.display());
    }
    Ok(())
}

type Value = fn(&Figures) -> f64;

impl Comparison {
    fn cases(&self) -> Vec<Case> {
        let mut cases: Vec<Case> = self.runs.iter().map(|(case, ..)| *case).collect();
        cases.dedup();
        cases
    }

    /// Median, lowest and highest over the rounds; `None` when the system was not measured.
    fn of(&self, case: Case, system: System, value: Value) -> Option<(f64, f64, f64)> {
        let runs: Vec<f64> =
            self.runs.iter().filter(|(c, s, _)| (*c, *s) == (case, system)).map(|(.., f)| value(f)).collect();
        (!runs.is_empty()).then(|| median(runs.into_iter()))
    }

    fn heading(&self) -> String {
        let peers = [System::Postfix, System::PostfixRspamd].into_iter();
        let versions: Vec<String> =
            peers.filter_map(|s| systems::version(s).map(|v| format!("{} {v}", last_word(s)))).collect();
        // a machine that is not at its limit has room for others
        let full = self.runs.iter().filter(|(case, ..)| case.rate.is_none());
        let (foreign, _, most) = median(full.map(|(.., f)| f.foreign_percent));
        format!(
            "Measured {}: {} rounds of {} s a case, {SESSIONS} sessions, {}; of the machine other work took {foreign:.0} % (median of the runs; {most:.0} % in the worst).\nMedians; in parentheses the lowest and the highest of the rounds.\n\n",
            self.machine,
            self.rounds,
            self.seconds,
            versions.join(", "),
        )
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "| case | system | delivered/s | answer p50 / p99 ms | end to end p50 / p99 ms | CPU ms a message | peak MiB |\n|---|---|---|---|---|---|---|\n",
        );
        for case in self.cases() {
            for system in SYSTEMS {
                let Some(rate) = self.of(case, system, |f| f.per_second) else { continue };
                let middle = |value: Value| self.of(case, system, value).map_or(0.0, |m| m.0);
                let own = |text: String| if system == System::Floor { String::new() } else { text };
                text += &format!(
                    "| {case} | {system} | {} | {:.1} / {:.1} | {:.1} / {:.1} | {} | {} |\n",
                    spread(rate, self.rounds),
                    middle(|f| f.answer_p50_ms),
                    middle(|f| f.answer_p99_ms),
                    middle(|f| f.end_to_end_p50_ms),
                    middle(|f| f.end_to_end_p99_ms),
                    own(format!("{:.2}", middle(|f| f.cpu_ms))),
                    own(format!("{:.0}", middle(|f| f.memory_mib))),
                );
            }
        }
        text
    }

    /// Posthouse against each peer: how many times as many messages; latency, CPU and memory as a part of the peer's.
    fn ratios(&self) -> String {
        let mut text = String::from(
            "| case | against | messages a second | answer p50 / p99 | end to end p50 / p99 | CPU | memory |\n|---|---|---|---|---|---|---|\n",
        );
        for case in self.cases() {
            for peer in [System::Postfix, System::PostfixRspamd] {
                let ratio = |value: Value| -> Option<f64> {
                    Some(self.of(case, System::Posthouse, value)?.0 / self.of(case, peer, value)?.0)
                };
                let Some(rate) = ratio(|f| f.per_second) else { continue };
                let part = |value: Value| format!("{:.2}", ratio(value).unwrap_or_default());
                text += &format!(
                    "| {case} | {peer} | {rate:.1} × | {} / {} | {} / {} | {} | {} |\n",
                    part(|f| f.answer_p50_ms),
                    part(|f| f.answer_p99_ms),
                    part(|f| f.end_to_end_p50_ms),
                    part(|f| f.end_to_end_p99_ms),
                    part(|f| f.cpu_ms),
                    part(|f| f.memory_mib),
                );
            }
        }
        text
    }

    fn plot(&self, folder: &Path) -> Result<()> {
        let groups: Vec<String> = self.cases().iter().filter(|c| c.rate.is_none()).map(ToString::to_string).collect();
        let bars = |systems: &[System], value: Value| -> BTreeMap<String, Vec<(f64, f64, f64)>> {
            let cases = || self.cases().into_iter().filter(|c| c.rate.is_none());
            let of = |system: &System| cases().map(|c| self.of(c, *system, value).unwrap_or_default()).collect();
            systems.iter().map(|s| (s.to_string(), of(s))).collect()
        };
        plot::bars(
            &folder.join("peers-throughput.svg"),
            &Bars { title: "Messages delivered a second", groups: &groups, series: bars(&SYSTEMS, |f| f.per_second) },
        )?;
        plot::bars(
            &folder.join("peers-cpu.svg"),
            &Bars { title: "CPU of one message, ms", groups: &groups, series: bars(&SYSTEMS[..3], |f| f.cpu_ms) },
        )
    }
}

fn last_word(system: System) -> &'static str {
    if system == System::PostfixRspamd { "Rspamd" } else { "Postfix" }
}

fn spread((middle, low, high): (f64, f64, f64), rounds: u32) -> String {
    if rounds < 2 { format!("{middle:.0}") } else { format!("{middle:.0} ({low:.0}–{high:.0})") }
}
