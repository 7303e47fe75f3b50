//! Webhook: one POST, signed. docs/operate.md tells receivers how to verify it.

use super::one_line;
use crate::limits;
use aws_lc_rs::hmac;
use reqwest::{Client, redirect};
use std::fmt;
use store::Notice;
use tenant::Secret;

#[derive(Clone)]
pub struct WebhookTarget {
    url: Secret,
    secret: Secret,
    http: Client,
}

impl fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookTarget(…)")
    }
}

/// `v1=` and HMAC-SHA256 in hex over the timestamp, a dot and the body.
pub fn signature(secret: &Secret, timestamp: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let tag = hmac::sign(&key, format!("{timestamp}.{body}").as_bytes());
    tag.as_ref().iter().fold("v1=".to_owned(), |hex, b| format!("{hex}{b:02x}"))
}

impl WebhookTarget {
    /// `roots_pem`: certificates to trust beside the public ones, for rehearsals.
    pub fn new(url: &str, secret: Secret, roots_pem: Option<&str>) -> Result<WebhookTarget, String> {
        let mut builder = Client::builder()
            .timeout(limits::WEBHOOK_TIMEOUT)
            // wherever an answer points to was not chosen by the operator
            .redirect(redirect::Policy::none())
            .user_agent(concat!("posthouse/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = roots_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|e| e.to_string())?;
            builder = builder.tls_certs_merge(roots);
        }
        let http = builder.build().map_err(|e| format!("HTTP client: {e}"))?;
        Ok(WebhookTarget { url: Secret::new(url), secret, http })
    }

    pub(super) async fn deliver(&self, notice: &Notice) -> Result<String, String> {
        let body = serde_json::to_string(notice).map_err(|e| e.to_string())?;
        let timestamp = jiff::Timestamp::now().as_second().to_string();
        let request = self
            .http
            .post(self.url.expose())
            .header("Content-Type", "application/json")
            .header("Posthouse-Id", &notice.id)
            .header("Posthouse-Signature", signature(&self.secret, &timestamp, &body))
            .header("Posthouse-Timestamp", timestamp)
            .body(body);
        // the address may carry a token and is in no error
        let answer = request.send().await.map_err(|e| chain(&e.without_url()))?;
        let status = answer.status();
        if status.is_success() { Ok(status.to_string()) } else { Err(format!("it answered {status}")) }
    }
}

/// An error with all its causes; reqwest's own text stops before the interesting one.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        text = format!("{text}: {e}");
        cause = e.source();
    }
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same as `printf '%s' '1700000000.{"a":1}' | openssl dgst -sha256 -hmac "$SECRET"`.
    #[test]
    fn the_signature_is_what_others_compute() {
        let secret = Secret::new("0123456789abcdef0123456789abcdef");
        let signed = signature(&secret, "1700000000", "{\"a\":1}");
        assert_eq!(signed, "v1=f05f2539e3ae1c49aec5f8cfdad75ef6b06480b133973ffbb7ec9e18827af177");
    }
}
