//! The connected tenants as the data plane sees them, read again when the store says that something changed.

use crate::limits;
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use store::{AlertKind, Store};
use tenant::{Listed, Lists, Members, Sender, Tenant, TenantId};
use verdict::CustomRules;
use verdict::detectors::impersonation;

/// One tenant with what is worked out of it once instead of for each message.
pub(crate) struct Connected {
    pub tenant: Tenant,
    /// Display names of its users as the impersonation detector compares them.
    pub people: Arc<HashMap<String, String>>,
    /// Of the groups that rules of its policy name.
    pub members: Arc<Members>,
    /// Of the directory that `people` and `members` come from.
    people_revision: i64,
    /// What the tenant wants found beside what detectors find.
    pub custom: Arc<CustomRules>,
    /// Those of the policy as detectors compare them: addresses in lower case, names in the form of `people`.
    pub vips: HashSet<String>,
    /// Whom single users let through or keep out, by each address of theirs.
    pub personal: HashMap<String, Lists>,
    /// How we prove ourselves to Exchange Online for this tenant, or why we cannot.
    pub tls: Result<Arc<rustls::ClientConfig>, String>,
    /// Changes with certificate and host: a connection opened with the old ones is not used for the new ones.
    pub way_back: [u8; 32],
    /// Of the store, when this was read.
    pub revision: i64,
}

#[derive(Default)]
struct Known {
    revision: i64,
    asked: Option<Instant>,
    by_id: HashMap<TenantId, Arc<Connected>>,
}

pub(crate) struct Tenants {
    roots: Arc<rustls::RootCertStore>,
    known: Mutex<Known>,
    reading: tokio::sync::Mutex<()>,
}

impl Tenants {
    pub(crate) fn new(roots: Arc<rustls::RootCertStore>) -> Tenants {
        Tenants { roots, known: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }

    /// The tenant of that id, if it is connected; never older than [`limits::TENANTS_BELIEVED`].
    pub(crate) async fn find(&self, store: &Store, id: TenantId) -> store::Result<Option<Arc<Connected>>> {
        if !self.is_fresh() {
            let _one_reads = self.reading.lock().await;
            if !self.is_fresh() {
                self.refresh(store).await?;
            }
        }
        Ok(self.known().by_id.get(&id).cloned())
    }

    /// As it is known now, without asking the store.
    pub(crate) fn label(&self, id: TenantId) -> Option<String> {
        self.known().by_id.get(&id).map(|c| c.tenant.label.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.known().by_id.len()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_fresh(&self) -> bool {
        self.known().asked.is_some_and(|at| at.elapsed() < limits::TENANTS_BELIEVED)
    }

    async fn refresh(&self, store: &Store) -> store::Result<()> {
        let (asked, revision) = (Instant::now(), store.tenants_revision().await?);
        let unchanged = {
            let known = self.known();
            known.asked.is_some() && known.revision == revision
        };
        if unchanged {
            self.known().asked = Some(asked);
            return Ok(());
        }
        let mut by_id = HashMap::new();
        for tenant in store.tenants().await? {
            let before = self.known().by_id.get(&tenant.id).cloned();
            by_id.insert(tenant.id, Arc::new(self.connected(store, tenant, revision, before.as_deref()).await?));
        }
        *self.known() = Known { revision, asked: Some(asked), by_id };
        Ok(())
    }

    async fn connected(
        &self,
        store: &Store,
        tenant: Tenant,
        revision: i64,
        before: Option<&Connected>,
    ) -> store::Result<Connected> {
        // asked before the people are read: what changes meanwhile is read again
        let people_revision = store.directory_revision(tenant.id).await?;
        let people = match before.filter(|b| b.people_revision == people_revision) {
            Some(before) => before.people.clone(),
            None => Arc::new(people(store, tenant.id).await?),
        };
        let groups = tenant.policy.rules.groups();
        let same = |b: &&Connected| b.people_revision == people_revision && b.tenant.policy.rules.groups() == groups;
        let members = match before.filter(same) {
            Some(before) => before.members.clone(),
            None => Arc::new(members(store, tenant.id, &groups).await?),
        };
        let personal = store.all_user_lists(tenant.id).await?;
        let custom = match before.filter(|b| b.tenant.policy.rules.custom == tenant.policy.rules.custom) {
            Some(before) => before.custom.clone(),
            None => Arc::new(custom(store, &tenant).await?),
        };
        let (chain, key) = (&tenant.certificate.chain_pem, tenant.certificate.key_pem.expose());
        let tls = smtp::tls::client_config(self.roots.clone(), Some((chain, key))).map_err(|e| e.to_string());
        warn_of_expiry(store, &tenant).await?;
        let way_back = way_back(&tenant);
        let vip = |v: &String| if v.contains('@') { v.trim().to_lowercase() } else { impersonation::normalise(v) };
        let vips = tenant.policy.vips.iter().map(vip).filter(|v| !v.is_empty()).collect();
        Ok(Connected { tenant, people, members, personal, people_revision, custom, vips, tls, way_back, revision })
    }
}

impl Connected {
    /// What this recipient's own list says of a sender.
    pub(crate) fn personal(&self, recipient: &str, sender: Sender<'_>, now: i64) -> Listed<'_> {
        let lists = self.personal.get(&recipient.to_lowercase());
        lists.map_or(Listed::No, |lists| lists.of(sender, now))
    }
}

fn way_back(tenant: &Tenant) -> [u8; 32] {
    let all = [&tenant.return_host, "\0", &tenant.certificate.chain_pem].concat();
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, all.as_bytes()).as_ref());
    out
}

/// Names of tens of thousands; read one after the other and kept in the form in which they are compared.
pub async fn people(store: &Store, id: TenantId) -> store::Result<HashMap<String, String>> {
    let mut people = HashMap::new();
    let add = |name: &str, address: String| {
        let name = impersonation::normalise(name);
        if !name.is_empty() {
            people.insert(name, address);
        }
    };
    store.each_person(id, add).await?;
    Ok(people)
}

/// Every address of everybody in the groups that rules name, at most [`limits::RULE_MEMBERS_MAX`].
pub async fn members(store: &Store, id: TenantId, wanted: &[String]) -> store::Result<Members> {
    let (mut members, mut room) = (Members::default(), limits::RULE_MEMBERS_MAX);
    if wanted.is_empty() {
        return Ok(members);
    }
    for group in store.groups(id).await? {
        let Some(mail) = group.mail.map(|m| m.to_lowercase()).filter(|m| wanted.contains(m)) else { continue };
        let of_group = members.0.entry(mail.clone()).or_default();
        for user in store.members_of(id, &group.id).await? {
            let addresses = user.addresses.iter().chain(&user.mail).chain([&user.upn]).map(|a| a.to_lowercase());
            for address in addresses {
                if room == 0 {
                    let text = format!(
                        "the groups that rules of the policy name have more than {} addresses; {mail} is not wholly known, and mail of those who are missing is judged as if they were not in it. Name smaller groups, or domains",
                        limits::RULE_MEMBERS_MAX
                    );
                    store.raise_alert(AlertKind::Other, Some(id), "rules name too many people", &text).await?;
                    return Ok(members);
                }
                room -= usize::from(of_group.insert(address));
            }
        }
    }
    Ok(members)
}

/// Compiled; patterns may take seconds. Those that were taken once and are not any more are left out, and told.
async fn custom(store: &Store, tenant: &Tenant) -> store::Result<CustomRules> {
    let written = tenant.policy.rules.custom.clone();
    if written.is_empty() {
        return Ok(CustomRules::default());
    }
    let compiled = tokio::task::spawn_blocking(move || CustomRules::of(&written)).await;
    let (rules, wrong) = compiled.unwrap_or_else(|e| {
        tracing::error!(tenant = %tenant.label, error = %e, "custom rules could not be compiled");
        Default::default()
    });
    if let Some(first) = wrong.first() {
        let text = format!(
            "{} of the custom rules of {} are not asked, the first because: {}. Mend it (`posthouse rules check`, `posthouse rules set`)",
            wrong.len(),
            tenant.display_name,
            first.why
        );
        store.raise_alert(AlertKind::Other, Some(tenant.id), "custom rules are not asked", &text).await?;
    }
    Ok(rules)
}

async fn warn_of_expiry(store: &Store, tenant: &Tenant) -> store::Result<()> {
    let Some(end) =
        smtp::tls::not_after(&tenant.certificate.chain_pem).and_then(|s| jiff::Timestamp::from_second(s).ok())
    else {
        return Ok(());
    };
    let left = end.as_second() - jiff::Timestamp::now().as_second();
    if left < i64::try_from(limits::CERTIFICATE_WARNING.as_secs()).unwrap_or(i64::MAX) {
        let text = format!(
            "the return certificate of {} ends at {end}; renew it and run `posthouse tenant connect {}` again: with the old one Exchange Online answers 5.7.64",
            tenant.connector_domain, tenant.initial_domain
        );
        store.raise_alert(AlertKind::CertificateExpires, Some(tenant.id), &tenant.connector_domain, &text).await?;
    }
    Ok(())
}
