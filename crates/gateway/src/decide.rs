//! Step 6: from findings to a decision, by the tenant's policy; without findings because *we* failed, by the table of
//! faults.

use crate::attribute::Attributed;
use crate::ended::Stop;
use crate::faults::{Consequence, Fault};
use crate::house::House;
use crate::judgements::{Judgement, Looked};
use crate::receive::Received;
use crate::strip::strip;
use mail::{Message, Replacement};
use std::net::IpAddr;
use std::sync::Arc;
use tenant::Sender;
use verdict::{Decision, Proofs, Verdict, Who};

pub(crate) struct Decided {
    pub decision: Decision,
    /// False when the tenant chose to have passed what could not be judged.
    pub judged: bool,
    /// Something was found that did not hold it, or nobody could look.
    pub is_suspicious: bool,
    /// What is taken out of it.
    pub replacements: Vec<Replacement>,
}

pub(crate) async fn decide(
    house: &House,
    attributed: &Attributed,
    received: &Arc<Received>,
    message: &Message,
    proofs: &Proofs,
    judged: Result<Judgement, Fault>,
) -> Result<Decided, Stop> {
    let mut decided = by_findings(house, attributed, received, message, proofs, judged)?;
    let decision = &mut decided.decision;
    redirect(attributed, received, decision);
    decided.replacements = strip(house, attributed, received, message, proofs, decision).await;
    Ok(decided)
}

/// Only to the tenant's own people; who was to get it anyway gets it.
fn redirect(attributed: &Attributed, received: &Received, decision: &mut Decision) {
    let Some(to) = decision.redirect_to.clone() else { return };
    if !attributed.tenant().is_own(&to) {
        return decision.hold_instead(format!("it was to be redirected to {to}, which is of no domain of the tenant"));
    }
    if received.envelope.recipients.iter().all(|r| r.address.eq_ignore_ascii_case(&to)) {
        (decision.verdict, decision.redirect_to) = (Verdict::Pass, None);
        decision.because.otherwise.push(format!("it was to be redirected to {to}, for whom it is anyway"));
    }
}

fn by_findings(
    house: &House,
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    proofs: &Proofs,
    judged: Result<Judgement, Fault>,
) -> Result<Decided, Stop> {
    let decided =
        |decision, judged, is_suspicious| Decided { decision, judged, is_suspicious, replacements: Vec::new() };
    let policy = &attributed.tenant().policy;
    let (mut decision, fault) = match judged {
        Ok(Judgement { looked: Looked { findings, lacks, .. }, .. }) => {
            let from = message.from_address().unwrap_or_default();
            let who = who(house, attributed, received, message, proofs, &from);
            let decision = verdict::decide(&findings, policy, &who);
            match lacks {
                // what is bad enough to be kept needs no other opinion
                Some(fault) if matches!(decision.verdict, Verdict::Pass | Verdict::Redirect) => (decision, fault),
                _ => return Ok(decided(decision, true, verdict::is_suspicious(&findings))),
            }
        }
        Err(fault) => (Decision::pass(Vec::new()), fault),
    };
    match fault.consequence(policy) {
        Consequence::RefuseForNow => Err(Stop::of(&fault, Some(attributed.id()), &received.id)),
        Consequence::PassUnjudged => {
            decision.reasons.insert(0, format!("not judged: {}", fault.alert().2));
            Ok(decided(decision, false, true))
        }
    }
}

fn who<'a>(
    house: &House,
    attributed: &'a Attributed,
    received: &'a Received,
    message: &Message,
    proofs: &Proofs,
    from: &'a str,
) -> Who<'a> {
    Who {
        direction: attributed.direction,
        sender: Sender {
            envelope: &received.envelope.sender,
            from,
            client: client(message).filter(|ip| !house.live().is_microsofts(*ip)),
        },
        recipients: received.envelope.recipients.iter().map(|r| r.address.as_str()).collect(),
        proven: from.rsplit_once('@').is_some_and(|(_, domain)| proofs.prove(domain)),
        members: Some(&attributed.connected.members),
        now: received.at.as_second(),
    }
}

/// Who handed it to Microsoft, as Microsoft says (X-Forefront-Antispam-Report, CIP).
pub fn client(message: &Message) -> Option<IpAddr> {
    let report = message.header_values("X-Forefront-Antispam-Report").into_iter().next()?;
    report.split(';').find_map(|p| p.trim().strip_prefix("CIP:")?.trim_matches(['[', ']']).parse().ok())
}
