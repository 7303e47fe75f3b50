//! The directory as it is read page by page: cut off, read twice at once, read anew, and what is left of the old form.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use sqlx::Connection;
use store::{DirectoryPage, GroupChange, Mailbox, Store, SyncKind, Told, UserChange};
use tenant::TenantId;
use uuid::Uuid;

const ID: TenantId = TenantId(Uuid::from_u128(7));

async fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    (dir, store)
}

fn user(id: &str, name: &str) -> Told<UserChange> {
    Told::Changed(UserChange {
        id: id.into(),
        upn: Some(format!("{id}@contoso.example")),
        display_name: Some(name.into()),
        mail: Some(Some(format!("{id}@contoso.example"))),
        addresses: Some(vec![format!("{id}@contoso.example")]),
        enabled: Some(true),
        guest: Some(false),
    })
}

fn group(id: &str, added: &[&str], removed: &[&str]) -> Told<GroupChange> {
    let list = |l: &[&str]| l.iter().map(|m| (*m).to_owned()).collect();
    Told::Changed(GroupChange {
        id: id.into(),
        members_added: list(added),
        members_removed: list(removed),
        ..GroupChange::default()
    })
}

fn gone<T>(id: &str, for_good: bool) -> Told<T> {
    Told::Gone { id: id.into(), for_good }
}

async fn users(store: &Store, rows: Vec<Told<UserChange>>, more: bool, link: &str) {
    let place = store.sync_state(ID, SyncKind::Users).await.unwrap();
    assert!(store.put_directory_page(ID, &place, DirectoryPage::Users(rows), more, link).await.unwrap());
}

async fn groups(store: &Store, rows: Vec<Told<GroupChange>>, more: bool, link: &str) {
    let place = store.sync_state(ID, SyncKind::Groups).await.unwrap();
    assert!(store.put_directory_page(ID, &place, DirectoryPage::Groups(rows), more, link).await.unwrap());
}

async fn names(store: &Store) -> Vec<String> {
    store.directory(ID).await.unwrap().users.into_iter().map(|u| u.display_name).collect()
}

#[tokio::test]
async fn a_reading_of_the_whole_takes_away_what_it_did_not_see_at_its_end_only() {
    let (dir, store) = open().await;
    users(&store, vec![user("a", "Ada"), user("b", "Bob")], true, "p2").await;
    users(&store, vec![user("b", "Bob"), user("c", "Cy")], false, "d1").await;
    assert_eq!(names(&store).await, ["Ada", "Bob", "Cy"]);
    let place = store.sync_state(ID, SyncKind::Users).await.unwrap();
    assert!(!place.whole && !place.more && place.seen == 4 && place.finished.is_some());
    store.restart_sync(ID, &place, "").await.unwrap();
    let blank = UserChange { id: "b".into(), upn: Some("b@contoso.example".into()), ..UserChange::default() };
    users(&store, vec![user("a", "Ada L."), Told::Changed(blank)], true, "p2").await;
    store.close().await;
    let store = Store::open(dir.path()).await.unwrap();
    let place = store.sync_state(ID, SyncKind::Users).await.unwrap();
    assert!(place.whole && place.more && place.link == "p2", "{place:?}");
    assert_eq!(names(&store).await.len(), 3, "swept before its end");
    users(&store, vec![], false, "d2").await;
    // of Bob nothing but the UPN is set any more, and Cy is gone with his mailbox
    assert_eq!(names(&store).await, ["Ada L.", ""]);
    let mailboxes = store.directory(ID).await.unwrap().mailboxes;
    assert_eq!(mailboxes.iter().map(|m| m.address.as_str()).collect::<Vec<_>>(), ["a@contoso.example"]);
}

#[tokio::test]
async fn a_page_counts_only_from_the_place_it_was_read_at() {
    let (_dir, store) = open().await;
    let place = store.sync_state(ID, SyncKind::Users).await.unwrap();
    let page = |name: &str| DirectoryPage::Users(vec![user("a", name)]);
    assert!(store.put_directory_page(ID, &place, page("first"), true, "p2").await.unwrap());
    assert!(!store.put_directory_page(ID, &place, page("second"), true, "p2").await.unwrap());
    assert_eq!(names(&store).await, ["first"]);
}

#[tokio::test]
async fn the_gateway_is_told_once_a_round_and_only_of_changes() {
    let (_dir, store) = open().await;
    let before = store.tenants_revision().await.unwrap();
    users(&store, vec![user("a", "Ada")], true, "p2").await;
    users(&store, vec![user("b", "Bob")], false, "d1").await;
    assert_eq!(store.tenants_revision().await.unwrap(), before);
    assert!(store.announce_directory(ID).await.unwrap());
    assert_eq!(store.tenants_revision().await.unwrap(), before + 1);
    users(&store, vec![user("a", "Ada")], false, "d2").await;
    assert!(!store.announce_directory(ID).await.unwrap(), "nothing changed");
    assert_eq!(store.directory_revision(ID).await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_not_told_is_no_change_and_mailboxes_follow_their_users() {
    let (_dir, store) = open().await;
    users(&store, vec![user("a", "Ada")], false, "d1").await;
    let asked = store.unconfirmed(ID, 10).await.unwrap();
    assert_eq!((asked.len(), asked[0].kind.as_str()), (1, "Unconfirmed"));
    let confirmed = Mailbox { kind: "SharedMailbox".into(), ..asked[0].clone() };
    store.confirm(ID, "a", Some(&confirmed)).await.unwrap();
    let renamed = UserChange { id: "a".into(), display_name: Some("Ada Lovelace".into()), ..UserChange::default() };
    users(&store, vec![Told::Changed(renamed)], false, "d2").await;
    let found = store.mailbox_at(ID, "A@contoso.example").await.unwrap().unwrap();
    assert_eq!((found.display_name.as_str(), found.kind.as_str()), ("Ada Lovelace", "SharedMailbox"));
    assert_eq!(store.directory(ID).await.unwrap().users[0].mail.as_deref(), Some("a@contoso.example"));
    users(&store, vec![gone("a", false)], false, "d3").await;
    assert!(store.mailbox_at(ID, "a@contoso.example").await.unwrap().is_none());
}

#[tokio::test]
async fn a_list_of_mailboxes_that_is_cut_off_takes_nothing_away() {
    let (_dir, store) = open().await;
    users(&store, vec![user("a", "Ada"), user("b", "Bob")], false, "d1").await;
    let mailbox = |id: &str| Mailbox {
        id: id.into(),
        address: format!("{id}@contoso.example"),
        display_name: id.into(),
        kind: "UserMailbox".into(),
        addresses: vec![],
    };
    let first = store.begin_mailboxes(ID).await.unwrap();
    assert!(store.put_mailboxes(ID, first, &[mailbox("a"), mailbox("stale")]).await.unwrap());
    // killed here; the next one begins anew
    let second = store.begin_mailboxes(ID).await.unwrap();
    assert!(!store.put_mailboxes(ID, first, &[mailbox("late")]).await.unwrap());
    users(&store, vec![user("c", "Cy")], false, "d2").await;
    assert!(store.put_mailboxes(ID, second, &[mailbox("a")]).await.unwrap());
    assert_eq!(store.directory_counts(ID).await.unwrap().mailboxes["UserMailbox"], 2);
    store.finish_mailboxes(ID, second, true).await.unwrap();
    // Bob has none; Cy came while the list was read and is asked about by name
    let counts = store.directory_counts(ID).await.unwrap();
    assert_eq!(
        counts.mailboxes.into_iter().collect::<Vec<_>>(),
        [("Unconfirmed".into(), 1), ("UserMailbox".into(), 1)]
    );
}

#[tokio::test]
async fn nested_groups_are_followed_and_circles_are_no_harm() {
    let (_dir, store) = open().await;
    users(&store, vec![user("a", "Ada"), user("b", "Bob"), user("c", "Cy")], false, "d1").await;
    groups(&store, vec![group("outer", &["a", "inner"], &[]), group("inner", &["b"], &[])], true, "p2").await;
    // the rest of a large group, and a circle
    groups(&store, vec![group("inner", &["c", "outer", "unknown"], &[])], false, "d1").await;
    let of = async |id: &str| -> Vec<String> {
        store.members_of(ID, id).await.unwrap().into_iter().map(|u| u.display_name).collect()
    };
    assert_eq!(of("outer").await, ["Ada", "Bob", "Cy"]);
    assert_eq!(store.members(ID, "inner").await.unwrap(), ["b", "c", "outer"]);
    groups(&store, vec![group("inner", &[], &["outer", "b"])], false, "d2").await;
    assert_eq!(of("inner").await, ["Cy"]);
    // deleted for now: out of sight, and back with its memberships; deleted for good: not
    users(&store, vec![gone("c", false)], false, "d2").await;
    assert!(of("inner").await.is_empty());
    users(&store, vec![user("c", "Cy")], false, "d3").await;
    assert_eq!(of("inner").await, ["Cy"]);
    users(&store, vec![gone("c", true), user("c", "Cy")], false, "d4").await;
    assert!(of("inner").await.is_empty());
    groups(&store, vec![gone("inner", true)], false, "d3").await;
    assert_eq!(of("outer").await, ["Ada"]);
}

/// A file of the time before memberships had a table of their own.
#[tokio::test]
async fn an_old_database_still_opens_with_its_memberships() {
    let dir = tempfile::tempdir().unwrap();
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.path().join("posthouse.db"));
    let mut old = sqlx::SqliteConnection::connect_with(&file.create_if_missing(true)).await.unwrap();
    for sql in [include_str!("../migrations/0001_first.sql"), include_str!("../migrations/0002_plans.sql")] {
        sqlx::raw_sql(sql).execute(&mut old).await.unwrap();
    }
    let rows = [
        ("user", "a", r#"{"id":"a","upn":"a@x","display_name":"Ada","mail":"a@x","addresses":[],"enabled":true}"#),
        ("group", "g", r#"{"id":"g","display_name":"G","mail":null,"kind":"security","members":["a","a"]}"#),
    ];
    for (kind, id, json) in rows {
        let query = sqlx::query("INSERT INTO directory(tenant,kind,id,json) VALUES($1,$2,$3,$4)");
        query.bind(ID.to_string()).bind(kind).bind(id).bind(json).execute(&mut old).await.unwrap();
    }
    sqlx::raw_sql("PRAGMA user_version = 2").execute(&mut old).await.unwrap();
    old.close().await.unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    assert_eq!(store.members(ID, "g").await.unwrap(), ["a"]);
    assert_eq!(store.members_of(ID, "g").await.unwrap()[0].display_name, "Ada");
    // and the first reading of changes is one of the whole
    assert!(store.sync_state(ID, SyncKind::Users).await.unwrap().whole);
    users(&store, vec![user("b", "Bob")], false, "d1").await;
    assert_eq!(names(&store).await, ["Bob"]);
}
