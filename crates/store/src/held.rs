//! Held messages: durable before anybody is told so, and the same message held once however often it comes.

use crate::db::{beyond, from_json, from_millis, now_millis, to_json};
use crate::{HeldEvent, HeldStep, Result, Store, StoreError, limits};
use bytes::Bytes;
use futures_util::TryStreamExt;
use mail::Pieces;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use tenant::{Category, Direction, TenantId};
use verdict::{Because, Marks};

/// Why a message waits with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// The decision was to hold it.
    Judged,
    /// Microsoft refused these recipients for now while it took others.
    RefusedForNow,
    /// Microsoft refused these recipients for good while it took others; a person decides.
    RefusedForGood,
}

/// What is kept beside the body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewHold {
    pub tenant: TenantId,
    pub direction: Direction,
    pub journey: String,
    /// Exactly the recipients that still wait.
    pub envelope: mail::Envelope,
    pub reason: HoldReason,
    pub why: Vec<String>,
    pub message_id: Option<String>,
    pub subject: Option<String>,
    pub from: Option<String>,
    /// Same key, same message: a retry after a lost answer stores nothing twice.
    pub key: String,
    pub probe: bool,
    /// What it was held as; `None` where it was not judged so, or by an older Posthouse.
    #[serde(default)]
    pub category: Option<Category>,
    #[serde(default, skip_serializing_if = "Because::is_empty")]
    pub because: Because,
    /// Something in it harms by itself.
    #[serde(default)]
    pub malware: bool,
    /// What the decision puts on it when it goes back.
    #[serde(default, skip_serializing_if = "Marks::is_none")]
    pub marks: Marks,
}

/// Which held messages to list; empty fields match everything.
#[derive(Clone, Debug, Default)]
pub struct HeldFilter {
    pub tenant: Option<TenantId>,
    /// A recipient, whole.
    pub recipient: Option<String>,
    /// Part of From or of the envelope's sender.
    pub sender: Option<String>,
    pub category: Option<Category>,
    pub since: Option<jiff::Timestamp>,
    pub reason: Option<HoldReason>,
}

impl HeldFilter {
    fn takes(&self, held: &Held) -> bool {
        let hold = &held.hold;
        let says = |part: &String| {
            let part = part.to_lowercase();
            hold.envelope.sender.to_lowercase().contains(&part)
                || hold.from.as_ref().is_some_and(|f| f.to_lowercase().contains(&part))
        };
        self.recipient.as_ref().is_none_or(|r| hold.is_for(r))
            && self.sender.as_ref().is_none_or(says)
            && self.category.is_none_or(|c| hold.category == Some(c))
            && self.reason.is_none_or(|r| hold.reason == r)
    }
}

impl NewHold {
    pub fn is_for(&self, address: &str) -> bool {
        self.envelope.recipients.iter().any(|r| r.address.eq_ignore_ascii_case(address))
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Held {
    pub id: String,
    pub at: jiff::Timestamp,
    pub bytes: u64,
    #[serde(flatten)]
    pub hold: NewHold,
}

impl Store {
    /// Body first, then row, both synced; the id under which it waits. The same message for more people, as Exchange
    /// Online splits one among its recipients, waits once, for all of them.
    pub async fn hold(&self, hold: &NewHold, raw: &Pieces) -> Result<String> {
        if let Some(id) = self.join_held(hold).await? {
            return Ok(id);
        }
        let id = uuid::Uuid::now_v7().to_string();
        self.bodies.put(&id, raw).await?;
        let inserted = sqlx::query("INSERT INTO held(id,tenant,key,at,bytes,json) VALUES($1,$2,$3,$4,$5,$6) ON CONFLICT(tenant,key) DO NOTHING")
            .bind(&id)
            .bind(hold.tenant.to_string())
            .bind(&hold.key)
            .bind(now_millis())
            .bind(i64::try_from(raw.len()).unwrap_or(i64::MAX))
            .bind(to_json(hold)?)
            .execute(&self.durable)
            .await?;
        if inserted.rows_affected() > 0 {
            return Ok(id);
        }
        // another part of the same message was held in this moment
        self.bodies.delete(&id).await?;
        self.join_held(hold).await?.ok_or_else(|| StoreError::Corrupt(format!("held message {} vanished", hold.key)))
    }

    /// Adds recipients to what is held under the same key; `None` where nothing is.
    async fn join_held(&self, hold: &NewHold) -> Result<Option<String>> {
        let mut tx = self.durable.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query("SELECT id,json FROM held WHERE tenant=$1 AND key=$2")
            .bind(hold.tenant.to_string())
            .bind(&hold.key)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id: String = row.try_get("id")?;
        let mut known: NewHold = from_json(&format!("held {id}"), row.try_get("json")?)?;
        let before = known.envelope.recipients.len();
        for recipient in &hold.envelope.recipients {
            if !known.envelope.recipients.iter().any(|r| r.address == recipient.address) {
                known.envelope.recipients.push(recipient.clone());
            }
        }
        if known.envelope.recipients.len() > before {
            let update = sqlx::query("UPDATE held SET json=$2 WHERE id=$1").bind(&id).bind(to_json(&known)?);
            update.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(Some(id))
    }

    /// What is tried again by itself: refused for now, and not longer ago than `since`.
    pub async fn held_to_retry(&self, since: jiff::Timestamp) -> Result<Vec<Held>> {
        let rows = sqlx::query(
            "SELECT id,at,bytes,json FROM held WHERE at>=$1 AND json_extract(json,'$.reason')='refused_for_now' ORDER BY at",
        )
        .bind(since.as_millisecond())
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(read_held).collect()
    }

    /// Tenants that have something held, connected or not.
    pub async fn tenants_with_held(&self) -> Result<Vec<TenantId>> {
        let ids: Vec<String> = sqlx::query_scalar("SELECT DISTINCT tenant FROM held").fetch_all(&self.read).await?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// What waits since before `before`; the oldest first, at most a page.
    pub async fn held_before(&self, tenant: TenantId, before: jiff::Timestamp) -> Result<Vec<Held>> {
        let rows = sqlx::query("SELECT id,at,bytes,json FROM held WHERE tenant=$1 AND at<$2 ORDER BY at LIMIT $3")
            .bind(tenant.to_string())
            .bind(before.as_millisecond())
            .bind(limits::EXPIRED_AT_ONCE)
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read_held).collect()
    }

    /// Newest first.
    pub async fn held(&self, tenant: Option<TenantId>) -> Result<Vec<Held>> {
        let rows =
            sqlx::query("SELECT id,at,bytes,json FROM held WHERE ($1 IS NULL OR tenant=$1) ORDER BY at DESC, id DESC")
                .bind(tenant.map(|t| t.to_string()))
                .fetch_all(&self.read)
                .await?;
        rows.iter().map(read_held).collect()
    }

    /// Newest first.
    pub async fn held_by(&self, filter: &HeldFilter) -> Result<Vec<Held>> {
        let sql =
            "SELECT id,at,bytes,json FROM held WHERE ($1 IS NULL OR tenant=$1) AND at>=$2 ORDER BY at DESC, id DESC";
        let mut rows = sqlx::query(sql)
            .bind(filter.tenant.map(|t| t.to_string()))
            .bind(filter.since.map_or(0, jiff::Timestamp::as_millisecond))
            .fetch(&self.read);
        let mut found = Vec::new();
        while let Some(row) = rows.try_next().await? {
            let held = read_held(&row)?;
            if filter.takes(&held) {
                found.push(held);
            }
        }
        Ok(found)
    }

    /// How many wait, for each tenant that has any.
    pub async fn held_counts(&self) -> Result<Vec<(TenantId, u64)>> {
        let rows = sqlx::query("SELECT tenant,count(*) AS n FROM held GROUP BY tenant").fetch_all(&self.read).await?;
        let counts = rows.iter().map(|r| {
            let tenant: String = r.try_get("tenant")?;
            let tenant =
                tenant.parse().map_err(|_| crate::StoreError::Corrupt(format!("held: \"{tenant}\" is no tenant")))?;
            Ok((tenant, u64::try_from(r.try_get::<i64, _>("n")?).unwrap_or(0)))
        });
        counts.collect()
    }

    /// By its id or by any beginning of it that only one has.
    pub async fn held_one(&self, id: &str) -> Result<Option<Held>> {
        let rows = sqlx::query("SELECT id,at,bytes,json FROM held WHERE id>=$1 AND id<$2 LIMIT 2")
            .bind(id)
            .bind(beyond(id))
            .fetch_all(&self.read)
            .await?;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => read_held(row).map(Some),
            _ => Err(crate::StoreError::Corrupt(format!("several held messages begin with {id}; give more of the id"))),
        }
    }

    pub async fn held_body(&self, id: &str) -> Result<Bytes> {
        self.bodies.get(id).await
    }

    /// Takes a held message away for good, and writes down that somebody did.
    pub async fn delete_held(&self, id: &str) -> Result<()> {
        match self.held_one(id).await? {
            Some(held) if held.id == id => self.end_held(&held, HeldStep::Deleted, "").await,
            _ => self.bodies.delete(id).await,
        }
    }

    /// The message is held no more; what became of it stays known, in the same transaction.
    pub async fn end_held(&self, held: &Held, step: HeldStep, answer: &str) -> Result<()> {
        let nobody = mail::Envelope { recipients: Vec::new(), ..held.hold.envelope.clone() };
        self.end_partly(held, step, &NewHold { envelope: nobody, ..held.hold.clone() }, answer).await
    }

    /// It ended for some recipients, and goes on being held for `rest` under the same id: together or not at all, so that
    /// nobody gets it again with the next release. Who joined meanwhile waits on. Row first: a body without a row is
    /// swept later, a row without a body would be a lie.
    pub async fn end_partly(&self, held: &Held, step: HeldStep, rest: &NewHold, answer: &str) -> Result<()> {
        let waiting = addresses(&rest.envelope);
        let mut gone = addresses(&held.hold.envelope);
        gone.retain(|address| !waiting.contains(address));
        let mut tx = self.durable.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query("SELECT json FROM held WHERE id=$1").bind(&held.id).fetch_optional(&mut *tx).await?;
        let mut rest = rest.clone();
        if let Some(row) = row {
            let now: NewHold = from_json(&format!("held {}", held.id), row.try_get("json")?)?;
            let joined = now.envelope.recipients.into_iter().filter(|r| !held.hold.is_for(&r.address));
            rest.envelope.recipients.extend(joined);
        }
        write_step(&mut tx, held, step, &gone, answer).await?;
        let is_over = rest.envelope.recipients.is_empty();
        let end = match is_over {
            true => sqlx::query("DELETE FROM held WHERE id=$1").bind(&held.id),
            false => sqlx::query("UPDATE held SET key=$2, json=$3 WHERE id=$1")
                .bind(&held.id)
                .bind(rest.key.clone())
                .bind(to_json(&rest)?),
        };
        end.execute(&mut *tx).await?;
        tx.commit().await?;
        if is_over { self.bodies.delete(&held.id).await } else { Ok(()) }
    }

    /// A release that Microsoft did not take; the message goes on being held.
    pub async fn put_release_refused(&self, held: &Held, answer: &str) -> Result<()> {
        let mut tx = self.durable.begin().await?;
        write_step(&mut tx, held, HeldStep::Refused, &addresses(&held.hold.envelope), answer).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn addresses(envelope: &mail::Envelope) -> Vec<String> {
    envelope.recipients.iter().map(|r| r.address.clone()).collect()
}

async fn write_step(
    tx: &mut sqlx::SqliteConnection,
    held: &Held,
    step: HeldStep,
    recipients: &[String],
    answer: &str,
) -> Result<()> {
    let at = now_millis();
    let event = HeldEvent {
        held: held.id.clone(),
        at: from_millis(at),
        step,
        journey: held.hold.journey.clone(),
        direction: held.hold.direction,
        message_id: held.hold.message_id.clone(),
        recipients: recipients.to_vec(),
        probe: held.hold.probe,
        answer: answer.to_owned(),
    };
    sqlx::query("INSERT INTO held_history(held,tenant,message_id,at,step,json) VALUES($1,$2,$3,$4,$5,$6)")
        .bind(&held.id)
        .bind(held.hold.tenant.to_string())
        .bind(&held.hold.message_id)
        .bind(at)
        .bind(step.as_str())
        .bind(to_json(&event)?)
        .execute(tx)
        .await?;
    Ok(())
}

fn read_held(row: &sqlx::sqlite::SqliteRow) -> Result<Held> {
    let id: String = row.try_get("id")?;
    let hold = from_json(&format!("held {id}"), row.try_get("json")?)?;
    Ok(Held {
        hold,
        at: from_millis(row.try_get("at")?),
        bytes: u64::try_from(row.try_get::<i64, _>("bytes")?).unwrap_or(0),
        id,
    })
}
