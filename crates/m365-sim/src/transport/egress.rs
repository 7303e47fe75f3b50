//! What leaves: through a rule's connector, or to the Internet; tried again, expired, bounced
//! (transport.md S45–S53).

use super::pipeline::{Passing, Recipient, categorise, final_stamps, hand_over, trace};
use super::smtp_client::{self, Target, Tls};
use super::{QueueEntry, Transport, connectors, fields, limits, smtp_server};
use crate::mailbox::Mime;
use crate::world::{StoredMessage, WireCopy};
use serde_json::{Map, Value};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const EHLO_NAME: &str = "EUR01-SIM-obe.outbound.protection.outlook.com";

/// Where a message goes next.
#[derive(Clone, Debug)]
enum Way {
    Connector(String),
    Internet(String),
}

/// Through a rule-scoped connector.
pub fn route(transport: &Transport, mut m: Passing, connector: String) {
    trace(transport, &m, "Route", "Pending", format!("to connector {connector}"), None);
    let (transport, busy) = (transport.clone(), transport.busy());
    tokio::spawn(async move {
        let keep = transport.world().state().tenants.iter().find(|t| t.id == m.tenant).is_some_and(|t| {
            let named = |c: &&Map<String, Value>| c.get("Name").and_then(Value::as_str) == Some(&connector);
            t.outbound_connectors
                .iter()
                .find(named)
                .is_some_and(|c| c.get("CloudServicesMailEnabled") == Some(&true.into()))
        });
        let before = m.clone();
        depart(&transport, &mut m, keep).await;
        let chip = transport.world().state().switches.chip_recipients_max.max(1);
        for recipients in m.envelope.recipients.chunks(chip) {
            let mut part = m.clone();
            part.envelope.recipients = recipients.to_vec();
            spawn_sending(&transport, part, Way::Connector(connector.clone()), Some(before.clone()));
        }
        drop(busy);
    });
}

/// To whoever the MX of the recipient's domain names; domains of the simulated outside world have their mailboxes here.
pub fn to_internet(transport: &Transport, mut m: Passing) {
    let (transport, busy) = (transport.clone(), transport.busy());
    tokio::spawn(async move {
        depart(&transport, &mut m, false).await;
        let mut domains: Vec<String> = m.envelope.recipients.iter().map(|r| fields::domain_of(&r.address)).collect();
        domains.sort();
        domains.dedup();
        for domain in domains {
            let mut part = m.clone();
            part.envelope.recipients.retain(|r| fields::domain_of(&r.address) == domain);
            let here = transport.world().state().external.iter().any(|e| e.name == domain);
            if here {
                outside_mailboxes(&transport, &part)
            } else {
                spawn_sending(&transport, part, Way::Internet(domain), None)
            }
        }
        drop(busy);
    });
}

fn outside_mailboxes(transport: &Transport, m: &Passing) {
    let at = transport.world().clock.unix();
    let mime = Mime::new(m.raw.clone());
    for recipient in &m.envelope.recipients {
        let message = StoredMessage {
            id: Uuid::new_v4().simple().to_string(),
            received: at,
            sender: m.envelope.from.clone(),
            recipient: recipient.address.clone(),
            message_id: m.message_id.clone(),
            mime: mime.clone(),
        };
        hand_over(&mut transport.world().state(), &recipient.address, message);
        trace(transport, m, "SendExternal", "Delivered", String::new(), Some(&recipient.address));
    }
}

/// Stamps of departure (S47): results, cross-tenant headers, DKIM, ARC; Organization headers stay behind
/// unless the connector keeps them (S48).
async fn depart(transport: &Transport, m: &mut Passing, keep: bool) {
    final_stamps(transport, m).await;
    m.raw = connectors::egress(&m.raw, keep);
    let at = transport.world().clock.now().strftime("%d %b %Y %H:%M:%S.0000 (UTC)").to_string();
    let mut top: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: String| top.push((name.to_owned(), value));
    if m.originating {
        add("X-OriginatorOrg", m.tenant_domain.clone());
    }
    add("X-MS-Exchange-CrossTenant-Network-Message-Id", m.network_id.to_string());
    add("X-MS-Exchange-CrossTenant-AuthSource", "SIM01MB0001.eurprd01.prod.outlook.com".into());
    add("X-MS-Exchange-CrossTenant-AuthAs", if m.internal || m.promoted { "Internal" } else { "Anonymous" }.into());
    add("X-MS-Exchange-CrossTenant-OriginalArrivalTime", at);
    add(
        "X-MS-Exchange-CrossTenant-FromEntityHeader",
        if m.internal {
            "Hosted"
        } else if m.originating {
            "HybridOnPrem"
        } else {
            "Internet"
        }
        .into(),
    );
    add("X-MS-Exchange-CrossTenant-Id", m.tenant.to_string());
    if m.originating && !m.internal {
        let by = format!("TenantId={};Ip=[{}];Helo=[{}]", m.tenant, m.ip, m.helo);
        add("X-MS-Exchange-CrossTenant-OriginalAttributedTenantConnectingIp", by);
    }
    add("X-MS-Exchange-Transport-CrossTenantHeadersStamped", "SIM01MB0001".into());
    m.raw = fields::prepend(&m.raw, &top);
    if m.originating {
        let domain = m.tenant_domain.clone();
        if let Some(signature) = transport.inner.auth.sign(&m.raw, &domain, "selector1") {
            m.raw = [signature, std::mem::take(&mut m.raw)].concat();
        }
    }
    if let Some(set) = transport.inner.auth.seal(&m.raw, &fields::domain_of(&m.envelope.from)).await {
        m.raw = [set, std::mem::take(&mut m.raw)].concat();
    }
}

/// `before` is the message as it was before its departure, for when it is categorised again.
fn spawn_sending(transport: &Transport, m: Passing, way: Way, before: Option<Passing>) {
    let transport = transport.clone();
    let busy = transport.busy();
    tokio::spawn(async move {
        let mut busy = Some(busy);
        keep_trying(&transport, m, way, before, &mut busy).await;
    });
}

/// Attempts until every recipient is settled, the message expires, or it is categorised again (S52, Q56); while it
/// waits it counts as resting.
async fn keep_trying(
    transport: &Transport,
    mut m: Passing,
    way: Way,
    before: Option<Passing>,
    busy: &mut Option<super::Busy>,
) {
    let clock = transport.world().clock.clone();
    let id = Uuid::new_v4();
    let (expires, again) = {
        let switches = &transport.world().state().switches;
        let again = clock.unix() + switches.resubmit_hours * 3600;
        (
            m.arrived + switches.message_expiration_hours * 3600,
            before.filter(|_| switches.resubmit_hours > 0).map(|b| (b, again)),
        )
    };
    for attempt in 0.. {
        let mut retry = transport.inner.retry.subscribe();
        let why = attempt_once(transport, &mut m, &way).await;
        if m.envelope.recipients.is_empty() {
            break;
        }
        if clock.unix() >= expires {
            bounce(transport, &m, &m.envelope.recipients.clone(), "550 4.4.7 QUEUE.Expired; message expired");
            break;
        }
        let minutes = transport.world().state().switches.retry_minutes.clone();
        let wait = minutes.get(attempt).or(minutes.last()).copied().unwrap_or(15) * 60;
        if let Some((before, _)) = again.as_ref().filter(|(_, at)| clock.unix() >= *at) {
            let mut message = before.clone();
            message.envelope.recipients.clone_from(&m.envelope.recipients);
            trace(transport, &message, "Resubmit", "GettingStatus", "rules are asked again".into(), None);
            return categorise(transport, &message);
        }
        let next = (clock.unix() + wait).min(expires).min(again.as_ref().map_or(i64::MAX, |(_, at)| *at));
        trace(transport, &m, "Defer", "Pending", why.clone(), None);
        let entry = QueueEntry {
            id,
            tenant: m.tenant,
            message_id: m.message_id.clone(),
            sender: m.envelope.from.clone(),
            recipients: m.envelope.recipients.iter().map(|r| r.address.clone()).collect(),
            next_host: format!("{way:?}"),
            attempts: attempt + 1,
            next_retry: next,
            expires,
            last_error: why,
        };
        transport.inner.queue.send_modify(|queue| queue.push(entry));
        drop(busy.take());
        let at = jiff::Timestamp::from_second(next).unwrap_or(jiff::Timestamp::MAX);
        tokio::select! {
            () = clock.until(at) => {}
            _ = retry.changed() => {}
        }
        *busy = Some(transport.busy());
        transport.inner.queue.send_modify(|queue| queue.retain(|e| e.id != id));
    }
}

/// One attempt; settled recipients are taken off the message. Returns why the others wait.
async fn attempt_once(transport: &Transport, m: &mut Passing, way: &Way) -> String {
    let target = match way {
        Way::Connector(name) => connector_target(transport, m.tenant, name).await,
        Way::Internet(domain) => internet_target(transport, domain).await,
    };
    let target = match target {
        Ok(target) => target,
        Err(Failure::ForNow(why)) => return why,
        Err(Failure::ForGood(why)) => {
            let recipients = std::mem::take(&mut m.envelope.recipients);
            bounce(transport, m, &recipients, &why);
            return why;
        }
    };
    let Ok(_permit) = transport.inner.outgoing.acquire().await else { return "451 4.3.2 shutting down".into() };
    let record = matches!(way, Way::Connector(_)) && transport.world().state().switches.record_wire;
    let said = match smtp_client::send(&target, &m.envelope, &m.raw).await {
        Ok(said) => said,
        Err(why) => return why,
    };
    if record && said.data.as_deref().is_some_and(|d| d.starts_with('2')) {
        let copy = WireCopy {
            leg: "to_gateway",
            at: transport.world().clock.unix(),
            sender: m.envelope.from.clone(),
            recipients: m.envelope.recipients.iter().map(|r| r.address.clone()).collect(),
            raw: m.raw.clone(),
        };
        transport.world().state().wire.push(copy);
    }
    settle(transport, m, &said)
}

/// S50: each recipient by its own answer.
fn settle(transport: &Transport, m: &mut Passing, said: &smtp_client::Said) -> String {
    let recipients = std::mem::take(&mut m.envelope.recipients);
    let (mut waiting, mut refused, mut why) = (Vec::new(), Vec::new(), String::new());
    for (recipient, reply) in recipients.into_iter().zip(&said.recipients) {
        let answer = if reply.starts_with('2') {
            said.data.clone().unwrap_or_else(|| "450 4.4.318 no answer".into())
        } else {
            reply.clone()
        };
        match answer.as_bytes().first() {
            Some(b'2') => trace_one(transport, m, &recipient, &answer),
            Some(b'5') => refused.push((recipient, answer)),
            _ => {
                why = answer;
                waiting.push(recipient);
            }
        }
    }
    for (recipient, answer) in refused {
        bounce(transport, m, std::slice::from_ref(&recipient), &answer);
    }
    m.envelope.recipients = waiting;
    why
}

fn trace_one(transport: &Transport, m: &Passing, recipient: &Recipient, answer: &str) {
    let mut one = m.clone();
    one.raw = Vec::new();
    one.envelope.recipients = vec![recipient.clone()];
    trace(transport, &one, "SendExternal", "Delivered", answer.to_owned(), None);
}

enum Failure {
    ForNow(String),
    ForGood(String),
}

async fn connector_target(transport: &Transport, tenant: Uuid, name: &str) -> Result<Target, Failure> {
    let (connector, source, use_bdat, secs) = {
        let state = transport.world().state();
        let found = state
            .tenants
            .iter()
            .find(|t| t.id == tenant)
            .and_then(|t| {
                t.outbound_connectors.iter().find(|c| {
                    ["Name", "Guid"]
                        .iter()
                        .any(|k| c.get(*k).and_then(Value::as_str).is_some_and(|v| v.eq_ignore_ascii_case(name)))
                })
            })
            .cloned();
        let yes = |c: &Map<String, Value>, key: &str| c.get(key) == Some(&true.into());
        let usable = found.filter(|c| yes(c, "Enabled") && yes(c, "IsTransportRuleScoped"));
        // Q21
        let Some(connector) = usable else {
            let why = format!("450 4.4.318 the rule's connector '{name}' is missing, disabled or not scoped to rules");
            return Err(if state.switches.bad_route_connector == "ndr" {
                Failure::ForGood(why.replacen("450 4.", "550 5.", 1))
            } else {
                Failure::ForNow(why)
            });
        };
        (
            connector,
            state.switches.egress_address.parse::<IpAddr>().ok(),
            state.switches.use_bdat,
            state.switches.end_of_data_timeout_secs,
        )
    };
    let host = connector
        .get("SmartHosts")
        .and_then(Value::as_array)
        .and_then(|h| h.first())
        .and_then(Value::as_str)
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let address = resolve(transport, &host)
        .await
        .ok_or_else(|| Failure::ForNow(format!("450 4.4.312 DNS query failed [LastAttemptedServerName={host}]")))?;
    let text = |key: &str| connector.get(key).and_then(Value::as_str).map(str::to_owned);
    let issued = transport.world().pki.exo_client();
    let client = Some((issued.chain.clone(), Arc::new(issued.key.clone_key())));
    let roots = transport.world().pki.roots();
    let tls = match text("TlsSettings").as_deref() {
        None => Tls::Opportunistic,
        Some("EncryptionOnly") => Tls::Required { roots, verify_chain: false, name: None, client },
        Some("CertificateValidation") => Tls::Required { roots, verify_chain: true, name: None, client },
        Some(_) => Tls::Required { roots, verify_chain: true, name: text("TlsDomain"), client },
    };
    Ok(Target {
        address,
        host,
        source,
        appears_as: None,
        helo: EHLO_NAME.into(),
        tls,
        use_bdat,
        end_of_data: Duration::from_secs(secs),
    })
}

async fn internet_target(transport: &Transport, domain: &str) -> Result<Target, Failure> {
    let mut hosts: Vec<String> =
        crate::dns::mx(&transport.inner.resolver, &format!("{domain}.")).await.into_iter().map(|(_, h)| h).collect();
    if hosts.is_empty() {
        hosts.push(domain.to_owned());
    }
    for host in &hosts {
        if let Some(address) = resolve(transport, host).await {
            let (source, use_bdat) = {
                let state = transport.world().state();
                (state.switches.egress_address.parse().ok(), state.switches.use_bdat)
            };
            return Ok(Target {
                address,
                host: host.clone(),
                source,
                appears_as: None,
                helo: EHLO_NAME.into(),
                tls: Tls::Opportunistic,
                use_bdat,
                end_of_data: limits::COMMAND,
            });
        }
    }
    Err(Failure::ForGood(format!("550 5.4.310 DNS domain {domain} does not exist [Message=InfoDomainNonexistent]")))
}

/// Address by DNS, port by the world's map (25 without an entry).
async fn resolve(transport: &Transport, host: &str) -> Option<SocketAddr> {
    let port = {
        let state = transport.world().state();
        state.smtp_ports.get(&host.to_lowercase()).or(state.smtp_ports.get("*")).copied().unwrap_or(25)
    };
    let ip = match host.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) => IpAddr::V4(
            *crate::dns::a(&transport.inner.resolver, &format!("{}.", host.trim_end_matches('.'))).await.first()?,
        ),
    };
    Some(SocketAddr::new(ip, port))
}

/// S49, S53: a non-delivery report with a null sender, straight into the sender's mailbox, past every rule.
pub fn bounce(transport: &Transport, m: &Passing, recipients: &[Recipient], reason: &str) {
    let mut failed = m.clone();
    failed.raw = Vec::new();
    failed.envelope.recipients = recipients.to_vec();
    trace(transport, &failed, "Fail", "Failed", reason.to_owned(), None);
    let told: Vec<&Recipient> =
        recipients.iter().filter(|r| !r.notify.as_deref().is_some_and(|n| n.eq_ignore_ascii_case("NEVER"))).collect();
    if m.envelope.from.is_empty() || told.is_empty() {
        return;
    }
    let status = reason.split(' ').nth(1).filter(|s| s.contains('.')).unwrap_or("5.0.0");
    let names: String = told.iter().map(|r| format!("\r\nFinal-Recipient: rfc822;{}\r\nAction: failed\r\nStatus: {status}\r\nDiagnostic-Code: smtp;{reason}\r\n", r.address)).collect();
    let list: Vec<_> = told.iter().map(|r| r.address.clone()).collect();
    let (id, boundary) = (format!("<{}@{}>", Uuid::new_v4(), smtp_server::HOST), Uuid::new_v4().simple());
    let at = transport.world().clock.now().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
    let headers = super::fields::ranges(&m.raw).last().map_or(0, |r| r.end);
    let raw = format!(
        "From: <postmaster@{}>\r\nTo: <{}>\r\nSubject: Undeliverable: {}\r\nDate: {at}\r\nMessage-ID: {id}\r\nIn-Reply-To: {}\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nYour message to {} couldn't be delivered.\r\n{reason}\r\n--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns;{}\r\n{names}\r\n--{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n{}\r\n--{boundary}--\r\n",
        m.tenant_domain,
        m.envelope.from,
        m.subject,
        m.message_id,
        list.join(", "),
        smtp_server::HOST,
        String::from_utf8_lossy(&m.raw[..headers])
    );
    let message = StoredMessage {
        id: Uuid::new_v4().simple().to_string(),
        received: transport.world().clock.unix(),
        sender: String::new(),
        recipient: m.envelope.from.clone(),
        message_id: id,
        mime: Mime::new(raw.into_bytes()),
    };
    hand_over(&mut transport.world().state(), &m.envelope.from, message);
}
