//! One pass of a message through a tenant (transport.md S18–S44, S54–S62): ingress, authentication, rules, forks.

use super::rules::{self, Outcome, Subject};
use super::{Transport, auth, connectors, egress, fields, limits, smtp_server};
use crate::mailbox::{Item, Mime, folders};
use crate::world::{State, StoredMessage, Tenant, TraceEntry, WireCopy};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Clone, Debug, Default)]
pub struct Recipient {
    pub address: String,
    pub notify: Option<String>,
    pub orcpt: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// Empty for the null sender.
    pub from: String,
    pub recipients: Vec<Recipient>,
    pub body: Option<String>,
    pub smtputf8: bool,
    pub ret: Option<String>,
    pub envid: Option<String>,
}

/// A message as a door took it.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub tenant: Uuid,
    pub envelope: Envelope,
    pub raw: Vec<u8>,
    pub ip: IpAddr,
    pub helo: String,
    /// The inbound connector that matched: Originating.
    pub connector: Option<String>,
    /// From a mailbox of the tenant.
    pub submitted: bool,
}

/// What is known of a message during its pass.
#[derive(Clone, Debug)]
pub struct Passing {
    pub tenant: Uuid,
    pub tenant_domain: String,
    /// Seconds since 1970; its life in the queue counts from here.
    pub arrived: i64,
    pub envelope: Envelope,
    pub raw: Vec<u8>,
    pub ip: IpAddr,
    /// The address that SPF is judged by: another one only with enhanced filtering (S24).
    pub source: IpAddr,
    pub helo: String,
    pub originating: bool,
    /// From a mailbox of the tenant.
    pub internal: bool,
    /// A trusted connector vouches for it being internal (S21).
    pub promoted: bool,
    pub pass: u32,
    pub message_id: String,
    pub network_id: Uuid,
    pub subject: String,
    pub scl: i64,
}

/// The whole pass on one screen.
pub async fn pass(transport: &Transport, arrived: Arrived) {
    if arrived.connector.is_some() && transport.world().state().switches.lose_returned {
        return;
    }
    let mut message = receive(transport, arrived);
    if let Some(looping) = is_loop(transport, &message) {
        return egress::bounce(transport, &message, &message.envelope.recipients.clone(), &looping);
    }
    expand_groups(transport, &mut message);
    categorise(transport, &message);
}

/// What the rules say now, for each recipient. A message that waited long comes here again (S52, Q56).
pub fn categorise(transport: &Transport, message: &Passing) {
    for (recipients, outcome) in forks(transport, message) {
        let fork = forked(transport, message, recipients, &outcome);
        if outcome.delete || outcome.quarantine {
            remove(transport, &fork, &outcome);
        } else if let Some(reason) = &outcome.reject {
            egress::bounce(transport, &fork, &fork.envelope.recipients.clone(), reason);
        } else if let Some(connector) = &outcome.route {
            egress::route(transport, fork, connector.clone());
        } else {
            deliver(transport, fork);
        }
    }
}

/// Ingress: what came in is renamed and stripped, what this pass found is stamped (S18–S26).
fn receive(transport: &Transport, a: Arrived) -> Passing {
    let world = transport.world();
    let network_id = Uuid::new_v4();
    let originating = a.submitted || a.connector.is_some();
    let (tenant_domain, wishes, record) = {
        let state = world.state();
        let t = state.tenants.iter().find(|t| t.id == a.tenant);
        let from = fields::get(&a.raw, "From")
            .and_then(|v| fields::address_in(&v))
            .map(|f| fields::domain_of(&f))
            .unwrap_or_default();
        let domain = t
            .map(|t| if t.accepted_domain(&from).is_some() { from } else { t.initial_domain.clone() })
            .unwrap_or_default();
        let wishes = t.map(|t| connectors::wishes(t, &a, state.switches.promote_outside));
        (domain, wishes.unwrap_or(connectors::Wishes { promote: false, skipped: None }), state.switches.record_wire)
    };
    if record && a.connector.is_some() {
        let copy = WireCopy {
            leg: "from_gateway",
            at: world.clock.unix(),
            sender: a.envelope.from.clone(),
            recipients: a.envelope.recipients.iter().map(|r| r.address.clone()).collect(),
            raw: a.raw.clone(),
        };
        world.state().wire.push(copy);
    }
    let message_id =
        fields::get(&a.raw, "Message-ID").unwrap_or_else(|| format!("<{}@{}>", Uuid::new_v4(), smtp_server::HOST));
    let stripped = connectors::ingress(&a.raw, wishes.promote);
    let promoted = fields::get(&stripped, "X-MS-Exchange-Organization-AuthAs").is_some_and(|v| v == "Internal");
    let mut top = Vec::new();
    if fields::get(&a.raw, "Message-ID").is_none() {
        top.push(("Message-ID".to_owned(), message_id.clone()));
    }
    let pass = {
        let state = world.state();
        1 + state
            .trace
            .iter()
            .filter(|e| e.tenant == Some(a.tenant) && e.event == "Receive" && e.message_id == message_id)
            .map(|e| e.network_message_id.clone())
            .collect::<BTreeSet<_>>()
            .len() as u32
    };
    if let Some((before, covered)) = wishes.skipped {
        let listed = format!("ip=[{before}];domain={}", a.helo);
        top.push(("X-MS-Exchange-SkipListedInternetSender".to_owned(), listed.clone()));
        if covered {
            top.push(("X-MS-Exchange-ExternalOriginalInternetSender".to_owned(), listed));
        }
    }
    let subject = fields::get(&stripped, "Subject").unwrap_or_default();
    let raw = fields::prepend(&stripped, &top);
    let mut message = Passing {
        tenant: a.tenant,
        tenant_domain,
        arrived: world.clock.unix(),
        envelope: a.envelope,
        raw,
        ip: a.ip,
        source: wishes.skipped.filter(|(_, covered)| *covered).map_or(a.ip, |(before, _)| before),
        helo: a.helo.clone(),
        originating,
        internal: a.submitted,
        promoted,
        pass,
        message_id,
        network_id,
        subject,
        scl: if a.submitted { -1 } else { 1 },
    };
    message.raw = fields::prepend(&message.raw, &stamps(transport, &message, &a.helo, a.connector.as_deref()));
    trace(
        transport,
        &message,
        "Receive",
        "GettingStatus",
        a.connector.as_deref().map_or(String::new(), |c| format!("by connector {c}")),
        None,
    );
    message
}

fn stamps(transport: &Transport, m: &Passing, helo: &str, connector: Option<&str>) -> Vec<(String, String)> {
    let at = transport.world().clock.now().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
    let id = m.network_id.to_string();
    let mut out: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: String| out.push((name.to_owned(), value));
    add(
        "Received",
        format!(
            "from SIM01FT001.eop-eurprd01.prod.protection.outlook.com (2603:10a6::1) by SIM01MB0001.eurprd01.prod.outlook.com (2603:10a6::2) with Microsoft SMTP Server (version=TLS1_3, cipher=TLS_AES_256_GCM_SHA384) id 15.20.9000.1; {at}"
        ),
    );
    if m.internal {
        add("X-MS-Exchange-Organization-AuthAs", "Internal".into());
        add("X-MS-Exchange-Organization-AuthMechanism", "04".into());
        add("X-MS-Exchange-SenderADCheck", "1".into());
        add("X-MS-Exchange-AntiSpam-Relay", "0".into());
    } else {
        add(
            "Received",
            format!(
                "from {helo} ({}) by {} ({}) with Microsoft SMTP Server id 15.20.9000.1; {at}",
                m.ip,
                smtp_server::HOST,
                transport.mx_address().ip()
            ),
        );
        add("X-MS-Exchange-Organization-AuthAs", "Anonymous".into());
        add("X-EOPAttributedMessage", if connector.is_some() { "1" } else { "0" }.into());
        if connector.is_none() {
            add("X-EOPTenantAttributedMessage", format!("{}:0", m.tenant));
        }
    }
    let direction = if m.originating { "Originating" } else { "Incoming" };
    add("X-MS-Exchange-Organization-MessageDirectionality", direction.into());
    add("X-MS-Exchange-Organization-AuthSource", "SIM01MB0001.eurprd01.prod.outlook.com".into());
    add("X-MS-Exchange-Organization-Network-Message-Id", id.clone());
    add("X-MS-Exchange-Organization-ExpirationInterval", "1:00:00:00.0000000".into());
    add("X-MS-Office365-Filtering-Correlation-Id", id);
    add("X-MS-PublicTrafficType", "Email".into());
    // what a connector promoted stands
    out.retain(|(n, _)| !n.starts_with("X-MS-Exchange-Organization-Auth") || fields::get(&m.raw, n).is_none());
    out
}

/// S54: too many passes through the route connector, or too many Received fields.
fn is_loop(transport: &Transport, m: &Passing) -> Option<String> {
    let state = transport.world().state();
    let hops = fields::all(&m.raw).iter().filter(|(n, _)| n.eq_ignore_ascii_case("Received")).count();
    let routed = state
        .trace
        .iter()
        .filter(|e| e.tenant == Some(m.tenant) && e.event == "Route" && e.message_id == m.message_id)
        .count();
    let looping = hops > state.switches.hop_count_max as usize || routed >= state.switches.route_passes_max as usize;
    looping.then(|| format!("554 5.4.14 Hop count exceeded - possible mail loop ATTR34 [{}]", smtp_server::HOST))
}

/// S57: groups become their members before anything is routed.
fn expand_groups(transport: &Transport, m: &mut Passing) {
    let state = transport.world().state();
    let Some(t) = state.tenants.iter().find(|t| t.id == m.tenant) else { return };
    let (mut out, mut seen) = (Vec::new(), BTreeSet::new());
    for recipient in &m.envelope.recipients {
        match t.group_by_address(&recipient.address) {
            None => {
                if seen.insert(recipient.address.to_lowercase()) {
                    out.push(recipient.clone());
                }
            }
            Some(group) => {
                for address in members(t, &group.members, 0) {
                    if seen.insert(address.clone()) {
                        // a group does not report to the sender (F3.21)
                        out.push(Recipient { address, notify: Some("NEVER".into()), orcpt: None });
                    }
                }
            }
        }
    }
    drop(state);
    m.envelope.recipients = out;
}

fn members(t: &Tenant, ids: &[Uuid], depth: usize) -> Vec<String> {
    if depth > limits::GROUP_DEPTH_MAX {
        return Vec::new();
    }
    let one = |id: &Uuid| match t.users.by_id(*id) {
        Some(user) => user.addresses.first().cloned().filter(|_| !user.mailbox_type.is_empty()).into_iter().collect(),
        None => t.groups.by_id(*id).map(|g| members(t, &g.members, depth + 1)).unwrap_or_default(),
    };
    ids.iter().flat_map(one).collect()
}

/// Recipients that share an outcome travel together; inside and outside never do (S33, S34).
fn forks(transport: &Transport, m: &Passing) -> Vec<(Vec<Recipient>, Outcome)> {
    let state = transport.world().state();
    let Some(t) = state.tenants.iter().find(|t| t.id == m.tenant) else { return Vec::new() };
    let mut forks: Vec<(bool, Vec<Recipient>, Outcome)> = Vec::new();
    let skip = m.envelope.from.is_empty() && !state.switches.rules_see_null_sender;
    for recipient in &m.envelope.recipients {
        let internal = t.accepted_domain(&fields::domain_of(&recipient.address)).is_some();
        let subject = Subject {
            tenant: t,
            raw: &m.raw,
            envelope_from: &m.envelope.from,
            recipient: &recipient.address,
            recipient_internal: internal,
            authenticated: m.originating,
            internal: m.internal || m.promoted,
            ip: m.ip,
            scl: m.scl,
            now: transport.world().clock.unix(),
            switches: &state.switches,
        };
        let outcome = if skip { Outcome::default() } else { rules::run(&subject) };
        match forks.iter_mut().find(|(i, _, o)| *i == internal && *o == outcome) {
            Some((_, list, _)) => list.push(recipient.clone()),
            None => forks.push((internal, vec![recipient.clone()], outcome)),
        }
    }
    forks.into_iter().map(|(_, recipients, outcome)| (recipients, outcome)).collect()
}

fn forked(transport: &Transport, m: &Passing, recipients: Vec<Recipient>, outcome: &Outcome) -> Passing {
    let mut fork = m.clone();
    let split = recipients.len() < m.envelope.recipients.len();
    fork.envelope.recipients = recipients;
    fork.raw = rules::apply_headers(&fork.raw, &outcome.headers);
    if let Some(prefix) = &outcome.subject_prefix {
        let subject = format!("{prefix}{}", m.subject);
        fork.raw = fields::set(&fork.raw, "Subject", &subject);
    }
    fork.scl = outcome.scl.unwrap_or(fork.scl);
    if split && transport.world().state().switches.stamp_forked {
        fork.raw = fields::prepend(&fork.raw, &[("X-MS-Exchange-Transport-Forked".into(), "True".into())]);
    }
    if !outcome.matched.is_empty() {
        trace(transport, &fork, "Rule", "GettingStatus", outcome.matched.join(", "), None);
    }
    fork
}

fn remove(transport: &Transport, m: &Passing, outcome: &Outcome) {
    if outcome.quarantine {
        let mut state = transport.world().state();
        let at = transport.world().clock.unix();
        if let Some(t) = state.tenants.iter_mut().find(|t| t.id == m.tenant) {
            let mime = Mime::new(m.raw.clone());
            t.quarantine.extend(m.envelope.recipients.iter().map(|r| stored(m, &r.address, at, &mime)));
        }
    }
    trace(
        transport,
        m,
        "Drop",
        if outcome.quarantine { "Quarantined" } else { "FilteredAsSpam" },
        "by a rule".into(),
        None,
    );
}

fn stored(m: &Passing, recipient: &str, at: i64, mime: &Arc<Mime>) -> StoredMessage {
    StoredMessage {
        id: Uuid::new_v4().simple().to_string(),
        received: at,
        sender: m.envelope.from.clone(),
        recipient: recipient.to_owned(),
        message_id: m.message_id.clone(),
        mime: mime.clone(),
    }
}

/// Mailboxes of this tenant here, everybody else through the Internet.
fn deliver(transport: &Transport, m: Passing) {
    let (inside, outside): (Vec<_>, Vec<_>) = {
        let state = transport.world().state();
        let t = state.tenants.iter().find(|t| t.id == m.tenant);
        m.envelope
            .recipients
            .iter()
            .cloned()
            .partition(|r| t.is_some_and(|t| t.accepted_domain(&fields::domain_of(&r.address)).is_some()))
    };
    if !outside.is_empty() {
        let mut fork = m.clone();
        fork.envelope.recipients = outside;
        egress::to_internet(transport, fork);
    }
    if !inside.is_empty() {
        let (transport, busy) = (transport.clone(), transport.busy());
        tokio::spawn(async move {
            let mut fork = m;
            fork.envelope.recipients = inside;
            final_stamps(&transport, &mut fork).await;
            into_mailboxes(&transport, &fork);
            drop(busy);
        });
    }
}

/// What authentication and filtering found in this pass, stamped before delivery or departure.
pub async fn final_stamps(transport: &Transport, m: &mut Passing) {
    let direction = if m.originating { "OUT" } else { "INB" };
    let mut top: Vec<(String, String)> = Vec::new();
    if m.internal {
        let from = m.tenant_domain.clone();
        top.push((
            "Authentication-Results".into(),
            format!("dkim=none (message not signed) header.d=none;dmarc=none action=none header.from={from};"),
        ));
        top.push(("X-Forefront-Antispam-Report".into(), format!("CIP:255.255.255.255;CTRY:;LANG:en;SCL:1;SRV:;IPV:NLI;SFV:NSPM;H:SIM01MB0001.eurprd01.prod.outlook.com;PTR:;CAT:NONE;SFS:(13230040);DIR:{direction};SFP:1101;")));
    } else {
        let sealers = transport
            .world()
            .state()
            .tenants
            .iter()
            .find(|t| t.id == m.tenant)
            .map(|t| t.arc_trusted_sealers.clone())
            .unwrap_or_default();
        // judged as it came: our own stamps are no part of what was signed
        let results = transport.inner.auth.judge(&m.raw, m.source, &m.helo, &m.envelope.from, &sealers).await;
        top.push(("Authentication-Results".into(), results.line));
        top.push((
            "Received-SPF".into(),
            format!(
                "{} (protection.outlook.com: domain of {}) receiver=protection.outlook.com; client-ip={}; helo={};",
                results.spf,
                fields::domain_of(&m.envelope.from),
                m.source,
                m.helo
            ),
        ));
        top.push((
            "X-Forefront-Antispam-Report".into(),
            format!(
                "CIP:{};CTRY:;LANG:en;SCL:{};SRV:;IPV:NLI;SFV:{};H:;PTR:;CAT:NONE;SFS:(13230040);DIR:{direction};SFP:;",
                m.ip,
                m.scl,
                if m.scl == -1 { "SKN" } else { "NSPM" }
            ),
        ));
    }
    top.push(("X-Microsoft-Antispam".into(), "BCL:0;ARA:13230040;".into()));
    top.push(("X-Microsoft-Antispam-Message-Info".into(), auth::blob(&m.raw)));
    m.raw = fields::prepend(&m.raw, &top);
}

fn into_mailboxes(transport: &Transport, m: &Passing) {
    let at = transport.world().clock.unix();
    let mime = Mime::new(m.raw.clone());
    for recipient in &m.envelope.recipients {
        let mut state = transport.world().state();
        let drop_duplicates = state.switches.drop_duplicates;
        let delivered = state
            .tenants
            .iter_mut()
            .find(|t| t.id == m.tenant)
            .and_then(|t| put(t, m, &recipient.address, at, &mime, drop_duplicates));
        drop(state);
        match delivered {
            Some(true) => trace(transport, m, "Deliver", "Delivered", String::new(), Some(&recipient.address)),
            Some(false) => {
                trace(transport, m, "Drop", "Delivered", "DUPLICATEDELIVER".into(), Some(&recipient.address))
            }
            None => egress::bounce(
                transport,
                m,
                std::slice::from_ref(recipient),
                &format!(
                    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient {} not found by SMTP address lookup",
                    recipient.address
                ),
            ),
        }
    }
}

/// `Some(false)`: dropped as a duplicate (S62); `None`: nobody of that name.
fn put(t: &mut Tenant, m: &Passing, address: &str, at: i64, mime: &Arc<Mime>, drop_duplicates: bool) -> Option<bool> {
    const WINDOW_SECS: i64 = 7 * 86_400;
    let mailbox = t.mailbox_mut(address)?;
    let again = |i: &Item| i.folder != folders::SENT && i.message.received > at - WINDOW_SECS;
    if drop_duplicates && mailbox.with_message_id(&m.message_id).any(again) {
        return Some(false);
    }
    mailbox.deliver(stored(m, address, at, mime), m.scl >= 5, at);
    Some(true)
}

/// Puts a system message straight into a mailbox, of this world's tenants or of outside.
pub fn hand_over(state: &mut State, recipient: &str, message: StoredMessage) -> bool {
    for t in &mut state.tenants {
        if let Some(mailbox) = t.mailbox_mut(recipient) {
            let at = message.received;
            mailbox.deliver(message, false, at);
            return true;
        }
    }
    let domain = fields::domain_of(recipient);
    match state.external.iter_mut().find(|e| e.name == domain) {
        Some(external) => {
            external.mailboxes.entry(recipient.to_lowercase()).or_default().push(message);
            true
        }
        None => false,
    }
}

pub fn trace(transport: &Transport, m: &Passing, event: &str, status: &str, detail: String, only: Option<&str>) {
    let world = transport.world();
    let recipients = m.envelope.recipients.iter().map(|r| r.address.as_str()).filter(|r| only.is_none_or(|o| o == *r));
    let entries: Vec<TraceEntry> = recipients
        .map(|recipient| TraceEntry {
            tenant: Some(m.tenant),
            at: world.clock.unix(),
            message_id: m.message_id.clone(),
            network_message_id: m.network_id.to_string(),
            sender: m.envelope.from.clone(),
            recipient: recipient.to_owned(),
            subject: m.subject.clone(),
            size: m.raw.len(),
            from_ip: m.ip.to_string(),
            pass: m.pass,
            event: event.into(),
            status: status.into(),
            detail: detail.clone(),
        })
        .collect();
    world.state().trace.extend(entries);
}
