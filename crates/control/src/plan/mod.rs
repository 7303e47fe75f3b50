//! What would have to change so that a tenant is as it should be: read, compared, told; nothing is touched. What could
//! not be read is *unknown because …* and never taken for absent (house.md 5).
//!
//! A plan's id is a hash of what it says and of every value that it would write: the same tenant in the same state
//! gives the same plan, and one that no longer fits has another id. That is how [`crate::apply`] knows a stale one.

mod compare;
mod observe;
mod preflight;
mod preview;
mod removal;
mod text;

pub(crate) use compare::{object_of, of_one, order, routes_mail, wanted};
pub(crate) use observe::{NEEDS, Observed, observe_rules, text};

use observe::observe;
pub use preview::preview;
pub(crate) use removal::{Before, removal};
pub(crate) use text::text_of;

use crate::objects::application::App;
use crate::objects::exchange::{self, object};
use crate::objects::{accepted_domain, rules};
use crate::{ControlError, Result, Settings, limits};
use aws_lc_rs::digest::{SHA256, digest};
use m365::{Client, Identity, Row};
use serde::Serialize;
use serde_json::Value;
use store::{Severity, Store};
use tenant::{Direction, MarkSecrets, Tenant, TenantId};

/// One property, before and after; a secret shows neither.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValueChange {
    pub name: String,
    pub before: Value,
    pub after: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Create,
    Change,
    Enable,
    Disable,
    Move,
    Remove,
    /// As it was before we came.
    Restore,
    Wait,
}

/// One request that a change takes; may carry secrets and is never shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum Call {
    Exchange {
        cmdlet: String,
        parameters: Row,
    },
    AcceptedDomain,
    RemoveDomain,
    /// A new certificate beside the one that is used.
    NewCredential,
    /// Certificates that are not used any more are taken off.
    OldCredentials,
    /// The certificate by which mail comes back, as the issuer has it now.
    ReturnCertificate,
    Unsubscribe,
    /// Until nothing is under way to us any more.
    Drain,
    /// Properties of the application.
    Application(Row),
    RemoveApplication,
}

impl Call {
    pub(crate) fn exchange(cmdlet: impl Into<String>, parameters: Value) -> Call {
        Call::Exchange { cmdlet: cmdlet.into(), parameters: object(parameters) }
    }
    pub(crate) fn name(&self) -> &str {
        match self {
            Call::Exchange { cmdlet, .. } => cmdlet,
            Call::AcceptedDomain => "POST /domains, verify, Set-AcceptedDomain",
            Call::RemoveDomain => "DELETE /domains",
            Call::NewCredential | Call::OldCredentials | Call::Application(_) => "PATCH /applications",
            Call::ReturnCertificate => "the issuer of certificates",
            Call::Unsubscribe => "POST subscriptions/stop",
            Call::Drain => "Get-MessageTraceV2",
            Call::RemoveApplication => "DELETE /applications",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Change {
    pub action: Action,
    pub object: String,
    pub values: Vec<ValueChange>,
    pub why: &'static str,
    /// The permission that it takes.
    pub needs: &'static str,
    pub undo: String,
    /// How sure it is that protection is impaired while it is not so.
    pub severity: Severity,
    /// Mail flows and is checked without it: its failure is told and stops nothing else.
    pub optional: bool,
    /// What must be true before it may be carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    #[serde(skip)]
    pub(crate) calls: Vec<Call>,
    /// The object as it was read; goes into the receipt.
    #[serde(skip)]
    pub(crate) prior: Option<Row>,
}

impl Change {
    pub(crate) fn new(action: Action, object: String, why: &'static str, needs: &'static str) -> Change {
        Change {
            action,
            object,
            values: Vec::new(),
            why,
            needs,
            undo: String::new(),
            severity: Severity::Low,
            optional: false,
            waits_for: None,
            calls: Vec::new(),
            prior: None,
        }
    }
    pub(crate) fn of(mut self, values: Vec<ValueChange>) -> Change {
        self.values = values;
        self
    }
    pub(crate) fn graded(mut self, severity: Severity) -> Change {
        self.severity = severity;
        self
    }
    pub(crate) fn undone_by(mut self, undo: impl Into<String>) -> Change {
        self.undo = undo.into();
        self
    }
    pub(crate) fn by(mut self, calls: Vec<Call>) -> Change {
        self.calls = calls;
        self
    }
    pub(crate) fn was(mut self, prior: Option<&Row>) -> Change {
        self.prior = prior.cloned();
        self
    }
    pub(crate) fn optional(mut self) -> Change {
        self.optional = true;
        self
    }
}

/// An object that could not be read.
#[derive(Clone, Debug, Serialize)]
pub struct Unknown {
    pub object: String,
    pub because: String,
    /// Without it mail flows and is checked all the same.
    pub optional: bool,
}

/// Something of others that gets in the way, or will; ours to tell, not to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    pub object: String,
    pub found: String,
    /// What a person should do about it.
    pub advice: &'static str,
    /// Set where it impairs protection now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub id: String,
    pub tenant: TenantId,
    pub display_name: String,
    pub changes: Vec<Change>,
    pub unknown: Vec<Unknown>,
    pub notices: Vec<Notice>,
}

/// Characters of a plan's id: 64 bits of the hash, enough that two plans of one tenant never meet.
const ID_LENGTH: usize = 16;

impl Plan {
    fn new(tenant: &Tenant, changes: Vec<Change>, unknown: Vec<Unknown>, notices: Vec<Notice>) -> Result<Plan> {
        let calls: Vec<_> = changes.iter().map(|c| (&c.calls, &c.prior)).collect();
        // not why something is unknown: the same trouble says another thing each time
        let unknown_objects: Vec<_> = unknown.iter().map(|u| &u.object).collect();
        let said = serde_json::to_vec(&(tenant.id, &changes, unknown_objects, calls));
        let said = said.map_err(|e| ControlError::Refused(format!("a plan cannot be written: {e}")))?;
        let hash: String = digest(&SHA256, &said).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let id = hash[..ID_LENGTH].to_owned();
        Ok(Plan { id, tenant: tenant.id, display_name: tenant.display_name.clone(), changes, unknown, notices })
    }
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.unknown.is_empty()
    }
    /// What waits for somebody, in words.
    pub fn waiting(&self) -> Vec<String> {
        let told = |c: &Change| Some(format!("“{}” waits for {}", text_of(c), c.waits_for.as_ref()?));
        self.changes.iter().filter_map(told).collect()
    }
    /// What must be known before anything is changed.
    pub(crate) fn unknown_that_counts(&self) -> Option<&Unknown> {
        self.unknown.iter().find(|u| !u.optional)
    }
}

/// The tenant and the application that acts in it.
pub(crate) async fn acting(id: TenantId, store: &Store) -> Result<(Tenant, Identity)> {
    let tenant =
        store.tenant(id).await?.ok_or_else(|| ControlError::Refused(format!("tenant {id} is not connected")))?;
    let app = App::known(store, id).await?.map(|a| a.identity(id));
    let app = app.ok_or_else(|| ControlError::Refused("no application of ours is known in this tenant".into()))?;
    Ok((tenant, app))
}

/// Reads the tenant, compares, and writes the plan down so that it can be approved by its id. A person's: what the
/// watchdog holds closed is to be open.
pub async fn plan(id: TenantId, client: &Client, store: &Store, settings: &Settings) -> Result<Plan> {
    let (mut tenant, app) = acting(id, store).await?;
    tenant.closed.clear();
    of_tenant(&wished(tenant, store).await?, &app, client, store, settings).await
}

/// The same, with what the watchdog holds closed left so.
pub(crate) async fn plan_as_held(id: TenantId, client: &Client, store: &Store, settings: &Settings) -> Result<Plan> {
    let (tenant, app) = acting(id, store).await?;
    of_tenant(&wished(tenant, store).await?, &app, client, store, settings).await
}

/// The plan for a tenant as somebody wishes it, which nobody has written down yet.
pub async fn plan_wish(tenant: &Tenant, client: &Client, store: &Store, settings: &Settings) -> Result<Plan> {
    let (_, app) = acting(tenant.id, store).await?;
    let tenant = Tenant { closed: Vec::new(), ..tenant.clone() };
    of_tenant(&wished(tenant, store).await?, &app, client, store, settings).await
}

pub(crate) async fn of_tenant(
    tenant: &Tenant,
    app: &Identity,
    client: &Client,
    store: &Store,
    settings: &Settings,
) -> Result<Plan> {
    let (tenant, observed) = observe_current(client, app, store, settings, tenant).await?;
    written_down(store, made(&tenant, settings, &observed)?).await
}

/// Reads the tenant, and takes over what it tells of us: a domain that it gained since, because a rule for users takes
/// mail of a new domain on the same day and the gateway would not know whose it is; and that its rules know the next
/// secrets. A domain that it lost is forgotten when it is connected again: copies of Microsoft's directory lag.
pub(crate) async fn observe_current(
    client: &Client,
    app: &Identity,
    store: &Store,
    settings: &Settings,
    tenant: &Tenant,
) -> Result<(Tenant, Observed)> {
    let observed = observe(client, app, store, settings, tenant).await?;
    let mut now = tenant.clone();
    let rows = observed.accepted_domains.as_deref().unwrap_or_default();
    let is_new = |domain: &String| !tenant.domains.contains(domain);
    let gained: Vec<String> = accepted_domain::not_ours(rows, &settings.zone).into_iter().filter(is_new).collect();
    if !gained.is_empty() {
        now.domains.extend(gained.iter().cloned());
        let gain = |known: &mut Tenant| {
            let more = gained.into_iter().filter(|d| !known.domains.contains(d)).collect::<Vec<_>>();
            known.domains.extend(more);
        };
        store.change_tenant(tenant.id, gain).await?;
    }
    if may_advance(tenant, &observed) {
        let advance = |known: &mut Tenant| {
            for (known, ours) in [(&mut known.pass, &tenant.pass), (&mut known.route, &tenant.route)] {
                if known.next == ours.next {
                    known.advance(observed.at);
                }
            }
        };
        if let Some(known) = store.change_tenant(tenant.id, advance).await? {
            (now.pass, now.route) = (known.pass, known.route);
        }
    }
    Ok((now, observed))
}

/// The rules, or why they cannot be read.
pub(crate) async fn readable_rules(client: &Client, app: &Identity, store: &Store) -> Result<Observed> {
    let observed = observe_rules(client, app, store).await?;
    match &observed.rules {
        Err(because) => Err(ControlError::Waits(format!("the mail flow rules cannot be read: {because}"))),
        Ok(_) => Ok(observed),
    }
}

/// Closes the ways that the tenant holds closed, and touches nothing else, whatever else differs.
pub(crate) async fn closing(tenant: &Tenant, observed: &Observed, store: &Store) -> Result<Plan> {
    let changes = closing_changes(tenant, observed);
    written_down(store, Plan::new(tenant, changes, Vec::new(), Vec::new())?).await
}

fn closing_changes(tenant: &Tenant, observed: &Observed) -> Vec<Change> {
    let closes = |c: &Change| c.action == Action::Disable;
    closed_rules(tenant).iter().flat_map(|rule| of_one(rule, observed)).filter(closes).collect()
}

/// Pure: every way that the tenant holds closed is seen to be.
pub(crate) fn is_closed(tenant: &Tenant, observed: &Observed) -> bool {
    let off = |rule: &exchange::Wanted| observed.find(rules::KIND, rule.name).is_none_or(rules::is_disabled);
    observed.rules.is_ok() && closed_rules(tenant).iter().all(off)
}

fn closed_rules(tenant: &Tenant) -> Vec<exchange::Wanted> {
    let [inbound, outbound, _] = rules::all(tenant, rules::Takes::Rollout);
    let ways = [(Direction::Inbound, inbound), (Direction::Outbound, outbound)];
    ways.into_iter().filter_map(|(way, rule)| tenant.closed.contains(&way).then_some(rule)).collect()
}

/// True for a change of a rule that the watchdog holds closed.
pub(crate) fn is_held_closed(tenant: &Tenant, change: &Change) -> bool {
    closed_rules(tenant).iter().any(|rule| change.object == object_of(rules::KIND, rule.name))
}

/// What taking everything back would do; the same steps as `posthouse tenant disconnect`.
pub async fn plan_removal(id: TenantId, client: &Client, store: &Store, settings: &Settings) -> Result<Plan> {
    let (tenant, app) = acting(id, store).await?;
    of_removal(&tenant, &app, client, store, settings).await
}

pub(crate) async fn of_removal(
    tenant: &Tenant,
    app: &Identity,
    client: &Client,
    store: &Store,
    settings: &Settings,
) -> Result<Plan> {
    let observed = observe(client, app, store, settings, tenant).await?;
    let receipts: Vec<_> = store.receipts(tenant.id).await?.into_iter().map(|(_, r)| r).collect();
    let changes = removal(tenant, settings, &observed, &Before(&receipts));
    written_down(store, Plan::new(tenant, changes, observed.unknown(), Vec::new())?).await
}

/// The tenant as wished now: a secret that nothing can carry any more is not wished any more.
async fn wished(mut tenant: Tenant, store: &Store) -> Result<Tenant> {
    let before = jiff::Timestamp::now().as_second() - limits::SECRET_OVERLAP_SECS;
    let is_over = |secrets: &MarkSecrets| secrets.previous.is_some() && secrets.since < before;
    if is_over(&tenant.pass) || is_over(&tenant.route) {
        let retired = |known: &mut Tenant| {
            known.pass.retire(before);
            known.route.retire(before);
        };
        if let Some(known) = store.change_tenant(tenant.id, retired).await? {
            (tenant.pass, tenant.route) = (known.pass, known.route);
        }
    }
    Ok(tenant)
}

/// The rules were told of the next secrets so long ago that they are in effect everywhere, and they still know them:
/// from now on the next ones are written.
fn may_advance(tenant: &Tenant, observed: &Observed) -> bool {
    let told = |secrets: &MarkSecrets| {
        secrets.next.is_some() && secrets.told > 0 && observed.at - secrets.told > limits::SECRET_IN_EFFECT_SECS
    };
    let [inbound, outbound, _] = rules::all(tenant, rules::Takes::Rollout);
    let knows = |wanted: &exchange::Wanted| {
        let row = observed.find(rules::KIND, wanted.name);
        let differs = |v: &ValueChange| ["SetHeaderValue", "ExceptIfHeaderMatchesPatterns"].contains(&v.name.as_str());
        row.is_some_and(|row| !exchange::value_changes(&wanted.properties, wanted.secret, row).iter().any(differs))
    };
    told(&tenant.pass) && told(&tenant.route) && knows(&inbound) && knows(&outbound)
}

async fn written_down(store: &Store, plan: Plan) -> Result<Plan> {
    let shown = serde_json::to_value(&plan).map_err(|e| ControlError::Refused(e.to_string()))?;
    store.put_plan(plan.tenant, &plan.id, &shown).await?;
    Ok(plan)
}

/// Pure: the tenant as wished, the tenant as read.
pub(crate) fn made(tenant: &Tenant, settings: &Settings, observed: &Observed) -> Result<Plan> {
    let changes = compare::changes(tenant, settings, observed);
    Plan::new(tenant, changes, observed.unknown(), preflight::notices(tenant, settings, observed))
}

#[cfg(test)]
mod tests;
