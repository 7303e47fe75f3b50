//! How Posthouse behaves as something grows: the size of a message, the number of sessions, the journal. Wanted is a
//! line without a cliff.

use crate::document::{self, Machine};
use crate::journal;
use crate::load::{Load, Until};
use crate::peers::size;
use crate::plot::{self, Lines};
use crate::run::{Figures, run, warm_up};
use crate::systems::{self, Running, System};
use crate::world::World;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// For the axes on which the size does not grow.
const OCTETS: usize = 4 << 10;
const SESSIONS: usize = 20;
/// Sessions for messages that grow: enough for both cores, few enough for 50 MB in each to fit.
const SESSIONS_OF_SIZES: usize = 8;

#[derive(clap::Args)]
pub struct Growth {
    /// Two seconds a point, few points, at most 100,000 journeys.
    #[arg(long)]
    quick: bool,
    /// Seconds of sending at each point.
    #[arg(long)]
    seconds: Option<u64>,
    /// Only what grows so.
    #[arg(long = "axis", value_enum)]
    axes: Vec<Axis>,
    /// Journeys in the largest journal.
    #[arg(long)]
    journeys_max: Option<u64>,
    /// Writes the figures into docs/performance.md and its plots.
    #[arg(long)]
    write: bool,
    /// Prints every run as JSON instead of the tables.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    Size,
    Sessions,
    Journeys,
}

impl Axis {
    fn grows(self) -> &'static str {
        match self {
            Axis::Size => "octets of a message",
            Axis::Sessions => "sessions",
            Axis::Journeys => "journeys in the journal",
        }
    }
    fn shown(self, x: u64) -> String {
        match self {
            Axis::Size => size(usize::try_from(x).unwrap_or(usize::MAX)),
            Axis::Sessions | Axis::Journeys => x.to_string(),
        }
    }
    fn points(self, quick: bool, journeys_max: u64) -> Vec<u64> {
        match (self, quick) {
            (Axis::Size, true) => vec![1 << 10, 64 << 10, 1 << 20, 16 << 20],
            (Axis::Size, false) => [1, 4, 16, 64, 256, 1024, 4096, 16384, 51200].map(|kb| kb << 10).to_vec(),
            (Axis::Sessions, true) => vec![1, 20, 500, 2000],
            (Axis::Sessions, false) => vec![1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000],
            (Axis::Journeys, _) => (3..=7).map(|n| 10u64.pow(n)).filter(|n| *n <= journeys_max).collect(),
        }
    }
}

/// One point of a line.
#[derive(Serialize, Deserialize)]
struct Point {
    axis: Axis,
    x: u64,
    /// Of a message, header included.
    octets: usize,
    figures: Figures,
    /// What somebody who asks the journal waits for; only where the journal grows.
    asked: Option<Asked>,
}

#[derive(Serialize, Deserialize)]
struct Asked {
    start_ms: f64,
    explain_ms: f64,
    trace_ms: f64,
    file_mib: f64,
}

#[derive(Serialize, Deserialize)]
struct Grown {
    machine: Machine,
    seconds: u64,
    points: Vec<Point>,
}

pub fn growth(args: &Growth, dir: &Path, posthouse: &Path) -> Result<()> {
    let seconds = args.seconds.unwrap_or(if args.quick { 2 } else { 5 });
    let world = World::start(dir)?;
    let journeys_max = args.journeys_max.unwrap_or(if args.quick { 100_000 } else { 10_000_000 });
    let mut grown = Grown { machine: Machine::here()?, seconds, points: Vec::new() };
    for axis in [Axis::Size, Axis::Sessions, Axis::Journeys] {
        if !args.axes.is_empty() && !args.axes.contains(&axis) {
            continue;
        }
        let journal = dir.join("journal");
        for x in axis.points(args.quick, journeys_max) {
            if axis == Axis::Journeys && !journal::has_room(dir, x)? {
                eprintln!("bench: {} has no room for {x} journeys; point --dir to a larger disk", dir.display());
                break;
            }
            let point = measure(&world, posthouse, axis, x, &journal, seconds)?;
            eprintln!("{} {}: {}", axis.shown(x), axis.grows(), point.figures);
            grown.points.push(point);
        }
    }
    finish(args, &grown)
}

fn measure(world: &World, posthouse: &Path, axis: Axis, x: u64, journal: &Path, seconds: u64) -> Result<Point> {
    let number = usize::try_from(x)?;
    let specimen = world.specimen(if axis == Axis::Size { number } else { OCTETS })?;
    let began = Instant::now();
    let (running, start): (Running, Duration) = if axis == Axis::Journeys {
        std::fs::create_dir_all(journal)?;
        journal::fill(world, posthouse, journal, x)?;
        let began = Instant::now();
        (systems::posthouse(world, posthouse, journal, &[])?, began.elapsed())
    } else {
        (systems::start(System::Posthouse, world, posthouse)?, began.elapsed())
    };
    let load = Load {
        sessions: match axis {
            Axis::Size => SESSIONS_OF_SIZES,
            Axis::Sessions => number,
            Axis::Journeys => SESSIONS,
        },
        until: Until::After(Duration::from_secs(seconds)),
        ..Load::of(running.address, &world.exchange_tls, &specimen)
    };
    warm_up(world, &load, Duration::from_millis(500))?;
    let figures = run(world, &running, &load)?;
    let asked = if axis == Axis::Journeys { Some(ask(posthouse, journal, start)?) } else { None };
    Ok(Point { axis, x, octets: specimen.octets(), figures, asked })
}

/// The questions of a person, by the command line beside the serving gateway.
fn ask(posthouse: &Path, dir: &Path, start: Duration) -> Result<Asked> {
    let took = |args: &[&str]| -> Result<f64> {
        let began = Instant::now();
        let mut command = Command::new(posthouse);
        command.arg("--config").arg(dir.join("posthouse.toml")).args(args).stdout(Stdio::null());
        anyhow::ensure!(command.status()?.success(), "posthouse {args:?} failed");
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    };
    let id = journal::some_id();
    Ok(Asked {
        start_ms: start.as_secs_f64() * 1000.0,
        explain_ms: took(&["explain", &id])?,
        trace_ms: took(&["trace", "--limit", "10"])?,
        file_mib: std::fs::metadata(dir.join("data/posthouse.db"))?.len() as f64 / f64::from(1 << 20),
    })
}

fn finish(args: &Growth, grown: &Grown) -> Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(grown)?);
    } else {
        println!("{}", grown.tables());
    }
    let folder = if args.write { PathBuf::from(document::PLOTS) } else { PathBuf::from("target/bench") };
    let plots = grown.plot(&folder)?;
    if args.write {
        let heading = format!("Measured {}: {} s of sending a point.\n\n", grown.machine, grown.seconds);
        let shown: String = plots.iter().map(|p| format!("![{p}](performance/{p}.svg)\n")).collect();
        document::put("growth", &(heading + &grown.tables() + &shown))?;
    } else {
        eprintln!("plots: {}", folder.display());
    }
    Ok(())
}

impl Grown {
    fn of(&self, axis: Axis) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |p| p.axis == axis)
    }

    fn tables(&self) -> String {
        let mut text = String::new();
        for axis in [Axis::Size, Axis::Sessions, Axis::Journeys] {
            if self.of(axis).next().is_none() {
                continue;
            }
            let asked = axis == Axis::Journeys;
            text += &format!(
                "| {} | delivered/s | MB/s | answer p50 / p99 ms | CPU ms a message | peak MiB | turned away / broken |{}\n|---|---|---|---|---|---|---|{}\n",
                axis.grows(),
                if asked { " start ms | `explain` ms | `trace` ms | file MiB |" } else { "" },
                if asked { "---|---|---|---|" } else { "" },
            );
            for p in self.of(axis) {
                let f = &p.figures;
                text += &format!(
                    "| {} | {:.0} | {:.1} | {:.1} / {:.1} | {:.2} | {:.0} | {} / {} |",
                    axis.shown(p.x),
                    f.per_second,
                    f.per_second * p.octets as f64 / 1e6,
                    f.answer_p50_ms,
                    f.answer_p99_ms,
                    f.cpu_ms,
                    f.memory_mib,
                    f.turned_away,
                    f.broken,
                );
                if let Some(a) = &p.asked {
                    text +=
                        &format!(" {:.0} | {:.0} | {:.0} | {:.0} |", a.start_ms, a.explain_ms, a.trace_ms, a.file_mib);
                }
                text += "\n";
            }
            text += "\n";
        }
        text
    }

    /// Names of the plots that were made.
    fn plot(&self, folder: &Path) -> Result<Vec<String>> {
        let mut made = Vec::new();
        for axis in [Axis::Size, Axis::Sessions, Axis::Journeys] {
            if self.of(axis).next().is_none() {
                continue;
            }
            let line = |value: fn(&Point) -> f64| self.of(axis).map(|p| (p.x as f64, value(p))).collect::<Vec<_>>();
            let mut series = BTreeMap::from([
                ("messages a second".to_owned(), line(|p| p.figures.per_second)),
                ("peak memory, MiB".to_owned(), line(|p| p.figures.memory_mib)),
            ]);
            if axis == Axis::Size {
                series.insert("MB a second".into(), line(|p| p.figures.per_second * p.octets as f64 / 1e6));
            } else {
                series.insert("answer p99, ms".into(), line(|p| p.figures.answer_p99_ms));
            }
            let name = format!("growth-{}", format!("{axis:?}").to_lowercase());
            let title = format!("Growing: {}", axis.grows());
            plot::lines(&folder.join(format!("{name}.svg")), &Lines { title: &title, grows: axis.grows(), series })?;
            made.push(name);
        }
        Ok(made)
    }
}
