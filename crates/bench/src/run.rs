//! One run: a load against a system, from the first octet to the last delivery, with what the system used meanwhile.

use crate::board::Board;
use crate::group::{Peak, TICKS_A_SECOND, cpu_seconds, machine_ticks, own_cpu_seconds};
use crate::load::{Load, Until};
use crate::systems::Running;
use crate::world::World;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What was taken has to arrive; a queue that stands still for so long has lost it.
const STANDSTILL_MAX: Duration = Duration::from_secs(15);

/// What one run showed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    pub delivered: u32,
    /// Delivered a second, from the first octet to the last delivery.
    pub per_second: f64,
    pub answer_p50_ms: f64,
    pub answer_p99_ms: f64,
    pub end_to_end_p50_ms: f64,
    pub end_to_end_p99_ms: f64,
    /// User and system time of the system's processes for a delivered message.
    pub cpu_ms: f64,
    /// Highest proportional set size of its processes together.
    pub memory_mib: f64,
    /// Percent of the machine that neither the system nor generator and sink used.
    pub foreign_percent: f64,
    pub lost: u32,
    /// Arrived more than once.
    pub twice: u32,
    pub refused: u32,
    pub turned_away: u32,
    pub broken: u32,
    /// The first words of whoever did not take a message.
    pub complaint: Option<String>,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0}/s, answer {:.1}/{:.1} ms, end to end {:.1}/{:.1} ms, {:.3} ms of CPU, {:.0} MiB, {:.0} % foreign",
            self.per_second,
            self.answer_p50_ms,
            self.answer_p99_ms,
            self.end_to_end_p50_ms,
            self.end_to_end_p99_ms,
            self.cpu_ms,
            self.memory_mib,
            self.foreign_percent
        )?;
        let trouble = [
            (self.lost, "lost"),
            (self.twice, "came twice"),
            (self.refused, "refused"),
            (self.turned_away, "turned away"),
            (self.broken, "broken"),
        ];
        for (count, what) in trouble.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        self.complaint.as_ref().map_or(Ok(()), |words| write!(f, " ({words})"))
    }
}

fn next_run() -> u32 {
    static RUN: AtomicU32 = AtomicU32::new(1);
    RUN.fetch_add(1, Relaxed)
}

/// Sends `load` through a system and waits for everything to arrive.
pub fn run(world: &World, running: &Running, load: &Load) -> Result<Figures> {
    let leaders = running.leaders();
    let board = Arc::new(Board::new(next_run()));
    world.sink.write_to(board.clone());
    let peak = Peak::watch(leaders.clone());
    let (cpu, own, machine) = (cpu_seconds(&leaders), own_cpu_seconds(), machine_ticks());
    load.run(&board)?;
    drain(&board);
    let (cpu, own) = (cpu_seconds(&leaders) - cpu, own_cpu_seconds() - own);
    let (busy, all) = machine_ticks();
    let tally = board.tally();
    if tally.delivered == 0 {
        bail!("nothing was delivered: {}", tally.complaint.unwrap_or_else(|| "nobody said why".into()));
    }
    let (ticks, foreign) = (all - machine.1, (busy - machine.0) / TICKS_A_SECOND - cpu - own);
    Ok(Figures {
        delivered: tally.delivered,
        per_second: f64::from(tally.delivered) / tally.seconds,
        answer_p50_ms: tally.answer_millis[0],
        answer_p99_ms: tally.answer_millis[1],
        end_to_end_p50_ms: tally.end_to_end_millis[0],
        end_to_end_p99_ms: tally.end_to_end_millis[1],
        cpu_ms: cpu * 1000.0 / f64::from(tally.delivered),
        memory_mib: peak.octets() as f64 / f64::from(1 << 20),
        foreign_percent: (100.0 * foreign / (ticks / TICKS_A_SECOND)).max(0.0),
        lost: tally.taken.saturating_sub(tally.delivered),
        twice: tally.twice,
        refused: tally.refused,
        turned_away: tally.turned_away,
        broken: tally.broken,
        complaint: tally.complaint,
    })
}

/// A system is warm when its processes, connections and remembered names are there.
pub fn warm_up(world: &World, load: &Load, time: Duration) -> Result<()> {
    let board = Arc::new(Board::new(next_run()));
    world.sink.write_to(board.clone());
    Load { rate: None, until: Until::After(time), ..load.clone() }.run(&board)?;
    drain(&board);
    let tally = board.tally();
    if tally.delivered == 0 {
        bail!("nothing was delivered: {}", tally.complaint.unwrap_or_else(|| "nobody said why".into()));
    }
    Ok(())
}

/// Until all that was taken has arrived, or nothing arrives any more.
fn drain(board: &Board) {
    let (mut arrived, mut since) = (board.arrived(), Instant::now());
    while board.under_way() > 0 && since.elapsed() < STANDSTILL_MAX {
        std::thread::sleep(Duration::from_millis(2)); // between two looks at what the sink counts
        if board.arrived() != arrived {
            (arrived, since) = (board.arrived(), Instant::now());
        }
    }
}

/// Middle of an odd number of values, mean of the two middle ones else; and lowest and highest.
pub fn median(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return (0.0, 0.0, 0.0) };
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    (f64::midpoint(low, high), *first, *last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_few() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), (2.0, 1.0, 3.0));
        assert_eq!(median([4.0, 1.0].into_iter()), (2.5, 1.0, 4.0));
        assert_eq!(median(std::iter::empty()), (0.0, 0.0, 0.0));
    }
}
