//! Exchange Online splits one message among its recipients and hands the parts over one by one (transport.md G15): they
//! are judged once. Shared is what was found, for parts that no detector could tell apart; each part is still decided,
//! carried out and written down by itself.

use crate::attribute::Attributed;
use crate::faults::Fault;
use crate::limits;
use crate::receive::Received;
use mail::HeaderSection;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use store::EngineAnswer;
use tokio::sync::OnceCell;
use verdict::{Finding, Proofs};

/// A whole message in 32 octets; BLAKE3, since SHA-256 was a third of what a message of a megabyte cost.
pub(crate) type Key = [u8; 32];

/// What was found, and what could not be looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    pub findings: Vec<Finding>,
    pub engines: Vec<EngineAnswer>,
    /// Without what this scanner would have said it is not whole.
    pub lacks: Option<Fault>,
}

/// What was found, and in which journey.
#[derive(Clone, Debug)]
pub(crate) struct Judgement {
    pub looked: Looked,
    pub journey: String,
}

struct Kept {
    since: Instant,
    cell: Arc<OnceCell<Judgement>>,
}

#[derive(Default)]
pub(crate) struct Judgements(Mutex<HashMap<Key, Kept>>);

impl Judgements {
    /// The judgement of an equal message of a moment ago, or `inspect`'s. Parts that come at the same time wait for the
    /// first; where its inspection fails, each tries for itself, and what a scanner was missing from is not kept.
    pub(crate) async fn once(
        &self,
        key: Key,
        journey: &str,
        inspect: impl Future<Output = Result<Looked, Fault>>,
    ) -> Result<Judgement, Fault> {
        let cell = self.cell(key);
        let judged = cell.get_or_try_init(|| async {
            inspect.await.map(|looked| Judgement { looked, journey: journey.to_owned() })
        });
        let judged = judged.await.cloned();
        if judged.as_ref().is_ok_and(|j| j.looked.engines.iter().any(|e| e.fault.is_some())) {
            self.forget(key, &cell);
        }
        judged
    }

    /// What lacks something is for those that wait for it now; who comes later finds the scanner well again, perhaps.
    fn forget(&self, key: Key, cell: &Arc<OnceCell<Judgement>>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.get(&key).is_some_and(|k| Arc::ptr_eq(&k.cell, cell)) {
            kept.remove(&key);
        }
    }

    fn cell(&self, key: Key) -> Arc<OnceCell<Judgement>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= limits::JUDGEMENTS_MAX {
            kept.retain(|_, k| k.since.elapsed() < limits::JUDGEMENT_LIFE);
            // all of them young: rather judge again than grow
            if kept.len() >= limits::JUDGEMENTS_MAX {
                kept.clear();
            }
        }
        let one = kept.entry(key).or_insert_with(|| Kept { since: Instant::now(), cell: Arc::default() });
        if one.since.elapsed() >= limits::JUDGEMENT_LIFE {
            *one = Kept { since: Instant::now(), cell: Arc::default() };
        }
        one.cell.clone()
    }
}

/// Fields that say how a part travelled, not what it is; they differ between two parts of one message. Exchange Online
/// seals each part by itself; what a seal proves is among the proofs.
const TRACE: [&str; 6] = ["received", "arc-", "x-ms-exchange-", "x-ms-office365-", "x-microsoft-", "x-posthouse-"];

/// Everything that a detector sees beside the message itself; the recipients of this part only where a custom rule asks
/// for them.
pub(crate) struct Of(String, bool);

impl Of {
    pub(crate) fn new(attributed: &Attributed, proofs: &Proofs) -> Of {
        let (id, revision) = (attributed.id(), attributed.connected.revision);
        let seen = format!("{id} {revision} {} {proofs:?}", attributed.direction.as_str());
        Of(seen, attributed.connected.custom.tell_recipients_apart())
    }

    pub(crate) fn key(&self, received: &Received) -> Key {
        let mut digest = blake3::Hasher::new();
        let mut part = |octets: &[u8]| {
            digest.update(&octets.len().to_be_bytes());
            digest.update(octets);
        };
        part(self.0.as_bytes());
        part(received.envelope.sender.as_bytes());
        if self.1 {
            received.envelope.recipients.iter().for_each(|r| part(r.address.as_bytes()));
        }
        let section = HeaderSection::of(&received.raw);
        let is_trace = |name: &str| {
            let begins = |t: &str| name.get(..t.len()).is_some_and(|n| n.eq_ignore_ascii_case(t));
            TRACE.iter().any(|t| begins(t))
        };
        let mut end = 0;
        for field in section.fields() {
            end = field.range.end;
            if !is_trace(field.name) {
                part(&received.raw[field.range]);
            }
        }
        part(&received.raw[end..]);
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn parts_at_the_same_time_are_judged_once_and_a_failure_is_not_kept() {
        let (judgements, asked) = (Judgements::default(), AtomicUsize::new(0));
        let judge = |fails: bool| {
            let asked = &asked;
            async move {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                if fails { Err(Fault::Inspection("broken".into())) } else { Ok(Looked::default()) }
            }
        };
        assert!(judgements.once([1; 32], "a", judge(true)).await.is_err());
        let both =
            tokio::join!(judgements.once([1; 32], "b", judge(false)), judgements.once([1; 32], "c", judge(false)));
        assert_eq!((both.0.unwrap().journey, both.1.unwrap().journey), ("b".into(), "b".into()));
        assert_eq!(judgements.once([2; 32], "d", judge(false)).await.unwrap().journey, "d");
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn what_lacks_a_scanner_is_shared_by_those_who_wait_and_asked_again_by_who_comes_later() {
        let (judgements, asked) = (Judgements::default(), AtomicUsize::new(0));
        let judge = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            let engines = vec![EngineAnswer { engine: "clamd".into(), micros: 1, fault: Some("down".into()) }];
            Ok(Looked { engines, ..Looked::default() })
        };
        let both = tokio::join!(judgements.once([1; 32], "a", judge()), judgements.once([1; 32], "b", judge()));
        assert_eq!((both.0.unwrap().journey, both.1.unwrap().journey), ("a".into(), "a".into()));
        assert_eq!(judgements.once([1; 32], "c", judge()).await.unwrap().journey, "c");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
