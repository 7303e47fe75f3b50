//! Mail transport: what Exchange Online does with a message between the doors and the mailboxes.
//!
//! `pipeline` shows one pass from arrival to fork; `egress` what leaves and how it is tried again.

mod attribution;
mod auth;
mod connectors;
mod egress;
mod fields;
mod limits;
mod pipeline;
mod rules;
mod smtp_client;
mod smtp_server;

use crate::mailbox::{Mime, folders};
use crate::world::World;
use auth::Authenticator;
use hickory_resolver::TokioResolver;
use pipeline::{Arrived, Envelope, Recipient};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

/// The unfolded value of a field of a raw message.
pub(crate) fn field(raw: &[u8], name: &str) -> Option<String> {
    fields::get(raw, name)
}

/// Name and unfolded value of every field of a raw message.
pub(crate) fn all_fields(raw: &[u8]) -> Vec<(String, String)> {
    fields::all(raw)
}

/// A raw message without the fields of that name.
pub(crate) fn without_field(raw: &[u8], name: &str) -> Vec<u8> {
    fields::rename(raw, |n| n.eq_ignore_ascii_case(name).then(String::new))
}

/// A message from the outside world.
#[derive(Clone, Debug, Default)]
pub struct InternetMail {
    pub from: String,
    pub to: Vec<String>,
    pub raw: Vec<u8>,
    /// Loopback address to come from; that of the sender's domain without it.
    pub source_ip: Option<IpAddr>,
    /// Any address, as whose mail the MX takes it, whatever it really comes from.
    pub client_ip: Option<IpAddr>,
    /// Sign with the sender's domain; as the domain does without it.
    pub sign: Option<bool>,
    pub smtputf8: bool,
    pub helo: Option<String>,
    pub notify: Option<String>,
    pub starttls: bool,
}

/// What the MX said to it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InternetReply {
    pub recipients: Vec<(String, String)>,
    pub data: Option<String>,
}

/// A message that waits to be tried again.
#[derive(Clone, Debug, Serialize)]
pub struct QueueEntry {
    pub id: Uuid,
    pub tenant: Uuid,
    pub message_id: String,
    pub sender: String,
    pub recipients: Vec<String>,
    pub next_host: String,
    pub attempts: usize,
    pub next_retry: i64,
    pub expires: i64,
    pub last_error: String,
}

/// The handle; clone freely.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

struct Inner {
    world: World,
    mx: SocketAddr,
    resolver: Arc<TokioResolver>,
    auth: Authenticator,
    outgoing: Semaphore,
    /// Messages being worked on; those that wait for a retry are not.
    busy: AtomicUsize,
    rest: watch::Sender<u64>,
    retry: watch::Sender<u64>,
    queue: watch::Sender<Vec<QueueEntry>>,
}

/// Counts a message as being worked on until dropped.
struct Busy(Transport);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.inner.busy.fetch_sub(1, Ordering::SeqCst);
        self.0.inner.rest.send_modify(|n| *n += 1);
    }
}

impl Transport {
    pub async fn start(world: World, dns: SocketAddr, listen: SocketAddr) -> std::io::Result<Transport> {
        let listener = TcpListener::bind(listen).await?;
        let auth = Authenticator::new(dns, world.pki.dkim_key.clone())?;
        let inner = Inner {
            mx: listener.local_addr()?,
            resolver: crate::dns::resolver(dns),
            auth,
            outgoing: Semaphore::new(limits::OUTGOING_MAX),
            busy: AtomicUsize::new(0),
            rest: watch::Sender::new(0),
            retry: watch::Sender::new(0),
            queue: watch::Sender::new(Vec::new()),
            world,
        };
        let transport = Transport { inner: Arc::new(inner) };
        tokio::spawn(smtp_server::serve(transport.clone(), listener));
        Ok(transport)
    }

    pub fn mx_address(&self) -> SocketAddr {
        self.inner.mx
    }

    fn world(&self) -> &World {
        &self.inner.world
    }

    fn busy(&self) -> Busy {
        self.inner.busy.fetch_add(1, Ordering::SeqCst);
        Busy(self.clone())
    }

    /// Takes a message over; from here on it ends in a mailbox, at another host, or as an NDR.
    fn take(&self, arrived: Arrived) {
        let (transport, busy) = (self.clone(), self.busy());
        tokio::spawn(async move {
            pipeline::pass(&transport, arrived).await;
            drop(busy);
        });
    }

    /// As a user from her own mailbox.
    pub async fn submit(&self, tenant: &str, from: &str, to: Vec<String>, raw: Vec<u8>) -> Result<(), String> {
        self.submit_kept(tenant, from, to, raw, true)
    }

    /// The same, with a copy in Sent Items or without.
    pub fn submit_kept(
        &self,
        tenant: &str,
        from: &str,
        to: Vec<String>,
        raw: Vec<u8>,
        keep: bool,
    ) -> Result<(), String> {
        if to.is_empty() {
            return Err("field `to`: at least one recipient is expected".into());
        }
        let (id, sender) = {
            let mut state = self.world().state();
            let limit = state.switches.message_bytes_max;
            if raw.len() > limit {
                return Err(format!("the message is larger than {limit} bytes"));
            }
            let at = self.world().clock.unix();
            let t = state.tenant_mut(tenant).ok_or_else(|| format!("no tenant is called {tenant}"))?;
            let user = t.user_by_address(from).ok_or_else(|| format!("{from} is nobody in this tenant"))?;
            let sender = user.addresses.first().cloned().unwrap_or_else(|| user.upn.clone());
            let copy = crate::world::StoredMessage {
                id: Uuid::new_v4().simple().to_string(),
                received: at,
                sender: sender.clone(),
                recipient: to.join(", "),
                message_id: fields::get(&raw, "Message-ID").unwrap_or_default(),
                mime: Mime::new(raw.clone()),
            };
            let id = t.id;
            if let Some(mailbox) = t.mailbox_mut(&sender).filter(|_| keep) {
                mailbox.add(copy, folders::SENT, at, |_| {});
            }
            (id, sender)
        };
        let recipients = to.into_iter().map(|address| Recipient { address, ..Recipient::default() }).collect();
        let envelope = Envelope { from: sender, recipients, ..Envelope::default() };
        self.take(Arrived {
            tenant: id,
            envelope,
            raw,
            ip: IpAddr::from([255, 255, 255, 255]),
            helo: String::new(),
            connector: None,
            submitted: true,
        });
        Ok(())
    }

    /// From the outside world, over real SMTP to the MX.
    pub async fn send_from_internet(&self, mail: InternetMail) -> Result<InternetReply, String> {
        let domain = fields::domain_of(&mail.from);
        let (source, key) = {
            let state = self.world().state();
            let known = state.external.iter().find(|e| e.name == domain);
            (known.and_then(|e| e.address.parse().ok()), known.and_then(|e| e.dkim_key.clone()))
        };
        let source = mail.source_ip.or(source).unwrap_or(IpAddr::from([127, 0, 10, 250]));
        let mut raw = mail.raw;
        if let Some(key) = key.filter(|_| mail.sign.unwrap_or(true))
            && let Some(signature) = auth::sign_as(&raw, &key, &domain, "s1")
        {
            raw = [signature, raw].concat();
        }
        let recipients = mail
            .to
            .iter()
            .map(|a| Recipient { address: a.clone(), notify: mail.notify.clone(), orcpt: None })
            .collect();
        let envelope = Envelope { from: mail.from, recipients, smtputf8: mail.smtputf8, ..Envelope::default() };
        let target = smtp_client::Target {
            address: self.inner.mx,
            host: "mail.protection.outlook.com".into(),
            source: Some(source),
            appears_as: mail.client_ip,
            helo: mail
                .helo
                .unwrap_or_else(|| format!("mx.{}", if domain.is_empty() { "unknown.example" } else { &domain })),
            tls: if mail.starttls { smtp_client::Tls::Opportunistic } else { smtp_client::Tls::Never },
            use_bdat: true,
            // RFC 5321 §4.5.3.2.6
            end_of_data: Duration::from_secs(600),
        };
        let said = smtp_client::send(&target, &envelope, &raw).await?;
        Ok(InternetReply { recipients: mail.to.into_iter().zip(said.recipients).collect(), data: said.data })
    }

    /// True once nothing is being worked on (messages that wait for a retry rest in the queue).
    pub async fn idle(&self, within: Duration) -> bool {
        let mut rest = self.inner.rest.subscribe();
        let wait = async {
            while self.inner.busy.load(Ordering::SeqCst) > 0 {
                if rest.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(within, wait).await.is_ok()
    }

    pub fn queue(&self) -> Vec<QueueEntry> {
        self.inner.queue.borrow().clone()
    }

    /// Tries everything that waits, now; returns when all of it is being worked on, so that nobody takes it for idle.
    pub async fn retry_now(&self) {
        let resting = self.queue();
        self.inner.retry.send_modify(|n| *n += 1);
        self.taken_up(&resting).await;
    }

    /// The clock went on: returns when whatever is due is being worked on.
    pub async fn due_now(&self) {
        let now = self.world().clock.unix();
        let due: Vec<QueueEntry> = self.queue().into_iter().filter(|e| e.next_retry <= now).collect();
        self.taken_up(&due).await;
    }

    async fn taken_up(&self, resting: &[QueueEntry]) {
        let rests = |e: &QueueEntry| resting.iter().any(|r| (r.id, r.attempts) == (e.id, e.attempts));
        // the sender lives as long as we do
        let _ = self.inner.queue.subscribe().wait_for(|queue| !queue.iter().any(rests)).await;
    }
}
