//! The ledger: every message that entered is in exactly one final state, and Microsoft's message trace knows the same
//! messages. [`check`] reconciles both for a window of time and names what is missing on either side; [`count`] tells
//! the final states by our journal alone. Reads, and changes nothing. docs/ledger.md tells what each line means.
//!
//! A trace that cannot be read makes nothing *missing*: what it would have told is *unknown because …*.

mod reconcile;
mod state;
mod text;
mod walk;

pub use reconcile::{Fate, Why};
pub use state::{Conflict, FinalState};

use crate::applied::as_applied;
use crate::look::look;
use crate::measured::trace::{self, Pace};
use crate::measured::{Circumstances, Reason, why};
use crate::{Result, Settings, limits, plan};
use jiff::{SignedDuration, Timestamp};
use m365::Client;
use reconcile::{Circle, Found, Traced, reconcile};
use serde::Serialize;
use state::{Key, Standing};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use store::Store;
use tenant::{Direction, Tenant, TenantId};
use walk::Walk;

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
    /// What lacks its other half and is newer is too new to tell.
    pub grace: SignedDuration,
}

/// How far a check has come.
#[derive(Clone, Debug)]
pub enum Progress {
    Read {
        to: Timestamp,
        end: Timestamp,
        messages: u64,
    },
    /// Until Microsoft takes the next question.
    Waiting(Duration),
    OneByOne {
        messages: usize,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Progress::Read { to, end, messages } => {
                write!(f, "read up to {to:.0} of {end:.0}: {} messages so far", text::thousands(*messages))
            }
            Progress::Waiting(wait) => write!(f, "waiting {} s for Microsoft to take more questions", wait.as_secs()),
            Progress::OneByOne { messages } => write!(f, "asking for {messages} messages one by one"),
        }
    }
}

/// One message, for one recipient, that is missing or doubled.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub message_id: String,
    pub direction: Option<Direction>,
    pub sender: String,
    pub recipient: String,
    pub at: Timestamp,
    /// By the journal; `None`: it has nothing of it.
    pub state: Option<FinalState>,
    pub journeys: Vec<String>,
    #[serde(flatten)]
    pub why: Why,
    pub text: String,
}

/// All of a kind; the first of them by name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entries {
    pub count: u64,
    pub listed: Vec<Entry>,
}

impl Entries {
    fn add(&mut self, entry: Entry) {
        self.count += 1;
        if self.listed.len() < limits::LEDGER_LISTED_MAX {
            self.listed.push(entry);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub count: u64,
    #[serde(flatten)]
    pub reason: Reason,
}

/// A window of one tenant's mail; every number counts a message once for each recipient.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    pub tenant: TenantId,
    pub label: String,
    pub display_name: String,
    pub from: Timestamp,
    pub to: Timestamp,
    /// Of these the journal or what is held tells.
    pub entered: u64,
    pub states: BTreeMap<FinalState, u64>,
    /// What became of those that went back.
    pub returned: BTreeMap<Fate, u64>,
    /// Of these the trace tells, of those that came by us or ought to have.
    pub traced: u64,
    pub left_out: Vec<LeftOut>,
    /// Microsoft stopped or bounced them before they came to us.
    pub stopped_before: u64,
    pub not_yet_with_us: u64,
    pub not_ours: u64,
    pub probes: u64,
    pub too_new: u64,
    pub missing_here: Entries,
    pub missing_there: Entries,
    pub doubled: Entries,
    pub unknown: Vec<String>,
}

impl Checked {
    fn new(tenant: &Tenant, window: Window) -> Checked {
        Checked {
            tenant: tenant.id,
            label: tenant.label.clone(),
            display_name: tenant.display_name.clone(),
            from: window.from,
            to: window.to,
            entered: 0,
            states: BTreeMap::new(),
            returned: BTreeMap::new(),
            traced: 0,
            left_out: Vec::new(),
            stopped_before: 0,
            not_yet_with_us: 0,
            not_ours: 0,
            probes: 0,
            too_new: 0,
            missing_here: Entries::default(),
            missing_there: Entries::default(),
            doubled: Entries::default(),
            unknown: Vec::new(),
        }
    }

    /// True where something is missing or doubled.
    pub fn is_wrong(&self) -> bool {
        self.missing_here.count + self.missing_there.count + self.doubled.count > 0
    }

    fn state(&mut self, state: FinalState) {
        self.entered += 1;
        *self.states.entry(state).or_default() += 1;
    }

    /// By the journal alone.
    fn tally(&mut self, account: &Account, window: Window) {
        match account.standing.as_ref().filter(|_| account.touches(window)) {
            Some(standing) if standing.probe => self.probes += 1,
            Some(standing) => self.state(standing.state),
            None => {}
        }
    }

    fn put(&mut self, key: &Key, account: &Account, found: Found) {
        let standing = account.standing.as_ref();
        let is_ours = !matches!(found, Found::Probe | Found::NotOurs);
        if let Some(standing) = standing.filter(|_| is_ours) {
            self.state(if let Found::Right(state, _) = &found { *state } else { standing.state });
        }
        let missing = matches!(found, Found::MissingHere(_));
        self.traced += u64::from(is_ours && account.traced.is_some() && (standing.is_some() || missing));
        match found {
            Found::Probe => self.probes += 1,
            Found::NotOurs => self.not_ours += 1,
            Found::StoppedBefore => self.stopped_before += 1,
            Found::NotYetWithUs => self.not_yet_with_us += 1,
            Found::TooNew => self.too_new += 1,
            Found::Right(_, None) => {}
            Found::Right(_, Some(fate)) => *self.returned.entry(fate).or_default() += 1,
            Found::LeftOut(reason) => match self.left_out.iter_mut().find(|l| l.reason == reason) {
                Some(known) => known.count += 1,
                None => self.left_out.push(LeftOut { count: 1, reason }),
            },
            Found::MissingHere(why) => self.missing_here.add(account.entry(key, why)),
            Found::MissingThere(why) => self.missing_there.add(account.entry(key, why)),
            Found::Doubled(why) => self.doubled.add(account.entry(key, why)),
        }
    }
}

/// Both sides of one message and recipient.
#[derive(Clone, Debug, Default)]
struct Account {
    standing: Option<Standing>,
    traced: Option<Traced>,
}

impl Account {
    fn first(&self) -> Timestamp {
        let here = self.standing.as_ref().and_then(|s| s.signs.first().copied());
        here.unwrap_or(Timestamp::MAX).min(self.traced.as_ref().map_or(Timestamp::MAX, Traced::first))
    }
    fn last(&self) -> Timestamp {
        let here = self.standing.as_ref().and_then(|s| s.signs.last().copied());
        here.unwrap_or(Timestamp::MIN).max(self.traced.as_ref().map_or(Timestamp::MIN, Traced::last))
    }
    /// Something of it happened in the window.
    fn touches(&self, window: Window) -> bool {
        let inside = |at: &Timestamp| (window.from..window.to).contains(at);
        self.standing.as_ref().is_some_and(|s| s.signs.iter().any(inside))
            || self.traced.as_ref().is_some_and(|t| inside(&t.first()) || inside(&t.last()))
    }
    fn entry(&self, key: &Key, why: Why) -> Entry {
        let (here, there) = (self.standing.as_ref(), self.traced.as_ref());
        let written = |here: Option<&String>, there: Option<&String>| there.or(here).cloned().unwrap_or_default();
        Entry {
            message_id: key.0.clone(),
            direction: here.and_then(|s| s.direction),
            sender: written(here.map(|s| &s.sender), there.map(|t| &t.sender)),
            recipient: written(here.map(|s| &s.recipient), there.map(|t| &t.recipient)),
            at: self.first(),
            state: here.map(|s| s.state),
            journeys: here.map(|s| s.journeys.clone()).unwrap_or_default(),
            text: why.to_string(),
            why,
        }
    }
}

/// Final states by our journal alone.
pub async fn count(id: TenantId, store: &Store, window: Window) -> Result<Checked> {
    let (tenant, _) = plan::acting(id, store).await?;
    let circumstances = Circumstances::read(&tenant, store).await?;
    let people = circumstances.people();
    let mut checked = Checked::new(&tenant, window);
    let mut walk = Walk::new(id, store, &people, window);
    while let Some(span) = walk.next_span() {
        walk.take(span, Vec::new()).await?.iter().for_each(|(_, account)| checked.tally(account, window));
    }
    walk.rest().iter().for_each(|(_, account)| checked.tally(account, window));
    Ok(checked)
}

/// Reads both sides span by span; `tell` hears how far it is.
pub async fn check(
    id: TenantId,
    client: &Client,
    store: &Store,
    settings: &Settings,
    window: Window,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Checked> {
    let (tenant, app) = plan::acting(id, store).await?;
    let (tenant, _) = as_applied(store, tenant, settings).await?;
    let circumstances = Circumstances::read(&tenant, store).await?;
    let people = circumstances.people();
    let known = circumstances.known(&tenant, &people, None);
    let circle = Circle {
        tenant: &tenant,
        zone: &settings.zone,
        known: &known,
        ours: settings.egress_address,
        now: client.now(),
        grace: window.grace,
    };
    let mut checked = Checked::new(&tenant, window);
    let mut suspects = Suspects::default();
    let mut walk = Walk::new(id, store, &people, window);
    while let Some(span) = walk.next_span() {
        let read = {
            let mut told = |wait| tell(Progress::Waiting(wait));
            trace::read(client, &app, span.0, span.1, &mut Pace::patient(&mut told)).await
        };
        let rows = match read {
            Ok(rows) => rows,
            Err(trace::Unread::TooMany) if walk.halve(span) => continue,
            Err(because) => {
                checked.unknown.push(format!("everything from {:.0} on: unknown because {because}", span.0));
                walk.stop();
                break;
            }
        };
        for (key, account) in walk.take(span, rows).await? {
            judge(&mut checked, &mut suspects, key, account, window, &circle);
        }
        tell(Progress::Read { to: span.1, end: window.to, messages: checked.entered });
    }
    for (key, account) in walk.rest() {
        judge(&mut checked, &mut suspects, key, account, window, &circle);
    }
    suspects.ask(&mut checked, client, &app, &people, &circle, tell).await;
    let unnamed = store.unnamed(id, window.from, window.to).await?;
    if unnamed > 0 {
        checked.unknown.push(format!("{unnamed} messages without a Message-ID: nothing can be matched with them"));
    }
    if checked.missing_here.listed.iter().any(|e| matches!(e.why, Why::Skipped { .. })) {
        // once more, with eyes for the reason
        let looked = look(id, client, store, settings).await.ok();
        let known = circumstances.known(&tenant, &people, looked.as_ref());
        for entry in &mut checked.missing_here.listed {
            let direction = crate::measured::direction(&tenant, &entry.sender, &entry.recipient, None);
            if let (Why::Skipped { because }, Some(direction)) = (&mut entry.why, direction) {
                *because = why(&known, direction, &entry.sender, &entry.recipient, entry.at);
                (entry.direction, entry.text) = (Some(direction), entry.why.to_string());
            }
        }
    }
    checked.left_out.sort_by_key(|l| std::cmp::Reverse(l.count));
    Ok(checked)
}

fn judge(
    checked: &mut Checked,
    suspects: &mut Suspects,
    key: Key,
    account: Account,
    window: Window,
    circle: &Circle<'_>,
) {
    if !account.touches(window) {
        return;
    }
    match reconcile(account.standing.as_ref(), account.traced.as_ref(), circle) {
        // the other line may stand outside of what was read
        Found::MissingThere(Why::NotReturned { .. } | Why::NotTraced) => suspects.add(checked, key, account),
        found => checked.put(&key, &account, found),
    }
}

/// What looks missing there, until it was asked for by name.
#[derive(Default)]
struct Suspects {
    named: Vec<(Key, Account)>,
    more: u64,
}

impl Suspects {
    fn add(&mut self, checked: &mut Checked, key: Key, account: Account) {
        if self.named.len() < limits::LEDGER_SUSPECTS_MAX {
            return self.named.push((key, account));
        }
        self.more += 1;
        checked.traced += u64::from(account.traced.is_some());
        if let Some(standing) = &account.standing {
            checked.state(standing.state);
        }
    }

    /// Each by its Message-ID, over all the time in which it may have a line.
    async fn ask(
        self,
        checked: &mut Checked,
        client: &Client,
        app: &m365::Identity,
        people: &crate::measured::People<'_>,
        circle: &Circle<'_>,
        tell: &mut (dyn FnMut(Progress) + Send),
    ) {
        if !self.named.is_empty() {
            tell(Progress::OneByOne { messages: self.named.len() });
        }
        let mut told = |wait| tell(Progress::Waiting(wait));
        let mut pace = Pace::patient(&mut told);
        let (mut unread, mut because) = (0u64, String::new());
        for (key, mut account) in self.named {
            match lines_of(client, app, &key, &account, circle.now, people, &mut pace).await {
                Ok(rows) => {
                    rows.iter().for_each(|row| match &mut account.traced {
                        Some(traced) => traced.add(row),
                        None => account.traced = Some(Traced::of(row)),
                    });
                    let found = reconcile(account.standing.as_ref(), account.traced.as_ref(), circle);
                    checked.put(&key, &account, found);
                }
                Err(why) => {
                    (unread, because) = (unread + 1, why);
                    if let Some(standing) = &account.standing {
                        checked.state(standing.state);
                    }
                }
            }
        }
        if unread > 0 {
            checked.unknown.push(format!("{unread} messages that may be missing there: unknown because {because}"));
        }
        if self.more > 0 {
            checked.unknown.push(format!(
                "{} more messages look missing there and were not asked for one by one; check a shorter window",
                self.more
            ));
        }
    }
}

/// From a day before its first sign, since it may have waited in Exchange Online before it came to us.
async fn lines_of(
    client: &Client,
    app: &m365::Identity,
    key: &Key,
    account: &Account,
    now: Timestamp,
    people: &crate::measured::People<'_>,
    pace: &mut Pace<'_>,
) -> std::result::Result<Vec<trace::TraceRow>, String> {
    let (mut from, end) = (account.first() - limits::LEDGER_UNDER_WAY, now.min(account.last() + limits::LEDGER_SPAN));
    if from < now - limits::TRACE_BACK {
        return Err("the trace does not go back to where it began".into());
    }
    let mut rows = Vec::new();
    while from < end {
        let to = end.min(from + limits::TRACE_SPAN);
        let read = trace::read_one(client, app, &key.0, (from, to), pace).await.map_err(|e| e.to_string())?;
        rows.extend(read.into_iter().filter(|r| people.whose(&r.recipient) == key.1 && !walk::is_expanded(r)));
        from = to;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
