//! Opening the file, its connections and its migrations.
//!
//! Two writers on purpose: what must survive a power cut before we answer (`durable`, synchronous=FULL)
//! and the journal (`quick`, synchronous=NORMAL: survives a killed process, not a cut cable).

use crate::journal::{ToWrite, write_journal};
use crate::{Bodies, Result, StoreError, key::Key, limits};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Schema steps in order; the number of those done stands in `PRAGMA user_version`.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_plans.sql"),
    include_str!("../migrations/0003_directory.sql"),
    include_str!("../migrations/0004_notices.sql"),
    include_str!("../migrations/0005_alerts_end.sql"),
    include_str!("../migrations/0006_ledger.sql"),
    include_str!("../migrations/0007_contacts.sql"),
    include_str!("../migrations/0008_links.sql"),
    include_str!("../migrations/0009_quarantine.sql"),
];

/// The file of [`Store::prove_writable`]; no held message has such an id.
const WRITABLE: &str = "writable";

/// The handle that planes share; clone freely.
#[derive(Clone)]
pub struct Store {
    pub(crate) durable: SqlitePool,
    pub(crate) quick: SqlitePool,
    pub(crate) read: SqlitePool,
    pub(crate) journal: mpsc::Sender<ToWrite>,
    pub(crate) bodies: Bodies,
    pub(crate) key: Arc<Key>,
    pub(crate) data_dir: Arc<Path>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the data directory, creating it (mode 0700), its key file (0600) and its database on the first start.
    pub async fn open(data_dir: &Path) -> Result<Store> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(|source| StoreError::File { what: format!("data directory {}", data_dir.display()), source })?;
        let key = Arc::new(Key::open(&data_dir.join("secret.key"))?);
        let bodies = Bodies::open(data_dir.join("bodies"))?;
        let options = SqliteConnectOptions::new()
            .filename(data_dir.join("posthouse.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(limits::BUSY_TIMEOUT)
            .foreign_keys(true);
        let pool = |options: SqliteConnectOptions, connections| {
            SqlitePoolOptions::new().max_connections(connections).connect_with(options)
        };
        let durable = pool(options.clone().synchronous(SqliteSynchronous::Full), 1).await?;
        migrate(&durable).await?;
        let quick = pool(options.clone().synchronous(SqliteSynchronous::Normal), 1).await?;
        let read = pool(options, limits::READERS).await?;
        let (journal, entries) = mpsc::channel(limits::JOURNAL_ROWS_TOGETHER);
        tokio::spawn(write_journal(quick.clone(), entries));
        let store = Store { durable, quick, read, journal, bodies, key, data_dir: data_dir.into() };
        let known = store.bodies_known().await?;
        store.bodies.sweep(&known);
        Ok(store)
    }

    /// Writes a row and a file, as holding a message would; fails when the disk is full, read-only or gone.
    pub async fn prove_writable(&self) -> Result<()> {
        sqlx::query("INSERT INTO counters(name,value) VALUES('written',$1) ON CONFLICT(name) DO UPDATE SET value=excluded.value")
            .bind(now_millis())
            .execute(&self.quick)
            .await?;
        self.bodies.put(WRITABLE, &bytes::Bytes::from_static(b"written to see whether it can be\n").into()).await?;
        self.bodies.delete(WRITABLE).await
    }

    /// Finishes every write and closes the file.
    pub async fn close(&self) {
        self.quick.close().await;
        self.durable.close().await;
        self.read.close().await;
    }
}

async fn migrate(pool: &SqlitePool) -> Result<()> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let done: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *tx).await?;
    let done = usize::try_from(done).unwrap_or(0);
    if done > MIGRATIONS.len() {
        return Err(StoreError::Corrupt(format!(
            "the database was written by a newer Posthouse (schema {done}, this one knows {}); start that one, or restore a backup",
            MIGRATIONS.len()
        )));
    }
    for (number, sql) in MIGRATIONS.iter().enumerate().skip(done) {
        sqlx::raw_sql(*sql).execute(&mut *tx).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", number + 1))).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| StoreError::Corrupt(format!("a value could not be written: {e}")))
}

pub(crate) fn from_json<T: serde::de::DeserializeOwned>(row: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(format!("{row}: {e}")))
}

/// What begins so lies between the text and this one: a range that an index knows, where a comparison of parts reads all.
pub(crate) fn beyond(beginning: &str) -> String {
    format!("{beginning}\u{10ffff}")
}

/// Milliseconds since 1970, the form of every time in the database.
pub(crate) fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

pub(crate) fn from_millis(millis: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}
