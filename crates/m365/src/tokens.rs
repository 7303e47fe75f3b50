//! Access tokens: asked for once a service and identity, kept in memory until shortly before their end.

use crate::http::{Asks, Client, send};
use crate::sign_in::SignedIn;
use crate::{M365Error, Result, Service, limits};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tenant::{Secret, TenantId};

/// An application of a tenant, proven by the key of its certificate; the key never leaves us.
#[derive(Clone, Debug)]
pub struct AppIdentity {
    pub tenant: TenantId,
    /// `appId` (client id) of the application.
    pub app_id: String,
    /// SHA-256 over the certificate in DER.
    pub thumbprint_sha256: [u8; 32],
    pub key_pem: Secret,
}

/// What Entra wrote into our own access token: what the application may do, as of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Permissions of the application at the token's service.
    pub roles: Vec<String>,
    /// Templates of the directory roles that it has.
    pub wids: Vec<String>,
    /// Permissions of the person who signed in, where one did.
    pub scopes: Vec<String>,
}

/// In whose name something is asked.
#[derive(Clone, Debug)]
pub enum Identity {
    Admin(Arc<SignedIn>),
    App(Arc<AppIdentity>),
}

impl Identity {
    pub fn tenant(&self) -> TenantId {
        match self {
            Identity::Admin(admin) => admin.tenant,
            Identity::App(app) => app.tenant,
        }
    }
    fn key(&self) -> String {
        match self {
            Identity::Admin(admin) => format!("admin {} {}", admin.tenant, admin.object_id),
            Identity::App(app) => format!("app {} {}", app.tenant, app.app_id),
        }
    }
}

struct Kept {
    token: Secret,
    until: Instant,
}

#[derive(Clone, Default)]
pub(crate) struct Tokens(Arc<Mutex<HashMap<(String, Service), Kept>>>);

impl Tokens {
    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Service), Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn find(&self, identity: &Identity, service: Service) -> Option<Secret> {
        self.open().get(&(identity.key(), service)).filter(|k| k.until > Instant::now()).map(|k| k.token.clone())
    }
    pub(crate) fn keep(&self, identity: &Identity, service: Service, body: &Value) -> Result<Secret> {
        let token = Secret::new(
            body["access_token"]
                .as_str()
                .ok_or(M365Error::Unexpected { service: "Entra", what: "no access token in its answer".into() })?,
        );
        let life = Duration::from_secs(
            body["expires_in"]
                .as_u64()
                .or_else(|| body["expires_in"].as_str().and_then(|s| s.parse().ok()))
                .unwrap_or(300),
        );
        self.open().insert(
            (identity.key(), service),
            Kept { token: token.clone(), until: Instant::now() + life.saturating_sub(limits::TOKEN_MARGIN) },
        );
        Ok(token)
    }
}

impl Client {
    /// Roles and permissions are written into a token when it is made: after a grant, old ones must go.
    pub fn forget_tokens(&self, identity: &Identity) {
        let key = identity.key();
        self.tokens.open().retain(|(k, _), _| *k != key);
    }

    /// The claims of a token that was made just now; what was granted or revoked since the last one shows in it.
    /// Read, not verified: it came from the token endpoint over TLS and only tells us what we may try (wire.md 1.7).
    pub async fn claims(&self, identity: &Identity, service: Service) -> Result<Claims> {
        self.tokens.open().remove(&(identity.key(), service));
        let token = self.token(identity, service).await?;
        let strange = || M365Error::Unexpected { service: "Entra", what: "an access token that is no JWT".into() };
        let payload = token.expose().split('.').nth(1).ok_or_else(strange)?;
        let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).map_err(|_| strange())?;
        let claims: Value = serde_json::from_slice(&payload).map_err(|_| strange())?;
        let list = |key: &str| -> Vec<String> {
            claims[key].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        let scopes = claims["scp"].as_str().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        Ok(Claims { roles: list("roles"), wids: list("wids"), scopes })
    }

    pub(crate) async fn token(&self, identity: &Identity, service: Service) -> Result<Secret> {
        if let Some(token) = self.tokens.find(identity, service) {
            return Ok(token);
        }
        let scope = format!("{}/.default", self.cloud.resource(service));
        let body = match identity {
            Identity::App(app) => self.client_credentials(app, &scope).await?,
            Identity::Admin(admin) => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("client_id", &admin.client_id),
                    ("refresh_token", admin.refresh_token.expose()),
                    ("scope", &scope),
                ];
                self.ask_token(&admin.tenant.to_string(), &form).await?
            }
        };
        self.tokens.keep(identity, service, &body)
    }

    /// A first answer may teach us the time; what was signed by the wrong one is signed again.
    async fn client_credentials(&self, app: &AppIdentity, scope: &str) -> Result<Value> {
        let before = self.now();
        match self.client_credentials_once(app, scope).await {
            Err(M365Error::Token { code: Some(700_024), .. })
                if self.now().duration_since(before).abs() > limits::CLOCK_SKEW =>
            {
                self.client_credentials_once(app, scope).await
            }
            other => other,
        }
    }

    async fn client_credentials_once(&self, app: &AppIdentity, scope: &str) -> Result<Value> {
        let assertion = self.assertion(app)?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", app.app_id.as_str()),
            ("scope", scope),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.expose()),
        ];
        self.ask_token(&app.tenant.to_string(), &form).await
    }

    /// RFC 7523 with PS256 and the SHA-256 thumbprint (wire.md 1.3 b).
    fn assertion(&self, app: &AppIdentity) -> Result<Secret> {
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(app.thumbprint_sha256));
        let now = self.now().as_second();
        let audience = format!("{}/{}/oauth2/v2.0/token", self.cloud.login, app.tenant);
        let claims = json!({"aud": audience, "iss": app.app_id, "sub": app.app_id, "jti": uuid::Uuid::new_v4(), "nbf": now - 5, "iat": now, "exp": now + limits::ASSERTION_SECS});
        // the error may quote the key: say only that it is unusable
        let unusable = |_| M365Error::Settings("the key of the application's certificate cannot be used".into());
        let key = EncodingKey::from_rsa_pem(app.key_pem.expose().as_bytes()).map_err(unusable)?;
        jsonwebtoken::encode(&header, &claims, &key).map(Secret::new).map_err(unusable)
    }

    /// The token endpoint; an answer that is not 200 is an error of Entra's own form.
    pub(crate) async fn ask_token(&self, tenant: &str, form: &[(&str, &str)]) -> Result<Value> {
        let request = self.http.post(format!("{}/{tenant}/oauth2/v2.0/token", self.cloud.login)).form(form);
        // a code is good once; a key or a refresh token may be shown again
        let again = form.iter().any(|(k, v)| *k == "grant_type" && ["client_credentials", "refresh_token"].contains(v));
        let asks = if again { Asks::Repeatable } else { Asks::Once };
        let answer = send("Entra", asks, request).await?;
        let ok = answer.status().is_success();
        self.clock.learn(answer.headers());
        let body: Value = answer
            .json()
            .await
            .map_err(|e| M365Error::Unexpected { service: "Entra", what: e.without_url().to_string() })?;
        if ok { Ok(body) } else { Err(M365Error::of_token(&body)) }
    }
}
