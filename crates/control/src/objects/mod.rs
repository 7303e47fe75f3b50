//! The Microsoft objects that we manage, one file each.

pub(crate) mod accepted_domain;
pub(crate) mod application;
pub(crate) mod exchange;
pub(crate) mod inbound_connector;
pub(crate) mod outbound_connector;
pub mod permissions;
pub(crate) mod rules;

/// What no error and no log may quote.
pub(crate) fn secrets_of(tenant: &tenant::Tenant) -> Vec<String> {
    let ways = [tenant::Direction::Inbound, tenant::Direction::Outbound];
    ways.into_iter().flat_map(|way| [tenant.pass_mark(way), tenant.route_token(way)]).collect()
}
