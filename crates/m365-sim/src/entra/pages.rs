//! The pages that a person sees: sign-in, consent, device code, admin consent. Plain forms, so that a browser
//! and a script fill them in the same way.

use super::errors::TokenError;
use super::sessions::{Code, DeviceState, SignedIn, opaque};
use super::{Door, GLOBAL_ADMINISTRATOR, tokens};
use crate::world::{State as WorldState, Tenant};
use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use std::collections::HashMap;
use uuid::Uuid;

const CODE_SECS: i64 = 600;
/// Scopes that a user may grant for herself.
const OF_USERS: [&str; 6] =
    ["openid", "profile", "email", "offline_access", "User.Read", "https://graph.microsoft.com/User.Read"];

type Fields = HashMap<String, String>;

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn page(title: &str, body: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>body{{font:16px sans-serif;max-width:32em;margin:4em auto}}input,button{{font:inherit;display:block;margin:.5em 0;padding:.4em}}li{{margin:.3em 0}}</style><h1>{title}</h1>{body}</html>"
    ))
}

fn hidden(fields: &Fields) -> String {
    fields.iter().map(|(k, v)| format!("<input type=hidden name=\"{}\" value=\"{}\">", escape(k), escape(v))).collect()
}

fn error_page(door: &Door, error: &TokenError) -> Response {
    (StatusCode::BAD_REQUEST, page("Sign-in failed", &format!("<p>{}</p>", escape(&error.description(&door.world).0))))
        .into_response()
}

/// Bad client or redirect: an HTML page and no redirect (documented).
fn check_client(door: &Door, asked: &Fields) -> Result<(Uuid, String), TokenError> {
    let text = asked.get("client_id").cloned().unwrap_or_default();
    let unknown = || {
        TokenError::new(
            400,
            "unauthorized_client",
            700_016,
            format!("Application with identifier '{text}' was not found in the directory."),
        )
    };
    let client = Uuid::parse_str(&text).map_err(|_| unknown())?;
    let state = door.world.state();
    let registered: Vec<String> = state
        .tenants
        .iter()
        .flat_map(|t| &t.applications)
        .filter(|a| a.app_id == client)
        .flat_map(|a| a.redirect_uris.clone())
        .collect();
    let known =
        client == super::GRAPH_CLI || state.tenants.iter().any(|t| t.applications.iter().any(|a| a.app_id == client));
    if !known {
        return Err(unknown());
    }
    let uri = asked.get("redirect_uri").cloned().unwrap_or_default();
    // RFC 8252 §7.3: any port of a loopback redirect
    let loopback = url::Url::parse(&uri)
        .is_ok_and(|u| u.scheme() == "http" && matches!(u.host_str(), Some("localhost" | "127.0.0.1")));
    let right = registered.contains(&uri) || (client == super::GRAPH_CLI && loopback);
    if right {
        Ok((client, uri))
    } else {
        Err(TokenError::new(
            400,
            "invalid_request",
            50011,
            format!(
                "The redirect URI '{uri}' specified in the request does not match the redirect URIs configured for the application '{client}'."
            ),
        ))
    }
}

pub(super) async fn authorize(
    State(door): State<Door>,
    Path(_tenant): Path<String>,
    Query(asked): Query<Fields>,
) -> Response {
    if let Err(error) = check_client(&door, &asked) {
        return error_page(&door, &error);
    }
    sign_in_form(&asked, "").into_response()
}

fn sign_in_form(asked: &Fields, wrong: &str) -> Html<String> {
    page(
        "Sign in",
        &format!(
            "<p>{}</p><form method=post>{}<input name=username placeholder=\"user@domain\" value=\"{}\" autofocus><input name=password type=password placeholder=Password><button>Sign in</button></form>",
            escape(wrong),
            hidden(asked),
            escape(asked.get("login_hint").map_or("", String::as_str))
        ),
    )
}

/// The user of the world that these words belong to.
fn who(state: &WorldState, fields: &Fields, tenant: &str) -> Result<(Uuid, Uuid), TokenError> {
    let name = fields.get("username").map_or("", |n| n.trim());
    let common = matches!(tenant, "common" | "organizations");
    let Some(t) = state.tenants.iter().find(|t| t.user_by_address(name).is_some() && (common || t.answers_to(tenant)))
    else {
        return Err(TokenError::new(
            400,
            "invalid_grant",
            50034,
            format!(
                "The user account {name} does not exist in the directory. To sign into this application, the account must be added to the directory."
            ),
        ));
    };
    let user = t.user_by_address(name).filter(|u| Some(&u.password) == fields.get("password"));
    let user = user.ok_or_else(|| {
        TokenError::new(
            400,
            "invalid_grant",
            50126,
            "Error validating credentials due to invalid username or password.",
        )
    })?;
    if !user.enabled {
        return Err(TokenError::new(400, "invalid_grant", 50057, "The user account is disabled."));
    }
    Ok((t.id, user.id))
}

fn is_administrator(t: &Tenant, user: Uuid) -> bool {
    t.directory_roles.iter().any(|r| r.template == GLOBAL_ADMINISTRATOR && r.members.iter().any(|(m, _)| *m == user))
}

/// Which of the scopes still need consent, by whom.
fn missing(t: &Tenant, client: Uuid, user: Uuid, scope: &str) -> Vec<String> {
    let granted = |word: &str| {
        let (resource, name) = word.rsplit_once('/').unwrap_or(("https://graph.microsoft.com", word));
        let resource = match resource {
            "https://outlook.office365.com" | "https://outlook.office.com" => super::EXCHANGE,
            "https://manage.office.com" => super::ACTIVITY,
            _ => super::GRAPH,
        };
        let held = tokens::granted_scopes(t, client, resource, user);
        if name == ".default" { !held.is_empty() } else { held.iter().any(|h| h.eq_ignore_ascii_case(name)) }
    };
    scope.split_whitespace().filter(|w| !OF_USERS[..4].contains(w) && !granted(w)).map(str::to_owned).collect()
}

/// Signs in, asks for consent where it is missing, and records it.
fn pass(door: &Door, tenant: &str, client: Uuid, scope: &str, fields: &Fields) -> Result<SignedIn, Refusal> {
    let mut state = door.world.state();
    let (tid, user) = who(&state, fields, tenant).map_err(Refusal::SignIn)?;
    let t = state
        .tenants
        .iter_mut()
        .find(|t| t.id == tid)
        .ok_or_else(|| Refusal::SignIn(TokenError::tenant_not_found(tenant)))?;
    let needed = missing(t, client, user, scope);
    if !needed.is_empty() {
        let admin = is_administrator(t, user);
        if !admin && needed.iter().any(|n| !OF_USERS.contains(&n.as_str())) {
            return Err(Refusal::NeedsAdministrator(TokenError::new(
                400,
                "access_denied",
                90094,
                "Need admin approval: the application needs permission to access resources in your organization that only an admin can grant. An account with the role Global Administrator has to sign in.",
            )));
        }
        if fields.get("accept").is_none() {
            return Err(Refusal::Consent(needed));
        }
        let for_user = if admin { None } else { Some(user) };
        tokens::consent(t, client, &needed.join(" "), for_user).map_err(Refusal::SignIn)?;
        let at = door.world.clock.unix();
        t.audit.push(crate::audit::AuditRecord {
            id: Uuid::new_v4(),
            at,
            workload: "AzureActiveDirectory".into(),
            operation: "Consent to application".into(),
            object_id: client.to_string(),
            user_id: fields.get("username").cloned().unwrap_or_default(),
            app_id: None,
            actor: Some(user),
            by_app: false,
            targets: vec![crate::audit::target(t, "Consent to application", &format!("appId={client}"), "")],
            in_feed: t.settings.ingestion.is_on(at),
            client_ip: "127.0.0.1".into(),
            succeeded: true,
            parameters: vec![("Scope".into(), needed.join(" ").into())],
        });
    }
    Ok(SignedIn { tenant: tid, user, client, scope: scope.to_owned(), nonce: fields.get("nonce").cloned() })
}

enum Refusal {
    SignIn(TokenError),
    NeedsAdministrator(TokenError),
    Consent(Vec<String>),
}

fn consent_form(fields: &Fields, needed: &[String]) -> Html<String> {
    let list: String = needed.iter().map(|n| format!("<li>{}", escape(n))).collect();
    page(
        "Permissions requested",
        &format!(
            "<p>This application would like to:<ul>{list}</ul><form method=post>{}<button name=accept value=yes>Accept</button></form><form method=post>{}<button name=deny value=yes>Cancel</button></form>",
            hidden(fields),
            hidden(fields)
        ),
    )
}

pub(super) async fn sign_in(
    State(door): State<Door>,
    Path(tenant): Path<String>,
    Query(query): Query<Fields>,
    Form(mut fields): Form<Fields>,
) -> Response {
    fields.extend(query.into_iter().filter(|(k, _)| !fields.contains_key(k)).collect::<Vec<_>>());
    let (client, uri) = match check_client(&door, &fields) {
        Ok(right) => right,
        Err(error) => return error_page(&door, &error),
    };
    let back = |pairs: &[(&str, &str)]| {
        let mut target = url::Url::parse(&uri).unwrap_or_else(|_| {
            url::Url::parse("http://localhost").unwrap_or_else(|_| unreachable!("a constant URL parses"))
        });
        target.query_pairs_mut().extend_pairs(pairs).extend_pairs(fields.get("state").map(|s| ("state", s.as_str())));
        Redirect::to(target.as_str()).into_response()
    };
    if fields.contains_key("deny") {
        return back(&[
            ("error", "access_denied"),
            ("error_subcode", "cancel"),
            ("error_description", "AADSTS65004: User declined to consent to access the app."),
        ]);
    }
    let scope = fields.get("scope").cloned().unwrap_or_default();
    match pass(&door, &tenant, client, &scope, &fields) {
        Err(Refusal::SignIn(error)) => {
            (StatusCode::OK, sign_in_form(&fields, &error.description(&door.world).0)).into_response()
        }
        Err(Refusal::NeedsAdministrator(error)) => {
            back(&[("error", error.error()), ("error_description", &error.description(&door.world).0)])
        }
        Err(Refusal::Consent(needed)) => consent_form(&fields, &needed).into_response(),
        Ok(who) => {
            let challenge = fields
                .get("code_challenge")
                .map(|c| (c.clone(), fields.get("code_challenge_method").cloned().unwrap_or_else(|| "plain".into())));
            let code = opaque("0.");
            let expires = door.world.clock.unix() + CODE_SECS;
            door.sessions
                .open()
                .codes
                .insert(code.clone(), Code { who, redirect_uri: uri.clone(), challenge, expires, used: false });
            back(&[("code", &code), ("session_state", &Uuid::new_v4().to_string())])
        }
    }
}

pub(super) async fn device(Query(asked): Query<Fields>) -> Html<String> {
    page(
        "Enter code",
        &format!(
            "<form method=post><input name=user_code placeholder=Code value=\"{}\" autofocus><input name=username placeholder=\"user@domain\"><input name=password type=password placeholder=Password><label><input type=checkbox name=accept value=yes checked> accept the permissions that the application asks for</label><button>Next</button></form>",
            escape(asked.get("user_code").map_or("", String::as_str))
        ),
    )
}

/// POST user_code, username, password; `deny` declines. A script need not send `accept`: typing the code is it.
pub(super) async fn approve_device(State(door): State<Door>, Form(mut fields): Form<Fields>) -> Response {
    let wanted = fields.get("user_code").map(|c| c.trim().to_uppercase()).unwrap_or_default();
    let found = door
        .sessions
        .open()
        .devices
        .iter()
        .find(|(_, d)| d.user_code == wanted)
        .map(|(code, d)| (code.clone(), d.clone()));
    let Some((code, kept)) = found.filter(|(_, d)| d.expires > door.world.clock.unix()) else {
        return (StatusCode::BAD_REQUEST, page("That code did not work", "<p>Check the code and try again.</p>"))
            .into_response();
    };
    let set = |state: DeviceState| {
        if let Some(device) = door.sessions.open().devices.get_mut(&code) {
            device.state = state;
        }
    };
    if fields.contains_key("deny") {
        set(DeviceState::Declined);
        return page("Declined", "<p>You can close this window.</p>").into_response();
    }
    fields.entry("accept".into()).or_insert_with(|| "yes".into());
    match pass(&door, &kept.tenant, kept.client, &kept.scope, &fields) {
        Ok(who) => {
            set(DeviceState::Approved(who));
            page("You have signed in", "<p>You have signed in on your device. You may now close this window.</p>")
                .into_response()
        }
        Err(Refusal::NeedsAdministrator(error)) => {
            set(DeviceState::Declined);
            error_page(&door, &error)
        }
        Err(Refusal::SignIn(error)) => error_page(&door, &error),
        Err(Refusal::Consent(needed)) => consent_form(&fields, &needed).into_response(),
    }
}

pub(super) async fn admin_consent(Path(_tenant): Path<String>, Query(asked): Query<Fields>) -> Html<String> {
    page(
        "Permissions requested for your organisation",
        &format!(
            "<form method=post>{}<input name=username placeholder=\"user@domain\" autofocus><input name=password type=password placeholder=Password><button name=accept value=yes>Accept</button><button name=deny value=yes>Cancel</button></form>",
            hidden(&asked)
        ),
    )
}

/// Grants everything in the application's requiredResourceAccess (v1), or its part at one resource (v2).
pub(super) async fn grant_admin_consent(
    State(door): State<Door>,
    Path(tenant): Path<String>,
    Query(query): Query<Fields>,
    Form(mut fields): Form<Fields>,
) -> Response {
    fields.extend(query.into_iter().filter(|(k, _)| !fields.contains_key(k)).collect::<Vec<_>>());
    let (client, uri) = match check_client(&door, &fields) {
        Ok(right) => right,
        Err(error) => return error_page(&door, &error),
    };
    let back = |pairs: &[(&str, &str)]| {
        let Ok(mut target) = url::Url::parse(&uri) else { return StatusCode::BAD_REQUEST.into_response() };
        target.query_pairs_mut().extend_pairs(pairs).extend_pairs(fields.get("state").map(|s| ("state", s.as_str())));
        Redirect::to(target.as_str()).into_response()
    };
    if fields.contains_key("deny") {
        return back(&[
            ("error", "access_denied"),
            ("error_subcode", "cancel"),
            ("error_description", "AADSTS65004: User declined to consent to access the app."),
            ("admin_consent", "True"),
        ]);
    }
    let now = door.world.clock.unix();
    let mut state = door.world.state();
    let (tid, user) = match who(&state, &fields, &tenant) {
        Ok(right) => right,
        Err(error) => {
            drop(state);
            return error_page(&door, &error);
        }
    };
    let delay = state.switches.entra_role_delay_secs;
    let Some(t) = state.tenants.iter_mut().find(|t| t.id == tid) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if !is_administrator(t, user) {
        return back(&[
            ("error", "access_denied"),
            ("error_description", "AADSTS90094: The grant requires admin permission."),
        ]);
    }
    let granted = crate::graph::applications::grant_required(t, client, now, now + delay);
    drop(state);
    if !granted {
        return back(&[
            ("error", "invalid_client"),
            ("error_description", "AADSTS700016: the application was not found in the directory."),
        ]);
    }
    back(&[("tenant", &tid.to_string()), ("admin_consent", "True")])
}
