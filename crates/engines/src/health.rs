//! Whether an engine works. One that failed several times in a row is not asked by mail any more until a message of our
//! own has been answered: a scanner that is down costs one message its budget, not every message.

use crate::{Fault, limits};
use std::time::{Duration, Instant};

/// What people read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Health {
    /// Not heard of yet.
    Unknown,
    Healthy,
    Failing {
        since: jiff::Timestamp,
        why: String,
    },
}

impl Health {
    pub const STATES: [&'static str; 3] = ["unknown", "healthy", "failing"];

    pub fn as_str(&self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Healthy => "healthy",
            Health::Failing { .. } => "failing",
        }
    }
}

/// The state of one engine; every moment is told from outside.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    faults_in_a_row: u32,
    /// When it last answered, or failed to.
    heard: Option<Instant>,
    answered: bool,
    failing: Option<Failing>,
    outages: Outages,
}

#[derive(Clone, Debug)]
struct Failing {
    since: jiff::Timestamp,
    why: String,
    /// When it may be tried again, and how long after that.
    again: Instant,
    pause: Duration,
}

/// What people were told.
#[derive(Debug, Default)]
struct Outages {
    /// They think it is failing.
    told: Option<jiff::Timestamp>,
    /// Of late; each makes good news wait longer.
    lately: u32,
    ended: Option<Instant>,
}

/// News of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Down { since: jiff::Timestamp, why: String },
    Back { since: jiff::Timestamp },
}

impl Circuit {
    /// May mail ask?
    pub fn is_open(&self) -> Result<(), Fault> {
        match &self.failing {
            Some(failing) => Err(Fault::Resting { since: failing.since, why: failing.why.clone() }),
            None => Ok(()),
        }
    }

    pub fn went_well(&mut self, now: Instant) {
        (self.faults_in_a_row, self.heard, self.answered) = (0, Some(now), true);
        if self.failing.take().is_some() {
            self.outages.ended = Some(now);
        }
    }

    /// A fault of the engine; what speaks of the message alone is none.
    pub fn failed(&mut self, fault: &Fault, now: Instant, date: jiff::Timestamp) {
        (self.faults_in_a_row, self.heard) = (self.faults_in_a_row.saturating_add(1), Some(now));
        match &mut self.failing {
            Some(failing) => {
                failing.why = fault.to_string();
                // answers to what was asked before it was given up tell nothing of the next try
                if now >= failing.again {
                    failing.pause = (failing.pause * 2).min(limits::PROBE_PAUSE_MAX);
                    failing.again = now + failing.pause;
                }
            }
            None if self.faults_in_a_row >= limits::FAULTS_IN_A_ROW => {
                let pause = limits::PROBE_PAUSE;
                self.failing = Some(Failing { since: date, why: fault.to_string(), again: now + pause, pause });
                let long_ago = |ended: Instant| now.duration_since(ended) >= limits::OUTAGES_FORGOTTEN;
                self.outages.lately = match self.outages.ended {
                    Some(ended) if !long_ago(ended) => self.outages.lately.saturating_add(1),
                    _ => 0,
                };
            }
            None => {}
        }
    }

    /// Is it time for a message of ours? One that has failed but is not given up is asked soon; one that is well when
    /// nobody else has.
    pub fn is_due(&self, now: Instant) -> bool {
        match (&self.failing, self.heard) {
            (Some(failing), _) => now >= failing.again,
            (None, None) => true,
            (None, Some(heard)) => {
                let pause = if self.faults_in_a_row > 0 { limits::PROBE_PAUSE } else { limits::IDLE_PROBE };
                now.duration_since(heard) >= pause
            }
        }
    }

    pub fn is_well(&self) -> bool {
        self.heard.is_some() && self.faults_in_a_row == 0
    }

    pub fn health(&self) -> Health {
        match &self.failing {
            Some(failing) => Health::Failing { since: failing.since, why: failing.why.clone() },
            None if self.answered => Health::Healthy,
            None => Health::Unknown,
        }
    }

    /// What people do not know yet; told once. Good news waits until it has lasted, longer for one that comes and goes.
    pub fn news(&mut self, now: Instant) -> Option<News> {
        match (&self.failing, self.outages.told) {
            (Some(failing), None) => {
                self.outages.told = Some(failing.since);
                Some(News::Down { since: failing.since, why: failing.why.clone() })
            }
            (None, Some(since)) => {
                let settled = limits::SETTLED.saturating_mul(1 << self.outages.lately.min(16)).min(limits::SETTLED_MAX);
                let lasted = self.outages.ended.is_some_and(|ended| now.duration_since(ended) >= settled);
                lasted.then(|| {
                    self.outages.told = None;
                    News::Back { since }
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DATE: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

    fn down() -> Fault {
        Fault::Down("refused".into())
    }

    fn given_up(now: Instant) -> Circuit {
        let mut circuit = Circuit::default();
        (0..limits::FAULTS_IN_A_ROW).for_each(|_| circuit.failed(&down(), now, DATE));
        circuit
    }

    #[test]
    fn several_faults_in_a_row_close_the_door_and_one_answer_opens_it() {
        let (now, mut circuit) = (Instant::now(), Circuit::default());
        assert_eq!((circuit.health(), circuit.is_due(now)), (Health::Unknown, true));
        for _ in 1..limits::FAULTS_IN_A_ROW {
            circuit.failed(&down(), now, DATE);
        }
        circuit.went_well(now);
        circuit.failed(&down(), now, DATE);
        assert!(circuit.is_open().is_ok(), "an answer in between begins the row again");
        let mut circuit = given_up(now);
        assert_eq!(circuit.is_open(), Err(Fault::Resting { since: DATE, why: down().to_string() }));
        circuit.went_well(now);
        assert_eq!((circuit.is_open(), circuit.health()), (Ok(()), Health::Healthy));
    }

    #[test]
    fn a_failing_engine_is_tried_less_and_less_often() {
        let (mut now, mut circuit) = (Instant::now(), given_up(Instant::now()));
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let began = now;
            while !circuit.is_due(now) {
                now += Duration::from_millis(100);
            }
            pauses.push(now.duration_since(began).as_secs_f64().round() as u64);
            circuit.failed(&down(), now, DATE);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn an_engine_that_comes_and_goes_is_told_ever_more_rarely() {
        let (mut now, mut circuit) = (Instant::now(), Circuit::default());
        let mut told = Vec::new();
        // three seconds down, three seconds up, for ten minutes
        for second in 0..600 {
            match second % 6 {
                0 => (0..limits::FAULTS_IN_A_ROW).for_each(|_| circuit.failed(&down(), now, DATE)),
                3 => circuit.went_well(now),
                _ => {}
            }
            if let Some(news) = circuit.news(now) {
                told.push((second, matches!(news, News::Down { .. })));
            }
            now += Duration::from_secs(1);
        }
        assert_eq!(told, [(0, true), (5, false), (6, true)]);
        // and well at last
        circuit.went_well(now);
        assert_eq!(circuit.news(now), None);
        assert_eq!(circuit.news(now + limits::SETTLED_MAX), Some(News::Back { since: DATE }));
        assert_eq!(circuit.news(now + limits::SETTLED_MAX), None);
    }
}
