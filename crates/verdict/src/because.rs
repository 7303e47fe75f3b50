//! Why a decision is as it is, in words that a person can act on: the row of the policy that fired, and what would have
//! made it another one. What would have been is not guessed: it is weighed again, without this or that.

use crate::decide::{CLASSIFIER, Case, Measure, Standing, Verdict, Weighed, weigh};
use crate::finding::HOLD_POINTS;
use crate::{Category, Finding};
use serde::{Deserialize, Serialize};
use tenant::{Direction, Entry, Rule};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Because {
    /// Which rule, and which of its rows: `base policy: phishing = hold`.
    pub rule: String,
    /// Of everything that counted, before anything was done.
    pub points: u32,
    /// What would have changed it, a sentence each.
    pub otherwise: Vec<String>,
}

impl Because {
    pub fn is_empty(&self) -> bool {
        *self == Because::default()
    }
}

/// Findings of which it is asked what would be without them; more is no longer read.
const WITHOUT_MAX: usize = 3;

pub(crate) fn because(case: &Case<'_>, weighed: &Weighed<'_>, findings: &[&Finding]) -> Because {
    let name = named(weighed.rule);
    let fired: Vec<String> = weighed.fired.iter().map(|(k, a)| format!("{} = {}", k.as_str(), a.as_str())).collect();
    let rule = match (case.standing, fired.is_empty()) {
        (Standing::Allowed(entry), true) => format!("allow list: {}", noted(entry)),
        (Standing::AllowedByRecipient(entry), true) => format!("the recipient's own allow list: {}", noted(entry)),
        (Standing::BlockedByRecipient(entry), _) if weighed.category == Category::BlockedSender => {
            format!("the recipient's own block list: {}", noted(entry))
        }
        (_, true) => format!("{name}: nothing that holds or marks it"),
        (Standing::Blocked(entry), _) if weighed.category == Category::BlockedSender => {
            format!("{name}: {}, by the block list: {}", fired.join(", "), noted(entry))
        }
        (..) => format!("{name}: {}", fired.join(", ")),
    };
    Because { rule, points: weighed.points, otherwise: otherwise(case, weighed, findings) }
}

fn named(rule: Option<&Rule>) -> String {
    rule.map_or_else(|| "base policy".into(), |r| format!("rule \"{}\"", r.name))
}

fn noted(entry: &Entry) -> String {
    if entry.note.is_empty() { entry.sender.to_string() } else { format!("{} ({})", entry.sender, entry.note) }
}

fn otherwise(case: &Case<'_>, weighed: &Weighed<'_>, findings: &[&Finding]) -> Vec<String> {
    let is = weighed.measure;
    let as_if = |standing, rule, findings: &[&Finding]| weigh(&Case { standing, ..*case }, rule, findings).measure;
    let differs = |other: Measure| (other != is).then(|| other.would());
    let mut all = Vec::new();
    if !is.is_nothing() {
        all.extend(without_one(case, weighed, findings));
    }
    match case.standing {
        Standing::Blocked(entry) | Standing::BlockedByRecipient(entry) => {
            let other = differs(as_if(Standing::Unknown, weighed.rule, findings));
            all.extend(
                other.map(|would| format!("without the block entry for {} it would have {would}", entry.sender)),
            );
        }
        Standing::Allowed(entry) | Standing::AllowedByRecipient(entry) => {
            let other = differs(as_if(Standing::Unknown, weighed.rule, findings));
            all.extend(
                other.map(|would| format!("without the allow entry for {} it would have {would}", entry.sender)),
            );
            if !is.is_nothing() && case.standing.allows() {
                all.push(format!(
                    "the allow entry for {} does not pass it: {} is looked for whoever the sender is",
                    entry.sender,
                    weighed.category.as_str()
                ));
            }
        }
        Standing::Unproven(entry) => all.push(format!(
            "the allow entry for {} did not count: SPF, DKIM and DMARC do not prove that it is from {}",
            entry.sender,
            case.who.domain_shown()
        )),
        Standing::Unknown if case.who.direction == Direction::Inbound && !is.is_nothing() => {
            all.extend(were_it_allowed(case, weighed, findings));
        }
        Standing::Unknown => {}
    }
    if let Some(rule) = weighed.rule {
        let other = differs(as_if(case.standing, None, findings));
        all.extend(other.map(|would| format!("without the rule \"{}\" it would have {would}", rule.name)));
    }
    match weighed.spared {
        Some(Verdict::Redirect) => {
            all.push(
                "it would have been redirected, had everybody who receives it a rule that redirects it there".into(),
            );
        }
        Some(_) => all.push("it would have been deleted, had everybody who receives it a rule that deletes it".into()),
        None => {}
    }
    if is.verdict == Verdict::Pass && !is.marks.is_none() {
        all.extend(more_points(weighed));
    }
    all.extend(were_they_counted(case, weighed, findings));
    all
}

fn more_points(weighed: &Weighed<'_>) -> Option<String> {
    if weighed.led.iter().all(|f| f.detector == CLASSIFIER) {
        return Some("the classifier alone never holds; any other finding with points beside it could have".into());
    }
    let missing = HOLD_POINTS.checked_sub(weighed.points).filter(|n| *n > 0)?;
    Some(format!("with {missing} points more it would have had the {HOLD_POINTS} that count as certain"))
}

fn without_one(case: &Case<'_>, weighed: &Weighed<'_>, findings: &[&Finding]) -> Vec<String> {
    let mut all = Vec::new();
    for left_out in weighed.led.iter().take(WITHOUT_MAX) {
        let rest: Vec<&Finding> = findings.iter().filter(|f| !std::ptr::eq(**f, *left_out)).copied().collect();
        let other = weigh(case, weighed.rule, &rest);
        if other.measure != weighed.measure {
            all.push(format!(
                "without \"{}\" it would have had {} of {HOLD_POINTS} points and {}",
                left_out.summary,
                other.points,
                other.measure.would()
            ));
        }
    }
    if all.is_empty() && weighed.led.len() > 1 {
        all.push(format!(
            "without any one of these {} findings the others would have done the same",
            weighed.led.len()
        ));
    }
    all
}

fn were_it_allowed(case: &Case<'_>, weighed: &Weighed<'_>, findings: &[&Finding]) -> Option<String> {
    let domain = case.who.domain_shown();
    let sender = domain.parse().ok()?;
    let entry = Entry { sender, note: String::new(), until: None };
    let allowed = weigh(&Case { standing: Standing::Allowed(&entry), ..*case }, weighed.rule, findings).measure;
    Some(match (allowed == weighed.measure, case.who.proven) {
        (true, _) => {
            format!("no allow entry would pass it: {} is looked for whoever the sender is", weighed.category.as_str())
        }
        (false, true) => format!("with an allow entry for {domain} it would have {}", allowed.would()),
        (false, false) => format!(
            "with an allow entry for {domain} it would have {}, were it authenticated: SPF, DKIM and DMARC do not prove that it is from there",
            allowed.would()
        ),
    })
}

/// Detectors that only note, by the tenant's wish.
fn were_they_counted(case: &Case<'_>, weighed: &Weighed<'_>, findings: &[&Finding]) -> Option<String> {
    let first = findings.iter().find(|f| case.only_note.contains(&f.detector))?;
    let other = weigh(&Case { only_note: &[], ..*case }, weighed.rule, findings).measure;
    (other != weighed.measure)
        .then(|| format!("{} is listed under only_note; otherwise it would have {}", first.detector, other.would()))
}

impl Measure {
    /// What follows “it would have”.
    pub fn would(self) -> String {
        let marks = self.marks;
        let of_marks = [
            marks.strip.then(|| "its attachments stripped".to_owned()),
            marks.tag.then(|| "a tag".to_owned()),
            marks.banner.map(|level| format!("a banner ({})", level.as_str())),
        ];
        let of_marks: Vec<String> = of_marks.into_iter().flatten().collect();
        let done = match self.verdict {
            Verdict::Hold => "been held",
            Verdict::Reject => "been rejected",
            Verdict::Delete => "been deleted",
            Verdict::Redirect => "been redirected",
            Verdict::Pass => "passed",
        };
        if of_marks.is_empty() { done.into() } else { format!("{done} with {}", of_marks.join(" and ")) }
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.would().trim_start_matches("been "))
    }
}
