//! The life of a message, on one screen. Each step is the file of its name; docs/journey.md tells the same in prose.

use crate::act::{Action, act, set_apart};
use crate::attribute::attribute;
use crate::authenticate::authenticate;
use crate::decide::decide;
use crate::ended::{Ended, Stop};
use crate::hand_back::hand_back;
use crate::house::House;
use crate::inspect::inspect;
use crate::log::Log;
use crate::notify::notify;
use crate::parse::parse;
use crate::receive::Received;
use crate::replies;
use std::pin::pin;
use std::sync::Arc;
use store::Outcome;

/// receive → attribute → parse → authenticate → inspect → decide → act → hand back
pub(crate) async fn journey(house: &Arc<House>, received: &Arc<Received>, log: &mut Log) -> Result<Ended, Stop> {
    let attributed = log.step("attribute", pin!(attribute(house, received))).await?;
    log.entry.tenant = Some(attributed.id());
    log.entry.direction = Some(attributed.direction);
    log.entry.visits = attributed.visits;
    log.entry.probe = attributed.probe.clone();
    log.entry.newest_token = attributed.newest_token;

    let message = log.step("parse", pin!(parse(received))).await;
    log.entry.message_id = message.message_id().or(log.entry.message_id.take());
    log.entry.subject = message.subject();
    log.entry.from = message.from_address();
    log.entry.reply_to = message.reply_to().first().map(|r| r.address.clone());
    log.entry.anomalies = message.anomalies().iter().map(ToString::to_string).collect();

    let proofs = log.step("authenticate", pin!(authenticate(house, &attributed, received, &message))).await;
    log.entry.proofs = proofs.clone();

    let judged = log.step("inspect", pin!(inspect(house, &attributed, received, &message, &proofs))).await;
    log.judged(&judged);

    let decided = log.step("decide", pin!(decide(house, &attributed, received, &message, &proofs, judged))).await?;
    log.entry.decision = Some(decided.decision.clone());
    log.entry.judged = decided.judged;

    let acting = async {
        let (rest, held) = set_apart(house, &attributed, received, &message, &decided).await?;
        let action = act(house, &attributed, &rest, &message, &proofs, &decided).await?;
        Ok((rest, held, action))
    };
    let (received, apart, action) = log.step("act", pin!(acting)).await?;
    log.entry.held = apart;
    let ended = match action {
        Action::Held(id) => {
            log.entry.held = Some(id);
            Ok(Ended { outcome: Outcome::Held, reply: replies::taken(&received.id) })
        }
        Action::Rejected => Ok(Ended { outcome: Outcome::Refused, reply: replies::against_policy(&received.id) }),
        Action::Deleted => Ok(Ended { outcome: Outcome::Deleted, reply: replies::taken(&received.id) }),
        Action::HandBack(way) => {
            log.entry.edits.clone_from(&way.edits);
            let back = log.step("hand back", pin!(hand_back(house, &attributed, &received, &message, &way))).await;
            back.finish(&mut log.entry)
        }
    }?;
    notify(house, &attributed, &received, &message, &decided.decision, ended.outcome);
    Ok(ended)
}
