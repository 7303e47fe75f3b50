//! The round trip, proven by mail before everybody's mail takes it: one message from outside to a mailbox, one from
//! inside to the outside, each through Exchange, the gateway, and Exchange again.

use crate::certificate;
use crate::events::{Event, State, Step};
use crate::objects::accepted_domain::fresh_resolver;
use crate::work::Work;
use crate::{ControlError, Result, limits};
use jiff::Timestamp;
use m365::Identity;
use mail::Envelope;
use serde_json::{Value, json};
use smtp::{Connection, Target};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use store::{JourneyFilter, Outcome, Probe};
use tenant::{Direction, HEADER_PROBE, Tenant};

/// Tokens of the two probes of one proof.
pub(crate) struct Tokens {
    pub inbound: String,
    pub outbound: String,
}

/// Known to the store before any rule or message carries them.
pub(crate) async fn prepare(work: &Work<'_>, tenant: &Tenant) -> Result<Tokens> {
    let token = async |direction| -> Result<String> {
        let token = certificate::secret()?.expose()[..24].to_owned();
        work.store
            .put_probe(&Probe { token: token.clone(), tenant: tenant.id, direction, created: Timestamp::now() })
            .await?;
        Ok(token)
    };
    Ok(Tokens { inbound: token(Direction::Inbound).await?, outbound: token(Direction::Outbound).await? })
}

/// The receipt under which the probes' mailbox stands, so that they can go again without an administrator.
const RECIPIENT: &str = "probe recipient";

pub(crate) async fn prove(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &Tenant,
    tokens: &Tokens,
    directions: &[Direction],
) -> Result<()> {
    let recipient = recipient(work, app, tenant).await?;
    if directions.contains(&Direction::Inbound) {
        inbound(work, app, tenant, tokens, &recipient).await?;
    }
    if directions.contains(&Direction::Outbound) {
        outbound(work, tenant, tokens, recipient).await?;
    }
    Ok(())
}

async fn inbound(work: &mut Work<'_>, app: &Identity, tenant: &Tenant, tokens: &Tokens, recipient: &str) -> Result<()> {
    work.show(Event::new(Step::Probe, State::Doing, format!("a probe from outside to {recipient}")));
    let inbound = Outgoing {
        sender: format!("probe@{}", work.settings.zone),
        recipient: recipient.to_owned(),
        token: tokens.inbound.clone(),
        with_certificate: false,
    };
    let took = round_trip(work, tenant, &inbound, Direction::Inbound).await?;
    delivered(work, app, &inbound).await?;
    work.show(Event::new(
        Step::Probe,
        State::Done,
        format!("inbound: out to the gateway and back into the mailbox in {:.1} s", took.as_secs_f64()),
    ));
    Ok(())
}

async fn outbound(work: &mut Work<'_>, tenant: &Tenant, tokens: &Tokens, sender: String) -> Result<()> {
    let outbound = Outgoing {
        sender: sender.clone(),
        recipient: format!("probe-{}@{}", tokens.outbound, work.settings.zone),
        token: tokens.outbound.clone(),
        with_certificate: true,
    };
    work.show(Event::new(Step::Probe, State::Doing, format!("a probe from {sender} to the outside")));
    let took = round_trip(work, tenant, &outbound, Direction::Outbound).await?;
    arrived(work, &outbound).await?;
    work.show(Event::new(
        Step::Probe,
        State::Done,
        format!(
            "outbound: out to the gateway, back, and out into the Internet without our mark in {:.1} s",
            took.as_secs_f64()
        ),
    ));
    Ok(())
}

/// The mailbox that the administrator named, or her own; later the one of the time before.
async fn recipient(work: &Work<'_>, app: &Identity, tenant: &Tenant) -> Result<String> {
    let before = work.store.step(tenant.id, RECIPIENT).await?.and_then(|v| v.as_str().map(str::to_owned));
    let wanted = work.wish.probe_recipient.clone().or(before).unwrap_or_default().to_lowercase();
    let found = work.store.mailbox_at(app.tenant(), &wanted).await?;
    match found {
        Some(mailbox) if tenant.owns_address(&mailbox.address) => {
            work.store.put_step(tenant.id, RECIPIENT, &json!(mailbox.address)).await?;
            Ok(mailbox.address)
        }
        _ => Err(ControlError::Waits(format!(
            "{wanted} has no mailbox in this tenant; name one for the probe with --probe-recipient ADDRESS"
        ))),
    }
}

struct Outgoing {
    sender: String,
    recipient: String,
    token: String,
    /// Through our inbound connector, as the tenant; otherwise from outside, as anybody.
    with_certificate: bool,
}

/// Sends until one came back through the gateway: a rule may need half an hour to be in effect.
async fn round_trip(work: &mut Work<'_>, tenant: &Tenant, probe: &Outgoing, direction: Direction) -> Result<Duration> {
    let (began, mut told) = (Instant::now(), false);
    loop {
        send(work, tenant, probe).await?;
        let sent = Instant::now();
        while sent.elapsed() < limits::PROBE_AGAIN {
            if handed_back(work, tenant, probe, direction).await? {
                return Ok(sent.elapsed());
            }
            tokio::time::sleep(limits::LOOK_FIRST).await;
        }
        if began.elapsed() > limits::PROBE_PATIENCE {
            return Err(ControlError::Probe(format!(
                "{} mail does not make the round trip: {}. No mail is routed through Posthouse",
                direction.as_str(),
                where_it_stopped(work, probe).await
            )));
        }
        if !told {
            work.show(Event::new(Step::Probe, State::Waiting, format!("it has not come yet ({}); a new rule may need half an hour to be in effect, sending again from time to time", where_it_stopped(work, probe).await)));
            told = true;
        }
    }
}

async fn handed_back(work: &Work<'_>, tenant: &Tenant, probe: &Outgoing, direction: Direction) -> Result<bool> {
    let filter =
        JourneyFilter { tenant: Some(tenant.id), probe: Some(probe.token.clone()), ..JourneyFilter::default() };
    Ok(work
        .store
        .journeys(&filter)
        .await?
        .iter()
        .any(|j| j.outcome == Outcome::HandedBack && j.direction == Some(direction)))
}

/// The leg on which it was last seen, in words.
async fn where_it_stopped(work: &Work<'_>, probe: &Outgoing) -> String {
    let filter = JourneyFilter { probe: Some(probe.token.clone()), ..JourneyFilter::default() };
    let refused = work.store.journeys(&filter).await.unwrap_or_default().into_iter().next();
    if let Some(journey) = refused {
        return format!(
            "the gateway had it (journey {}) and said {}{}",
            journey.id,
            journey.reply,
            journey.returned.map(|r| format!("; Microsoft said {r}")).unwrap_or_default()
        );
    }
    match work
        .store
        .alerts()
        .await
        .unwrap_or_default()
        .into_iter()
        .find(|a| Timestamp::now().as_second() - a.last.as_second() < 300)
    {
        Some(alert) => format!("Exchange took it, and the gateway says: {}", alert.text),
        None => "Exchange took it, and it did not reach the gateway".into(),
    }
}

async fn send(work: &Work<'_>, tenant: &Tenant, probe: &Outgoing) -> Result<()> {
    let wrong = |why: String| ControlError::Probe(format!("{} does not take the probe: {why}", tenant.return_host));
    let identity =
        probe.with_certificate.then(|| (tenant.certificate.chain_pem.as_str(), tenant.certificate.key_pem.expose()));
    let tls = smtp::tls::client_config(work.settings.roots.clone(), identity).map_err(|e| wrong(e.to_string()))?;
    let found = fresh_resolver(work.settings.resolver)?
        .lookup_ip(format!("{}.", tenant.return_host))
        .await
        .map_err(|e| wrong(e.to_string()))?;
    let mut last = "it has no address".to_owned();
    for ip in found.iter() {
        let source = work.settings.egress_address.filter(|a| a.is_ipv4() == ip.is_ipv4());
        let target = Target {
            address: SocketAddr::new(ip, work.settings.return_port),
            server_name: tenant.return_host.clone(),
            helo: work.settings.gateway_hostname.clone(),
            source,
            tls: tls.clone(),
        };
        let mut connection = match Connection::open(&target).await {
            Ok(connection) => connection,
            Err(e) => {
                last = e.to_string();
                continue;
            }
        };
        let delivery = connection
            .send(&Envelope::new(probe.sender.clone(), [probe.recipient.clone()]), &message(probe, &work.settings.zone))
            .await
            .map_err(|e| wrong(e.to_string()))?;
        connection.quit().await;
        let reply = delivery.of(0);
        return if reply.is_success() { Ok(()) } else { Err(wrong(reply.to_string())) };
    }
    Err(wrong(last))
}

fn message(probe: &Outgoing, zone: &str) -> Vec<u8> {
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_string(&Timestamp::now()).unwrap_or_default();
    format!(
        "From: Posthouse <{}>\r\nTo: <{}>\r\nSubject: Posthouse tries the way of your mail\r\nDate: {date}\r\nMessage-ID: <{}@{zone}>\r\n{HEADER_PROBE}: {}\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThis message was sent while Posthouse was being set up for your company.\r\nIt shows that mail finds its way through Posthouse and back. You need not do anything.\r\n",
        probe.sender,
        probe.recipient,
        uuid::Uuid::new_v4(),
        probe.token
    )
    .into_bytes()
}

/// Exchange's own trace says that it lies in the mailbox; where the trace lags, the gateway's word must do.
async fn delivered(work: &mut Work<'_>, app: &Identity, probe: &Outgoing) -> Result<()> {
    let until = Instant::now() + limits::PROBE_AGAIN;
    loop {
        let rows = work
            .client
            .exchange(
                app,
                "Get-MessageTraceV2",
                json!({"SenderAddress": probe.sender, "RecipientAddress": probe.recipient}),
            )
            .await
            .map(|a| a.rows);
        let status = |r: &m365::Row| r.get("Status").and_then(Value::as_str).map(str::to_owned);
        match rows {
            Ok(rows) if rows.iter().filter_map(status).any(|s| s == "Delivered") => return Ok(()),
            Ok(rows) if rows.iter().filter_map(status).any(|s| s == "Failed") => {
                return Err(ControlError::Probe(format!(
                    "Exchange took the probe back but could not deliver it to {}",
                    probe.recipient
                )));
            }
            Err(e) if !e.is_temporary() => {
                work.show(Event::new(Step::Probe, State::Note, format!("the message trace cannot be read ({e})")));
                return Ok(());
            }
            _ if Instant::now() > until => {
                work.show(Event::new(Step::Probe, State::Note, "the message trace does not show the delivery yet"));
                return Ok(());
            }
            _ => tokio::time::sleep(limits::LOOK_FIRST).await,
        }
    }
}

/// It came out of Exchange into the Internet, that is to us, and carries no mark.
async fn arrived(work: &Work<'_>, probe: &Outgoing) -> Result<()> {
    let until = Instant::now() + limits::PROBE_PATIENCE;
    loop {
        if let Some(arrival) = work.store.probe_arrivals(&probe.token).await?.first() {
            if arrival.mark_seen {
                return Err(ControlError::Probe("the probe arrived outside with our mark on it: the strip rule does not work. No mail is routed through Posthouse".into()));
            }
            return Ok(());
        }
        if Instant::now() > until {
            return Err(ControlError::Probe(format!(
                "Exchange took the outbound probe back but did not deliver it to {}: does the MX of {} lead to the gateway?",
                probe.recipient, work.settings.zone
            )));
        }
        tokio::time::sleep(limits::LOOK_FIRST).await;
    }
}
