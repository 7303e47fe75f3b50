//! Why a delivered message did not come by us, as far as can be told from outside: first what the tenant wished, then
//! what is seen to be different, then what may be.

use super::people::People;
use crate::limits;
use crate::look::Drift;
use crate::objects::{outbound_connector, rules};

use jiff::Timestamp;
use serde::Serialize;
use std::fmt;
use store::Severity;
use tenant::{Direction, Rollout, Stage};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    Off,
    Audit,
    NotInPilot,
    Excluded {
        group: String,
    },
    /// The watchdog had turned routing off: the gateway failed for longer than the tenant allows.
    FailOpen {
        since: Timestamp,
    },
    /// A bounce or a notice; Exchange Online's own are never routed.
    NullSender,
    /// Something of ours is not as we made it.
    OursDiffers {
        object: String,
        what: String,
    },
    /// It came before our rules were changed as they are now; what was wrong then, if anything, was told then.
    BeforeChange {
        at: Timestamp,
    },
    /// A rule needs up to half an hour to be in effect.
    JustChanged {
        at: Timestamp,
    },
    /// A rule of somebody else may have taken it.
    OthersRule {
        object: String,
    },
    Unknown,
}

impl Reason {
    /// True where the tenant wished it so, or nobody can wish otherwise.
    pub fn is_wished(&self) -> bool {
        matches!(
            self,
            Reason::Off
                | Reason::Audit
                | Reason::NotInPilot
                | Reason::Excluded { .. }
                | Reason::FailOpen { .. }
                | Reason::NullSender
        )
    }
    /// True where it is over, or will be by itself.
    pub fn passes(&self) -> bool {
        matches!(self, Reason::JustChanged { .. } | Reason::BeforeChange { .. })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Off => f.write_str("the stage is off"),
            Reason::Audit => f.write_str("the stage is audit: the rule only says what it would take"),
            Reason::NotInPilot => f.write_str("not in a pilot group"),
            Reason::Excluded { group } => write!(f, "in the excluded group {group}"),
            Reason::FailOpen { since } => write!(f, "the watchdog had turned routing off at {since:.0}"),
            Reason::NullSender => f.write_str("a bounce or notice without a sender"),
            Reason::OursDiffers { object, what } => write!(f, "{object} {what}"),
            Reason::BeforeChange { at } => write!(f, "it came before our rules were changed at {at:.0}"),
            Reason::JustChanged { at } => {
                write!(f, "the rules were changed at {at:.0}, and a rule takes up to half an hour to be in effect")
            }
            Reason::OthersRule { object } => write!(f, "perhaps {object}, which stands above ours"),
            Reason::Unknown => f.write_str("unknown"),
        }
    }
}

/// What is known of the tenant while reasons are looked for.
pub(crate) struct Known<'k> {
    pub rollout: &'k Rollout,
    pub people: &'k People<'k>,
    pub drift: &'k [Drift],
    /// When a rule of ours was changed by us for the last time.
    pub changed: Option<Timestamp>,
    /// When the watchdog held ways closed.
    pub unchecked: &'k [(Timestamp, Timestamp, Vec<Direction>)],
}

pub(crate) fn why(known: &Known<'_>, direction: Direction, sender: &str, recipient: &str, at: Timestamp) -> Reason {
    let (person, rule) = match direction {
        Direction::Inbound => (recipient, rules::INBOUND),
        Direction::Outbound => (sender, rules::OUTBOUND),
    };
    let stage = known.rollout.of(direction);
    if let Some(group) = known.people.group_with(person, &known.rollout.excluded_groups) {
        return Reason::Excluded { group };
    }
    match stage {
        Stage::Off => return Reason::Off,
        Stage::Audit => return Reason::Audit,
        Stage::Pilot if known.people.group_with(person, &known.rollout.pilot_groups).is_none() => {
            return Reason::NotInPilot;
        }
        _ => {}
    }
    if sender.is_empty() {
        return Reason::NullSender;
    }
    // the trace counts seconds
    let in_it = |from: Timestamp, to: Timestamp| (from.as_second()..=to.as_second()).contains(&at.as_second());
    if let Some((since, ..)) =
        known.unchecked.iter().find(|(from, to, ways)| in_it(*from, *to) && ways.contains(&direction))
    {
        return Reason::FailOpen { since: *since };
    }
    let named = |d: &&Drift, name: &str| d.severity > Severity::Low && d.object.contains(name);
    let ours = known.drift.iter().find(|d| named(d, rule));
    if let Some(drift) = ours.or_else(|| known.drift.iter().find(|d| named(d, outbound_connector::NAME))) {
        return Reason::OursDiffers { object: drift.object.clone(), what: drift.what.clone() };
    }
    match known.changed {
        Some(changed) if at < changed => return Reason::BeforeChange { at: changed },
        Some(changed) if at < changed + limits::RULE_IN_EFFECT => return Reason::JustChanged { at: changed },
        _ => {}
    }
    let others = known
        .drift
        .iter()
        .find(|d| d.object.starts_with("mail flow rule") && !rules::NAMES.iter().any(|name| d.object.contains(name)));
    others.map_or(Reason::Unknown, |d| Reason::OthersRule { object: d.object.clone() })
}
