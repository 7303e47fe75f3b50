//! Outside scanners beside the detectors: what they are told of a message, and who is told of them.

use crate::act::own_fields_away;
use crate::attribute::Attributed;
use crate::faults::Fault;
use crate::house::House;
use crate::judgements::Looked;
use crate::limits;
use crate::receive::Received;
use engines::{Answer, Asked, Change, OnFault};
use mail::Message;
use std::sync::Arc;
use store::{AlertKind, EngineAnswer, Severity};
use tenant::Direction;
use verdict::Proofs;

/// Asks every scanner, each within its budget, all of them within the message's time. Nothing is asked where none is.
pub(crate) async fn scan(
    house: &House,
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    proofs: &Proofs,
) -> Vec<Answer> {
    if house.engines.is_empty() {
        return Vec::new();
    }
    let asked = asked(attributed, received, message, proofs);
    // they have to be heard before the step ends without them
    let until = received.judged_by() - limits::SCANNERS_MARGIN;
    let answers = house.engines.ask(&asked, until).await;
    answers.iter().for_each(|answer| house.metrics.engine(answer));
    answers
}

/// The secrets that ride on a message are nobody else's.
fn asked(attributed: &Attributed, received: &Received, message: &Message, proofs: &Proofs) -> Asked {
    let envelope = &received.envelope;
    Asked {
        id: received.id.clone(),
        raw: mail::apply(&received.raw, &[own_fields_away(false)]).joined(),
        client: proofs.client.known().copied(),
        helo: verdict::stated_helo(message),
        sender: envelope.sender.clone(),
        recipients: envelope.recipients.iter().map(|r| r.address.clone()).collect(),
        is_outbound: attributed.direction == Direction::Outbound,
    }
}

impl Looked {
    /// What the scanners said comes to what the detectors found.
    pub(crate) fn join(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            let lacks = answer.lacks().map(|fault| Fault::Engine {
                name: format!("the scanner {}", answer.engine),
                why: fault.to_string(),
                on_fault: answer.on_fault,
            });
            // one that is waited for weighs more than one that may be missing
            if lacks.is_some() && (self.lacks.is_none() || answer.on_fault == OnFault::Defer) {
                self.lacks = lacks;
            }
            self.engines.push(EngineAnswer {
                engine: answer.engine,
                micros: u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX),
                fault: answer.fault.map(|fault| fault.to_string()),
            });
            self.findings.extend(answer.findings);
        }
    }
}

/// Tries scanners that fail, reads lists that are due, and tells people of what went down or is back. A feed that is slow
/// keeps no scanner waiting.
pub(crate) async fn tend(house: Arc<House>) {
    let scanners = async {
        loop {
            tell(&house, house.engines.tend().await).await;
            tokio::time::sleep(engines::limits::TEND_EVERY).await;
        }
    };
    let lists = async {
        loop {
            tell(&house, house.lists.tend().await).await;
            tokio::time::sleep(engines::limits::TEND_EVERY).await;
        }
    };
    tokio::join!(scanners, lists);
}

async fn tell(house: &House, changes: Vec<Change>) {
    for change in changes {
        tracing::warn!(what = %change.what, is_down = change.is_down, text = %change.text, "scanner or list");
        house.metrics.alert(AlertKind::Engine);
        let subject = format!("the {} fails", change.what);
        let told = if change.is_down {
            house.store.raise_alert(AlertKind::Engine, None, &subject, &change.text).await
        } else {
            back(house, &subject, &change).await
        };
        if let Err(e) = told {
            tracing::error!(error = %e, "an alert was not written");
        }
    }
}

async fn back(house: &House, subject: &str, change: &Change) -> store::Result<()> {
    house.store.end_alert(AlertKind::Engine, None, subject).await?;
    let subject = format!("the {} works again", change.what);
    house.store.raise_alert_of(Severity::Low, AlertKind::Engine, None, &subject, &change.text).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_that_is_waited_for_weighs_more() {
        let answer = |engine: &str, on_fault, fault| Answer {
            engine: engine.into(),
            on_fault,
            took: Duration::ZERO,
            findings: Vec::new(),
            fault,
        };
        let down = || Some(engines::Fault::Down("refused".into()));
        let lacks = |answers| {
            let mut looked = Looked::default();
            looked.join(answers);
            looked.lacks.map(|fault| match fault {
                Fault::Engine { name, .. } => name,
                other => format!("{other:?}"),
            })
        };
        let pass = || answer("a", OnFault::Pass, down());
        let defer = || answer("b", OnFault::Defer, down());
        assert_eq!(lacks(vec![pass(), defer()]).as_deref(), Some("the scanner b"));
        assert_eq!(lacks(vec![defer(), pass()]).as_deref(), Some("the scanner b"));
        assert_eq!(lacks(vec![answer("c", OnFault::Ignore, down()), answer("d", OnFault::Defer, None)]), None);
        let too_large = Some(engines::Fault::TooLarge("x".into()));
        assert_eq!(lacks(vec![answer("e", OnFault::Defer, too_large)]), None, "a finding says that");
    }
}
