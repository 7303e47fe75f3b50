//! From findings to a decision, by the tenant's policy. Never sees the message.

use crate::because::{Because, because};
use crate::finding::{HOLD_POINTS, SUSPECT_IMPERSONATION_POINTS, SUSPECT_POINTS};
use crate::{Category, Finding, Severity, Who, tally};
use serde::{Deserialize, Serialize};
use tenant::{Action, Direction, Entry, Kind, Level, Listed, Policy, Rule};

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It goes back to Microsoft.
    Pass,
    /// It goes back to Microsoft, for somebody else of the tenant.
    Redirect,
    /// It waits here until a person decides.
    Hold,
    /// Its sender is told that it is not sent. Outbound only.
    Reject,
    /// It is thrown away.
    Delete,
}

/// What is put on a message that passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Marks {
    /// Attachments in which something was found are taken out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strip: bool,
    pub tag: bool,
    pub banner: Option<Level>,
}

/// What a policy asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Measure {
    pub verdict: Verdict,
    pub marks: Marks,
}

/// The decision and the reasons that a person reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub verdict: Verdict,
    #[serde(default, skip_serializing_if = "Marks::is_none")]
    pub marks: Marks,
    /// What would have been done, were the policy not there to be watched only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<Measure>,
    /// Who gets it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_to: Option<String>,
    /// Who hears of it: addresses, or [`tenant::ALERT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
    /// What has to be taken out for it to pass.
    #[serde(skip)]
    pub strip: Vec<Finding>,
    /// What the message is: the most pressing of what led to the decision.
    #[serde(default = "unnamed")]
    pub category: Category,
    /// One sentence for each finding that led to it; empty when nothing was found.
    pub reasons: Vec<String>,
    #[serde(default, skip_serializing_if = "Because::is_empty")]
    pub because: Because,
}

/// Decisions of before had no name.
fn unnamed() -> Category {
    Category::Clean
}

/// The only detector that learns: what it says nobody can check, so it never holds by itself.
pub const CLASSIFIER: &str = "classifier";

impl Marks {
    pub fn is_none(&self) -> bool {
        *self == Marks::default()
    }
    fn put(&mut self, action: Action) {
        self.strip |= action == Action::Strip;
        self.tag |= action == Action::Tag;
        self.banner = self.banner.max(action.level());
    }
}

impl Measure {
    pub fn is_nothing(&self) -> bool {
        self.verdict == Verdict::Pass && self.marks.is_none()
    }
}

impl Decision {
    /// With these words, and nothing against it.
    pub fn pass(reasons: Vec<String>) -> Decision {
        let because = Because::default();
        Decision {
            verdict: Verdict::Pass,
            marks: Marks::default(),
            would: None,
            redirect_to: None,
            notify: Vec::new(),
            strip: Vec::new(),
            category: Category::Clean,
            reasons,
            because,
        }
    }

    /// What was asked for cannot be done, and this is why: held instead.
    pub fn hold_instead(&mut self, why: String) {
        (self.verdict, self.marks, self.redirect_to) = (Verdict::Hold, Marks::default(), None);
        self.strip.clear();
        self.because.otherwise.push(why);
    }
}

/// Where recipients' rules differ, the strictest counts; what only some of them want deleted or redirected is held.
pub fn decide(findings: &[Finding], policy: &Policy, who: &Who<'_>) -> Decision {
    let case = Case { policy, who, standing: Standing::of(policy, who), only_note: &policy.only_note };
    if findings.is_empty() && !matches!(case.standing, Standing::Blocked(_) | Standing::BlockedByRecipient(_)) {
        return Decision::pass(Vec::new());
    }
    let all: Vec<&Finding> = findings.iter().collect();
    let mut weighed: Vec<Weighed<'_>> = rules(policy, who).into_iter().map(|rule| weigh(&case, rule, &all)).collect();
    let ways: Vec<_> = weighed.iter().map(|w| (w.measure.verdict, w.redirect_to)).collect();
    for one in &mut weighed {
        let is_for_all = ways.iter().all(|way| *way == (one.measure.verdict, one.redirect_to));
        if matches!(one.measure.verdict, Verdict::Delete | Verdict::Redirect) && !is_for_all {
            one.spared = Some(one.measure.verdict);
            one.measure = Measure { verdict: Verdict::Hold, marks: Marks::default() };
        }
    }
    let strictest = weighed.into_iter().reduce(|a, b| if b.done() > a.done() { b } else { a });
    let Some(weighed) = strictest else { return Decision::pass(Vec::new()) };
    let done = weighed.done().0;
    Decision {
        verdict: done.verdict,
        marks: done.marks,
        would: (weighed.monitored && !weighed.measure.is_nothing()).then_some(weighed.measure),
        redirect_to: weighed.redirect_to.filter(|_| done.verdict == Verdict::Redirect).map(str::to_owned),
        notify: if weighed.monitored { Vec::new() } else { weighed.notified(policy) },
        strip: if done.marks.strip { weighed.strip.iter().map(|f| (*f).clone()).collect() } else { Vec::new() },
        category: weighed.category,
        reasons: weighed.reasons(&case),
        because: because(&case, &weighed, &all),
    }
}

/// What the findings that count under the base policy come to together.
pub fn points(findings: &[Finding], policy: &Policy) -> u32 {
    let who = Who::unknown(Direction::Inbound);
    let case = Case { policy, who: &who, standing: Standing::Unknown, only_note: &policy.only_note };
    sum(&counted(&case, None, &findings.iter().collect::<Vec<_>>()))
}

/// What weighing depends on, beside rule and findings.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub policy: &'a Policy,
    pub who: &'a Who<'a>,
    pub standing: Standing<'a>,
    /// Detectors whose findings count for nothing.
    pub only_note: &'a [String],
}

/// What the tenant's lists make of the sender.
#[derive(Clone, Copy)]
pub(crate) enum Standing<'a> {
    Unknown,
    Allowed(&'a Entry),
    /// It would be allowed, and nothing proves that it is who it says.
    Unproven(&'a Entry),
    Blocked(&'a Entry),
    /// The same by the list of its recipients' own, which counts after the tenant's.
    AllowedByRecipient(&'a Entry),
    BlockedByRecipient(&'a Entry),
}

impl<'a> Standing<'a> {
    fn of(policy: &'a Policy, who: &'a Who<'_>) -> Standing<'a> {
        if who.direction == Direction::Outbound {
            return Standing::Unknown;
        }
        match (policy.lists.of(who.sender, who.now), who.personal) {
            (Listed::Blocked(entry), _) => Standing::Blocked(entry),
            (Listed::Allowed(entry), _) if who.proven => Standing::Allowed(entry),
            (_, Listed::Blocked(entry)) => Standing::BlockedByRecipient(entry),
            (_, Listed::Allowed(entry)) if who.proven => Standing::AllowedByRecipient(entry),
            (Listed::Allowed(entry), _) | (_, Listed::Allowed(entry)) => Standing::Unproven(entry),
            (Listed::No, Listed::No) => Standing::Unknown,
        }
    }
    pub(crate) fn allows(self) -> bool {
        matches!(self, Standing::Allowed(_) | Standing::AllowedByRecipient(_))
    }
}

/// What a rule makes of the findings.
pub(crate) struct Weighed<'a> {
    pub rule: Option<&'a Rule>,
    pub measure: Measure,
    pub monitored: bool,
    /// Held instead of this, for others' sake.
    pub spared: Option<Verdict>,
    pub redirect_to: Option<&'a str>,
    /// What rows of the policy want taken out.
    pub strip: Vec<&'a Finding>,
    pub category: Category,
    /// The rows of the policy that fired.
    pub fired: Vec<(Kind, Action)>,
    pub led: Vec<&'a Finding>,
    pub points: u32,
}

impl Weighed<'_> {
    /// What is really done, and what would be.
    fn done(&self) -> (Measure, Measure) {
        let nothing = Measure { verdict: Verdict::Pass, marks: Marks::default() };
        (if self.monitored { nothing } else { self.measure }, self.measure)
    }

    /// Each once.
    fn notified(&self, policy: &Policy) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for who in self.fired.iter().filter_map(|(kind, _)| policy.rules.notified(self.rule, *kind)) {
            if !all.iter().any(|known| known == who) {
                all.push(who.to_owned());
            }
        }
        all
    }

    fn reasons(&self, case: &Case<'_>) -> Vec<String> {
        let blocked = match case.standing {
            Standing::Blocked(entry) if self.category == Category::BlockedSender => {
                Some(format!("the sender is on the block list: {}", entry.sender))
            }
            Standing::BlockedByRecipient(entry) if self.category == Category::BlockedSender => {
                Some(format!("the sender is on the recipient's own block list: {}", entry.sender))
            }
            _ => None,
        };
        blocked.into_iter().chain(self.led.iter().map(|f| f.summary.clone())).collect()
    }
}

/// Those of the people whose mail it is, each once.
fn rules<'a>(policy: &'a Policy, who: &Who<'_>) -> Vec<Option<&'a Rule>> {
    let mut all: Vec<Option<&Rule>> = Vec::new();
    for person in who.people() {
        let rule = policy.rules.first(who.direction, person, who.members);
        if !all.iter().any(|known| known.map(std::ptr::from_ref) == rule.map(std::ptr::from_ref)) {
            all.push(rule);
        }
    }
    all
}

/// An allowed sender's words are not weighed; what harms by itself is. What a recipient allows by himself may be a
/// nuisance and no more: who deceives him he cannot know.
fn whoever_sent_it(standing: Standing<'_>, category: Category) -> bool {
    match standing {
        Standing::AllowedByRecipient(_) => {
            !matches!(category, Category::Spam | Category::Bulk | Category::AuthenticationFailure)
        }
        Standing::Allowed(_) => {
            matches!(category, Category::Malware | Category::Unscannable | Category::MaliciousUrl)
        }
        _ => true,
    }
}

fn counted<'a>(case: &Case<'a>, rule: Option<&Rule>, findings: &[&'a Finding]) -> Vec<&'a Finding> {
    let counts = |f: &&&Finding| {
        !case.only_note.contains(&f.detector)
            && case.policy.rules.action(rule, Kind::of(f.category)) != Action::Deliver
            && whoever_sent_it(case.standing, f.category)
    };
    findings.iter().filter(counts).copied().collect()
}

fn sum(findings: &[&Finding]) -> u32 {
    tally::together(findings.iter().copied())
}

pub(crate) fn weigh<'a>(case: &Case<'a>, rule: Option<&'a Rule>, findings: &[&'a Finding]) -> Weighed<'a> {
    let rules = &case.policy.rules;
    let mut rest = counted(case, rule, findings);
    let mut weighed = Weighed {
        rule,
        measure: Measure { verdict: Verdict::Pass, marks: Marks::default() },
        monitored: rules.monitor_only || rule.is_some_and(|r| r.monitor_only),
        spared: None,
        redirect_to: rules.redirect_to(rule),
        strip: Vec::new(),
        category: Category::Clean,
        fired: Vec::new(),
        led: Vec::new(),
        points: sum(&rest),
    };
    let direction = case.who.direction;
    if matches!(case.standing, Standing::Blocked(_)) {
        let action = rules.action(rule, Kind::BlockedSender);
        weighed.take(direction, Kind::BlockedSender, action, Category::BlockedSender, &[]);
    }
    // kept for him to look at, whatever the tenant does with whom it blocks
    if matches!(case.standing, Standing::BlockedByRecipient(_)) {
        weighed.take(direction, Kind::BlockedSender, Action::Hold, Category::BlockedSender, &[]);
    }
    while weighed.measure.verdict == Verdict::Pass {
        let of_rule = |kind| rules.action(rule, kind);
        let led = led(direction, of_rule(Kind::AuthenticationFailure), &rest);
        let Some(category) = led.iter().map(|f| f.category).min() else { break };
        let kind = Kind::of(category);
        weighed.take(direction, kind, of_rule(kind), category, &led);
        // it has got its mark; the others are weighed without it
        rest.retain(|f| f.category != category);
    }
    if direction == Direction::Inbound && weighed.measure.verdict == Verdict::Pass {
        suspect(&mut weighed, &rest, |kind| rules.action(rule, kind));
    }
    weighed
}

impl<'a> Weighed<'a> {
    /// One row of the policy fires.
    fn take(&mut self, direction: Direction, kind: Kind, action: Action, category: Category, led: &[&'a Finding]) {
        let verdict = match (action, direction) {
            (Action::Hold | Action::FollowSender, _) | (Action::Reject, Direction::Inbound) => Verdict::Hold,
            (Action::Reject, Direction::Outbound) => Verdict::Reject,
            (Action::Delete, _) => Verdict::Delete,
            (Action::Redirect, _) if self.redirect_to.is_some() => Verdict::Redirect,
            // to nobody, or out of mail that leaves: not what was asked for, and it must not pass
            (Action::Redirect, _) | (Action::Strip, Direction::Outbound) => Verdict::Hold,
            (Action::Deliver, _) => return,
            // mail that leaves gets no marks
            (_, Direction::Outbound) => return,
            (Action::Strip | Action::Tag | Action::BannerInfo | Action::BannerCaution | Action::BannerDanger, _) => {
                Verdict::Pass
            }
        };
        let of_it = led.iter().filter(|f| f.category == category || kind == Kind::Suspected);
        if verdict == Verdict::Pass {
            self.measure.marks.put(action);
            self.fired.push((kind, action));
            self.category = if self.category == Category::Clean { category } else { self.category.min(category) };
            if action == Action::Strip {
                self.strip.extend(of_it.clone());
            }
            self.led.extend(of_it);
            return;
        }
        // who gets it instead gets it without what is to be taken out
        let strip = verdict == Verdict::Redirect && self.measure.marks.strip;
        self.measure = Measure { verdict, marks: Marks { strip, ..Marks::default() } };
        if strip {
            self.fired.retain(|(_, a)| *a == Action::Strip);
            self.led = self.strip.clone();
            self.category = self.category.min(category);
        } else {
            self.fired.clear();
            self.led.clear();
            self.category = category;
        }
        self.fired.push((kind, action));
        self.led.extend(led);
    }
}

/// Inbound: what deceives or harms, by one finding or by several together. Outbound: only what harms or must not leave,
/// since a user's mail is not deceit.
fn led<'a>(direction: Direction, on_failure: Action, findings: &[&'a Finding]) -> Vec<&'a Finding> {
    let checked = |f: &&&Finding| f.detector != CLASSIFIER;
    let together = direction == Direction::Inbound
        && sum(findings) >= HOLD_POINTS
        && findings.iter().filter(checked).any(|f| f.points > 0);
    let alone = |f: &&&Finding| match (direction, f.category) {
        (Direction::Outbound, Category::DataLoss) => f.severity >= Severity::Suspicious,
        (Direction::Outbound, _) => f.severity >= Severity::Malicious,
        // who asks for more than the sender does has every failure that counts
        (_, Category::AuthenticationFailure) if on_failure != Action::FollowSender => f.points > 0,
        (Direction::Inbound, _) => f.severity >= Severity::Suspicious,
    };
    let counts = |f: &&&Finding| (checked(f) && alone(f)) || (together && f.points > 0);
    findings.iter().filter(counts).copied().collect()
}

/// What holds nothing and yet is too much to say nothing.
fn suspect<'a>(weighed: &mut Weighed<'a>, rest: &[&'a Finding], action: impl Fn(Kind) -> Action) {
    let with_points: Vec<&Finding> = rest.iter().filter(|f| f.points > 0).copied().collect();
    let of_impersonation: Vec<&Finding> =
        with_points.iter().filter(|f| f.category == Category::Impersonation).copied().collect();
    if sum(&of_impersonation) >= SUSPECT_IMPERSONATION_POINTS {
        let kind = Kind::SuspectedImpersonation;
        weighed.take(Direction::Inbound, kind, action(kind), Category::Impersonation, &of_impersonation);
    }
    if weighed.measure.verdict == Verdict::Pass && sum(&with_points) >= SUSPECT_POINTS {
        let category = with_points.iter().map(|f| f.category).min().unwrap_or(Category::Clean);
        let before = std::mem::take(&mut weighed.led);
        weighed.take(Direction::Inbound, Kind::Suspected, action(Kind::Suspected), category, &with_points);
        weighed.led.splice(0..0, before.into_iter().filter(|f| !with_points.contains(f)));
    }
}

#[cfg(test)]
mod tests;
