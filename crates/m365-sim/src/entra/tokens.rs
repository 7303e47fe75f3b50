//! The token endpoint and what a bearer of its tokens may do (wire.md 1.3–1.5, 1.7).

use super::bearer::unchecked;
use super::errors::TokenError;
use super::sessions::{DeviceCode, DeviceState, SignedIn, opaque};
use super::{ACTIVITY, Door, EXCHANGE, GRAPH};
use crate::world::{Application, Tenant, World};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Seconds an access token lives (recorded: 3599).
const TOKEN_SECS: i64 = 3599;
const DEVICE_CODE_SECS: i64 = 900;
/// In `wids` of a token without any role.
const NO_ROLE: &str = "0997a1d0-0d1d-4acb-b408-d5ca73121e90";
/// Scopes of OpenID Connect that belong to no resource.
const OIDC: [&str; 4] = ["openid", "profile", "email", "offline_access"];

type Fields = HashMap<String, String>;

/// What is missing is said with an AADSTS code, so an empty or foreign body is read as well.
fn fields(body: &[u8]) -> Fields {
    url::form_urlencoded::parse(body).into_owned().collect()
}

pub(super) async fn endpoint(
    State(door): State<Door>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = fields(&body);
    let grant = form.get("grant_type").map_or("", String::as_str);
    let asked = format!("token {grant} tenant={tenant}");
    let fault = crate::trouble::strike(&mut door.world.state(), "entra", &asked, false);
    if let Some(fault) = fault {
        return fault.answer("entra", "POST", None).await;
    }
    let granted = match form.get("grant_type").map(String::as_str) {
        None => Err(TokenError::missing("grant_type")),
        Some("client_credentials") => client_credentials(&door, &tenant, &headers, &form),
        Some("authorization_code") => authorization_code(&door, &form),
        Some("refresh_token") => refresh(&door, &form),
        Some("urn:ietf:params:oauth:grant-type:device_code" | "device_code") => device(&door, &form),
        Some(other) => Err(TokenError::new(
            400,
            "unsupported_grant_type",
            70003,
            format!("The app requested an unsupported grant type '{other}'."),
        )),
    };
    match granted {
        Ok(body) => (
            StatusCode::OK,
            [
                ("cache-control", "no-store, no-cache"),
                ("x-ms-request-id", &Uuid::new_v4().to_string()),
                ("x-ms-ests-server", "2.1.0 - SIM"),
            ],
            Json(body),
        )
            .into_response(),
        Err(error) => error.response(&door.world),
    }
}

/// The audience of a scope list, and the scopes asked of it; exactly one resource may be named.
fn resource_of(scope: &str) -> Result<(Uuid, &'static str, Vec<String>), TokenError> {
    let mut found: Option<(Uuid, &'static str)> = None;
    let mut asked = Vec::new();
    for word in scope.split_whitespace().filter(|w| !OIDC.contains(w)) {
        let (resource, name) = match word.rsplit_once('/') {
            Some((resource, name)) => (resource.trim_end_matches('/'), name),
            None => ("https://graph.microsoft.com", word),
        };
        let known = match resource {
            "https://graph.microsoft.com" | "00000003-0000-0000-c000-000000000000" => {
                (GRAPH, "https://graph.microsoft.com")
            }
            "https://outlook.office365.com" | "https://outlook.office.com" => {
                (EXCHANGE, "https://outlook.office365.com")
            }
            "https://manage.office.com" => (ACTIVITY, "https://manage.office.com"),
            other => {
                return Err(TokenError::new(
                    400,
                    "invalid_resource",
                    500_011,
                    format!(
                        "The resource principal named {other} was not found in the tenant. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant."
                    ),
                ));
            }
        };
        if found.is_some_and(|f| f != known) {
            return Err(TokenError::new(
                400,
                "invalid_request",
                28000,
                "Provided value for the input parameter scope is not valid because it contains more than one resource.",
            ));
        }
        found = Some(known);
        asked.push(name.to_owned());
    }
    let (id, audience) = found.unwrap_or((GRAPH, "https://graph.microsoft.com"));
    Ok((id, audience, asked))
}

fn field<'a>(form: &'a Fields, name: &str) -> Result<&'a str, TokenError> {
    form.get(name).map(String::as_str).filter(|v| !v.is_empty()).ok_or_else(|| TokenError::missing(name))
}

fn client_id(form: &Fields) -> Result<Uuid, TokenError> {
    let text = field(form, "client_id")?;
    let wrong = || {
        TokenError::new(400, "unauthorized_client", 700_038, format!("{text} is not a valid application identifier."))
    };
    let id = Uuid::parse_str(text).map_err(|_| wrong())?;
    if id.is_nil() { Err(wrong()) } else { Ok(id) }
}

fn client_credentials(door: &Door, tenant: &str, headers: &HeaderMap, form: &Fields) -> Result<Value, TokenError> {
    let (world, app) = (&door.world, client_id(form)?);
    let scope = field(form, "scope")?;
    if scope.split_whitespace().any(|w| !OIDC.contains(&w) && !w.ends_with("/.default")) {
        return Err(TokenError::new(
            400,
            "invalid_scope",
            1_002_012,
            format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."
            ),
        ));
    }
    let now = world.clock.unix();
    let mut state = world.state();
    let key_delay = state.switches.entra_key_delay_secs;
    let _ = key_delay;
    let t = state.tenant_mut(tenant).ok_or_else(|| TokenError::tenant_not_found(tenant))?;
    let tid = t.id;
    let application = t.applications.iter().find(|a| a.app_id == app).cloned();
    let application = application.ok_or_else(|| TokenError::new(400, "unauthorized_client", 700_016, format!("Application with identifier '{app}' was not found in the directory '{tid}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.")))?;
    let how = prove_client(&application, form, headers, &door.base, tid, now)?;
    let (resource_id, audience, _) = resource_of(scope)?;
    let Some(principal) = t.service_principals.iter().find(|s| s.app_id == app && s.visible_from <= now) else {
        return Err(TokenError::new(
            401,
            "invalid_client",
            7_000_229,
            format!(
                "The client application {app} is missing service principal in the tenant {tid}. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119"
            ),
        ));
    };
    if !principal.account_enabled {
        return Err(TokenError::new(
            400,
            "unauthorized_client",
            7_000_112,
            format!("Application '{app}'({}) is disabled.", application.display_name),
        ));
    }
    let resource = t.service_principals.iter().find(|s| s.app_id == resource_id);
    let roles: Vec<String> = resource
        .into_iter()
        .flat_map(|r| {
            t.app_role_assignments
                .iter()
                .filter(move |a| a.principal == principal.id && a.resource == r.id && a.visible_from <= now)
                .filter_map(|a| r.app_roles.iter().find(|(id, _)| *id == a.app_role).map(|(_, name)| name.clone()))
        })
        .collect();
    let mut claims = base_claims(audience, tid, now);
    claims["app_displayname"] = application.display_name.clone().into();
    claims["appid"] = app.to_string().into();
    claims["appidacr"] = how.into();
    claims["idp"] = format!("https://sts.windows.net/{tid}/").into();
    claims["idtyp"] = "app".into();
    claims["oid"] = principal.id.to_string().into();
    claims["sub"] = principal.id.to_string().into();
    if !roles.is_empty() {
        claims["roles"] = json!(roles);
    }
    claims["wids"] = json!(wids(t, principal.id, now, true));
    Ok(
        json!({"token_type": "Bearer", "expires_in": TOKEN_SECS, "ext_expires_in": TOKEN_SECS, "access_token": mint(world, &claims)}),
    )
}

fn wids(t: &Tenant, object: Uuid, now: i64, filler: bool) -> Vec<String> {
    let mut held: Vec<String> = t
        .directory_roles
        .iter()
        .filter(|r| r.members.iter().any(|(m, from)| *m == object && *from <= now))
        .map(|r| r.template.to_string())
        .collect();
    if filler || held.is_empty() {
        held.push(NO_ROLE.to_owned());
    }
    held
}

fn base_claims(audience: &str, tenant: Uuid, now: i64) -> Value {
    json!({"aud": audience, "iss": format!("https://sts.windows.net/{tenant}/"), "iat": now, "nbf": now, "exp": now + TOKEN_SECS + 1, "aio": opaque(""), "rh": "0.", "tid": tenant.to_string(), "uti": Uuid::new_v4().simple().to_string(), "ver": "1.0"})
}

pub fn mint(world: &World, claims: &Value) -> String {
    let key = &world.pki.token_key;
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some(key.kid.clone());
    header.x5t = Some(key.kid.clone());
    let encoding = pkcs1(&key.pkcs8).map(|der| EncodingKey::from_rsa_der(&der));
    encoding.and_then(|k| jsonwebtoken::encode(&header, claims, &k).ok()).unwrap_or_default()
}

/// `from_rsa_der` wants the RSAPrivateKey inside PKCS#8 (RFC 5208 §5): the last octet string.
fn pkcs1(pkcs8: &[u8]) -> Option<Vec<u8>> {
    use x509_parser::der_parser::asn1_rs::{FromDer, Integer, OctetString, Sequence};
    let (_, outer) = Sequence::from_der(pkcs8).ok()?;
    let (rest, _version) = Integer::from_der(&outer.content).ok()?;
    let (rest, _algorithm) = Sequence::from_der(rest).ok()?;
    let (_, key) = OctetString::from_der(rest).ok()?;
    Some(key.as_ref().to_vec())
}

/// "1" for a right secret, "2" for a right certificate assertion.
fn prove_client(
    application: &Application,
    form: &Fields,
    _headers: &HeaderMap,
    base: &str,
    tenant: Uuid,
    now: i64,
) -> Result<&'static str, TokenError> {
    let app = application.app_id;
    if let Some(secret) = form.get("client_secret") {
        return match application.credentials.iter().find(|c| c.secret.as_deref() == Some(secret)) {
            Some(c) if c.end <= now => Err(TokenError::new(
                401,
                "invalid_client",
                7_000_222,
                format!("The provided client secret keys for app '{app}' are expired."),
            )),
            Some(_) => Ok("1"),
            None => Err(TokenError::new(
                401,
                "invalid_client",
                7_000_215,
                format!(
                    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{app}'."
                ),
            )),
        };
    }
    let Some(assertion) = form.get("client_assertion") else {
        return Err(TokenError::new(
            401,
            "invalid_client",
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        ));
    };
    let unknown = || {
        TokenError::new(
            401,
            "invalid_client",
            700_027,
            format!(
                "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client, app '{app}']"
            ),
        )
    };
    let header = assertion_header(assertion).ok_or_else(unknown)?;
    let algorithm = match header["alg"].as_str() {
        Some("PS256") => Algorithm::PS256,
        Some("RS256") => Algorithm::RS256,
        _ => return Err(unknown()),
    };
    let certificate = application
        .credentials
        .iter()
        .filter(|c| c.usable_from <= now)
        .filter_map(|c| c.certificate.as_ref())
        .find(|der| thumbprint_matches(&header, der))
        .ok_or_else(unknown)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| unknown())?;
    let key = DecodingKey::from_rsa_der(&parsed.public_key().subject_public_key.data);
    let bad = || TokenError::new(401, "invalid_client", 700_027, "Client assertion contains an invalid signature.");
    let claims = jsonwebtoken::decode::<Value>(assertion, &key, &unchecked(algorithm)).map_err(|_| bad())?.claims;
    let aud = claims["aud"].as_str().unwrap_or_default();
    let ours =
        [base, "https://login.microsoftonline.com", "https://sts.windows.net"].iter().any(|b| aud.starts_with(b))
            && (aud.contains(&tenant.to_string()) || aud.contains("/oauth2/"));
    let iss = claims["iss"].as_str() == Some(&app.to_string()) && claims["sub"].as_str() == Some(&app.to_string());
    if !ours || !iss {
        return Err(bad());
    }
    // recorded: floats are taken, a missing nbf too; a certificate that ended counts as out of range
    let time = |name: &str| claims[name].as_f64();
    let in_range = time("exp").is_some_and(|exp| exp > now as f64 - 300.0)
        && time("nbf").is_none_or(|nbf| nbf <= now as f64 + 300.0);
    if !in_range || parsed.validity().not_after.timestamp() <= now {
        return Err(TokenError::new(
            401,
            "invalid_client",
            700_024,
            "Client assertion is not within its valid time range.",
        ));
    }
    Ok("2")
}

fn assertion_header(jwt: &str) -> Option<Value> {
    let part = jwt.split('.').next()?.trim_end_matches('=');
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// `x5t#S256` or `x5t`, with or without padding (MSAL keeps it).
fn thumbprint_matches(header: &Value, der: &[u8]) -> bool {
    let is = |key: &str, algorithm| {
        let digest = aws_lc_rs::digest::digest(algorithm, der);
        header[key].as_str().is_some_and(|t| t.trim_end_matches('=') == URL_SAFE_NO_PAD.encode(digest.as_ref()))
    };
    is("x5t#S256", &aws_lc_rs::digest::SHA256) || is("x5t", &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY)
}

fn authorization_code(door: &Door, form: &Fields) -> Result<Value, TokenError> {
    let (client, code) = (client_id(form)?, field(form, "code")?);
    let now = door.world.clock.unix();
    let who = {
        let mut remembered = door.sessions.open();
        let expired = || {
            TokenError::new(
                400,
                "invalid_grant",
                70008,
                "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.",
            )
        };
        let kept =
            remembered.codes.get_mut(code).filter(|c| c.expires > now && c.who.client == client).ok_or_else(expired)?;
        if kept.used {
            return Err(TokenError::new(
                400,
                "invalid_grant",
                54005,
                "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.",
            ));
        }
        if form.get("redirect_uri").is_some_and(|uri| *uri != kept.redirect_uri) {
            return Err(TokenError::new(
                400,
                "invalid_grant",
                50011,
                "The redirect URI specified in the request does not match the redirect URIs configured for the application.",
            ));
        }
        if let Some((challenge, method)) = &kept.challenge {
            let verifier = form.get("code_verifier").map_or("", String::as_str);
            let shown = if method == "S256" {
                URL_SAFE_NO_PAD
                    .encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes()).as_ref())
            } else {
                verifier.to_owned()
            };
            if shown != *challenge {
                return Err(TokenError::new(
                    400,
                    "invalid_grant",
                    501_481,
                    "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
                ));
            }
        }
        kept.used = true;
        kept.who.clone()
    };
    delegated(door, who, form.get("scope").cloned())
}

fn refresh(door: &Door, form: &Fields) -> Result<Value, TokenError> {
    let (client, token) = (client_id(form)?, field(form, "refresh_token")?);
    let who = door.sessions.open().refresh.get(token).filter(|w| w.client == client).cloned();
    let who = who.ok_or_else(|| {
        TokenError::new(400, "invalid_grant", 700_082, "The refresh token has expired due to inactivity.")
    })?;
    delegated(door, who, form.get("scope").cloned())
}

fn device(door: &Door, form: &Fields) -> Result<Value, TokenError> {
    let (client, code) = (client_id(form)?, field(form, "device_code")?);
    let now = door.world.clock.unix();
    let kept = door.sessions.open().devices.get(code).filter(|d| d.client == client).cloned();
    let kept = kept.ok_or_else(|| {
        TokenError::new(400, "bad_verification_code", 70019, "The verification code did not match any recent record.")
    })?;
    if kept.expires <= now {
        return Err(TokenError::new(
            400,
            "expired_token",
            70020,
            "The provided value for the input parameter 'device_code' is not valid. This device code has expired.",
        ));
    }
    match kept.state {
        DeviceState::Pending => Err(TokenError::new(
            400,
            "authorization_pending",
            70016,
            "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
        )),
        DeviceState::Declined => {
            Err(TokenError::new(400, "authorization_declined", 70018, "The end user denied the authorization request."))
        }
        DeviceState::Approved(who) => {
            door.sessions.open().devices.remove(code);
            delegated(door, who, None)
        }
    }
}

pub(super) async fn device_code(State(door): State<Door>, Path(tenant): Path<String>, body: Bytes) -> Response {
    let form = fields(&body);
    let client = match client_id(&form) {
        Ok(client) => client,
        Err(error) => return error.response(&door.world),
    };
    let scope = form.get("scope").cloned().unwrap_or_default();
    if let Err(error) = resource_of(&scope) {
        return error.response(&door.world);
    }
    let anybody = matches!(tenant.as_str(), "common" | "organizations");
    if !anybody && door.world.state().tenant(&tenant).is_none() {
        return TokenError::tenant_not_found(&tenant).response(&door.world);
    }
    let letters = Uuid::new_v4().simple().to_string().to_uppercase();
    let (user_code, code) = (letters[..9].to_owned(), opaque("D"));
    let at = format!("{}/common/oauth2/deviceauth", door.base);
    let expires = door.world.clock.unix() + DEVICE_CODE_SECS;
    door.sessions.open().devices.insert(
        code.clone(),
        DeviceCode { user_code: user_code.clone(), client, scope, tenant, expires, state: DeviceState::Pending },
    );
    let message =
        format!("To sign in, use a web browser to open the page {at} and enter the code {user_code} to authenticate.");
    Json(json!({"user_code": user_code, "device_code": code, "verification_uri": at, "expires_in": DEVICE_CODE_SECS, "interval": 1, "message": message})).into_response()
}

/// Tokens for somebody who signed in: only scopes that somebody consented to.
fn delegated(door: &Door, mut who: SignedIn, scope: Option<String>) -> Result<Value, TokenError> {
    let scope = scope.filter(|s| !s.trim().is_empty()).unwrap_or_else(|| who.scope.clone());
    let (resource_id, audience, asked) = resource_of(&scope)?;
    let now = door.world.clock.unix();
    let state = door.world.state();
    let t = state
        .tenants
        .iter()
        .find(|t| t.id == who.tenant)
        .ok_or_else(|| TokenError::tenant_not_found(&who.tenant.to_string()))?;
    let user = t
        .users
        .by_id(who.user)
        .filter(|u| u.enabled)
        .ok_or_else(|| TokenError::new(400, "invalid_grant", 50057, "The user account is disabled."))?;
    let granted = granted_scopes(t, who.client, resource_id, who.user);
    let wanted: Vec<&String> = asked.iter().filter(|a| *a != ".default").collect();
    if let Some(missing) = wanted.iter().find(|w| !granted.iter().any(|g| g.eq_ignore_ascii_case(w))) {
        return Err(TokenError::new(400, "invalid_grant", 65001, format!("The user or administrator has not consented to use the application with ID '{}' for {missing}. Send an interactive authorization request for this user and resource.", who.client)).suberror("consent_required"));
    }
    let mut claims = base_claims(audience, who.tenant, now);
    claims["appid"] = who.client.to_string().into();
    claims["appidacr"] = "0".into();
    claims["idtyp"] = "user".into();
    claims["name"] = user.display_name.clone().into();
    claims["oid"] = user.id.to_string().into();
    claims["sub"] = user.id.to_string().into();
    claims["upn"] = user.upn.clone().into();
    claims["unique_name"] = user.upn.clone().into();
    claims["scp"] = granted.iter().cloned().collect::<Vec<_>>().join(" ").into();
    claims["wids"] = json!(wids(t, user.id, now, false));
    let mut body = json!({"token_type": "Bearer", "scope": granted.iter().map(|g| format!("{audience}/{g}")).collect::<Vec<_>>().join(" "), "expires_in": TOKEN_SECS, "ext_expires_in": TOKEN_SECS, "access_token": mint(&door.world, &claims)});
    if scope.contains("openid") || who.scope.contains("openid") {
        let id = json!({"aud": who.client, "iss": format!("https://login.microsoftonline.com/{}/v2.0", who.tenant), "iat": now, "nbf": now, "exp": now + TOKEN_SECS, "name": user.display_name, "nonce": who.nonce, "oid": user.id, "preferred_username": user.upn, "rh": "0.", "sub": opaque(""), "tid": who.tenant, "uti": Uuid::new_v4().simple().to_string(), "ver": "2.0"});
        body["id_token"] = mint(&door.world, &id).into();
    }
    if who.scope.contains("offline_access") || scope.contains("offline_access") {
        let token = opaque("0.");
        body["refresh_token"] = token.clone().into();
        who.scope =
            if who.scope.contains("offline_access") { who.scope } else { format!("{} offline_access", who.scope) };
        door.sessions.open().refresh.insert(token, who);
    }
    Ok(body)
}

/// What an oauth2PermissionGrant gives this client for this user at this resource.
pub(super) fn granted_scopes(t: &Tenant, client: Uuid, resource: Uuid, user: Uuid) -> HashSet<String> {
    let id_of = |app: Uuid| t.service_principals.iter().find(|s| s.app_id == app).map(|s| s.id);
    let (Some(client), Some(resource)) = (id_of(client), id_of(resource)) else { return HashSet::new() };
    let grants = t
        .permission_grants
        .iter()
        .filter(|g| g.client == client && g.resource == resource && g.principal.is_none_or(|p| p == user));
    grants.flat_map(|g| g.scope.split_whitespace()).map(str::to_owned).collect()
}

/// Records that somebody consented to `scope` (which may name several resources when an administrator does).
pub(super) fn consent(t: &mut Tenant, client: Uuid, scope: &str, for_user: Option<Uuid>) -> Result<(), TokenError> {
    let id_of = |t: &Tenant, app: Uuid| t.service_principals.iter().find(|s| s.app_id == app).map(|s| s.id);
    for word in scope.split_whitespace().filter(|w| !OIDC.contains(w)) {
        let (resource, _, names) = resource_of(word)?;
        let (Some(client_sp), Some(resource_sp)) = (id_of(t, client), id_of(t, resource)) else { continue };
        let grant = t
            .permission_grants
            .iter_mut()
            .find(|g| g.client == client_sp && g.resource == resource_sp && g.principal == for_user);
        let names = names.into_iter().filter(|n| n != ".default");
        match grant {
            Some(grant) => {
                for name in names {
                    if !grant.scope.split_whitespace().any(|s| s.eq_ignore_ascii_case(&name)) {
                        grant.scope = format!("{} {name}", grant.scope).trim().to_owned();
                    }
                }
            }
            None => t.permission_grants.push(crate::world::PermissionGrant {
                id: opaque("g"),
                client: client_sp,
                resource: resource_sp,
                consent_type: if for_user.is_some() { "Principal" } else { "AllPrincipals" }.into(),
                principal: for_user,
                scope: names.collect::<Vec<_>>().join(" "),
            }),
        }
    }
    Ok(())
}
