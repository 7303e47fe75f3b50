//! Bad weather at the HTTP doors: faults that a scenario injects, and the transient errors and throttling of Q37, Q38.
//!
//! Which request is struck follows from its number at that door, so that a run repeats.

use crate::exchange::CmdletError;
use crate::world::{Fault, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;
use std::time::Duration;

/// What a struck request is answered, and whether it was carried out nevertheless.
#[derive(Clone, Debug)]
pub struct Trouble {
    kind: Kind,
    /// The request is carried out first; only its answer is lost. The dangerous case.
    pub after: bool,
    delay: Duration,
    retry_after: Option<u64>,
    why: &'static str,
}

#[derive(Clone, Debug)]
enum Kind {
    Status(u16),
    /// No answer until the client gives up.
    Silence,
    /// Recorded plain text of the Exchange admin API (wire.md 7.7).
    TooManyAtOnce,
    /// A cmdlet error of the transient kind (wire.md 7.5).
    TransientException,
}

/// An even number in 0..1 that depends on `n` and `salt` only (splitmix64).
pub fn dice(n: u64, salt: u64) -> f64 {
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(salt.wrapping_mul(0xd1b5_4a32_d192_ed03));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    // 53 bits are what an f64 holds exactly
    #[allow(clippy::cast_precision_loss)]
    let even = (x >> 11) as f64 / (1u64 << 53) as f64;
    even
}

/// The trouble that this request runs into: an injected fault first, then the weather.
pub fn strike(state: &mut State, door: &'static str, request: &str, mutates: bool) -> Option<Trouble> {
    if let Some(fault) = state.take_fault(door, request) {
        return Some(Trouble::injected(&fault));
    }
    let switches = &state.switches;
    let transient = match door {
        "exchange" => switches.exo_transient_rate,
        "graph" => switches.graph_transient_rate,
        "activity" => 0.0,
        _ => return None,
    };
    let (throttled, late) = (switches.throttle_rate, switches.transient_after_rate);
    if transient <= 0.0 && throttled <= 0.0 {
        return None;
    }
    let count = state.requests.entry(door).or_default();
    *count += 1;
    let n = *count;
    let weather = |kind, after, retry_after| {
        Some(Trouble { kind, after, delay: Duration::ZERO, retry_after, why: "simulated weather" })
    };
    if dice(n, 1) < throttled {
        return weather(Kind::Status(429), false, Some(1));
    }
    if dice(n, 2) >= transient {
        return None;
    }
    if mutates && dice(n, 3) < late {
        return weather(Kind::Status(504), true, None);
    }
    let kinds = [Kind::Status(503), Kind::Status(504), Kind::TooManyAtOnce, Kind::TransientException];
    let kinds = if door == "exchange" { &kinds[..] } else { &kinds[..2] };
    let which = usize::try_from(n).unwrap_or_default() % kinds.len();
    weather(kinds[which].clone(), false, None)
}

impl Trouble {
    fn injected(fault: &Fault) -> Trouble {
        let kind = match fault.answer.as_str() {
            "timeout" => Kind::Silence,
            "concurrency" => Kind::TooManyAtOnce,
            "transient" => Kind::TransientException,
            status => Kind::Status(status.parse().unwrap_or(503)),
        };
        Trouble {
            kind,
            after: fault.after,
            delay: Duration::from_millis(fault.delay_ms),
            retry_after: fault.retry_after_secs,
            why: "injected by a scenario",
        }
    }

    /// Status and seconds to wait for a request inside a `$batch`, which is never left without an answer.
    pub async fn inner(&self) -> (u16, Option<u64>) {
        tokio::time::sleep(self.delay).await;
        let status = match self.kind {
            Kind::Status(status) => status,
            Kind::Silence => 504,
            Kind::TooManyAtOnce | Kind::TransientException => 503,
        };
        (status, self.retry_after)
    }

    /// The answer in the form of the door's service; `publisher` is whom a throttled activity request names.
    pub async fn answer(&self, door: &str, method: &str, publisher: Option<&str>) -> Response {
        tokio::time::sleep(self.delay).await;
        let mut response = match self.kind {
            Kind::Silence if self.delay.is_zero() => std::future::pending().await,
            Kind::Silence => (StatusCode::GATEWAY_TIMEOUT, "").into_response(),
            Kind::Status(status) => self.status(door, method, publisher, status),
            Kind::TooManyAtOnce => (
                StatusCode::SERVICE_UNAVAILABLE,
                "You have reached the maximum number of concurrent requests per tenant. Please wait and try again",
            )
                .into_response(),
            Kind::TransientException => CmdletError::business(
                "Microsoft.Exchange.Data.Storage.StorageTransientException",
                "The server is temporarily unable to process the request. Try again later.",
            )
            .response(),
        };
        if let Some(secs) = self.retry_after
            && let Ok(value) = secs.to_string().parse()
        {
            response.headers_mut().insert("retry-after", value);
        }
        response
    }

    fn status(&self, door: &str, method: &str, publisher: Option<&str>, status: u16) -> Response {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let throttled = status == StatusCode::TOO_MANY_REQUESTS;
        if door == "activity" {
            let nobody = uuid::Uuid::nil().to_string();
            let text = format!("Too many requests. Method={method}, PublisherId={}", publisher.unwrap_or(&nobody));
            let (code, text) = if throttled {
                ("AF429", text.as_str())
            } else {
                ("AF50000", "An internal error occurred. Retry the request.")
            };
            return (status, Json(json!({"error": {"code": code, "message": text}}))).into_response();
        }
        let code = if throttled { "TooManyRequests" } else { "serviceNotAvailable" };
        let id = uuid::Uuid::new_v4().to_string();
        let error = json!({"error": {"code": code, "message": self.why, "innerError": {"request-id": id, "client-request-id": id}}});
        (status, [("request-id", &id)], Json(error)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switches::Switches;

    fn state(switches: Switches) -> State {
        State { switches, ..State::default() }
    }

    #[test]
    fn the_weather_repeats_and_keeps_its_rate() {
        let switches = || Switches { exo_transient_rate: 0.25, transient_after_rate: 0.5, ..Switches::default() };
        let run = || {
            let mut state = state(switches());
            (0..2000).map(|_| strike(&mut state, "exchange", "New-X", true)).collect::<Vec<_>>()
        };
        let (first, again) = (run(), run());
        assert_eq!(format!("{first:?}"), format!("{again:?}"), "a run repeats");
        let struck: Vec<_> = first.iter().flatten().collect();
        assert!((450..550).contains(&struck.len()), "{} of 2000", struck.len());
        let after = struck.iter().filter(|t| t.after).count();
        assert!((200..300).contains(&after), "{after} of {}", struck.len());
        assert!(struck.iter().filter(|t| t.after).all(|t| matches!(t.kind, Kind::Status(504))));
        for kind in ["Status(503)", "Status(504)", "TooManyAtOnce", "TransientException"] {
            assert!(struck.iter().any(|t| !t.after && format!("{:?}", t.kind) == kind), "{kind} never happens");
        }
    }

    #[test]
    fn reading_is_never_carried_out_and_lost_and_throttling_says_when() {
        let mut weather =
            state(Switches { graph_transient_rate: 1.0, transient_after_rate: 1.0, ..Switches::default() });
        assert!((0..50).all(|_| strike(&mut weather, "graph", "GET /x", false).is_some_and(|t| !t.after)));
        assert!(strike(&mut weather, "entra", "token", true).is_none(), "sign-in has no weather");
        let mut busy = state(Switches { throttle_rate: 1.0, ..Switches::default() });
        let trouble = strike(&mut busy, "exchange", "Get-X", false);
        assert!(trouble.is_some_and(|t| matches!(t.kind, Kind::Status(429)) && t.retry_after == Some(1)));
        assert!(strike(&mut state(Switches::default()), "exchange", "Get-X", false).is_none());
    }
}
