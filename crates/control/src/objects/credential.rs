//! The certificate by which an application of ours proves itself: renewed in three steps without a moment in which
//! none is good, and alone on its application.

use super::application::{App, Application, MAIL_FLOW, Purpose};
use crate::events::{Event, State, Step};
use crate::plan::{Action, Call, Change, Observed, ValueChange};
use crate::work::Work;
use crate::{ControlError, Result, certificate, limits};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use m365::{Identity, Row, Service};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Instant;
use store::Severity;
use tenant::{Secret, TenantId};

/// A certificate with its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Credential {
    pub thumbprint_sha256: [u8; 32],
    pub key_pem: Secret,
    pub certificate_der: Vec<u8>,
    /// End of its validity in seconds since 1970; 0: not written down.
    #[serde(default)]
    pub until: i64,
}

pub(crate) const OBJECT: &str = "certificate of the application";
const FOREIGN: &str = "credentials of the application";
const NEEDS: &str = "Application.ReadWrite.OwnedBy";

/// How sure it is that protection ends with a certificate that is good for so many more seconds.
pub(crate) fn expiry_severity(left: i64) -> Severity {
    match left {
        left if left < limits::EXPIRY_HIGH_DAYS * limits::DAY => Severity::High,
        left if left < limits::EXPIRY_MEDIUM_DAYS * limits::DAY => Severity::Medium,
        _ => Severity::Low,
    }
}

pub(crate) fn date(second: i64) -> Value {
    Timestamp::from_second(second).map(|t| t.strftime("%Y-%m-%d").to_string()).unwrap_or_default().into()
}

pub(crate) fn changes(row: &Row, app: &App, observed: &Observed) -> Vec<Change> {
    let mut out = Vec::new();
    let left = app.credential.until - observed.at;
    let due = app.credential.until > 0 && left < limits::RENEW_DAYS * limits::DAY;
    if due || observed.rotate.application || app.next.is_some() {
        let until = ValueChange {
            name: "good until".into(),
            before: date(app.credential.until),
            // no date: the plan is the same one tomorrow
            after: json!(format!("{} days from then on", limits::CERTIFICATE_DAYS)),
        };
        out.push(
            Change::new(
                Action::Change,
                OBJECT.into(),
                "without a good one we can neither see nor change the tenant",
                NEEDS,
            )
            .of(vec![until])
            .graded(if due { expiry_severity(left) } else { Severity::Low })
            .undone_by("the one before stays in the tenant for a day")
            .by(vec![Call::NewCredential]),
        );
    }
    let overlap_is_over = app.previous.is_some() && observed.at - app.since > limits::CREDENTIAL_OVERLAP_SECS;
    if overlap_is_over && app.next.is_none() {
        out.push(
            Change::new(
                Action::Remove,
                "certificate of the application before this one".into(),
                "every server of Microsoft knows the new one",
                NEEDS,
            )
            .undone_by("PATCH /applications with both")
            .by(vec![Call::OldCredentials]),
        );
    }
    out.extend(foreign(row, app));
    out
}

fn listed<'r>(row: &'r Row, key: &str) -> &'r [Value] {
    row.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whoever has a credential of ours can act as Posthouse.
fn foreign(row: &Row, app: &App) -> Option<Change> {
    let ours = 1 + usize::from(app.previous.is_some()) + usize::from(app.next.is_some());
    let (keys, secrets) = (listed(row, "keyCredentials").len(), listed(row, "passwordCredentials").len());
    let told = |keys: usize, secrets: usize| json!(format!("{keys} certificates, {secrets} secrets"));
    (keys > ours || secrets > 0).then(|| {
        Change::new(Action::Change, FOREIGN.into(), "whoever holds another one can act as Posthouse", NEEDS)
            .of(vec![ValueChange {
                name: "credentials".into(),
                before: told(keys, secrets),
                after: told(ours.min(keys), 0),
            }])
            .graded(Severity::High)
            .undone_by("whoever needs it makes an application of its own")
            .by(vec![Call::OldCredentials])
            .was(Some(row))
    })
}

/// In the tenant as far as can be told without the key's own bytes, which Graph does not show; not ended; and not
/// refused by the token endpoint.
pub(crate) async fn is_good(work: &Work<'_>, tenant: TenantId, row: &Value, app: &App) -> bool {
    let until = app.credential.until;
    let end = |key: &Value| key["endDateTime"].as_str().and_then(|t| t.parse::<Timestamp>().ok());
    let mut ends = row["keyCredentials"].as_array().into_iter().flatten().filter_map(end);
    let is_there = until == 0 || ends.any(|end| end.as_second() == until);
    if !is_there || has_ended(app) {
        return false;
    }
    let refused = work.client.claims(&app.identity(tenant), Service::Graph).await.err();
    !matches!(refused.and_then(|e| Application::refused(&e)), Some(Application::KeyRefused(_)))
}

pub(crate) fn has_ended(app: &App) -> bool {
    app.credential.until > 0 && app.credential.until < Timestamp::now().as_second()
}

/// For an application that is there while its certificate has ended; the administrator puts it into the tenant.
pub(crate) async fn another(work: &Work<'_>, tenant: TenantId, purpose: &Purpose, app: App) -> Result<App> {
    let credential = certificate::for_application(purpose.name)?;
    let app = App { credential, next: None, previous: None, ..app };
    app.write_down(purpose, work.store, tenant).await?;
    Ok(app)
}

/// The whole list: Graph replaces it (wire.md 3.2).
pub(crate) fn body(certificates: &[&[u8]]) -> Value {
    let one = |der: &&[u8]| json!({"type": "AsymmetricX509Cert", "usage": "Verify", "key": STANDARD.encode(der), "displayName": format!("CN={}", MAIL_FLOW.name)});
    json!({"keyCredentials": certificates.iter().map(one).collect::<Vec<_>>()})
}

/// First the tenant gets the new one beside the old, then we wait until Microsoft takes it, then we use it.
pub(crate) async fn renew(work: &mut Work<'_>, app: &Identity, purpose: &Purpose) -> Result<()> {
    let tenant = app.tenant();
    let mut known = known(work, app, purpose).await?;
    let next = match known.next.clone() {
        Some(next) => next,
        None => certificate::for_application(purpose.name)?,
    };
    known.next = Some(next.clone());
    known.write_down(purpose, work.store, tenant).await?;
    let both = body(&[&known.credential.certificate_der, &next.certificate_der]);
    work.client.graph_patch(app, &format!("applications/{}", known.object_id), &both).await?;
    until_taken(work, &known.identity_with(tenant, &next)).await?;
    let old = std::mem::replace(&mut known.credential, next);
    (known.next, known.previous, known.since) = (None, Some(old.certificate_der), Timestamp::now().as_second());
    known.write_down(purpose, work.store, tenant).await?;
    work.client.forget_tokens(app);
    Ok(())
}

async fn until_taken(work: &mut Work<'_>, next: &Identity) -> Result<()> {
    let (until, mut pause, mut told) = (Instant::now() + limits::PROPAGATION_PATIENCE, limits::LOOK_FIRST, false);
    loop {
        match work.client.claims(next, Service::Graph).await {
            Ok(_) => return Ok(()),
            Err(e) if e.may_be_propagation() && Instant::now() < until => tokio::time::sleep(pause).await,
            Err(e) => return Err(e.into()),
        }
        if !told {
            let text = "waiting until Microsoft takes the new certificate; the old one is used meanwhile";
            work.show(Event::new(Step::Application, State::Doing, text));
            told = true;
        }
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}

/// Leaves only ours: what came before it and what others put there goes.
pub(crate) async fn keep_only_ours(work: &Work<'_>, app: &Identity, purpose: &Purpose) -> Result<()> {
    let mut known = known(work, app, purpose).await?;
    let path = format!("applications/{}", known.object_id);
    let row = work.client.graph_get(app, &path).await?;
    for secret in row["passwordCredentials"].as_array().into_iter().flatten() {
        let id = json!({"keyId": secret["keyId"]});
        work.client.graph_post(app, &format!("{path}/removePassword"), &id).await?;
    }
    let over = Timestamp::now().as_second() - known.since > limits::CREDENTIAL_OVERLAP_SECS;
    if over {
        known.previous = None;
    }
    let kept: Vec<&[u8]> = [Some(&known.credential.certificate_der), known.previous.as_ref()]
        .into_iter()
        .flatten()
        .map(Vec::as_slice)
        .collect();
    work.client.graph_patch(app, &path, &body(&kept)).await?;
    known.write_down(purpose, work.store, app.tenant()).await
}

async fn known(work: &Work<'_>, app: &Identity, purpose: &Purpose) -> Result<App> {
    let known = App::of(purpose, work.store, app.tenant()).await?;
    known.ok_or_else(|| ControlError::Refused("no application of ours is known in this tenant".into()))
}
