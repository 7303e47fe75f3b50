//! Step 6: from findings to a decision, by the tenant's policy; without findings because *we* failed, by the table of
//! faults.

use crate::attribute::Attributed;
use crate::ended::Stop;
use crate::faults::{Consequence, Fault};
use crate::house::House;
use crate::judgements::{Judgement, Looked};
use crate::receive::Received;
use mail::Message;
use std::net::IpAddr;
use tenant::Sender;
use verdict::{Decision, Proofs, Verdict, Who};

pub(crate) struct Decided {
    pub decision: Decision,
    /// False when the tenant chose to have passed what could not be judged.
    pub judged: bool,
    /// Something was found that did not hold it, or nobody could look.
    pub is_suspicious: bool,
}

pub(crate) fn decide(
    house: &House,
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    proofs: &Proofs,
    judged: Result<Judgement, Fault>,
) -> Result<Decided, Stop> {
    let policy = &attributed.tenant().policy;
    let (mut decision, fault) = match judged {
        Ok(Judgement { looked: Looked { findings, lacks, .. }, .. }) => {
            let from = message.from_address().unwrap_or_default();
            let who = who(house, attributed, received, message, proofs, &from);
            let decision = verdict::decide(&findings, policy, &who);
            match lacks {
                // what is bad enough to be kept needs no other opinion
                Some(fault) if decision.verdict == Verdict::Pass => (decision, fault),
                _ => return Ok(Decided { decision, judged: true, is_suspicious: verdict::is_suspicious(&findings) }),
            }
        }
        Err(fault) => (Decision::pass(Vec::new()), fault),
    };
    match fault.consequence(policy) {
        Consequence::RefuseForNow => Err(Stop::of(&fault, Some(attributed.id()), &received.id)),
        Consequence::PassUnjudged => {
            decision.reasons.insert(0, format!("not judged: {}", fault.alert().2));
            Ok(Decided { decision, judged: false, is_suspicious: true })
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
