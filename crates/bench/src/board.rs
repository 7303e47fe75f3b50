//! When each message of a run was sent, answered, and delivered: one clock, since generator and sink are one process.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Messages of one run; no system here comes near it.
const MESSAGES_MAX: usize = 1 << 20;

pub struct Board {
    pub run: u32,
    began: Instant,
    next: AtomicU32,
    /// Microseconds since the run began, plus one; zero is never. Sent is: the last octet was written.
    sent: Vec<AtomicU32>,
    answered: Vec<AtomicU32>,
    delivered: Vec<AtomicU32>,
    taken: AtomicU32,
    arrived: AtomicU32,
    twice: AtomicU32,
    refused: AtomicU32,
    turned_away: AtomicU32,
    broken: AtomicU32,
    last_delivery_micros: AtomicU64,
    /// The first words of whoever did not take a message, for the person who has to find out why.
    complaint: std::sync::Mutex<Option<String>>,
}

/// What a board says in the end.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub taken: u32,
    pub delivered: u32,
    pub twice: u32,
    pub refused: u32,
    pub turned_away: u32,
    pub broken: u32,
    /// From the first octet to the last delivery.
    pub seconds: f64,
    /// Milliseconds from the end of data to the answer, and to the whole message at the sink; p50 and p99.
    pub answer_millis: [f64; 2],
    pub end_to_end_millis: [f64; 2],
    pub complaint: Option<String>,
}

impl Board {
    pub fn new(run: u32) -> Board {
        let column = || (0..MESSAGES_MAX).map(|_| AtomicU32::new(0)).collect();
        Board {
            run,
            began: Instant::now(),
            next: AtomicU32::new(0),
            sent: column(),
            answered: column(),
            delivered: column(),
            taken: AtomicU32::new(0),
            arrived: AtomicU32::new(0),
            twice: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            turned_away: AtomicU32::new(0),
            broken: AtomicU32::new(0),
            last_delivery_micros: AtomicU64::new(0),
            complaint: std::sync::Mutex::default(),
        }
    }

    fn now(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_micros()).unwrap_or(u32::MAX - 1) + 1
    }

    /// The number of the next message; `None` when the board is full.
    pub fn take_number(&self) -> Option<u32> {
        Some(self.next.fetch_add(1, Relaxed)).filter(|n| (*n as usize) < MESSAGES_MAX)
    }
    pub fn mark_sent(&self, n: u32) {
        self.sent[n as usize].store(self.now(), Relaxed);
    }
    pub fn mark_answered(&self, n: u32) {
        self.answered[n as usize].store(self.now(), Relaxed);
        self.taken.fetch_add(1, Relaxed);
    }
    pub fn mark_delivered(&self, n: u32) {
        let now = self.now();
        let Some(place) = self.delivered.get(n as usize) else { return };
        if place.swap(now, Relaxed) == 0 {
            self.arrived.fetch_add(1, Relaxed);
            self.last_delivery_micros.fetch_max(u64::from(now), Relaxed);
        } else {
            self.twice.fetch_add(1, Relaxed);
        }
    }
    pub fn mark_refused(&self, words: String) {
        self.refused.fetch_add(1, Relaxed);
        self.complain(words);
    }
    pub fn mark_turned_away(&self) {
        self.turned_away.fetch_add(1, Relaxed);
    }
    pub fn mark_broken(&self, why: String) {
        self.broken.fetch_add(1, Relaxed);
        self.complain(why);
    }
    fn complain(&self, words: String) {
        if let Ok(mut complaint) = self.complaint.lock() {
            complaint.get_or_insert(words);
        }
    }

    /// Messages that were taken and have not arrived.
    pub fn under_way(&self) -> u32 {
        self.taken.load(Relaxed).saturating_sub(self.arrived.load(Relaxed))
    }
    pub fn arrived(&self) -> u32 {
        self.arrived.load(Relaxed)
    }

    pub fn tally(&self) -> Tally {
        let count = (self.next.load(Relaxed) as usize).min(MESSAGES_MAX);
        let spans = |ends: &[AtomicU32]| {
            let mut spans: Vec<u32> = (0..count)
                .map(|n| (self.sent[n].load(Relaxed), ends[n].load(Relaxed)))
                .filter(|(sent, end)| *sent > 0 && *end > 0)
                // the sink may see the end before the generator looks at the clock
                .map(|(sent, end)| end.saturating_sub(sent))
                .collect();
            spans.sort_unstable();
            [50, 99].map(|p| percentile(&spans, p))
        };
        Tally {
            taken: self.taken.load(Relaxed),
            delivered: self.arrived(),
            twice: self.twice.load(Relaxed),
            refused: self.refused.load(Relaxed),
            turned_away: self.turned_away.load(Relaxed),
            broken: self.broken.load(Relaxed),
            seconds: Duration::from_micros(self.last_delivery_micros.load(Relaxed)).as_secs_f64(),
            answer_millis: spans(&self.answered),
            end_to_end_millis: spans(&self.delivered),
            complaint: self.complaint.lock().ok().and_then(|c| c.clone()),
        }
    }
}

/// Of sorted microseconds, in milliseconds.
fn percentile(sorted: &[u32], percent: usize) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    f64::from(sorted[(last * percent).div_ceil(100)]) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted() {
        let spans: Vec<u32> = (1..=100).map(|n| n * 1000).collect();
        assert_eq!([percentile(&spans, 50), percentile(&spans, 99)], [51.0, 100.0]);
        assert_eq!([percentile(&[], 50), percentile(&[7000], 99)], [0.0, 7.0]);
    }

    #[test]
    fn a_message_that_comes_twice_is_told() {
        let board = Board::new(1);
        assert_eq!(board.take_number(), Some(0));
        board.mark_sent(0);
        board.mark_answered(0);
        assert_eq!(board.under_way(), 1);
        board.mark_delivered(0);
        board.mark_delivered(0);
        assert_eq!((board.under_way(), board.tally().twice), (0, 1));
    }
}
