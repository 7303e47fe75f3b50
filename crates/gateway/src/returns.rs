//! Connections back into the tenants: kept for the next message, never shared between two tenants (transport.md G18).

use crate::answers::{self, Meaning};
use crate::faults::Fault;
use crate::house::House;
use crate::lane::Lane;
use crate::tenants::Connected;
use crate::{limits, replies};
use mail::{Envelope, Pieces};
use smtp::{ClientError, Connection, Deadlines, Reply, Target};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tenant::TenantId;

/// What became of one recipient.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Answer(Reply),
    /// The host could not be reached, or fell silent; why, and the reply that says so.
    Unreached(String, Reply),
}

/// Open connections by tenant.
#[derive(Default)]
pub(crate) struct Connections {
    ways: Mutex<HashMap<TenantId, Way>>,
}

/// To the host and with the certificate of which this is the digest.
struct Way {
    of: [u8; 32],
    lane: Arc<Lane>,
}

impl Connections {
    /// The lane of a tenant's present certificate and host; that of earlier ones is dropped.
    fn lane(&self, connected: &Connected) -> Arc<Lane> {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Way { of: connected.way_back, lane: Arc::default() };
        let way = ways.entry(connected.tenant.id).or_insert_with(fresh);
        if way.of != connected.way_back {
            *way = fresh();
        }
        way.lane.clone()
    }

    /// Tenant, connections in use, connections kept for the next message.
    pub(crate) fn counts(&self) -> Vec<(TenantId, usize, usize)> {
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(id, way): (&TenantId, &Way)| {
            let (used, idle) = way.lane.counts();
            (*id, used, idle)
        };
        ways.iter().map(of).collect()
    }
}

/// Offers the message to the tenant's host; what it said about each recipient, in order. `Err` when nothing could
/// even be offered.
pub(crate) async fn offer(
    house: &House,
    connected: &Connected,
    envelope: &Envelope,
    raw: &Pieces,
    by: &Deadlines,
) -> Result<Vec<Said>, Fault> {
    let lane = house.connections.lane(connected);
    let _room = tokio::time::timeout_at(by.commands.into(), lane.room()).await.map_err(|_| late())?;
    let mut said: Vec<Option<Said>> = vec![None; envelope.recipients.len()];
    for part in portions(envelope) {
        let portion =
            Envelope { recipients: part.iter().map(|n| envelope.recipients[*n].clone()).collect(), ..envelope.clone() };
        match transaction(house, connected, &lane, &portion, raw, by).await {
            Ok(replies) => part.iter().zip(replies).for_each(|(n, reply)| said[*n] = Some(Said::Answer(reply))),
            Err(fault) if said.iter().all(Option::is_none) => return Err(fault),
            Err(fault) => part
                .iter()
                .for_each(|n| said[*n] = Some(Said::Unreached(fault.alert().2, replies::return_unreachable("-")))),
        }
    }
    Ok(said
        .into_iter()
        .map(|s| s.unwrap_or_else(|| Said::Unreached("not offered".into(), replies::return_unreachable("-"))))
        .collect())
}

/// Indices of recipients for each transaction: no domain more often than Exchange Online takes.
fn portions(envelope: &Envelope) -> Vec<Vec<usize>> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut portions: Vec<Vec<usize>> = Vec::new();
    for (n, recipient) in envelope.recipients.iter().enumerate() {
        let domain = recipient.address.rsplit_once('@').map(|(_, d)| d.to_lowercase()).unwrap_or_default();
        let count = counts.entry(domain).or_default();
        let portion = *count / limits::RECIPIENTS_OF_A_DOMAIN_MAX;
        *count += 1;
        if portions.len() <= portion {
            portions.resize_with(portion + 1, Vec::new);
        }
        portions[portion].push(n);
    }
    portions
}

/// One transaction, on a kept connection if there is one; one that the host closed in the meantime is not its refusal.
async fn transaction(
    house: &House,
    connected: &Connected,
    lane: &Lane,
    envelope: &Envelope,
    raw: &Pieces,
    by: &Deadlines,
) -> Result<Vec<Reply>, Fault> {
    let unreachable = |e: &ClientError| Fault::ReturnUnreachable(e.to_string());
    let replies = |delivery: &smtp::Delivery| {
        let of = |n| house.metrics.returned(delivery.of(n)).clone();
        let replies: Vec<Reply> = (0..envelope.recipients.len()).map(of).collect();
        if replies.iter().any(|r| answers::meaning(r) == Meaning::SlowDown) {
            tracing::warn!(tenant = %connected.tenant.label, "Exchange Online asks for less: half as many connections");
            lane.slow_down();
        } else {
            lane.went_well();
        }
        replies
    };
    while let Some(mut kept) = lane.take() {
        match kept.offer(envelope, raw, by).await {
            Ok(delivery) => {
                lane.put(kept);
                return Ok(replies(&delivery));
            }
            Err(e) if e.may_be_delivered() => return Err(unreachable(&e)),
            Err(_) => {}
        }
    }
    let mut fresh =
        tokio::time::timeout_at(by.commands.into(), open(house, connected, lane)).await.map_err(|_| late())??;
    let delivery = fresh.offer(envelope, raw, by).await.map_err(|e| unreachable(&e))?;
    lane.put(fresh);
    Ok(replies(&delivery))
}

fn late() -> Fault {
    Fault::Late("hand back")
}

async fn open(house: &House, connected: &Connected, lane: &Lane) -> Result<Connection, Fault> {
    let host = &connected.tenant.return_host;
    let tls = connected.tls.clone().map_err(|why| {
        Fault::ReturnConfiguration(format!(
            "the return certificate of {} cannot be used: {why}",
            connected.tenant.connector_domain
        ))
    })?;
    let target = |ip: IpAddr| Target {
        address: SocketAddr::new(ip, house.settings.return_port),
        server_name: host.clone(),
        helo: house.settings.hostname.clone(),
        source: house.settings.egress_address.filter(|a| a.is_ipv4() == ip.is_ipv4()),
        tls: tls.clone(),
    };
    let targets: Vec<Target> = addresses(house, host, lane).await?.into_iter().map(target).collect();
    let opened = Connection::open_first(&targets).await.map_err(|e| match e {
        Some(e) => Fault::ReturnUnreachable(e.to_string()),
        None => Fault::Dns(format!("{host} has no address")),
    })?;
    house.metrics.return_opened(&connected.tenant.label);
    Ok(opened)
}

/// From DNS, or from what DNS said before while it says nothing now.
async fn addresses(house: &House, host: &str, lane: &Lane) -> Result<Vec<IpAddr>, Fault> {
    match house.resolver.lookup_ip(format!("{host}.")).await {
        Ok(found) => {
            let found = interleaved(found.iter());
            lane.know(&found);
            Ok(found)
        }
        Err(e) => lane.known().ok_or_else(|| Fault::Dns(format!("{host} has no address: {e}"))),
    }
}

/// RFC 8305 §4: families in turn, so that one that does not work costs one attempt, not all.
fn interleaved(found: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<IpAddr>, Vec<IpAddr>) = found.partition(IpAddr::is_ipv6);
    let longest = six.len().max(four.len());
    (0..longest).flat_map(|n| [six.get(n), four.get(n)]).flatten().copied().take(limits::ADDRESSES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let all = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fe80::1"].map(|ip| ip.parse().unwrap_or(IpAddr::from([0; 4])));
        let order: Vec<String> = interleaved(all.into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(order, ["fe80::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    }

    #[test]
    fn no_domain_has_more_than_two_hundred_recipients_in_a_transaction() {
        let envelope = Envelope::new(
            "a@b.example",
            (0..450).map(|n| format!("u{n}@Big.example")).chain((0..10).map(|n| format!("u{n}@small.example"))),
        );
        let parts = portions(&envelope);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [210, 200, 50]);
        let mut all: Vec<usize> = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..460).collect::<Vec<_>>());
    }
}
