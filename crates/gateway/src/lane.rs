//! The way back to one tenant: connections kept for the next message, how many there may be at the same time, and where
//! the host was when DNS last said so.

use crate::limits;
use smtp::Connection;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

pub(crate) struct Lane {
    state: Mutex<State>,
    freed: Notify,
}

struct State {
    idle: Vec<Connection>,
    used: usize,
    allowed: usize,
    /// Messages taken since the number was last changed.
    taken: usize,
    known: Option<(Instant, Vec<IpAddr>)>,
}

impl Default for Lane {
    fn default() -> Lane {
        let state = State { idle: Vec::new(), used: 0, allowed: limits::RETURN_CONNECTIONS_MAX, taken: 0, known: None };
        Lane { state: Mutex::new(state), freed: Notify::new() }
    }
}

/// Leave to use one connection.
pub(crate) struct Room<'a>(&'a Lane);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.open().used -= 1;
        self.0.freed.notify_one();
    }
}

impl Lane {
    fn open(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until fewer connections are in use than there may be.
    pub(crate) async fn room(&self) -> Room<'_> {
        loop {
            let freed = self.freed.notified();
            {
                let mut state = self.open();
                if state.used < state.allowed {
                    state.used += 1;
                    return Room(self);
                }
            }
            freed.await;
        }
    }

    /// Exchange Online throttles whoever sends too much (451 4.7.5xx): half as many connections from now on.
    pub(crate) fn slow_down(&self) {
        let mut state = self.open();
        let allowed = (state.allowed / 2).max(1);
        (state.allowed, state.taken) = (allowed, 0);
        state.idle.truncate(allowed);
    }

    /// One more when as many messages were taken as a round of the present connections carries.
    pub(crate) fn went_well(&self) {
        let mut state = self.open();
        if state.allowed == limits::RETURN_CONNECTIONS_MAX {
            return;
        }
        state.taken += 1;
        if state.taken >= state.allowed * limits::TAKEN_TO_GROW {
            (state.allowed, state.taken) = (state.allowed + 1, 0);
            self.freed.notify_one();
        }
    }

    pub(crate) fn take(&self) -> Option<Connection> {
        let mut state = self.open();
        state.idle.retain(|c| c.idle_for() < limits::IDLE_CONNECTION_AGE);
        state.idle.pop()
    }

    pub(crate) fn put(&self, connection: Connection) {
        let mut state = self.open();
        if state.idle.len() < state.allowed {
            state.idle.push(connection);
        }
    }

    /// In use, and kept for the next message.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.open();
        (state.used, state.idle.len())
    }

    /// Remembers where the host is, for a time when DNS does not say.
    pub(crate) fn know(&self, addresses: &[IpAddr]) {
        self.open().known = Some((Instant::now(), addresses.to_vec()));
    }

    pub(crate) fn known(&self) -> Option<Vec<IpAddr>> {
        let state = self.open();
        state.known.as_ref().filter(|(at, _)| at.elapsed() < limits::ADDRESSES_LIFE).map(|(_, known)| known.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn throttled_is_half_and_grows_one_by_one() {
        let lane = Lane::default();
        let mut rooms = Vec::new();
        while let Some(room) = lane.room().now_or_never() {
            rooms.push(room);
        }
        assert_eq!(rooms.len(), limits::RETURN_CONNECTIONS_MAX);
        (0..10).for_each(|_| lane.slow_down());
        drop(rooms);
        let one = lane.room().await;
        assert!(lane.room().now_or_never().is_none(), "one is left, never none");
        (0..limits::TAKEN_TO_GROW).for_each(|_| lane.went_well());
        let two = lane.room().now_or_never();
        assert!(two.is_some() && lane.room().now_or_never().is_none());
        // who waits is told when room is made
        let waiting = lane.room();
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(one);
        waiting.await;
    }
}
