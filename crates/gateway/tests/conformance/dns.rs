//! A DNS server that answers what a scenario says.

use hickory_resolver::proto::op::{Header, HeaderCounts, Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};

#[derive(Clone, Debug)]
pub enum Answer {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(u16, String),
    Ptr(String),
    Cname(String),
    Txt(Vec<String>),
    /// A record of the old type 99, which nobody must ask for (RFC 7208 §3.1).
    Spf(Vec<String>),
    Silence,
}

/// By name, in lower case and without the last dot.
pub type Records = BTreeMap<String, Vec<Answer>>;

pub struct Dns {
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Dns {
    pub async fn start(records: Records) -> Dns {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let mut server = Server::new(Zone(records));
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 32);
        let task = tokio::spawn(async move { drop(server.block_until_done().await) });
        Dns { address, task }
    }
}

struct Zone(Records);

fn absolute(name: &str) -> Option<Name> {
    Name::from_str(&format!("{}.", name.trim_end_matches('.'))).ok()
}

fn data(answer: &Answer) -> Option<(RecordType, RData)> {
    // a character-string has at most 255 octets (RFC 1035 §3.3)
    let strings = |s: &[String]| {
        let pieces: Vec<Vec<u8>> = s.iter().flat_map(|s| s.as_bytes().chunks(255)).map(<[u8]>::to_vec).collect();
        (RecordType::TXT, RData::TXT(TXT::from_bytes(pieces.iter().map(Vec::as_slice).collect::<Vec<_>>())))
    };
    Some(match answer {
        Answer::A(ip) => (RecordType::A, RData::A(A(*ip))),
        Answer::Aaaa(ip) => (RecordType::AAAA, RData::AAAA(AAAA(*ip))),
        Answer::Mx(preference, host) => (RecordType::MX, RData::MX(MX::new(*preference, absolute(host)?))),
        Answer::Ptr(host) => (RecordType::PTR, RData::PTR(PTR(absolute(host)?))),
        Answer::Cname(host) => (RecordType::CNAME, RData::CNAME(CNAME(absolute(host)?))),
        Answer::Txt(s) => strings(s),
        Answer::Spf(_) | Answer::Silence => return None,
    })
}

/// What to say; `None`: nothing at all.
type Said = Option<(Vec<(Name, RData)>, ResponseCode)>;

impl Zone {
    fn answer(&self, name: &str, kind: RecordType) -> Said {
        let (mut found, mut owner) = (Vec::new(), name.to_owned());
        for _ in 0..5 {
            let Some(answers) = self.0.get(&owner) else {
                let code = if found.is_empty() { ResponseCode::NXDomain } else { ResponseCode::NoError };
                return Some((found, code));
            };
            let all: Vec<(RecordType, RData)> = answers.iter().filter_map(data).collect();
            let before = found.len();
            found.extend(
                all.iter().filter(|(k, _)| *k == kind).filter_map(|(_, d)| Some((absolute(&owner)?, d.clone()))),
            );
            let alias = answers.iter().find_map(|a| if let Answer::Cname(host) = a { Some(host) } else { None });
            match alias {
                _ if found.len() > before => break,
                Some(host) => {
                    found.extend(absolute(&owner).zip(absolute(host)).map(|(o, h)| (o, RData::CNAME(CNAME(h)))));
                    owner = host.trim_end_matches('.').to_lowercase();
                }
                None if answers.iter().any(|a| matches!(a, Answer::Silence)) => return None,
                None => break,
            }
        }
        Some((found, ResponseCode::NoError))
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
        metadata.authoritative = true;
        let info = request.request_info().unwrap();
        // printed, a name's odd octets would be escaped
        let labels: Vec<String> =
            Name::from(info.query.name()).iter().map(|l| String::from_utf8_lossy(l).to_lowercase()).collect();
        let name = labels.join(".");
        let Some((found, code)) = self.answer(&name, info.query.query_type()) else {
            return Header { metadata, counts: HeaderCounts::default() }.into();
        };
        metadata.response_code = code;
        let answers: Vec<Record> = found.into_iter().map(|(owner, d)| Record::from_rdata(owner, 30, d)).collect();
        let soa = SOA::new(absolute("ns.example").unwrap(), absolute("x.example").unwrap(), 1, 30, 30, 30, 30);
        let soa = Record::from_rdata(Name::root(), 30, RData::SOA(soa));
        let authority: &[Record] = if answers.is_empty() { &[soa] } else { &[] };
        let none = std::iter::empty;
        let response = MessageResponseBuilder::from_message_request(request);
        out.send_response(response.build(metadata, answers.iter(), none(), authority.iter(), none())).await.unwrap()
    }
}
