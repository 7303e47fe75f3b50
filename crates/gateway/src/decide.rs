//! Step 6: from findings to a decision, by the tenant's policy; without findings because *we* failed, by the table of
//! faults.

use crate::attribute::Attributed;
use crate::ended::Stop;
use crate::faults::{Consequence, Fault};
use verdict::{Decision, Finding, Verdict};

pub(crate) struct Decided {
    pub decision: Decision,
    /// False when the tenant chose to have passed what could not be judged.
    pub judged: bool,
    /// Something was found that did not hold it, or nobody could look.
    pub is_suspicious: bool,
}

pub(crate) fn decide(
    attributed: &Attributed,
    findings: Result<Vec<Finding>, Fault>,
    id: &str,
) -> Result<Decided, Stop> {
    let policy = &attributed.tenant().policy;
    match findings {
        Ok(findings) => Ok(Decided {
            decision: verdict::decide(&findings, policy, attributed.direction),
            judged: true,
            is_suspicious: !findings.is_empty(),
        }),
        Err(fault) => match fault.consequence(policy) {
            Consequence::RefuseForNow => Err(Stop::of(&fault, Some(attributed.id()), id)),
            Consequence::PassUnjudged => Ok(Decided {
                decision: Decision {
                    verdict: Verdict::Pass,
                    reasons: vec!["not judged: the inspection failed".into()],
                },
                judged: false,
                is_suspicious: true,
            }),
        },
    }
}
