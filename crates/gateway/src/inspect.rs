//! Step 5: what the detectors see. A detector that panics or does not end is a fault of ours, never of the message.

use crate::attribute::Attributed;
use crate::faults::Fault;
use crate::limits;
use crate::receive::Received;
use mail::Message;
use std::sync::Arc;
use verdict::{Evidence, Finding, Proofs};

pub(crate) async fn inspect(
    attributed: &Attributed,
    received: &Arc<Received>,
    message: &Message,
    proofs: Proofs,
) -> Result<Vec<Finding>, Fault> {
    let (connected, received, message, direction) =
        (attributed.connected.clone(), received.clone(), message.clone(), attributed.direction);
    let large = received.raw.len() >= limits::OWN_THREAD_OCTETS;
    let look = move || {
        let evidence = Evidence {
            direction,
            envelope: &received.envelope,
            message: &message,
            proofs: &proofs,
            own_domains: &connected.tenant.domains,
            people: &connected.people,
        };
        verdict::inspect(&evidence)
    };
    let panicked = || Fault::Inspection("a detector panicked".into());
    if !large {
        return std::panic::catch_unwind(std::panic::AssertUnwindSafe(look)).map_err(|_| panicked());
    }
    match tokio::time::timeout(limits::INSPECT_BUDGET, tokio::task::spawn_blocking(look)).await {
        Ok(Ok(findings)) => Ok(findings),
        Ok(Err(_)) => Err(panicked()),
        Err(_) => {
            Err(Fault::Inspection(format!("the detectors did not end within {} s", limits::INSPECT_BUDGET.as_secs())))
        }
    }
}
