//! The store as its users see it: on disk, over a restart, with more than one process.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use store::{
    AlertKind, DeliveryState, DirectoryPage, HeldEvent, HeldStep, HoldReason, JourneyEntry, JourneyFilter, NewHold,
    NoticeTarget, Outcome, Probe, ProbeArrival, Severity, Store, SyncKind, Told, Tried, UserChange, ZoneRecord,
};
use tenant::{Direction, MarkSecrets, Policy, ReturnCertificate, Rollout, Routing, Secret, Tenant, TenantId};
use uuid::Uuid;

const ID: TenantId = TenantId(Uuid::from_u128(7));
const HOUR: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
const SECRET: &str = "a-secret-that-must-not-rest-in-the-clear";

fn contoso() -> Tenant {
    Tenant {
        id: ID,
        label: "contoso".into(),
        display_name: "Contoso".into(),
        initial_domain: "contoso.onmicrosoft.com".into(),
        domains: vec!["contoso.example".into()],
        connector_domain: "contoso.connect.example".into(),
        return_host: "contoso-example.mail.protection.outlook.com".into(),
        pass: MarkSecrets::new(Secret::new(SECRET)),
        route: MarkSecrets::new(Secret::new(SECRET)),
        certificate: ReturnCertificate { chain_pem: String::new(), key_pem: Secret::new(SECRET) },
        policy: Policy::default(),
        routing: Routing::Proven,
        rollout: Rollout::default(),
        closed: Vec::new(),
    }
}

fn pieces(raw: &'static [u8]) -> mail::Pieces {
    bytes::Bytes::from_static(raw).into()
}

fn hold(key: &str) -> NewHold {
    NewHold {
        tenant: ID,
        direction: Direction::Inbound,
        journey: "j".into(),
        envelope: mail::Envelope::new("", ["anna@contoso.example"]),
        reason: HoldReason::Judged,
        why: vec!["because".into()],
        message_id: None,
        subject: None,
        from: None,
        key: key.into(),
        probe: false,
        category: None,
        because: verdict::Because::default(),
        malware: false,
        marks: verdict::Marks::default(),
    }
}

fn journey(id: &str, sender: &str) -> JourneyEntry {
    JourneyEntry {
        id: id.into(),
        tenant: Some(ID),
        direction: Some(Direction::Inbound),
        started: jiff::Timestamp::now(),
        peer: "127.0.0.1:1".into(),
        sender: sender.into(),
        recipients: vec!["Anna@contoso.example".into()],
        message_id: Some(format!("{id}@x")),
        subject: None,
        from: None,
        reply_to: None,
        bytes: 1,
        proofs: verdict::Proofs::default(),
        anomalies: vec![],
        engines: vec![],
        findings: vec![],
        judged_with: None,
        judged: true,
        decision: None,
        edits: Vec::new(),
        outcome: Outcome::HandedBack,
        reply: "250".into(),
        returned: None,
        held: None,
        redirected_to: None,
        visits: 1,
        probe: None,
        newest_token: false,
        steps: vec![],
    }
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_data_directory_is_private_and_secrets_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = Store::open(&data).await.unwrap();
    store.put_tenant(&contoso()).await.unwrap();
    store.put_step(ID, "application", &json!({"key": SECRET})).await.unwrap();
    assert_eq!(store.tenant(ID).await.unwrap().unwrap().pass.current.expose(), SECRET);
    store.close().await;
    assert_eq!((mode(&data), mode(&data.join("secret.key"))), (0o700, 0o600));
    for file in std::fs::read_dir(&data).unwrap().flatten().filter(|f| f.path().is_file()) {
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(
            !bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes()),
            "{} shows a secret",
            file.path().display()
        );
    }
    // with another key nothing can be read, and nothing is taken for empty
    std::fs::write(data.join("secret.key"), [7u8; 32]).unwrap();
    let stranger = Store::open(&data).await;
    let seen = match &stranger {
        Ok(store) => store.tenants().await.map(|t| t.len()).map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    assert!(seen.is_err(), "{seen:?}");
}

/// Exchange Online hands one message over in parts, each for some of its recipients.
#[tokio::test]
async fn the_parts_of_one_message_are_held_once_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let of = |people: &[&str]| {
        let mut part = hold("same");
        part.envelope.recipients = people.iter().map(|p| mail::Recipient::new(*p)).collect();
        part
    };
    let parts: [&[&str]; 4] = [&["a@x", "b@x"], &["c@x"], &["b@x", "d@x"], &["a@x"]];
    let mut at_once = tokio::task::JoinSet::new();
    for part in parts {
        let (store, part) = (store.clone(), of(part));
        at_once.spawn(async move { store.hold(&part, &pieces(b"one")).await.unwrap() });
    }
    let ids = at_once.join_all().await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let held = store.held(Some(ID)).await.unwrap();
    let mut people: Vec<_> = held[0].hold.envelope.recipients.iter().map(|r| r.address.as_str()).collect();
    people.sort_unstable();
    assert_eq!((held.len(), people), (1, vec!["a@x", "b@x", "c@x", "d@x"]));
    assert_eq!(std::fs::read_dir(dir.path().join("bodies")).unwrap().count(), 1, "one body");
}

#[tokio::test]
async fn what_is_held_is_there_after_a_restart_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let raw = b"anything\0at all\r\n";
    let id = store.hold(&hold("k"), &pieces(raw)).await.unwrap();
    assert_eq!(store.hold(&hold("k"), &pieces(raw)).await.unwrap(), id, "a second try stores nothing twice");
    let other = store.hold(&hold("l"), &pieces(b"other")).await.unwrap();
    store.close().await;
    let store = Store::open(dir.path()).await.unwrap();
    assert_eq!(store.held(Some(ID)).await.unwrap().len(), 2);
    assert_eq!(&store.held_body(&id).await.unwrap()[..], raw);
    assert_eq!(mode(&dir.path().join("bodies").join(format!("{id}.eml"))), 0o600);
    store.delete_held(&id).await.unwrap();
    store.delete_held(&id).await.unwrap();
    assert!(store.held_one(&id).await.unwrap().is_none() && store.held_body(&id).await.is_err());
    assert_eq!(store.held_one(&other[..other.len() - 3]).await.unwrap().unwrap().id, other, "a beginning is enough");
}

/// Whatever becomes of a held message is known afterwards, and by one step for each recipient.
#[tokio::test]
async fn what_became_of_a_held_message_stays_known() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let named = |id: &str, people: &[&str]| NewHold {
        message_id: Some(id.into()),
        envelope: mail::Envelope::new("", people.iter().map(|p| p.to_string())),
        ..hold(id)
    };
    let (from, to) = (jiff::Timestamp::now() - HOUR, jiff::Timestamp::now() + HOUR);
    let one = async |id: &str| store.held_one(id).await.unwrap().unwrap();
    let both = named("both@x", &["anna@contoso.example", "ben@contoso.example"]);
    let id = store.hold(&both, &pieces(b"both")).await.unwrap();
    store.put_release_refused(&one(&id).await, "450 4.2.1 busy").await.unwrap();
    let rest = NewHold { key: "both:1".into(), ..named("both@x", &["ben@contoso.example"]) };
    store.end_partly(&one(&id).await, HeldStep::Released, &rest, "250 2.6.0").await.unwrap();
    assert_eq!(&store.held_body(&id).await.unwrap()[..], b"both", "the rest has its body");
    let gone = store.hold(&named("gone@x", &["anna@contoso.example"]), &pieces(b"gone")).await.unwrap();
    store.delete_held(&gone).await.unwrap();
    store.put_journey(&journey("j1", "pat@acme.example")).await.unwrap();

    assert_eq!(store.message_ids(ID, from, to).await.unwrap(), ["both@x", "gone@x", "j1@x"]);
    assert!(store.message_ids(ID, to, to + HOUR).await.unwrap().is_empty());
    assert!(store.message_ids(TenantId(Uuid::nil()), from, to).await.unwrap().is_empty());
    let facts = store.facts(ID, &["both@x".into(), "gone@x".into(), "j1@x".into()]).await.unwrap();
    let told = |e: &HeldEvent| format!("{} {:?} {} {}", e.held == id, e.step, e.recipients.len(), e.answer);
    let steps: Vec<_> = facts.history.iter().map(told).collect();
    assert_eq!(steps, ["true Refused 2 450 4.2.1 busy", "true Released 1 250 2.6.0", "false Deleted 1 "]);
    assert_eq!(facts.kept.iter().map(|k| k.recipients.clone()).collect::<Vec<_>>(), [["ben@contoso.example"]]);
    assert_eq!(facts.passages.len(), 1);
    let others = store.facts(TenantId(Uuid::nil()), &["both@x".into(), "j1@x".into()]).await.unwrap();
    assert_eq!((others.passages.len(), others.kept.len(), others.history.len()), (0, 0, 0), "of another tenant");
    store.end_held(&one(&id).await, HeldStep::Released, "250").await.unwrap();
    let facts = store.facts(ID, &["both@x".into()]).await.unwrap();
    assert_eq!((facts.kept.len(), facts.history.len()), (0, 3));
    store.forget_before(to).await.unwrap();
    assert!(store.message_ids(ID, from, to).await.unwrap().is_empty());
}

#[tokio::test]
async fn journeys_are_found_by_what_people_know() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    store.put_journey(&journey("01-a", "pat@acme.example")).await.unwrap();
    store.put_journey(&journey("02-b", "")).await.unwrap();
    let count = async |filter: JourneyFilter| store.journeys(&filter).await.unwrap().len();
    assert_eq!(count(JourneyFilter::default()).await, 2);
    assert_eq!(count(JourneyFilter { limit: 1, ..JourneyFilter::default() }).await, 1);
    assert_eq!(count(JourneyFilter { address: Some("PAT@".into()), ..JourneyFilter::default() }).await, 1);
    assert_eq!(count(JourneyFilter { address: Some("anna@contoso".into()), ..JourneyFilter::default() }).await, 2);
    assert_eq!(count(JourneyFilter { message_id: Some("02-b@x".into()), ..JourneyFilter::default() }).await, 1);
    assert_eq!(count(JourneyFilter { tenant: Some(TenantId(Uuid::nil())), ..JourneyFilter::default() }).await, 0);
    assert_eq!(store.journey("01").await.unwrap().unwrap().id, "01-a");
    assert!(store.journey("0").await.is_err(), "two begin so");
    assert!(store.journey("%").await.unwrap().is_none());
    store.raise_alert(AlertKind::Other, None, "a", "b").await.unwrap();
    let hour = jiff::SignedDuration::from_hours(1);
    assert_eq!(store.forget_before(jiff::Timestamp::now() - hour).await.unwrap(), 0);
    assert_eq!(store.forget_before(jiff::Timestamp::now() + hour).await.unwrap(), 3);
    assert!(store.journeys(&JourneyFilter::default()).await.unwrap().is_empty());
}

/// What another process wrote between reading and writing is not lost.
#[tokio::test]
async fn a_part_of_a_tenant_is_changed_as_it_is_now() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Store::open(dir.path()).await.unwrap(), Store::open(dir.path()).await.unwrap());
    one.put_tenant(&contoso()).await.unwrap();
    let stale = two.tenant(ID).await.unwrap().unwrap();
    one.change_tenant(ID, |t| t.policy.self_heal = true).await.unwrap();
    two.change_tenant(stale.id, |t| t.domains.push("new.example".into())).await.unwrap();
    let now = one.tenant(ID).await.unwrap().unwrap();
    assert!(now.policy.self_heal && now.domains.len() == 2);
    assert!(one.change_tenant(TenantId(Uuid::nil()), |_| ()).await.unwrap().is_none());
}

#[tokio::test]
async fn repeated_alerts_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    for _ in 0..5 {
        store.raise_alert(AlertKind::UntrustedPeer, None, "10.0.0.1", "again").await.unwrap();
    }
    store.raise_alert(AlertKind::UntrustedPeer, None, "10.0.0.2", "once").await.unwrap();
    let counts: Vec<_> = store.alerts().await.unwrap().iter().map(|a| (a.subject.clone(), a.count)).collect();
    assert_eq!(counts.len(), 2);
    assert!(counts.contains(&("10.0.0.1".into(), 5)), "{counts:?}");
}

/// First occurrence and each rise of severity, to whoever wants it; never a repetition.
#[tokio::test]
async fn an_alert_is_posted_once_and_again_when_it_gets_worse() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let target = |name: &str, least, tenants| NoticeTarget { name: name.into(), least, tenants };
    let targets = [
        target("all", Severity::Low, vec![]),
        target("grave", Severity::High, vec![]),
        target("others", Severity::Low, vec![TenantId(Uuid::from_u128(8))]),
    ];
    store.set_notice_targets(&targets).await.unwrap();
    let raise = async |severity| store.raise_alert_of(severity, AlertKind::Tampered, Some(ID), "a rule", "x").await;
    for severity in [Severity::Medium, Severity::Medium, Severity::High, Severity::Low, Severity::High] {
        raise(severity).await.unwrap();
    }
    drop(store);
    let store = Store::open(dir.path()).await.unwrap();
    let alerts = store.alerts().await.unwrap();
    assert_eq!((alerts.len(), alerts[0].count, alerts[0].severity), (1, 5, Severity::High));
    let told: Vec<_> = alerts[0].deliveries.iter().map(|d| d.target.as_str()).collect();
    assert_eq!(told, ["all", "all", "grave"]);
    // order is kept: the second waits behind the first, whatever becomes due when
    let first = store.next_notice("all").await.unwrap().unwrap();
    assert_eq!(first.notice.severity, Severity::Medium);
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    store.notice_tried(first.seq, &Tried::Again(later), "503").await.unwrap();
    assert_eq!(store.next_notice("all").await.unwrap().unwrap().seq, first.seq);
    store.notice_tried(first.seq, &Tried::GivenUp, "503").await.unwrap();
    assert_eq!(store.next_notice("all").await.unwrap().unwrap().notice.severity, Severity::High);
    // whoever is taken out of the configuration is not waited for
    store.set_notice_targets(&targets[1..]).await.unwrap();
    assert!(store.next_notice("all").await.unwrap().is_none());
    let states: Vec<_> = store.alerts().await.unwrap()[0].deliveries.iter().map(|d| d.state).collect();
    assert_eq!(states, [DeliveryState::Failed, DeliveryState::Failed, DeliveryState::Waiting]);
    assert!(store.acknowledge(alerts[0].id).await.unwrap() && !store.acknowledge(99).await.unwrap());
    assert!(store.alerts().await.unwrap()[0].acknowledged.is_some());
}

#[tokio::test]
async fn a_flood_of_alerts_is_withheld_from_whoever_is_told_unless_it_is_grave() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let target = NoticeTarget { name: "all".into(), least: Severity::Low, tenants: vec![] };
    store.set_notice_targets(&[target]).await.unwrap();
    for n in 0..store::limits::NOTICES_PER_HOUR + 5 {
        store.raise_alert(AlertKind::UntrustedPeer, None, &format!("peer {n}"), "x").await.unwrap();
    }
    store.raise_alert(AlertKind::PermissionsLost, None, "grave", "x").await.unwrap();
    let alerts = store.alerts().await.unwrap();
    let withheld = alerts.iter().filter(|a| a.deliveries[0].state == DeliveryState::Withheld).count();
    assert_eq!(withheld, 5);
    let grave = alerts.iter().find(|a| a.subject == "grave").unwrap();
    assert_eq!(grave.deliveries[0].state, DeliveryState::Waiting);
}

#[tokio::test]
async fn a_forgotten_tenant_leaves_its_mail_and_its_story() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let before = store.tenants_revision().await.unwrap();
    store.put_tenant(&contoso()).await.unwrap();
    assert!(store.tenants_revision().await.unwrap() > before);
    let page = DirectoryPage::Users(vec![Told::Changed(UserChange { id: "u".into(), ..UserChange::default() })]);
    let place = store.sync_state(ID, SyncKind::Users).await.unwrap();
    assert!(store.put_directory_page(ID, &place, page.clone(), true, "2").await.unwrap());
    let place = store.sync_state(ID, SyncKind::Users).await.unwrap();
    let record = ZoneRecord {
        tenant: Some(ID),
        name: "Contoso.connect.example".into(),
        kind: "TXT".into(),
        value: "MS=ms1".into(),
    };
    store.put_zone_record(&record).await.unwrap();
    assert_eq!(store.zone_records("contoso.CONNECT.example.").await.unwrap().len(), 1);
    store.hold(&hold("k"), &pieces(b"x")).await.unwrap();
    store.put_journey(&journey("01-a", "x@y")).await.unwrap();
    store.delete_tenant(ID).await.unwrap();
    assert!(store.tenants().await.unwrap().is_empty());
    assert!(!store.put_directory_page(ID, &place, page, true, "3").await.unwrap(), "a page for nobody");
    assert!(store.directory(ID).await.unwrap().users.is_empty());
    assert!(store.zone_records("contoso.connect.example").await.unwrap().is_empty());
    assert_eq!(
        (store.held(None).await.unwrap().len(), store.journeys(&JourneyFilter::default()).await.unwrap().len()),
        (1, 1)
    );
}

#[tokio::test]
async fn two_processes_write_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Store::open(dir.path()).await.unwrap(), Store::open(dir.path()).await.unwrap());
    let write = async |store: &Store, who: &str| {
        for n in 0..100 {
            store.put_journey(&journey(&format!("{who}-{n}"), "x@y")).await.unwrap();
            store.hold(&hold(&format!("{who}-{n}")), &pieces(b"x")).await.unwrap();
        }
    };
    tokio::join!(write(&one, "one"), write(&two, "two"));
    assert_eq!(one.held(None).await.unwrap().len(), 200);
    assert_eq!(two.journeys(&JourneyFilter { limit: 1000, ..JourneyFilter::default() }).await.unwrap().len(), 200);
}

#[tokio::test]
async fn probes_arrive_where_they_are_expected() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let probe =
        Probe { token: "t".into(), tenant: ID, direction: Direction::Outbound, created: jiff::Timestamp::now() };
    store.put_probe(&probe).await.unwrap();
    assert!(store.probe("t").await.unwrap().is_some() && store.probe("u").await.unwrap().is_none());
    let arrival =
        ProbeArrival { token: "t".into(), at: jiff::Timestamp::now(), headers: "A: b\r\n".into(), mark_seen: false };
    store.put_probe_arrival(&arrival).await.unwrap();
    assert!(!store.probe_arrivals("t").await.unwrap()[0].mark_seen);
}

#[tokio::test]
async fn a_store_that_cannot_be_written_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    store.prove_writable().await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("bodies")).unwrap().count(), 0, "it leaves something behind");
    store.hold(&hold("one"), &pieces(b"x")).await.unwrap();
    assert_eq!(store.held_counts().await.unwrap(), [(ID, 1)]);
    // whoever runs the tests may write anywhere, but not a file below a file
    std::fs::remove_dir_all(dir.path().join("bodies")).unwrap();
    std::fs::write(dir.path().join("bodies"), "").unwrap();
    assert!(store.prove_writable().await.is_err());
}

/// A message that came again counts once, probes do not count, and what is older or another's is not there.
#[tokio::test]
async fn journeys_are_counted_by_how_they_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let now = jiff::Timestamp::now();
    let put = async |id: &str, change: &dyn Fn(&mut JourneyEntry)| {
        let mut entry = journey(id, "x@y");
        change(&mut entry);
        store.put_journey(&entry).await.unwrap();
    };
    let deferred = |message: &'static str| {
        move |e: &mut JourneyEntry| {
            e.outcome = Outcome::Deferred;
            e.reply = format!("451 4.3.0 Temporary failure, try again later ({})", e.id);
            e.message_id = Some(message.into());
        }
    };
    put("1", &deferred("a@x")).await;
    put("2", &deferred("a@x")).await;
    put("3", &deferred("b@x")).await;
    put("4", &|_| ()).await;
    put("5", &|e| e.probe = Some("token".into())).await;
    put("6", &|e| e.direction = None).await;
    put("7", &|e| e.started = now - jiff::SignedDuration::from_mins(11)).await;
    put("8", &|e| e.tenant = None).await;
    let mut ended: Vec<String> = store
        .ended_since(ID, now - jiff::SignedDuration::from_mins(10))
        .await
        .unwrap()
        .iter()
        .map(|e| format!("{} {} “{}” {}", e.direction.as_str(), e.outcome, e.reply, e.messages))
        .collect();
    ended.sort();
    assert_eq!(ended, ["in deferred “451 4.3.0 Temporary failure” 2", "in handed back “250” 1"]);
}

/// Whichever process they belong to: here two handles of one.
#[tokio::test]
async fn one_watchdog_keeps_watch() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Store::open(dir.path()).await.unwrap(), Store::open(dir.path()).await.unwrap());
    let lock = one.lock_watchdog().unwrap();
    assert!(lock.is_some() && two.lock_watchdog().unwrap().is_none());
    drop(lock);
    assert!(two.lock_watchdog().unwrap().is_some());
}

#[tokio::test]
async fn who_wrote_and_who_was_written_to_is_known_until_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let contact = async |address: &str| store.contact(ID, address).await.unwrap();
    let from = |id: &str, address: &str| JourneyEntry { from: Some(address.into()), ..journey(id, address) };
    assert!(contact("pat@acme.example").await.into_history().first_contact == verdict::Fact::Known(true));
    for n in 0..3 {
        let reply_to = Some("Desk@Fabrikam.example".to_owned()).filter(|_| n == 1);
        let entry =
            JourneyEntry { reply_to, outcome: Outcome::HandedBack, ..from(&format!("in{n}"), "Pat@acme.example") };
        store.put_journey(&entry).await.unwrap();
    }
    let held = JourneyEntry { outcome: Outcome::Held, ..from("held", "eve@evil.example") };
    let unjudged = JourneyEntry { judged: false, outcome: Outcome::HandedBack, ..from("un", "eve@evil.example") };
    let out = JourneyEntry {
        direction: Some(tenant::Direction::Outbound),
        outcome: Outcome::HandedBack,
        recipients: vec!["kim@other.example".into()],
        ..from("out", "anna@contoso.example")
    };
    for entry in [&held, &unjudged, &out] {
        store.put_journey(entry).await.unwrap();
    }
    let pat = contact("PAT@acme.example").await;
    assert_eq!((pat.messages, pat.written, pat.reply_to.as_deref()), (3, 0, Some("desk@fabrikam.example")));
    let (new, known) = (contact("new@mail.acme.example").await, contact("new@elsewhere.example").await);
    assert_eq!((new.messages, new.of_domain, known.of_domain, pat.of_domain), (0, 3, 0, 3));
    assert_eq!(pat.into_history().reply_to, verdict::Fact::Known("fabrikam.example".into()));
    assert_eq!(
        (contact("eve@evil.example").await, contact("kim@other.example").await.written),
        (store::Contact::default(), 1)
    );
    assert_eq!(contact("anna@contoso.example").await, store::Contact::default(), "a user's own address is no contact");
    let other = store.contact(TenantId(Uuid::nil()), "pat@acme.example").await.unwrap();
    assert_eq!(other, store::Contact::default(), "of another tenant");
    let day = jiff::SignedDuration::from_hours(25);
    store.forget_before(jiff::Timestamp::now() - day).await.unwrap();
    assert_eq!(contact("kim@other.example").await.written, 1);
    store.forget_before(jiff::Timestamp::now() + day).await.unwrap();
    assert_eq!(contact("kim@other.example").await, store::Contact::default());
}
