//! How sure it is that protection is impaired while a property of ours is not as it should be. One table; the tests
//! try every row of it against the simulated tenant.

use crate::objects::{outbound_connector, rules};
use crate::plan::{Action, ValueChange};
use store::Severity::{self, High, Low, Medium};

/// The strip rule before the other two: our mark is still taken off, but their exceptions may not see it.
pub(crate) const ORDER: Severity = High;

/// Nothing of these changes what happens to a message.
const COSMETIC: &[&str] = &["Comment", "Comments", "Name", "SetAuditSeverity"];

/// Narrow a rule or let it do less, while some mail still takes it.
const NARROWING: &[&str] = &[
    "ActivationDate",
    "ExpiryDate",
    "RuleErrorAction",
    "SenderAddressLocation",
    "StopRuleProcessing",
    "FromScope",
    "SentToScope",
    "RecipientDomainIs",
    "MessageSizeOver",
    "MessageTypeMatches",
    "SCLOver",
];

/// Without these our mark and our token are not seen or not written, whatever else is right.
const LOOP_BREAKERS: &[&str] = &["ExceptIfHeaderMatchesMessageHeader", "ExceptIfHeaderMatchesPatterns"];

pub(crate) fn grade(action: Action, kind: &str, name: &str, values: &[ValueChange]) -> Severity {
    match action {
        Action::Change => values.iter().map(|v| of_property(kind, name, v)).max().unwrap_or(Low),
        // asked for by the administrator's own wish: less mail is to be taken than is
        Action::Disable | Action::Remove | Action::Restore | Action::Wait => Low,
        Action::Create | Action::Enable | Action::Move => High,
    }
}

fn of_property(kind: &str, name: &str, value: &ValueChange) -> Severity {
    let property = value.name.as_str();
    if COSMETIC.contains(&property) {
        return Low;
    }
    if kind != rules::KIND {
        // of a connector everything else decides whether mail finds its way
        let harmless = kind == outbound_connector::KIND && property == "CloudServicesMailEnabled";
        return if harmless { Medium } else { High };
    }
    let condition = property.starts_with("ExceptIf")
        || NARROWING.contains(&property)
        || ["From", "SentTo", "Subject", "Sender", "Recipient", "AnyOf"].iter().any(|p| property.starts_with(p));
    if LOOP_BREAKERS.contains(&property) && name != rules::STRIP || !condition { High } else { Medium }
}
