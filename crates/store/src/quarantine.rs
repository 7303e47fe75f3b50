//! Beside held mail itself: what people said was judged wrongly, links that were used, and who was told how far.

use crate::db::{beyond, from_json, from_millis, now_millis, to_json};
use crate::{Held, JourneyEntry, Result, Store, StoreError, limits};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use tenant::TenantId;

/// Somebody says that a message was judged wrongly. It stays with all that was known, also when it is held no more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub id: String,
    pub at: Timestamp,
    pub tenant: TenantId,
    pub held: String,
    /// The account of the machine, or the address of the recipient.
    pub reporter: String,
    #[serde(flatten)]
    pub said: Reported,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reported {
    pub note: String,
    pub hold: crate::NewHold,
    /// As it was told in the journal; `None`: it was forgotten before.
    pub journey: Option<Box<JourneyEntry>>,
}

/// Whether a link may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// By whoever asked, now.
    Yours,
    /// Somebody is at it.
    UnderWay,
    /// It was used then, and this became of it.
    Used(Timestamp, String),
}

impl Store {
    /// The message itself is kept beside it. The same message reported again by the same person is one report.
    pub async fn put_report(&self, tenant: TenantId, held: &str, reporter: &str, said: &Reported) -> Result<String> {
        let id = uuid::Uuid::now_v7().to_string();
        let body = self.held_body(held).await?;
        self.bodies.put(&id, &body.into()).await?;
        let put = sqlx::query("INSERT INTO reports(id,tenant,at,held,reporter,json) VALUES($1,$2,$3,$4,$5,$6) ON CONFLICT(tenant,held,reporter) DO UPDATE SET json=excluded.json RETURNING id")
            .bind(&id)
            .bind(tenant.to_string())
            .bind(now_millis())
            .bind(held)
            .bind(reporter)
            .bind(to_json(said)?)
            .fetch_one(&self.durable)
            .await?;
        let kept: String = put.try_get("id")?;
        if kept != id {
            self.bodies.delete(&id).await?;
        }
        Ok(kept)
    }

    /// Newest first.
    pub async fn reports(&self, tenant: Option<TenantId>) -> Result<Vec<Report>> {
        let rows = sqlx::query("SELECT id,tenant,at,held,reporter,json FROM reports WHERE ($1 IS NULL OR tenant=$1) ORDER BY at DESC, id DESC")
            .bind(tenant.map(|t| t.to_string()))
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read_report).collect()
    }

    /// By its id or by any beginning of it that only one has.
    pub async fn report(&self, id: &str) -> Result<Option<Report>> {
        let rows = sqlx::query("SELECT id,tenant,at,held,reporter,json FROM reports WHERE id>=$1 AND id<$2 LIMIT 2")
            .bind(id)
            .bind(beyond(id))
            .fetch_all(&self.read)
            .await?;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => read_report(row).map(Some),
            _ => Err(StoreError::Corrupt(format!("several reports begin with {id}; give more of the id"))),
        }
    }

    /// The message that was reported.
    pub async fn report_body(&self, id: &str) -> Result<bytes::Bytes> {
        self.bodies.get(id).await
    }

    /// Reports, spent links and marks of digests that nobody needs any more.
    pub async fn forget_reports_before(&self, oldest: Timestamp) -> Result<()> {
        let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM reports WHERE at<$1 LIMIT $2")
            .bind(oldest.as_millisecond())
            .bind(limits::EXPIRED_AT_ONCE)
            .fetch_all(&self.read)
            .await?;
        for id in ids {
            sqlx::query("DELETE FROM reports WHERE id=$1").bind(&id).execute(&self.durable).await?;
            self.bodies.delete(&id).await?;
        }
        sqlx::query("DELETE FROM held_links WHERE ends<$1").bind(now_millis()).execute(&self.durable).await?;
        Ok(())
    }

    /// Takes a link for one use, whichever process asks; `ends` is when it would be no good anyway. Who was killed at it
    /// holds it for [`limits::LINK_CLAIM_MILLIS`] only.
    pub async fn claim_link(&self, id: &str, tenant: TenantId, ends: Timestamp) -> Result<Claim> {
        let now = now_millis();
        let claimed = sqlx::query("INSERT INTO held_links(id,tenant,at,ends) VALUES($1,$2,$3,$4) ON CONFLICT(id) DO UPDATE SET at=excluded.at WHERE held_links.done IS NULL AND held_links.at<$5")
            .bind(id)
            .bind(tenant.to_string())
            .bind(now)
            .bind(ends.as_millisecond())
            .bind(now - limits::LINK_CLAIM_MILLIS)
            .execute(&self.durable)
            .await?;
        if claimed.rows_affected() > 0 {
            return Ok(Claim::Yours);
        }
        Ok(self.link_used(id, tenant).await?.unwrap_or(Claim::UnderWay))
    }

    /// `None`: nobody used it so far.
    pub async fn link_used(&self, id: &str, tenant: TenantId) -> Result<Option<Claim>> {
        let row = sqlx::query("SELECT at,done FROM held_links WHERE id=$1 AND tenant=$2")
            .bind(id)
            .bind(tenant.to_string())
            .fetch_optional(&self.read)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let Some(done) = row.try_get::<Option<String>, _>("done")? else { return Ok(None) };
        Ok(Some(Claim::Used(from_millis(row.try_get("at")?), done)))
    }

    /// What became of it; `None` gives it back, since nothing was done.
    pub async fn settle_link(&self, id: &str, done: Option<&str>) -> Result<()> {
        let settle = match done {
            Some(done) => {
                sqlx::query("UPDATE held_links SET done=$2, at=$3 WHERE id=$1").bind(id).bind(done).bind(now_millis())
            }
            None => sqlx::query("DELETE FROM held_links WHERE id=$1 AND done IS NULL").bind(id),
        };
        settle.execute(&self.durable).await?;
        Ok(())
    }

    /// Up to when somebody was told of what is held; the tenant's own mark is under the empty address.
    pub async fn digest_mark(&self, tenant: TenantId, address: &str) -> Result<Option<Timestamp>> {
        let at: Option<i64> = sqlx::query_scalar("SELECT at FROM digests WHERE tenant=$1 AND address=$2")
            .bind(tenant.to_string())
            .bind(address)
            .fetch_optional(&self.read)
            .await?;
        Ok(at.map(from_millis))
    }

    pub async fn put_digest_mark(&self, tenant: TenantId, address: &str, at: Timestamp) -> Result<()> {
        sqlx::query("INSERT INTO digests(tenant,address,at) VALUES($1,$2,$3) ON CONFLICT(tenant,address) DO UPDATE SET at=excluded.at")
            .bind(tenant.to_string())
            .bind(address)
            .bind(at.as_millisecond())
            .execute(&self.durable)
            .await?;
        Ok(())
    }

    /// By it the links of digests are signed; the same as long as the key file is.
    pub fn quarantine_secret(&self, id: TenantId) -> tenant::Secret {
        self.key.derived(&format!("quarantine links of tenant {id}"))
    }

    /// Everything that has a file of its own.
    pub(crate) async fn bodies_known(&self) -> Result<std::collections::HashSet<String>> {
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT id FROM held UNION SELECT id FROM reports").fetch_all(&self.read).await?;
        Ok(ids.into_iter().collect())
    }

    /// One handing back of a held message at a time, whichever process does it. `None`: somebody is at it.
    pub fn lock_held(&self, held: &Held) -> Result<Option<crate::TenantLock>> {
        self.lock_one_of("held", &held.id)
    }
}

fn read_report(row: &sqlx::sqlite::SqliteRow) -> Result<Report> {
    let id: String = row.try_get("id")?;
    let tenant: String = row.try_get("tenant")?;
    Ok(Report {
        at: from_millis(row.try_get("at")?),
        tenant: tenant.parse().map_err(|_| StoreError::Corrupt(format!("report {id}: no tenant")))?,
        held: row.try_get("held")?,
        reporter: row.try_get("reporter")?,
        said: from_json(&format!("report {id}"), row.try_get("json")?)?,
        id,
    })
}
