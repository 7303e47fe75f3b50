//! One request with its retries. What may have been carried out already is never repeated blindly: a write that was
//! not answered is an unknown outcome, and whoever asked looks before trying again.

use crate::clock::Clock;
use crate::tokens::Tokens;
use crate::{Cloud, M365Error, Result, limits};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use std::time::Duration;

/// Speaks to one cloud; clone freely.
#[derive(Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) cloud: Cloud,
    pub(crate) tokens: Tokens,
    pub(crate) clock: Clock,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("cloud", &self.cloud).finish_non_exhaustive()
    }
}

impl Client {
    /// `extra_roots_pem`: certificates to trust beside the public ones, for rehearsals.
    pub fn new(cloud: Cloud, extra_roots_pem: Option<&str>) -> Result<Client> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(limits::CONNECT_TIMEOUT)
            .timeout(limits::ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .https_only(true);
        builder = builder.user_agent(concat!("posthouse/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = extra_roots_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                .map_err(|e| M365Error::Settings(format!("microsoft.roots: {e}")))?;
            builder = builder.tls_certs_merge(roots);
        }
        let http = builder.build().map_err(|e| M365Error::Settings(format!("HTTP client: {e}")))?;
        Ok(Client { http, cloud, tokens: Tokens::default(), clock: Clock::default() })
    }

    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// The time by Microsoft's clock, as far as it has answered yet.
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }
}

/// What happens when a request is made twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// The second time reads or changes nothing more: it may be asked again.
    Repeatable,
    /// Something may be made twice.
    Once,
}

/// Sends until an answer came that is worth reading. What is repeatable is asked again after anything that passes;
/// other requests only where it is certain that nothing was done (refused connection, 429, 503).
pub(crate) async fn send(service: &'static str, asks: Asks, request: RequestBuilder) -> Result<Response> {
    let repeatable = asks == Asks::Repeatable;
    let mut pause = limits::BACKOFF_FIRST;
    for attempt in 1.. {
        let again = request
            .try_clone()
            .ok_or(M365Error::Unexpected { service, what: "a request that cannot be repeated".into() })?;
        let built = again.build().map_err(|e| M365Error::Settings(format!("{service}: {e}")))?;
        let last = attempt >= limits::TRIES_MAX;
        let client = request_client(&request)?;
        let wait = match client.execute(built).await {
            Ok(answer) => match retry_after(&answer, repeatable, pause) {
                Some(after) if after > limits::RETRY_AFTER_MAX || last => {
                    return if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                        Err(M365Error::Throttled { service, after })
                    } else {
                        Ok(answer)
                    };
                }
                Some(after) => after,
                None => return Ok(answer),
            },
            Err(e) if e.is_connect() && !last => pause,
            Err(e) if repeatable && !last && !e.is_builder() => pause,
            Err(e) if e.is_timeout() && !repeatable && !e.is_connect() => {
                return Err(M365Error::OutcomeUnknown { service });
            }
            Err(e) => return Err(M365Error::Unreachable { service, why: chain(&e) }),
        };
        tracing::debug!(service, attempt, ?wait, "asking again");
        tokio::time::sleep(jittered(wait)).await;
        pause = (pause * 2).min(limits::BACKOFF_MAX);
    }
    Err(M365Error::Unreachable { service, why: "it never answered".into() })
}

fn request_client(request: &RequestBuilder) -> Result<reqwest::Client> {
    let copy = request.try_clone().ok_or_else(|| M365Error::Settings("a request that cannot be repeated".into()))?;
    Ok(copy.build_split().0)
}

/// How long to wait before asking again, or `None` when this answer stands.
fn retry_after(answer: &Response, repeatable: bool, pause: Duration) -> Option<Duration> {
    let status = answer.status();
    let throttled = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE;
    let passes =
        throttled || (repeatable && (status == StatusCode::BAD_GATEWAY || status == StatusCode::GATEWAY_TIMEOUT));
    if !passes {
        return None;
    }
    let told = answer
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.trim().parse().ok())
        .map(Duration::from_secs);
    Some(told.unwrap_or(pause))
}

/// Up to a fifth longer, so that many clients do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let random = (uuid::Uuid::new_v4().as_u128() % 200) as u32;
    wait + wait * random / 1000
}

/// An error with all its causes; reqwest's own text stops before the interesting one.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        text = format!("{text}: {e}");
        cause = e.source();
    }
    text
}
