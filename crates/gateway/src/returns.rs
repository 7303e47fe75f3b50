//! Connections back into the tenants: kept for the next message, never shared between two tenants (transport.md G18).

use crate::faults::Fault;
use crate::house::House;
use crate::tenants::Connected;
use crate::{limits, replies};
use mail::Envelope;
use smtp::{ClientError, Connection, Reply, Target};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tenant::TenantId;
use tokio::sync::Semaphore;

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
    lanes: Mutex<HashMap<(TenantId, i64), Arc<Lane>>>,
}

struct Lane {
    idle: Mutex<Vec<Connection>>,
    room: Semaphore,
}

impl Connections {
    /// The lane of a tenant's present certificate; lanes of earlier ones are dropped.
    fn lane(&self, connected: &Connected) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (connected.tenant.id, connected.revision);
        if !lanes.contains_key(&key) {
            lanes.retain(|(id, revision), _| *id != key.0 || *revision > key.1);
        }
        lanes
            .entry(key)
            .or_insert_with(|| {
                Arc::new(Lane { idle: Mutex::default(), room: Semaphore::new(limits::RETURN_CONNECTIONS_MAX) })
            })
            .clone()
    }
}

impl Connections {
    /// Tenant, connections in use, connections kept for the next message.
    pub(crate) fn counts(&self) -> Vec<(TenantId, usize, usize)> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |lane: &Lane| {
            let idle = lane.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
            (limits::RETURN_CONNECTIONS_MAX - lane.room.available_permits(), idle)
        };
        lanes.iter().map(|((id, _), lane)| (*id, of(lane).0, of(lane).1)).collect()
    }
}

impl Lane {
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|c| c.idle_for() < limits::IDLE_CONNECTION_AGE);
        idle.pop()
    }
    fn put(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < limits::IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
    }
}

/// Offers the message to the tenant's host; what it said about each recipient, in order. `Err` when nothing could
/// even be offered.
pub(crate) async fn offer(
    house: &House,
    connected: &Connected,
    envelope: &Envelope,
    raw: &[u8],
) -> Result<Vec<Said>, Fault> {
    let lane = house.connections.lane(connected);
    let _room = lane.room.acquire().await.map_err(|_| Fault::Panic)?;
    let mut said: Vec<Option<Said>> = vec![None; envelope.recipients.len()];
    for part in portions(envelope) {
        let portion =
            Envelope { recipients: part.iter().map(|n| envelope.recipients[*n].clone()).collect(), ..envelope.clone() };
        match transaction(house, connected, &lane, &portion, raw).await {
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
    raw: &[u8],
) -> Result<Vec<Reply>, Fault> {
    let unreachable = |e: &ClientError| Fault::ReturnUnreachable(e.to_string());
    let replies = |delivery: &smtp::Delivery| {
        (0..envelope.recipients.len()).map(|n| house.metrics.returned(delivery.of(n)).clone()).collect()
    };
    while let Some(mut kept) = lane.take() {
        match kept.send(envelope, raw).await {
            Ok(delivery) => {
                lane.put(kept);
                return Ok(replies(&delivery));
            }
            Err(e) if e.may_be_delivered() => return Err(unreachable(&e)),
            Err(_) => {}
        }
    }
    let mut fresh = open(house, connected).await?;
    let delivery = fresh.send(envelope, raw).await.map_err(|e| unreachable(&e))?;
    lane.put(fresh);
    Ok(replies(&delivery))
}

async fn open(house: &House, connected: &Connected) -> Result<Connection, Fault> {
    let host = &connected.tenant.return_host;
    let tls = connected.tls.clone().map_err(|why| {
        Fault::ReturnConfiguration(format!(
            "the return certificate of {} cannot be used: {why}",
            connected.tenant.connector_domain
        ))
    })?;
    let found = house
        .resolver
        .lookup_ip(format!("{host}."))
        .await
        .map_err(|e| Fault::ReturnUnreachable(format!("{host} has no address: {e}")))?;
    let mut last = Fault::ReturnUnreachable(format!("{host} has no address"));
    for ip in found.iter() {
        let source = house.settings.egress_address.filter(|a| a.is_ipv4() == ip.is_ipv4());
        let target = Target {
            address: SocketAddr::new(ip, house.settings.return_port),
            server_name: host.clone(),
            helo: house.settings.hostname.clone(),
            source,
            tls: tls.clone(),
        };
        match Connection::open(&target).await {
            Ok(connection) => {
                house.metrics.return_opened(&connected.tenant.label);
                return Ok(connection);
            }
            Err(e) => last = Fault::ReturnUnreachable(e.to_string()),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

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
