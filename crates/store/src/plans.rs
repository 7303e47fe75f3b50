//! Plans as they were shown, what each applied step left behind, and breaks that somebody asked for.

use crate::db::{from_json, from_millis, now_millis, to_json};
use crate::{Result, Store, StoreError, limits};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row;
use tenant::TenantId;

/// One applied step of a plan; sealed at rest, because prior values may be secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The plan by its id, or the command that was no plan.
    pub plan: String,
    /// Who had it applied: `apply`, `connect`, `disconnect`, `self-heal` or `watchdog`.
    pub by: String,
    /// As in the plan, e.g. `change mail flow rule “Posthouse inbound”`.
    pub step: String,
    pub object: String,
    /// The cmdlet or request.
    pub call: String,
    /// The object as it was; `null`: it was not there.
    pub prior: Value,
    /// `under way`, `done`, or what Microsoft said; begins with `outcome unknown` where nobody can tell.
    pub answer: String,
}

impl Receipt {
    pub const UNDER_WAY: &'static str = "under way";
    pub const DONE: &'static str = "done";
    /// Begin of the answer where the request may have been carried out although its answer was lost.
    pub const OUTCOME_UNKNOWN: &'static str = "outcome unknown";
    /// True unless it is certain that the step changed nothing.
    pub fn may_have_changed(&self) -> bool {
        self.answer == Receipt::DONE
            || self.answer == Receipt::UNDER_WAY
            || self.answer.starts_with(Receipt::OUTCOME_UNKNOWN)
    }
}

/// A break in watching and healing.
#[derive(Clone, Debug, Serialize)]
pub struct Pause {
    pub until: jiff::Timestamp,
    pub why: String,
}

impl Store {
    pub async fn put_plan(&self, tenant: TenantId, id: &str, plan: &Value) -> Result<()> {
        let mut tx = self.durable.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT OR REPLACE INTO plans(tenant,id,at,json) VALUES($1,$2,$3,$4)")
            .bind(tenant.to_string())
            .bind(id)
            .bind(now_millis())
            .bind(to_json(plan)?)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM plans WHERE at<$1")
            .bind(now_millis() - limits::PLAN_DAYS_MAX * 86_400_000)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    pub async fn plan(&self, tenant: TenantId, id: &str) -> Result<Option<Value>> {
        let row: Option<String> = sqlx::query_scalar("SELECT json FROM plans WHERE tenant=$1 AND id=$2")
            .bind(tenant.to_string())
            .bind(id)
            .fetch_optional(&self.read)
            .await?;
        row.map(|text| from_json(&format!("plan {id}"), &text)).transpose()
    }

    /// Written before the step is taken, so that a step which a power cut hides is not forgotten; its number is what
    /// [`Store::end_receipt`] wants.
    pub async fn begin_receipt(&self, tenant: TenantId, receipt: &Receipt) -> Result<i64> {
        let done = sqlx::query("INSERT INTO receipts(tenant,at,sealed) VALUES($1,$2,$3)")
            .bind(tenant.to_string())
            .bind(now_millis())
            .bind(self.sealed_receipt(tenant, receipt)?)
            .execute(&self.durable)
            .await?;
        Ok(done.last_insert_rowid())
    }

    pub async fn end_receipt(&self, tenant: TenantId, number: i64, receipt: &Receipt) -> Result<()> {
        sqlx::query("UPDATE receipts SET sealed=$2 WHERE id=$1")
            .bind(number)
            .bind(self.sealed_receipt(tenant, receipt)?)
            .execute(&self.durable)
            .await?;
        Ok(())
    }

    fn sealed_receipt(&self, tenant: TenantId, receipt: &Receipt) -> Result<Vec<u8>> {
        self.key.seal(&format!("receipt {tenant}"), to_json(receipt)?.as_bytes())
    }

    /// Oldest first.
    pub async fn receipts(&self, tenant: TenantId) -> Result<Vec<(jiff::Timestamp, Receipt)>> {
        let rows = sqlx::query("SELECT at,sealed FROM receipts WHERE tenant=$1 ORDER BY id")
            .bind(tenant.to_string())
            .fetch_all(&self.read)
            .await?;
        let name = format!("receipt {tenant}");
        let open = |row: &sqlx::sqlite::SqliteRow| {
            let plain = self.key.open_sealed(&name, row.try_get("sealed")?)?;
            let receipt = serde_json::from_slice(&plain).map_err(|e| StoreError::Corrupt(format!("{name}: {e}")))?;
            Ok((from_millis(row.try_get("at")?), receipt))
        };
        rows.iter().map(open).collect()
    }

    /// The number of the newest receipt, which grows with every step that is begun.
    pub async fn last_receipt(&self, tenant: TenantId) -> Result<Option<i64>> {
        let newest = sqlx::query_scalar("SELECT max(id) FROM receipts WHERE tenant=$1").bind(tenant.to_string());
        Ok(newest.fetch_one(&self.read).await?)
    }

    /// Until then nothing is watched or healed in the tenant; `None` ends the break.
    pub async fn pause(&self, tenant: TenantId, pause: Option<&Pause>) -> Result<()> {
        let mut tx = self.durable.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM pauses WHERE tenant=$1").bind(tenant.to_string()).execute(&mut *tx).await?;
        if let Some(pause) = pause {
            sqlx::query("INSERT INTO pauses(tenant,until,why) VALUES($1,$2,$3)")
                .bind(tenant.to_string())
                .bind(pause.until.as_millisecond())
                .bind(&pause.why)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The break that is on now.
    pub async fn paused(&self, tenant: TenantId) -> Result<Option<Pause>> {
        let row = sqlx::query("SELECT until,why FROM pauses WHERE tenant=$1 AND until>$2")
            .bind(tenant.to_string())
            .bind(now_millis())
            .fetch_optional(&self.read)
            .await?;
        row.map(|r| Ok(Pause { until: from_millis(r.try_get("until")?), why: r.try_get("why")? })).transpose()
    }
}
