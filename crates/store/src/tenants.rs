//! Tenants and the receipts of their connection, sealed at rest.

use crate::db::{from_millis, now_millis, to_json};
use crate::{Result, Store, StoreError};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use tenant::{Tenant, TenantId};

/// What one step of connecting left behind, with the prior value where it changed one.
#[derive(Clone, Debug)]
pub struct StepRecord {
    pub step: String,
    pub record: Value,
    pub at: jiff::Timestamp,
}

impl Store {
    pub async fn put_tenant(&self, tenant: &Tenant) -> Result<()> {
        let mut tx = self.durable.begin_with("BEGIN IMMEDIATE").await?;
        self.write_tenant(&mut tx, tenant).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Changes a part of a tenant as it is now, whatever another process wrote meanwhile. `None`: there is no such tenant.
    pub async fn change_tenant(&self, id: TenantId, change: impl FnOnce(&mut Tenant)) -> Result<Option<Tenant>> {
        let mut tx = self.durable.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query("SELECT id,sealed FROM tenants WHERE id=$1").bind(id.to_string());
        let Some(row) = row.fetch_optional(&mut *tx).await? else { return Ok(None) };
        let mut tenant = self.open_tenant(&row)?;
        change(&mut tenant);
        self.write_tenant(&mut tx, &tenant).await?;
        tx.commit().await?;
        Ok(Some(tenant))
    }

    async fn write_tenant(&self, connection: &mut SqliteConnection, tenant: &Tenant) -> Result<()> {
        let id = tenant.id.to_string();
        let sealed = self.key.seal(&format!("tenant {id}"), to_json(tenant)?.as_bytes())?;
        sqlx::query("INSERT INTO tenants(id,label,sealed) VALUES($1,$2,$3) ON CONFLICT(id) DO UPDATE SET label=excluded.label, sealed=excluded.sealed")
            .bind(&id)
            .bind(&tenant.label)
            .bind(sealed)
            .execute(&mut *connection)
            .await?;
        sqlx::query("UPDATE counters SET value=value+1 WHERE name='tenants'").execute(&mut *connection).await?;
        Ok(())
    }

    pub async fn tenant(&self, id: TenantId) -> Result<Option<Tenant>> {
        let row = sqlx::query("SELECT id,sealed FROM tenants WHERE id=$1")
            .bind(id.to_string())
            .fetch_optional(&self.read)
            .await?;
        row.map(|r| self.open_tenant(&r)).transpose()
    }

    pub async fn tenants(&self) -> Result<Vec<Tenant>> {
        let rows = sqlx::query("SELECT id,sealed FROM tenants ORDER BY label").fetch_all(&self.read).await?;
        rows.iter().map(|r| self.open_tenant(r)).collect()
    }

    fn open_tenant(&self, row: &sqlx::sqlite::SqliteRow) -> Result<Tenant> {
        let name = format!("tenant {}", row.try_get::<String, _>("id")?);
        let plain = self.key.open_sealed(&name, row.try_get("sealed")?)?;
        serde_json::from_slice(&plain).map_err(|e| StoreError::Corrupt(format!("{name}: {e}")))
    }

    /// Grows with every change of a tenant; the gateway asks it to know when to read again.
    pub async fn tenants_revision(&self) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT value FROM counters WHERE name='tenants'").fetch_one(&self.read).await?)
    }

    /// Forgets the tenant, its receipts, directory and zone records. Journal and held mail stay.
    pub async fn delete_tenant(&self, id: TenantId) -> Result<()> {
        let mut tx = self.durable.begin_with("BEGIN IMMEDIATE").await?;
        for sql in [
            "DELETE FROM tenants WHERE id=$1",
            "DELETE FROM steps WHERE tenant=$1",
            "DELETE FROM directory WHERE tenant=$1",
            "DELETE FROM members WHERE tenant=$1",
            "DELETE FROM directory_sync WHERE tenant=$1",
            "DELETE FROM zone WHERE tenant=$1",
            "DELETE FROM plans WHERE tenant=$1",
            "DELETE FROM receipts WHERE tenant=$1",
            "DELETE FROM pauses WHERE tenant=$1",
            "DELETE FROM user_lists WHERE tenant=$1",
            "DELETE FROM digests WHERE tenant=$1",
        ] {
            sqlx::query(sql).bind(id.to_string()).execute(&mut *tx).await?;
        }
        sqlx::query("UPDATE counters SET value=value+1 WHERE name='tenants'").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    pub async fn put_step(&self, id: TenantId, step: &str, record: &Value) -> Result<()> {
        let sealed = self.key.seal(&format!("step {id} {step}"), to_json(record)?.as_bytes())?;
        sqlx::query("INSERT INTO steps(tenant,step,at,sealed) VALUES($1,$2,$3,$4) ON CONFLICT(tenant,step) DO UPDATE SET at=excluded.at, sealed=excluded.sealed")
            .bind(id.to_string())
            .bind(step)
            .bind(now_millis())
            .bind(sealed)
            .execute(&self.durable)
            .await?;
        Ok(())
    }

    pub async fn step(&self, id: TenantId, step: &str) -> Result<Option<Value>> {
        let row = sqlx::query("SELECT step,at,sealed FROM steps WHERE tenant=$1 AND step=$2")
            .bind(id.to_string())
            .bind(step)
            .fetch_optional(&self.read)
            .await?;
        Ok(row.map(|row| self.opened(id, &row)).transpose()?.map(|s| s.record))
    }

    pub async fn steps(&self, id: TenantId) -> Result<Vec<StepRecord>> {
        let rows = sqlx::query("SELECT step,at,sealed FROM steps WHERE tenant=$1 ORDER BY at,step")
            .bind(id.to_string())
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(|row| self.opened(id, row)).collect()
    }

    fn opened(&self, id: TenantId, row: &SqliteRow) -> Result<StepRecord> {
        let step: String = row.try_get("step")?;
        let name = format!("step {id} {step}");
        let plain = self.key.open_sealed(&name, row.try_get("sealed")?)?;
        let record = serde_json::from_slice(&plain).map_err(|e| StoreError::Corrupt(format!("{name}: {e}")))?;
        Ok(StepRecord { step, record, at: from_millis(row.try_get("at")?) })
    }

    pub async fn delete_step(&self, id: TenantId, step: &str) -> Result<()> {
        sqlx::query("DELETE FROM steps WHERE tenant=$1 AND step=$2")
            .bind(id.to_string())
            .bind(step)
            .execute(&self.durable)
            .await?;
        Ok(())
    }
}
