//! The DNS of the connector zone: proofs of ownership that Microsoft asks for, and the way to the probes' mailbox.
//! Authoritative for one zone, refuses every other name, never recurses.

use crate::house::House;
use crate::limits;
use hickory_resolver::proto::op::{Header, HeaderCounts, Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, MX, NS, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use store::Store;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

/// A character-string of a TXT record (RFC 1035 §3.3).
const TXT_OCTETS_MAX: usize = 255;
/// DNS connections over TCP that wait for a thread of their own.
const TCP_BACKLOG: usize = 32;

pub(crate) async fn serve(house: &Arc<House>, listen: SocketAddr) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
    let (udp, tcp) = both(listen).await?;
    let address = udp.local_addr()?;
    let zone = Zone {
        store: house.store.clone(),
        zone: house.settings.zone.to_lowercase(),
        hostname: house.settings.hostname.to_lowercase(),
        address: house.settings.public_address,
        arc_key: house.arc.as_ref().map(|key| (key.record_name.clone(), key.record.clone())),
    };
    let mut server = Server::new(zone);
    server.register_socket(udp);
    server.register_listener(tcp, limits::ZONE_TCP_IDLE, TCP_BACKLOG);
    let task = tokio::spawn(async move {
        if let Err(e) = server.block_until_done().await {
            tracing::error!(error = %e, "the DNS of the connector zone ended");
        }
    });
    Ok((address, task))
}

/// UDP and TCP on one port; when any port will do, some may be free for one of them only.
async fn both(listen: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let tries = if listen.port() == 0 { 20 } else { 1 };
    let mut last = std::io::Error::other("no port is free");
    for _ in 0..tries {
        let udp = UdpSocket::bind(listen).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(e) => last = e,
        }
    }
    Err(last)
}

struct Zone {
    store: Store,
    zone: String,
    hostname: String,
    address: Option<IpAddr>,
    /// Name and text of the record by which our ARC seals are verified.
    arc_key: Option<(String, String)>,
}

impl Zone {
    /// The records of that name and kind, and the code of the answer.
    async fn answer(&self, name: &str, kind: RecordType) -> (Vec<RData>, ResponseCode) {
        let inside = name == self.zone || name.ends_with(&format!(".{}", self.zone));
        if !inside {
            return (Vec::new(), ResponseCode::Refused);
        }
        let stored = match self.store.zone_records(name).await {
            Ok(records) => records,
            Err(e) => {
                tracing::error!(error = %e, "the zone cannot be read");
                return (Vec::new(), ResponseCode::ServFail);
            }
        };
        let mut all: Vec<(RecordType, RData)> = stored.iter().filter_map(|r| data(&r.kind, &r.value)).collect();
        if name == self.zone {
            all.extend(self.soa().map(|soa| (RecordType::SOA, soa)));
            all.extend(absolute(&self.hostname).map(|host| (RecordType::NS, RData::NS(NS(host)))));
            all.extend(data("MX", &format!("10 {}", self.hostname)));
        }
        all.extend(self.arc_key.iter().filter(|(at, _)| at == name).filter_map(|(_, record)| data("TXT", record)));
        if name == self.hostname
            && let Some(ip) = self.address
        {
            all.push(match ip {
                IpAddr::V4(v4) => (RecordType::A, RData::A(A(v4))),
                IpAddr::V6(v6) => (RecordType::AAAA, RData::AAAA(AAAA(v6))),
            });
        }
        let code = if all.is_empty() { ResponseCode::NXDomain } else { ResponseCode::NoError };
        (all.into_iter().filter(|(k, _)| *k == kind).map(|(_, d)| d).collect(), code)
    }

    fn soa(&self) -> Option<RData> {
        let (host, person) = (absolute(&self.hostname)?, absolute(&format!("hostmaster.{}", self.zone))?);
        Some(RData::SOA(SOA::new(host, person, 1, 3600, 600, 86400, limits::ZONE_TTL_SECS)))
    }
}

fn absolute(name: &str) -> Option<Name> {
    Name::from_str(&format!("{name}.")).ok()
}

fn data(kind: &str, value: &str) -> Option<(RecordType, RData)> {
    match kind {
        "A" => value.parse().ok().map(|a| (RecordType::A, RData::A(A(a)))),
        "TXT" => {
            let parts: Vec<String> =
                value.as_bytes().chunks(TXT_OCTETS_MAX).map(|c| String::from_utf8_lossy(c).into_owned()).collect();
            Some((RecordType::TXT, RData::TXT(TXT::new(parts))))
        }
        "MX" => {
            let (preference, host) = value.split_once(' ')?;
            Some((RecordType::MX, RData::MX(MX::new(preference.parse().ok()?, absolute(host.trim_end_matches('.'))?))))
        }
        _ => None,
    }
}

#[async_trait::async_trait]
impl RequestHandler for Zone {
    async fn handle_request<R: ResponseHandler, T: hickory_resolver::net::runtime::Time>(
        &self,
        request: &Request,
        mut out: R,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        let (mut answers, mut authority) = (Vec::new(), Vec::new());
        match request.request_info() {
            Ok(info) => {
                let name = info.query.name().to_string().trim_end_matches('.').to_lowercase();
                let owner = Name::from(info.query.name());
                let (found, code) = self.answer(&name, info.query.query_type()).await;
                metadata.response_code = code;
                metadata.authoritative = code != ResponseCode::Refused;
                answers.extend(found.into_iter().map(|d| Record::from_rdata(owner.clone(), limits::ZONE_TTL_SECS, d)));
                if answers.is_empty() && metadata.authoritative {
                    // RFC 2308 §3: without it nobody may remember that there is nothing
                    authority.extend(
                        absolute(&self.zone)
                            .zip(self.soa())
                            .map(|(zone, soa)| Record::from_rdata(zone, limits::ZONE_TTL_SECS, soa)),
                    );
                }
            }
            Err(_) => metadata.response_code = ResponseCode::FormErr,
        }
        let response = MessageResponseBuilder::from_message_request(request).build(
            metadata,
            answers.iter(),
            std::iter::empty(),
            authority.iter(),
            std::iter::empty(),
        );
        match out.send_response(response).await {
            Ok(info) => info,
            Err(e) => {
                tracing::debug!(error = %e, "a DNS answer was not sent");
                metadata.response_code = ResponseCode::ServFail;
                Header { metadata, counts: HeaderCounts::default() }.into()
            }
        }
    }
}
