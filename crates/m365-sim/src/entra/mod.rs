//! Entra ID on the wire (wire.md 1): discovery, keys, sign-in pages, tokens, consent.

pub mod bearer;
pub mod errors;
mod pages;
mod sessions;
mod tokens;
pub use tokens::mint;

use crate::world::World;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{get, post};
use errors::TokenError;
use serde_json::{Value, json};
use sessions::Sessions;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::{Uuid, uuid};

pub const GRAPH: Uuid = uuid!("00000003-0000-0000-c000-000000000000");
pub const EXCHANGE: Uuid = uuid!("00000002-0000-0ff1-ce00-000000000000");
pub const ACTIVITY: Uuid = uuid!("c5393580-f805-4401-95e8-94b7a6ef2fc2");
/// Microsoft Graph Command Line Tools: a public client that every tenant has.
pub const GRAPH_CLI: Uuid = uuid!("14d82eec-204b-4c2f-b7e8-296a70dab67e");
pub const GLOBAL_ADMINISTRATOR: Uuid = uuid!("62e90394-69f5-4237-9190-012177145e10");
pub const EXCHANGE_ADMINISTRATOR: Uuid = uuid!("29232cdf-9323-42fd-ade2-1d097af3e4de");
pub const GLOBAL_READER: Uuid = uuid!("f2ef992c-3afb-46b9-b7cf-a126ee74c451");

#[derive(Clone)]
pub(crate) struct Door {
    pub world: World,
    /// Own base URL, e.g. `https://localhost:4443`.
    pub base: Arc<str>,
    pub sessions: Arc<Sessions>,
}

pub fn router(world: World, base: &str) -> Router {
    let door = Door { world, base: base.into(), sessions: Arc::default() };
    Router::new()
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(discovery_v2))
        .route("/{tenant}/.well-known/openid-configuration", get(discovery_v1))
        .route("/{tenant}/discovery/v2.0/keys", get(keys))
        .route("/{tenant}/discovery/keys", get(keys))
        .route("/{tenant}/discovery/instance", get(instance))
        .route("/{tenant}/oauth2/v2.0/authorize", get(pages::authorize).post(pages::sign_in))
        .route("/{tenant}/oauth2/v2.0/token", post(tokens::endpoint))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(tokens::device_code))
        .route("/{tenant}/oauth2/deviceauth", get(pages::device).post(pages::approve_device))
        .route("/{tenant}/adminconsent", get(pages::admin_consent).post(pages::grant_admin_consent))
        .route("/{tenant}/v2.0/adminconsent", get(pages::admin_consent).post(pages::grant_admin_consent))
        .fallback(async || (StatusCode::NOT_FOUND, Html("<h1>404</h1>")))
        .with_state(door)
}

/// The tenant's id as the endpoints show it: a GUID, or the literal template for `common` and its like.
fn shown_tenant(door: &Door, tenant: &str) -> Result<(String, String), Response> {
    if matches!(tenant, "common" | "organizations" | "consumers") {
        return Ok((tenant.to_owned(), "{tenantid}".to_owned()));
    }
    match door.world.state().tenant(tenant) {
        Some(t) => Ok((t.id.to_string(), t.id.to_string())),
        None => Err(TokenError::tenant_not_found(tenant).response(&door.world)),
    }
}

async fn discovery_v2(State(door): State<Door>, Path(tenant): Path<String>) -> Response {
    match shown_tenant(&door, &tenant) {
        Ok((path, shown)) => {
            Json(document(&door.base, &path, &format!("https://login.microsoftonline.com/{shown}/v2.0"), "v2.0/"))
                .into_response()
        }
        Err(refused) => refused,
    }
}

async fn discovery_v1(State(door): State<Door>, Path(tenant): Path<String>) -> Response {
    match shown_tenant(&door, &tenant) {
        Ok((path, shown)) => {
            Json(document(&door.base, &path, &format!("https://sts.windows.net/{shown}/"), "")).into_response()
        }
        Err(refused) => refused,
    }
}

fn document(base: &str, tenant: &str, issuer: &str, version: &str) -> Value {
    let region = if issuer.contains('{') { Value::Null } else { "EU".into() };
    json!({
        "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic", "self_signed_tls_client_auth"],
        "jwks_uri": format!("{base}/{tenant}/discovery/{version}keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer,
        "request_uri_parameter_supported": false,
        "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
        "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/devicecode"),
        "http_logout_supported": true,
        "frontchannel_logout_supported": true,
        "end_session_endpoint": format!("{base}/{tenant}/oauth2/v2.0/logout"),
        "claims_supported": ["sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host", "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email"],
        "tls_client_certificate_bound_access_tokens": true,
        "tenant_region_scope": region,
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
        "rbac_url": "https://pas.windows.net"
    })
}

async fn keys(State(door): State<Door>, Path(tenant): Path<String>) -> Response {
    let (_, shown) = match shown_tenant(&door, &tenant) {
        Ok(names) => names,
        Err(refused) => return refused,
    };
    let key = &door.world.pki.token_key;
    Json(json!({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key.kid, "x5t": key.kid, "n": key.n, "e": key.e, "cloud_instance_name": "microsoftonline.com", "issuer": format!("https://login.microsoftonline.com/{shown}/v2.0")}]})).into_response()
}

async fn instance(State(door): State<Door>, Query(asked): Query<HashMap<String, String>>) -> Json<Value> {
    let _ = asked;
    Json(
        json!({"tenant_discovery_endpoint": format!("{}/common/v2.0/.well-known/openid-configuration", door.base), "api-version": "1.1", "metadata": []}),
    )
}
