//! What became of a message, for one recipient: one final state out of all that the journal and what is held tell.
//! Pure. Exchange Online may try the same message many times, and each try is a journey; the message is told by
//! Message-ID and recipient.

use crate::measured::People;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use store::{Facts, HeldEvent, HeldStep, Kept, Outcome, Passage};
use tenant::Direction;

/// In this order where several tries ended differently: what Microsoft has is told before what we have, and what we
/// have before what nobody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalState {
    /// A probe that arrived; it goes nowhere.
    Swallowed,
    HandedBack,
    /// Handed back for somebody else of the tenant, by the policy.
    Redirected,
    /// Held, then handed back.
    Released,
    Held,
    /// The journal says held, and it is neither held nor known what became of it.
    Gone,
    /// Deleted: by the policy, or held and then by somebody.
    Deleted,
    /// Held until its time was over.
    Expired,
    /// Refused for good; Exchange Online tells the sender.
    Refused,
    /// Refused for now; Exchange Online has it and tries again.
    Deferred,
    /// Refused for now until Exchange Online gave it up and told the sender. The journal alone cannot tell.
    GivenUp,
}

impl fmt::Display for FinalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FinalState::Swallowed => "probe arrived",
            FinalState::HandedBack => "handed back",
            FinalState::Redirected => "redirected",
            FinalState::Released => "released",
            FinalState::Held => "held",
            FinalState::Gone => "gone",
            FinalState::Deleted => "deleted",
            FinalState::Expired => "expired",
            FinalState::Refused => "refused",
            FinalState::Deferred => "with Exchange Online",
            FinalState::GivenUp => "given up by Exchange Online",
        })
    }
}

/// Ends that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// The same message: Exchange Online did not hear our answer to the first try.
    HandedBackAgain,
    HeldAndHandedBack,
    HandedBackAndReleased,
    ReleasedAgain,
    RefusedAndHandedBack,
}

/// A message and one recipient, by what we have.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub state: FinalState,
    pub conflicts: Vec<Conflict>,
    pub probe: bool,
    pub direction: Option<Direction>,
    pub sender: String,
    pub recipient: String,
    /// Times that Microsoft took it from us.
    pub returns: u64,
    /// Different messages under this Message-ID that were handed back, by sender and size.
    pub copies: u64,
    /// Tries that ended otherwise than refused for now.
    pub settled: u64,
    /// The last try was refused for now.
    pub waits: bool,
    /// Times at which something happened, in order.
    pub signs: Vec<Timestamp>,
    pub journeys: Vec<String>,
}

/// Message-ID and person.
pub(crate) type Key = (String, String);

#[derive(Default)]
struct Gathered<'f> {
    recipient: &'f str,
    passages: Vec<&'f Passage>,
    /// Meant for others, and led to this one.
    led_here: Vec<&'f Passage>,
    kept: Vec<&'f Kept>,
    history: Vec<&'f HeldEvent>,
}

/// Every message and recipient of these facts.
pub(crate) fn standings(facts: &Facts, people: &People<'_>) -> BTreeMap<Key, Standing> {
    let mut all: BTreeMap<Key, Gathered<'_>> = BTreeMap::new();
    for passage in &facts.passages {
        each(&mut all, people, passage.message_id.as_deref(), &passage.recipients, |g| g.passages.push(passage));
    }
    for passage in &facts.passages {
        let to = passage.redirected_to.as_slice();
        each(&mut all, people, passage.message_id.as_deref(), to, |g| g.led_here.push(passage));
    }
    for kept in &facts.kept {
        each(&mut all, people, kept.message_id.as_deref(), &kept.recipients, |g| g.kept.push(kept));
    }
    for event in &facts.history {
        each(&mut all, people, event.message_id.as_deref(), &event.recipients, |g| g.history.push(event));
    }
    all.into_iter().map(|(key, gathered)| (key, gathered.standing())).collect()
}

/// Two addresses of one person are one recipient.
fn each<'f>(
    all: &mut BTreeMap<Key, Gathered<'f>>,
    people: &People<'_>,
    message_id: Option<&str>,
    recipients: &'f [String],
    mut put: impl FnMut(&mut Gathered<'f>),
) {
    let mut seen = BTreeSet::new();
    for recipient in recipients {
        let person = people.whose(recipient);
        if seen.insert(person.clone()) {
            let gathered = all.entry((message_id.unwrap_or_default().to_owned(), person)).or_default();
            gathered.recipient = recipient;
            put(gathered);
        }
    }
}

/// One try, for this recipient.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Back,
    Held,
    Gone,
    Refused,
    Deferred,
    Swallowed,
    Deleted,
    Redirected,
}

impl Gathered<'_> {
    fn standing(&self) -> Standing {
        let ends: Vec<(&Passage, End)> = self.passages.iter().map(|p| (*p, self.end(p))).collect();
        let count = |end: End| ends.iter().filter(|(_, e)| *e == end).count() as u64;
        let stepped = |step: HeldStep| self.history.iter().filter(|e| e.step == step).count() as u64;
        let (back, released) = (count(End::Back), stepped(HeldStep::Released));
        // the second visit of a loop is a return, and no message of its own
        let copies: BTreeSet<_> =
            ends.iter().filter(|(p, e)| *e == End::Back && p.visits <= 1).map(|(p, _)| copy(p)).collect();
        let first = self.passages.first().or(self.led_here.first());
        Standing {
            state: self.state(&ends, released, stepped(HeldStep::Deleted), stepped(HeldStep::Expired)),
            conflicts: self.conflicts(&ends, released),
            probe: self.passages.iter().any(|p| p.probe.is_some())
                || self.kept.iter().any(|k| k.probe)
                || self.history.iter().any(|e| e.probe),
            direction: first
                .and_then(|p| p.direction)
                .or(self.kept.first().map(|k| k.direction))
                .or(self.history.first().map(|e| e.direction)),
            sender: first.map(|p| p.sender.clone()).unwrap_or_default(),
            recipient: self.recipient.to_lowercase(),
            returns: back + released,
            copies: (copies.len() as u64).max(1),
            settled: ends.iter().filter(|(p, e)| *e != End::Deferred && p.visits <= 1).count() as u64,
            waits: ends.last().is_some_and(|(_, e)| *e == End::Deferred),
            signs: self.signs(),
            journeys: self.passages.iter().chain(&self.led_here).map(|p| p.id.clone()).collect(),
        }
    }

    fn signs(&self) -> Vec<Timestamp> {
        let held = self.kept.iter().map(|k| k.at).chain(self.history.iter().map(|e| e.at));
        let mut signs: Vec<Timestamp> =
            self.passages.iter().chain(&self.led_here).map(|p| p.started).chain(held).collect();
        signs.sort_unstable();
        signs
    }

    fn end(&self, passage: &Passage) -> End {
        match passage.outcome {
            Outcome::HandedBack => End::Back,
            Outcome::Held if self.is_known(passage) => End::Held,
            Outcome::Held => End::Gone,
            // of those who are not held, Microsoft took it
            Outcome::PartlyHeld if self.is_known(passage) => End::Held,
            Outcome::PartlyHeld => End::Back,
            Outcome::Refused => End::Refused,
            Outcome::Deferred => End::Deferred,
            Outcome::Swallowed => End::Swallowed,
            Outcome::Deleted => End::Deleted,
            Outcome::Redirected => End::Redirected,
        }
    }

    /// What it is held as is still here for this recipient, or it is known what became of it.
    fn is_known(&self, passage: &Passage) -> bool {
        let id = passage.held.as_deref();
        self.kept.iter().any(|k| Some(k.id.as_str()) == id) || self.history.iter().any(|e| Some(e.held.as_str()) == id)
    }

    fn state(&self, ends: &[(&Passage, End)], released: u64, deleted: u64, expired: u64) -> FinalState {
        let any = |end: End| ends.iter().any(|(_, e)| *e == end);
        if any(End::Swallowed) {
            FinalState::Swallowed
        } else if any(End::Back) {
            FinalState::HandedBack
        } else if any(End::Redirected) || !self.led_here.is_empty() {
            FinalState::Redirected
        } else if released > 0 {
            FinalState::Released
        } else if !self.kept.is_empty() {
            FinalState::Held
        } else if any(End::Gone) {
            FinalState::Gone
        } else if deleted > 0 || any(End::Deleted) {
            FinalState::Deleted
        } else if expired > 0 {
            FinalState::Expired
        } else if any(End::Refused) {
            FinalState::Refused
        } else {
            FinalState::Deferred
        }
    }

    /// Only among tries of the same message: a second one under the same Message-ID may end differently.
    fn conflicts(&self, ends: &[(&Passage, End)], released: u64) -> Vec<Conflict> {
        let back: Vec<_> =
            ends.iter().filter(|(p, e)| *e == End::Back && p.visits <= 1).map(|(p, _)| copy(p)).collect();
        let with_back = |end: End| ends.iter().any(|(p, e)| *e == end && back.contains(&copy(p)));
        let mut out = Vec::new();
        let mut add = |found: bool, conflict: Conflict| out.extend(found.then_some(conflict));
        add(back.iter().collect::<BTreeSet<_>>().len() < back.len(), Conflict::HandedBackAgain);
        add(with_back(End::Held) && !self.kept.is_empty(), Conflict::HeldAndHandedBack);
        add(with_back(End::Held) && released > 0, Conflict::HandedBackAndReleased);
        let of_one = |e: &HeldEvent| {
            self.history.iter().filter(|o| o.held == e.held && o.step == HeldStep::Released).count() > 1
        };
        add(self.history.iter().any(|e| of_one(e)), Conflict::ReleasedAgain);
        add(with_back(End::Refused), Conflict::RefusedAndHandedBack);
        out
    }
}

/// By this two messages under one Message-ID are told apart: Exchange Online sends the same octets at every try, and
/// a second message has come another way, which its header tells.
fn copy(passage: &Passage) -> (&str, u64) {
    (&passage.sender, passage.bytes)
}
