//! The outbox of notices: one row for each raised alert and target, written in the transaction that raises the alert,
//! so that no kill between the two can lose one. Who delivers them is `control::notify`.

use crate::db::{from_json, from_millis, now_millis, to_json};
use crate::{Alert, AlertKind, Result, Severity, Store, limits};
use serde::{Deserialize, Serialize};
use sqlx::{Row, Sqlite, Transaction};
use tenant::TenantId;

/// Somebody who is told, and of what; how to reach them stays in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeTarget {
    pub name: String,
    pub least: Severity,
    /// Only alerts of these tenants; empty: of every tenant and of none.
    pub tenants: Vec<TenantId>,
}

impl NoticeTarget {
    fn wants(&self, notice: &Notice) -> bool {
        let theirs = self.tenants.is_empty() || notice.tenant.is_some_and(|t| self.tenants.contains(&t));
        theirs && notice.severity >= self.least
    }
}

/// An alert as it was when it was raised; the same at every try, so that receivers may tell repetitions by the id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub id: String,
    /// What `posthouse alerts ack` takes; 0 in a test notice.
    pub alert: i64,
    pub kind: AlertKind,
    pub severity: Severity,
    pub tenant: Option<TenantId>,
    pub subject: String,
    pub text: String,
    pub first: jiff::Timestamp,
    pub last: jiff::Timestamp,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Waiting,
    Delivered,
    /// Given up; nobody tries again.
    Failed,
    /// Beyond [`limits::NOTICES_PER_HOUR`]: only in the list of alerts.
    Withheld,
}

/// What became of one notice at one target.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    pub target: String,
    pub state: DeliveryState,
    pub tries: u32,
    /// What the target said last.
    pub said: String,
}

/// The next notice of a target.
#[derive(Clone, Debug)]
pub struct Due {
    pub seq: i64,
    pub notice: Notice,
    pub tries: u32,
    pub raised: jiff::Timestamp,
    pub due: jiff::Timestamp,
}

/// What a try led to.
#[derive(Clone, Debug)]
pub enum Tried {
    Delivered,
    Again(jiff::Timestamp),
    GivenUp,
}

fn word(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Waiting => "waiting",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
        DeliveryState::Withheld => "withheld",
    }
}

impl Store {
    /// Who is told from now on. What still waits for somebody who is not in the list any more is given up.
    pub async fn set_notice_targets(&self, targets: &[NoticeTarget]) -> Result<()> {
        let mut tx = self.quick.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM notice_targets").execute(&mut *tx).await?;
        for target in targets {
            sqlx::query("INSERT INTO notice_targets(name,json) VALUES($1,$2)")
                .bind(&target.name)
                .bind(to_json(target)?)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("UPDATE notices SET state='failed', said='the target is not in the configuration any more' WHERE state='waiting' AND target NOT IN (SELECT name FROM notice_targets)")
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The oldest notice that waits for this target; the ones behind it wait too, so that their order is kept.
    pub async fn next_notice(&self, target: &str) -> Result<Option<Due>> {
        let row = sqlx::query(
            "SELECT seq,json,tries,raised,due FROM notices WHERE target=$1 AND state='waiting' ORDER BY seq LIMIT 1",
        )
        .bind(target)
        .fetch_optional(&self.read)
        .await?;
        row.map(|r| {
            Ok(Due {
                seq: r.try_get("seq")?,
                notice: from_json("notice", r.try_get("json")?)?,
                tries: u32::try_from(r.try_get::<i64, _>("tries")?).unwrap_or(u32::MAX),
                raised: from_millis(r.try_get("raised")?),
                due: from_millis(r.try_get("due")?),
            })
        })
        .transpose()
    }

    pub async fn notice_tried(&self, seq: i64, tried: &Tried, said: &str) -> Result<()> {
        let (state, due) = match tried {
            Tried::Delivered => (DeliveryState::Delivered, None),
            Tried::Again(at) => (DeliveryState::Waiting, Some(at.as_millisecond())),
            Tried::GivenUp => (DeliveryState::Failed, None),
        };
        sqlx::query("UPDATE notices SET state=$2, said=$3, tries=tries+1, due=COALESCE($4,due) WHERE seq=$1")
            .bind(seq)
            .bind(word(state))
            .bind(said)
            .bind(due)
            .execute(&self.quick)
            .await?;
        Ok(())
    }

    /// Deliveries by alert, in the order in which they were raised.
    pub(crate) async fn deliveries(&self) -> Result<std::collections::HashMap<i64, Vec<Delivery>>> {
        let rows =
            sqlx::query("SELECT alert,target,state,tries,said FROM notices ORDER BY seq").fetch_all(&self.read).await?;
        let mut all = std::collections::HashMap::<i64, Vec<Delivery>>::new();
        for r in rows {
            let delivery = Delivery {
                target: r.try_get("target")?,
                state: from_json("notice", &format!("\"{}\"", r.try_get::<String, _>("state")?))?,
                tries: u32::try_from(r.try_get::<i64, _>("tries")?).unwrap_or(u32::MAX),
                said: r.try_get("said")?,
            };
            all.entry(r.try_get("alert")?).or_default().push(delivery);
        }
        Ok(all)
    }
}

/// One row for each target that wants to hear of it.
pub(crate) async fn post(tx: &mut Transaction<'_, Sqlite>, alert: &Alert) -> Result<()> {
    let notice = Notice {
        id: uuid::Uuid::now_v7().to_string(),
        alert: alert.id,
        kind: alert.kind,
        severity: alert.severity,
        tenant: alert.tenant,
        subject: alert.subject.clone(),
        text: alert.text.clone(),
        first: alert.first,
        last: alert.last,
        count: alert.count,
    };
    let (json, now) = (to_json(&notice)?, now_millis());
    let targets: Vec<String> =
        sqlx::query_scalar("SELECT json FROM notice_targets ORDER BY name").fetch_all(&mut **tx).await?;
    for target in targets {
        let target: NoticeTarget = from_json("notice target", &target)?;
        if !target.wants(&notice) {
            continue;
        }
        let recent: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM notices WHERE target=$1 AND raised>$2")
            .bind(&target.name)
            .bind(now - 3_600_000)
            .fetch_one(&mut **tx)
            .await?;
        let flood = recent >= limits::NOTICES_PER_HOUR && notice.severity < Severity::High;
        let (state, said) = match flood {
            true => (DeliveryState::Withheld, format!("more than {} in an hour", limits::NOTICES_PER_HOUR)),
            false => (DeliveryState::Waiting, String::new()),
        };
        sqlx::query(
            "INSERT INTO notices(id,alert,target,raised,due,tries,state,said,json) VALUES($1,$2,$3,$4,$4,0,$5,$6,$7)",
        )
        .bind(&notice.id)
        .bind(alert.id)
        .bind(&target.name)
        .bind(now)
        .bind(word(state))
        .bind(said)
        .bind(&json)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
