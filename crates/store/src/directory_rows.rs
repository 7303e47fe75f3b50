//! One page of a directory on its way into the store: rows, mailboxes, memberships and the place where the reading goes
//! on, in one transaction.

use crate::db::{from_json, now_millis, to_json};
use crate::directory::UNCONFIRMED;
use crate::directory_sync::{GroupChange, SyncKind, SyncState, Told, UserChange};
use crate::{Mailbox, Result, User};
use sqlx::{Row, Sqlite, Transaction};

/// A transaction on one tenant's directory, and whether it changed anything.
pub(crate) struct Writing<'t> {
    pub tx: Transaction<'t, Sqlite>,
    pub tenant: String,
    pub generation: i64,
    pub changed: bool,
}

impl Writing<'_> {
    pub(crate) async fn moves(&mut self, before: &SyncState, told: usize, more: bool, link: &str) -> Result<bool> {
        let seen = if before.more { before.seen } else { 0 } + told as u64;
        if before.link.is_empty() {
            // a tenant that was forgotten meanwhile has a place no more, and gets none
            let sql = "INSERT INTO directory_sync(tenant,kind,generation,whole,link,more,seen,changed) VALUES($1,$2,$3,1,'',0,0,0) ON CONFLICT DO NOTHING";
            let query = sqlx::query(sql).bind(&self.tenant).bind(before.kind.name()).bind(before.generation);
            query.execute(&mut *self.tx).await?;
        }
        let sql = "UPDATE directory_sync SET whole=$4, link=$5, more=$6, seen=$7, finished=COALESCE($8,finished) WHERE tenant=$1 AND kind=$2 AND generation=$3 AND link=$9";
        let moved = sqlx::query(sql)
            .bind(&self.tenant)
            .bind(before.kind.name())
            .bind(before.generation)
            .bind(i64::from(before.whole && more))
            .bind(link)
            .bind(i64::from(more))
            .bind(i64::try_from(seen).unwrap_or(i64::MAX))
            .bind((!more).then(now_millis))
            .bind(&before.link)
            .execute(&mut *self.tx)
            .await?;
        Ok(moved.rows_affected() > 0)
    }

    async fn known(&mut self, kind: &str, id: &str) -> Result<Option<(String, i64)>> {
        let row = sqlx::query("SELECT json,generation FROM directory WHERE tenant=$1 AND kind=$2 AND id=$3")
            .bind(&self.tenant)
            .bind(kind.to_owned())
            .bind(id)
            .fetch_optional(&mut *self.tx)
            .await?;
        row.map(|r| Ok((r.try_get("json")?, r.try_get("generation")?))).transpose()
    }

    pub(crate) async fn put(&mut self, kind: &str, id: &str, json: &str) -> Result<()> {
        match self.known(kind, id).await? {
            Some((known, generation)) if known == json && generation == self.generation => return Ok(()),
            Some((known, _)) if known == json => {}
            _ => self.changed = true,
        }
        sqlx::query("INSERT INTO directory(tenant,kind,id,json,generation) VALUES($1,$2,$3,$4,$5) ON CONFLICT(tenant,kind,id) DO UPDATE SET json=excluded.json, generation=excluded.generation")
            .bind(&self.tenant)
            .bind(kind.to_owned())
            .bind(id)
            .bind(json)
            .bind(self.generation)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    pub(crate) async fn delete(&mut self, kind: &str, id: &str) -> Result<()> {
        let gone = sqlx::query("DELETE FROM directory WHERE tenant=$1 AND kind=$2 AND id=$3")
            .bind(&self.tenant)
            .bind(kind.to_owned())
            .bind(id)
            .execute(&mut *self.tx)
            .await?;
        self.changed |= gone.rows_affected() > 0;
        Ok(())
    }

    pub(crate) async fn user(&mut self, row: Told<UserChange>) -> Result<()> {
        let change = match row {
            Told::Changed(change) => change,
            Told::Gone { id, for_good } => {
                for kind in ["user", "mailbox", "unconfirmed"] {
                    self.delete(kind, &id).await?;
                }
                return self.gone(&id, for_good).await;
            }
        };
        // what an older generation knew may have been cleared since: what is not told now was never set
        let known = self.known("user", &change.id).await?.filter(|(_, generation)| *generation == self.generation);
        let known = known.map(|(json, _)| from_json(&format!("user {}", change.id), &json)).transpose()?;
        let user = change.of(known);
        self.put("user", &user.id, &to_json(&user)?).await?;
        self.mailbox_of(&user).await
    }

    /// Graph lets expect a mailbox and tells its names; whether there is one, and of what kind, is Exchange's to say.
    async fn mailbox_of(&mut self, user: &User) -> Result<()> {
        let confirmed = self.known("mailbox", &user.id).await?;
        let (Some(address), addresses) = (user.mailbox_address(), user.addresses.clone()) else {
            return self.delete("unconfirmed", &user.id).await;
        };
        let mailbox = match &confirmed {
            None => Mailbox {
                id: user.id.clone(),
                address: address.clone(),
                display_name: user.display_name.clone(),
                kind: UNCONFIRMED.into(),
                addresses,
            },
            Some((json, _)) => {
                let known: Mailbox = from_json(&format!("mailbox {}", user.id), json)?;
                let addresses = if addresses.is_empty() { known.addresses } else { addresses };
                let (address, display_name) = (address.clone(), user.display_name.clone());
                Mailbox { address, display_name, addresses, ..known }
            }
        };
        // the generation of the list of mailboxes, so that a list under way does not take away what is new
        let of_users = self.generation;
        let sql = "SELECT generation FROM directory_sync WHERE tenant=$1 AND kind='mailbox'";
        let newest: Option<i64> = sqlx::query_scalar(sql).bind(&self.tenant).fetch_optional(&mut *self.tx).await?;
        self.generation = confirmed.as_ref().map_or(newest.unwrap_or(0), |(_, generation)| *generation);
        let kind = if confirmed.is_some() { "mailbox" } else { "unconfirmed" };
        let done = self.put(kind, &user.id, &to_json(&mailbox)?).await;
        self.generation = of_users;
        done
    }

    pub(crate) async fn group(&mut self, row: Told<GroupChange>) -> Result<()> {
        let change = match row {
            Told::Changed(change) => change,
            Told::Gone { id, for_good } => {
                self.delete("group", &id).await?;
                return self.gone(&id, for_good).await;
            }
        };
        let known = self.known("group", &change.id).await?.filter(|(_, generation)| *generation == self.generation);
        let known = known.map(|(json, _)| from_json(&format!("group {}", change.id), &json)).transpose()?;
        let group = change.of(known);
        self.put("group", &group.id, &to_json(&group)?).await?;
        for member in &change.members_added {
            self.join(&group.id, member).await?;
        }
        for member in &change.members_removed {
            let gone = sqlx::query("DELETE FROM members WHERE tenant=$1 AND parent=$2 AND member=$3")
                .bind(&self.tenant)
                .bind(&group.id)
                .bind(member)
                .execute(&mut *self.tx)
                .await?;
            self.changed |= gone.rows_affected() > 0;
        }
        Ok(())
    }

    async fn join(&mut self, group: &str, member: &str) -> Result<()> {
        let new = sqlx::query(
            "INSERT INTO members(tenant,parent,member,generation) VALUES($1,$2,$3,$4) ON CONFLICT DO NOTHING",
        )
        .bind(&self.tenant)
        .bind(group)
        .bind(member)
        .bind(self.generation)
        .execute(&mut *self.tx)
        .await?;
        if new.rows_affected() > 0 {
            self.changed = true;
            return Ok(());
        }
        sqlx::query("UPDATE members SET generation=$4 WHERE tenant=$1 AND parent=$2 AND member=$3 AND generation<>$4")
            .bind(&self.tenant)
            .bind(group)
            .bind(member)
            .bind(self.generation)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Who may be restored keeps its memberships, out of sight, in case they are not told again.
    async fn gone(&mut self, id: &str, for_good: bool) -> Result<()> {
        if for_good {
            sqlx::query("DELETE FROM members WHERE tenant=$1 AND (parent=$2 OR member=$2)")
                .bind(&self.tenant)
                .bind(id)
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(())
    }

    /// Takes away what the reading that ends here did not see.
    pub(crate) async fn sweep(&mut self, kind: SyncKind) -> Result<()> {
        let sql: &[&str] = match kind {
            SyncKind::Users => &[
                "DELETE FROM directory WHERE tenant=$1 AND kind IN ('mailbox','unconfirmed') AND id IN (SELECT id FROM directory WHERE tenant=$1 AND kind='user' AND generation<$2)",
                "DELETE FROM directory WHERE tenant=$1 AND kind='user' AND generation<$2",
            ],
            SyncKind::Groups => &[
                "DELETE FROM directory WHERE tenant=$1 AND kind='group' AND generation<$2",
                "DELETE FROM members WHERE tenant=$1 AND generation<$2",
            ],
            SyncKind::Mailboxes => {
                &["DELETE FROM directory WHERE tenant=$1 AND kind IN ('mailbox','unconfirmed') AND generation<$2"]
            }
        };
        for sql in sql {
            let swept = sqlx::query(*sql).bind(&self.tenant).bind(self.generation).execute(&mut *self.tx).await?;
            self.changed |= swept.rows_affected() > 0;
        }
        Ok(())
    }

    /// Written down with the rows: whether the gateway has something to read again survives a kill, too.
    pub(crate) async fn finish(mut self, kind: SyncKind) -> Result<()> {
        if self.changed {
            let sql = "INSERT INTO directory_sync(tenant,kind,generation,whole,link,more,seen,changed) VALUES($1,$2,0,1,'',0,0,1) ON CONFLICT(tenant,kind) DO UPDATE SET changed=1";
            sqlx::query(sql).bind(&self.tenant).bind(kind.name()).execute(&mut *self.tx).await?;
        }
        self.tx.commit().await?;
        Ok(())
    }
}
