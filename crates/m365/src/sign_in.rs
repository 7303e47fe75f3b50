//! An administrator signs in: with a device code in a terminal, or with a browser on this machine (authorization
//! code with PKCE, RFC 7636, over a loopback redirect, RFC 8252 §7.3). Both through a public client that needs no
//! secret. The tenant is bound by the verified id token, never by what a redirect claims (wire.md 1.6).

use crate::http::{Asks, Client, send};
use crate::tokens::Identity;
use crate::{M365Error, Result, Service, limits};
use aws_lc_rs::digest::{SHA256, digest};
use axum::{Router, extract::Query, response::Html, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenant::{Secret, TenantId};
use tokio::sync::mpsc;

/// Microsoft Graph Command Line Tools: a public client that every tenant knows.
pub const PUBLIC_CLIENT: &str = "14d82eec-204b-4c2f-b7e8-296a70dab67e";

/// A person who signed in, and the right to ask for tokens in her name while this runs.
#[derive(Debug)]
pub struct SignedIn {
    pub tenant: TenantId,
    pub object_id: String,
    /// `preferred_username`: to show, never to decide by.
    pub user_name: String,
    pub display_name: String,
    pub(crate) client_id: String,
    pub(crate) refresh_token: Secret,
}

/// A code that a person enters at a page of Microsoft's.
#[derive(Debug)]
pub struct DeviceCode {
    pub user_code: String,
    pub verification_uri: String,
    pub message: String,
    tenant: String,
    client_id: String,
    device_code: Secret,
    interval: Duration,
    until: Instant,
}

/// A page that a person opens in a browser on this machine.
pub struct Browser {
    pub url: String,
    tenant: String,
    client_id: String,
    redirect: String,
    scope: String,
    state: String,
    nonce: String,
    verifier: Secret,
    answers: mpsc::Receiver<HashMap<String, String>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn scope(resource: &str, permissions: &[&str]) -> String {
    permissions.iter().fold("openid profile offline_access".to_owned(), |all, p| format!("{all} {resource}/{p}"))
}

/// 256 bits that nobody can guess.
fn random() -> Result<String> {
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| M365Error::Settings("no randomness".into()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

impl Client {
    /// `tenant`: an id, a domain, or `organizations` when the account that signs in decides.
    pub async fn device_code(&self, tenant: &str, client_id: &str, permissions: &[&str]) -> Result<DeviceCode> {
        let scope = scope(&self.cloud.graph_resource, permissions);
        let request = self
            .http
            .post(format!("{}/{tenant}/oauth2/v2.0/devicecode", self.cloud.login))
            .form(&[("client_id", client_id), ("scope", &scope)]);
        let answer = send("Entra", Asks::Once, request).await?;
        let ok = answer.status().is_success();
        let body: Value = answer
            .json()
            .await
            .map_err(|e| M365Error::Unexpected { service: "Entra", what: e.without_url().to_string() })?;
        if !ok {
            return Err(M365Error::of_token(&body));
        }
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let seconds = |key: &str, or: u64| Duration::from_secs(body[key].as_u64().unwrap_or(or));
        Ok(DeviceCode {
            user_code: text("user_code"),
            verification_uri: text("verification_uri"),
            message: text("message"),
            tenant: tenant.to_owned(),
            client_id: client_id.to_owned(),
            device_code: Secret::new(text("device_code")),
            interval: seconds("interval", 5),
            until: Instant::now() + seconds("expires_in", 900),
        })
    }

    /// Waits until the person has entered the code (RFC 8628 §3.5).
    pub async fn await_device(&self, code: &DeviceCode) -> Result<Identity> {
        let mut interval = code.interval;
        loop {
            tokio::time::sleep(interval).await;
            if Instant::now() > code.until {
                return Err(M365Error::SignIn(format!(
                    "nobody signed in{} in time, and nothing was touched; run the command again for a new code",
                    of_tenant(&code.tenant)
                )));
            }
            let form = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("client_id", code.client_id.as_str()),
                ("device_code", code.device_code.expose()),
            ];
            match self.ask_token(&code.tenant, &form).await {
                Ok(body) => return self.signed_in(&code.client_id, None, &body).await,
                Err(M365Error::Token { error, .. }) if error == "authorization_pending" => {}
                Err(M365Error::Token { error, .. }) if error == "slow_down" => interval += Duration::from_secs(5),
                Err(M365Error::Token { error, description, .. }) if error == "authorization_declined" => {
                    return Err(declined(&description));
                }
                Err(M365Error::Token { error, .. }) if error == "expired_token" => {
                    return Err(M365Error::SignIn(format!(
                        "nobody signed in{} before the code expired, and nothing was touched; run the command again for a new one",
                        of_tenant(&code.tenant)
                    )));
                }
                Err(other) => return Err(again(other)),
            }
        }
    }

    /// Opens a listener on loopback and tells which page to open.
    pub async fn browser(&self, tenant: &str, client_id: &str, permissions: &[&str]) -> Result<Browser> {
        let no_listener = |e: std::io::Error| M365Error::Settings(format!("no loopback listener for the sign-in: {e}"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(no_listener)?;
        let redirect = format!("http://localhost:{}", listener.local_addr().map_err(no_listener)?.port());
        let (state, nonce, verifier) = (random()?, random()?, random()?);
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()).as_ref());
        let scope = scope(&self.cloud.graph_resource, permissions);
        let query = [
            ("client_id", client_id),
            ("response_type", "code"),
            ("redirect_uri", &redirect),
            ("response_mode", "query"),
            ("scope", &scope),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("prompt", "select_account"),
        ];
        let url = url::Url::parse_with_params(&format!("{}/{tenant}/oauth2/v2.0/authorize", self.cloud.login), query)
            .map_err(|e| M365Error::Settings(format!("microsoft.login: {e}")))?;
        let (send, answers) = mpsc::channel(4);
        let ours = state.clone();
        let page = get(move |Query(answer): Query<HashMap<String, String>>| async move {
            let text = if answer.get("state") != Some(&ours) {
                "This answer belongs to another sign-in and was not taken. Open the page that the command names."
            } else if is_code(&answer) {
                "Signed in. You may close this page."
            } else {
                "The sign-in was not completed. You may close this page."
            };
            let _ = send.send(answer).await;
            Html(format!("<!doctype html><title>Posthouse</title><p>{text}</p>"))
        });
        let server = tokio::spawn(async move {
            if let Err(e) = axum::serve(listener, Router::new().route("/", page)).await {
                tracing::warn!(error = %e, "the loopback listener ended");
            }
        });
        Ok(Browser {
            url: url.into(),
            tenant: tenant.to_owned(),
            client_id: client_id.to_owned(),
            redirect,
            scope,
            state,
            nonce,
            verifier: Secret::new(verifier),
            answers,
            server,
        })
    }

    pub async fn await_browser(&self, mut browser: Browser) -> Result<Identity> {
        let late = |_| M365Error::SignIn("nobody signed in in time; run the command again".into());
        let answer = loop {
            let answer = tokio::time::timeout(limits::SIGN_IN_PATIENCE, browser.answers.recv()).await.map_err(late)?;
            let answer = answer.ok_or_else(|| M365Error::SignIn("the loopback listener ended".into()))?;
            // an answer to somebody else's question is no answer to ours
            if answer.get("state") == Some(&browser.state) {
                break answer;
            }
        };
        let Some(code) = answer.get("code").filter(|_| is_code(&answer)) else {
            return Err(declined(
                answer.get("error_description").or(answer.get("error")).map_or("no reason given", String::as_str),
            ));
        };
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", browser.client_id.as_str()),
            ("code", code),
            ("redirect_uri", &browser.redirect),
            ("code_verifier", browser.verifier.expose()),
            ("scope", &browser.scope),
        ];
        let body = self.ask_token(&browser.tenant, &form).await.map_err(again)?;
        self.signed_in(&browser.client_id, Some(&browser.nonce), &body).await
    }

    async fn signed_in(&self, client_id: &str, nonce: Option<&str>, body: &Value) -> Result<Identity> {
        let missing = |what: &str| M365Error::Unexpected { service: "Entra", what: format!("no {what} in its answer") };
        let claims =
            self.verified(body["id_token"].as_str().ok_or_else(|| missing("id token"))?, client_id, nonce).await?;
        let text = |key: &str| claims[key].as_str().unwrap_or_default().to_owned();
        let refresh = body["refresh_token"].as_str().ok_or_else(|| missing("refresh token"))?;
        let tenant = text("tid").parse().map_err(|_| missing("tenant id"))?;
        let admin = SignedIn {
            tenant,
            object_id: text("oid"),
            user_name: text("preferred_username"),
            display_name: text("name"),
            client_id: client_id.to_owned(),
            refresh_token: Secret::new(refresh),
        };
        let identity = Identity::Admin(Arc::new(admin));
        self.tokens.keep(&identity, Service::Graph, body)?;
        Ok(identity)
    }

    /// Signature by the published keys, audience, time, issuer of the token's own tenant, nonce (wire.md 1.7).
    async fn verified(&self, id_token: &str, client_id: &str, nonce: Option<&str>) -> Result<Value> {
        let bad = |what: &str| M365Error::Unexpected { service: "Entra", what: format!("an id token {what}") };
        let header = jsonwebtoken::decode_header(id_token).map_err(|_| bad("that cannot be read"))?;
        let keys =
            send("Entra", Asks::Repeatable, self.http.get(format!("{}/common/discovery/v2.0/keys", self.cloud.login)))
                .await?;
        let keys: Value = keys.json().await.map_err(|_| bad("whose keys cannot be read"))?;
        let key = keys["keys"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|k| k["kid"].as_str() == header.kid.as_deref())
            .ok_or_else(|| bad("signed by an unknown key"))?;
        let part = |name: &str| key[name].as_str().unwrap_or_default();
        let key =
            DecodingKey::from_rsa_components(part("n"), part("e")).map_err(|_| bad("signed by an unreadable key"))?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[client_id]);
        validation.leeway = 300;
        let claims = jsonwebtoken::decode::<Value>(id_token, &key, &validation)
            .map_err(|e| bad(&format!("that does not verify: {e}")))?
            .claims;
        let tid = claims["tid"].as_str().unwrap_or_default();
        if tid.is_empty() || !claims["iss"].as_str().is_some_and(|iss| iss.ends_with(&format!("/{tid}/v2.0"))) {
            return Err(bad("of another issuer"));
        }
        if nonce.is_some() && claims["nonce"].as_str() != nonce {
            return Err(bad("for another question"));
        }
        Ok(claims)
    }
}

/// A code without an error beside it; some answers carry `admin_consent` and the like with either.
fn is_code(answer: &HashMap<String, String>) -> bool {
    answer.contains_key("code") && !answer.contains_key("error")
}

/// Who was asked for one tenant must have an account there.
fn of_tenant(tenant: &str) -> String {
    match tenant {
        "organizations" | "common" => String::new(),
        named => format!(" with an account of {named}"),
    }
}

/// What the token endpoint refuses of a code cannot be mended: a new one is needed.
fn again(error: M365Error) -> M365Error {
    match error {
        M365Error::Token { description, .. } => M365Error::SignIn(format!(
            "the sign-in was refused ({description}), and nothing was touched; run the command again and sign in anew"
        )),
        other => other,
    }
}

/// AADSTS90094 and its like: this account may not consent to what an administrator must.
fn declined(description: &str) -> M365Error {
    let short = description.split(" Trace ID:").next().unwrap_or(description);
    M365Error::SignIn(format!(
        "the sign-in was declined ({short}), and nothing was touched; run the command again: a Global Administrator of the tenant must sign in and accept"
    ))
}
