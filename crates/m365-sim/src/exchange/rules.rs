//! Transport rules as objects (wire.md 8.3): created, changed, ordered, switched. The engine is elsewhere.

use super::objects::{self, stamp};
use super::parameters::{self, Parameters};
use super::run::Run;
use super::{CmdletError, Output};
use crate::world::Tenant;
use serde_json::{Map, Value};
use uuid::Uuid;

const RULES_MAX: usize = 300;
const NAME_MAX: usize = 64;
const COMMENTS_MAX: usize = 1024;

/// Parameters that are properties of the rule itself, neither predicate nor action.
const OF_RULE: [&str; 16] = [
    "Name",
    "Identity",
    "Comments",
    "Enabled",
    "Mode",
    "Priority",
    "RuleErrorAction",
    "SenderAddressLocation",
    "ActivationDate",
    "ExpiryDate",
    "RuleSubType",
    "UseLegacyRegex",
    "DlpPolicy",
    "Confirm",
    "WhatIf",
    "RecipientAddressType",
];
const ACTIONS: [&str; 36] = [
    "AddManagerAsRecipientType",
    "AddToRecipients",
    "ApplyClassification",
    "ApplyHtmlDisclaimerText",
    "ApplyOME",
    "ApplyRightsProtectionTemplate",
    "BlindCopyTo",
    "CopyTo",
    "DeleteMessage",
    "Disconnect",
    "GenerateIncidentReport",
    "GenerateNotification",
    "LogEventText",
    "ModerateMessageByManager",
    "ModerateMessageByUser",
    "NotifySender",
    "PrependSubject",
    "Quarantine",
    "RedirectMessageTo",
    "RejectMessageEnhancedStatusCode",
    "RejectMessageReasonText",
    "RemoveHeader",
    "RemoveOME",
    "RemoveOMEv2",
    "RemoveRMSAttachmentEncryption",
    "RouteMessageOutboundConnector",
    "RouteMessageOutboundRequireTls",
    "SetAuditSeverity",
    "SetHeaderName",
    "SetHeaderValue",
    "SetSCL",
    "SmtpRejectMessageRejectStatusCode",
    "SmtpRejectMessageRejectText",
    "StopRuleProcessing",
    "ApplyRightsProtectionCustomizationTemplate",
    "IncidentReportContent",
];
/// Of these only the first names a predicate or action; the others are its details.
const DETAILS: [&str; 12] = [
    "HeaderContainsWords",
    "HeaderMatchesPatterns",
    "ExceptIfHeaderContainsWords",
    "ExceptIfHeaderMatchesPatterns",
    "SetHeaderValue",
    "ApplyHtmlDisclaimerLocation",
    "ApplyHtmlDisclaimerFallbackAction",
    "IncidentReportContent",
    "RejectMessageEnhancedStatusCode",
    "ADComparisonOperator",
    "ExceptIfADComparisonOperator",
    "ApplyRightsProtectionCustomizationTemplate",
];

fn position(t: &Tenant, p: &Parameters) -> Result<usize, CmdletError> {
    let identity = p.text("Identity").unwrap_or_default();
    objects::find(&t.transport_rules, &identity).ok_or_else(|| CmdletError::not_found(&identity))
}

fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(all)) => !all.is_empty(),
        Some(Value::String(s)) => !s.is_empty(),
        Some(_) => true,
    }
}

pub fn new(t: &mut Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let name = p.text("Name").unwrap_or_default();
    if t.transport_rules.len() >= RULES_MAX {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Management.Tasks.ValidationException",
            format!("You can't create more than {RULES_MAX} transport rules."),
        ));
    }
    if objects::find(&t.transport_rules, &name).is_some() {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Data.Directory.ADObjectAlreadyExistsException",
            format!("The rule \"{name}\" already exists."),
        ));
    }
    let mut rule = Map::new();
    for property in
        parameters::of("New-TransportRule").filter(|n| !["Confirm", "WhatIf", "Enabled", "Priority"].contains(n))
    {
        rule.insert(property.into(), Value::Null);
    }
    for flag in [
        "DeleteMessage",
        "Quarantine",
        "StopRuleProcessing",
        "ModerateMessageByManager",
        "RouteMessageOutboundRequireTls",
        "ApplyOME",
        "RemoveOME",
        "RemoveOMEv2",
        "HasNoClassification",
        "HasSenderOverride",
        "AttachmentIsUnsupported",
        "AttachmentHasExecutableContent",
        "AttachmentIsPasswordProtected",
    ] {
        rule.insert(flag.into(), false.into());
    }
    rule.insert("Mode".into(), "Enforce".into());
    rule.insert("RuleErrorAction".into(), "Ignore".into());
    rule.insert("SenderAddressLocation".into(), "Header".into());
    rule.insert("CreatedBy".into(), run.by.clone().into());
    rule.insert("Guid".into(), Uuid::new_v4().to_string().into());
    rule.insert("IsValid".into(), true.into());
    rule.insert("ManuallyModified".into(), false.into());
    rule.insert("DlpPolicy".into(), Value::Null);
    take(&mut rule, p);
    rule.insert("State".into(), if p.flag("Enabled") == Some(false) { "Disabled" } else { "Enabled" }.into());
    check(t, &rule)?;
    let at = priority(p, t.transport_rules.len())?.unwrap_or(t.transport_rules.len());
    finish(&mut rule, run, None);
    t.transport_rules.insert(at, rule);
    let shown = show(t, at);
    Ok(Output::rows(vec![shown]))
}

pub fn set(t: &mut Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let n = position(t, p)?;
    let before = t.transport_rules[n].clone();
    let mut rule = before.clone();
    if let Some(name) = p.text("Name")
        && objects::find(&t.transport_rules, &name).is_some_and(|other| other != n)
    {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Data.Directory.ADObjectAlreadyExistsException",
            format!("The rule \"{name}\" already exists."),
        ));
    }
    take(&mut rule, p);
    check(t, &rule)?;
    let to = priority(p, t.transport_rules.len().saturating_sub(1))?.unwrap_or(n);
    finish(&mut rule, run, Some(&before));
    t.transport_rules.remove(n);
    t.transport_rules.insert(to, rule);
    Ok(Output::default())
}

fn take(rule: &mut Map<String, Value>, p: &Parameters) {
    for (key, value) in p.all().iter().filter(|(k, _)| {
        !["Identity", "Confirm", "WhatIf", "Enabled", "Priority", "ErrorAction", "WarningAction", "Verbose", "Debug"]
            .contains(&k.as_str())
    }) {
        let value = parameters::changed_list(rule.get(key).unwrap_or(&Value::Null), value);
        let flag = rule.get(key).is_some_and(Value::is_boolean);
        rule.insert(key.clone(), if flag && value.is_null() { false.into() } else { value });
    }
}

fn priority(p: &Parameters, most: usize) -> Result<Option<usize>, CmdletError> {
    let Some(wanted) = p.number("Priority") else { return Ok(None) };
    match usize::try_from(wanted) {
        Ok(at) if at <= most => Ok(Some(at)),
        _ => Err(CmdletError::business(
            "System.ArgumentException",
            format!("The priority value is invalid. It must be between 0 and {most}. (Parameter 'Priority')"),
        )),
    }
}

fn check(t: &Tenant, rule: &Map<String, Value>) -> Result<(), CmdletError> {
    let invalid = |text: String| Err(CmdletError::business("System.ArgumentException", text));
    let length = |key: &str| rule.get(key).and_then(Value::as_str).map_or(0, |s| s.chars().count());
    if length("Name") == 0 || length("Name") > NAME_MAX {
        return invalid(format!(
            "The length of the property is too long or empty. The maximum length is {NAME_MAX}. (Parameter 'Name')"
        ));
    }
    if length("Comments") > COMMENTS_MAX {
        return invalid(format!(
            "The length of the property is too long. The maximum length is {COMMENTS_MAX}. (Parameter 'Comments')"
        ));
    }
    if !ACTIONS.iter().any(|a| is_set(rule.get(*a)) && !matches!(*a, "SetAuditSeverity" | "StopRuleProcessing")) {
        return invalid("To be valid, all rules have to include at least one action. Please specify an action. (Parameter 'Actions')".into());
    }
    for (name, detail) in [
        ("HeaderContainsMessageHeader", "HeaderContainsWords"),
        ("HeaderMatchesMessageHeader", "HeaderMatchesPatterns"),
        ("ExceptIfHeaderContainsMessageHeader", "ExceptIfHeaderContainsWords"),
        ("ExceptIfHeaderMatchesMessageHeader", "ExceptIfHeaderMatchesPatterns"),
        ("SetHeaderName", "SetHeaderValue"),
    ] {
        if is_set(rule.get(name)) != is_set(rule.get(detail)) {
            return invalid(format!(
                "The parameters {name} and {detail} must be specified together. (Parameter '{name}')"
            ));
        }
    }
    for key in ["HeaderMatchesPatterns", "ExceptIfHeaderMatchesPatterns", "AnyOfRecipientAddressMatchesPatterns"] {
        for pattern in rule.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if regex::Regex::new(pattern).is_err() {
                return invalid(format!("The regular expression '{pattern}' is invalid. (Parameter '{key}')"));
            }
        }
    }
    if let Some(connector) = rule.get("RouteMessageOutboundConnector").and_then(Value::as_str) {
        let found = objects::find(&t.outbound_connectors, connector).map(|n| &t.outbound_connectors[n]);
        let Some(found) = found else { return Err(CmdletError::not_found(connector)) };
        let yes = |key: &str| found.get(key) == Some(&Value::Bool(true));
        if !yes("IsTransportRuleScoped") || !yes("Enabled") {
            return invalid(format!(
                "The outbound connector '{connector}' can't be used in a rule: it has to be enabled and scoped to transport rules. (Parameter 'RouteMessageOutboundConnector')"
            ));
        }
    }
    Ok(())
}

/// `HeaderMatchesMessageHeader` → `…HeaderMatchesPredicate`; the class names that Get shows.
fn class(parameter: &str, action: bool) -> String {
    let stem = match parameter {
        "HeaderMatchesMessageHeader" => "HeaderMatches",
        "HeaderContainsMessageHeader" => "HeaderContains",
        "SetHeaderName" => "SetHeader",
        "SetSCL" => "SetScl",
        other => other,
    };
    format!("Microsoft.Exchange.MessagingPolicies.Rules.Tasks.{stem}{}", if action { "Action" } else { "Predicate" })
}

fn finish(rule: &mut Map<String, Value>, run: &Run<'_>, before: Option<&Map<String, Value>>) {
    let (mut conditions, mut exceptions, mut actions) = (Vec::new(), Vec::new(), Vec::new());
    for key in parameters::of("New-TransportRule").filter(|k| !OF_RULE.contains(k) && !DETAILS.contains(k)) {
        if !is_set(rule.get(key)) {
            continue;
        }
        if ACTIONS.contains(&key) {
            actions.push(class(key, true));
        } else if let Some(condition) = key.strip_prefix("ExceptIf") {
            exceptions.push(class(condition, false));
        } else {
            conditions.push(class(key, false));
        }
    }
    let list = |all: Vec<String>| if all.is_empty() { Value::Null } else { all.into() };
    rule.insert("Conditions".into(), list(conditions));
    rule.insert("Exceptions".into(), list(exceptions));
    rule.insert("Actions".into(), list(actions));
    rule.insert("LastModifiedBy".into(), run.by.clone().into());
    rule.insert("WhenChanged".into(), stamp(run.now).into());
    rule.insert("Identity".into(), rule.get("Name").cloned().unwrap_or_default());
    // Q8: what was effective stays so until the change has travelled
    let now = run.now.as_second();
    let was_effective = before.filter(|b| b.get("_EffectiveFrom").and_then(Value::as_i64).unwrap_or(0) <= now);
    let previous = match (was_effective, before) {
        (Some(b), _) => {
            let mut b = b.clone();
            b.remove("_Previous");
            Value::Object(b)
        }
        (None, Some(b)) => b.get("_Previous").cloned().unwrap_or_default(),
        (None, None) => Value::Null,
    };
    rule.insert("_EffectiveFrom".into(), (now + run.rule_delay).into());
    rule.insert("_Previous".into(), previous);
}

fn show(t: &Tenant, n: usize) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("Priority".into(), n.into());
    row.extend(t.transport_rules[n].clone());
    row
}

pub fn get(t: &Tenant, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let state = p.text("State");
    let rows: Vec<_> = (0..t.transport_rules.len())
        .map(|n| show(t, n))
        .filter(|r| state.as_ref().is_none_or(|s| r.get("State").and_then(Value::as_str) == Some(s)))
        .collect();
    objects::pick(rows, p, run)
}

pub fn remove(t: &mut Tenant, p: &Parameters) -> Result<Output, CmdletError> {
    let n = position(t, p)?;
    t.transport_rules.remove(n);
    Ok(Output::default())
}

pub fn switch(t: &mut Tenant, p: &Parameters, run: &Run<'_>, on: bool) -> Result<Output, CmdletError> {
    let n = position(t, p)?;
    let before = t.transport_rules[n].clone();
    let mut rule = before.clone();
    rule.insert("State".into(), if on { "Enabled" } else { "Disabled" }.into());
    if let Some(mode) = p.get("Mode") {
        rule.insert("Mode".into(), mode.clone());
    }
    if on {
        check(t, &rule)?;
    }
    finish(&mut rule, run, Some(&before));
    t.transport_rules[n] = rule;
    Ok(Output::default())
}
