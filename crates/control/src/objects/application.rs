//! Step c: the applications in the tenant, each with a certificate whose key never leaves us. One application a
//! purpose, so that what carries mail has no right to read mailboxes.

use super::Need;
use super::credential::{self, Credential};
use crate::events::{Event, State, Step};
use crate::plan::{Action, Call, Change, Observed, ValueChange, text};
use crate::receipts::{Origin, receipted};
use crate::work::Work;
use crate::{ControlError, Result, certificate, limits};
use m365::{AppIdentity, Claims, Client, Identity, M365Error, Row};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use store::{Severity, Store};
use tenant::TenantId;

/// An application that we make in a tenant.
#[derive(Debug)]
pub(crate) struct Purpose {
    pub name: &'static str,
    /// Under which what we know of it is written down.
    receipt: &'static str,
    /// Begin of the name that only one application in a tenant can have.
    unique: &'static str,
}

pub(crate) const MAIL_FLOW: Purpose =
    Purpose { name: "Posthouse Mail Flow", receipt: "application", unique: "posthouse-mail-flow" };
pub(crate) const POST_DELIVERY: Purpose = Purpose {
    name: "Posthouse Post Delivery",
    receipt: "post-delivery application",
    unique: "posthouse-post-delivery",
};
/// Written into the application, so that one of the same name that somebody else made is not taken for ours.
const NOTES: &str = "Made by Posthouse (posthouse tenant connect). Removed by posthouse tenant disconnect.";

pub(crate) const NEEDS: &[Need] = &[Need {
    permission: "Application.ReadWrite.OwnedBy",
    reason: "renews its own certificate, and deletes itself when the tenant is disconnected; reaches no other application",
    cmdlets: &[],
}];

/// What we know of an application; sealed at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct App {
    pub object_id: String,
    pub app_id: String,
    pub principal_id: String,
    #[serde(flatten)]
    pub credential: Credential,
    /// Made and perhaps in the tenant already, not used yet.
    #[serde(default)]
    pub next: Option<Credential>,
    /// Certificate of the credential before, in DER, while it is still in the tenant.
    #[serde(default)]
    pub previous: Option<Vec<u8>>,
    /// When `credential` came into use, in seconds since 1970.
    #[serde(default)]
    pub since: i64,
    /// The tenant has the certificate, and the application owns itself. False when the run was cut off before.
    pub complete: bool,
}

impl App {
    pub(crate) fn identity(&self, tenant: TenantId) -> Identity {
        self.identity_with(tenant, &self.credential)
    }
    pub(crate) fn identity_with(&self, tenant: TenantId, credential: &Credential) -> Identity {
        Identity::App(Arc::new(AppIdentity {
            tenant,
            app_id: self.app_id.clone(),
            thumbprint_sha256: credential.thumbprint_sha256,
            key_pem: credential.key_pem.clone(),
        }))
    }
    pub(crate) async fn known(store: &Store, tenant: TenantId) -> Result<Option<App>> {
        App::of(&MAIL_FLOW, store, tenant).await
    }
    pub(crate) async fn of(purpose: &Purpose, store: &Store, tenant: TenantId) -> Result<Option<App>> {
        let Some(record) = store.step(tenant, purpose.receipt).await? else { return Ok(None) };
        serde_json::from_value(record)
            .map(Some)
            .map_err(|e| ControlError::Refused(format!("what is known of the application cannot be read: {e}")))
    }
    pub(crate) async fn write_down(&self, purpose: &Purpose, store: &Store, tenant: TenantId) -> Result<()> {
        let record = serde_json::to_value(self).map_err(|e| ControlError::Refused(e.to_string()))?;
        Ok(store.put_step(tenant, purpose.receipt, &record).await?)
    }
}

/// The application as Entra shows it, or why it is not there for us.
pub(crate) enum Application {
    Seen {
        row: Row,
        app: Box<App>,
    },
    /// Entra does not know it, or it was removed from the tenant's enterprise applications.
    Absent(String),
    /// Entra knows it and lets it do nothing.
    Disabled(String),
    /// Our certificate was taken off it, or has ended.
    KeyRefused(String),
    Unknown(String),
}

impl Application {
    /// Wire.md 1.4: what the token endpoint says of an application that asks for a token.
    pub(crate) fn refused(error: &M365Error) -> Option<Application> {
        let M365Error::Token { code: Some(code), .. } = error else { return None };
        let why = error.to_string();
        match code {
            700_016 | 7_000_229 | 700_038 => Some(Application::Absent(why)),
            7_000_112 => Some(Application::Disabled(why)),
            // the last is said of a certificate that has ended, too: the time we sign with is Microsoft's own
            700_027 | 7_000_222 | 7_000_215 | 700_024 => Some(Application::KeyRefused(why)),
            _ => None,
        }
    }
    pub(crate) fn can_read(&self) -> bool {
        matches!(self, Application::Seen { .. } | Application::Unknown(_))
    }
    pub(crate) fn why_nothing_can_be_read(&self) -> String {
        match self {
            Application::Seen { .. } => "it was not looked at".into(),
            Application::Absent(why)
            | Application::Disabled(why)
            | Application::KeyRefused(why)
            | Application::Unknown(why) => why.clone(),
        }
    }
}

pub(crate) async fn read(
    client: &Client,
    app: &Identity,
    known: Option<&App>,
    token: &m365::Result<Claims>,
) -> Application {
    if let Err(error) = token {
        return Application::refused(error).unwrap_or_else(|| Application::Unknown(error.to_string()));
    }
    let Some(known) = known else { return Application::Unknown("no application of ours is known".into()) };
    match client.graph_get(app, &format!("applications/{}", known.object_id)).await {
        Ok(Value::Object(row)) => Application::Seen { row, app: Box::new(known.clone()) },
        Ok(_) => Application::Unknown("Microsoft Graph shows no object".into()),
        Err(e) => Application::Unknown(e.to_string()),
    }
}

const OBJECT: &str = "application “Posthouse Mail Flow”";
const AN_ADMINISTRATOR: &str = "a Global Administrator to set it up again: posthouse tenant connect";
const BY_SIGN_IN: &str = "sign-in of a Global Administrator";
const BY_ITSELF: &str = "Application.ReadWrite.OwnedBy";

pub(crate) fn changes(observed: &Observed) -> Vec<Change> {
    let lost = |before: &str, after: &str, why: &str| {
        let value = ValueChange { name: "state".into(), before: before.into(), after: after.into() };
        vec![Change {
            waits_for: Some(format!("{AN_ADMINISTRATOR} ({why})")),
            ..Change::new(
                Action::Create,
                OBJECT.into(),
                "without it nothing in the tenant can be seen or put right",
                BY_SIGN_IN,
            )
            .of(vec![value])
            .graded(Severity::High)
            .undone_by("posthouse tenant disconnect")
        }]
    };
    match &observed.application {
        Application::Absent(why) => lost("gone", "there", why),
        Application::Disabled(why) => lost("disabled", "enabled", why),
        Application::KeyRefused(why) => lost("our certificate is not taken", "our certificate is taken", why),
        Application::Seen { row, app } => {
            let mut out = of_settings(row);
            out.extend(credential::changes(row, app, observed));
            out
        }
        Application::Unknown(_) => Vec::new(),
    }
}

/// Who may use it, and what it is called.
fn of_settings(row: &Row) -> Vec<Change> {
    let wanted = [
        ("displayName", MAIL_FLOW.name, Severity::Low),
        ("signInAudience", "AzureADMyOrg", Severity::High),
        ("notes", NOTES, Severity::Low),
    ];
    let differ: Vec<_> = wanted.into_iter().filter(|(key, value, _)| text(row, key) != *value).collect();
    let Some(severity) = differ.iter().map(|(_, _, severity)| *severity).max() else { return Vec::new() };
    let value = |(key, after, _): &(&str, &str, Severity)| ValueChange {
        name: (*key).into(),
        before: row.get(*key).cloned().unwrap_or_default(),
        after: (*after).into(),
    };
    let body: serde_json::Map<String, Value> =
        differ.iter().map(|(key, after, _)| ((*key).into(), (*after).into())).collect();
    vec![
        Change::new(Action::Change, OBJECT.into(), "it is ours alone, and people can see whose it is", BY_ITSELF)
            .of(differ.iter().map(value).collect())
            .graded(severity)
            .undone_by("PATCH /applications with the values of before")
            .by(vec![Call::Application(body)])
            .was(Some(row)),
    ]
}

pub(crate) async fn patch(work: &Work<'_>, app: &Identity, body: &Row) -> Result<()> {
    let known = App::known(work.store, app.tenant()).await?;
    let known = known.ok_or_else(|| ControlError::Refused("no application of ours is known in this tenant".into()))?;
    let path = format!("applications/{}", known.object_id);
    work.client.graph_patch(app, &path, &Value::Object(body.clone())).await?;
    Ok(())
}

/// Makes sure that the application is there; with the administrator's own rights.
pub(crate) async fn ensure(work: &mut Work<'_>, admin: &Identity, purpose: &Purpose) -> Result<App> {
    let tenant = admin.tenant();
    let known = App::of(purpose, work.store, tenant).await?;
    let found = find(work, admin, known.as_ref()).await?;
    let name = purpose.name;
    let mut known = known;
    if let (Some(app), Some(_)) = (&mut known, &found)
        && app.complete
    {
        enterprise_application(work, admin, purpose, app).await?;
    }
    let mut app = match (known, found) {
        (Some(app), Some(row)) if app.complete && credential::is_good(work, tenant, &row, &app).await => {
            let text = format!("“{name}” is there (client id {})", app.app_id);
            work.show(Event::new(Step::Application, State::Already, text));
            return Ok(app);
        }
        (Some(app), Some(_)) if app.complete && credential::has_ended(&app) => {
            credential::another(work, tenant, purpose, app).await?
        }
        (Some(app), Some(_)) => app,
        (known, found) => {
            let gone = known.is_some_and(|app| app.complete);
            let step = format!("create application “{name}”");
            let what = create(work, admin, purpose, found, gone);
            receipted(
                work.store,
                tenant,
                Origin::CONNECT,
                &step,
                &format!("application “{name}”"),
                "PATCH /applications",
                Value::Null,
                what,
            )
            .await?
        }
    };
    let body = credential::body(&[&app.credential.certificate_der]);
    work.client.graph_patch(admin, &format!("applications/{}", app.object_id), &body).await?;
    own_itself(work, admin, &app).await?;
    (app.complete, app.next, app.previous) = (true, None, None);
    app.since = jiff::Timestamp::now().as_second();
    app.write_down(purpose, work.store, tenant).await?;
    let text = format!("“{name}” created (client id {}); its key stays here", app.app_id);
    work.show(Event::new(Step::Application, State::Done, text));
    Ok(app)
}

/// Somebody may have removed or disabled the half of it that stands under “enterprise applications” alone.
async fn enterprise_application(work: &mut Work<'_>, admin: &Identity, purpose: &Purpose, app: &mut App) -> Result<()> {
    let path = format!("servicePrincipals/{}", app.principal_id);
    let shown = work.client.graph_get(admin, &path).await;
    if shown.as_ref().is_ok_and(|row| row["accountEnabled"] != false) {
        return Ok(());
    }
    // reads lag, writes do not
    let enabled = match &shown {
        Err(e) if !e.is_absent() => return shown.map(drop).map_err(Into::into),
        _ => work.client.graph_patch(admin, &path, &json!({"accountEnabled": true})).await,
    };
    let became = match enabled {
        Ok(_) if shown.is_err() => return Ok(()),
        Ok(_) => "enabled",
        Err(e) if e.is_absent() => {
            app.principal_id = principal(work, admin, &app.app_id).await?;
            app.write_down(purpose, work.store, admin.tenant()).await?;
            own_itself(work, admin, app).await?;
            "there"
        }
        Err(e) => return Err(e.into()),
    };
    let text = format!("the enterprise application “{}” is {became} again", purpose.name);
    work.show(Event::new(Step::Application, State::Done, text));
    Ok(())
}

/// The key is made before anything is created, and written down before anybody else knows of it.
async fn create(work: &Work<'_>, admin: &Identity, purpose: &Purpose, found: Option<Value>, gone: bool) -> Result<App> {
    let own = certificate::for_application(purpose.name)?;
    let application = match found {
        Some(ours) => ours,
        None => made(work, admin, purpose, gone).await?,
    };
    let text = |key: &str| {
        let value = application[key].as_str().map(str::to_owned);
        value.ok_or_else(|| ControlError::Refused(format!("Microsoft returned an application without {key}")))
    };
    let (object_id, app_id) = (text("id")?, text("appId")?);
    let principal_id = principal(work, admin, &app_id).await?;
    let app =
        App { object_id, app_id, principal_id, credential: own, next: None, previous: None, since: 0, complete: false };
    app.write_down(purpose, work.store, admin.tenant()).await?;
    Ok(app)
}

/// By a name that only one can have, chosen and written down before: asked for twice, one is made. A deleted
/// application keeps its name in Entra's recycle bin, so a new one gets a new name.
async fn made(work: &Work<'_>, admin: &Identity, purpose: &Purpose, gone: bool) -> Result<Value> {
    let step = format!("{} name", purpose.receipt);
    let before = work.store.step(admin.tenant(), &step).await?.and_then(|v| v.as_str().map(str::to_owned));
    let unique = match before.filter(|_| !gone) {
        Some(name) => name,
        None => {
            let name = format!("{}-{}", purpose.unique, &certificate::secret()?.expose()[..12]);
            work.store.put_step(admin.tenant(), &step, &json!(name)).await?;
            name
        }
    };
    let path = format!("applications(uniqueName='{unique}')");
    let wanted = json!({"displayName": purpose.name, "signInAudience": "AzureADMyOrg", "notes": NOTES});
    match work.client.graph_upsert(admin, &path, &wanted).await? {
        Some(application) => Ok(application),
        None => until_it_shows(work, admin, &path).await,
    }
}

/// What was made a moment ago may not be known everywhere yet (wire.md 7.9).
async fn until_it_shows(work: &Work<'_>, admin: &Identity, path: &str) -> Result<Value> {
    let (until, mut pause) = (Instant::now() + limits::PROPAGATION_PATIENCE, limits::LOOK_FIRST);
    loop {
        match work.client.graph_get(admin, path).await {
            Err(e) if e.is_absent() && Instant::now() < until => tokio::time::sleep(pause).await,
            other => return Ok(other?),
        }
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}

/// Only by what we know of it: anybody in the tenant may register an application of our name, and would own what we
/// then gave it. One that we made and forgot before it was written down is found by its unique name.
async fn find(work: &Work<'_>, admin: &Identity, known: Option<&App>) -> Result<Option<Value>> {
    let Some(app) = known else { return Ok(None) };
    match work.client.graph_get(admin, &format!("applications/{}", app.object_id)).await {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.is_absent() => still_there(work, admin, app).await,
        Err(e) => Err(e.into()),
    }
}

/// What reads say of an application lags (wire.md 7.9), and taking a lag for its removal would make a second one:
/// only a write, which lags nowhere, is believed.
async fn still_there(work: &Work<'_>, admin: &Identity, app: &App) -> Result<Option<Value>> {
    let path = format!("applications/{}", app.object_id);
    match work.client.graph_patch(admin, &path, &json!({"notes": NOTES})).await {
        Ok(_) => until_it_shows(work, admin, &path).await.map(Some),
        Err(e) if e.is_absent() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

async fn principal(work: &Work<'_>, admin: &Identity, app_id: &str) -> Result<String> {
    let created = work.client.graph_post(admin, "servicePrincipals", &json!({"appId": app_id})).await;
    let found = match created {
        Err(e) if e.is_duplicate() => {
            until_it_shows(work, admin, &format!("servicePrincipals(appId='{app_id}')")).await?
        }
        other => other?,
    };
    found["id"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| ControlError::Refused("Microsoft returned a service principal without id".into()))
}

/// As its own owner it may renew its certificate and delete itself, and needs no permission over other applications.
async fn own_itself(work: &Work<'_>, admin: &Identity, app: &App) -> Result<()> {
    let body = json!({"@odata.id": format!("{}/v1.0/directoryObjects/{}", work.client.cloud().graph_resource, app.principal_id)});
    let (until, mut pause) = (Instant::now() + limits::PROPAGATION_PATIENCE, limits::LOOK_FIRST);
    loop {
        match work.client.graph_post(admin, &format!("applications/{}/owners/$ref", app.object_id), &body).await {
            Err(e) if e.is_duplicate() => return Ok(()),
            // the new service principal is not known everywhere yet
            Err(e) if e.is_absent() && Instant::now() < until => tokio::time::sleep(pause).await,
            other => return other.map(drop).map_err(Into::into),
        }
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}
