//! The Microsoft objects that we manage, one file each.

pub(crate) mod accepted_domain;
pub(crate) mod application;
pub(crate) mod exchange;
pub(crate) mod inbound_connector;
pub(crate) mod outbound_connector;
pub mod permissions;
pub(crate) mod rules;
