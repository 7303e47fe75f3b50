//! Microsoft's own error shapes (wire.md 7.5), the two verbatim ones and the business one.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

/// Why a cmdlet did not run.
#[derive(Clone, Debug)]
pub struct CmdletError {
    status: u16,
    code: &'static str,
    message: &'static str,
    detail: Option<String>,
    internal_type: String,
    internal_message: String,
}

impl CmdletError {
    /// Recorded: unknown parameter names.
    pub fn parameter_set(names: &[String]) -> CmdletError {
        CmdletError::unresolved(&format!("Invalid cmdlet parameters specified. {}", names.join(", ")))
    }
    /// Missing mandatory parameters: the same family.
    pub fn missing(names: &[String]) -> CmdletError {
        CmdletError::unresolved(&format!(
            "Cannot process command because of one or more missing mandatory parameters: {}.",
            names.join(", ")
        ))
    }
    fn unresolved(why: &str) -> CmdletError {
        let kind = "Microsoft.Exchange.AdminApi.CommandInvocation.AmbiguousParameterSetException";
        let text = format!("Parameter set cannot be resolved using the specified named parameters. {why}");
        CmdletError {
            status: 400,
            code: "BadRequest",
            message: "Invalid Operation",
            detail: Some(format!("|{kind}|{text}")),
            internal_type: kind.into(),
            internal_message: text,
        }
    }
    /// Recorded: a value that its type does not have; no details.
    pub fn transformation(parameter: &str, value: &str, kind: &str, names: &[&str]) -> CmdletError {
        let why = if names.is_empty() {
            format!("Error: \"Cannot convert value to type {kind}.\"")
        } else {
            format!(
                "Error: \"Unable to match the identifier name {value} to a valid enumerator name. Specify one of the following enumerator names and try again: {}\"",
                names.join(", ")
            )
        };
        let text = format!(
            "Cannot process argument transformation on parameter '{parameter}'. Cannot convert value \"{value}\" to type \"{kind}\". {why}"
        );
        CmdletError {
            status: 400,
            code: "BadRequest",
            message: "Invalid Operation",
            detail: None,
            internal_type: "Microsoft.Exchange.AdminApi.CommandInvocation.ParameterTransformationException".into(),
            internal_message: text,
        }
    }
    /// The cmdlet ran and said no.
    pub fn business(kind: &str, text: impl AsRef<str>) -> CmdletError {
        let status = if kind.contains("NotFound") { 404 } else { 400 };
        CmdletError {
            status,
            code: if status == 404 { "NotFound" } else { "BadRequest" },
            message: "Error executing cmdlet",
            detail: Some(format!("Ex6F9304|{kind}|{}", text.as_ref())),
            internal_type: "Microsoft.Exchange.Management.PSDirectInvoke.DirectInvokeCmdletExecutionException".into(),
            internal_message: "Exception of type 'Microsoft.Exchange.Management.PSDirectInvoke.DirectInvokeCmdletExecutionException' was thrown.".into(),
        }
    }
    pub fn not_found(what: &str) -> CmdletError {
        CmdletError::business(
            "Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException",
            format!(
                "The operation couldn't be performed because object '{what}' couldn't be found on 'SIM01A01DC001.EURPR01A001.PROD.OUTLOOK.COM'."
            ),
        )
    }
    pub fn plain(text: &'static str) -> CmdletError {
        CmdletError {
            status: 400,
            code: "BadRequest",
            message: text,
            detail: None,
            internal_type: "Microsoft.Exchange.Admin.OData.Core.ODataServiceException".into(),
            internal_message: text.into(),
        }
    }
    /// What a person would read.
    pub fn text(&self) -> &str {
        self.detail.as_deref().and_then(|d| d.splitn(3, '|').nth(2)).unwrap_or(&self.internal_message)
    }
    pub fn response(&self) -> Response {
        let mut error = json!({
            "code": self.code,
            "message": self.message,
            "innererror": {"message": self.message, "type": "Microsoft.Exchange.Admin.OData.Core.ODataServiceException", "stacktrace": "",
                "internalexception": {"message": self.internal_message, "type": self.internal_type, "stacktrace": ""}},
            "adminapi.warnings@odata.type": "#Collection(String)",
            "@adminapi.warnings": [],
        });
        if let (Some(detail), Value::Object(map)) = (&self.detail, &mut error) {
            map.insert("details".into(), json!([{"code": "Client", "target": "", "message": detail}]));
        }
        (
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST),
            [("x-exceptiontype", self.internal_type.as_str())],
            Json(json!({"error": error})),
        )
            .into_response()
    }
}
