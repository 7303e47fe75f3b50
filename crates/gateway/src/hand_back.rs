//! Step 8: back into the tenant, with the tenant's own certificate, before Exchange Online is answered. What it says
//! there is what it hears from us. If it takes some recipients and refuses others, the others are held: one answer
//! cannot say both (house law 7).

use crate::act::{WayBack, hold_it, new_hold};
use crate::answers::{self, Meaning};
use crate::attribute::Attributed;
use crate::ended::{Ended, Stop};
use crate::faults::Fault;
use crate::house::{House, NewAlert};
use crate::receive::Received;
use crate::replies;
use crate::returns::{Said, offer};
use mail::{Envelope, Message};
use smtp::Reply;
use store::{AlertKind, HoldReason, JourneyEntry, NewHold, Outcome};
use tenant::TenantId;

pub(crate) use crate::returns::Connections;

/// What became of the return.
pub(crate) struct HandedBack {
    result: Result<Ended, Stop>,
    /// Microsoft's words.
    returned: Option<String>,
    held: Option<String>,
    redirected_to: Option<String>,
}

impl HandedBack {
    /// Writes Microsoft's words into the journal whatever they led to.
    pub(crate) fn finish(self, entry: &mut JourneyEntry) -> Result<Ended, Stop> {
        entry.returned = self.returned;
        entry.redirected_to = self.redirected_to;
        let apart = entry.held.take();
        entry.held = self.held.or_else(|| apart.clone());
        self.result.map(|ended| match (ended.outcome, apart) {
            (Outcome::HandedBack, Some(_)) => Ended { outcome: Outcome::PartlyHeld, ..ended },
            _ => ended,
        })
    }
}

pub(crate) async fn hand_back(
    house: &House,
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    way: &WayBack,
) -> HandedBack {
    let (tenant, id) = (attributed.id(), &received.id);
    let said = match offer(house, &attributed.connected, &way.envelope, &way.raw, &received.deadlines()).await {
        Ok(said) => said,
        Err(fault) => {
            return HandedBack {
                returned: Some(fault.alert().2),
                result: Err(Stop::of(&fault, Some(tenant), id)),
                held: None,
                redirected_to: None,
            };
        }
    };
    let mut done = HandedBack {
        returned: Some(words(&said)),
        held: None,
        result: Ok(Ended { outcome: Outcome::HandedBack, reply: replies::taken(id) }),
        redirected_to: None,
    };
    let left: Vec<usize> = (0..said.len()).filter(|n| said[*n].meaning() != Meaning::Taken).collect();
    if left.is_empty() {
        if let Some(to) = &way.redirected_to {
            done.redirected_to = Some(to.clone());
            done.result = Ok(Ended { outcome: Outcome::Redirected, reply: replies::taken(id) });
        }
        return done;
    }
    if let Some(to) = way.redirected_to.as_ref().filter(|_| said[0].meaning() == Meaning::ForGood) {
        return held_instead(house, attributed, received, message, to, done).await;
    }
    if left.len() == said.len() {
        done.result = all_refused(&said, tenant, id);
        return done;
    }
    match hold_the_rest(house, attributed, received, message, (&said, &left), way).await {
        Ok(held) => {
            done.held = Some(held);
            done.result = Ok(Ended { outcome: Outcome::PartlyHeld, reply: replies::taken(id) });
        }
        // some have it and the rest cannot be kept: a second copy for some is better than none for the others
        Err(fault) => done.result = Err(Stop::of(&fault, Some(tenant), id)),
    }
    done
}

/// Nobody is there to whom it was redirected. Its sender has nothing to do with that: it is held for those for whom it was.
async fn held_instead(
    house: &House,
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    to: &str,
    mut done: HandedBack,
) -> HandedBack {
    let said = done.returned.clone().unwrap_or_default();
    let why =
        format!("it was to be redirected to {to}, and Exchange Online does not take mail for that address: {said}");
    let envelope = received.envelope.clone();
    let hold = new_hold(attributed, received, message, envelope, HoldReason::Judged, vec![why.clone()]);
    match hold_it(house, &hold, received, &[]).await {
        Ok(held) => {
            let (tenant, subject) = (Some(attributed.id()), "mail cannot be redirected".to_owned());
            let text = format!("journey {}: {why}. It is held; change redirect_to of the policy", received.id);
            house.raise(&NewAlert { kind: AlertKind::Policy, tenant, subject, text }).await;
            done.held = Some(held);
            done.result = Ok(Ended { outcome: Outcome::Held, reply: replies::taken(&received.id) });
        }
        Err(fault) => done.result = Err(Stop::of(&fault, Some(attributed.id()), &received.id)),
    }
    done
}

/// Exactly the recipients that are left; whatever a person has to do about it is told.
async fn hold_the_rest(
    house: &House,
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    (said, left): (&[Said], &[usize]),
    way: &WayBack,
) -> Result<String, Fault> {
    let address = |n: usize| &received.envelope.recipients[n].address;
    let why = left.iter().map(|n| format!("{}: {}", address(*n), said[*n].reply())).collect();
    let recipients = left.iter().map(|n| received.envelope.recipients[*n].clone()).collect();
    let envelope = Envelope { recipients, ..received.envelope.clone() };
    let (reason, tenant) = (reason_of(left.iter().map(|n| &said[*n])), attributed.id());
    let hold = NewHold { marks: way.marks, ..new_hold(attributed, received, message, envelope, reason, why) };
    let held = hold_it(house, &hold, received, &way.taken_out).await?;
    if let Some(fault) = left.iter().find_map(|n| said[*n].fault()) {
        house.raise(&Stop::of(&fault, Some(tenant), &received.id).alert).await;
    }
    let for_good: Vec<_> = left.iter().filter(|n| said[**n].meaning() == Meaning::ForGood).collect();
    if let Some(first) = for_good.first() {
        let text = format!(
            "journey {}: Exchange Online took a message for some recipients and refused it for good for {} ({}: {}); it is held for them, and nobody has told its sender. `posthouse held show {held}`, then release or delete it",
            received.id,
            for_good.len(),
            address(**first),
            said[**first].reply()
        );
        let subject = "recipients were refused for good".to_owned();
        house.raise(&NewAlert { kind: AlertKind::Other, tenant: Some(tenant), subject, text }).await;
    }
    Ok(held)
}

/// As long as one may be taken later, all are tried again.
pub(crate) fn reason_of<'a>(mut said: impl Iterator<Item = &'a Said>) -> HoldReason {
    let for_good = said.all(|s| matches!(s.meaning(), Meaning::ForGood | Meaning::Loop));
    if for_good { HoldReason::RefusedForGood } else { HoldReason::RefusedForNow }
}

/// Refused for now if any may be taken later; else Microsoft's refusal is ours, unless it speaks of the set-up (G22).
fn all_refused(said: &[Said], tenant: TenantId, id: &str) -> Result<Ended, Stop> {
    if let Some(fault) = said.iter().find_map(Said::fault) {
        return Err(Stop::of(&fault, Some(tenant), id));
    }
    let worst = said.iter().map(Said::reply).find(|r| !r.is_permanent()).unwrap_or(said[0].reply());
    let outcome = if worst.is_permanent() { Outcome::Refused } else { Outcome::Deferred };
    let ended = Ended { outcome, reply: replies::as_microsoft_said(worst, id) };
    if outcome == Outcome::Refused && said.iter().any(|s| s.meaning() == Meaning::Loop) {
        return Err(Stop::of_loop(ended, worst, tenant, id));
    }
    Ok(ended)
}

/// Each different answer once.
fn words(said: &[Said]) -> String {
    let mut all: Vec<String> = said.iter().map(|s| s.reply().to_string()).collect();
    all.dedup();
    all.truncate(5);
    all.join(" | ")
}

impl Said {
    pub(crate) fn meaning(&self) -> Meaning {
        match self {
            Said::Answer(reply) => answers::meaning(reply),
            Said::Unreached(..) => Meaning::ForNow,
        }
    }
    /// The fault of the way back that this answer speaks of, if it does.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self {
            Said::Answer(reply) if self.meaning() == Meaning::SetUp => {
                let what = answers::in_words(reply);
                Some(Fault::ReturnConfiguration(format!("Exchange Online answered {reply}: {what}")))
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
