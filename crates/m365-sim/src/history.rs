//! Earlier states of a tenant's configuration: what a reader sees while a change still replicates (Q36).
//!
//! Before each change the state is put aside with the time. A reader who lags sees the state that was put aside first
//! after his moment, swapped in under the lock while he reads; writers and the transport always see the true one.

use crate::exchange::Settings;
use crate::limits;
use crate::switches::Switches;
use crate::world::{
    AcceptedDomain, AppRoleAssignment, Application, DirectoryRole, Domain, PermissionGrant, ServicePrincipal, Tenant,
};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::mem::swap;

type Rows = Vec<Map<String, Value>>;

/// What cmdlets read.
#[derive(Clone)]
pub struct ExchangeView {
    inbound: Rows,
    outbound: Rows,
    rules: Rows,
    accepted: Vec<AcceptedDomain>,
    organization: Map<String, Value>,
    sealers: Vec<String>,
    settings: Settings,
}

/// What Graph reads.
#[derive(Clone)]
pub struct GraphView {
    domains: Vec<Domain>,
    applications: Vec<Application>,
    principals: Vec<ServicePrincipal>,
    assignments: Vec<AppRoleAssignment>,
    grants: Vec<PermissionGrant>,
    roles: Vec<DirectoryRole>,
}

pub trait View: Clone {
    fn of(t: &Tenant) -> Self;
    /// Exchanges this state with the tenant's; twice is never.
    fn swap(&mut self, t: &mut Tenant);
}

impl View for ExchangeView {
    fn of(t: &Tenant) -> ExchangeView {
        ExchangeView {
            inbound: t.inbound_connectors.clone(),
            outbound: t.outbound_connectors.clone(),
            rules: t.transport_rules.clone(),
            accepted: t.accepted_domains.clone(),
            organization: t.organization_config.clone(),
            sealers: t.arc_trusted_sealers.clone(),
            settings: t.settings.clone(),
        }
    }
    fn swap(&mut self, t: &mut Tenant) {
        swap(&mut self.inbound, &mut t.inbound_connectors);
        swap(&mut self.outbound, &mut t.outbound_connectors);
        swap(&mut self.rules, &mut t.transport_rules);
        swap(&mut self.accepted, &mut t.accepted_domains);
        swap(&mut self.organization, &mut t.organization_config);
        swap(&mut self.sealers, &mut t.arc_trusted_sealers);
        swap(&mut self.settings, &mut t.settings);
    }
}

impl View for GraphView {
    fn of(t: &Tenant) -> GraphView {
        GraphView {
            domains: t.domains.clone(),
            applications: t.applications.clone(),
            principals: t.service_principals.clone(),
            assignments: t.app_role_assignments.clone(),
            grants: t.permission_grants.clone(),
            roles: t.directory_roles.clone(),
        }
    }
    fn swap(&mut self, t: &mut Tenant) {
        swap(&mut self.domains, &mut t.domains);
        swap(&mut self.applications, &mut t.applications);
        swap(&mut self.principals, &mut t.service_principals);
        swap(&mut self.assignments, &mut t.app_role_assignments);
        swap(&mut self.grants, &mut t.permission_grants);
        swap(&mut self.roles, &mut t.directory_roles);
    }
}

struct Past<V>(VecDeque<(Timestamp, V)>);

impl<V> Default for Past<V> {
    fn default() -> Past<V> {
        Past(VecDeque::new())
    }
}

impl<V: View> Past<V> {
    fn put(&mut self, now: Timestamp, view: V) {
        if self.0.len() >= limits::HISTORY_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, view));
    }
    fn at(&self, moment: Timestamp) -> Option<V> {
        self.0.iter().find(|(changed, _)| *changed > moment).map(|(_, view)| view.clone())
    }
}

#[derive(Default)]
pub struct History {
    exchange: Past<ExchangeView>,
    graph: Past<GraphView>,
}

/// To be called before every change through the API, at the true state.
pub fn put_aside(t: &mut Tenant, now: Timestamp, switches: &Switches) {
    if switches.exo_replication_delay_secs > 0 {
        let view = ExchangeView::of(t);
        t.history.exchange.put(now, view);
    }
    if switches.graph_replication_delay_secs > 0 {
        let view = GraphView::of(t);
        t.history.graph.put(now, view);
    }
}

/// The state of Exchange as it was `secs` ago, where it was another.
pub fn exchange(t: &Tenant, now: Timestamp, secs: i64) -> Option<ExchangeView> {
    before(now, secs).and_then(|moment| t.history.exchange.at(moment))
}

/// The state of Graph as it was `secs` ago, where it was another.
pub fn graph(t: &Tenant, now: Timestamp, secs: i64) -> Option<GraphView> {
    before(now, secs).and_then(|moment| t.history.graph.at(moment))
}

fn before(now: Timestamp, secs: i64) -> Option<Timestamp> {
    if secs <= 0 {
        return None;
    }
    now.checked_sub(jiff::SignedDuration::from_secs(secs)).ok()
}

/// Reads with `view` in the tenant's place, if there is one.
pub fn reading<V: View, T>(t: &mut Tenant, view: Option<V>, read: impl FnOnce(&mut Tenant) -> T) -> T {
    let Some(mut view) = view else { return read(t) };
    view.swap(t);
    let seen = read(t);
    view.swap(t);
    seen
}
