//! Users, groups and mailboxes of a tenant as last synchronised.

use crate::db::{from_json, to_json};
use crate::{Result, Store};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::Row;
use tenant::TenantId;

/// Everything that was synchronised, at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Directory {
    pub users: Vec<User>,
    pub groups: Vec<Group>,
    pub mailboxes: Vec<Mailbox>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    pub id: String,
    pub upn: String,
    pub display_name: String,
    pub mail: Option<String>,
    pub addresses: Vec<String>,
    pub enabled: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    pub id: String,
    pub display_name: String,
    pub mail: Option<String>,
    pub kind: String,
    /// Object ids of users and groups.
    pub members: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mailbox {
    pub id: String,
    pub address: String,
    pub display_name: String,
    /// `UserMailbox`, `SharedMailbox`, `RoomMailbox`, …
    pub kind: String,
    pub addresses: Vec<String>,
}

impl Store {
    pub async fn replace_directory(&self, id: TenantId, directory: &Directory) -> Result<()> {
        let mut rows: Vec<(&str, &str, String)> = Vec::new();
        for user in &directory.users {
            rows.push(("user", &user.id, to_json(user)?));
        }
        for group in &directory.groups {
            rows.push(("group", &group.id, to_json(group)?));
        }
        for mailbox in &directory.mailboxes {
            rows.push(("mailbox", &mailbox.id, to_json(mailbox)?));
        }
        let mut tx = self.durable.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM directory WHERE tenant=$1").bind(id.to_string()).execute(&mut *tx).await?;
        for (kind, object, json) in rows {
            sqlx::query("INSERT OR REPLACE INTO directory(tenant,kind,id,json) VALUES($1,$2,$3,$4)")
                .bind(id.to_string())
                .bind(kind)
                .bind(object)
                .bind(json)
                .execute(&mut *tx)
                .await?;
        }
        // the gateway's list of people to impersonate comes from here: let it read again
        sqlx::query("UPDATE counters SET value=value+1 WHERE name='tenants'").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    pub async fn directory(&self, id: TenantId) -> Result<Directory> {
        Ok(Directory {
            users: self.objects(id, "user").await?,
            groups: self.objects(id, "group").await?,
            mailboxes: self.objects(id, "mailbox").await?,
        })
    }

    async fn objects<T: DeserializeOwned>(&self, id: TenantId, kind: &str) -> Result<Vec<T>> {
        let rows = sqlx::query("SELECT id,json FROM directory WHERE tenant=$1 AND kind=$2 ORDER BY id")
            .bind(id.to_string())
            .bind(kind)
            .fetch_all(&self.read)
            .await?;
        rows.iter()
            .map(|r| from_json(&format!("{kind} {}", r.try_get::<String, _>("id")?), r.try_get("json")?))
            .collect()
    }
}
