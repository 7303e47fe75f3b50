//! Records of the connector zone that the gateway serves.

use crate::{Result, Store};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use tenant::TenantId;

/// One record; names in lower case without the trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneRecord {
    pub tenant: Option<TenantId>,
    pub name: String,
    /// `TXT`, `A` or `MX`
    pub kind: String,
    /// The text, the address, or `10 host.example`.
    pub value: String,
}

impl Store {
    pub async fn put_zone_record(&self, record: &ZoneRecord) -> Result<()> {
        sqlx::query("INSERT OR REPLACE INTO zone(tenant,name,kind,value) VALUES($1,$2,$3,$4)")
            .bind(record.tenant.map(|t| t.to_string()))
            .bind(record.name.to_ascii_lowercase())
            .bind(&record.kind)
            .bind(&record.value)
            .execute(&self.durable)
            .await?;
        Ok(())
    }

    pub async fn zone_records(&self, name: &str) -> Result<Vec<ZoneRecord>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let rows = sqlx::query("SELECT tenant,name,kind,value FROM zone WHERE name=$1 ORDER BY kind,value")
            .bind(name)
            .fetch_all(&self.read)
            .await?;
        rows.iter()
            .map(|r| {
                let tenant: Option<String> = r.try_get("tenant")?;
                Ok(ZoneRecord {
                    tenant: tenant.and_then(|t| t.parse().ok()),
                    name: r.try_get("name")?,
                    kind: r.try_get("kind")?,
                    value: r.try_get("value")?,
                })
            })
            .collect()
    }

    pub async fn delete_zone_records(&self, name: &str) -> Result<()> {
        sqlx::query("DELETE FROM zone WHERE name=$1")
            .bind(name.trim_end_matches('.').to_ascii_lowercase())
            .execute(&self.durable)
            .await?;
        Ok(())
    }
}
