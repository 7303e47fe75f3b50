//! Microsoft's clock, as its answers show it (`Date`, RFC 9110 §6.6.1). What we sign and the windows of time that we
//! ask for are judged by it; a host whose own clock is wrong would be shut out of every tenant.

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{DATE, HeaderMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Seconds that answers are under way, and that `Date` has no fractions of.
const UNSURE_SECS: i64 = 5;

#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs(self.0.load(Ordering::Relaxed))
    }
    /// True where it turned out to be another time than we thought.
    pub(crate) fn learn(&self, headers: &HeaderMap) -> bool {
        let date = headers.get(DATE).and_then(|d| d.to_str().ok());
        let Some(date) = date.and_then(|d| jiff::fmt::rfc2822::parse(d).ok()) else { return false };
        let ahead = date.timestamp().as_second() - Timestamp::now().as_second();
        let ahead = if ahead.abs() <= UNSURE_SECS { 0 } else { ahead };
        let before = self.0.load(Ordering::Relaxed);
        let differs = (ahead - before).abs() > UNSURE_SECS;
        if differs {
            self.0.store(ahead, Ordering::Relaxed);
            tracing::warn!(seconds = ahead, "Microsoft's clock is ahead of this host's");
        }
        differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_learned_and_a_second_of_travel_is_no_difference() {
        let clock = Clock::default();
        let said = |secs: i64| {
            let at = Timestamp::now() + SignedDuration::from_secs(secs);
            let text = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            HeaderMap::from_iter(text.parse().map(|value| (DATE, value)))
        };
        let ahead = |clock: &Clock| clock.now().as_second() - Timestamp::now().as_second();
        assert!(!clock.learn(&said(-2)) && ahead(&clock) == 0);
        assert!(clock.learn(&said(7 * 86_400)) && (ahead(&clock) - 7 * 86_400).abs() <= 1);
        assert!(!clock.learn(&HeaderMap::new()) && ahead(&clock) > 86_400);
        assert!(clock.learn(&said(0)) && ahead(&clock) == 0);
    }
}
