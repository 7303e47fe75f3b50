//! Step 6: from findings to a decision, by the tenant's policy; without findings because *we* failed, by the table of
//! faults.

use crate::attribute::Attributed;
use crate::ended::Stop;
use crate::faults::{Consequence, Fault};
use crate::house::House;
use crate::judgements::Judgement;
use crate::receive::Received;
use mail::Message;
use std::net::IpAddr;
use tenant::Sender;
use verdict::{Decision, Proofs, Who};

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
    let findings = match judged {
        Ok(judgement) => judgement.findings,
        Err(fault) => {
            return match fault.consequence(policy) {
                Consequence::RefuseForNow => Err(Stop::of(&fault, Some(attributed.id()), &received.id)),
                Consequence::PassUnjudged => Ok(Decided {
                    decision: Decision::pass(vec![format!("not judged: {}", fault.alert().2)]),
                    judged: false,
                    is_suspicious: true,
                }),
            };
        }
    };
    let from = message.from_address().unwrap_or_default();
    let who = Who {
        direction: attributed.direction,
        sender: Sender {
            envelope: &received.envelope.sender,
            from: &from,
            client: client(message).filter(|ip| !house.live().is_microsofts(*ip)),
        },
        recipients: received.envelope.recipients.iter().map(|r| r.address.as_str()).collect(),
        proven: from.rsplit_once('@').is_some_and(|(_, domain)| proofs.prove(domain)),
        members: Some(&attributed.connected.members),
        now: received.at.as_second(),
    };
    Ok(Decided {
        decision: verdict::decide(&findings, policy, &who),
        judged: true,
        is_suspicious: !findings.is_empty(),
    })
}

/// Who handed it to Microsoft, as Microsoft says (X-Forefront-Antispam-Report, CIP).
pub fn client(message: &Message) -> Option<IpAddr> {
    let report = message.header_values("X-Forefront-Antispam-Report").into_iter().next()?;
    report.split(';').find_map(|p| p.trim().strip_prefix("CIP:")?.trim_matches(['[', ']']).parse().ok())
}
