//! Everything that exists in the simulated world, as plain data behind one lock.
//!
//! The HTTP doors read and change it, the transport reads it. Nothing here talks to a socket.

use crate::mailbox::{Event, Hub, Mailbox, Mime};
use crate::{audit::AuditRecord, clock::Clock, pki::Pki, roll::Roll, switches::Switches};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

/// The shared handle; clone freely.
#[derive(Clone)]
pub struct World {
    pub clock: Clock,
    pub pki: Arc<Pki>,
    /// Where mailboxes tell what happened in them.
    pub hub: Hub,
    state: Arc<Mutex<State>>,
}

impl World {
    /// A world, and what happens in its mailboxes.
    pub fn new(clock: Clock, pki: Pki) -> (World, UnboundedReceiver<Event>) {
        let (sender, events) = unbounded_channel();
        (World { clock, pki: Arc::new(pki), hub: Hub::new(sender), state: Arc::default() }, events)
    }
    /// The state; never hold this across an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[derive(Default)]
pub struct State {
    pub tenants: Vec<Tenant>,
    pub switches: Switches,
    /// Domains of the simulated outside world, each with its own senders and mailboxes.
    pub external: Vec<ExternalDomain>,
    /// host name → TCP port, for every SMTP host that does not listen on 25 (`*` = default for all).
    pub smtp_ports: BTreeMap<String, u16>,
    /// zone suffix → `host:port` of the DNS server that answers for it (the simulator's resolver asks it for real).
    pub dns_forward: BTreeMap<String, String>,
    /// Static records of the simulator's own DNS: (lower-case FQDN without dot, TYPE) → values.
    pub dns_records: BTreeMap<(String, String), Vec<String>>,
    /// Message trace, all tenants, oldest first.
    pub trace: Vec<TraceEntry>,
    /// Copies of what crossed the wire to and from the gateway, oldest first (`GET /wire`), while `record_wire`.
    pub wire: Vec<WireCopy>,
    /// Faults that a scenario injected, consumed by the door they name.
    pub faults: Vec<Fault>,
    /// Requests at each HTTP door while there is weather (Q37, Q38).
    pub requests: BTreeMap<&'static str, u64>,
    /// Requests of applications at mailboxes (wire.md 2.5).
    pub meters: crate::graph::meter::Meters,
    /// Notifications that were sent, tried or given up, oldest first.
    pub notices: std::collections::VecDeque<Value>,
}

impl State {
    pub fn tenant(&self, id_or_domain: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|t| t.answers_to(id_or_domain))
    }
    pub fn tenant_mut(&mut self, id_or_domain: &str) -> Option<&mut Tenant> {
        self.tenants.iter_mut().find(|t| t.answers_to(id_or_domain))
    }
    /// The tenant in which `domain` is an Exchange accepted domain.
    pub fn tenant_of_accepted(&self, domain: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|t| t.accepted_domain(domain).is_some())
    }
}

/// One simulated Microsoft 365 tenant.
pub struct Tenant {
    pub id: Uuid,
    pub display_name: String,
    pub initial_domain: String,
    /// Entra domains (Graph /domains).
    pub domains: Vec<Domain>,
    pub users: Roll<User>,
    pub groups: Roll<Group>,
    pub applications: Vec<Application>,
    pub service_principals: Vec<ServicePrincipal>,
    pub app_role_assignments: Vec<AppRoleAssignment>,
    pub permission_grants: Vec<PermissionGrant>,
    /// Activated directory roles and their members (user or service principal object ids).
    pub directory_roles: Vec<DirectoryRole>,
    /// Exchange: accepted domains (follow the verified Entra domains with Email support).
    pub accepted_domains: Vec<AcceptedDomain>,
    /// Exchange objects as flat property tables in the shape in which InvokeCommand returns them
    /// (without sidecar annotations); `Guid`, `Name`, `Identity` always present.
    pub inbound_connectors: Vec<Map<String, Value>>,
    pub outbound_connectors: Vec<Map<String, Value>>,
    /// Transport rules, ordered by priority (index = Priority).
    pub transport_rules: Vec<Map<String, Value>>,
    pub organization_config: Map<String, Value>,
    pub arc_trusted_sealers: Vec<String>,
    /// The rest of what cmdlets manage: filter lists, journaling, auditing, roles.
    pub settings: crate::exchange::Settings,
    pub mailboxes: BTreeMap<String, Mailbox>,
    pub hub: Hub,
    /// How its people are with mail; `None`: they do nothing of themselves.
    pub habits: Option<crate::habits::Habits>,
    /// Users that were deleted and can come back, with their mailboxes.
    pub soft_deleted: Vec<(User, Option<Mailbox>)>,
    pub subscriptions: Vec<crate::notify::Subscription>,
    /// Those that Graph removed, for what is still to be told of them.
    pub subscriptions_gone: Vec<crate::notify::Subscription>,
    pub audit: Vec<AuditRecord>,
    /// DKIM keys by domain: PKCS#8 DER (selector is `selector1`); the public half stands in the simulator's DNS.
    pub dkim_keys: BTreeMap<String, Vec<u8>>,
    /// Restricted tenants get OnPremises inbound connectors disabled (S17).
    pub onprem_connector_restricted: bool,
    pub quarantine: Vec<StoredMessage>,
    /// Subscriptions and blobs of the activity feed.
    pub feed: crate::activity::Feed,
    pub history: crate::history::History,
    /// Unix seconds of the latest message traces (Q39).
    pub traces: Vec<i64>,
    /// What delta queries have told of.
    pub delta: crate::graph::delta::Log,
}

impl Tenant {
    pub fn answers_to(&self, id_or_domain: &str) -> bool {
        self.id.to_string().eq_ignore_ascii_case(id_or_domain)
            || self.domains.iter().any(|d| d.is_verified && d.id.eq_ignore_ascii_case(id_or_domain))
    }
    pub fn accepted_domain(&self, domain: &str) -> Option<&AcceptedDomain> {
        self.accepted_domains.iter().find(|d| d.name.eq_ignore_ascii_case(domain))
    }
    /// The user that has `address` as UPN or proxy address.
    pub fn user_by_address(&self, address: &str) -> Option<&User> {
        self.users.by_name(address)
    }
    /// The mailbox of whoever has that address.
    pub fn mailbox_mut(&mut self, address: &str) -> Option<&mut Mailbox> {
        let user = self.users.by_name(address).filter(|u| !u.mailbox_type.is_empty())?;
        let (primary, id) = (user.addresses.first()?.clone(), user.id);
        let new = || Mailbox::new(self.id, id, self.hub.clone());
        Some(self.mailboxes.entry(primary).or_insert_with(new))
    }
    /// Takes a user out of the directory; the mailbox stays with it until it comes back.
    pub fn soft_delete(&mut self, id: Uuid) -> Option<User> {
        let user = self.users.remove(self.users.at(id)?);
        self.groups.iter_mut().for_each(|g| g.members.retain(|m| *m != id));
        self.directory_roles.iter_mut().for_each(|r| r.members.retain(|(m, _)| *m != id));
        let mailbox = user.addresses.first().and_then(|address| self.mailboxes.remove(address));
        self.soft_deleted.push((user.clone(), mailbox));
        Some(user)
    }
    pub fn restore(&mut self, id: Uuid) -> Option<User> {
        let n = self.soft_deleted.iter().position(|(u, _)| u.id == id)?;
        let (user, mailbox) = self.soft_deleted.remove(n);
        if let (Some(mailbox), Some(address)) = (mailbox, user.addresses.first()) {
            self.mailboxes.insert(address.clone(), mailbox);
        }
        self.users.push(user.clone());
        Some(user)
    }
    pub fn group_by_address(&self, address: &str) -> Option<&Group> {
        self.groups.by_name(address)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Domain {
    pub id: String,
    pub is_verified: bool,
    pub is_default: bool,
    pub is_initial: bool,
    /// Stable per (tenant, domain): the text of the TXT proof, `MS=ms12345678`.
    pub proof: String,
    pub supported_services: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AcceptedDomain {
    pub name: String,
    /// `Authoritative` or `InternalRelay`
    pub domain_type: String,
    pub default: bool,
    pub initial: bool,
    /// Unix seconds from which Exchange shows it (exo.accepted_domain_delay).
    pub visible_from: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    pub id: Uuid,
    pub upn: String,
    pub display_name: String,
    pub password: String,
    /// Primary address first; all in lower case.
    pub addresses: Vec<String>,
    pub enabled: bool,
    /// `UserMailbox`, `SharedMailbox`, `RoomMailbox`, or empty for no mailbox.
    pub mailbox_type: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    pub id: Uuid,
    pub display_name: String,
    pub mail: Option<String>,
    /// `distribution`, `security`, `mail_security` or `unified`
    pub kind: String,
    /// Object ids of users or groups.
    pub members: Vec<Uuid>,
}

/// A certificate or secret of an application.
#[derive(Clone, Debug)]
pub struct Credential {
    pub key_id: Uuid,
    pub display_name: String,
    /// DER of a certificate, or the text of a secret.
    pub certificate: Option<Vec<u8>>,
    pub secret: Option<String>,
    pub start: i64,
    pub end: i64,
    /// Unix seconds from which Entra takes it (entra.key_delay).
    pub usable_from: i64,
}

#[derive(Clone, Debug)]
pub struct Application {
    pub id: Uuid,
    pub app_id: Uuid,
    pub display_name: String,
    pub sign_in_audience: String,
    pub required_resource_access: Value,
    pub redirect_uris: Vec<String>,
    pub is_public_client: bool,
    pub credentials: Vec<Credential>,
    pub created: i64,
    /// Object ids of users and service principals that own it.
    pub owners: Vec<Uuid>,
    /// Other properties as they were written (notes, tags, web, …).
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug)]
pub struct ServicePrincipal {
    pub id: Uuid,
    pub app_id: Uuid,
    pub display_name: String,
    pub account_enabled: bool,
    /// Application roles that this resource offers: (id, value).
    pub app_roles: Vec<(Uuid, String)>,
    /// Delegated scopes that this resource offers: (id, value).
    pub scopes: Vec<(Uuid, String)>,
    /// Names under which tokens may be asked for, e.g. `https://graph.microsoft.com`.
    pub names: Vec<String>,
    /// True for Microsoft's own first-party applications that exist in every tenant.
    pub first_party: bool,
    pub visible_from: i64,
}

#[derive(Clone, Debug)]
pub struct AppRoleAssignment {
    pub id: String,
    pub principal: Uuid,
    pub resource: Uuid,
    pub app_role: Uuid,
    pub created: i64,
    /// Unix seconds from which new tokens carry it (entra.role_delay).
    pub visible_from: i64,
}

#[derive(Clone, Debug)]
pub struct PermissionGrant {
    pub id: String,
    pub client: Uuid,
    pub resource: Uuid,
    pub consent_type: String,
    pub principal: Option<Uuid>,
    pub scope: String,
}

#[derive(Clone, Debug)]
pub struct DirectoryRole {
    pub id: Uuid,
    pub template: Uuid,
    pub display_name: String,
    /// (object id, unix seconds from which new tokens carry it)
    pub members: Vec<(Uuid, i64)>,
}

/// A delivered message, byte for byte as it was put into the mailbox; the bytes are kept once for all who have it.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    pub id: String,
    pub received: i64,
    pub sender: String,
    pub recipient: String,
    pub message_id: String,
    pub mime: Arc<Mime>,
}

/// A domain of the outside world with mailboxes of its own, sending from `address`.
#[derive(Clone, Debug)]
pub struct ExternalDomain {
    pub name: String,
    /// Loopback address from which its mail comes (SPF lists it).
    pub address: String,
    pub mailboxes: BTreeMap<String, Vec<StoredMessage>>,
    /// PKCS#8 DER, selector `s1`, when its mail is DKIM-signed.
    pub dkim_key: Option<Vec<u8>>,
}

/// One line of the message trace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TraceEntry {
    pub tenant: Option<Uuid>,
    pub at: i64,
    pub message_id: String,
    /// Differs between pass 1 and pass 2 (S61).
    pub network_message_id: String,
    pub sender: String,
    pub recipient: String,
    pub subject: String,
    /// Bytes of the message.
    #[serde(default)]
    pub size: usize,
    pub from_ip: String,
    /// 1 = first time through the tenant, 2 = returned by the gateway, …
    pub pass: u32,
    /// `Receive`, `Rule`, `Route`, `Defer`, `Deliver`, `SendExternal`, `Fail`, `Expand`, `Drop`
    pub event: String,
    /// `Delivered`, `Failed`, `Pending`, `Expanded`, `GettingStatus`
    pub status: String,
    pub detail: String,
}

/// A message exactly as it crossed the wire between Exchange Online and a gateway.
#[derive(Clone, Debug)]
pub struct WireCopy {
    /// `to_gateway` (after the routing rule) or `from_gateway` (through an inbound connector of ours)
    pub leg: &'static str,
    pub at: i64,
    pub sender: String,
    pub recipients: Vec<String>,
    pub raw: Vec<u8>,
}

/// A fault at a door, taken `times` times.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// `graph`, `exchange`, `entra`, `activity`, `smtp_mail`, `smtp_rcpt`, `smtp_data`
    pub door: String,
    /// Applies where the request (path, cmdlet, or SMTP command and `peer=<ip>`) contains each of these words,
    /// separated by `&&`; empty = always.
    #[serde(default)]
    pub matching: String,
    /// HTTP status, `timeout` (no answer, or 504 after `delay_ms`), `concurrency` or `transient` (Exchange's own forms);
    /// at SMTP the whole reply line, or `drop`.
    pub answer: String,
    /// HTTP and `smtp_data`: the request is carried out and only then answered so.
    #[serde(default)]
    pub after: bool,
    #[serde(default)]
    pub retry_after_secs: Option<u64>,
    #[serde(default)]
    pub delay_ms: u64,
    pub times: u32,
}

impl State {
    /// Takes one use of a matching fault, if there is one.
    pub fn take_fault(&mut self, door: &str, request: &str) -> Option<Fault> {
        let fault = self.faults.iter_mut().find(|f| {
            f.times > 0 && f.door == door && f.matching.split("&&").all(|word| request.contains(word.trim()))
        })?;
        fault.times -= 1;
        Some(fault.clone())
    }
}
