//! Step 5: what the detectors see, and outside scanners beside them, once for all parts of a message. A detector that panics or does not end is a fault of ours, never of the message.

use crate::attribute::Attributed;
use crate::faults::Fault;
use crate::house::House;
use crate::judgements::{self, Judgement, Looked};
use crate::limits;
use crate::receive::Received;
use crate::scan::scan;
use mail::Message;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout_at;
use verdict::{Content, Evidence, Finding, Lists, Proofs};

pub(crate) async fn inspect(
    house: &House,
    attributed: &Attributed,
    received: &Arc<Received>,
    message: &Message,
    proofs: Proofs,
) -> Result<Judgement, Fault> {
    let key = key(attributed, received, &proofs).await?;
    let detect = async {
        let _turn = match received.raw.len() {
            0..limits::LARGE_OCTETS => None,
            _ => Some(timeout_at(received.judged_by().into(), house.large.acquire()).await.map_err(|_| late())?),
        };
        look(house.lists.lists(), attributed, received, message, proofs).await
    };
    let look = async {
        // the scanners first: they work while we do
        let (answers, found) = tokio::join!(scan(house, attributed, received, message), detect);
        let mut looked = Looked { findings: found?, ..Looked::default() };
        looked.join(answers);
        Ok(looked)
    };
    // who waits for another part's judgement has no more time for it than for its own
    let judged = house.judgements.once(key, &received.id, look);
    timeout_at(received.judged_by().into(), judged).await.unwrap_or_else(|_| Err(late()))
}

/// A digest over the whole message: of a large one elsewhere than where sockets are served.
async fn key(attributed: &Attributed, received: &Arc<Received>, proofs: &Proofs) -> Result<judgements::Key, Fault> {
    let of = judgements::Of::new(attributed, proofs);
    if received.raw.len() < limits::OWN_THREAD_OCTETS {
        return Ok(of.key(received));
    }
    let received = received.clone();
    tokio::task::spawn_blocking(move || of.key(&received)).await.map_err(|e| Fault::Inspection(e.to_string()))
}

fn late() -> Fault {
    Fault::Late("inspect")
}

async fn look(
    lists: Arc<Lists>,
    attributed: &Attributed,
    received: &Arc<Received>,
    message: &Message,
    proofs: Proofs,
) -> Result<Vec<Finding>, Fault> {
    let (connected, received, message, direction) =
        (attributed.connected.clone(), received.clone(), message.clone(), attributed.direction);
    let large = received.raw.len() >= limits::OWN_THREAD_OCTETS;
    let until = received.judged_by().min(Instant::now() + limits::INSPECT_BUDGET);
    let look = move || {
        message.with_parts(|parts| {
            let content = Content::of(parts);
            let evidence = Evidence {
                direction,
                envelope: &received.envelope,
                message: &message,
                parts,
                content: &content,
                proofs: &proofs,
                lists: &lists,
                own_domains: &connected.tenant.domains,
                people: &connected.people,
            };
            verdict::inspect(&evidence)
        })
    };
    let panicked = || Fault::Inspection("a detector panicked".into());
    if !large {
        return std::panic::catch_unwind(std::panic::AssertUnwindSafe(look)).map_err(|_| panicked());
    }
    match timeout_at(until.into(), tokio::task::spawn_blocking(look)).await {
        Ok(Ok(findings)) => Ok(findings),
        Ok(Err(_)) => Err(panicked()),
        Err(_) => Err(late()),
    }
}
