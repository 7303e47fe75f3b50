//! The world's DNS: what Microsoft publishes, what the outside world publishes, what scenarios add; zones that
//! somebody else serves are asked of that server for real. Everything else does not exist (with an SOA, so that
//! nobody waits for a time-out).

use crate::graph::mx_host;
use crate::world::{State, World};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Header, HeaderCounts, Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, MX, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};

const TTL: u32 = 1;
const TCP_IDLE: Duration = Duration::from_secs(5);
/// A character-string of a TXT record (RFC 1035 §3.3).
const TXT_OCTETS_MAX: usize = 255;

/// The running server.
pub struct Dns {
    address: SocketAddr,
}

impl Dns {
    pub async fn start(world: World, listen: SocketAddr) -> std::io::Result<Dns> {
        let (udp, tcp) = bind_both(listen).await?;
        let address = udp.local_addr()?;
        let mut server = Server::new(Zones { world });
        server.register_socket(udp);
        server.register_listener(tcp, TCP_IDLE, 32);
        tokio::spawn(async move {
            if let Err(e) = server.block_until_done().await {
                tracing::error!(error = %e, "the simulator's DNS ended");
            }
        });
        Ok(Dns { address })
    }
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// UDP and TCP on the same port; a free UDP port may be taken for TCP, so try some.
async fn bind_both(listen: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let mut last = std::io::Error::other("no port");
    for _ in 0..20 {
        let udp = UdpSocket::bind(listen).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// A resolver that asks only `dns` and remembers nothing.
pub fn resolver(dns: SocketAddr) -> Arc<TokioResolver> {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    udp.port = dns.port();
    tcp.port = dns.port();
    let config = ResolverConfig::from_parts(None, vec![], vec![NameServerConfig::new(dns.ip(), true, vec![udp, tcp])]);
    let mut options = ResolverOpts::default();
    options.cache_size = 0;
    options.timeout = Duration::from_secs(3);
    options.attempts = 2;
    let built =
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build();
    match built {
        Ok(resolver) => Arc::new(resolver),
        Err(e) => unreachable!("a resolver without TLS is always built: {e}"),
    }
}

pub async fn txt(resolver: &TokioResolver, name: &str) -> Vec<String> {
    let Ok(found) = resolver.txt_lookup(name).await else { return Vec::new() };
    found
        .answers()
        .iter()
        .filter_map(|r| match &r.data {
            RData::TXT(t) => Some(t.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect::<String>()),
            _ => None,
        })
        .collect()
}

pub async fn mx(resolver: &TokioResolver, name: &str) -> Vec<(u16, String)> {
    let Ok(found) = resolver.mx_lookup(name).await else { return Vec::new() };
    let mut hosts: Vec<_> = found
        .answers()
        .iter()
        .filter_map(|r| match &r.data {
            RData::MX(m) => Some((m.preference, m.exchange.to_utf8().trim_end_matches('.').to_lowercase())),
            _ => None,
        })
        .collect();
    hosts.sort();
    hosts
}

pub async fn a(resolver: &TokioResolver, name: &str) -> Vec<Ipv4Addr> {
    let Ok(found) = resolver.ipv4_lookup(name).await else { return Vec::new() };
    found
        .answers()
        .iter()
        .filter_map(|r| match &r.data {
            RData::A(A(address)) => Some(*address),
            _ => None,
        })
        .collect()
}

struct Zones {
    world: World,
}

#[async_trait::async_trait]
impl RequestHandler for Zones {
    async fn handle_request<R: ResponseHandler, T: hickory_resolver::net::runtime::Time>(
        &self,
        request: &Request,
        mut out: R,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        let (mut answers, mut exists) = (Vec::new(), false);
        if let Ok(info) = request.request_info() {
            let name = info.query.name().to_string().trim_end_matches('.').to_lowercase();
            let kind = info.query.query_type();
            let forward = forwarded(&self.world.state(), &name);
            (answers, exists) = match forward {
                Some(server) => ask(server, &name, kind).await,
                None => local(&self.world, &name, kind),
            };
        }
        if !exists {
            metadata.response_code = ResponseCode::NXDomain;
        }
        let root = Name::root();
        let soa = Record::from_rdata(root.clone(), TTL, RData::SOA(SOA::new(root.clone(), root, 1, 60, 60, 60, TTL)));
        let authority: Vec<Record> = if answers.is_empty() { vec![soa] } else { vec![] };
        let builder = MessageResponseBuilder::from_message_request(request);
        let response =
            builder.build(metadata, answers.iter(), std::iter::empty(), authority.iter(), std::iter::empty());
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

fn forwarded(state: &State, name: &str) -> Option<SocketAddr> {
    let inside = |zone: &str| name == zone || name.ends_with(&format!(".{zone}"));
    let static_answer = state.dns_records.keys().any(|(n, _)| n == name);
    let zone = state.dns_forward.iter().filter(|(zone, _)| inside(zone)).max_by_key(|(zone, _)| zone.len());
    zone.filter(|_| !static_answer).and_then(|(_, server)| server.parse().ok())
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> (Vec<Record>, bool) {
    match resolver(server).lookup(format!("{name}."), kind).await {
        Ok(found) => (found.answers().to_vec(), true),
        Err(e) => (Vec::new(), !e.is_nx_domain()),
    }
}

/// The records of that name and kind, and whether the name exists at all.
fn local(world: &World, name: &str, kind: RecordType) -> (Vec<Record>, bool) {
    let Ok(owner) = Name::from_str(&format!("{name}.")) else { return (Vec::new(), false) };
    let mut all: Vec<(RecordType, String)> = Vec::new();
    let state = world.state();
    for ((n, k), values) in &state.dns_records {
        if n == name
            && let Ok(k) = RecordType::from_str(k)
        {
            all.extend(values.iter().map(|v| (k, v.clone())));
        }
    }
    if all.is_empty() {
        all = derived(&state, &world.pki.dkim_public, name);
    }
    let records = all
        .iter()
        .filter(|(k, _)| *k == kind)
        .filter_map(|(k, v)| Some(Record::from_rdata(owner.clone(), TTL, data(*k, v)?)))
        .collect();
    (records, !all.is_empty())
}

fn data(kind: RecordType, value: &str) -> Option<RData> {
    match kind {
        RecordType::A => value.parse().ok().map(|a| RData::A(A(a))),
        RecordType::MX => {
            let (preference, host) = value.split_once(' ')?;
            Some(RData::MX(MX::new(
                preference.parse().ok()?,
                Name::from_str(&format!("{}.", host.trim_end_matches('.'))).ok()?,
            )))
        }
        RecordType::TXT => {
            let parts: Vec<String> =
                value.as_bytes().chunks(TXT_OCTETS_MAX).map(|c| String::from_utf8_lossy(c).into_owned()).collect();
            Some(RData::TXT(TXT::new(parts)))
        }
        _ => None,
    }
}

fn derived(state: &State, dkim_public: &str, name: &str) -> Vec<(RecordType, String)> {
    let dkim = || vec![(RecordType::TXT, format!("v=DKIM1; k=rsa; p={dkim_public}"))];
    let egress = state.switches.egress_address.rsplit_once('.').map_or("127.0.40", |(net, _)| net).to_owned();
    if name.ends_with(".mail.protection.outlook.com") {
        return vec![(RecordType::A, "127.0.0.1".into())];
    }
    match name {
        "spf.protection.outlook.com" => return vec![(RecordType::TXT, format!("v=spf1 ip4:{egress}.0/24 -all"))],
        "arcselector10001._domainkey.microsoft.com" => return dkim(),
        _ => {}
    }
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    let accepted = |domain: &str| {
        state.tenants.iter().any(|t| t.dkim_keys.contains_key(domain) && t.accepted_domain(domain).is_some())
    };
    if accepted(name) {
        return vec![
            (RecordType::MX, format!("0 {}", mx_host(name))),
            (RecordType::TXT, "v=spf1 include:spf.protection.outlook.com -all".into()),
        ];
    }
    if let Some(domain) = name.strip_prefix("selector1._domainkey.")
        && accepted(domain)
    {
        return dkim();
    }
    if first == "_dmarc" && accepted(rest) {
        return vec![(RecordType::TXT, "v=DMARC1; p=none".into())];
    }
    for domain in &state.external {
        let own = |prefix: &str| name == format!("{prefix}{}", domain.name);
        if own("") {
            return vec![
                (RecordType::MX, format!("10 mx.{}", domain.name)),
                (RecordType::TXT, format!("v=spf1 ip4:{} -all", domain.address)),
            ];
        }
        if own("mx.") {
            return vec![(RecordType::A, domain.address.clone())];
        }
        if own("s1._domainkey.") && domain.dkim_key.is_some() {
            return dkim();
        }
        if own("_dmarc.") {
            return vec![(
                RecordType::TXT,
                format!("v=DMARC1; p={}", if domain.dkim_key.is_some() { "reject" } else { "none" }),
            )];
        }
    }
    Vec::new()
}
