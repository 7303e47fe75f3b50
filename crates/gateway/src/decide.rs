//! Step 6: from findings to a decision, by the tenant's policy; without findings because *we* failed, by the table of
//! faults.

use crate::attribute::Attributed;
use crate::ended::Stop;
use crate::faults::{Consequence, Fault};
use crate::judgements::{Judgement, Looked};
use verdict::{Category, Decision, Verdict};

pub(crate) struct Decided {
    pub decision: Decision,
    /// False when the tenant chose to have passed what could not be judged.
    pub judged: bool,
    /// Something was found that did not hold it, or nobody could look.
    pub is_suspicious: bool,
}

pub(crate) fn decide(attributed: &Attributed, judged: Result<Judgement, Fault>, id: &str) -> Result<Decided, Stop> {
    let policy = &attributed.tenant().policy;
    let fault = match judged {
        Ok(Judgement { looked: Looked { findings, lacks, .. }, .. }) => {
            let decision = verdict::decide(&findings, policy, attributed.direction);
            match lacks {
                // what is bad enough to be held needs no other opinion
                Some(fault) if decision.verdict == Verdict::Pass => fault,
                _ => return Ok(Decided { decision, judged: true, is_suspicious: !findings.is_empty() }),
            }
        }
        Err(fault) => fault,
    };
    match fault.consequence(policy) {
        Consequence::RefuseForNow => Err(Stop::of(&fault, Some(attributed.id()), id)),
        Consequence::PassUnjudged => Ok(Decided {
            decision: Decision {
                verdict: Verdict::Pass,
                category: Category::Clean,
                reasons: vec![format!("not judged: {}", fault.alert().2)],
            },
            judged: false,
            is_suspicious: true,
        }),
    }
}
