//! A server of ours that keeps what it takes.

use bytes::Bytes;
use mail::{Envelope, Recipient};
use rustls_pki_types::CertificateDer;
use smtp::{Handler, Reply, ServerSettings, serve_connection, tls};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// Remembers what came; refuses what begins with `no` or `later`, and messages that hold `refuse me`.
#[derive(Clone, Default)]
pub struct Keeper {
    pub messages: Arc<Mutex<Vec<(Envelope, Bytes)>>>,
    pub chain: Arc<Mutex<Vec<CertificateDer<'static>>>>,
}

pub fn judge_address(address: &str) -> Reply {
    if address.starts_with("no") {
        Reply::new(550, (5, 1, 1), "no")
    } else if address.starts_with("later") {
        Reply::new(450, (4, 2, 1), "later")
    } else {
        Reply::new(250, (2, 1, 0), "yes")
    }
}

pub fn judge_message(raw: &[u8]) -> Reply {
    if raw.windows(9).any(|w| w == b"refuse me") {
        Reply::new(554, (5, 7, 1), "refused")
    } else {
        Reply::new(250, (2, 6, 0), "taken")
    }
}

impl Handler for Keeper {
    fn secured(&mut self, chain: &[CertificateDer<'_>], _: &str) {
        *self.chain.lock().unwrap() = chain.iter().map(|c| c.clone().into_owned()).collect();
    }
    async fn mail(&mut self, _: &str, envelope: &Envelope, _: usize) -> Reply {
        judge_address(&envelope.sender)
    }
    async fn rcpt(&mut self, recipient: &Recipient) -> Reply {
        judge_address(&recipient.address)
    }
    async fn message(&mut self, envelope: Envelope, raw: Bytes) -> Reply {
        let reply = judge_message(&raw);
        self.messages.lock().unwrap().push((envelope, raw));
        reply
    }
}

/// Settings of a server called `mx.example`, with its chain and key.
pub fn settings((chain, key): &(String, String)) -> ServerSettings {
    ServerSettings { octets_max: 1 << 20, ..ServerSettings::new("mx.example", tls::server_config(chain, key).unwrap()) }
}

pub async fn serve(settings: ServerSettings) -> (SocketAddr, Keeper) {
    let listener = smtp::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let (address, keeper) = (listener.local_addr().unwrap(), Keeper::default());
    let kept = keeper.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (settings, mut keeper) = (settings.clone(), kept.clone());
            tokio::spawn(async move { serve_connection(tcp, &settings, &mut keeper).await });
        }
    });
    (address, keeper)
}
