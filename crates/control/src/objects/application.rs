//! Step c: the application in the tenant, with a certificate whose key never leaves us.

use crate::certificate;
use crate::events::{Event, State, Step};
use crate::work::Work;
use crate::{ControlError, Result, limits};
use base64::{Engine, engine::general_purpose::STANDARD};
use m365::{AppIdentity, Identity};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use store::Store;
use tenant::{Secret, TenantId};

pub(crate) const NAME: &str = "Posthouse Mail Flow";
/// Written into the application, so that one of the same name that somebody else made is not taken for ours.
const NOTES: &str = "Made by Posthouse (posthouse tenant connect). Removed by posthouse tenant disconnect.";
pub(crate) const RECEIPT: &str = "application";

/// The receipt of this step; sealed at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct App {
    pub object_id: String,
    pub app_id: String,
    pub principal_id: String,
    thumbprint_sha256: [u8; 32],
    key_pem: Secret,
    certificate_der: Vec<u8>,
    /// The tenant has the certificate, and the application owns itself. False when the run was cut off before.
    complete: bool,
}

impl App {
    pub(crate) fn identity(&self, tenant: TenantId) -> Identity {
        Identity::App(Arc::new(AppIdentity {
            tenant,
            app_id: self.app_id.clone(),
            thumbprint_sha256: self.thumbprint_sha256,
            key_pem: self.key_pem.clone(),
        }))
    }
    pub(crate) async fn known(store: &Store, tenant: TenantId) -> Result<Option<App>> {
        let Some(record) = store.step(tenant, RECEIPT).await? else { return Ok(None) };
        serde_json::from_value(record)
            .map(Some)
            .map_err(|e| ControlError::Refused(format!("the receipt of the application cannot be read: {e}")))
    }
}

pub(crate) async fn ensure(work: &mut Work<'_>, admin: &Identity) -> Result<App> {
    let known = App::known(work.store, admin.tenant()).await?;
    let found = find(work, admin, known.as_ref()).await?;
    let mut app = match (known, found) {
        (Some(app), Some(_)) if app.complete => {
            work.show(Event::new(
                Step::Application,
                State::Already,
                format!("“{NAME}” is there (client id {})", app.app_id),
            ));
            return Ok(app);
        }
        (Some(app), Some(_)) => app,
        (_, found) => create(work, admin, found).await?,
    };
    let key = STANDARD.encode(&app.certificate_der);
    let credential = json!({"keyCredentials": [{"type": "AsymmetricX509Cert", "usage": "Verify", "key": key, "displayName": format!("CN={NAME}")}]});
    work.client.graph_patch(admin, &format!("applications/{}", app.object_id), &credential).await?;
    own_itself(work, admin, &app).await?;
    app.complete = true;
    write_down(work, admin.tenant(), &app).await?;
    work.show(Event::new(
        Step::Application,
        State::Done,
        format!("“{NAME}” created (client id {}); its key stays here", app.app_id),
    ));
    Ok(app)
}

/// The key is made before anything is created, and written down before anybody else knows of it.
async fn create(work: &Work<'_>, admin: &Identity, found: Option<Value>) -> Result<App> {
    let own = certificate::for_application(NAME)?;
    let application = match found {
        Some(ours) => ours,
        None => {
            let wanted = json!({"displayName": NAME, "signInAudience": "AzureADMyOrg", "notes": NOTES});
            work.client.graph_post(admin, "applications", &wanted).await?
        }
    };
    let text = |key: &str| {
        let value = application[key].as_str().map(str::to_owned);
        value.ok_or_else(|| ControlError::Refused(format!("Microsoft returned an application without {key}")))
    };
    let (object_id, app_id) = (text("id")?, text("appId")?);
    let principal_id = principal(work, admin, &app_id).await?;
    let app = App {
        object_id,
        app_id,
        principal_id,
        thumbprint_sha256: own.thumbprint_sha256,
        key_pem: own.key_pem,
        certificate_der: own.der,
        complete: false,
    };
    write_down(work, admin.tenant(), &app).await?;
    Ok(app)
}

async fn write_down(work: &Work<'_>, tenant: TenantId, app: &App) -> Result<()> {
    let receipt = serde_json::to_value(app).map_err(|e| ControlError::Refused(e.to_string()))?;
    Ok(work.store.put_step(tenant, RECEIPT, &receipt).await?)
}

/// By its receipt; without one (a cut-off first run), by name and our note.
async fn find(work: &Work<'_>, admin: &Identity, known: Option<&App>) -> Result<Option<Value>> {
    if let Some(app) = known {
        return match work.client.graph_get(admin, &format!("applications/{}", app.object_id)).await {
            Ok(found) => Ok(Some(found)),
            Err(e) if e.is_absent() => Ok(None),
            Err(e) => Err(e.into()),
        };
    }
    let named = work
        .client
        .graph_list(admin, &format!("applications?$filter=displayName eq '{}'", NAME.replace(' ', "%20")))
        .await?;
    Ok(named.into_iter().find(|a| a["notes"].as_str() == Some(NOTES)))
}

async fn principal(work: &Work<'_>, admin: &Identity, app_id: &str) -> Result<String> {
    let created = work.client.graph_post(admin, "servicePrincipals", &json!({"appId": app_id})).await;
    let found = match created {
        Err(e) if e.is_duplicate() => {
            work.client.graph_get(admin, &format!("servicePrincipals(appId='{app_id}')")).await?
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
