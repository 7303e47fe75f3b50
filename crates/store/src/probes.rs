//! Probe messages that prove the round trip, and how they arrived.

use crate::db::from_millis;
use crate::{Result, Store};
use serde::Serialize;
use sqlx::Row;
use tenant::{Direction, TenantId};

#[derive(Clone, Debug, Serialize)]
pub struct Probe {
    pub token: String,
    pub tenant: TenantId,
    pub direction: Direction,
    pub created: jiff::Timestamp,
}

/// A probe that reached the far end.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeArrival {
    pub token: String,
    pub at: jiff::Timestamp,
    /// Its header section as it arrived.
    pub headers: String,
    /// True when our mark was still on it: the strip rule does not work.
    pub mark_seen: bool,
}

impl Store {
    pub async fn put_probe(&self, probe: &Probe) -> Result<()> {
        sqlx::query("INSERT OR REPLACE INTO probes(token,tenant,direction,created) VALUES($1,$2,$3,$4)")
            .bind(&probe.token)
            .bind(probe.tenant.to_string())
            .bind(probe.direction.as_str())
            .bind(probe.created.as_millisecond())
            .execute(&self.durable)
            .await?;
        Ok(())
    }

    pub async fn probe(&self, token: &str) -> Result<Option<Probe>> {
        let row = sqlx::query("SELECT token,tenant,direction,created FROM probes WHERE token=$1")
            .bind(token)
            .fetch_optional(&self.read)
            .await?;
        let Some(r) = row else { return Ok(None) };
        let (tenant, direction): (String, String) = (r.try_get("tenant")?, r.try_get("direction")?);
        let (Ok(tenant), Some(direction)) = (tenant.parse(), Direction::parse(&direction)) else { return Ok(None) };
        Ok(Some(Probe { token: r.try_get("token")?, tenant, direction, created: from_millis(r.try_get("created")?) }))
    }

    pub async fn put_probe_arrival(&self, arrival: &ProbeArrival) -> Result<()> {
        sqlx::query("INSERT INTO probe_arrivals(token,at,headers,mark_seen) VALUES($1,$2,$3,$4)")
            .bind(&arrival.token)
            .bind(arrival.at.as_millisecond())
            .bind(&arrival.headers)
            .bind(arrival.mark_seen)
            .execute(&self.quick)
            .await?;
        Ok(())
    }

    pub async fn probe_arrivals(&self, token: &str) -> Result<Vec<ProbeArrival>> {
        let rows = sqlx::query("SELECT token,at,headers,mark_seen FROM probe_arrivals WHERE token=$1 ORDER BY at")
            .bind(token)
            .fetch_all(&self.read)
            .await?;
        rows.iter()
            .map(|r| {
                Ok(ProbeArrival {
                    token: r.try_get("token")?,
                    at: from_millis(r.try_get("at")?),
                    headers: r.try_get("headers")?,
                    mark_seen: r.try_get("mark_seen")?,
                })
            })
            .collect()
    }
}
