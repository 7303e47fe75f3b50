//! What can go wrong with Microsoft, typed by who must act.

use crate::Service;
use serde_json::Value;
use std::time::Duration;

/// Who can put it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody: it passes.
    Microsoft,
    /// An administrator of the tenant.
    TenantAdmin,
    /// The operator of Posthouse, or its makers.
    Us,
}

/// Names of exceptions that pass (wire.md 7.5).
const EXCHANGE_BUSY: &[&str] = &[
    "DCOverloadedException",
    "SuitabilityDirectoryException",
    "ServerInMMException",
    "ADServerSettingsChangedException",
    "StorageTransientException",
    "TransientException",
    "ServerBusyException",
    "BackendCommunicationException",
    "CmdletProxyException",
    "CmdletProxyNotAvailableFailure",
];

#[derive(Debug, thiserror::Error)]
pub enum M365Error {
    #[error("{service} cannot be reached: {why}")]
    Unreachable { service: &'static str, why: String },
    #[error("{service} did not answer in time; whether it did what was asked is unknown")]
    OutcomeUnknown { service: &'static str },
    #[error("{service} asks to wait {} s", after.as_secs())]
    Throttled { service: &'static str, after: Duration },
    /// An error of the token endpoint (wire.md 1.4); `code` is the number behind AADSTS.
    #[error("sign-in refused: {description}")]
    Token { code: Option<u32>, error: String, description: String },
    /// A person said no, or nobody said anything.
    #[error("{0}")]
    SignIn(String),
    /// The place in a list of changes is not known any more (wire.md 4.1): the whole list has to be read again.
    #[error("Microsoft Graph: 410 {code}: the changes since the last time are not known any more")]
    Gone { code: String, location: Option<String> },
    #[error("Microsoft Graph: {status} {code}: {message}")]
    Graph { status: u16, code: String, message: String },
    /// `code` begins with AF (wire.md 9.1).
    #[error("the activity feed: {status} {code}: {message}")]
    Activity { status: u16, code: String, message: String },
    /// `kind` is the last part of the .NET exception's name.
    #[error("Exchange Online, {cmdlet}: {text}")]
    Exchange { cmdlet: String, status: u16, kind: String, text: String },
    #[error(
        "{service} refuses the token ({status}): the application lacks its permission or role, or they are not in effect yet"
    )]
    NotAuthorised { service: Service, status: u16 },
    /// A list that ends before its end must never be taken for the whole.
    #[error("{what} could not be read to its end: {why}")]
    Truncated { what: String, why: String },
    #[error("{service} answered something unexpected: {what}")]
    Unexpected { service: &'static str, what: String },
    #[error("{0}")]
    Settings(String),
}

impl M365Error {
    pub fn who_must_act(&self) -> Who {
        match self {
            M365Error::Unreachable { .. } | M365Error::OutcomeUnknown { .. } | M365Error::Throttled { .. } => {
                Who::Microsoft
            }
            M365Error::Token { .. } | M365Error::SignIn(_) | M365Error::NotAuthorised { .. } => Who::TenantAdmin,
            M365Error::Graph { status, .. }
            | M365Error::Exchange { status, .. }
            | M365Error::Activity { status, .. }
                if *status >= 500 =>
            {
                Who::Microsoft
            }
            M365Error::Graph { status: 401 | 403, .. } | M365Error::Activity { status: 401 | 403, .. } => {
                Who::TenantAdmin
            }
            _ => Who::Us,
        }
    }

    pub fn is_temporary(&self) -> bool {
        match self {
            M365Error::Unreachable { .. } | M365Error::OutcomeUnknown { .. } | M365Error::Throttled { .. } => true,
            M365Error::Exchange { .. } if self.did_nothing() => true,
            M365Error::Graph { status, .. }
            | M365Error::Exchange { status, .. }
            | M365Error::Activity { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// True where what was asked may have been carried out although its answer was lost.
    pub fn is_outcome_unknown(&self) -> bool {
        self.is_temporary() && !self.did_nothing() && !matches!(self, M365Error::Throttled { .. })
    }

    /// True where Exchange says by name that it was busy, and so did nothing.
    pub(crate) fn did_nothing(&self) -> bool {
        matches!(self, M365Error::Exchange { kind, text, .. }
            if EXCHANGE_BUSY.contains(&kind.as_str()) || text.contains("maximum number of concurrent requests"))
    }

    /// True when it says that the object asked for does not exist: an answer, not a failure.
    pub fn is_absent(&self) -> bool {
        match self {
            M365Error::Graph { status, .. } => *status == 404,
            M365Error::Exchange { kind, .. } => kind == "ManagementObjectNotFoundException",
            _ => false,
        }
    }

    /// True when the link that was asked leads nowhere any more: its token expired or is not understood.
    pub fn is_link_dead(&self) -> bool {
        matches!(self, M365Error::Gone { .. } | M365Error::Graph { status: 400, .. })
    }

    /// True when what was to be made is there already.
    pub fn is_duplicate(&self) -> bool {
        match self {
            M365Error::Graph { status, message, .. } => {
                *status == 409
                    || message.contains("already exist")
                    || message.contains("RoleAssignmentExists")
                    || message.contains("conflicting object")
            }
            M365Error::Exchange { kind, text, .. } => {
                kind.ends_with("AlreadyExistsException") || text.contains("already exist")
            }
            _ => false,
        }
    }

    /// True when a permission, role or key was granted but is not in effect yet, as far as can be told
    /// (wire.md 1.6, 7.6): 401 and 403 of a service, an application or key that the token endpoint does not know.
    pub fn may_be_propagation(&self) -> bool {
        match self {
            M365Error::NotAuthorised { .. } => true,
            M365Error::Token { code, .. } => matches!(code, Some(700_016 | 7_000_229 | 700_027)),
            M365Error::Graph { status, .. } => *status == 401 || *status == 403,
            _ => self.is_temporary(),
        }
    }

    pub(crate) fn of_token(body: &Value) -> M365Error {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let description = text("error_description");
        let code = body["error_codes"][0].as_u64().and_then(|c| u32::try_from(c).ok()).or_else(|| aadsts(&description));
        // what follows is for Microsoft's support and makes no sentence
        let short = description
            .split(" Trace ID:")
            .next()
            .unwrap_or_default()
            .split("\r\n")
            .next()
            .unwrap_or_default()
            .to_owned();
        M365Error::Token {
            code,
            error: text("error"),
            description: if short.is_empty() { text("error") } else { short },
        }
    }

    pub(crate) fn of_graph(status: u16, body: &Value, location: Option<String>) -> M365Error {
        let error = &body["error"];
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        if status == 410 {
            return M365Error::Gone { code: text("code"), location };
        }
        M365Error::Graph { status, code: text("code"), message: text("message") }
    }

    pub(crate) fn of_activity(status: u16, body: &Value) -> M365Error {
        let text = |key: &str| body["error"][key].as_str().unwrap_or_default().to_owned();
        M365Error::Activity { status, code: text("code"), message: text("message") }
    }

    /// wire.md 7.5: of a business error the details speak, else the internal exception, else anything that does.
    pub(crate) fn of_exchange(cmdlet: &str, status: u16, body: &Value) -> M365Error {
        let error = &body["error"];
        let internal = &error["innererror"]["internalexception"];
        let (kind, message) =
            (internal["type"].as_str().unwrap_or_default(), internal["message"].as_str().unwrap_or_default());
        let details = error["details"][0]["message"].as_str().unwrap_or_default();
        let business =
            kind.ends_with("DirectInvokeCmdletExecutionException") || message.starts_with("Exception of type");
        let parts: Vec<&str> = details.splitn(3, '|').collect();
        let (kind, text) = match parts.as_slice() {
            [_, kind, text] if business || message.is_empty() => (*kind, *text),
            _ if !message.is_empty() => (kind, message),
            [_, kind, text] => (*kind, *text),
            _ => (kind, error["message"].as_str().unwrap_or("no reason given")),
        };
        M365Error::Exchange {
            cmdlet: cmdlet.to_owned(),
            status,
            kind: kind.rsplit('.').next().unwrap_or_default().to_owned(),
            text: text.to_owned(),
        }
    }
}

fn aadsts(text: &str) -> Option<u32> {
    let digits: String = text.split("AADSTS").nth(1)?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn exchange_errors_are_read_in_microsofts_shapes() {
        let business = json!({"error": {"code": "NotFound", "message": "Error executing cmdlet", "details": [{"message": "Ex6F9304|Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException|object 'a|b' couldn't be found"}], "innererror": {"internalexception": {"message": "Exception of type 'x' was thrown.", "type": "Microsoft.Exchange.Management.PSDirectInvoke.DirectInvokeCmdletExecutionException"}}}});
        let error = M365Error::of_exchange("Get-X", 404, &business);
        assert_eq!(error.to_string(), "Exchange Online, Get-X: object 'a|b' couldn't be found");
        assert!(error.is_absent() && !error.is_temporary());
        let transformation = json!({"error": {"message": "Invalid Operation", "innererror": {"internalexception": {"message": "Cannot process argument transformation", "type": "Microsoft.X.ParameterTransformationException"}}}});
        assert_eq!(
            M365Error::of_exchange("New-X", 400, &transformation).to_string(),
            "Exchange Online, New-X: Cannot process argument transformation"
        );
        assert_eq!(
            M365Error::of_exchange("New-X", 500, &json!({})).to_string(),
            "Exchange Online, New-X: no reason given"
        );
    }

    #[test]
    fn token_errors_keep_their_number_and_lose_the_noise() {
        let error = M365Error::of_token(
            &json!({"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided. Trace ID: 1 Correlation ID: 2", "error_codes": [7000215]}),
        );
        assert_eq!(error.to_string(), "sign-in refused: AADSTS7000215: Invalid client secret provided.");
        assert_eq!(error.who_must_act(), Who::TenantAdmin);
        let old = M365Error::of_token(
            &json!({"error": "x", "error_description": "AADSTS700016: Application not found.\r\nTrace ID: 1"}),
        );
        assert!(old.may_be_propagation());
    }
}
