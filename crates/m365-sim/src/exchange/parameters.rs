//! Which parameters a cmdlet has and which values they take: Microsoft's documented table (August 2026),
//! reduced to name, type and "mandatory", with the enumerations written out.
//!
//! The cloud parameters are those of the cmdlet's own page in MicrosoftDocs/office-docs-powershell
//! (`exchange/exchange-ps/ExchangePowerShell/<cmdlet>.md`, read 2026-08; the roles' and spoof items' pages 2026-11).
//! Where a cmdlet has parameter sets, only what all of them need is mandatory.

use super::CmdletError;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Name, type, mandatory.
type Row = (String, String, bool);

static TABLE: LazyLock<BTreeMap<String, Vec<Row>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("cmdlets.json")).unwrap_or_default());

/// Tolerated everywhere (wire.md 7.2).
pub const COMMON: [&str; 6] = ["ErrorAction", "WarningAction", "Verbose", "Debug", "Confirm", "WhatIf"];

const ENUMS: &[(&str, &str, &[&str])] = &[
    (
        "TenantConnectorType",
        "Microsoft.Exchange.Data.Directory.SystemConfiguration.TenantConnectorType",
        &["OnPremises", "Partner"],
    ),
    (
        "TenantConnectorSource",
        "Microsoft.Exchange.Data.Directory.SystemConfiguration.TenantConnectorSource",
        &["Default", "Migrated", "HybridWizard", "AdminUI"],
    ),
    (
        "TlsAuthLevel",
        "Microsoft.Exchange.Data.TlsAuthLevel",
        &["EncryptionOnly", "CertificateValidation", "DomainValidation"],
    ),
    (
        "FromUserScope",
        "Microsoft.Exchange.MessagingPolicies.Rules.FromUserScope",
        &["InOrganization", "NotInOrganization"],
    ),
    (
        "ToUserScope",
        "Microsoft.Exchange.MessagingPolicies.Rules.ToUserScope",
        &["InOrganization", "NotInOrganization", "ExternalPartner", "ExternalNonPartner"],
    ),
    ("RuleMode", "Microsoft.Exchange.MessagingPolicies.Rules.RuleMode", &["Audit", "AuditAndNotify", "Enforce"]),
    ("RuleErrorAction", "Microsoft.Exchange.MessagingPolicies.Rules.RuleErrorAction", &["Ignore", "Defer"]),
    (
        "SenderAddressLocation",
        "Microsoft.Exchange.MessagingPolicies.Rules.SenderAddressLocation",
        &["Header", "Envelope", "HeaderOrEnvelope"],
    ),
    (
        "MessageType",
        "Microsoft.Exchange.MessagingPolicies.Rules.MessageType",
        &[
            "OOF",
            "AutoForward",
            "Encrypted",
            "Calendaring",
            "PermissionControlled",
            "Voicemail",
            "Signed",
            "ApprovalRequest",
            "ReadReceipt",
        ],
    ),
    ("MtaStsMode", "Microsoft.Exchange.Data.MtaStsMode", &["Opportunistic", "None"]),
    ("SmtpDaneMode", "Microsoft.Exchange.Data.SmtpDaneMode", &["Opportunistic", "Mandatory", "None"]),
    ("Importance", "Microsoft.Exchange.MessagingPolicies.Rules.Importance", &["Low", "Normal", "High"]),
    ("RuleState", "Microsoft.Exchange.MessagingPolicies.Rules.RuleState", &["Enabled", "Disabled"]),
    ("RuleSubType", "Microsoft.Exchange.MessagingPolicies.Rules.RuleSubType", &["None", "Dlp"]),
    (
        "AcceptedDomainType",
        "Microsoft.Exchange.Data.Directory.SystemConfiguration.AcceptedDomainType",
        &["Authoritative", "InternalRelay"],
    ),
    (
        "LinkType",
        "Microsoft.Exchange.Management.RecipientTasks.LinkType",
        &["Members", "Owners", "Subscribers", "EventSubscribers", "Aggregators"],
    ),
    ("DisclaimerLocation", "Microsoft.Exchange.MessagingPolicies.Rules.DisclaimerLocation", &["Append", "Prepend"]),
    (
        "DisclaimerFallbackAction",
        "Microsoft.Exchange.MessagingPolicies.Rules.DisclaimerFallbackAction",
        &["Wrap", "Ignore", "Reject"],
    ),
    (
        "JournalRuleScopeType",
        "Microsoft.Exchange.MessagingPolicies.Journaling.JournalRuleScopeType",
        &["Internal", "External", "Global"],
    ),
    (
        "RecipientAddressType",
        "Microsoft.Exchange.MessagingPolicies.Rules.RecipientAddressType",
        &["Original", "Resolved"],
    ),
];

pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.keys().map(String::as_str)
}

/// The cmdlet as the table writes it.
pub fn known(cmdlet: &str) -> Option<&'static str> {
    names().find(|name| name.eq_ignore_ascii_case(cmdlet))
}

/// The parameter names of a cmdlet, as its objects' properties are called.
pub fn of(cmdlet: &str) -> impl Iterator<Item = &'static str> {
    TABLE.get(cmdlet).into_iter().flatten().map(|(name, _, _)| name.as_str())
}

/// Checked parameters under their documented names.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Map<String, Value>);

impl Parameters {
    pub fn check(cmdlet: &str, given: &Value) -> Result<(&'static str, Parameters), CmdletError> {
        let Some((name, table)) = TABLE.iter().find(|(k, _)| k.eq_ignore_ascii_case(cmdlet)) else {
            return Err(CmdletError::business(
                "System.Management.Automation.CommandNotFoundException",
                format!("The term '{cmdlet}' is not recognized as the name of a cmdlet."),
            ));
        };
        let Value::Object(given) = given else {
            return Err(CmdletError::plain("The request is invalid: Parameters is expected to be an object."));
        };
        let (mut taken, mut unknown) = (Map::new(), Vec::new());
        for (key, value) in given.iter().filter(|(k, _)| !k.contains('@')) {
            if let Some((name, kind, _)) = table.iter().find(|(n, _, _)| n.eq_ignore_ascii_case(key)) {
                taken.insert(name.clone(), convert(name, kind, value)?);
            } else if let Some(common) = COMMON.iter().find(|c| c.eq_ignore_ascii_case(key)) {
                taken.insert((*common).to_owned(), value.clone());
            } else {
                unknown.push(key.clone());
            }
        }
        if !unknown.is_empty() {
            return Err(CmdletError::parameter_set(&unknown));
        }
        let missing: Vec<String> = table
            .iter()
            .filter(|(n, _, needed)| *needed && taken.get(n).is_none_or(Value::is_null))
            .map(|(n, _, _)| n.clone())
            .collect();
        if missing.is_empty() { Ok((name, Parameters(taken))) } else { Err(CmdletError::missing(&missing)) }
    }

    pub fn all(&self) -> &Map<String, Value> {
        &self.0
    }
    /// What was given, null included.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
    pub fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(s) => Some(s.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }
    pub fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }
    /// A list, or a single value as a list of one.
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Value::Array(all)) => all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
            Some(Value::String(one)) => vec![one.clone()],
            _ => Vec::new(),
        }
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn convert(name: &str, kind: &str, value: &Value) -> Result<Value, CmdletError> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    if let Some((_, full, names)) = ENUMS.iter().find(|(k, _, _)| *k == kind) {
        let text = shown(value);
        return names
            .iter()
            .find(|n| n.eq_ignore_ascii_case(&text))
            .map(|n| Value::from(*n))
            .ok_or_else(|| CmdletError::transformation(name, &text, full, names));
    }
    // documented as text, taken as enumerations (pages of the spoof items, 2026-08)
    let words: Option<&[&str]> = match name {
        "SpoofType" => Some(&["External", "Internal"]),
        "SubjectFilterType" => Some(&["Contains", "EndsWith", "StartsWith"]),
        _ => None,
    };
    if let Some(names) = words {
        let text = shown(value);
        let full = format!("Microsoft.Exchange.Management.FfoReporting.{name}");
        return names
            .iter()
            .find(|n| n.eq_ignore_ascii_case(&text))
            .map(|n| Value::from(*n))
            .ok_or_else(|| CmdletError::transformation(name, &text, &full, names));
    }
    if name == "SetAuditSeverity" {
        let (text, names) = (shown(value), ["DoNotAudit", "Low", "Medium", "High"]);
        return names.iter().find(|n| n.eq_ignore_ascii_case(&text)).map(|n| Value::from(*n)).ok_or_else(|| {
            CmdletError::transformation(name, &text, "Microsoft.Exchange.MessagingPolicies.Rules.AuditSeverity", &names)
        });
    }
    match kind {
        "Boolean" | "System.Boolean" | "SwitchParameter" => match value {
            Value::Bool(_) => Ok(value.clone()),
            other => Err(CmdletError::transformation(name, &shown(other), "System.Boolean", &[])),
        },
        "Int16" | "Int32" | "UInt32" | "Int" => {
            match value.as_i64().or_else(|| value.as_str().and_then(|s| s.parse().ok())) {
                Some(number) => Ok(number.into()),
                None => Err(CmdletError::transformation(name, &shown(value), "System.Int32", &[])),
            }
        }
        "SclValue" => match value
            .as_i64()
            .or_else(|| value.as_str().and_then(|s| s.parse().ok()))
            .filter(|n| (-1..=9).contains(n))
        {
            Some(number) => Ok(number.into()),
            None => Err(CmdletError::transformation(
                name,
                &shown(value),
                "Microsoft.Exchange.MessagingPolicies.Rules.SclValue",
                &[],
            )),
        },
        _ if kind == "MultiValuedProperty" || kind.ends_with("[]") => match value {
            Value::Array(_) | Value::Object(_) => Ok(value.clone()),
            Value::String(one) => Ok(Value::from(vec![one.clone()])),
            other => Err(CmdletError::transformation(
                name,
                &shown(other),
                "Microsoft.Exchange.Data.MultiValuedProperty",
                &[],
            )),
        },
        _ if value.is_object() || value.is_array() => {
            Err(CmdletError::transformation(name, &value.to_string(), kind, &[]))
        }
        _ => Ok(value.clone()),
    }
}

/// A list after `{"add": …, "remove": …}` or a replacement (wire.md 7.2).
pub fn changed_list(before: &Value, change: &Value) -> Value {
    let Value::Object(change) = change else { return change.clone() };
    let words = |key: &str| -> Vec<String> {
        let found = change.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v);
        match found {
            Some(Value::Array(all)) => all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
            Some(Value::String(one)) => vec![one.clone()],
            _ => Vec::new(),
        }
    };
    let (add, remove) = (words("add"), words("remove"));
    let mut list: Vec<String> = before
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .filter(|v| !remove.iter().any(|r| r.eq_ignore_ascii_case(v)))
        .collect();
    list.extend(
        add.into_iter()
            .filter(|a| !before.as_array().into_iter().flatten().any(|b| b.as_str() == Some(a)))
            .collect::<Vec<_>>(),
    );
    list.into()
}
