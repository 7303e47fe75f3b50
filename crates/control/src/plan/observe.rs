//! What the tenant shows, list by list: seen whole, or why it is not known.

use super::Unknown;
use crate::objects::application::{self, App, Application};
use crate::objects::exchange::is_named;
use crate::objects::permissions::Granted;
use crate::objects::{Need, inbound_connector, outbound_connector, permissions::EXCHANGE_APP, rules};
use crate::rotate::Rotate;
use crate::{Result, Settings};
use m365::{Client, Identity, Row, Service};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::Store;
use tenant::Tenant;

/// What the pre-flight report reads beside our own objects.
pub(crate) const NEEDS: &[Need] = &[Need {
    permission: EXCHANGE_APP,
    reason: "the organization's settings and journal rules, to tell what gets in the way",
    cmdlets: &["Get-OrganizationConfig", "Get-JournalRule"],
}];

/// A whole list, or why it is not known; a list that was cut off is not known either.
pub(crate) type Seen = std::result::Result<Vec<Row>, String>;
/// Guids of our objects by `kind name`: a renamed object is still ours.
pub(crate) type Known = BTreeMap<String, String>;

pub(crate) struct Observed {
    /// Seconds since 1970.
    pub at: i64,
    pub application: Application,
    pub granted: Granted,
    pub accepted_domains: Seen,
    pub inbound_connectors: Seen,
    pub outbound_connectors: Seen,
    pub rules: Seen,
    pub organization: Seen,
    pub arc: Seen,
    pub spoof_items: Seen,
    pub audit_config: Seen,
    pub journal_rules: Seen,
    pub known: Known,
    /// Until when a return certificate would be good that the issuer gave now; `None`: it gives none.
    pub issuable_until: Option<i64>,
    pub rotate: Rotate,
}

/// The receipt under which guids stand.
const GUIDS: &str = "guids";

impl Observed {
    /// Nothing is known.
    pub(super) fn blank(at: i64, why: &str) -> Observed {
        let unknown = || Err(why.to_owned());
        Observed {
            at,
            application: Application::Unknown(why.to_owned()),
            granted: Granted(Vec::new()),
            accepted_domains: unknown(),
            inbound_connectors: unknown(),
            outbound_connectors: unknown(),
            rules: unknown(),
            organization: unknown(),
            arc: unknown(),
            spoof_items: unknown(),
            audit_config: unknown(),
            journal_rules: unknown(),
            known: Known::new(),
            issuable_until: None,
            rotate: Rotate::default(),
        }
    }
    pub(crate) fn rows(&self, kind: &str) -> &Seen {
        match kind {
            inbound_connector::KIND => &self.inbound_connectors,
            outbound_connector::KIND => &self.outbound_connectors,
            rules::KIND => &self.rules,
            _ => &self.accepted_domains,
        }
    }
    /// Ours of that name: by its guid where we know it, else by name.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Row> {
        let rows = self.rows(kind).as_ref().ok()?;
        let guid = self.known.get(&format!("{kind} {name}"));
        let by_guid = guid.and_then(|g| rows.iter().find(|r| text(r, "Guid").eq_ignore_ascii_case(g)));
        by_guid.or_else(|| rows.iter().find(|r| is_named(r, name)))
    }
    pub(crate) fn is_dehydrated(&self) -> bool {
        self.organization.iter().flatten().any(|row| row.get("IsDehydrated") == Some(&Value::Bool(true)))
    }
    /// What could not be read; without what is `optional` mail flows and is checked all the same.
    pub(crate) fn unknown(&self) -> Vec<Unknown> {
        let lists = [
            ("accepted domains", &self.accepted_domains, false),
            ("inbound connectors", &self.inbound_connectors, false),
            ("outbound connectors", &self.outbound_connectors, false),
            ("mail flow rules", &self.rules, false),
            ("settings of the organization", &self.organization, true),
            ("trusted ARC sealers", &self.arc, true),
            ("spoof allow entries", &self.spoof_items, true),
            ("audit log settings", &self.audit_config, true),
            ("journal rules", &self.journal_rules, true),
        ];
        let unknown =
            lists.into_iter().filter_map(|(object, seen, optional)| Some((object, seen.as_ref().err()?, optional)));
        let mut all: Vec<Unknown> = unknown
            .map(|(object, because, optional)| Unknown { object: object.into(), because: because.clone(), optional })
            .collect();
        if let Application::Unknown(because) = &self.application {
            all.push(Unknown { object: "application".into(), because: because.clone(), optional: true });
        }
        for (service, claims) in &self.granted.0 {
            if let Err(because) = claims {
                let object = format!("permissions at {service}");
                all.push(Unknown { object, because: because.clone(), optional: true });
            }
        }
        all
    }
    /// Guids of ours that are there, for the next look.
    fn ours(&self) -> Known {
        let mut known = self.known.clone();
        let names = rules::NAMES.map(|n| (rules::KIND, n));
        let connectors =
            [(inbound_connector::KIND, inbound_connector::NAME), (outbound_connector::KIND, outbound_connector::NAME)];
        for (kind, name) in names.into_iter().chain(connectors) {
            if let Some(guid) = self.find(kind, name).map(|r| text(r, "Guid")).filter(|g| !g.is_empty()) {
                known.insert(format!("{kind} {name}"), guid.to_owned());
            }
        }
        known
    }
}

pub(crate) fn text<'r>(row: &'r Row, key: &str) -> &'r str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Everything, with the application's own rights.
pub(crate) async fn observe(
    client: &Client,
    app: &Identity,
    store: &Store,
    settings: &Settings,
    tenant: &Tenant,
) -> Result<Observed> {
    let at = jiff::Timestamp::now().as_second();
    let graph = client.claims(app, Service::Graph).await;
    let known = App::known(store, tenant.id).await?;
    let application = application::read(client, app, known.as_ref(), &graph).await;
    let mut observed = Observed::blank(at, &application.why_nothing_can_be_read());
    if application.can_read() {
        read_lists(client, app, &mut observed).await;
    }
    observed.granted.0.push((Service::Graph, graph.map_err(|e| e.to_string())));
    for service in [Service::Exchange, Service::Activity] {
        let claims = client.claims(app, service).await.map_err(|e| e.to_string());
        observed.granted.0.push((service, claims));
    }
    observed.application = application;
    observed.issuable_until = settings.issuer.issuable_until(&tenant.connector_domain, at);
    observed.rotate = Rotate::wished(store, tenant.id).await?;
    observed.known = guids(store, tenant.id).await?;
    let ours = observed.ours();
    if ours != observed.known {
        store.put_step(tenant.id, GUIDS, &json!(ours)).await?;
        observed.known = ours;
    }
    Ok(observed)
}

async fn read_lists(client: &Client, app: &Identity, observed: &mut Observed) {
    let list = async |cmdlet: &str, parameters: Value| -> Seen {
        client.exchange(app, cmdlet, parameters).await.map(|a| a.rows).map_err(|e| e.to_string())
    };
    let all = json!({"ResultSize": "Unlimited"});
    observed.accepted_domains = list("Get-AcceptedDomain", all.clone()).await;
    observed.inbound_connectors = list("Get-InboundConnector", all.clone()).await;
    observed.outbound_connectors = list("Get-OutboundConnector", all.clone()).await;
    observed.rules = list("Get-TransportRule", all).await;
    observed.organization = list("Get-OrganizationConfig", json!({})).await;
    observed.arc = list("Get-ArcConfig", json!({})).await;
    observed.spoof_items = list("Get-TenantAllowBlockListSpoofItems", json!({})).await;
    observed.audit_config = list("Get-AdminAuditLogConfig", json!({})).await;
    observed.journal_rules = list("Get-JournalRule", json!({})).await;
}

async fn guids(store: &Store, tenant: tenant::TenantId) -> Result<Known> {
    let record = store.step(tenant, GUIDS).await?.unwrap_or_default();
    Ok(serde_json::from_value(record).unwrap_or_default())
}

/// The rules alone, while a tenant is being connected.
pub(crate) async fn observe_rules(client: &Client, app: &Identity, store: &Store) -> Result<Observed> {
    let mut observed = Observed::blank(jiff::Timestamp::now().as_second(), "it was not looked at");
    let rows = client.exchange(app, "Get-TransportRule", json!({"ResultSize": "Unlimited"})).await;
    observed.rules = rows.map(|a| a.rows).map_err(|e| e.to_string());
    observed.known = guids(store, app.tenant()).await?;
    Ok(observed)
}
