//! What the tenant shows, list by list: seen whole, or why it is not known.

use super::Unknown;
use crate::Result;
use crate::objects::exchange::is_named;
use crate::objects::{inbound_connector, outbound_connector, rules};
use m365::{Client, Identity, Row};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::Store;

/// A whole list, or why it is not known; a list that was cut off is not known either.
pub(crate) type Seen = std::result::Result<Vec<Row>, String>;
/// Guids of our objects by `kind name`: a renamed object is still ours.
pub(crate) type Known = BTreeMap<String, String>;

pub(crate) struct Observed {
    pub accepted_domains: Seen,
    pub inbound_connectors: Seen,
    pub outbound_connectors: Seen,
    pub rules: Seen,
    pub organization: Seen,
    pub known: Known,
}

/// The receipt under which guids stand.
const GUIDS: &str = "guids";

async fn guids(store: &Store, tenant: tenant::TenantId) -> Result<Known> {
    let record = store.step(tenant, GUIDS).await?.unwrap_or_default();
    Ok(serde_json::from_value(record).unwrap_or_default())
}

impl Observed {
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
    pub(crate) fn unknown(&self) -> Vec<Unknown> {
        let lists = [
            ("accepted domains", &self.accepted_domains),
            ("inbound connectors", &self.inbound_connectors),
            ("outbound connectors", &self.outbound_connectors),
            ("mail flow rules", &self.rules),
            ("settings of the organization", &self.organization),
        ];
        let unknown =
            lists.into_iter().filter_map(|(object, seen)| seen.as_ref().err().map(|because| (object, because)));
        unknown.map(|(object, because)| Unknown { object: object.into(), because: because.clone() }).collect()
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

pub(crate) async fn observe(client: &Client, app: &Identity, store: &Store) -> Result<Observed> {
    look(client, app, store, |_| true).await
}

/// One list alone, where only one object is asked about; the others stay unknown.
pub(crate) async fn observe_only(client: &Client, app: &Identity, store: &Store, kind: &str) -> Result<Observed> {
    look(client, app, store, |k| k == kind).await
}

async fn look(client: &Client, app: &Identity, store: &Store, wants: impl Fn(&str) -> bool) -> Result<Observed> {
    let list = async |kind: &str, parameters: Value| -> Seen {
        if !wants(kind) {
            return Err("it was not looked at".into());
        }
        client.exchange(app, &format!("Get-{kind}"), parameters).await.map(|a| a.rows).map_err(|e| e.to_string())
    };
    let all = json!({"ResultSize": "Unlimited"});
    let observed = Observed {
        accepted_domains: list("AcceptedDomain", all.clone()).await,
        inbound_connectors: list(inbound_connector::KIND, all.clone()).await,
        outbound_connectors: list(outbound_connector::KIND, all.clone()).await,
        rules: list(rules::KIND, all).await,
        organization: list("OrganizationConfig", json!({})).await,
        known: guids(store, app.tenant()).await?,
    };
    let ours = observed.ours();
    if ours != observed.known {
        store.put_step(app.tenant(), GUIDS, &json!(ours)).await?;
    }
    Ok(observed)
}
