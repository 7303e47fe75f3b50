//! Room in memory for the octets of messages under way. A message is in memory once; so many of them are at the same time
//! that this bounds it. Who finds no room waits a little, since room is made every moment, and is then refused for now.

use crate::{limits, replies};
use smtp::Reply;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are units of so many octets: a semaphore counts no further than 2^29.
const UNIT_OCTETS: usize = 1024;

pub(crate) fn of_octets(octets: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(octets / UNIT_OCTETS))
}

/// Octets for which there is no room any more.
pub(crate) fn taken(all: &Semaphore) -> usize {
    limits::OCTETS_UNDER_WAY_MAX - all.available_permits() * UNIT_OCTETS
}

/// Of one message, from MAIL to its answer.
pub(crate) struct Room {
    units: OwnedSemaphorePermit,
    octets: usize,
}

fn units(octets: usize) -> u32 {
    u32::try_from(octets.div_ceil(UNIT_OCTETS)).unwrap_or(u32::MAX)
}

impl Room {
    /// For as many octets as the peer announced, and what such an estimate may be wrong by.
    pub(crate) async fn for_message(all: &Arc<Semaphore>, announced: usize) -> Option<Room> {
        let octets = announced.saturating_add(smtp::limits::ANNOUNCED_SLACK_OCTETS);
        let waiting = tokio::time::timeout(limits::ROOM_PATIENCE, all.clone().acquire_many_owned(units(octets)));
        Some(Room { units: waiting.await.ok()?.ok()?, octets })
    }

    /// There are more octets than were announced. Nobody waits here: others wait for the room that this one has.
    pub(crate) fn grow(&mut self, all: &Arc<Semaphore>, octets: usize) -> Result<(), Reply> {
        if octets <= self.octets {
            return Ok(());
        }
        let more = (octets - self.octets).max(limits::ROOM_STEP_OCTETS);
        let units = all.clone().try_acquire_many_owned(units(more)).map_err(|_| replies::busy())?;
        self.units.merge(units);
        self.octets += more;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_is_refused_for_now() {
        let all = of_octets(10 << 20);
        let first = Room::for_message(&all, 6 << 20).await.unwrap();
        let mut small = Room::for_message(&all, 1 << 20).await.unwrap();
        assert!(Room::for_message(&all, 6 << 20).await.is_none());
        assert_eq!(small.grow(&all, 1 << 20), Ok(()));
        assert_eq!(small.grow(&all, 2 << 20), Ok(()));
        assert_eq!(small.grow(&all, 8 << 20).unwrap_err().code, 452);
        drop(first);
        assert_eq!(small.grow(&all, 8 << 20), Ok(()));
        drop(small);
        assert_eq!(all.available_permits(), 10 << 10);
    }
}
