//! Step 1: from whom we take a message at all. Exchange Online proves itself by TLS, by a certificate with
//! Microsoft's name, and by an address of Microsoft's ranges; neither alone is enough (transport.md G1). One address
//! is open to everybody while it lives: that of a probe we sent ourselves, and what comes there goes nowhere.

use crate::drain::Guest;
use crate::ended::{Ended, Stop};
use crate::faults::Fault;
use crate::house::{House, NewAlert, written_meanwhile};
use crate::journey::journey;
use crate::log::Log;
use crate::metrics::Stored;
use crate::room::Room;
use crate::{limits, replies};
use bytes::Bytes;
use futures_util::FutureExt;
use mail::{Envelope, HeaderSection, Recipient};
use rustls_pki_types::CertificateDer;
use smtp::{Deadlines, Handler, Reply};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{AlertKind, Outcome, ProbeArrival};
use tenant::{HEADER_PASS, HEADER_PROBE, HEADER_ROUTE};
use tracing::Instrument;

/// A message as it was handed to us, by a peer that proved to be Exchange Online.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub id: String,
    pub at: jiff::Timestamp,
    pub peer: SocketAddr,
    pub helo: String,
    pub envelope: Envelope,
    pub raw: Bytes,
    /// From MAIL to the last octet.
    pub micros: u64,
    /// When the last octet had come.
    pub whole: Instant,
    /// From then to our answer.
    pub budget: Duration,
}

impl Received {
    /// How long Exchange Online can be waited for on the way back.
    pub(crate) fn deadlines(&self) -> Deadlines {
        Deadlines { commands: self.whole + self.budget, end_of_data: self.whole + limits::ANSWER_BY }
    }
    /// When checking has to end, so that there is time to hand back; half the budget where that is small.
    pub(crate) fn judged_by(&self) -> Instant {
        self.whole + self.budget - limits::HAND_BACK_RESERVE.min(self.budget / 2)
    }
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
    room: Option<Room>,
    guest: Guest,
}

impl Session {
    pub(crate) fn new(house: Arc<House>, peer: SocketAddr) -> Session {
        let guest = house.drain.guest();
        Session { guest, house, peer, helo: String::new(), trust: Trust::NoTls, began: Instant::now(), room: None }
    }

    fn judge(&self, chain: &[CertificateDer<'_>]) -> Trust {
        let settings = self.house.live();
        if let Err(why) = settings.client_judge.judge(chain, &settings.microsoft_names) {
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
        self.room = None;
        if matches!(self.trust, Trust::Microsoft) {
            self.room = Room::for_message(&self.house.octets, size).await;
            if self.room.is_none() {
                return replies::busy();
            }
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

    fn grows(&mut self, octets: usize) -> Result<(), Reply> {
        match &mut self.room {
            Some(room) => room.grow(&self.house.octets, octets),
            None if octets > limits::PROBE_OCTETS_MAX => Err(replies::no_such_mailbox()),
            None => Ok(()),
        }
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
            whole: Instant::now(),
            budget: self.house.settings.budget,
        });
        let to_probes =
            received.envelope.recipients.iter().all(|r| probe_token(&r.address, &self.house.settings.zone).is_some());
        let routed = || HeaderSection::of(&received.raw).fields().any(|f| f.is(HEADER_ROUTE));
        // at every level of the log: whatever is told of a journey carries its id
        let span = tracing::error_span!("journey", journey = %received.id);
        let reply = if to_probes && !routed() {
            swallow(&self.house, &received).instrument(span).await
        } else if matches!(self.trust, Trust::Microsoft) {
            carry(self.house.clone(), received).instrument(span).await
        } else {
            self.untrusted("a probe's address, but not a probe").await
        };
        self.room = None;
        reply
    }
}

/// One journey, its alert and its one journal entry. A panic ends this journey and nothing else.
pub(crate) async fn carry(house: Arc<House>, received: Arc<Received>) -> Reply {
    let began = Instant::now();
    // in a box: the journey's state is large, and it is moved twice
    let walk = Box::pin(async {
        let mut log = Log::begin(&received);
        let Some(_room) = house.room(&received).await else {
            return (Err(Stop::of(&Fault::Late("wait for room"), None, &received.id)), log);
        };
        let walked = journey(&house, &received, &mut log).await;
        (walked, log)
    });
    let (walked, mut log) = AssertUnwindSafe(walk)
        .catch_unwind()
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
    // mail goes on without its story rather than not at all
    let (store, entry) = (house.store.clone(), log.end(outcome, &reply));
    let writing = written_meanwhile("the journal", async move { store.put_journey(&entry).await });
    let _ = house.metrics.stored(Stored::Journal, writing).await;
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
