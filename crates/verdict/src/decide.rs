//! From findings to a decision, by the tenant's policy. Never sees the message.

use crate::finding::HOLD_POINTS;
use crate::{Category, Finding, Severity};
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
    /// What the message is: the most pressing of what led to the decision.
    #[serde(default = "unnamed")]
    pub category: Category,
    /// One sentence for each finding that led to it; empty when nothing was found.
    pub reasons: Vec<String>,
}

/// Decisions of before had no name.
fn unnamed() -> Category {
    Category::Clean
}

/// Inbound: what deceives or harms is held, by one finding or by several together. Outbound: only what harms, since a
/// user's mail is not deceit.
pub fn decide(findings: &[Finding], policy: &Policy, direction: Direction) -> Decision {
    let counted: Vec<&Finding> = counted(findings, policy).collect();
    let least = match direction {
        Direction::Inbound => Severity::Suspicious,
        Direction::Outbound => Severity::Malicious,
    };
    let together = direction == Direction::Inbound && points(findings, policy) >= HOLD_POINTS;
    let led: Vec<&Finding> =
        counted.into_iter().filter(|f| f.severity >= least || (together && f.points > 0)).collect();
    Decision {
        verdict: if led.is_empty() { Verdict::Pass } else { Verdict::Hold },
        category: led.iter().map(|f| f.category).min().unwrap_or(Category::Clean),
        reasons: led.iter().map(|f| f.summary.clone()).collect(),
    }
}

/// What the findings that count come to together.
pub fn points(findings: &[Finding], policy: &Policy) -> u32 {
    counted(findings, policy).map(|f| f.points).fold(0, u32::saturating_add)
}

fn counted<'a>(findings: &'a [Finding], policy: &'a Policy) -> impl Iterator<Item = &'a Finding> {
    findings.iter().filter(|f| !policy.only_note.contains(&f.detector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_direction_and_policy_decide() {
        let one = |severity, points| Finding {
            detector: "d".into(),
            category: Category::Spam,
            severity,
            points,
            summary: "s".into(),
            details: vec![],
        };
        let finding = |severity| vec![one(severity, 60)];
        let forgiving = Policy { only_note: vec!["d".into()], ..Policy::default() };
        let verdict = |severity, policy: &Policy, direction| decide(&finding(severity), policy, direction).verdict;
        assert_eq!(verdict(Severity::Note, &Policy::default(), Direction::Inbound), Verdict::Pass);
        assert_eq!(verdict(Severity::Suspicious, &Policy::default(), Direction::Inbound), Verdict::Hold);
        assert_eq!(verdict(Severity::Suspicious, &Policy::default(), Direction::Outbound), Verdict::Pass);
        assert_eq!(verdict(Severity::Malicious, &Policy::default(), Direction::Outbound), Verdict::Hold);
        assert_eq!(verdict(Severity::Malicious, &forgiving, Direction::Inbound), Verdict::Pass);
        assert_eq!(
            decide(&[], &Policy::default(), Direction::Inbound),
            Decision { verdict: Verdict::Pass, category: Category::Clean, reasons: vec![] }
        );
        let two = [one(Severity::Note, 60), one(Severity::Note, 40)];
        let held = decide(&two, &Policy::default(), Direction::Inbound);
        assert_eq!((held.verdict, held.category, held.reasons.len()), (Verdict::Hold, Category::Spam, 2));
        assert_eq!(decide(&two, &Policy::default(), Direction::Outbound).verdict, Verdict::Pass);
        assert_eq!(decide(&two, &forgiving, Direction::Inbound).verdict, Verdict::Pass);
    }
}
