//! Ending without cutting anything: whoever is in the middle of something finishes it, whoever rests is told 421 at the
//! next command, and whoever says nothing is told so at the end (RFC 5321 §3.8).

use crate::limits;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    /// Nothing new is begun.
    Draining,
    /// Nothing is under way any more.
    Ending,
}

pub(crate) struct Drain {
    phase: watch::Sender<Phase>,
    /// Sessions in the middle of something hold one each.
    busy: Arc<Semaphore>,
    /// Every open session holds one.
    open: Arc<Semaphore>,
}

const ALL: usize = limits::SESSIONS_MAX + limits::STRANGERS_MAX;

impl Default for Drain {
    fn default() -> Drain {
        let all = || Arc::new(Semaphore::new(ALL));
        Drain { phase: watch::Sender::new(Phase::Serving), busy: all(), open: all() }
    }
}

/// One session's part in it.
pub(crate) struct Guest {
    phase: watch::Receiver<Phase>,
    busy: Arc<Semaphore>,
    under_way: Option<OwnedSemaphorePermit>,
    _open: Option<OwnedSemaphorePermit>,
}

impl Drain {
    pub(crate) fn guest(&self) -> Guest {
        Guest {
            phase: self.phase.subscribe(),
            busy: self.busy.clone(),
            under_way: None,
            _open: self.open.clone().try_acquire_owned().ok(),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }

    /// Ends when nothing is under way any more, or patience does; false: something was still under way.
    pub(crate) async fn finish(&self) -> bool {
        self.phase.send_replace(Phase::Draining);
        let all = u32::try_from(ALL).unwrap_or(u32::MAX);
        let finished = match timeout(limits::SHUTDOWN_PATIENCE, self.busy.acquire_many(all)).await {
            // whoever holds all of it knows that nobody begins again
            Ok(room) => room.map(|r| r.forget()).is_ok(),
            Err(_) => false,
        };
        self.phase.send_replace(Phase::Ending);
        let _ = timeout(limits::GOODBYE_PATIENCE, self.open.acquire_many(all)).await;
        finished
    }
}

impl Guest {
    /// Something begins; false when nothing may begin any more.
    pub(crate) fn begin(&mut self) -> bool {
        if self.under_way.is_none() {
            self.under_way = self.busy.clone().try_acquire_owned().ok();
        }
        self.under_way.is_some() && *self.phase.borrow() == Phase::Serving
    }

    pub(crate) fn rest(&mut self) {
        self.under_way = None;
    }

    /// Ends when whoever rests is to go.
    pub(crate) async fn dismissed(&mut self) {
        if self.phase.wait_for(|phase| *phase == Phase::Ending).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }
}
