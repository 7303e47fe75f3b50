//! Who a customer is and what they want: plain values, no I/O, no clock, no logging.
//!
//! A [`Tenant`] is the unit of trust: every secret, certificate and answer belongs to exactly one.
//! The mark and the route token (docs/trust.md) are written and judged here and nowhere else.

mod category;
mod custom;
mod edits;
pub mod limits;
mod links;
mod lists;
mod marks;
mod policy;
mod quarantine;
mod rules;
mod secret;

pub use category::Category;
pub use custom::{Custom, State, Weight, wrong_custom};
pub use edits::{BannerFor, Edits, HeaderField, WORDING};
pub use links::{AtClick, LINK_DAYS, LINK_DAYS_MAX, Links};
pub use lists::{Entry, Listed, Lists, Pattern, Sender};
pub use marks::{HEADER_ID, HEADER_PASS, HEADER_PREFIX, HEADER_PROBE, HEADER_ROUTE, HEADER_VERDICT, MarkSecrets};
pub use policy::{ExchangeRights, HOLD_DAYS, Policy, Rollout, Routing, Stage, WhenUnjudged};
pub use quarantine::{Quarantine, TimeOfDay};
pub use rules::{ALERT, Action, Actions, Kind, Level, Members, NOTICE_SENDER, Notify, Rule, Rules, Wording, Wrong};
pub use secret::Secret;

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// The Entra tenant id (a GUID); the only key by which a tenant is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(pub Uuid);

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl FromStr for TenantId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(s.trim()).map(TenantId)
    }
}

/// Which way a message travels, seen from the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From outside to a mailbox of the tenant.
    Inbound,
    /// From a user of the tenant to the outside.
    Outbound,
}

impl Direction {
    pub const BOTH: [Direction; 2] = [Direction::Inbound, Direction::Outbound];
    /// The short form that stands in marks and route tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Inbound => "in",
            Direction::Outbound => "out",
        }
    }
    pub fn parse(s: &str) -> Option<Direction> {
        match s {
            "in" => Some(Direction::Inbound),
            "out" => Some(Direction::Outbound),
            _ => None,
        }
    }
}

/// The certificate with which we come back into this tenant; its key never leaves Posthouse.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReturnCertificate {
    /// Leaf first, then every intermediate: an incomplete chain is answered with 5.7.64 (transport.md F1.4).
    pub chain_pem: String,
    pub key_pem: Secret,
}

/// One connected (or connecting) customer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tenant {
    pub id: TenantId,
    /// DNS label of this tenant below the connector zone.
    pub label: String,
    pub display_name: String,
    /// `<name>.onmicrosoft.com`
    pub initial_domain: String,
    /// Every accepted domain of the tenant in lower case, the initial one included, ours not.
    pub domains: Vec<String>,
    /// `<label>.<connector zone>`: accepted domain, certificate name and smart host in one.
    pub connector_domain: String,
    /// Where mail is handed back: the MX host of the tenant, read from Microsoft at connection.
    pub return_host: String,
    /// Proves to Exchange's rules that a message was checked (header `X-Posthouse-Pass`).
    pub pass: MarkSecrets,
    /// Proves to us that a rule of this tenant sent a message (header `X-Posthouse-Route`).
    pub route: MarkSecrets,
    pub certificate: ReturnCertificate,
    pub policy: Policy,
    pub routing: Routing,
    #[serde(default)]
    pub rollout: Rollout,
    /// Ways out that the watchdog holds closed while the gateway fails; the rollout stays what was wished.
    #[serde(default)]
    pub closed: Vec<Direction>,
}

impl Tenant {
    /// The mark that makes the tenant's rules let a checked message through (transport.md G12).
    pub fn pass_mark(&self, direction: Direction) -> String {
        self.pass.write(self.id, direction)
    }
    /// Every mark that a message which is on its way back may carry.
    pub fn pass_marks(&self, direction: Direction) -> Vec<String> {
        self.pass.all(self.id, direction)
    }
    /// The token that the tenant's routing rule is to stamp on what it sends to us.
    pub fn route_token(&self, direction: Direction) -> String {
        self.route.newest(self.id, direction)
    }
    /// Every token that a message of the tenant's rules may carry.
    pub fn route_tokens(&self, direction: Direction) -> Vec<String> {
        self.route.all(self.id, direction)
    }
    /// True where mail of everybody, or of a pilot group, is to come by now.
    pub fn routes(&self, direction: Direction) -> bool {
        self.rollout.of(direction) >= Stage::Pilot && !self.closed.contains(&direction)
    }
    /// True when the domain of `address` is one of this tenant's accepted domains, or below one: Exchange's rules
    /// match sub-domains too (New-TransportRule, RecipientDomainIs), and a tenant may accept them.
    pub fn owns_address(&self, address: &str) -> bool {
        address.rsplit_once('@').is_some_and(|(_, domain)| {
            let domain = domain.trim_end_matches('.').to_ascii_lowercase();
            let is_below = |d: &String| domain.strip_suffix(d.as_str()).is_some_and(|rest| rest.ends_with('.'));
            self.domains.contains(&domain) || self.domains.iter().any(is_below)
        })
    }
    /// True of an address in one of this tenant's accepted domains.
    pub fn is_own(&self, address: &str) -> bool {
        address.rsplit_once('@').is_some_and(|(_, domain)| self.owns_domain(domain))
    }
    /// True when the domain is one of this tenant's accepted domains, compared without case.
    pub fn owns_domain(&self, domain: &str) -> bool {
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        self.domains.contains(&domain) || domain == self.connector_domain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_belong_to_a_tenant_by_their_domain() {
        let tenant = Tenant {
            id: TenantId(Uuid::nil()),
            label: "contoso".into(),
            display_name: "Contoso".into(),
            initial_domain: "contoso.onmicrosoft.com".into(),
            domains: vec!["contoso.example".into(), "contoso.onmicrosoft.com".into()],
            connector_domain: "contoso.connect.example".into(),
            return_host: String::new(),
            pass: MarkSecrets::new(Secret::new("a")),
            route: MarkSecrets::new(Secret::new("b")),
            certificate: ReturnCertificate { chain_pem: String::new(), key_pem: Secret::new("") },
            policy: Policy::default(),
            routing: Routing::Off,
            rollout: Rollout::default(),
            closed: Vec::new(),
        };
        for address in ["a@contoso.example", "A@Contoso.Example.", "\"x@y\"@contoso.example", "a@sub.contoso.example"] {
            assert!(tenant.owns_address(address), "{address}");
        }
        for address in [
            "",
            "a",
            "a@",
            "a@evilcontoso.example",
            "a@contoso.example.evil",
            "a@onmicrosoft.com",
            "a@contoso.connect.example",
        ] {
            assert!(!tenant.owns_address(address), "{address}");
        }
    }
}
