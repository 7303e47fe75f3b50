//! The mail flow rules engine (transport.md S28–S40), pure: a message, one recipient, the rules → what happens.

use super::attribution::in_net;
use super::fields;
use crate::world::Tenant;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// What rules look at.
pub struct Subject<'a> {
    pub tenant: &'a Tenant,
    pub raw: &'a [u8],
    pub envelope_from: &'a str,
    pub recipient: &'a str,
    pub recipient_internal: bool,
    /// The session was authenticated (mailbox submission, or our own connector).
    pub authenticated: bool,
    /// AuthAs Internal.
    pub internal: bool,
    pub ip: IpAddr,
    pub scl: i64,
    pub now: i64,
    pub switches: &'a crate::switches::Switches,
}

/// What the rules decided for one recipient; recipients with the same outcome travel together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Header changes in order: set to a value, or removed.
    pub headers: Vec<(String, Option<String>)>,
    pub route: Option<String>,
    pub quarantine: bool,
    pub delete: bool,
    pub reject: Option<String>,
    pub scl: Option<i64>,
    pub subject_prefix: Option<String>,
    /// Names of the rules that matched, for the trace.
    pub matched: Vec<String>,
}

type Rule = Map<String, Value>;

/// Runs every rule in order of priority.
pub fn run(subject: &Subject<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut raw = subject.raw.to_vec();
    for rule in &subject.tenant.transport_rules {
        let Some(rule) = effective(rule, subject.now) else { continue };
        if !matches(rule, subject, &raw) {
            continue;
        }
        outcome.matched.push(text(rule, "Name").unwrap_or_default().to_owned());
        if text(rule, "Mode").is_some_and(|m| m != "Enforce") {
            continue;
        }
        act(rule, &mut outcome, subject);
        // S31: later rules of the same pass see the change
        raw = apply_headers(subject.raw, &outcome.headers);
        if flag(rule, "StopRuleProcessing") || outcome.quarantine || outcome.delete || outcome.reject.is_some() {
            break;
        }
    }
    outcome
}

pub fn apply_headers(raw: &[u8], changes: &[(String, Option<String>)]) -> Vec<u8> {
    changes.iter().fold(raw.to_vec(), |raw, (name, value)| match value {
        Some(value) => fields::set(&raw, name, value),
        None => fields::rename(&raw, |n| n.eq_ignore_ascii_case(name).then(String::new)),
    })
}

/// Q8: the version of a rule that is effective now.
fn effective(rule: &Rule, now: i64) -> Option<&Rule> {
    let rule = if rule.get("_EffectiveFrom").and_then(Value::as_i64).unwrap_or(0) <= now {
        rule
    } else {
        rule.get("_Previous")?.as_object()?
    };
    let time = |key: &str| text(rule, key).and_then(|t| t.parse::<jiff::Timestamp>().ok()).map(|t| t.as_second());
    let in_time = time("ActivationDate").is_none_or(|t| t <= now) && time("ExpiryDate").is_none_or(|t| t > now);
    (text(rule, "State") == Some("Enabled") && in_time).then_some(rule)
}

fn text<'r>(rule: &'r Rule, key: &str) -> Option<&'r str> {
    rule.get(key).and_then(Value::as_str)
}

fn flag(rule: &Rule, key: &str) -> bool {
    rule.get(key) == Some(&Value::Bool(true))
}

fn list(rule: &Rule, key: &str) -> Vec<String> {
    match rule.get(key) {
        Some(Value::Array(all)) => all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        Some(Value::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

/// Conditions AND, values OR, exceptions OR (S28).
fn matches(rule: &Rule, s: &Subject<'_>, raw: &[u8]) -> bool {
    let all = PREDICATES.iter().all(|p| p(rule, "", s, raw).unwrap_or(true));
    let none = !PREDICATES.iter().any(|p| p(rule, "ExceptIf", s, raw).unwrap_or(false));
    all && none
}

/// `None`: the rule does not have this predicate.
type Predicate = fn(&Rule, &str, &Subject<'_>, &[u8]) -> Option<bool>;

const PREDICATES: [Predicate; 14] = [
    from_scope,
    sent_to_scope,
    recipient_domain,
    sender_domain,
    from,
    sent_to,
    from_member,
    sent_to_member,
    header_contains,
    header_matches,
    sender_ip,
    message_type,
    scl_over,
    size_over,
];

fn senders(rule: &Rule, s: &Subject<'_>, raw: &[u8]) -> Vec<String> {
    let header = || fields::get(raw, "From").and_then(|v| fields::address_in(&v));
    let envelope = || Some(s.envelope_from.to_lowercase()).filter(|e| !e.is_empty());
    match text(rule, "SenderAddressLocation") {
        Some("Envelope") => envelope().into_iter().collect(),
        Some("HeaderOrEnvelope") => header().into_iter().chain(envelope()).collect(),
        _ => header().into_iter().collect(),
    }
}

fn from_scope(rule: &Rule, x: &str, s: &Subject<'_>, raw: &[u8]) -> Option<bool> {
    let wanted = text(rule, &format!("{x}FromScope"))?;
    let header =
        fields::get(raw, "From").and_then(|v| fields::address_in(&v)).unwrap_or_else(|| s.envelope_from.to_lowercase());
    let own = s.tenant.accepted_domain(&fields::domain_of(&header)).is_some();
    let trusted = s.authenticated && (s.internal || !s.switches.in_organization_needs_internal);
    Some(match wanted {
        "InOrganization" => trusted && own,
        // Q11: an own domain without authentication is outside, or neither
        _ => !own || (!trusted && s.switches.spoofed_own_domain_is_outside),
    })
}

fn sent_to_scope(rule: &Rule, x: &str, s: &Subject<'_>, _: &[u8]) -> Option<bool> {
    let wanted = text(rule, &format!("{x}SentToScope"))?;
    Some(match wanted {
        "InOrganization" => s.recipient_internal && (s.authenticated || !s.switches.sent_to_scope_needs_authentication),
        _ => !s.recipient_internal,
    })
}

fn in_domains(address: &str, domains: &[String]) -> bool {
    let domain = fields::domain_of(address);
    domains
        .iter()
        .any(|d| domain.eq_ignore_ascii_case(d) || domain.to_lowercase().ends_with(&format!(".{}", d.to_lowercase())))
}

fn given(rule: &Rule, x: &str, key: &str) -> Option<Vec<String>> {
    let found = list(rule, &format!("{x}{key}"));
    (!found.is_empty()).then_some(found)
}

fn recipient_domain(rule: &Rule, x: &str, s: &Subject<'_>, _: &[u8]) -> Option<bool> {
    Some(in_domains(s.recipient, &given(rule, x, "RecipientDomainIs")?))
}

fn sender_domain(rule: &Rule, x: &str, s: &Subject<'_>, raw: &[u8]) -> Option<bool> {
    let domains = given(rule, x, "SenderDomainIs")?;
    Some(senders(rule, s, raw).iter().any(|a| in_domains(a, &domains)))
}

fn from(rule: &Rule, x: &str, s: &Subject<'_>, raw: &[u8]) -> Option<bool> {
    let wanted = given(rule, x, "From")?;
    Some(senders(rule, s, raw).iter().any(|a| wanted.iter().any(|w| w.eq_ignore_ascii_case(a))))
}

fn sent_to(rule: &Rule, x: &str, s: &Subject<'_>, _: &[u8]) -> Option<bool> {
    Some(given(rule, x, "SentTo")?.iter().any(|w| w.eq_ignore_ascii_case(s.recipient)))
}

/// Group conditions match primary addresses only (S33).
fn member_of(s: &Subject<'_>, address: &str, groups: &[String]) -> bool {
    let user = s.tenant.users.by_name(address);
    let Some(user) = user.filter(|u| u.addresses.first().is_some_and(|a| a.eq_ignore_ascii_case(address))) else {
        return false;
    };
    groups
        .iter()
        .filter_map(|g| {
            s.tenant.groups.iter().find(|x| {
                x.mail.as_deref().is_some_and(|m| m.eq_ignore_ascii_case(g))
                    || x.display_name.eq_ignore_ascii_case(g)
                    || x.id.to_string() == *g
            })
        })
        .any(|g| g.members.contains(&user.id))
}

fn from_member(rule: &Rule, x: &str, s: &Subject<'_>, raw: &[u8]) -> Option<bool> {
    let groups = given(rule, x, "FromMemberOf")?;
    Some(senders(rule, s, raw).iter().any(|a| member_of(s, a, &groups)))
}

fn sent_to_member(rule: &Rule, x: &str, s: &Subject<'_>, _: &[u8]) -> Option<bool> {
    Some(member_of(s, s.recipient, &given(rule, x, "SentToMemberOf")?))
}

fn values(raw: &[u8], name: &str) -> Vec<String> {
    fields::all(raw).into_iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
}

fn header_contains(rule: &Rule, x: &str, _: &Subject<'_>, raw: &[u8]) -> Option<bool> {
    let name = text(rule, &format!("{x}HeaderContainsMessageHeader"))?;
    let words = list(rule, &format!("{x}HeaderContainsWords"));
    Some(values(raw, name).iter().any(|v| words.iter().any(|w| v.to_lowercase().contains(&w.to_lowercase()))))
}

fn header_matches(rule: &Rule, x: &str, _: &Subject<'_>, raw: &[u8]) -> Option<bool> {
    let name = text(rule, &format!("{x}HeaderMatchesMessageHeader"))?;
    let patterns: Vec<regex::Regex> = list(rule, &format!("{x}HeaderMatchesPatterns"))
        .iter()
        .filter_map(|p| regex::RegexBuilder::new(p).case_insensitive(true).build().ok())
        .collect();
    Some(values(raw, name).iter().any(|v| patterns.iter().any(|p| p.is_match(v))))
}

/// S35: the connecting address of this pass.
fn sender_ip(rule: &Rule, x: &str, s: &Subject<'_>, _: &[u8]) -> Option<bool> {
    Some(given(rule, x, "SenderIpRanges")?.iter().any(|net| in_net(net, s.ip)))
}

/// S36, from what the header shows.
fn message_type(rule: &Rule, x: &str, _: &Subject<'_>, raw: &[u8]) -> Option<bool> {
    let wanted = text(rule, &format!("{x}MessageTypeMatches"))?;
    let kind = fields::get(raw, "Content-Type").unwrap_or_default().to_lowercase();
    let auto = fields::get(raw, "Auto-Submitted").unwrap_or_default().to_lowercase();
    Some(match wanted {
        "OOF" => auto.starts_with("auto-replied") && fields::get(raw, "X-Auto-Response-Suppress").is_some(),
        "AutoForward" => fields::get(raw, "X-MS-Exchange-Inbox-Rules-Loop").is_some(),
        "Encrypted" => kind.contains("pkcs7-mime") || kind.contains("multipart/encrypted"),
        "Signed" => kind.contains("multipart/signed"),
        "Calendaring" => {
            kind.contains("text/calendar")
                || String::from_utf8_lossy(raw).to_lowercase().contains("content-type: text/calendar")
        }
        "PermissionControlled" => kind.contains("rpmsg"),
        "ReadReceipt" => kind.contains("disposition-notification"),
        _ => false,
    })
}

fn scl_over(rule: &Rule, x: &str, s: &Subject<'_>, _: &[u8]) -> Option<bool> {
    rule.get(&format!("{x}SCLOver")).and_then(Value::as_i64).map(|n| s.scl >= n)
}

fn size_over(rule: &Rule, x: &str, _: &Subject<'_>, raw: &[u8]) -> Option<bool> {
    let limit = text(rule, &format!("{x}MessageSizeOver"))?;
    let number: String = limit.chars().take_while(char::is_ascii_digit).collect();
    let unit = limit[number.len()..].trim().to_uppercase();
    let factor = match unit.as_str() {
        "KB" => 1024,
        "MB" => 1024 * 1024,
        "GB" => 1024 * 1024 * 1024,
        _ => 1,
    };
    number.parse::<usize>().ok().map(|n| raw.len() > n * factor)
}

fn act(rule: &Rule, outcome: &mut Outcome, s: &Subject<'_>) {
    if let Some(name) = text(rule, "RemoveHeader") {
        outcome.headers.push((name.to_owned(), None));
    }
    if let (Some(name), Some(value)) = (text(rule, "SetHeaderName"), text(rule, "SetHeaderValue")) {
        outcome.headers.push((name.to_owned(), Some(value.to_owned())));
    }
    if let Some(scl) = rule.get("SetSCL").and_then(Value::as_i64) {
        outcome.scl = Some(scl);
    }
    if let Some(prefix) = text(rule, "PrependSubject") {
        outcome.subject_prefix = Some(prefix.to_owned());
    }
    if let Some(connector) = text(rule, "RouteMessageOutboundConnector") {
        // S38, Q13
        if outcome.route.is_none() || s.switches.route_rule_wins == "last" {
            outcome.route = Some(connector.to_owned());
        }
    }
    outcome.quarantine |= flag(rule, "Quarantine");
    outcome.delete |= flag(rule, "DeleteMessage");
    if let Some(reason) = text(rule, "RejectMessageReasonText") {
        outcome.reject =
            Some(format!("550 {} {reason}", text(rule, "RejectMessageEnhancedStatusCode").unwrap_or("5.7.1")));
    }
}
