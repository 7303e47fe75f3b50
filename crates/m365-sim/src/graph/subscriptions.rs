//! Subscriptions to the messages of a mailbox (wire.md 6; Graph "subscription" pages, 2026).

use super::access::{self, Right};
use super::{Answer, Answered, Refusal, Request, addressed};
use crate::limits::MAILBOX_SUBSCRIPTIONS_MAX;
use crate::mailbox::{FolderId, folders, ids};
use crate::notify::{self, Subscription};
use crate::world::Tenant;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use uuid::Uuid;

pub async fn route(request: &Request<'_>) -> Answered {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let own = |s: &Subscription| s.app_id == request.caller.app_id || request.caller.everything;
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["subscriptions"]) => request.tenant(|t| {
            Ok(Answer::List("subscriptions", t.subscriptions.iter().filter(|s| own(s)).map(show).collect()))
        }),
        ("POST", ["subscriptions"]) => create(request).await,
        (method, ["subscriptions", key, rest @ ..]) => {
            let id = request.tenant(|t| {
                let found = t.subscriptions.iter().find(|s| s.id.to_string() == **key && own(s));
                found.map(|s| s.id).ok_or_else(gone)
            })?;
            match (method, rest) {
                ("GET", []) => with(request, id, |s| Ok(Answer::Json(200, show(s)))),
                ("PATCH", []) => renew(request, id).await,
                ("POST", ["reauthorize"]) => with(request, id, |s| {
                    s.challenged = None;
                    Ok(Answer::Empty)
                }),
                ("DELETE", []) => {
                    request.tenant(|t| {
                        t.subscriptions.retain(|s| s.id != id);
                        Ok(())
                    })?;
                    request.door.notifier.changed();
                    Ok(Answer::Empty)
                }
                _ => Err(bad("Unsupported request.")),
            }
        }
        _ => Err(bad("Unsupported request.")),
    }
}

fn bad(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidRequest", text)
}

fn gone() -> Refusal {
    Refusal::new(404, "ResourceNotFound", "The object was not found.")
}

fn with(request: &Request<'_>, id: Uuid, work: impl FnOnce(&mut Subscription) -> Answered) -> Answered {
    request.tenant(|t| work(t.subscriptions.iter_mut().find(|s| s.id == id).ok_or_else(gone)?))
}

pub fn show(s: &Subscription) -> Value {
    json!({"id": s.id, "resource": s.resource, "applicationId": s.app_id, "changeType": s.changes.join(","), "clientState": null,
        "notificationUrl": s.notification_url, "notificationQueryOptions": null, "lifecycleNotificationUrl": s.lifecycle_url,
        "expirationDateTime": s.expires_text(), "creatorId": s.creator, "includeResourceData": s.is_rich().then_some(true),
        "latestSupportedTlsVersion": s.tls, "encryptionCertificate": null,
        "encryptionCertificateId": s.certificate.as_ref().map(|(_, id)| id), "notificationUrlAppId": null})
}

/// Which mailbox, folder and properties a resource means.
struct Resource {
    user: String,
    folder: Option<String>,
    select: Option<String>,
}

fn resource(request: &Request<'_>, text: &str) -> Result<Resource, Refusal> {
    let unsupported = || bad(format!("Subscriptions to the resource '{text}' are not supported."));
    let text = text.trim_start_matches(&*request.door.base).trim_start_matches("/v1.0").trim_start_matches('/');
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let segments = addressed(path.split('/').map(str::to_owned).collect());
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let me = request.caller.object_id.to_string();
    let (user, rest) = match path.as_slice() {
        ["users", user, rest @ ..] => ((*user).to_owned(), rest),
        ["me", rest @ ..] if request.caller.user.is_some() => (me, rest),
        _ => return Err(unsupported()),
    };
    let folder = match rest {
        ["messages"] => None,
        ["mailFolders", folder, "messages"] => Some((*folder).to_owned()),
        _ => return Err(unsupported()),
    };
    let select = url::form_urlencoded::parse(query.as_bytes()).find(|(k, _)| k == "$select");
    Ok(Resource { user, folder, select: select.map(|(_, v)| v.into_owned()) })
}

/// Q70: no later than the longest life, and not in the past.
fn expiry(request: &Request<'_>, rich: bool) -> Result<jiff::Timestamp, Refusal> {
    let text = request.text("expirationDateTime")?;
    let at: jiff::Timestamp =
        text.parse().map_err(|_| bad(format!("'{text}' is not a valid value of expirationDateTime.")))?;
    let now = request.door.world.clock.now();
    let switches = &request.switches;
    let minutes = if rich { switches.subscription_rich_minutes_max } else { switches.subscription_minutes_max };
    let latest = now.checked_add(jiff::SignedDuration::from_mins(minutes)).unwrap_or(jiff::Timestamp::MAX);
    if at <= now {
        return Err(bad("Subscription expiration must be in the future."));
    }
    if at > latest {
        return Err(bad(format!("Subscription expiration can only be {minutes} minutes in the future.")));
    }
    Ok(at)
}

fn url(request: &Request<'_>, key: &str) -> Result<String, Refusal> {
    let text = request.text(key)?;
    let plain = request.switches.webhook_plain_http;
    let parsed = url::Url::parse(&text).ok();
    let fits = parsed.is_some_and(|u| u.scheme() == "https" || u.scheme() == "http" && plain);
    if fits { Ok(text) } else { Err(bad(format!("{key} must be a valid HTTPS URL."))) }
}

async fn create(request: &Request<'_>) -> Answered {
    let body = &request.body;
    let changes: Vec<String> = request.text("changeType")?.split(',').map(|c| c.trim().to_lowercase()).collect();
    if let Some(unknown) = changes.iter().find(|c| !["created", "updated", "deleted"].contains(&c.as_str())) {
        return Err(bad(format!("'{unknown}' is not a valid value of changeType.")));
    }
    let given = request.text("resource")?;
    let resource = resource(request, &given)?;
    let certificate = certificate(body)?;
    let expires = expiry(request, certificate.is_some())?;
    if certificate.is_some() && resource.select.is_none() {
        return Err(bad("A subscription with resource data to Outlook resources needs $select in its resource."));
    }
    let client_state = body["clientState"].as_str().map(str::to_owned);
    if client_state.as_ref().is_some_and(|s| s.chars().count() > 128) {
        return Err(bad("clientState may have at most 128 characters."));
    }
    let notification_url = url(request, "notificationUrl")?;
    let lifecycle_url = match &body["lifecycleNotificationUrl"] {
        Value::Null => None,
        _ => Some(url(request, "lifecycleNotificationUrl")?),
    };
    let right = if certificate.is_some() { Right::Read } else { Right::Basic };
    let find = |t: &mut Tenant| -> Result<(Uuid, Option<FolderId>), Refusal> {
        let opened = access::open(t, &request.caller, &resource.user, right, request.now())?;
        let mailbox = opened.mailbox(t)?;
        let named = |key: &str| {
            let id = folders::by_name(key).map(|f| f.id).or_else(|| ids::read_folder(key).map(|(_, id)| id));
            id.filter(|id| mailbox.folder(*id).is_some()).ok_or_else(gone)
        };
        let folder = resource.folder.as_deref().map(named).transpose()?;
        if t.subscriptions.iter().filter(|s| s.user == opened.user).count() >= MAILBOX_SUBSCRIPTIONS_MAX {
            return Err(Refusal::new(403, "Forbidden", "The mailbox has the maximum number of subscriptions."));
        }
        Ok((opened.user, folder))
    };
    let (user, folder) = request.tenant(find)?;
    for url in [Some(&notification_url), lifecycle_url.as_ref()].into_iter().flatten() {
        notify::validate(&request.door.notifier, url)
            .await
            .map_err(|text| Refusal::new(400, "ValidationError", text))?;
    }
    let made = Subscription {
        id: Uuid::new_v4(),
        app_id: request.caller.app_id,
        creator: request.caller.object_id,
        resource: given,
        user,
        folder,
        select: resource.select,
        changes,
        notification_url,
        lifecycle_url,
        client_state,
        expires,
        tls: body["latestSupportedTlsVersion"].as_str().unwrap_or("v1_2").to_owned(),
        immutable: request.immutable(),
        certificate,
        challenged: None,
    };
    let mut shown = show(&made);
    // only the answer to its creation says it again (Graph "Create subscription" page)
    shown["clientState"] = json!(made.client_state);
    request.tenant(|t| {
        t.subscriptions.push(made);
        Ok(())
    })?;
    request.door.notifier.changed();
    Ok(Answer::Json(201, shown))
}

/// What resource data is encrypted for.
fn certificate(body: &Value) -> Result<Option<(Vec<u8>, String)>, Refusal> {
    if body["includeResourceData"].as_bool() != Some(true) {
        return Ok(None);
    }
    let der = STANDARD.decode(body["encryptionCertificate"].as_str().unwrap_or_default()).unwrap_or_default();
    let name = body["encryptionCertificateId"].as_str().filter(|n| !n.is_empty() && n.len() <= 128);
    let name = name.ok_or_else(|| bad("encryptionCertificateId is required with includeResourceData."))?;
    if !notify::is_encryption_certificate(&der) {
        return Err(bad(
            "encryptionCertificate must be a certificate in base64 with an RSA key of at least 2048 bits.",
        ));
    }
    Ok(Some((der, name.to_owned())))
}

/// A later end authorises it again, too; a new address is asked first.
async fn renew(request: &Request<'_>, id: Uuid) -> Answered {
    let (rich, address) = request.tenant(|t| {
        let s = t.subscriptions.iter().find(|s| s.id == id).ok_or_else(gone)?;
        Ok((s.is_rich(), s.notification_url.clone()))
    })?;
    let expires = match &request.body["expirationDateTime"] {
        Value::Null => None,
        _ => Some(expiry(request, rich)?),
    };
    let moved = match &request.body["notificationUrl"] {
        Value::Null => None,
        _ => Some(url(request, "notificationUrl")?).filter(|u| *u != address),
    };
    if let Some(url) = &moved {
        notify::validate(&request.door.notifier, url)
            .await
            .map_err(|text| Refusal::new(400, "ValidationError", text))?;
    }
    // who may no longer read cannot renew
    request.tenant(|t| {
        let s = t.subscriptions.iter().find(|s| s.id == id).ok_or_else(gone)?;
        let (user, right) = (s.user.to_string(), if s.is_rich() { Right::Read } else { Right::Basic });
        access::open(t, &request.caller, &user, right, request.now()).map(drop)
    })?;
    let answer = with(request, id, |s| {
        s.expires = expires.unwrap_or(s.expires);
        if let Some(url) = moved {
            s.notification_url = url;
        }
        s.challenged = None;
        Ok(Answer::Json(200, show(s)))
    });
    request.door.notifier.changed();
    answer
}
