//! The Microsoft objects that we manage, one file each. Each says what it `NEEDS`, what it should be, and how what was
//! read differs from that; docs/permissions.md is written from the needs.

pub(crate) mod accepted_domain;
pub(crate) mod application;
pub(crate) mod arc_sealer;
pub(crate) mod audit_config;
pub(crate) mod credential;
pub(crate) mod exchange;
pub(crate) mod inbound_connector;
pub(crate) mod outbound_connector;
pub mod permissions;
pub(crate) mod role_group;
mod rule_parameters;
pub(crate) mod rules;
pub(crate) mod spoof_allow;

/// One thing that an object asks for.
pub(crate) struct Need {
    /// A name of [`permissions`]' catalogue.
    pub permission: &'static str,
    pub reason: &'static str,
    /// Exchange cmdlets that it runs, where the permission is about Exchange.
    pub cmdlets: &'static [&'static str],
}

/// Whose needs, in the order of the house.
pub(crate) const NEEDS: &[(&str, &[Need])] = &[
    ("directory", crate::directory::NEEDS),
    ("organization", crate::account::NEEDS),
    ("application and its certificate", application::NEEDS),
    ("accepted domain", accepted_domain::NEEDS),
    ("inbound connector", inbound_connector::NEEDS),
    ("outbound connector", outbound_connector::NEEDS),
    ("mail flow rules", rules::NEEDS),
    ("trusted ARC sealer", arc_sealer::NEEDS),
    ("spoof allow pair", spoof_allow::NEEDS),
    ("audit configuration and feed", audit_config::NEEDS),
    ("proof by mail and status", crate::probe::NEEDS),
    ("pre-flight report", crate::plan::NEEDS),
];

/// Every Exchange cmdlet that any object runs.
pub(crate) fn cmdlets() -> std::collections::BTreeSet<&'static str> {
    NEEDS.iter().flat_map(|(_, needs)| needs.iter()).flat_map(|n| n.cmdlets.iter().copied()).collect()
}

/// What no error and no log may quote.
pub(crate) fn secrets_of(tenant: &tenant::Tenant) -> Vec<String> {
    let ways = [tenant::Direction::Inbound, tenant::Direction::Outbound];
    let of = |way| [tenant.pass_marks(way), tenant.route_tokens(way)].concat();
    ways.into_iter().flat_map(of).collect()
}
