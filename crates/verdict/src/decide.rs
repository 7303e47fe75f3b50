//! From findings to a decision, by the tenant's policy. Never sees the message.

use crate::{Finding, Severity};
use serde::{Deserialize, Serialize};
use tenant::{Direction, Policy};

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It goes back to Microsoft.
    Pass,
    /// It waits here until a person decides.
    Hold,
}

/// The decision and the reasons that a person reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub verdict: Verdict,
    /// One sentence for each finding that led to it; empty when nothing was found.
    pub reasons: Vec<String>,
}

/// Inbound: what deceives or harms is held. Outbound: only what harms, since a user's mail is not deceit.
pub fn decide(findings: &[Finding], policy: &Policy, direction: Direction) -> Decision {
    let least = match direction {
        Direction::Inbound => Severity::Suspicious,
        Direction::Outbound => Severity::Malicious,
    };
    let counts = |f: &&Finding| f.severity >= least && !policy.only_note.contains(&f.detector);
    let reasons: Vec<String> = findings.iter().filter(counts).map(|f| f.summary.clone()).collect();
    Decision { verdict: if reasons.is_empty() { Verdict::Pass } else { Verdict::Hold }, reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_direction_and_policy_decide() {
        let finding = |severity| vec![Finding { detector: "d".into(), severity, summary: "s".into(), details: vec![] }];
        let forgiving = Policy { only_note: vec!["d".into()], ..Policy::default() };
        let verdict = |severity, policy: &Policy, direction| decide(&finding(severity), policy, direction).verdict;
        assert_eq!(verdict(Severity::Note, &Policy::default(), Direction::Inbound), Verdict::Pass);
        assert_eq!(verdict(Severity::Suspicious, &Policy::default(), Direction::Inbound), Verdict::Hold);
        assert_eq!(verdict(Severity::Suspicious, &Policy::default(), Direction::Outbound), Verdict::Pass);
        assert_eq!(verdict(Severity::Malicious, &Policy::default(), Direction::Outbound), Verdict::Hold);
        assert_eq!(verdict(Severity::Malicious, &forgiving, Direction::Inbound), Verdict::Pass);
        assert_eq!(
            decide(&[], &Policy::default(), Direction::Inbound),
            Decision { verdict: Verdict::Pass, reasons: vec![] }
        );
    }
}
