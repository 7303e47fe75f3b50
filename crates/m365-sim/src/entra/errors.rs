//! Bodies of refused token requests, field for field as recorded (wire.md 1.4).

use crate::world::World;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;
use uuid::Uuid;

/// One AADSTS error.
#[derive(Clone, Debug)]
pub struct TokenError {
    status: StatusCode,
    error: &'static str,
    code: u32,
    text: String,
    suberror: Option<&'static str>,
}

impl TokenError {
    pub fn new(status: u16, error: &'static str, code: u32, text: impl Into<String>) -> TokenError {
        TokenError {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            error,
            code,
            text: text.into(),
            suberror: None,
        }
    }
    pub fn suberror(mut self, suberror: &'static str) -> TokenError {
        self.suberror = Some(suberror);
        self
    }
    pub fn error(&self) -> &'static str {
        self.error
    }
    pub fn tenant_not_found(tenant: &str) -> TokenError {
        if tenant.contains('.') || Uuid::parse_str(tenant).is_ok() {
            return TokenError::new(
                400,
                "invalid_tenant",
                90002,
                format!(
                    "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."
                ),
            );
        }
        TokenError::new(
            400,
            "invalid_request",
            900023,
            format!("Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain."),
        )
    }
    pub fn missing(parameter: &str) -> TokenError {
        TokenError::new(
            400,
            "invalid_request",
            900144,
            format!("The request body must contain the following parameter: '{parameter}'."),
        )
    }
    /// `AADSTS…: text Trace ID: … Correlation ID: … Timestamp: …`
    pub fn description(&self, world: &World) -> (String, String, String, String) {
        let (trace, correlation) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let at = world.clock.now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        (
            format!(
                "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}",
                self.code, self.text
            ),
            at,
            trace,
            correlation,
        )
    }
    pub fn response(&self, world: &World) -> Response {
        let (description, at, trace, correlation) = self.description(world);
        let mut body = json!({"error": self.error, "error_description": description, "error_codes": [self.code], "timestamp": at, "trace_id": trace, "correlation_id": correlation});
        // recorded: present for some codes only
        if matches!(self.code, 7_000_215 | 500_011) {
            body["error_uri"] = format!("https://login.microsoftonline.com/error?code={}", self.code).into();
        }
        if let Some(suberror) = self.suberror {
            body["suberror"] = suberror.into();
        }
        (
            self.status,
            [("cache-control", "no-store, no-cache"), ("x-ms-ests-server", "2.1.0 - SIM"), ("x-ms-request-id", &trace)],
            Json(body),
        )
            .into_response()
    }
}
