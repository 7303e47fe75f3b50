//! Step 5: what the detectors see, and outside scanners beside them, once for all parts of a message. A detector that panics
//! or does not end is a fault of ours, never of the message.

use crate::attribute::Attributed;
use crate::faults::Fault;
use crate::house::House;
use crate::judgements::{self, Judgement, Looked};
use crate::limits;
use crate::links;
use crate::receive::Received;
use crate::scan::scan;
use mail::Message;
use std::sync::Arc;
use std::time::Instant;
use tenant::Direction;
use tokio::time::timeout_at;
use verdict::custom::Facts;
use verdict::{Content, Evidence, Fact, Finding, History, Proofs, Sender};

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
        let history = history(house, attributed, message).await;
        look(house, attributed, received, message, proofs.clone(), history).await
    };
    let look = async {
        // the scanners first: they work while we do
        let (answers, found) = tokio::join!(scan(house, attributed, received, message, &proofs), detect);
        let (findings, facts) = found?;
        let mut looked = Looked { findings, ..Looked::default() };
        looked.join(answers);
        ask(attributed, facts, &mut looked).await;
        Ok(looked)
    };
    // who waits for another part's judgement has no more time for it than for its own
    let judged = house.judgements.once(key, &received.id, look);
    timeout_at(received.judged_by().into(), judged).await.unwrap_or_else(|_| Err(late()))
}

/// The tenant's own rules, last: they see what all others found. What they may cost has a bound (`verdict::limits`), and
/// where they fail the message has its other judgement.
async fn ask(attributed: &Attributed, facts: Facts, looked: &mut Looked) {
    let custom = attributed.connected.custom.clone();
    if custom.is_empty() {
        return;
    }
    let findings = looked.findings.clone();
    match tokio::task::spawn_blocking(move || custom.look(facts, &findings)).await {
        Ok(found) => {
            for failed in found.iter().filter(|f| f.detector.starts_with(verdict::custom::FAILED)) {
                tracing::warn!(tenant = %attributed.tenant().label, rule = failed.detector, "a custom rule could not be asked");
            }
            looked.findings.extend(found);
        }
        Err(e) => tracing::error!(error = %e, "custom rules were not asked"),
    }
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

/// What the tenant has had to do with the sender. Mail does not wait for it longer than a healthy store needs.
async fn history(house: &House, attributed: &Attributed, message: &Message) -> History {
    let Some(from) = message.from_address().filter(|_| attributed.direction == Direction::Inbound) else {
        return History::default();
    };
    let asked = house.store.contact(attributed.id(), &from);
    match tokio::time::timeout(limits::HISTORY_BUDGET, asked).await {
        Ok(Ok(contact)) => contact.into_history(),
        Ok(Err(e)) => unknown(&format!("the store did not tell: {e}")),
        Err(_) => unknown("the store did not answer in time"),
    }
}

fn unknown(why: &str) -> History {
    History {
        first_contact: Fact::Unknown(why.into()),
        messages: Fact::Unknown(why.into()),
        new_domain: Fact::Unknown(why.into()),
        reply_to: Fact::Unknown(why.into()),
    }
}

async fn look(
    house: &House,
    attributed: &Attributed,
    received: &Arc<Received>,
    message: &Message,
    proofs: Proofs,
    history: History,
) -> Result<(Vec<Finding>, Facts), Fault> {
    let (connected, received, message, direction) =
        (attributed.connected.clone(), received.clone(), message.clone(), attributed.direction);
    let (classifier, lists) = (house.settings.classifier.clone(), house.lists.lists());
    let web = house.settings.web.clone();
    let large = received.raw.len() >= limits::OWN_THREAD_OCTETS;
    let until = received.judged_by().min(Instant::now() + limits::INSPECT_BUDGET);
    let look = move || {
        let sender = Sender::of(&message, &received.envelope, &proofs);
        message.with_parts(|parts| {
            let mut content = Content::of(parts);
            if let Some(web) = &web {
                content.see_through(|url| links::behind(&web.public_url, url));
            }
            let evidence = Evidence {
                direction,
                envelope: &received.envelope,
                message: &message,
                parts,
                content: &content,
                classifier: classifier.as_deref(),
                proofs: &proofs,
                sender: &sender,
                history: &history,
                lists: &lists,
                own_domains: &connected.tenant.domains,
                people: &connected.people,
                vips: &connected.vips,
            };
            (verdict::inspect(&evidence), connected.custom.facts(&evidence))
        })
    };
    let panicked = || Fault::Inspection("a detector panicked".into());
    if !large {
        return std::panic::catch_unwind(std::panic::AssertUnwindSafe(look)).map_err(|_| panicked());
    }
    match timeout_at(until.into(), tokio::task::spawn_blocking(look)).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(_)) => Err(panicked()),
        Err(_) => Err(late()),
    }
}
