//! The round trip, proven by mail before everybody's mail takes it: one message from outside to a mailbox, one from
//! inside to the outside, each through Exchange, the gateway, and Exchange again.

use crate::certificate;
use crate::events::{Event, State, Step};
use crate::objects::accepted_domain::fresh_resolver;
use crate::objects::{Need, permissions::EXCHANGE_APP};
use crate::work::Work;
use crate::{ControlError, Result, limits};
use jiff::Timestamp;
use m365::Identity;
use mail::Envelope;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smtp::{Connection, Target};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use store::{JourneyFilter, Outcome, Probe};
use tenant::{Direction, HEADER_PROBE, Tenant};

pub(crate) const NEEDS: &[Need] = &[Need {
    permission: EXCHANGE_APP,
    reason: "the message trace, to see that probes and mail arrive",
    cmdlets: &["Get-MessageTraceV2", "Get-MessageTraceDetailV2"],
}];

/// Tokens of the two probes of one proof.
pub(crate) struct Tokens {
    pub inbound: String,
    pub outbound: String,
}

impl Tokens {
    fn of(&self, direction: Direction) -> &str {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

/// What was seen of one probe, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProbeResult {
    pub direction: Direction,
    /// When it was sent for the last time.
    pub sent: Timestamp,
    pub seconds: f64,
    /// Exchange Online took it from us.
    #[serde(default)]
    pub taken: bool,
    /// The gateway had it and handed it back.
    pub through_us: bool,
    /// Copies at the far end; more than one is a fault, too. `None`: it could not be looked at.
    pub arrived: Option<usize>,
    /// Our mark was off it at the far end. `None`: it could not be looked at.
    pub secret_gone: Option<bool>,
    /// What Exchange Online made of its origin on the second pass, as it stands in the message.
    pub authentication: Option<String>,
    /// What is wrong, in words; `None`: nothing.
    pub wrong: Option<String>,
}

impl ProbeResult {
    /// Exchange Online did not take it from us.
    fn not_sent(direction: Direction, wrong: String) -> ProbeResult {
        ProbeResult {
            direction,
            sent: Timestamp::now(),
            seconds: 0.0,
            taken: false,
            through_us: false,
            arrived: None,
            secret_gone: None,
            authentication: None,
            wrong: Some(wrong),
        }
    }
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
/// The receipt under which the last results stand.
const RESULTS: &str = "probe results";

/// Each direction in turn; an error where one does not make the way.
pub(crate) async fn prove(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &Tenant,
    tokens: &Tokens,
    directions: &[Direction],
) -> Result<()> {
    let results = send_and_look(work, app, tenant, tokens, directions, limits::PROBE_PATIENCE).await?;
    match results.into_iter().find_map(|r| r.wrong) {
        Some(wrong) => Err(ControlError::Probe(format!("{wrong}. No mail is routed through Posthouse"))),
        None => Ok(()),
    }
}

/// Sends one probe each way and looks at both ends; what was seen is kept for the status.
pub(crate) async fn send_and_look(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &Tenant,
    tokens: &Tokens,
    directions: &[Direction],
    patience: Duration,
) -> Result<Vec<ProbeResult>> {
    let mailbox = recipient(work, app, tenant).await?;
    let mut results = Vec::new();
    for direction in directions {
        let mut probe = Outgoing::new(work, *direction, tokens.of(*direction), &mailbox);
        let result = match one(work, app, tenant, &mut probe, patience).await {
            Err(ControlError::Probe(wrong)) => ProbeResult::not_sent(*direction, wrong),
            other => other?,
        };
        let failed = result.wrong.is_some();
        results.push(result);
        if failed {
            break;
        }
    }
    remember(work.store, tenant.id, &results).await?;
    Ok(results)
}

/// The newest of each direction.
async fn remember(store: &store::Store, tenant: tenant::TenantId, results: &[ProbeResult]) -> Result<()> {
    let mut all = last_results(store, tenant).await?;
    all.retain(|known| results.iter().all(|new| new.direction != known.direction));
    all.extend_from_slice(results);
    all.sort_by_key(|r| r.direction);
    Ok(store.put_step(tenant, RESULTS, &json!(all)).await?)
}

/// What the last probes showed.
pub async fn last_results(store: &store::Store, tenant: tenant::TenantId) -> Result<Vec<ProbeResult>> {
    Ok(serde_json::from_value(store.step(tenant, RESULTS).await?.unwrap_or_default()).unwrap_or_default())
}

async fn one(
    work: &mut Work<'_>,
    app: &Identity,
    tenant: &Tenant,
    probe: &mut Outgoing,
    patience: Duration,
) -> Result<ProbeResult> {
    let way = match probe.direction {
        Direction::Inbound => format!("a probe from outside to {}", probe.recipient),
        Direction::Outbound => format!("a probe from {} to the outside", probe.sender),
    };
    work.show(Event::new(Step::Probe, State::Doing, way));
    let mut result = round_trip(work, tenant, probe, patience).await?;
    if result.wrong.is_none() {
        match probe.direction {
            Direction::Inbound => delivered(work, app, probe, &mut result).await,
            Direction::Outbound => arrived(work, probe, patience, &mut result).await?,
        }
    }
    if result.wrong.is_none() {
        let seconds = result.seconds;
        let text = match probe.direction {
            Direction::Inbound => format!("inbound: out to the gateway and back into the mailbox in {seconds:.1} s"),
            Direction::Outbound => format!(
                "outbound: out to the gateway, back, and out into the Internet without our mark in {seconds:.1} s"
            ),
        };
        work.show(Event::new(Step::Probe, State::Done, text));
    }
    Ok(result)
}

/// True when a message of our own still comes by us in either direction; false when one each way arrived that did not.
pub(crate) async fn comes_by(work: &Work<'_>, app: &Identity, tenant: &Tenant) -> Result<bool> {
    let mailbox = recipient(work, app, tenant).await?;
    let tokens = prepare(work, tenant).await?;
    let ways = [Direction::Inbound, Direction::Outbound];
    let probes = ways.map(|direction| Outgoing::new(work, direction, tokens.of(direction), &mailbox));
    for probe in &probes {
        send(work, tenant, probe).await?;
    }
    let sent = Instant::now();
    let mut arrived = [false; 2];
    while sent.elapsed() < limits::PROBE_AGAIN {
        for (probe, arrived) in probes.iter().zip(&mut arrived) {
            let filter = JourneyFilter { probe: Some(probe.token.clone()), ..JourneyFilter::default() };
            // at the far end, which is ours as well, it is no mail that came by
            if work.store.journeys(&filter).await?.iter().any(|j| j.outcome != Outcome::Swallowed) {
                return Ok(true);
            }
            *arrived |= match probe.direction {
                Direction::Inbound => statuses(work, app, probe).await?.iter().any(|s| s == "Delivered"),
                Direction::Outbound => !work.store.probe_arrivals(&probe.token).await?.is_empty(),
            };
        }
        if arrived == [true; 2] {
            return Ok(false);
        }
        tokio::time::sleep(limits::LOOK_FIRST).await;
    }
    let missing = if arrived[0] { "outbound" } else { "inbound" };
    Err(ControlError::Probe(format!("a message {missing} neither came by nor arrived")))
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
    direction: Direction,
    sender: String,
    recipient: String,
    token: String,
    message_id: String,
}

impl Outgoing {
    fn new(work: &Work<'_>, direction: Direction, token: &str, mailbox: &str) -> Outgoing {
        let zone = &work.settings.zone;
        let (sender, recipient) = match direction {
            Direction::Inbound => (format!("probe@{zone}"), mailbox.to_owned()),
            Direction::Outbound => (mailbox.to_owned(), format!("probe-{token}@{zone}")),
        };
        let message_id = format!("{}@{zone}", uuid::Uuid::new_v4());
        Outgoing { direction, sender, recipient, token: token.to_owned(), message_id }
    }
    /// Outbound it goes through our inbound connector, as the tenant; inbound from outside, as anybody.
    fn with_certificate(&self) -> bool {
        self.direction == Direction::Outbound
    }
}

/// Sends until one came back through the gateway: a rule may need half an hour to be in effect.
async fn round_trip(
    work: &mut Work<'_>,
    tenant: &Tenant,
    probe: &mut Outgoing,
    patience: Duration,
) -> Result<ProbeResult> {
    let (began, mut told) = (Instant::now(), false);
    loop {
        let (sent, at, direction) = (Instant::now(), Timestamp::now(), probe.direction);
        // sent again, it is another message: copies are counted by it
        probe.message_id = format!("{}@{}", uuid::Uuid::new_v4(), work.settings.zone);
        let handed_over = send(work, tenant, probe).await;
        let result = |through_us, wrong| ProbeResult {
            direction,
            sent: at,
            seconds: sent.elapsed().as_secs_f64(),
            taken: handed_over.is_ok(),
            through_us,
            arrived: None,
            secret_gone: None,
            authentication: None,
            wrong,
        };
        // a server that does not answer now may a little later
        while sent.elapsed() < limits::PROBE_AGAIN.min(patience) {
            if let Some(message_id) = handed_back(work, tenant, probe).await? {
                probe.message_id = message_id;
                return Ok(result(true, None));
            }
            tokio::time::sleep(limits::LOOK_FIRST).await;
        }
        let stopped = match &handed_over {
            Ok(()) => where_it_stopped(work, tenant, probe).await,
            Err(e) => e.to_string(),
        };
        if began.elapsed() > patience {
            let name = probe.direction.as_str();
            return Ok(result(false, Some(format!("{name}bound mail does not make the round trip: {stopped}"))));
        }
        if !told {
            let text = format!(
                "it has not come yet ({stopped}); a new rule may need half an hour to be in effect, sending again from time to time"
            );
            work.show(Event::new(Step::Probe, State::Waiting, text));
            told = true;
        }
    }
}

/// The Message-ID of the one that came through.
async fn handed_back(work: &Work<'_>, tenant: &Tenant, probe: &Outgoing) -> Result<Option<String>> {
    let filter =
        JourneyFilter { tenant: Some(tenant.id), probe: Some(probe.token.clone()), ..JourneyFilter::default() };
    let journeys = work.store.journeys(&filter).await?;
    let mut through =
        journeys.into_iter().filter(|j| j.outcome == Outcome::HandedBack && j.direction == Some(probe.direction));
    Ok(through.next().map(|j| j.message_id.unwrap_or_default()))
}

/// The leg on which it was last seen, in words.
async fn where_it_stopped(work: &Work<'_>, tenant: &Tenant, probe: &Outgoing) -> String {
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
        .find(|a| a.tenant == Some(tenant.id) && Timestamp::now().as_second() - a.last.as_second() < 300)
    {
        Some(alert) => format!("Exchange took it, and the gateway says: {}", alert.text),
        None => "Exchange took it, and it did not reach the gateway".into(),
    }
}

async fn send(work: &Work<'_>, tenant: &Tenant, probe: &Outgoing) -> Result<()> {
    let wrong = |why: String| ControlError::Probe(format!("{} does not take the probe: {why}", tenant.return_host));
    let identity =
        probe.with_certificate().then(|| (tenant.certificate.chain_pem.as_str(), tenant.certificate.key_pem.expose()));
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
            .send(&Envelope::new(probe.sender.clone(), [probe.recipient.clone()]), &message(probe))
            .await
            .map_err(|e| wrong(e.to_string()))?;
        connection.quit().await;
        let reply = delivery.of(0);
        return if reply.is_success() { Ok(()) } else { Err(wrong(reply.to_string())) };
    }
    Err(wrong(last))
}

fn message(probe: &Outgoing) -> Vec<u8> {
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_string(&Timestamp::now()).unwrap_or_default();
    format!(
        "From: Posthouse <{}>\r\nTo: <{}>\r\nSubject: Posthouse tries the way of your mail\r\nDate: {date}\r\nMessage-ID: <{}>\r\n{HEADER_PROBE}: {}\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThis message was sent by Posthouse, which checks the mail of your company.\r\nIt shows that mail finds its way through Posthouse and back. You need not do anything.\r\n",
        probe.sender,
        probe.recipient,
        probe.message_id,
        probe.token
    )
    .into_bytes()
}

/// States of the probe in Exchange's own trace, one for each time that it passed.
async fn statuses(work: &Work<'_>, app: &Identity, probe: &Outgoing) -> m365::Result<Vec<String>> {
    let asked = json!({"SenderAddress": probe.sender, "RecipientAddress": probe.recipient, "MessageId": format!("<{}>", probe.message_id.trim_matches(['<', '>']))});
    let rows = work.client.exchange(app, "Get-MessageTraceV2", asked).await?.rows;
    Ok(rows.iter().filter_map(|r| r.get("Status").and_then(Value::as_str)).map(str::to_owned).collect())
}

/// Exchange's own trace says that it lies in the mailbox; where the trace lags, the gateway's word must do. What is
/// in the mailbox this application may not read.
async fn delivered(work: &mut Work<'_>, app: &Identity, probe: &Outgoing, result: &mut ProbeResult) {
    let until = Instant::now() + limits::PROBE_AGAIN;
    loop {
        let told = match statuses(work, app, probe).await {
            Ok(all) if all.iter().filter(|s| *s == "Delivered").count() > 1 => {
                // handing it to us counts as delivered, too: one line a pass
                let copies = all.iter().filter(|s| *s == "Delivered").count() - 1;
                result.arrived = Some(copies);
                if copies > 1 {
                    result.wrong = Some(format!("the probe arrived {copies} times in {}", probe.recipient));
                }
                return;
            }
            Ok(all) if all.iter().any(|s| s == "Failed") => {
                result.wrong =
                    Some(format!("Exchange took the probe back but could not deliver it to {}", probe.recipient));
                return;
            }
            Err(e) if !e.is_temporary() => format!("the message trace cannot be read ({e})"),
            _ if Instant::now() > until => "the message trace does not show the delivery yet".into(),
            _ => {
                tokio::time::sleep(limits::LOOK_FIRST).await;
                continue;
            }
        };
        return work.show(Event::new(Step::Probe, State::Note, told));
    }
}

/// It came out of Exchange into the Internet, that is to us, once, and carries no mark.
async fn arrived(work: &Work<'_>, probe: &Outgoing, patience: Duration, result: &mut ProbeResult) -> Result<()> {
    let until = Instant::now() + patience;
    loop {
        let arrivals = work.store.probe_arrivals(&probe.token).await?;
        if let Some(arrival) = arrivals.first() {
            result.arrived = Some(arrivals.len());
            result.secret_gone = Some(!arrivals.iter().any(|a| a.mark_seen));
            result.authentication = authentication(&arrival.headers);
            if result.secret_gone == Some(false) {
                result.wrong =
                    Some("the probe arrived outside with our mark on it: the strip rule does not work".into());
            }
            return Ok(());
        }
        if Instant::now() > until {
            result.arrived = Some(0);
            result.wrong = Some(format!(
                "Exchange took the outbound probe back but did not deliver it to {}: does the MX of {} lead to the gateway?",
                probe.recipient, work.settings.zone
            ));
            return Ok(());
        }
        tokio::time::sleep(limits::LOOK_FIRST).await;
    }
}

/// The newest statement about SPF, DKIM and DMARC in a header section; Exchange Online writes it on each pass.
fn authentication(headers: &str) -> Option<String> {
    let unfolded = headers.replace("\r\n ", " ").replace("\r\n\t", " ");
    let wanted = ["arc-authentication-results:", "authentication-results:"];
    let found = unfolded.lines().find(|line| {
        let line = line.to_ascii_lowercase();
        wanted.iter().any(|name| line.starts_with(name))
    })?;
    Some(found.split_once(':')?.1.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_statement_about_the_origin_is_told() {
        let header = "Received: x\r\nARC-Authentication-Results: i=2; mx.microsoft.com 1;\r\n spf=pass (sender ip is 192.0.2.1)\r\n\tsmtp.mailfrom=a.example; dkim=pass\r\nARC-Authentication-Results: i=1; none\r\n";
        let said = authentication(header).unwrap_or_default();
        assert_eq!(
            said,
            "i=2; mx.microsoft.com 1; spf=pass (sender ip is 192.0.2.1) smtp.mailfrom=a.example; dkim=pass"
        );
        assert_eq!(authentication("Received: x\r\n"), None);
    }
}
