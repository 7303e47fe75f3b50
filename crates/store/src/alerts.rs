//! What somebody must look at. Repetition is counted, not repeated; the first time, and each time that it gets worse,
//! is posted to whoever is to be told.

use crate::db::{from_json, from_millis, now_millis, to_json};
use crate::notices::{Delivery, post};
use crate::{Result, Store, limits};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use tenant::TenantId;

/// What kind of thing happened; docs/trust.md and docs/operate.md say what to do about each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// Somebody who is not Exchange Online tried to hand us mail.
    UntrustedPeer,
    /// Exchange Online did, but no connected tenant could be proven.
    NotAttributed,
    /// A message came again that we had already checked: a routing rule lost its exception.
    Loop,
    /// Exchange Online refused our return because of a connector, certificate or domain.
    ReturnConfiguration,
    CertificateExpires,
    /// Something of ours in the tenant is not as it should be.
    Tampered,
    /// Microsoft does not let our application do what it must.
    PermissionsLost,
    /// Delivered mail that ought to have come by us did not.
    Skipped,
    /// A probe that was sent by the clock did not make the whole way.
    ProbeLost,
    /// Something of ours was put right, or is left as it is because somebody keeps undoing it.
    Healed,
    /// The watchdog: the gateway fails, routing is off because of it, or nobody can tell.
    FailOpen,
    /// An outside scanner does not answer, or does again.
    Engine,
    /// A policy wants somebody told of what was done with a message.
    Policy,
    /// Sent by `posthouse alerts test`; never in the list.
    Test,
    Other,
}

/// How sure it is that mail is not protected as the tenant wishes, or not carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Low,
    Medium,
    High,
}

impl AlertKind {
    fn severity(self) -> Severity {
        match self {
            AlertKind::Loop | AlertKind::ReturnConfiguration | AlertKind::PermissionsLost | AlertKind::ProbeLost => {
                Severity::High
            }
            AlertKind::Healed => Severity::Low,
            _ => Severity::Medium,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Alert {
    pub id: i64,
    pub kind: AlertKind,
    pub severity: Severity,
    pub tenant: Option<TenantId>,
    pub subject: String,
    pub text: String,
    pub first: jiff::Timestamp,
    pub last: jiff::Timestamp,
    pub count: u64,
    /// Seen to by a person; worse news of the same take it back.
    pub acknowledged: Option<jiff::Timestamp>,
    /// When what it tells was seen to be over; the same again is another alert.
    pub ended: Option<jiff::Timestamp>,
    /// What became of it at each target that is told of it.
    pub deliveries: Vec<Delivery>,
}

const COLUMNS: &str = "id,kind,severity,tenant,subject,text,first,last,count,acknowledged,ended";

fn read_alert(r: &SqliteRow) -> Result<Alert> {
    Ok(Alert {
        id: r.try_get("id")?,
        kind: from_json("alert", r.try_get("kind")?)?,
        severity: from_json("alert", &format!("\"{}\"", r.try_get::<String, _>("severity")?))?,
        tenant: r.try_get::<String, _>("tenant")?.parse().ok(),
        subject: r.try_get("subject")?,
        text: r.try_get("text")?,
        first: from_millis(r.try_get("first")?),
        last: from_millis(r.try_get("last")?),
        count: u64::try_from(r.try_get::<i64, _>("count")?).unwrap_or(0),
        acknowledged: r.try_get::<Option<i64>, _>("acknowledged")?.map(from_millis),
        ended: r.try_get::<Option<i64>, _>("ended")?.map(from_millis),
        deliveries: Vec::new(),
    })
}

impl Store {
    pub async fn raise_alert(
        &self,
        kind: AlertKind,
        tenant: Option<TenantId>,
        subject: &str,
        text: &str,
    ) -> Result<()> {
        self.raise_alert_of(kind.severity(), kind, tenant, subject, text).await
    }

    pub async fn raise_alert_of(
        &self,
        severity: Severity,
        kind: AlertKind,
        tenant: Option<TenantId>,
        subject: &str,
        text: &str,
    ) -> Result<()> {
        let window = now_millis() - limits::ALERT_WINDOW_SECS * 1000;
        self.raise(severity, kind, tenant, subject, text, window).await
    }

    /// A state that lasts: one alert until [`Store::end_alert`], however long, and nothing written where it says the
    /// same already.
    pub async fn tell_alert(
        &self,
        severity: Severity,
        kind: AlertKind,
        tenant: TenantId,
        subject: &str,
        text: &str,
    ) -> Result<()> {
        let open: Option<i64> = sqlx::query_scalar(
            "SELECT id FROM alerts WHERE kind=$1 AND tenant=$2 AND subject=$3 AND text=$4 AND severity=$5 AND ended IS NULL",
        )
        .bind(to_json(&kind)?)
        .bind(tenant.to_string())
        .bind(subject)
        .bind(text)
        .bind(to_json(&severity)?.trim_matches('"'))
        .fetch_optional(&self.read)
        .await?;
        match open {
            Some(_) => Ok(()),
            None => self.raise(severity, kind, Some(tenant), subject, text, 0).await,
        }
    }

    /// What it told of is over.
    pub async fn end_alert(&self, kind: AlertKind, tenant: impl Into<Option<TenantId>>, subject: &str) -> Result<()> {
        let tenant = tenant.into().map(|t| t.to_string()).unwrap_or_default();
        sqlx::query("UPDATE alerts SET ended=$4 WHERE kind=$1 AND tenant=$2 AND subject=$3 AND ended IS NULL")
            .bind(to_json(&kind)?)
            .bind(tenant)
            .bind(subject)
            .bind(now_millis())
            .execute(&self.quick)
            .await?;
        Ok(())
    }

    async fn raise(
        &self,
        severity: Severity,
        kind: AlertKind,
        tenant: Option<TenantId>,
        subject: &str,
        text: &str,
        since_millis: i64,
    ) -> Result<()> {
        let word = to_json(&severity)?;
        let word = word.trim_matches('"');
        let (kind, tenant, now) = (to_json(&kind)?, tenant.map(|t| t.to_string()).unwrap_or_default(), now_millis());
        let mut tx = self.quick.begin_with("BEGIN IMMEDIATE").await?;
        let same = format!(
            "SELECT {COLUMNS} FROM alerts WHERE kind=$1 AND tenant=$2 AND subject=$3 AND last>$4 AND ended IS NULL ORDER BY id DESC LIMIT 1"
        );
        let before = sqlx::query(AssertSqlSafe(same))
            .bind(&kind)
            .bind(&tenant)
            .bind(subject)
            .bind(since_millis)
            .fetch_optional(&mut *tx)
            .await?
            .map(|r| read_alert(&r))
            .transpose()?;
        let worse = before.as_ref().is_none_or(|b| severity > b.severity);
        let id: i64 = match &before {
            Some(before) => {
                sqlx::query("UPDATE alerts SET count=count+1, last=$2, text=$3, severity=CASE WHEN $4 THEN $5 ELSE severity END, acknowledged=CASE WHEN $4 THEN NULL ELSE acknowledged END WHERE id=$1")
                    .bind(before.id)
                    .bind(now)
                    .bind(text)
                    .bind(worse)
                    .bind(word)
                    .execute(&mut *tx)
                    .await?;
                before.id
            }
            None => {
                sqlx::query_scalar("INSERT INTO alerts(kind,tenant,subject,text,first,last,count,severity) VALUES($1,$2,$3,$4,$5,$5,1,$6) RETURNING id")
                    .bind(&kind)
                    .bind(&tenant)
                    .bind(subject)
                    .bind(text)
                    .bind(now)
                    .bind(word)
                    .fetch_one(&mut *tx)
                    .await?
            }
        };
        if worse {
            let row = sqlx::query(AssertSqlSafe(format!("SELECT {COLUMNS} FROM alerts WHERE id=$1")))
                .bind(id)
                .fetch_one(&mut *tx)
                .await?;
            post(&mut tx, &read_alert(&row)?).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Newest first.
    pub async fn alerts(&self) -> Result<Vec<Alert>> {
        let rows = sqlx::query(AssertSqlSafe(format!("SELECT {COLUMNS} FROM alerts ORDER BY last DESC, id DESC")))
            .fetch_all(&self.read)
            .await?;
        let mut deliveries = self.deliveries().await?;
        let with_deliveries = |r: &SqliteRow| {
            let alert = read_alert(r)?;
            Ok(Alert { deliveries: deliveries.remove(&alert.id).unwrap_or_default(), ..alert })
        };
        rows.iter().map(with_deliveries).collect()
    }

    /// False where no alert has that id.
    pub async fn acknowledge(&self, id: i64) -> Result<bool> {
        let done = sqlx::query("UPDATE alerts SET acknowledged=$2 WHERE id=$1")
            .bind(id)
            .bind(now_millis())
            .execute(&self.quick)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}
