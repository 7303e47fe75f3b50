#![allow(clippy::unwrap_used)]
use super::*;
use crate::look::Drift;
use crate::measured::people::Members;
use crate::objects::rules::tests::contoso;
use store::{Directory, Mailbox};

const ZONE: &str = "connect.example";

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_772_452_800 + minute * 60).unwrap()
}

fn row(id: &str, pass: u32, sender: &str, recipient: &str, minute: i64, status: &str) -> TraceRow {
    TraceRow {
        trace_id: format!("{id}-{pass}"),
        message_id: id.into(),
        received: at(minute),
        sender: sender.into(),
        recipient: recipient.into(),
        subject: "x".into(),
        status: status.into(),
        from_ip: None,
    }
}

fn passage(id: &str, recipients: &[&str], direction: Direction, outcome: Outcome) -> Passage {
    Passage {
        id: format!("j-{id}"),
        direction: Some(direction),
        started: at(0),
        sender: PAT.into(),
        recipients: recipients.iter().map(|r| (*r).to_owned()).collect(),
        message_id: Some(id.into()),
        bytes: 1,
        outcome,
        held: None,
        redirected_to: None,
        visits: 1,
        probe: None,
    }
}

/// Anna is in the group `inner`, which is in `outer`; Ben is in none.
fn directory() -> Directory {
    let mailbox = |id: &str, others: &[&str]| Mailbox {
        id: id.into(),
        address: format!("{id}@contoso.example"),
        display_name: id.into(),
        kind: "UserMailbox".into(),
        addresses: others.iter().map(|a| (*a).to_owned()).collect(),
    };
    Directory {
        users: vec![],
        groups: vec![],
        mailboxes: vec![mailbox("anna", &["a.alias@contoso.example"]), mailbox("ben", &[])],
    }
}

/// As the store answers for groups that hold one another.
fn members() -> Members {
    let anna = || std::collections::HashSet::from(["anna".to_owned()]);
    ["outer", "inner"].into_iter().map(|group| (format!("{group}@contoso.example"), anna())).collect()
}

fn drift(object: &str, what: &str, severity: Severity) -> Drift {
    Drift {
        severity,
        object: object.into(),
        what: what.into(),
        effect: "",
        who: None,
        repair: String::new(),
        kind: AlertKind::Tampered,
    }
}

struct Case {
    tenant: Tenant,
    drift: Vec<Drift>,
    changed: Option<Timestamp>,
    unchecked: Vec<(Timestamp, Timestamp, Vec<Direction>)>,
}

impl Case {
    fn new() -> Case {
        Case { tenant: contoso(), drift: Vec::new(), changed: None, unchecked: Vec::new() }
    }
    fn measure(&self, rows: &[TraceRow], passages: &[Passage]) -> Measured {
        let (directory, members) = (directory(), members());
        let known = Known {
            rollout: &self.tenant.rollout,
            people: &People::new(&directory, &members),
            drift: &self.drift,
            changed: self.changed,
            unchecked: &self.unchecked,
        };
        measure(&self.tenant, ZONE, rows, passages, &known, (at(0), at(60)))
    }
    /// Why one delivered message to Anna (or from Ben) was skipped.
    fn reason(&self, direction: Direction) -> Reason {
        let row = match direction {
            Direction::Inbound => row("m", 1, "pat@acme.example", "anna@contoso.example", 30, "Delivered"),
            Direction::Outbound => row("m", 1, "ben@contoso.example", "pat@acme.example", 30, "Delivered"),
        };
        self.measure(&[row], &[]).skips[0].reason.clone()
    }
}

const ANNA: &str = "anna@contoso.example";
const BEN: &str = "ben@contoso.example";
const PAT: &str = "pat@acme.example";

#[test]
fn two_passes_are_one_message_and_only_what_we_had_passed() {
    let rows = [
        row("in", 1, PAT, ANNA, 10, "Delivered"),
        row("in", 2, PAT, ANNA, 10, "Delivered"),
        row("out", 1, BEN, PAT, 11, "Delivered"),
        row("out", 2, BEN, PAT, 11, "Delivered"),
        // held here: Exchange delivered it to us, and nothing came back yet
        row("held", 1, PAT, BEN, 12, "Delivered"),
        // by an alias, which Exchange resolved
        row("alias", 1, PAT, ANNA, 13, "Delivered"),
        row("alias", 2, PAT, ANNA, 13, "Delivered"),
        // refused here for now, then delivered past us
        row("past", 1, PAT, BEN, 14, "Delivered"),
        row("waits", 1, PAT, BEN, 15, "Pending"),
        row("spam", 1, PAT, BEN, 15, "FilteredAsSpam"),
        // a group is its members
        row("list", 1, PAT, "outer@contoso.example", 16, "Expanded"),
        row("list", 1, PAT, ANNA, 16, "Delivered"),
        row("list", 1, PAT, BEN, 16, "Delivered"),
        // not ours
        row("inside", 1, ANNA, BEN, 17, "Delivered"),
        row("probe", 1, "probe@connect.example", ANNA, 18, "Delivered"),
        row("notice", 1, "notice@contoso.connect.example", ANNA, 18, "Delivered"),
        row("probe2", 1, BEN, "probe-abc@connect.example", 18, "Delivered"),
    ];
    let passages = [
        passage("in", &[ANNA], Direction::Inbound, Outcome::HandedBack),
        passage("out", &[PAT], Direction::Outbound, Outcome::HandedBack),
        passage("held", &[BEN], Direction::Inbound, Outcome::Held),
        passage("alias", &["A.Alias@contoso.example"], Direction::Inbound, Outcome::HandedBack),
        passage("past", &[BEN], Direction::Inbound, Outcome::Deferred),
        passage("list", &[ANNA], Direction::Inbound, Outcome::HandedBack),
    ];
    let measured = Case::new().measure(&rows, &passages);
    let inbound = &measured.inbound;
    assert_eq!((inbound.messages, inbound.passed, inbound.held, inbound.skipped), (6, 4, 1, 2), "{measured:#?}");
    assert_eq!((inbound.not_delivered, inbound.passed_percent), (2, Some(66)));
    assert_eq!((measured.outbound.messages, measured.outbound.passed_percent), (1, Some(100)));
    assert_eq!((measured.not_ours, measured.probes), (1, 3));
    let skipped: Vec<_> = measured.skips.iter().map(|s| (s.message_id.as_str(), s.recipient.as_str())).collect();
    assert_eq!(skipped, [("list", BEN), ("past", BEN)]);
}

#[test]
fn a_forged_sender_of_the_tenant_is_inbound_where_the_journal_says_so() {
    let rows = [row("spoof", 1, BEN, ANNA, 10, "Delivered")];
    let had = [passage("spoof", &[ANNA], Direction::Inbound, Outcome::HandedBack)];
    assert_eq!(Case::new().measure(&rows, &had).inbound.passed, 1);
    assert_eq!(Case::new().measure(&rows, &[]).not_ours, 1);
}

#[test]
fn a_reason_is_first_what_was_wished_then_what_is_seen_then_what_may_be() {
    let mut case = Case::new();
    let (inbound, outbound) = (Direction::Inbound, Direction::Outbound);
    assert_eq!(case.reason(inbound), Reason::Unknown);
    case.drift.push(drift("mail flow rule “Executives”", "stands above ours", Severity::Medium));
    assert_eq!(case.reason(inbound), Reason::OthersRule { object: "mail flow rule “Executives”".into() });
    case.changed = Some(at(1));
    assert_eq!(case.reason(inbound), Reason::JustChanged { at: at(1) });
    case.changed = Some(at(31));
    assert_eq!(case.reason(inbound), Reason::BeforeChange { at: at(31) });
    case.changed = Some(at(0));
    assert!(matches!(case.reason(inbound), Reason::OthersRule { .. }), "half an hour is over");
    case.drift.push(drift("mail flow rule “Posthouse inbound”", "is disabled", Severity::High));
    assert!(matches!(case.reason(inbound), Reason::OursDiffers { what, .. } if what == "is disabled"));
    assert!(matches!(case.reason(outbound), Reason::OthersRule { .. }), "the other rule is another");
    case.drift.push(drift("outbound connector “Posthouse to gateway”", "SmartHosts", Severity::High));
    assert!(matches!(case.reason(outbound), Reason::OursDiffers { object, .. } if object.contains("connector")));

    let rollout = &mut case.tenant.rollout;
    (rollout.inbound, rollout.outbound) = (Stage::Pilot, Stage::Audit);
    rollout.pilot_groups = vec!["empty@contoso.example".into()];
    assert_eq!(case.reason(inbound), Reason::NotInPilot);
    assert_eq!(case.reason(outbound), Reason::Audit);
    case.tenant.rollout.pilot_groups.push("Outer@contoso.example".into());
    assert!(matches!(case.reason(inbound), Reason::OursDiffers { .. }), "Anna is in the pilot, by a group in it");
    case.tenant.rollout.excluded_groups = vec!["inner@contoso.example".into()];
    assert_eq!(case.reason(inbound), Reason::Excluded { group: "inner@contoso.example".into() });
    case.tenant.rollout.outbound = Stage::Off;
    assert_eq!(case.reason(outbound), Reason::Off);
    let bounce = Case::new().measure(&[row("b", 1, "", ANNA, 30, "Delivered")], &[]);
    assert_eq!(bounce.skips[0].reason, Reason::NullSender);
}

#[test]
fn unseen_is_what_nobody_wished_and_what_had_its_time() {
    let mut case = Case::new();
    let rows: Vec<_> = (0..10).map(|n| row(&format!("m{n}"), 1, PAT, ANNA, 20 + n, "Delivered")).collect();
    let had = |n: usize| -> Vec<_> {
        (0..n).map(|n| passage(&format!("m{n}"), &[ANNA], Direction::Inbound, Outcome::HandedBack)).collect()
    };
    let severity = |case: &Case, n: usize| unseen(&case.tenant, &case.measure(&rows, &had(n))).severity();
    assert_eq!(severity(&case, 10), None);
    assert_eq!(severity(&case, 8), Some(Severity::Medium), "a fifth and not more");
    assert_eq!(severity(&case, 7), Some(Severity::High));
    let few = case.measure(&rows[..9], &[]);
    assert_eq!(unseen(&case.tenant, &few).severity(), Some(Severity::Medium), "too few to tell");
    let fresh = [row("now", 1, PAT, ANNA, 58, "Delivered")];
    assert_eq!(unseen(&case.tenant, &case.measure(&fresh, &[])).severity(), None, "it had no time yet");
    case.tenant.rollout.excluded_groups = vec!["inner@contoso.example".into()];
    assert_eq!(severity(&case, 0), None, "it was wished");
    case.tenant.rollout.excluded_groups.clear();
    case.changed = Some(at(25));
    assert_eq!(severity(&case, 0), None, "a new rule is not in effect yet");
    case.changed = None;
    case.tenant.rollout.inbound = Stage::Pilot;
    assert_eq!(severity(&case, 0), None, "not everybody's mail is to come by");
}

/// While the watchdog held inbound mail back, and neither before nor the other way; who is left out is left out still.
#[test]
fn mail_of_a_time_in_which_routing_was_off_is_known_as_that() {
    let mut case = Case::new();
    let window = |from: i64, to: i64| vec![(at(from), at(to), vec![Direction::Inbound])];
    case.unchecked = window(20, 40);
    assert_eq!(case.reason(Direction::Inbound), Reason::FailOpen { since: at(20) });
    assert!(case.reason(Direction::Inbound).is_wished());
    assert_eq!(case.reason(Direction::Outbound), Reason::Unknown);
    case.unchecked = window(31, 40);
    assert_eq!(case.reason(Direction::Inbound), Reason::Unknown);
}
