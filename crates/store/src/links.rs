//! Rewritten links: the keys that sign them, destinations too long to stand in one, and how often each was clicked.
//! Who clicked is not known: a link does not tell its readers apart.

use crate::db::{from_millis, now_millis};
use crate::{Result, Store};
use serde::Serialize;
use sqlx::{QueryBuilder, Row as _, Sqlite};
use tenant::{Secret, TenantId};

/// Clicks on one link that ended alike.
#[derive(Clone, Debug, Serialize)]
pub struct Click {
    #[serde(skip)]
    pub tenant: Option<TenantId>,
    /// Of the message in which the link stood.
    pub journey: String,
    /// Where it leads, as far as it is told.
    pub url: String,
    /// `passed`, `warned`, `continued`, `blocked`, `expired`.
    pub result: String,
    pub first: jiff::Timestamp,
    pub last: jiff::Timestamp,
    pub times: u64,
}

impl Store {
    /// The tenant's key of this number: worked out of the key file, so that every process has it and none keeps it.
    pub fn link_key(&self, id: TenantId, number: u16) -> Secret {
        self.key.derived(&format!("links of tenant {id}, key {number}"))
    }

    /// Destinations that do not fit into a link, each under its digest, until `ends` (seconds since 1970).
    pub async fn keep_links(&self, tenant: TenantId, links: &[([u8; 16], String)], ends: i64) -> Result<()> {
        if links.is_empty() {
            return Ok(());
        }
        let tenant = tenant.to_string();
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO kept_links(tenant,id,url,ends) ");
        sql.push_values(links, |mut to, (id, url)| {
            to.push_bind(&tenant).push_bind(id.as_slice()).push_bind(url).push_bind(ends);
        });
        sql.push(" ON CONFLICT(tenant,id) DO UPDATE SET ends=max(ends,excluded.ends)");
        // what a link names must be there as long as the link, through a power cut too
        sql.build().execute(&self.durable).await?;
        Ok(())
    }

    pub async fn kept_link(&self, tenant: TenantId, id: [u8; 16]) -> Result<Option<String>> {
        let url = sqlx::query_scalar("SELECT url FROM kept_links WHERE tenant=$1 AND id=$2")
            .bind(tenant.to_string())
            .bind(id.as_slice());
        Ok(url.fetch_optional(&self.read).await?)
    }

    /// Adds to what was counted before.
    pub async fn put_clicks(&self, clicks: &[Click]) -> Result<()> {
        let now = now_millis();
        let mut tx = self.quick.begin().await?;
        for click in clicks {
            sqlx::query(
                "INSERT INTO clicks(tenant,journey,url,result,first,last,times) VALUES($1,$2,$3,$4,$5,$5,$6)
                 ON CONFLICT(tenant,journey,url,result) DO UPDATE SET last=excluded.last, times=times+excluded.times",
            )
            .bind(click.tenant.map(|t| t.to_string()).unwrap_or_default())
            .bind(&click.journey)
            .bind(&click.url)
            .bind(&click.result)
            .bind(now)
            .bind(i64::try_from(click.times).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// What was clicked in one message, the first click first.
    pub async fn clicks_of(&self, tenant: TenantId, journey: &str) -> Result<Vec<Click>> {
        let rows = sqlx::query(
            "SELECT journey,url,result,first,last,times FROM clicks WHERE tenant=$1 AND journey=$2 ORDER BY first,url,result",
        )
        .bind(tenant.to_string())
        .bind(journey)
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|r| {
                Ok(Click {
                    tenant: Some(tenant),
                    journey: r.try_get("journey")?,
                    url: r.try_get("url")?,
                    result: r.try_get("result")?,
                    first: from_millis(r.try_get("first")?),
                    last: from_millis(r.try_get("last")?),
                    times: u64::try_from(r.try_get::<i64, _>("times")?).unwrap_or(0),
                })
            })
            .collect()
    }

    /// Clicks of before, and destinations of links that lead on no more; in milliseconds since 1970.
    pub(crate) async fn forget_links(&self, before: i64) -> Result<()> {
        sqlx::query("DELETE FROM clicks WHERE last<$1").bind(before).execute(&self.quick).await?;
        sqlx::query("DELETE FROM kept_links WHERE ends<$1").bind(before / 1000).execute(&self.quick).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn links_are_kept_and_clicks_counted_by_tenant() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let (us, them) = (TenantId(uuid::Uuid::from_u128(1)), TenantId(uuid::Uuid::from_u128(2)));
        assert_ne!(store.link_key(us, 1), store.link_key(us, 2));
        assert_ne!(store.link_key(us, 1), store.link_key(them, 1));
        let ends = now_millis() / 1000 + 60;
        store.keep_links(us, &[([1; 16], "https://a.example/".into())], ends).await.unwrap();
        store.keep_links(us, &[([1; 16], "https://a.example/".into())], ends - 30).await.unwrap();
        assert_eq!(store.kept_link(us, [1; 16]).await.unwrap().as_deref(), Some("https://a.example/"));
        assert_eq!(store.kept_link(them, [1; 16]).await.unwrap(), None);
        let click = |tenant, times| Click {
            tenant: Some(tenant),
            journey: "j".into(),
            url: "https://a.example/".into(),
            result: "passed".into(),
            first: jiff::Timestamp::UNIX_EPOCH,
            last: jiff::Timestamp::UNIX_EPOCH,
            times,
        };
        store.put_clicks(&[click(us, 1), click(them, 5)]).await.unwrap();
        store.put_clicks(&[click(us, 2)]).await.unwrap();
        let told = store.clicks_of(us, "j").await.unwrap();
        assert_eq!((told.len(), told[0].times, told[0].result.as_str()), (1, 3, "passed"));
        store.forget_links(now_millis() + 1).await.unwrap();
        assert!(store.clicks_of(us, "j").await.unwrap().is_empty());
        assert!(store.kept_link(us, [1; 16]).await.unwrap().is_some());
        store.forget_links((ends + 1) * 1000).await.unwrap();
        assert_eq!(store.kept_link(us, [1; 16]).await.unwrap(), None);
    }
}
