#![allow(clippy::unwrap_used)]
use super::state::standings;
use super::*;
use crate::measured::{Known, People, TraceRow};
use crate::objects::rules::tests::contoso;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use store::{Directory, Facts, HeldEvent, HeldStep, Kept, Outcome, Passage};
use tenant::Rollout;

const ZONE: &str = "connect.example";
const ANNA: &str = "anna@contoso.example";
const BEN: &str = "ben@contoso.example";
const PAT: &str = "pat@acme.example";
const ID: &str = "m@acme.example";

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_772_452_800 + minute * 60).unwrap()
}

/// One situation, told in the order in which it happened; minute by minute, Anna being the recipient unless said.
struct Told {
    name: &'static str,
    facts: Facts,
    rows: Vec<TraceRow>,
    rollout: Rollout,
    ours: Option<&'static str>,
    now: Timestamp,
}

fn told(name: &'static str) -> Told {
    Told { name, facts: Facts::default(), rows: vec![], rollout: Rollout::default(), ours: None, now: at(10 * 60) }
}

impl Told {
    fn journey(mut self, minute: i64, outcome: Outcome, to: &[&str]) -> Told {
        self.facts.passages.push(Passage {
            redirected_to: None,
            id: format!("j{minute}"),
            direction: Some(Direction::Inbound),
            started: at(minute),
            sender: PAT.into(),
            recipients: to.iter().map(|r| (*r).to_owned()).collect(),
            message_id: Some(ID.into()),
            bytes: 1000,
            outcome,
            held: matches!(outcome, Outcome::Held | Outcome::PartlyHeld).then(|| "h".into()),
            visits: 1,
            probe: None,
        });
        self
    }
    fn redirected(mut self, minute: i64, from: &[&str], to: &str) -> Told {
        self = self.journey(minute, Outcome::Redirected, from);
        self.facts.passages.last_mut().unwrap().redirected_to = Some(to.into());
        self
    }
    fn back(self, minute: i64) -> Told {
        self.journey(minute, Outcome::HandedBack, &[ANNA])
    }
    fn held(self, minute: i64) -> Told {
        self.journey(minute, Outcome::Held, &[ANNA])
    }
    fn deferred(self, minute: i64) -> Told {
        self.journey(minute, Outcome::Deferred, &[ANNA])
    }
    /// The last journey is of so many octets, for the how-manieth time.
    fn of(mut self, bytes: u64, visits: u32) -> Told {
        let last = self.facts.passages.last_mut().unwrap();
        (last.bytes, last.visits) = (bytes, visits);
        self
    }
    fn probe(mut self) -> Told {
        self.facts.passages.last_mut().unwrap().probe = Some("token".into());
        self
    }
    fn kept(mut self, to: &[&str]) -> Told {
        self.facts.kept.push(Kept {
            id: "h".into(),
            at: at(0),
            direction: Direction::Inbound,
            message_id: Some(ID.into()),
            recipients: to.iter().map(|r| (*r).to_owned()).collect(),
            probe: false,
        });
        self
    }
    fn step(mut self, minute: i64, step: HeldStep) -> Told {
        self.facts.history.push(HeldEvent {
            held: "h".into(),
            at: at(minute),
            step,
            journey: "j0".into(),
            direction: Direction::Inbound,
            message_id: Some(ID.into()),
            recipients: vec![ANNA.into()],
            probe: false,
            answer: String::new(),
        });
        self
    }
    fn line_of(mut self, minute: i64, recipient: &str, status: &str, ip: &str) -> Told {
        self.rows.push(TraceRow {
            trace_id: format!("t{}", self.rows.len()),
            message_id: ID.into(),
            received: at(minute),
            sender: PAT.into(),
            recipient: recipient.into(),
            subject: "x".into(),
            status: status.into(),
            from_ip: ip.parse().ok(),
        });
        self
    }
    fn from(mut self, sender: &str) -> Told {
        self.rows.last_mut().unwrap().sender = sender.into();
        self
    }
    fn came(self, minute: i64, status: &str) -> Told {
        self.line_of(minute, ANNA, status, "198.51.100.7")
    }
    fn returned(self, minute: i64, status: &str) -> Told {
        self.line_of(minute, ANNA, status, "203.0.113.5")
    }
    fn rollout(mut self, change: impl Fn(&mut Rollout)) -> Told {
        change(&mut self.rollout);
        self
    }
    fn ours(mut self) -> Told {
        self.ours = Some("203.0.113.5");
        self
    }
    fn just_now(mut self) -> Told {
        self.now = at(1);
        self
    }

    fn text(&self) -> String {
        let directory = Directory { users: vec![], groups: vec![], mailboxes: vec![] };
        let members = HashMap::from([("vip@contoso.example".to_owned(), HashSet::from([ANNA.to_owned()]))]);
        let people = People::new(&directory, &members);
        let tenant = tenant::Tenant { rollout: self.rollout.clone(), ..contoso() };
        let known = Known { rollout: &tenant.rollout, people: &people, drift: &[], changed: None, unchecked: &[] };
        let ours = self.ours.map(|ip| ip.parse().unwrap());
        let circle =
            Circle { tenant: &tenant, zone: ZONE, known: &known, ours, now: self.now, grace: limits::LEDGER_GRACE };
        let mut accounts: BTreeMap<Key, Account> = BTreeMap::new();
        for (key, standing) in standings(&self.facts, &people) {
            accounts.entry(key).or_default().standing = Some(standing);
        }
        for row in &self.rows {
            let traced = &mut accounts.entry((ID.into(), people.whose(&row.recipient))).or_default().traced;
            match traced {
                Some(traced) => traced.add(row),
                none => *none = Some(Traced::of(row)),
            }
        }
        let mut out = format!("{}\n", self.name);
        for ((_, person), account) in &accounts {
            let state = account.standing.as_ref().map_or("not in the journal".into(), |s| s.state.to_string());
            let found = match reconcile(account.standing.as_ref(), account.traced.as_ref(), &circle) {
                Found::Right(state, Some(fate)) => format!("right, {state}: {fate}"),
                Found::Right(state, None) => format!("right, {state}"),
                Found::LeftOut(reason) => format!("left out: {reason}"),
                Found::MissingHere(why) => format!("MISSING HERE: {why}"),
                Found::MissingThere(why) => format!("MISSING THERE: {why}"),
                Found::Doubled(why) => format!("DOUBLED: {why}"),
                plain => format!("{plain:?}"),
            };
            let who = person.split('@').next().unwrap();
            writeln!(out, "    {who}: {state} -> {found}").unwrap();
        }
        out
    }
}

fn situations() -> Vec<Told> {
    use HeldStep as S;
    use Outcome as O;
    let seen = |name| told(name).came(0, "Delivered");
    let fork = |name| {
        seen(name).line_of(0, BEN, "Delivered", "198.51.100.7").journey(0, O::PartlyHeld, &[ANNA, BEN]).line_of(
            0,
            BEN,
            "Delivered",
            "203.0.113.5",
        )
    };
    let leave_out = |r: &mut Rollout| r.excluded_groups = vec!["vip@contoso.example".into()];
    vec![
        seen("handed back and delivered").back(0).returned(0, "Delivered"),
        seen("handed back, and an external server is slow").back(0).returned(0, "Pending"),
        seen("handed back, and the mailbox is full").back(0).returned(0, "Failed"),
        seen("handed back, and Exchange's own filter took it").back(0).returned(0, "Quarantined"),
        seen("handed back, and under way for more than a day").back(0).returned(0, "Pending").at_last(),
        seen("refused for now twice, then handed back").deferred(0).deferred(5).back(10).returned(10, "Delivered"),
        told("refused for now, waits in Exchange Online").came(0, "Pending").deferred(0),
        told("refused for now for a day, given up").came(0, "Failed").deferred(0).deferred(1400),
        told("refused for good, bounced").came(0, "Failed").journey(0, O::Refused, &[ANNA]),
        seen("deleted by the policy, once though it came twice").journey(0, O::Deleted, &[ANNA]).journey(
            5,
            O::Deleted,
            &[ANNA],
        ),
        seen("held").held(0).kept(&[ANNA]),
        seen("held once though it came twice").held(0).held(5).kept(&[ANNA]),
        seen("held, a release was refused").held(0).kept(&[ANNA]).step(9, S::Refused),
        seen("held, then released").held(0).step(9, S::Released).returned(9, "Delivered"),
        seen("held, then deleted").held(0).step(9, S::Deleted),
        seen("held until its time was over").held(0).step(9, S::Expired),
        fork("one recipient handed back, the other held").kept(&[ANNA]),
        fork("one handed back, the other released later").step(60, S::Released).returned(60, "Delivered"),
        seen("a probe that arrived").journey(0, O::Swallowed, &[ANNA]).probe(),
        told("a notice of ours in the trace alone")
            .line_of(0, ANNA, "Delivered", "203.0.113.5")
            .from("notice@contoso.connect.example"),
        told("a probe in the trace alone").line_of(0, "probe-x@connect.example", "Delivered", ""),
        seen("two messages under one Message-ID")
            .came(1, "Delivered")
            .back(0)
            .back(1)
            .of(1200, 1)
            .returned(0, "Delivered")
            .returned(1, "Delivered"),
        seen("one of them held, the other handed back")
            .came(1, "Delivered")
            .held(0)
            .kept(&[ANNA])
            .back(1)
            .of(1200, 1)
            .returned(1, "Delivered"),
        seen("a rule lost its exception: through us twice")
            .back(0)
            .returned(0, "Delivered")
            .back(0)
            .of(1300, 2)
            .returned(0, "Delivered"),
        seen("our answer was lost: handed back again")
            .back(0)
            .back(5)
            .returned(0, "Delivered")
            .returned(5, "Delivered"),
        seen("killed between Microsoft's yes and the journal")
            .back(5)
            .returned(0, "Delivered")
            .returned(5, "Delivered"),
        seen("Microsoft's yes was lost on the way to us")
            .deferred(0)
            .back(5)
            .returned(0, "Delivered")
            .returned(5, "Delivered"),
        seen("held, then handed back at the next try").held(0).kept(&[ANNA]).back(5).returned(5, "Delivered"),
        seen("held, handed back at the next try, and released")
            .held(0)
            .step(9, S::Released)
            .back(5)
            .returned(5, "Delivered")
            .returned(9, "Delivered"),
        seen("released twice")
            .held(0)
            .step(9, S::Released)
            .step(10, S::Released)
            .returned(9, "Delivered")
            .returned(10, "Delivered"),
        told("refused for good, then handed back")
            .came(0, "Failed")
            .journey(0, O::Refused, &[ANNA])
            .back(5)
            .returned(5, "Delivered"),
        seen("Microsoft took it, and it disappeared").back(0),
        seen("released, and it disappeared").held(0).step(9, S::Released),
        seen("redirected to somebody else").redirected(0, &[ANNA], BEN).line_of(0, BEN, "Delivered", "203.0.113.5"),
        seen("redirected among its recipients")
            .line_of(0, BEN, "Delivered", "198.51.100.7")
            .redirected(0, &[ANNA, BEN], BEN)
            .line_of(0, BEN, "Delivered", "203.0.113.5"),
        told("redirected, and the trace has nothing of it").redirected(0, &[ANNA], BEN),
        told("the trace has nothing of it").back(0),
        told("held, and the trace has nothing of it").held(0).kept(&[ANNA]),
        seen("handed back this minute").back(0).just_now(),
        seen("a journal row was lost").returned(0, "Delivered"),
        seen("a journal row was lost, our address is known").returned(0, "Delivered").ours(),
        seen("a sender sent twice past us, our address is known").came(1, "Delivered").ours(),
        seen("the journal row of a held message was lost").kept(&[ANNA]),
        seen("held by the journal, and gone").held(0),
        seen("held, and delivered by another pass").held(0).kept(&[ANNA]).returned(3, "Delivered"),
        seen("deleted, and delivered all the same").held(0).step(1, S::Deleted).returned(3, "Delivered"),
        seen("refused for now, then delivered without us").deferred(0),
        seen("the same after the rule was switched off").deferred(0).rollout(|r| r.inbound = tenant::Stage::Off),
        seen("never came by us"),
        seen("never came by us, and was not to").rollout(leave_out),
        seen("sent twice to somebody who is left out").came(1, "Delivered").rollout(leave_out),
        told("on its way to us").came(0, "Pending"),
        told("stopped by Exchange's filter before us").came(0, "Quarantined"),
        told("mail that is not of this tenant").line_of(0, "x@fabrikam.example", "Delivered", ""),
    ]
}

impl Told {
    fn at_last(mut self) -> Told {
        self.now = at(3 * 24 * 60);
        self
    }
}

/// Every situation and what the ledger makes of it.
#[test]
fn situations_and_what_the_ledger_makes_of_them() {
    let page: String = situations().iter().map(Told::text).collect();
    insta::assert_snapshot!(page);
}

/// Whatever is told, and in whatever order: the state is one, and it is the same.
#[test]
fn the_order_in_which_facts_are_read_changes_no_state() {
    let (directory, members) = (Directory { users: vec![], groups: vec![], mailboxes: vec![] }, HashMap::new());
    let people = People::new(&directory, &members);
    for told in situations() {
        let mut turned = told.facts.clone();
        turned.kept.reverse();
        turned.history.reverse();
        let states =
            |facts: &Facts| standings(facts, &people).into_iter().map(|(k, s)| (k, s.state)).collect::<Vec<_>>();
        assert_eq!(states(&told.facts), states(&turned), "{}", told.name);
    }
}

#[test]
fn the_check_as_people_read_it() {
    let tenant = contoso();
    let mut checked = Checked::new(&tenant, Window { from: at(0), to: at(60), grace: limits::LEDGER_GRACE });
    for _ in 0..12_300 {
        checked.state(FinalState::HandedBack);
    }
    for state in [FinalState::Held, FinalState::Deferred, FinalState::Deferred] {
        checked.state(state);
    }
    (checked.traced, checked.too_new, checked.probes) = (12_303, 2, 4);
    checked.returned = BTreeMap::from([(Fate::Delivered, 12_295), (Fate::Failed, 5)]);
    checked.left_out.push(LeftOut { count: 1_200, reason: Reason::NotInPilot });
    let right = checked.to_string();
    let account = Account { standing: None, traced: None };
    for n in 0..22 {
        let key = (format!("m{n}@acme.example"), ANNA.to_owned());
        let mut entry = account.entry(&key, Why::NoJournal { passes: 2 });
        (entry.recipient, entry.at, entry.journeys) = (ANNA.into(), at(n), vec!["0193".into()]);
        checked.missing_here.add(entry);
    }
    checked.unknown.push("everything from … on: unknown because it is throttled".into());
    insta::assert_snapshot!(format!("{right}\n\n{checked}"));
}

/// A journal on disk with these tries of message `m`, each at its minute.
async fn journal(dir: &std::path::Path, tries: &[(i64, Outcome)]) -> Store {
    let store = Store::open(dir).await.unwrap();
    for (minute, outcome) in tries {
        let entry = store::JourneyEntry {
            id: format!("j{minute}"),
            tenant: Some(contoso().id),
            direction: Some(Direction::Inbound),
            started: at(*minute),
            peer: String::new(),
            sender: PAT.into(),
            recipients: vec![ANNA.into()],
            message_id: Some(ID.into()),
            subject: None,
            from: None,
            reply_to: None,
            bytes: 1000,
            proofs: Default::default(),
            anomalies: vec![],
            judged_with: None,
            judged: true,
            edits: Vec::new(),
            findings: vec![],
            engines: vec![],
            decision: None,
            outcome: *outcome,
            reply: String::new(),
            returned: None,
            held: None,
            redirected_to: None,
            visits: 1,
            probe: None,
            newest_token: false,
            steps: vec![],
        };
        store.put_journey(&entry).await.unwrap();
    }
    store
}

/// Each span's rows handed to the walk, and when it gave out what: span, passes, tries.
async fn walked(store: &Store, rows: &[TraceRow], hours: i64) -> Vec<(usize, u64, usize)> {
    let (directory, members) = (Directory { users: vec![], groups: vec![], mailboxes: vec![] }, HashMap::new());
    let people = People::new(&directory, &members);
    let window = Window { from: at(0), to: at(hours * 60), grace: limits::LEDGER_GRACE };
    let mut walk = Walk::new(contoso().id, store, &people, window);
    let (mut out, mut span_no) = (Vec::new(), 0);
    let passes = |a: &Account| a.traced.as_ref().map_or(0, Traced::passes);
    let tries = |a: &Account| a.standing.as_ref().map_or(0, |s| s.journeys.len());
    while let Some(span) = walk.next_span() {
        // a line at the seam is read with both spans
        let inside = rows.iter().filter(|r| (span.0..=span.1).contains(&r.received)).cloned().collect();
        let given = walk.take(span, inside).await.unwrap();
        out.extend(given.iter().map(|(_, a)| (span_no, passes(a), tries(a))));
        span_no += 1;
    }
    out.extend(walk.rest().iter().map(|(_, a)| (span_no, passes(a), tries(a))));
    out
}

/// Spans begin ten minutes before the window: 50, 110, 170 … are the seams.
#[tokio::test]
async fn a_message_is_given_out_once_and_when_its_last_sign_is_past() {
    let dir = tempfile::tempdir().unwrap();
    let store =
        journal(dir.path(), &[(5, Outcome::Deferred), (20, Outcome::Deferred), (200, Outcome::HandedBack)]).await;
    let rows = told("").came(5, "Delivered").returned(200, "Delivered").rows;
    assert_eq!(walked(&store, &rows, 6).await, [(3, 2, 3)], "kept over two spans in which nothing happened");
    // a line long after: of one message with it, and not counted again
    let late = told("").came(5, "Delivered").returned(200, "Delivered").returned(330, "Delivered").rows;
    assert_eq!(walked(&store, &late, 6).await, [(3, 2, 3)]);
    let seam = told("").came(50, "Delivered").rows;
    let other = tempfile::tempdir().unwrap();
    let empty = journal(other.path(), &[]).await;
    assert_eq!(walked(&empty, &seam, 6).await, [(1, 1, 0)], "read twice, once a message");
    let near = journal(other.path(), &[(49, Outcome::HandedBack)]).await;
    let rows = told("").came(49, "Delivered").returned(51, "Delivered").rows;
    assert_eq!(walked(&near, &rows, 6).await, [(1, 2, 1)], "a pass over a seam");
    assert_eq!(walked(&near, &[], 6).await, [(1, 0, 1)], "the journal alone");
}

#[tokio::test]
async fn a_span_with_too_many_lines_is_halved_down_to_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal(dir.path(), &[]).await;
    let (directory, members) = (Directory { users: vec![], groups: vec![], mailboxes: vec![] }, HashMap::new());
    let people = People::new(&directory, &members);
    let window = Window { from: at(0), to: at(60), grace: limits::LEDGER_GRACE };
    let mut walk = Walk::new(contoso().id, &store, &people, window);
    let (mut halvings, mut span) = (0, walk.next_span().unwrap());
    assert_eq!(span, (at(-10), at(50)));
    while walk.halve(span) {
        span = walk.next_span().unwrap();
        halvings += 1;
    }
    assert_eq!((halvings, span.0), (5, at(-10)));
    let mut end = span.1;
    while let Some((from, to)) = walk.next_span() {
        assert_eq!(from, end, "no time is left out");
        end = to;
    }
    assert_eq!(end, at(70));
}
