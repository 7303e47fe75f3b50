//! The journal: exactly one entry a journey, and what people ask of it.

use crate::db::{from_json, to_json};
use crate::{Result, Store, StoreError, limits};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use tenant::{Direction, TenantId};

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
        })
    }
}

/// What one step took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTime {
    pub step: String,
    pub micros: u64,
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
    pub bytes: u64,
    pub proofs: verdict::Proofs,
    pub anomalies: Vec<String>,
    pub findings: Vec<verdict::Finding>,
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
    /// 1 = first time through us; more = a rule of the tenant is broken.
    pub visits: u32,
    /// Token of the probe that this message is.
    pub probe: Option<String>,
    /// The rule that sent it stamped the newest secret.
    #[serde(default)]
    pub newest_token: bool,
    pub steps: Vec<StepTime>,
}

/// As much of a journey as tells that a message was with us, and for whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Passage {
    pub id: String,
    pub direction: Option<Direction>,
    pub recipients: Vec<String>,
    pub message_id: Option<String>,
    pub outcome: Outcome,
    pub probe: Option<String>,
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

impl Store {
    pub async fn put_journey(&self, entry: &JourneyEntry) -> Result<()> {
        let addresses = std::iter::once(&entry.sender)
            .chain(&entry.recipients)
            .fold(String::new(), |all, a| all + " " + &a.to_lowercase());
        sqlx::query("INSERT OR REPLACE INTO journeys(id,tenant,started,message_id,addresses,probe,json) VALUES($1,$2,$3,$4,$5,$6,$7)")
            .bind(&entry.id)
            .bind(entry.tenant.map(|t| t.to_string()))
            .bind(entry.started.as_millisecond())
            .bind(&entry.message_id)
            .bind(addresses)
            .bind(&entry.probe)
            .bind(to_json(entry)?)
            .execute(&self.quick)
            .await?;
        Ok(())
    }

    /// Deletes journeys and alerts that are older; returns how many.
    pub async fn forget_before(&self, before: jiff::Timestamp) -> Result<u64> {
        let before = before.as_millisecond();
        let journeys = sqlx::query("DELETE FROM journeys WHERE started<$1").bind(before).execute(&self.quick).await?;
        let alerts = sqlx::query("DELETE FROM alerts WHERE last<$1").bind(before).execute(&self.quick).await?;
        sqlx::query("DELETE FROM notices WHERE alert NOT IN (SELECT id FROM alerts)").execute(&self.quick).await?;
        Ok(journeys.rows_affected() + alerts.rows_affected())
    }

    /// Where messages of these ids were with us, whenever that was; Message-IDs without their angle brackets.
    pub async fn passages(&self, tenant: TenantId, message_ids: &[String]) -> Result<Vec<Passage>> {
        let rows = sqlx::query(
            "SELECT id,json FROM journeys WHERE tenant=$1 AND message_id IN (SELECT value FROM json_each($2))",
        )
        .bind(tenant.to_string())
        .bind(to_json(&message_ids)?)
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
        let rows = sqlx::query("SELECT id,json FROM journeys WHERE id=$1 OR substr(id,1,length($1))=$1 LIMIT 2")
            .bind(id)
            .fetch_all(&self.read)
            .await?;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => Ok(Some(from_json(&format!("journey {id}"), row.try_get("json")?)?)),
            _ => Err(StoreError::Corrupt(format!("several journeys begin with {id}; give more of the id"))),
        }
    }
}
