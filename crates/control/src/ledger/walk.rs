//! The way through a window, span by span, both sides at once. A message stays here while it may still have another
//! line or journey, and is given out once; so no more is in memory than a span and what was under way longer.

use super::state::{Key, standings};
use super::{Account, Traced, Window};
use crate::limits;
use crate::measured::{People, TraceRow};
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap, HashSet};
use store::Store;
use tenant::TenantId;

pub(super) type Span = (Timestamp, Timestamp);

pub(super) struct Walk<'w> {
    tenant: TenantId,
    store: &'w Store,
    people: &'w People<'w>,
    /// The next one last.
    spans: Vec<Span>,
    began: Timestamp,
    open: HashMap<Key, Account>,
    stopped: bool,
}

/// What only was a group, and became its members, is nobody's message.
pub(super) fn is_expanded(row: &TraceRow) -> bool {
    row.status.eq_ignore_ascii_case("Expanded")
}

impl<'w> Walk<'w> {
    /// With a margin at both ends; what touches only a margin is for whoever judges to leave out.
    pub(super) fn new(tenant: TenantId, store: &'w Store, people: &'w People<'w>, window: Window) -> Walk<'w> {
        let began = window.from - limits::LEDGER_MARGIN;
        let end = (window.to + limits::LEDGER_MARGIN).min(Timestamp::now().max(window.to));
        let (mut spans, mut from) = (Vec::new(), began);
        while from < end {
            let to = end.min(from + limits::LEDGER_SPAN);
            spans.push((from, to));
            from = to;
        }
        spans.reverse();
        Walk { tenant, store, people, spans, began, open: HashMap::new(), stopped: false }
    }

    pub(super) fn next_span(&mut self) -> Option<Span> {
        self.spans.pop()
    }

    /// The span is given out again in two halves, unless it is too short for that.
    pub(super) fn halve(&mut self, (from, to): Span) -> bool {
        let half = to.duration_since(from) / 2;
        if half < limits::LEDGER_SPAN_MIN {
            return false;
        }
        self.spans.push((from + half, to));
        self.spans.push((from, from + half));
        true
    }

    /// No more is read: what is not given out yet cannot be judged.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Everything that this span tells; returns what will hear no more.
    pub(super) async fn take(&mut self, span: Span, rows: Vec<TraceRow>) -> crate::Result<Vec<(Key, Account)>> {
        let mut ids: BTreeSet<String> = rows.iter().map(|r| r.message_id.clone()).collect();
        ids.extend(self.store.message_ids(self.tenant, span.0, span.1).await?);
        let ids: Vec<String> = ids.into_iter().collect();
        let mut past: HashSet<Key> = HashSet::new();
        for some in ids.chunks(limits::LEDGER_IDS) {
            let facts = self.store.facts(self.tenant, some).await?;
            for (key, standing) in standings(&facts, self.people) {
                if self.open.contains_key(&key) {
                    continue;
                }
                // it was met in an earlier span, and is given out already
                if standing.signs.iter().any(|at| (self.began..span.0).contains(at)) {
                    past.insert(key);
                } else {
                    self.open.insert(key, Account { standing: Some(standing), traced: None });
                }
            }
        }
        for row in rows.iter().filter(|r| !is_expanded(r)) {
            let key = (row.message_id.clone(), self.people.whose(&row.recipient));
            if past.contains(&key) {
                continue;
            }
            match &mut self.open.entry(key).or_default().traced {
                Some(traced) => traced.add(row),
                none => *none = Some(Traced::of(row)),
            }
        }
        let over = |_: &Key, account: &mut Account| account.last() + limits::LEDGER_MARGIN <= span.1;
        Ok(self.open.extract_if(over).collect())
    }

    /// What was still open at the end.
    pub(super) fn rest(self) -> Vec<(Key, Account)> {
        if self.stopped { Vec::new() } else { self.open.into_iter().collect() }
    }
}
