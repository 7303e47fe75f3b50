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
use tenant::{Direction, Listed, Sender};
use verdict::{Category, Decision, Finding, Proofs, Severity, Verdict, Who};

pub(crate) struct Decided {
    pub decision: Decision,
    /// False when the tenant chose to have passed what could not be judged.
    pub judged: bool,
    /// Something was found that did not hold it, or nobody could look.
    pub is_suspicious: bool,
    /// What is taken out of it.
    pub replacements: Vec<Replacement>,
    /// Who does not get it although others do: whose own list keeps the sender out, or those who lack the entry by
    /// which others let him through.
    pub apart: Vec<Apart>,
    /// Something in it harms by itself, whatever it is held for.
    pub malware: bool,
}

/// Held for these recipients, while the others get it.
pub(crate) struct Apart {
    /// By their place in the envelope.
    pub recipients: Vec<usize>,
    pub decision: Decision,
    /// By their own lists.
    pub is_personal: bool,
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
    let policy = &attributed.tenant().policy;
    let (mut decision, apart, malware, fault) = match judged {
        Ok(Judgement { looked: Looked { findings, lacks, .. }, .. }) => {
            let from = message.from_address().unwrap_or_default();
            let all = who(house, attributed, received, message, proofs, &from);
            let (decision, apart) = for_each(attributed, &all, |who| verdict::decide(&findings, policy, who));
            let malware = has_malware(&findings);
            match lacks {
                // what is bad enough to be kept needs no other opinion
                Some(fault) if passes(decision.verdict) => (decision, apart, malware, fault),
                _ => {
                    let is_suspicious = verdict::is_suspicious(&findings);
                    return Ok(Decided {
                        decision,
                        judged: true,
                        is_suspicious,
                        replacements: Vec::new(),
                        apart,
                        malware,
                    });
                }
            }
        }
        Err(fault) => (Decision::pass(Vec::new()), Vec::new(), false, fault),
    };
    match fault.consequence(policy) {
        Consequence::RefuseForNow => Err(Stop::of(&fault, Some(attributed.id()), &received.id)),
        Consequence::PassUnjudged => {
            decision.reasons.insert(0, format!("not judged: {}", fault.alert().2));
            Ok(Decided { decision, judged: false, is_suspicious: true, replacements: Vec::new(), apart, malware })
        }
    }
}

/// Somebody gets it.
fn passes(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Pass | Verdict::Redirect)
}

/// Also where the tenant has its detector only note, or blocks the sender anyway: it must not reach anybody as it is.
pub(crate) fn has_malware(findings: &[Finding]) -> bool {
    findings.iter().any(|f| f.category == Category::Malware && f.severity > Severity::Note)
}

/// Recipients with lists of their own are decided by themselves. What any of them gets goes on its way, marked as the
/// others' is; who does not get it is told of apart.
fn for_each(attributed: &Attributed, all: &Who<'_>, decide: impl Fn(&Who<'_>) -> Decision) -> (Decision, Vec<Apart>) {
    let connected = &attributed.connected;
    if all.direction == Direction::Outbound || connected.personal.is_empty() {
        return (decide(all), Vec::new());
    }
    let mut groups: Vec<(Listed<'_>, Vec<usize>)> = vec![(Listed::No, Vec::new())];
    for (n, recipient) in all.recipients.iter().enumerate() {
        let listed = connected.personal(recipient, all.sender, all.now);
        match groups.iter_mut().find(|(known, _)| *known == listed) {
            Some((_, people)) => people.push(n),
            None => groups.push((listed, vec![n])),
        }
    }
    groups.retain(|(_, people)| !people.is_empty());
    let decided = groups.into_iter().map(|(personal, people)| {
        let recipients = people.iter().map(|n| all.recipients[*n]).collect();
        let decision = decide(&Who { recipients, personal, ..all.clone() });
        Apart { recipients: people, decision, is_personal: matches!(personal, Listed::Blocked(_)) }
    });
    let (passes, mut kept): (Vec<_>, Vec<_>) = decided.partition(|a| passes(a.decision.verdict));
    // the first is of those without an entry, if there are any
    if let Some(first) = passes.into_iter().next() {
        // what only some of them want deleted is held
        kept.iter_mut().for_each(|a| a.decision.verdict = Verdict::Hold);
        return (first.decision, kept);
    }
    let alike = kept.windows(2).all(|two| two[0].decision.verdict == two[1].decision.verdict);
    let first = kept.into_iter().next();
    let mut decision = first.map_or_else(|| decide(all), |a| a.decision);
    if !alike {
        decision.verdict = Verdict::Hold;
    }
    (decision, Vec::new())
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
        personal: Listed::No,
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
