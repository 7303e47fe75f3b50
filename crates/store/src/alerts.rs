//! What somebody must look at. Repetition is counted, not repeated.

use crate::db::{from_json, from_millis, now_millis, to_json};
use crate::{Result, Store, limits};
use serde::{Deserialize, Serialize};
use sqlx::Row;
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
    /// A probe that was sent by the clock did not make the whole way.
    ProbeLost,
    /// Something of ours was put right, or is left as it is because somebody keeps undoing it.
    Healed,
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
        let severity = to_json(&severity)?;
        let severity = severity.trim_matches('"');
        let (kind, tenant, now) = (to_json(&kind)?, tenant.map(|t| t.to_string()).unwrap_or_default(), now_millis());
        let mut tx = self.quick.begin_with("BEGIN IMMEDIATE").await?;
        let counted = sqlx::query("UPDATE alerts SET count=count+1, last=$4, text=$5 WHERE kind=$1 AND tenant=$2 AND subject=$3 AND last>$4-$6")
            .bind(&kind)
            .bind(&tenant)
            .bind(subject)
            .bind(now)
            .bind(text)
            .bind(limits::ALERT_WINDOW_SECS * 1000)
            .execute(&mut *tx)
            .await?;
        if counted.rows_affected() == 0 {
            sqlx::query(
                "INSERT INTO alerts(kind,tenant,subject,text,first,last,count,severity) VALUES($1,$2,$3,$4,$5,$5,1,$6)",
            )
            .bind(&kind)
            .bind(&tenant)
            .bind(subject)
            .bind(text)
            .bind(now)
            .bind(severity)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Newest first.
    pub async fn alerts(&self) -> Result<Vec<Alert>> {
        let rows = sqlx::query(
            "SELECT id,kind,severity,tenant,subject,text,first,last,count FROM alerts ORDER BY last DESC, id DESC",
        )
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|r| {
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
                })
            })
            .collect()
    }
}
