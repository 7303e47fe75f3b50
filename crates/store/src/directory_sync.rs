//! How a directory gets into the store: page by page, each in one transaction with the place where the reading goes
//! on, so that a process that dies at any moment goes on at the last page it wrote.
//!
//! A reading of the whole marks what it sees with its generation, and takes away what it did not see when it comes to
//! its end, never before. Two processes that read at once do no harm: a page counts only from the place it began at.

use crate::db::{from_json, from_millis, now_millis, to_json};
use crate::directory_rows::Writing;
use crate::{Group, Mailbox, Result, Store, User};
use serde::Serialize;
use sqlx::Row;
use tenant::TenantId;

/// What is read as a list of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncKind {
    Users,
    Groups,
    Mailboxes,
}

impl SyncKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            SyncKind::Users => "user",
            SyncKind::Groups => "group",
            SyncKind::Mailboxes => "mailbox",
        }
    }
}

/// Where the reading of one kind stands.
#[derive(Clone, Debug, Serialize)]
pub struct SyncState {
    pub kind: SyncKind,
    #[serde(skip)]
    pub generation: i64,
    /// The whole is being read; otherwise only what changed.
    pub whole: bool,
    /// In the middle of a reading.
    pub more: bool,
    /// Where the next page is; empty at the beginning.
    #[serde(skip)]
    pub link: String,
    /// Objects told in this reading, or in the last one.
    pub seen: u64,
    /// When a reading came to its end last.
    pub finished: Option<jiff::Timestamp>,
    /// Why the last attempt failed; empty when it did not.
    pub trouble: String,
}

/// An object that was put in or changed, or taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<T> {
    Changed(T),
    /// `for_good`: it cannot come back, with the memberships it had.
    Gone {
        id: String,
        for_good: bool,
    },
}

/// What was told of a user; `None` is not told, which is no change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    pub id: String,
    pub upn: Option<String>,
    pub display_name: Option<String>,
    pub mail: Option<Option<String>>,
    pub addresses: Option<Vec<String>>,
    pub enabled: Option<bool>,
    pub guest: Option<bool>,
}

impl UserChange {
    pub(crate) fn of(self, known: Option<User>) -> User {
        let known = known.unwrap_or(User { enabled: true, ..User::default() });
        User {
            id: self.id,
            upn: self.upn.unwrap_or(known.upn),
            display_name: self.display_name.unwrap_or(known.display_name),
            mail: self.mail.unwrap_or(known.mail),
            addresses: self.addresses.unwrap_or(known.addresses),
            enabled: self.enabled.unwrap_or(known.enabled),
            guest: self.guest.unwrap_or(known.guest),
        }
    }
}

/// What was told of a group. A large one is told in several parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupChange {
    pub id: String,
    pub display_name: Option<String>,
    pub mail: Option<Option<String>>,
    pub kind: Option<String>,
    /// Object ids of users and groups.
    pub members_added: Vec<String>,
    pub members_removed: Vec<String>,
}

impl GroupChange {
    pub(crate) fn of(&self, known: Option<Group>) -> Group {
        let known = known.unwrap_or_default();
        Group {
            id: self.id.clone(),
            display_name: self.display_name.clone().unwrap_or(known.display_name),
            mail: self.mail.clone().unwrap_or(known.mail),
            kind: self.kind.clone().unwrap_or(known.kind),
        }
    }
}

/// One page of a list of changes.
#[derive(Clone, Debug)]
pub enum DirectoryPage {
    Users(Vec<Told<UserChange>>),
    Groups(Vec<Told<GroupChange>>),
}

impl DirectoryPage {
    fn len(&self) -> usize {
        match self {
            DirectoryPage::Users(rows) => rows.len(),
            DirectoryPage::Groups(rows) => rows.len(),
        }
    }
}

impl Store {
    /// Where the reading stands; a kind that was never read begins with the whole.
    pub async fn sync_state(&self, id: TenantId, kind: SyncKind) -> Result<SyncState> {
        let states = self.sync_states(id).await?;
        let new = SyncState {
            kind,
            generation: 1,
            whole: true,
            more: false,
            link: String::new(),
            seen: 0,
            finished: None,
            trouble: String::new(),
        };
        Ok(states.into_iter().find(|s| s.kind == kind).unwrap_or(new))
    }

    pub async fn sync_states(&self, id: TenantId) -> Result<Vec<SyncState>> {
        let rows = sqlx::query("SELECT kind,generation,whole,more,link,seen,finished,trouble FROM directory_sync WHERE tenant=$1 ORDER BY kind DESC")
            .bind(id.to_string())
            .fetch_all(&self.read)
            .await?;
        let state = |r: &sqlx::sqlite::SqliteRow| -> Result<SyncState> {
            let kind = match r.try_get::<String, _>("kind")?.as_str() {
                "user" => SyncKind::Users,
                "group" => SyncKind::Groups,
                _ => SyncKind::Mailboxes,
            };
            Ok(SyncState {
                kind,
                generation: r.try_get("generation")?,
                whole: r.try_get::<i64, _>("whole")? != 0,
                more: r.try_get::<i64, _>("more")? != 0,
                link: r.try_get("link")?,
                seen: u64::try_from(r.try_get::<i64, _>("seen")?).unwrap_or(0),
                finished: r.try_get::<Option<i64>, _>("finished")?.map(from_millis),
                trouble: r.try_get("trouble")?,
            })
        };
        rows.iter().map(state).collect()
    }

    /// Begins a reading of the whole at `link` (empty: at the beginning), unless somebody else did since `before`.
    pub async fn restart_sync(&self, id: TenantId, before: &SyncState, link: &str) -> Result<()> {
        sqlx::query("INSERT INTO directory_sync(tenant,kind,generation,whole,link,more,seen,changed) VALUES($1,$2,$3,1,$4,0,0,0) ON CONFLICT(tenant,kind) DO UPDATE SET generation=excluded.generation, whole=1, link=excluded.link, more=0, seen=0 WHERE directory_sync.generation=$5 AND directory_sync.link=$6")
            .bind(id.to_string())
            .bind(before.kind.name())
            .bind(before.generation + 1)
            .bind(link)
            .bind(before.generation)
            .bind(&before.link)
            .execute(&self.quick)
            .await?;
        Ok(())
    }

    /// Writes a page that was read at the place `before`, and that the reading goes on (`more`) or will be taken up
    /// again at `link`. False, and nothing written, when somebody else has moved the place meanwhile.
    pub async fn put_directory_page(
        &self,
        id: TenantId,
        before: &SyncState,
        page: DirectoryPage,
        more: bool,
        link: &str,
    ) -> Result<bool> {
        let tx = self.quick.begin_with("BEGIN IMMEDIATE").await?;
        let mut writing = Writing { tx, tenant: id.to_string(), generation: before.generation, changed: false };
        if !writing.moves(before, page.len(), more, link).await? {
            return Ok(false);
        }
        match page {
            DirectoryPage::Users(rows) => {
                for row in rows {
                    writing.user(row).await?;
                }
            }
            DirectoryPage::Groups(rows) => {
                for row in rows {
                    writing.group(row).await?;
                }
            }
        }
        if before.whole && !more {
            writing.sweep(before.kind).await?;
        }
        writing.finish(before.kind).await?;
        Ok(true)
    }

    /// A new list of mailboxes begins; what it has not named when it ends is no mailbox.
    pub async fn begin_mailboxes(&self, id: TenantId) -> Result<i64> {
        let before = self.sync_state(id, SyncKind::Mailboxes).await?;
        self.restart_sync(id, &before, "").await?;
        Ok(before.generation + 1)
    }

    /// False when a newer list was begun meanwhile.
    pub async fn put_mailboxes(&self, id: TenantId, generation: i64, page: &[Mailbox]) -> Result<bool> {
        let tx = self.quick.begin_with("BEGIN IMMEDIATE").await?;
        let mut writing = Writing { tx, tenant: id.to_string(), generation, changed: false };
        let sql = "UPDATE directory_sync SET more=1, seen=seen+$3 WHERE tenant=$1 AND kind='mailbox' AND generation=$2";
        let seen = i64::try_from(page.len()).unwrap_or(i64::MAX);
        let query = sqlx::query(sql).bind(&writing.tenant).bind(generation).bind(seen);
        if query.execute(&mut *writing.tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        for mailbox in page {
            writing.put("mailbox", &mailbox.id, &to_json(mailbox)?).await?;
            writing.delete("unconfirmed", &mailbox.id).await?;
        }
        writing.finish(SyncKind::Mailboxes).await?;
        Ok(true)
    }

    /// No more of the list will come. Only where it was read to its end (`whole`), what it did not name is taken away.
    pub async fn finish_mailboxes(&self, id: TenantId, generation: i64, whole: bool) -> Result<()> {
        let tx = self.quick.begin_with("BEGIN IMMEDIATE").await?;
        let mut writing = Writing { tx, tenant: id.to_string(), generation, changed: false };
        let sql = "UPDATE directory_sync SET whole=0, more=0, finished=$3 WHERE tenant=$1 AND kind='mailbox' AND generation=$2";
        let query = sqlx::query(sql).bind(&writing.tenant).bind(generation).bind(now_millis());
        if query.execute(&mut *writing.tx).await?.rows_affected() > 0 {
            if whole {
                writing.sweep(SyncKind::Mailboxes).await?;
            }
            writing.finish(SyncKind::Mailboxes).await?;
        }
        Ok(())
    }

    /// Some mailboxes that Exchange has not been asked about yet.
    pub async fn unconfirmed(&self, id: TenantId, limit: u32) -> Result<Vec<Mailbox>> {
        let rows =
            sqlx::query("SELECT id,json FROM directory WHERE tenant=$1 AND kind='unconfirmed' ORDER BY id LIMIT $2")
                .bind(id.to_string())
                .bind(limit)
                .fetch_all(&self.read)
                .await?;
        rows.iter()
            .map(|r| from_json(&format!("mailbox {}", r.try_get::<String, _>("id")?), r.try_get("json")?))
            .collect()
    }

    /// What Exchange said about one that was unconfirmed: the mailbox, or that there is none.
    pub async fn confirm(&self, id: TenantId, asked: &str, found: Option<&Mailbox>) -> Result<()> {
        let generation = self.sync_state(id, SyncKind::Mailboxes).await?.generation;
        let tx = self.quick.begin_with("BEGIN IMMEDIATE").await?;
        let mut writing = Writing { tx, tenant: id.to_string(), generation, changed: false };
        if let Some(mailbox) = found {
            writing.put("mailbox", &mailbox.id, &to_json(mailbox)?).await?;
        }
        writing.delete("unconfirmed", asked).await?;
        writing.finish(SyncKind::Mailboxes).await
    }

    /// Why the last attempt failed, for whoever looks; empty when it did not.
    pub async fn put_sync_trouble(&self, id: TenantId, trouble: &str) -> Result<()> {
        sqlx::query("UPDATE directory_sync SET trouble=$2 WHERE tenant=$1 AND trouble<>$2")
            .bind(id.to_string())
            .bind(trouble)
            .execute(&self.quick)
            .await?;
        Ok(())
    }

    /// Lets the gateway read again, once, if anything changed since the last time this was asked.
    pub async fn announce_directory(&self, id: TenantId) -> Result<bool> {
        let mut tx = self.quick.begin_with("BEGIN IMMEDIATE").await?;
        let changed = sqlx::query("UPDATE directory_sync SET changed=0 WHERE tenant=$1 AND changed<>0")
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("INSERT INTO counters(name,value) VALUES($1,1) ON CONFLICT(name) DO UPDATE SET value=value+1")
            .bind(format!("directory {id}"))
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE counters SET value=value+1 WHERE name='tenants'").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(true)
    }
}
