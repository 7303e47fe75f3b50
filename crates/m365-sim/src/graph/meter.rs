//! Throttling of mail (wire.md 2.5): of each application at each mailbox so many requests in ten minutes, and so many at
//! the same time. Who asks sooner is told when to come again; the request itself is not carried out.

use super::Refusal;
use crate::world::World;
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// Outlook service limits (Graph throttling page): the window.
const WINDOW_SECS: i64 = 600;

pub type Meters = HashMap<(Uuid, Uuid), Meter>;

#[derive(Default)]
pub struct Meter {
    began: i64,
    count: usize,
    under_way: usize,
    /// The most at once that was let in, and how many were sent away: for scenarios.
    pub most: usize,
    pub refused: u64,
}

impl Meter {
    /// Requests in the present window.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// A request that is under way at a mailbox until dropped.
pub struct Slot {
    world: World,
    key: (Uuid, Uuid),
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(meter) = self.world.state().meters.get_mut(&self.key) {
            meter.under_way = meter.under_way.saturating_sub(1);
        }
    }
}

/// Lets a request of `app` in at the mailbox of `user`; it takes as long as Q62 says.
pub async fn enter(world: &World, app: Uuid, user: Uuid) -> Result<Slot, Refusal> {
    let (slot, takes) = {
        let mut state = world.state();
        let switches = state.switches.clone();
        let now = world.clock.unix();
        let meter = state.meters.entry((app, user)).or_default();
        if now - meter.began >= WINDOW_SECS {
            (meter.began, meter.count) = (now, 0);
        }
        let refuse = |meter: &mut Meter, limit: &str, after: i64| {
            meter.refused += 1;
            let text = format!("Application is over its {limit} limit.");
            Err(Refusal { retry_after: Some(after.max(1)), ..Refusal::new(429, "ApplicationThrottled", text) })
        };
        if meter.under_way >= switches.mailbox_concurrency_max {
            return refuse(meter, "MailboxConcurrency", switches.mailbox_retry_after_secs);
        }
        if meter.count >= switches.mailbox_requests_max {
            let after = meter.began + WINDOW_SECS - now;
            return refuse(meter, "MailboxRequests", after);
        }
        meter.count += 1;
        meter.under_way += 1;
        meter.most = meter.most.max(meter.under_way);
        (Slot { world: world.clone(), key: (app, user) }, switches.mail_request_ms)
    };
    if takes > 0 {
        tokio::time::sleep(Duration::from_millis(takes)).await;
    }
    Ok(slot)
}
