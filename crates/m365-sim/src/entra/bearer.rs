//! Who bears a token, as Graph and the Exchange admin API read it (wire.md 1.7, 2.2).

use crate::world::{Tenant, World};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

/// The application that a portal session acts through.
const AZURE_PORTAL: Uuid = uuid!("c44b4083-3bb0-49c1-b47d-974e53cbdf3c");

/// Who speaks, by a token that we minted.
#[derive(Clone, Debug)]
pub struct Caller {
    pub tenant: Uuid,
    pub app_id: Uuid,
    /// Object id of the user or the service principal.
    pub object_id: Uuid,
    pub user: Option<String>,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    pub wids: Vec<Uuid>,
    pub display_name: String,
    pub client_ip: String,
    /// An administrator in the portal who may do everything: the control door's, no token says so.
    pub everything: bool,
}

impl Caller {
    /// A second administrator of the tenant, at work in the portal.
    pub fn portal(t: &Tenant, name: &str, client_ip: &str) -> Caller {
        let known = t.users.by_name(name).or_else(|| t.users.first());
        Caller {
            tenant: t.id,
            app_id: AZURE_PORTAL,
            object_id: known.map(|u| u.id).unwrap_or_default(),
            user: Some(name.into()),
            roles: Vec::new(),
            scopes: Vec::new(),
            wids: Vec::new(),
            display_name: name.into(),
            client_ip: client_ip.into(),
            everything: true,
        }
    }
    /// True when the token carries one of the permissions, as application role or as delegated scope.
    pub fn may(&self, permissions: &[&str]) -> bool {
        self.everything
            || self
                .roles
                .iter()
                .chain(&self.scopes)
                .any(|held| permissions.iter().any(|p| held.eq_ignore_ascii_case(p)))
    }
}

/// Verifies the bearer token for one audience; the refusal is already in that service's own form.
pub fn authorise(world: &World, headers: &HeaderMap, audience: &str) -> Result<Caller, Response> {
    let refuse = |text: &str| {
        let challenge = "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", client_id=\"00000003-0000-0000-c000-000000000000\"";
        let id = Uuid::new_v4().to_string();
        let body = json!({"error": {"code": "InvalidAuthenticationToken", "message": text, "innerError": {"date": world.clock.now().strftime("%Y-%m-%dT%H:%M:%S").to_string(), "request-id": id, "client-request-id": id}}});
        (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge), ("request-id", &id)], Json(body)).into_response()
    };
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|h| h.to_str().ok())
        .and_then(|h| h.strip_prefix("Bearer "))
        .unwrap_or_default();
    if token.is_empty() {
        return Err(refuse("Access token is empty."));
    }
    let key = &world.pki.token_key;
    let mut validation = unchecked(Algorithm::RS256);
    validation.validate_exp = false;
    let decoding = DecodingKey::from_rsa_components(&key.n, &key.e).map_err(|_| refuse("Signing key is invalid."))?;
    let claims = jsonwebtoken::decode::<Value>(token, &decoding, &validation)
        .map_err(|_| refuse("Invalid token. Signature validation failed."))?
        .claims;
    if claims["exp"].as_i64().unwrap_or(0) <= world.clock.unix() {
        return Err(refuse("Lifetime validation failed, the token is expired."));
    }
    if claims["aud"].as_str() != Some(audience) {
        return Err(refuse("Access token validation failure. Invalid audience."));
    }
    let words = |key: &str| {
        claims[key].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let id = |key: &str| claims[key].as_str().and_then(|v| v.parse().ok()).unwrap_or_default();
    Ok(Caller {
        tenant: id("tid"),
        app_id: id("appid"),
        object_id: id("oid"),
        user: claims["upn"].as_str().map(str::to_owned),
        roles: words("roles"),
        scopes: claims["scp"].as_str().unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        wids: words("wids").iter().filter_map(|w| w.parse().ok()).collect(),
        display_name: claims["name"].as_str().or(claims["app_displayname"].as_str()).unwrap_or_default().to_owned(),
        client_ip: "127.0.0.1".into(),
        everything: false,
    })
}

/// Signature only; the rest is checked with words of its own.
pub(super) fn unchecked(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.set_required_spec_claims::<&str>(&[]);
    validation
}
