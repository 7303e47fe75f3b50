//! The log of administrative acts. Each entry's hash covers the one before, so that nothing can be taken out, put in
//! or altered without [`Store::verify_acts`] naming the place. Whoever can write the whole file can also write a whole
//! new chain: keep the newest hash somewhere else if that must be noticed.

use crate::db::{from_millis, now_millis};
use crate::{Result, Store};
use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use sqlx::Row;
use tenant::TenantId;

#[derive(Clone, Debug, Serialize)]
pub struct Act {
    pub seq: i64,
    pub at: jiff::Timestamp,
    /// The account of the machine that ran the command, or `self-heal`.
    pub who: String,
    /// `connect`, `disconnect`, `apply`, `rollout`, `pause`, …
    pub act: String,
    /// Tenant id, or empty.
    pub tenant: String,
    pub detail: String,
    /// SHA-256 in hex over the previous hash and this entry.
    pub hash: String,
}

impl Act {
    fn hash_after(&self, previous: &str) -> String {
        // lengths keep neighbouring fields apart
        let at = self.at.as_millisecond().to_string();
        let parts = [previous, &self.seq.to_string(), &at, &self.who, &self.act, &self.tenant, &self.detail];
        let mut input = Vec::new();
        for part in parts {
            input.extend_from_slice(&(part.len() as u64).to_be_bytes());
            input.extend_from_slice(part.as_bytes());
        }
        digest(&SHA256, &input).as_ref().iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// What [`Store::verify_acts`] saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    pub entries: usize,
    pub newest_hash: Option<String>,
    /// The first entry that does not follow from the one before, and how.
    pub broken: Option<String>,
}

impl Store {
    pub async fn put_act(&self, who: &str, act: &str, tenant: Option<TenantId>, detail: &str) -> Result<()> {
        let mut tx = self.durable.begin_with("BEGIN IMMEDIATE").await?;
        let last = sqlx::query("SELECT seq,hash FROM acts ORDER BY seq DESC LIMIT 1").fetch_optional(&mut *tx).await?;
        let (seq, previous) = match last {
            Some(row) => (row.try_get::<i64, _>("seq")? + 1, row.try_get::<String, _>("hash")?),
            None => (1, String::new()),
        };
        let mut entry = Act {
            seq,
            at: from_millis(now_millis()),
            who: who.into(),
            act: act.into(),
            tenant: tenant.map(|t| t.to_string()).unwrap_or_default(),
            detail: detail.into(),
            hash: String::new(),
        };
        entry.hash = entry.hash_after(&previous);
        sqlx::query("INSERT INTO acts(seq,at,who,act,tenant,detail,hash) VALUES($1,$2,$3,$4,$5,$6,$7)")
            .bind(entry.seq)
            .bind(entry.at.as_millisecond())
            .bind(&entry.who)
            .bind(&entry.act)
            .bind(&entry.tenant)
            .bind(&entry.detail)
            .bind(&entry.hash)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Oldest first.
    pub async fn acts(&self) -> Result<Vec<Act>> {
        let rows = sqlx::query("SELECT seq,at,who,act,tenant,detail,hash FROM acts ORDER BY seq")
            .fetch_all(&self.read)
            .await?;
        let act = |r: &sqlx::sqlite::SqliteRow| {
            Ok(Act {
                seq: r.try_get("seq")?,
                at: from_millis(r.try_get("at")?),
                who: r.try_get("who")?,
                act: r.try_get("act")?,
                tenant: r.try_get("tenant")?,
                detail: r.try_get("detail")?,
                hash: r.try_get("hash")?,
            })
        };
        rows.iter().map(act).collect()
    }

    pub async fn verify_acts(&self) -> Result<Verified> {
        Ok(verify(&self.acts().await?))
    }
}

fn verify(acts: &[Act]) -> Verified {
    let mut previous = String::new();
    let mut broken = None;
    for (n, act) in acts.iter().enumerate() {
        let expected = i64::try_from(n).unwrap_or(i64::MAX) + 1;
        if act.seq != expected {
            broken = Some(format!("entry {expected} is missing: entry {} follows where it should be", act.seq));
            break;
        }
        if act.hash != act.hash_after(&previous) {
            broken = Some(format!("entry {} ({} at {}) was altered", act.seq, act.act, act.at));
            break;
        }
        previous.clone_from(&act.hash);
    }
    Verified { entries: acts.len(), newest_hash: acts.last().map(|a| a.hash.clone()), broken }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Vec<Act> {
        let mut all: Vec<Act> = Vec::new();
        for (seq, act) in (1..).zip(["connect", "apply", "pause", "disconnect"]) {
            let mut one = Act {
                seq,
                at: jiff::Timestamp::UNIX_EPOCH,
                who: "root".into(),
                act: act.into(),
                tenant: String::new(),
                detail: "x".into(),
                hash: String::new(),
            };
            one.hash = one.hash_after(all.last().map_or("", |a| &a.hash));
            all.push(one);
        }
        all
    }

    #[test]
    fn what_was_altered_taken_out_or_put_in_is_named() {
        assert_eq!(verify(&chain()).broken, None);
        let broken = |change: &dyn Fn(&mut Vec<Act>)| {
            let mut all = chain();
            change(&mut all);
            verify(&all).broken.unwrap_or_default()
        };
        assert!(broken(&|all| all[1].detail = "y".into()).starts_with("entry 2 (apply"));
        assert!(broken(&|all| drop(all.remove(1))).starts_with("entry 2 is missing"));
        assert!(broken(&|all| all.swap(1, 2)).starts_with("entry 2 is missing"));
        assert!(broken(&|all| all[3].at = jiff::Timestamp::now()).starts_with("entry 4 "));
        // moved between neighbouring fields
        assert!(broken(&|all| (all[2].who, all[2].act) = ("rootp".into(), "ause".into())).starts_with("entry 3 "));
    }
}
