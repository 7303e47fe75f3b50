//! How a tenant is: what was wished, what is set up, what mail really does, what somebody should look at. Every part that
//! cannot be read is *unknown because …*; nothing is taken for right because nobody could look.

mod text;

use crate::applied::as_applied;
use crate::look::{Look, look};
use crate::measured::{Fact, Measured, measured};
use crate::objects::{application::App, rules};
use crate::probe::{self, ProbeResult};
use crate::watch::LAST_LOOK;
use crate::watchdog::FailOpen;
use crate::{Result, Settings, limits, plan, watchdog};
use jiff::Timestamp;
use m365::{Client, Row};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Alert, Pause, Severity, Store};
use tenant::{Direction, Rollout, Routing, Stage, Tenant, TenantId};

/// The stage that the rules in the tenant have now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stages {
    pub inbound: Stage,
    pub outbound: Stage,
}

/// What the watch wrote down when it looked for the last time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastLook {
    pub at: Timestamp,
    /// Differences that it saw.
    pub drift: u64,
    /// What it could not read.
    pub unknown: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Watching {
    pub paused: Option<Pause>,
    pub self_heal: bool,
    /// `None`: the watch of `posthouse serve` has not looked yet.
    pub last_look: Option<LastLook>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub tenant: TenantId,
    pub label: String,
    pub display_name: String,
    pub at: Timestamp,
    pub routing: Routing,
    pub wished: Rollout,
    pub applied: Fact<Stages>,
    pub set_up: Fact<Look>,
    pub measured: Fact<Measured>,
    pub watch: Watching,
    /// What the newest probes showed.
    pub probes: Vec<ProbeResult>,
    /// Neither over nor acknowledged, of high severity; permissions that were lost are among them.
    pub alerts: Vec<Alert>,
    pub held: usize,
    pub fail_open: FailOpen,
    pub certificate_ends: Option<Timestamp>,
    /// Of the application in the tenant.
    pub credential_ends: Option<Timestamp>,
    /// What is not as it was wished, in words.
    pub wrong: Vec<String>,
    /// What could not be looked at.
    pub unknown: Vec<String>,
}

/// Looks now; changes nothing.
pub async fn status(id: TenantId, client: &Client, store: &Store, settings: &Settings) -> Result<Status> {
    let (tenant, _) = plan::acting(id, store).await?;
    let set_up = look(id, client, store, settings).await.map_or_else(|e| Fact::unknown(e.to_string()), Fact::Seen);
    let (in_effect, _) = as_applied(store, tenant.clone(), settings).await?;
    let measured = measured(&in_effect, client, store, settings, set_up.seen(), limits::MEASURED_SPAN).await;
    let mut status = Status {
        tenant: id,
        label: tenant.label.clone(),
        display_name: tenant.display_name.clone(),
        at: Timestamp::now(),
        routing: tenant.routing,
        wished: tenant.rollout.clone(),
        applied: applied(id, client, store).await?,
        set_up,
        measured: measured.unwrap_or_else(|e| Fact::unknown(e.to_string())),
        watch: Watching {
            paused: store.paused(id).await?,
            self_heal: tenant.policy.self_heal,
            last_look: serde_json::from_value(store.step(id, LAST_LOOK).await?.unwrap_or_default()).ok(),
        },
        probes: probe::last_results(store, id).await?,
        alerts: open_alerts(id, store).await?,
        held: store.held(Some(id)).await?.len(),
        fail_open: watchdog::shown(store, &tenant).await?,
        certificate_ends: end_of(&tenant.certificate.chain_pem),
        credential_ends: App::known(store, id).await?.and_then(|app| end_at(app.credential.until)),
        wrong: Vec::new(),
        unknown: Vec::new(),
    };
    (status.wrong, status.unknown) = (wrong(&status, &tenant), unknown(&status));
    if in_effect.rollout != tenant.rollout {
        status.wrong.push(format!("the stages wished are not applied: posthouse plan {}", tenant.label));
    }
    Ok(status)
}

/// From the rules themselves, not from what we remember of them.
async fn applied(id: TenantId, client: &Client, store: &Store) -> Result<Fact<Stages>> {
    let (_, app) = plan::acting(id, store).await?;
    let read = client.exchange(&app, "Get-TransportRule", json!({"ResultSize": "Unlimited"})).await;
    Ok(match read {
        Ok(answer) => {
            let stage = |name: &str| stage(answer.rows.iter().find(|r| text_of(r, "Name") == name));
            Fact::Seen(Stages { inbound: stage(rules::INBOUND), outbound: stage(rules::OUTBOUND) })
        }
        Err(e) => Fact::unknown(e.to_string()),
    })
}

fn text_of<'r>(row: &'r Row, key: &str) -> &'r str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn stage(rule: Option<&Row>) -> Stage {
    let Some(rule) = rule.filter(|r| !rules::is_disabled(r)) else { return Stage::Off };
    let narrowed = ["SentToMemberOf", "FromMemberOf"]
        .iter()
        .any(|key| rule.get(*key).and_then(Value::as_array).is_some_and(|groups| !groups.is_empty()));
    match text_of(rule, "Mode").to_ascii_lowercase().as_str() {
        "" | "enforce" if narrowed => Stage::Pilot,
        "" | "enforce" => Stage::Everyone,
        _ => Stage::Audit,
    }
}

async fn open_alerts(id: TenantId, store: &Store) -> Result<Vec<Alert>> {
    let mut alerts = store.alerts().await?;
    alerts.retain(|a| {
        a.tenant == Some(id) && a.severity == Severity::High && a.acknowledged.is_none() && a.ended.is_none()
    });
    Ok(alerts)
}

fn end_of(chain_pem: &str) -> Option<Timestamp> {
    smtp::tls::not_after(chain_pem).and_then(end_at)
}

/// 0 stands for “not written down”.
fn end_at(secs: i64) -> Option<Timestamp> {
    Timestamp::from_second(secs).ok().filter(|_| secs > 0)
}

fn wrong(status: &Status, tenant: &Tenant) -> Vec<String> {
    let mut out = Vec::new();
    if status.routing != Routing::Proven {
        out.push("the way out and back is not proven: no mail comes by".to_owned());
    }
    if let Some(look) = status.set_up.seen() {
        out.extend(look.drift.iter().map(|d| format!("{}: {}", d.object, d.what)));
    }
    for direction in [Direction::Inbound, Direction::Outbound] {
        let Some(measured) = status.measured.seen() else { break };
        let reasons = measured.reasons(direction);
        let unwished = reasons.iter().filter(|(reason, _)| !reason.is_wished() && !reason.passes());
        let skipped: usize = unwished.map(|(_, skips)| skips.len()).sum();
        if skipped > 0 {
            out.push(format!("{skipped} {}bound messages of the last hour did not come by", direction.as_str()));
        }
    }
    out.extend(status.fail_open.wrong());
    out.extend(status.probes.iter().filter_map(|p| p.wrong.clone()));
    out.extend(status.alerts.iter().map(|a| format!("alert {}: {}", a.id, a.subject)));
    let soon = status.at + limits::EXPIRY_SOON;
    for (what, end) in [("return certificate", status.certificate_ends), ("credential", status.credential_ends)] {
        if let Some(end) = end.filter(|end| *end < soon) {
            out.push(format!(
                "the {what} ends at {end:.0}; renew it with: posthouse tenant connect {}",
                tenant.initial_domain
            ));
        }
    }
    out
}

fn unknown(status: &Status) -> Vec<String> {
    let mut out = Vec::new();
    let mut add = |what: &str, because: Option<&str>| {
        out.extend(because.map(|because| format!("{what}: unknown because {because}")));
    };
    add("stages", status.applied.because());
    add("set-up", status.set_up.because());
    add("mail", status.measured.because());
    add("the gateway, by the watchdog", status.fail_open.unknown());
    if let Some(look) = status.set_up.seen() {
        out.extend(
            look.unknown.iter().filter(|u| !u.optional).map(|u| format!("{}: unknown because {}", u.object, u.because)),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stage_is_read_from_the_rule() {
        let rule = |value: Value| value.as_object().cloned().unwrap();
        let of = |value: Value| stage(Some(&rule(value)));
        assert_eq!(stage(None), Stage::Off);
        assert_eq!(of(json!({"State": "Disabled", "Mode": "Enforce"})), Stage::Off);
        assert_eq!(of(json!({"State": "Enabled", "Mode": "Audit", "SentToMemberOf": ["g@x"]})), Stage::Audit);
        assert_eq!(of(json!({"State": "Enabled", "Mode": "AuditAndNotify"})), Stage::Audit);
        assert_eq!(of(json!({"State": "Enabled", "Mode": "Enforce", "SentToMemberOf": ["g@x"]})), Stage::Pilot);
        assert_eq!(of(json!({"State": "Enabled", "Mode": "Enforce", "SentToMemberOf": []})), Stage::Everyone);
        assert_eq!(of(json!({"State": "Enabled", "Mode": "Enforce", "FromMemberOf": null})), Stage::Everyone);
    }
}
