//! One message and recipient: what we have against what Microsoft's trace has. Pure.
//!
//! The trace shows one line for each pass through Exchange Online: one for each time that the message came in, one for
//! each time that it came back from us. Both counts are known from our side within bounds; what is outside of them is
//! missing on one side or doubled. Which line is which pass the trace does not say.

use super::state::{Conflict, FinalState, Standing};
use crate::limits;
use crate::measured::{Known, Reason, TraceRow, direction, is_probe, why};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::fmt;
use std::net::IpAddr;
use tenant::{Direction, Tenant};

/// The lines of one message and recipient.
#[derive(Clone, Debug)]
pub(crate) struct Traced {
    pub sender: String,
    pub recipient: String,
    /// Id, time, status, who handed it in; in order of time.
    lines: Vec<(String, Timestamp, String, Option<IpAddr>)>,
}

impl Traced {
    pub(crate) fn of(row: &TraceRow) -> Traced {
        let mut traced = Traced { sender: row.sender.clone(), recipient: row.recipient.clone(), lines: Vec::new() };
        traced.add(row);
        traced
    }
    /// A pass that was added before is not added twice.
    pub(crate) fn add(&mut self, row: &TraceRow) {
        if self.lines.iter().all(|(id, ..)| *id != row.trace_id) {
            self.lines.push((row.trace_id.clone(), row.received, row.status.clone(), row.from_ip));
            self.lines.sort_by_key(|(_, at, ..)| *at);
        }
    }
    pub(crate) fn passes(&self) -> u64 {
        self.lines.len() as u64
    }
    pub(crate) fn first(&self) -> Timestamp {
        self.lines.first().map_or(Timestamp::MAX, |(_, at, ..)| *at)
    }
    pub(crate) fn last(&self) -> Timestamp {
        self.lines.last().map_or(Timestamp::MIN, |(_, at, ..)| *at)
    }
    fn is(&self, status: &str) -> bool {
        self.lines.iter().any(|(_, _, s, _)| s.eq_ignore_ascii_case(status))
    }
    fn last_status(&self) -> &str {
        self.lines.last().map_or("", |(_, _, status, _)| status)
    }
    fn came_from(&self, ours: Option<IpAddr>) -> bool {
        ours.is_some() && self.lines.iter().any(|(.., ip)| *ip == ours)
    }
}

/// What Exchange Online did with what came back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Delivered,
    UnderWay,
    /// Its own filter took it.
    Stopped,
    Failed,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fate::Delivered => "delivered",
            Fate::UnderWay => "under way there",
            Fate::Stopped => "stopped by its filter",
            Fate::Failed => "not deliverable",
        })
    }
}

fn fate(status: &str) -> Fate {
    match status.to_ascii_lowercase().as_str() {
        "delivered" => Fate::Delivered,
        "failed" => Fate::Failed,
        "quarantined" | "filteredasspam" => Fate::Stopped,
        _ => Fate::UnderWay,
    }
}

/// Why something is missing or doubled.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    NoJournal { passes: u64 },
    Skipped { because: Reason },
    DeliveredThough { state: FinalState },
    MorePasses { state: FinalState, passes: u64, explained: u64 },
    Gone,
    NotReturned { passes: u64, expected: u64 },
    NotTraced,
    Stuck { status: String, since: Timestamp },
    Conflict { conflict: Conflict },
    Unjournalled { passes: u64, explained: u64 },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoJournal { passes } => {
                write!(
                    f,
                    "the trace shows that it came back from us ({passes} passes), and the journal has nothing of it"
                )
            }
            Why::Skipped { because } => write!(f, "delivered, and it never came by us; the reason: {because}"),
            Why::DeliveredThough { state } => {
                write!(f, "{state} by the journal, and delivered by the trace: a later try is not in the journal")
            }
            Why::MorePasses { state, passes, explained } => {
                write!(f, "{state} here; the trace shows {passes} passes, and the journal explains {explained}")
            }
            Why::Gone => f.write_str(
                "the journal says that it was held, and it is neither held nor released, deleted or expired",
            ),
            Why::NotReturned { passes, expected } => write!(
                f,
                "Microsoft took it back from us, and its trace does not show the return: {passes} passes of {expected}"
            ),
            Why::NotTraced => f.write_str("it came to us, and Microsoft's trace has nothing of it"),
            Why::Stuck { status, since } => write!(f, "it came back, and is {status} there since {since:.0}"),
            Why::Conflict { conflict } => f.write_str(match conflict {
                Conflict::HandedBackAgain => {
                    "handed back more than once: Exchange Online did not hear our answer to a try and sent it again"
                }
                Conflict::HeldAndHandedBack => {
                    "held at one try and handed back at another: it is delivered, and still held"
                }
                Conflict::HandedBackAndReleased => "handed back at one try, and released from what was held at another",
                Conflict::ReleasedAgain => "released more than once",
                Conflict::RefusedAndHandedBack => "refused for good at one try and handed back at another",
            }),
            Why::Unjournalled { passes, explained } => write!(
                f,
                "the trace shows {passes} passes, and the journal explains {explained}: a try ended between Microsoft's yes and ours, and Exchange Online sent it again"
            ),
        }
    }
}

/// What the ledger makes of one message and recipient.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    Probe,
    /// Mail within the tenant, and mail that is neither from nor to it.
    NotOurs,
    Right(FinalState, Option<Fate>),
    /// Delivered without us, as was wished or as passes.
    LeftOut(Reason),
    /// It never got as far as to us.
    StoppedBefore,
    NotYetWithUs,
    TooNew,
    MissingHere(Why),
    MissingThere(Why),
    Doubled(Why),
}

pub(crate) struct Circle<'c> {
    pub tenant: &'c Tenant,
    pub zone: &'c str,
    pub known: &'c Known<'c>,
    /// Our address towards Microsoft, as far as the operator said.
    pub ours: Option<IpAddr>,
    pub now: Timestamp,
    pub grace: SignedDuration,
}

pub(crate) fn reconcile(standing: Option<&Standing>, traced: Option<&Traced>, circle: &Circle<'_>) -> Found {
    let found = match (standing, traced) {
        (Some(standing), _) if standing.probe || standing.state == FinalState::Swallowed => Found::Probe,
        (Some(standing), traced) => both(standing, traced, circle),
        (None, Some(traced)) => only_there(traced, circle),
        (None, None) => Found::NotOurs,
    };
    let last = standing.and_then(|s| s.signs.last().copied()).max(traced.map(Traced::last));
    let certain = matches!(
        &found,
        Found::Doubled(Why::Conflict { .. }) | Found::MissingHere(Why::Gone) | Found::MissingThere(Why::Stuck { .. })
    );
    let wrong = matches!(found, Found::MissingHere(_) | Found::MissingThere(_) | Found::Doubled(_));
    if wrong && !certain && last.is_some_and(|last| last > circle.now - circle.grace) {
        return Found::TooNew;
    }
    found
}

fn both(standing: &Standing, traced: Option<&Traced>, circle: &Circle<'_>) -> Found {
    let state = standing.state;
    if state == FinalState::Gone {
        return Found::MissingHere(Why::Gone);
    }
    let Some(traced) = traced else { return Found::MissingThere(Why::NotTraced) };
    // one pass for whom it was, another for who got it: which of them the trace writes under whom, it does not say
    if state == FinalState::Redirected {
        return Found::Right(state, None);
    }
    let passes = traced.passes();
    let came_in = if standing.returns > 0 { standing.copies } else { 1 };
    let expected = came_in + standing.returns;
    if passes < expected {
        return Found::MissingThere(Why::NotReturned { passes, expected });
    }
    if let Some(conflict) = standing.conflicts.first() {
        return Found::Doubled(Why::Conflict { conflict: *conflict });
    }
    if state == FinalState::Deferred {
        return deferred(standing, traced, circle);
    }
    let explained =
        (standing.settled.max(1) + u64::from(standing.waits && standing.settled > 0) + standing.returns).max(expected);
    if passes > explained && standing.returns > 0 {
        return Found::Doubled(Why::Unjournalled { passes, explained });
    }
    if passes > explained {
        return Found::MissingHere(Why::MorePasses { state, passes, explained });
    }
    let fate = (standing.returns > 0).then(|| fate(traced.last_status()));
    if fate == Some(Fate::UnderWay) && traced.last() < circle.now - limits::LEDGER_UNDER_WAY {
        return Found::MissingThere(Why::Stuck { status: traced.last_status().to_owned(), since: traced.last() });
    }
    Found::Right(state, fate)
}

/// Exchange Online has it, or gave it up, or delivered it when it did not come to us any more.
fn deferred(standing: &Standing, traced: &Traced, circle: &Circle<'_>) -> Found {
    if !traced.is("Delivered") {
        let state = if traced.is("Failed") { FinalState::GivenUp } else { FinalState::Deferred };
        return Found::Right(state, None);
    }
    let reason = standing.direction.map(|d| why(circle.known, d, &traced.sender, &traced.recipient, traced.first()));
    match reason {
        Some(reason) if !traced.came_from(circle.ours) && (reason.is_wished() || reason.passes()) => {
            Found::LeftOut(reason)
        }
        _ => Found::MissingHere(Why::DeliveredThough { state: standing.state }),
    }
}

fn only_there(traced: &Traced, circle: &Circle<'_>) -> Found {
    if is_probe(&traced.sender, &traced.recipient, circle.zone) {
        return Found::Probe;
    }
    let Some(direction): Option<Direction> = direction(circle.tenant, &traced.sender, &traced.recipient, None) else {
        return Found::NotOurs;
    };
    if !traced.is("Delivered") {
        return match fate(traced.last_status()) {
            Fate::UnderWay => Found::NotYetWithUs,
            _ => Found::StoppedBefore,
        };
    }
    let passes = traced.passes();
    if traced.came_from(circle.ours) {
        return Found::MissingHere(Why::NoJournal { passes });
    }
    // without our address: two passes are a return, or a sender who sent twice, which is nobody's affair where his mail
    // does not come by
    let reason = why(circle.known, direction, &traced.sender, &traced.recipient, traced.first());
    if reason.is_wished() || reason.passes() {
        Found::LeftOut(reason)
    } else if passes > 1 && circle.ours.is_none() {
        Found::MissingHere(Why::NoJournal { passes })
    } else {
        Found::MissingHere(Why::Skipped { because: reason })
    }
}
