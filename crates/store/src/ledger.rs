//! What the ledger asks: which messages gave a sign of life in a span of time, and everything that is known of each.
//! A held message leaves a line of history whatever becomes of it, so that "held, then released" is no hole.

use crate::db::{from_json, from_millis, to_json};
use crate::{Passage, Result, Store, journal};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use tenant::{Direction, TenantId};

/// What became of a held message, or of a try to hand it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldStep {
    /// Microsoft has it for these recipients.
    Released,
    /// A release that Microsoft did not take; it is still held.
    Refused,
    /// Somebody deleted it for good.
    Deleted,
    /// Its time here was over.
    Expired,
}

impl HeldStep {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            HeldStep::Released => "released",
            HeldStep::Refused => "refused",
            HeldStep::Deleted => "deleted",
            HeldStep::Expired => "expired",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeldEvent {
    pub held: String,
    pub at: Timestamp,
    pub step: HeldStep,
    /// The journey in which it came to be held.
    pub journey: String,
    pub direction: Direction,
    pub message_id: Option<String>,
    /// Those whom this step is about.
    pub recipients: Vec<String>,
    pub probe: bool,
    /// What Microsoft said, or who deleted it.
    pub answer: String,
}

/// A message that is held now, as far as the ledger asks.
#[derive(Clone, Debug)]
pub struct Kept {
    pub id: String,
    pub at: Timestamp,
    pub direction: Direction,
    pub message_id: Option<String>,
    pub recipients: Vec<String>,
    pub probe: bool,
}

/// All that is known here of some messages, whenever it was.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub passages: Vec<Passage>,
    pub kept: Vec<Kept>,
    pub history: Vec<HeldEvent>,
}

impl Store {
    /// Message-IDs, each once, of what came in, was held or left here between the two.
    pub async fn message_ids(&self, tenant: TenantId, from: Timestamp, to: Timestamp) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar(
            "SELECT message_id FROM journeys WHERE tenant=$1 AND started>=$2 AND started<$3 AND message_id IS NOT NULL
             UNION SELECT message_id FROM held_history WHERE tenant=$1 AND at>=$2 AND at<$3 AND message_id IS NOT NULL
             UNION SELECT json_extract(json,'$.message_id') FROM held WHERE tenant=$1 AND at>=$2 AND at<$3
               AND json_extract(json,'$.message_id') IS NOT NULL",
        )
        .bind(tenant.to_string())
        .bind(from.as_millisecond())
        .bind(to.as_millisecond())
        .fetch_all(&self.read)
        .await?)
    }

    /// Journeys of messages without a Message-ID, which nothing can be matched with.
    pub async fn unnamed(&self, tenant: TenantId, from: Timestamp, to: Timestamp) -> Result<u64> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM journeys WHERE tenant=$1 AND started>=$2 AND started<$3 AND message_id IS NULL",
        )
        .bind(tenant.to_string())
        .bind(from.as_millisecond())
        .bind(to.as_millisecond())
        .fetch_one(&self.read)
        .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Oldest first, all as it was at one moment: what is released meanwhile is either held or released, never both.
    pub async fn facts(&self, tenant: TenantId, message_ids: &[String]) -> Result<Facts> {
        let mut tx = self.read.begin().await?;
        let mut passages = journal::passages(&mut tx, tenant, message_ids).await?;
        passages.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
        let (who, ids) = (tenant.to_string(), to_json(&message_ids)?);
        let rows = sqlx::query(
            "SELECT id,at,json FROM held WHERE tenant=$1 AND json_extract(json,'$.message_id') IN (SELECT value FROM json_each($2))",
        )
        .bind(&who)
        .bind(&ids)
        .fetch_all(&mut *tx)
        .await?;
        let kept = rows.iter().map(read_kept).collect::<Result<_>>()?;
        let rows = sqlx::query(
            "SELECT seq,json FROM held_history WHERE +tenant=$1 AND message_id IN (SELECT value FROM json_each($2)) ORDER BY seq",
        )
        .bind(&who)
        .bind(&ids)
        .fetch_all(&mut *tx)
        .await?;
        let history = rows
            .iter()
            .map(|r| from_json(&format!("held history {}", r.try_get::<i64, _>("seq")?), r.try_get("json")?))
            .collect::<Result<_>>()?;
        Ok(Facts { passages, kept, history })
    }
}

fn read_kept(row: &sqlx::sqlite::SqliteRow) -> Result<Kept> {
    let id: String = row.try_get("id")?;
    let hold: crate::NewHold = from_json(&format!("held {id}"), row.try_get("json")?)?;
    Ok(Kept {
        id,
        at: from_millis(row.try_get("at")?),
        direction: hold.direction,
        message_id: hold.message_id,
        recipients: hold.envelope.recipients.into_iter().map(|r| r.address).collect(),
        probe: hold.probe,
    })
}
