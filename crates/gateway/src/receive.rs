//! Step 1: from whom we take a message at all. Exchange Online proves itself by TLS, by a certificate with
//! Microsoft's name, and by an address of Microsoft's ranges; neither alone is enough (transport.md G1). One address
//! is open to everybody while it lives: that of a probe we sent ourselves, and what comes there goes nowhere.

use crate::drain::Guest;
use crate::ended::{Ended, Stop};
use crate::faults::Fault;
use crate::house::{House, NewAlert};
use crate::journey::journey;
use crate::log::Log;
use crate::metrics::Stored;
use crate::{limits, replies};
use bytes::Bytes;
use mail::{Envelope, HeaderSection, Recipient};
use rustls_pki_types::CertificateDer;
use smtp::{Handler, Reply};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use store::{AlertKind, Outcome, ProbeArrival};
use tenant::{HEADER_PASS, HEADER_PROBE, HEADER_ROUTE};
use tracing::Instrument;

/// A message as it was handed to us, by a peer that proved to be Exchange Online.
#[derive(Debug)]
pub(crate) struct Received {
    pub id: String,
    pub at: jiff::Timestamp,
    pub peer: SocketAddr,
    pub helo: String,
    pub envelope: Envelope,
    pub raw: Bytes,
    /// From MAIL to the last octet.
    pub micros: u64,
}

/// What a peer has proven.
enum Trust {
    NoTls,
    No(String),
    Microsoft,
}

/// Answers for one connection.
pub(crate) struct Session {
    house: Arc<House>,
    peer: SocketAddr,
    helo: String,
    trust: Trust,
    began: Instant,
    announced: Announced,
    guest: Guest,
}

impl Session {
    pub(crate) fn new(house: Arc<House>, peer: SocketAddr) -> Session {
        let announced = Announced { house: house.clone(), octets: 0 };
        let guest = house.drain.guest();
        Session { guest, house, peer, helo: String::new(), trust: Trust::NoTls, began: Instant::now(), announced }
    }

    fn judge(&self, chain: &[CertificateDer<'_>]) -> Trust {
        let settings = self.house.live();
        if let Err(why) = smtp::tls::judge_client(chain, &settings.roots, &settings.microsoft_names) {
            return Trust::No(why);
        }
        let ip = self.peer.ip();
        if !settings.is_microsofts(ip) {
            return Trust::No(format!(
                "its certificate is Microsoft's, but {ip} is in none of gateway.microsoft_ranges"
            ));
        }
        Trust::Microsoft
    }

    /// The alert is counted under the peer's address, so that a flood is one row.
    async fn untrusted(&self, why: &str) -> Reply {
        let text = format!(
            "{} (calls itself {:?}) tried to hand us mail: {why}; nothing was taken",
            self.peer.ip(),
            self.helo
        );
        self.house
            .raise(&NewAlert {
                kind: AlertKind::UntrustedPeer,
                tenant: None,
                subject: self.peer.ip().to_string(),
                text,
            })
            .await;
        replies::untrusted()
    }

    async fn is_live_probe(&self, address: &str) -> bool {
        match probe_token(address, &self.house.settings.zone) {
            Some(token) => matches!(self.house.live_probe(token).await, Ok(Some(_))),
            None => false,
        }
    }
}

/// The token of `probe-<token>@<zone>`.
fn probe_token<'a>(address: &'a str, zone: &str) -> Option<&'a str> {
    let (local, domain) = address.rsplit_once('@')?;
    if domain.eq_ignore_ascii_case(zone) { local.strip_prefix("probe-") } else { None }
}

/// Octets that a peer announced and that are not answered yet.
struct Announced {
    house: Arc<House>,
    octets: usize,
}

impl Announced {
    fn set(&mut self, octets: usize) -> bool {
        self.clear();
        let before = self.house.octets_under_way.fetch_add(octets, Ordering::Relaxed);
        self.octets = octets;
        let fits = before + octets <= limits::OCTETS_UNDER_WAY_MAX;
        if !fits {
            self.clear();
        }
        fits
    }
    fn clear(&mut self) {
        self.house.octets_under_way.fetch_sub(std::mem::take(&mut self.octets), Ordering::Relaxed);
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Handler for Session {
    fn resume(&mut self) -> Result<(), Reply> {
        if self.guest.begin() { Ok(()) } else { Err(replies::going_down()) }
    }

    fn rest(&mut self) {
        self.guest.rest();
    }

    async fn dismissed(&mut self) -> Reply {
        self.guest.dismissed().await;
        replies::going_down()
    }

    fn secured(&mut self, chain: &[CertificateDer<'_>], protocol: &str) {
        self.house.metrics.tls(protocol);
        self.trust = self.judge(chain);
    }

    async fn mail(&mut self, helo: &str, _envelope: &Envelope, size: usize) -> Reply {
        self.helo = helo.to_owned();
        if self.guest.is_draining() {
            return replies::going_down();
        }
        if matches!(self.trust, Trust::NoTls) {
            self.untrusted("no TLS").await;
            return replies::must_start_tls();
        }
        if let Trust::No(why) = &self.trust
            && size > limits::PROBE_OCTETS_MAX
        {
            // whoever is not Exchange Online has at most a probe to bring, and probes are small
            return self.untrusted(&why.clone()).await;
        }
        if matches!(self.trust, Trust::Microsoft) && !self.announced.set(size) {
            return replies::busy();
        }
        self.began = Instant::now();
        replies::sender_ok()
    }

    async fn rcpt(&mut self, recipient: &Recipient) -> Reply {
        let why = match &self.trust {
            Trust::Microsoft => return replies::recipient_ok(),
            Trust::NoTls => "no TLS".to_owned(),
            Trust::No(why) => why.clone(),
        };
        if self.is_live_probe(&recipient.address).await {
            return replies::recipient_ok();
        }
        self.untrusted(&why).await
    }

    async fn message(&mut self, envelope: Envelope, raw: Bytes) -> Reply {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let received = Arc::new(Received {
            id: uuid::Uuid::now_v7().to_string(),
            at: jiff::Timestamp::now(),
            peer: self.peer,
            helo: self.helo.clone(),
            envelope,
            raw,
            micros,
        });
        let to_probes =
            received.envelope.recipients.iter().all(|r| probe_token(&r.address, &self.house.settings.zone).is_some());
        let routed = HeaderSection::of(&received.raw).fields().any(|f| f.is(HEADER_ROUTE));
        // at every level of the log: whatever is told of a journey carries its id
        let span = tracing::error_span!("journey", journey = %received.id);
        let reply = if to_probes && !routed {
            swallow(&self.house, &received).instrument(span).await
        } else if matches!(self.trust, Trust::Microsoft) {
            carry(self.house.clone(), received).instrument(span).await
        } else {
            self.untrusted("a probe's address, but not a probe").await
        };
        self.announced.clear();
        reply
    }
}

/// One journey, its alert and its one journal entry. A panic ends this journey and nothing else.
pub(crate) async fn carry(house: Arc<House>, received: Arc<Received>) -> Reply {
    let Ok(_room) = house.journeys.acquire().await else { return replies::ours_is_broken(&received.id) };
    let (inside, message, began) = (house.clone(), received.clone(), Instant::now());
    let walk = async move {
        let mut log = Log::begin(&message);
        let walked = journey(&inside, &message, &mut log).await;
        (walked, log)
    };
    let (walked, mut log) = tokio::spawn(walk.in_current_span())
        .await
        .unwrap_or_else(|_| (Err(Stop::of(&Fault::Panic, None, &received.id)), Log::begin(&received)));
    let Ended { outcome, reply } = match walked {
        Ok(ended) => ended,
        Err(stop) => {
            log.entry.visits = log.entry.visits.max(stop.visits);
            log.entry.tenant = log.entry.tenant.or(stop.alert.tenant);
            log.fault = log.fault.or(stop.fault);
            house.raise(&stop.alert).await;
            stop.ended
        }
    };
    house.journey_ended(&log, outcome, began.elapsed());
    let entry = log.end(outcome, &reply);
    if let Err(e) = house.metrics.stored(Stored::Journal, house.store.put_journey(&entry)).await {
        // mail goes on without its story rather than not at all
        tracing::error!(journey = %received.id, error = %e, "the journal was not written");
    }
    reply
}

/// A probe that came all the way round: its header is kept as proof, and it ends here.
async fn swallow(house: &House, received: &Received) -> Reply {
    if received.raw.len() > limits::PROBE_OCTETS_MAX {
        return replies::no_such_mailbox();
    }
    let began = Instant::now();
    let section = HeaderSection::of(&received.raw);
    let end = section.end().min(limits::PROBE_HEADER_OCTETS_MAX);
    let headers = String::from_utf8_lossy(&received.raw[..end]).into_owned();
    let mark_seen = section.fields().any(|f| f.is(HEADER_PASS));
    let named = section.fields().find(|f| f.is(HEADER_PROBE)).map(|f| f.text().trim().to_owned());
    for recipient in &received.envelope.recipients {
        let token = probe_token(&recipient.address, &house.settings.zone).filter(|t| named.as_deref() == Some(*t));
        let probe = match token {
            Some(token) => house.live_probe(token).await,
            None => Ok(None),
        };
        let arrived = match probe {
            Ok(Some(probe)) => house
                .store
                .put_probe_arrival(&ProbeArrival {
                    token: probe.token.clone(),
                    at: received.at,
                    headers: headers.clone(),
                    mark_seen,
                })
                .await
                .map(|()| probe),
            Ok(None) => return replies::no_such_mailbox(),
            Err(e) => Err(e),
        };
        let Ok(probe) = arrived else { return replies::ours_is_broken(&received.id) };
        let mut log = Log::begin(received);
        log.entry.tenant = Some(probe.tenant);
        log.entry.probe = Some(probe.token);
        house.journey_ended(&log, Outcome::Swallowed, began.elapsed());
        if let Err(e) = house.store.put_journey(&log.end(Outcome::Swallowed, &replies::taken(&received.id))).await {
            tracing::error!(error = %e, "the journal was not written");
        }
    }
    replies::taken(&received.id)
}
