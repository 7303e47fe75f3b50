//! A name server for whoever asks during a run: a few records, and of everything else that it does not exist. Nothing
//! is asked of the Internet, so that what is measured is the system and not the weather.

use anyhow::{Context, Result};
use hickory_resolver::proto::op::{Header, HeaderCounts, Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use std::collections::HashMap;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

/// Long: the peers' caches are on our side of the comparison too.
const TTL_SECS: u32 = 3600;

type Records = HashMap<(String, RecordType), RData>;

pub fn a(name: &str, ip: [u8; 4]) -> ((String, RecordType), RData) {
    ((name.to_owned(), RecordType::A), RData::A(A(ip.into())))
}

pub fn txt(name: &str, value: &str) -> ((String, RecordType), RData) {
    // a character-string has at most 255 octets (RFC 1035 §3.3)
    let parts: Vec<String> =
        value.as_bytes().chunks(255).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    ((name.to_owned(), RecordType::TXT), RData::TXT(TXT::new(parts)))
}

/// On a thread of its own, for as long as the process lives.
pub fn start(records: Records) -> Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = runtime.block_on(UdpSocket::bind("127.0.0.1:0")).context("name server")?;
    let address = socket.local_addr()?;
    let soa = SOA::new(name("ns.bench.example")?, name("hostmaster.bench.example")?, 1, 3600, 600, 86400, TTL_SECS);
    let zone = Zone { records, soa: Record::from_rdata(name("example")?, TTL_SECS, RData::SOA(soa)) };
    std::thread::Builder::new().name("dns".into()).spawn(move || {
        runtime.block_on(async move {
            let mut server = Server::new(zone);
            server.register_socket(socket);
            if let Err(e) = server.block_until_done().await {
                eprintln!("bench: the name server ended: {e}");
            }
        });
    })?;
    Ok(address)
}

fn name(text: &str) -> Result<Name> {
    Name::from_ascii(format!("{text}.")).with_context(|| text.to_owned())
}

struct Zone {
    records: Records,
    soa: Record,
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
        metadata.recursion_available = true;
        let (mut answers, mut authority) = (Vec::new(), Vec::new());
        match request.request_info() {
            Ok(info) => {
                let asked = info.query.name().to_string().trim_end_matches('.').to_lowercase();
                let known = self.records.keys().any(|(n, _)| *n == asked);
                if let Some(data) = self.records.get(&(asked, info.query.query_type())) {
                    let owner = Name::from(info.query.name());
                    answers.push(Record::from_rdata(owner, TTL_SECS, data.clone()));
                } else {
                    // RFC 2308 §3: without it nobody may remember that there is nothing
                    authority.push(self.soa.clone());
                }
                metadata.response_code = if known { ResponseCode::NoError } else { ResponseCode::NXDomain };
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
            Err(_) => Header { metadata, counts: HeaderCounts::default() }.into(),
        }
    }
}
