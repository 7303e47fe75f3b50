//! Step 8: back into the tenant, with the tenant's own certificate, before Exchange Online is answered. What it says
//! there is what it hears from us. If it takes some recipients and refuses others, the others are held: one answer
//! cannot say both (house law 7).

use crate::act::{hold_it, new_hold};
use crate::attribute::Attributed;
use crate::ended::{Ended, Stop};
use crate::faults::{self, Fault};
use crate::house::House;
use crate::receive::Received;
use crate::replies;
use crate::returns::{Said, offer};
use mail::{Envelope, Message, Pieces};
use smtp::Reply;
use store::{HoldReason, JourneyEntry, Outcome};
use tenant::TenantId;

pub(crate) use crate::returns::Connections;

/// What became of the return.
pub(crate) struct HandedBack {
    result: Result<Ended, Stop>,
    /// Microsoft's words.
    returned: Option<String>,
    held: Option<String>,
}

impl HandedBack {
    /// Writes Microsoft's words into the journal whatever they led to.
    pub(crate) fn finish(self, entry: &mut JourneyEntry) -> Result<Ended, Stop> {
        entry.returned = self.returned;
        entry.held = self.held;
        self.result
    }
}

pub(crate) async fn hand_back(
    house: &House,
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    raw: &Pieces,
) -> HandedBack {
    let (tenant, id) = (attributed.id(), &received.id);
    let said = match offer(house, &attributed.connected, &received.envelope, raw).await {
        Ok(said) => said,
        Err(fault) => {
            return HandedBack {
                returned: Some(fault.alert().2),
                result: Err(Stop::of(&fault, Some(tenant), id)),
                held: None,
            };
        }
    };
    let mut done = HandedBack {
        returned: Some(words(&said)),
        held: None,
        result: Ok(Ended { outcome: Outcome::HandedBack, reply: replies::taken(id) }),
    };
    let refused: Vec<usize> = (0..said.len()).filter(|n| !said[*n].reply().is_success()).collect();
    if refused.is_empty() {
        return done;
    }
    if refused.len() == said.len() {
        done.result = all_refused(&said, tenant, id);
        return done;
    }
    let why =
        refused.iter().map(|n| format!("{}: {}", received.envelope.recipients[*n].address, said[*n].reply())).collect();
    let rest = Envelope {
        recipients: refused.iter().map(|n| received.envelope.recipients[*n].clone()).collect(),
        ..received.envelope.clone()
    };
    let hold = new_hold(attributed, received, message, rest, HoldReason::RefusedForNow, why);
    match hold_it(house, &hold, &received.raw).await {
        Ok(held) => {
            done.held = Some(held);
            done.result = Ok(Ended { outcome: Outcome::PartlyHeld, reply: replies::taken(id) });
        }
        // some have it and the rest cannot be kept: a second copy for some is better than none for the others
        Err(fault) => done.result = Err(Stop::of(&fault, Some(tenant), id)),
    }
    done
}

/// Refused for now if any may be taken later; else Microsoft's refusal is ours, unless it speaks of the set-up (G22).
fn all_refused(said: &[Said], tenant: TenantId, id: &str) -> Result<Ended, Stop> {
    if let Some(fault) = said.iter().find_map(Said::fault) {
        return Err(Stop::of(&fault, Some(tenant), id));
    }
    let worst = said.iter().map(Said::reply).find(|r| r.is_temporary()).unwrap_or(said[0].reply());
    let outcome = if worst.is_permanent() { Outcome::Refused } else { Outcome::Deferred };
    Ok(Ended { outcome, reply: replies::as_microsoft_said(worst, id) })
}

/// Each different answer once.
fn words(said: &[Said]) -> String {
    let mut all: Vec<String> = said.iter().map(|s| s.reply().to_string()).collect();
    all.dedup();
    all.truncate(5);
    all.join(" | ")
}

impl Said {
    /// The fault of the way back that this answer speaks of, if it does.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self {
            Said::Answer(reply) if faults::is_configuration(reply) => {
                Some(Fault::ReturnConfiguration(format!("Exchange Online answered {reply}")))
            }
            Said::Answer(_) => None,
            Said::Unreached(why, _) => Some(Fault::ReturnUnreachable(why.clone())),
        }
    }
    pub(crate) fn reply(&self) -> &Reply {
        match self {
            Said::Answer(reply) | Said::Unreached(_, reply) => reply,
        }
    }
}
