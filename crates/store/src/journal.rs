//! The journal: exactly one entry a journey, and what people ask of it.

use crate::contacts::{self, Seen};
use crate::db::{beyond, from_json, to_json};
use crate::{Result, Store, StoreError, limits};
use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqlitePool};
use tenant::{Direction, TenantId};
use tokio::sync::{mpsc, oneshot};

/// How a journey ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Microsoft has it again.
    HandedBack,
    /// We have it, durably.
    Held,
    /// Some recipients were handed back, the others are held.
    PartlyHeld,
    /// Refused for now; Exchange Online keeps it and tries again.
    Deferred,
    /// Refused for good; Exchange Online tells the sender.
    Refused,
    /// A probe that arrived; it goes nowhere.
    Swallowed,
    /// Thrown away, since the tenant's policy asks for it.
    Deleted,
    /// Microsoft has it again, for somebody else of the tenant.
    Redirected,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Outcome::HandedBack => "handed back",
            Outcome::Held => "held",
            Outcome::PartlyHeld => "partly held",
            Outcome::Deferred => "deferred",
            Outcome::Refused => "refused",
            Outcome::Swallowed => "probe arrived",
            Outcome::Deleted => "deleted",
            Outcome::Redirected => "redirected",
        })
    }
}

/// What one step took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTime {
    pub step: String,
    pub micros: u64,
}

/// What asking an outside scanner took, and why it did not say what is in the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineAnswer {
    pub engine: String,
    pub micros: u64,
    pub fault: Option<String>,
}

/// The whole story of one journey; its id is the reference that the peer hears.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JourneyEntry {
    pub id: String,
    pub tenant: Option<TenantId>,
    pub direction: Option<Direction>,
    pub started: jiff::Timestamp,
    /// `ip:port` of who handed it to us.
    pub peer: String,
    pub sender: String,
    pub recipients: Vec<String>,
    pub message_id: Option<String>,
    pub subject: Option<String>,
    /// First address of From, and of Reply-To.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    pub bytes: u64,
    pub proofs: verdict::Proofs,
    pub anomalies: Vec<String>,
    pub findings: Vec<verdict::Finding>,
    /// Outside scanners that were asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<EngineAnswer>,
    /// The journey of another part of the same message, in which these findings were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_with: Option<String>,
    /// False when it was handed back although it could not be judged: it is to be judged again after delivery.
    #[serde(default = "yes")]
    pub judged: bool,
    pub decision: Option<verdict::Decision>,
    /// What was changed in it, and what was not and why.
    #[serde(default)]
    pub edits: Vec<String>,
    pub outcome: Outcome,
    /// What Exchange Online heard from us.
    pub reply: String,
    /// What Microsoft answered on the return leg.
    pub returned: Option<String>,
    /// Id of the held message, if one was stored.
    pub held: Option<String>,
    /// Who got it instead of its recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirected_to: Option<String>,
    /// 1 = first time through us; more = a rule of the tenant is broken.
    pub visits: u32,
    /// Token of the probe that this message is.
    pub probe: Option<String>,
    /// The rule that sent it stamped the newest secret.
    #[serde(default)]
    pub newest_token: bool,
    pub steps: Vec<StepTime>,
}

fn yes() -> bool {
    true
}

/// As much of a journey as tells that a message was with us, and for whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Passage {
    pub id: String,
    pub direction: Option<Direction>,
    pub started: jiff::Timestamp,
    pub sender: String,
    pub recipients: Vec<String>,
    pub message_id: Option<String>,
    pub bytes: u64,
    pub outcome: Outcome,
    /// Id of the held message, if one was stored.
    pub held: Option<String>,
    /// As in [`JourneyEntry`].
    #[serde(default)]
    pub redirected_to: Option<String>,
    pub visits: u32,
    pub probe: Option<String>,
}

/// Journeys of one direction that ended alike.
#[derive(Clone, Debug)]
pub struct Ended {
    pub direction: Direction,
    pub outcome: Outcome,
    /// The first [`limits::REPLY_BEGIN`] characters of what Exchange Online heard.
    pub reply: String,
    /// Each counted once, however often it came.
    pub messages: u64,
}

/// Which journeys to list; empty fields match everything.
#[derive(Clone, Debug)]
pub struct JourneyFilter {
    pub tenant: Option<TenantId>,
    /// Part of a sender or recipient address.
    pub address: Option<String>,
    pub message_id: Option<String>,
    pub probe: Option<String>,
    pub limit: u32,
}

impl Default for JourneyFilter {
    fn default() -> JourneyFilter {
        JourneyFilter { tenant: None, address: None, message_id: None, probe: None, limit: limits::LIST_DEFAULT }
    }
}

/// An entry as it is stored.
pub(crate) struct Row {
    id: String,
    tenant: Option<String>,
    started: i64,
    message_id: Option<String>,
    addresses: String,
    probe: Option<String>,
    json: String,
    contacts: Vec<Seen>,
}

impl Row {
    fn of(entry: &JourneyEntry) -> Result<Row> {
        let all = std::iter::once(&entry.sender).chain(&entry.recipients);
        Ok(Row {
            id: entry.id.clone(),
            tenant: entry.tenant.map(|t| t.to_string()),
            started: entry.started.as_millisecond(),
            message_id: entry.message_id.clone(),
            addresses: all.fold(String::new(), |all, a| all + " " + &a.to_lowercase()),
            probe: entry.probe.clone(),
            json: to_json(entry)?,
            contacts: contacts::seen(entry),
        })
    }
}

pub(crate) type ToWrite = (Row, oneshot::Sender<Result<()>>);

/// Until the last handle of the store is gone.
pub(crate) async fn write_journal(pool: SqlitePool, mut entries: mpsc::Receiver<ToWrite>) {
    let mut together = Vec::new();
    while entries.recv_many(&mut together, limits::JOURNAL_ROWS_TOGETHER).await > 0 {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "INSERT OR REPLACE INTO journeys(id,tenant,started,message_id,addresses,probe,json) ",
        );
        let (rows, waiting): (Vec<Row>, Vec<_>) = together.drain(..).unzip();
        sql.push_values(&rows, |mut to, row| {
            to.push_bind(&row.id).push_bind(&row.tenant).push_bind(row.started).push_bind(&row.message_id);
            to.push_bind(&row.addresses).push_bind(&row.probe).push_bind(&row.json);
        });
        let done = written(&pool, sql, &rows).await;
        for waits in waiting {
            let told = done.as_ref().map(|_| ()).map_err(|e| StoreError::Journal(e.to_string()));
            // who no longer waits has gone on
            let _ = waits.send(told);
        }
    }
}

/// Journeys and what they tell of senders, in one transaction.
async fn written(pool: &SqlitePool, mut sql: QueryBuilder<Sqlite>, rows: &[Row]) -> sqlx::Result<()> {
    let seen: Vec<&Seen> = rows.iter().flat_map(|r| &r.contacts).collect();
    if seen.is_empty() {
        return sql.build().execute(pool).await.map(drop);
    }
    let mut tx = pool.begin().await?;
    sql.build().execute(&mut *tx).await?;
    contacts::write(&mut tx, &seen).await?;
    tx.commit().await
}

impl Store {
    /// Written when this returns. Entries that come at the same time are written together: one transaction costs as much
    /// for many as for one.
    pub async fn put_journey(&self, entry: &JourneyEntry) -> Result<()> {
        let (written, heard) = oneshot::channel();
        let gone = || StoreError::Corrupt("the journal's writer has ended".into());
        self.journal.send((Row::of(entry)?, written)).await.map_err(|_| gone())?;
        heard.await.map_err(|_| gone())?
    }

    /// Deletes journeys, alerts and what became of held messages that are older; returns how many of the first two.
    pub async fn forget_before(&self, before: jiff::Timestamp) -> Result<u64> {
        let before = before.as_millisecond();
        let journeys = sqlx::query("DELETE FROM journeys WHERE started<$1").bind(before).execute(&self.quick).await?;
        let alerts = sqlx::query("DELETE FROM alerts WHERE last<$1").bind(before).execute(&self.quick).await?;
        self.forget_contacts(before).await?;
        self.forget_links(before).await?;
        sqlx::query("DELETE FROM held_history WHERE at<$1").bind(before).execute(&self.quick).await?;
        sqlx::query("DELETE FROM notices WHERE alert NOT IN (SELECT id FROM alerts)").execute(&self.quick).await?;
        Ok(journeys.rows_affected() + alerts.rows_affected())
    }

    /// Where messages of these ids were with us, whenever that was; Message-IDs without their angle brackets.
    pub async fn passages(&self, tenant: TenantId, message_ids: &[String]) -> Result<Vec<Passage>> {
        let mut connection = self.read.acquire().await?;
        passages(&mut connection, tenant, message_ids).await
    }

    /// How the journeys of a tenant since then ended; probes are not among them.
    pub async fn ended_since(&self, tenant: TenantId, since: jiff::Timestamp) -> Result<Vec<Ended>> {
        let rows = sqlx::query(
            "SELECT json_extract(json,'$.direction') AS way, json_extract(json,'$.outcome') AS outcome,
             substr(json_extract(json,'$.reply'),1,$3) AS reply, COUNT(DISTINCT COALESCE(message_id,id)) AS messages
             FROM journeys WHERE started>=$2 AND tenant=$1 AND probe IS NULL GROUP BY 1,2,3",
        )
        .bind(tenant.to_string())
        .bind(since.as_millisecond())
        .bind(limits::REPLY_BEGIN)
        .fetch_all(&self.read)
        .await?;
        let mut all = Vec::new();
        for r in rows {
            let Some(way) = r.try_get::<Option<String>, _>("way")? else { continue };
            let word = |text: &str| format!("\"{text}\"");
            all.push(Ended {
                direction: from_json("journeys", &word(&way))?,
                outcome: from_json("journeys", &word(r.try_get("outcome")?))?,
                reply: r.try_get("reply")?,
                messages: u64::try_from(r.try_get::<i64, _>("messages")?).unwrap_or(0),
            });
        }
        Ok(all)
    }

    /// The next of a tenant's journeys since then, newest first, behind the one that was read last.
    pub async fn journeys_since(
        &self,
        tenant: TenantId,
        since: jiff::Timestamp,
        behind: Option<&(jiff::Timestamp, String)>,
    ) -> Result<Vec<JourneyEntry>> {
        let rows = sqlx::query(
            "SELECT id,json FROM journeys WHERE tenant=$1 AND started>=$2 AND ($3 IS NULL OR (started,id)<($3,$4))
             ORDER BY started DESC, id DESC LIMIT $5",
        )
        .bind(tenant.to_string())
        .bind(since.as_millisecond())
        .bind(behind.map(|(at, _)| at.as_millisecond()))
        .bind(behind.map(|(_, id)| id))
        .bind(limits::JOURNEYS_READ)
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|r| from_json(&format!("journey {}", r.try_get::<String, _>("id")?), r.try_get("json")?))
            .collect()
    }

    /// Newest first.
    pub async fn journeys(&self, filter: &JourneyFilter) -> Result<Vec<JourneyEntry>> {
        let rows = sqlx::query(
            "SELECT id,json FROM journeys WHERE ($1 IS NULL OR tenant=$1) AND ($2 IS NULL OR instr(addresses,$2)>0)
             AND ($3 IS NULL OR message_id=$3) AND ($4 IS NULL OR probe=$4) ORDER BY started DESC, id DESC LIMIT $5",
        )
        .bind(filter.tenant.map(|t| t.to_string()))
        .bind(filter.address.as_ref().map(|a| a.to_lowercase()))
        .bind(&filter.message_id)
        .bind(&filter.probe)
        .bind(i64::from(filter.limit))
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|r| from_json(&format!("journey {}", r.try_get::<String, _>("id")?), r.try_get("json")?))
            .collect()
    }

    /// By its id or by any beginning of it that only one has.
    pub async fn journey(&self, id: &str) -> Result<Option<JourneyEntry>> {
        let rows = sqlx::query("SELECT id,json FROM journeys WHERE id>=$1 AND id<$2 LIMIT 2")
            .bind(id)
            .bind(beyond(id))
            .fetch_all(&self.read)
            .await?;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => Ok(Some(from_json(&format!("journey {id}"), row.try_get("json")?)?)),
            _ => Err(StoreError::Corrupt(format!("several journeys begin with {id}; give more of the id"))),
        }
    }
}

pub(crate) async fn passages(
    connection: &mut sqlx::SqliteConnection,
    tenant: TenantId,
    message_ids: &[String],
) -> Result<Vec<Passage>> {
    // the plus keeps SQLite from going through all journeys of the tenant instead
    let rows = sqlx::query(
        "SELECT id,json FROM journeys WHERE +tenant=$1 AND message_id IN (SELECT value FROM json_each($2))",
    )
    .bind(tenant.to_string())
    .bind(to_json(&message_ids)?)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|r| from_json(&format!("journey {}", r.try_get::<String, _>("id")?), r.try_get("json")?)).collect()
}
