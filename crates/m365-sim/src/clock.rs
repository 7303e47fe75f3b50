//! One clock for the whole simulator; a scenario may move it forward, never back.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Real time plus an offset that scenarios advance.
#[derive(Clone, Debug)]
pub struct Clock {
    offset: Arc<Mutex<Duration>>,
    moved: watch::Sender<u64>,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock { offset: Arc::default(), moved: watch::Sender::new(0) }
    }
}

impl Clock {
    pub fn now(&self) -> jiff::Timestamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + self.offset();
        jiff::Timestamp::from_nanosecond(i128::try_from(now.as_nanos()).unwrap_or_default())
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
    /// Seconds since 1970.
    pub fn unix(&self) -> i64 {
        self.now().as_second()
    }
    fn offset(&self) -> Duration {
        *self.offset.lock().unwrap_or_else(|e| e.into_inner())
    }
    /// Moves the clock forward and wakes everything that waits for a time.
    pub fn advance(&self, by: Duration) {
        *self.offset.lock().unwrap_or_else(|e| e.into_inner()) += by;
        self.moved.send_modify(|n| *n += 1);
    }
    /// Returns once the clock shows `at`, by real time or because a scenario moved it.
    pub async fn until(&self, at: jiff::Timestamp) {
        let mut moved = self.moved.subscribe();
        loop {
            let left = at.duration_since(self.now());
            if left.is_zero() || left.is_negative() {
                return;
            }
            let left = Duration::try_from(left).unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                changed = moved.changed() => if changed.is_err() { return },
            }
        }
    }
}
