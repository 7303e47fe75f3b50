//! Senders whom single users let through or keep out, each for their own mail alone.

use crate::db::{from_json, to_json};
use crate::{Result, Store, limits};
use sqlx::Row;
use std::collections::{HashMap, HashSet};
use tenant::{Entry, Lists, Pattern, TenantId};

impl Store {
    /// Whom one person lists.
    pub async fn user_lists(&self, tenant: TenantId, address: &str) -> Result<Lists> {
        let rows =
            sqlx::query("SELECT address,blocks,json FROM user_lists WHERE tenant=$1 AND address=$2 ORDER BY rowid")
                .bind(tenant.to_string())
                .bind(address.to_lowercase())
                .fetch_all(&self.read)
                .await?;
        let mut lists = Lists::default();
        rows.iter().try_for_each(|row| put(&mut lists, row))?;
        Ok(lists)
    }

    /// Everybody's who has any, under each address of theirs.
    pub async fn all_user_lists(&self, tenant: TenantId) -> Result<HashMap<String, Lists>> {
        let rows = sqlx::query("SELECT address,blocks,json FROM user_lists WHERE tenant=$1 ORDER BY rowid")
            .bind(tenant.to_string())
            .fetch_all(&self.read)
            .await?;
        let mut all: HashMap<String, Lists> = HashMap::new();
        for row in &rows {
            put(all.entry(row.try_get("address")?).or_default(), row)?;
        }
        if all.is_empty() {
            return Ok(all);
        }
        let owners: HashSet<String> = all.keys().cloned().collect();
        self.each_mailbox(tenant, |mailbox| {
            if let Some(lists) = mailbox.names().find_map(|name| owners.get(name)).and_then(|o| all.get(o).cloned()) {
                for name in mailbox.names() {
                    all.entry(name.clone()).or_insert_with(|| lists.clone());
                }
            }
        })
        .await?;
        Ok(all)
    }

    /// One entry for a sender: who is blocked is no longer allowed, and the other way round. False: there is no room.
    pub async fn put_user_entry(&self, tenant: TenantId, address: &str, blocks: bool, entry: &Entry) -> Result<bool> {
        let (address, sender) = (address.to_lowercase(), entry.sender.to_string());
        let mut tx = self.durable.begin_with("BEGIN IMMEDIATE").await?;
        let others: i64 =
            sqlx::query_scalar("SELECT count(*) FROM user_lists WHERE tenant=$1 AND address=$2 AND sender<>$3")
                .bind(tenant.to_string())
                .bind(&address)
                .bind(&sender)
                .fetch_one(&mut *tx)
                .await?;
        if others >= limits::USER_ENTRIES_MAX {
            return Ok(false);
        }
        sqlx::query("INSERT INTO user_lists(tenant,address,sender,blocks,json) VALUES($1,$2,$3,$4,$5) ON CONFLICT(tenant,address,sender) DO UPDATE SET blocks=excluded.blocks, json=excluded.json")
            .bind(tenant.to_string())
            .bind(&address)
            .bind(&sender)
            .bind(blocks)
            .bind(to_json(entry)?)
            .execute(&mut *tx)
            .await?;
        // the gateway reads its tenants again
        sqlx::query("UPDATE counters SET value=value+1 WHERE name='tenants'").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// False: it was not there.
    pub async fn remove_user_entry(
        &self,
        tenant: TenantId,
        address: &str,
        blocks: bool,
        sender: &Pattern,
    ) -> Result<bool> {
        let mut tx = self.durable.begin_with("BEGIN IMMEDIATE").await?;
        let gone = sqlx::query("DELETE FROM user_lists WHERE tenant=$1 AND address=$2 AND sender=$3 AND blocks=$4")
            .bind(tenant.to_string())
            .bind(address.to_lowercase())
            .bind(sender.to_string())
            .bind(blocks)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE counters SET value=value+1 WHERE name='tenants'").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(gone.rows_affected() > 0)
    }
}

fn put(lists: &mut Lists, row: &sqlx::sqlite::SqliteRow) -> Result<()> {
    let whose: String = row.try_get("address")?;
    let entry: Entry = from_json(&format!("list of {whose}"), row.try_get("json")?)?;
    let blocks: bool = row.try_get("blocks")?;
    if blocks { &mut lists.block } else { &mut lists.allow }.push(entry);
    Ok(())
}
