//! Mail of alerts goes straight to a smart host of the operator: what tells that a tenant's mail does not flow must
//! not need that tenant's mail flow.

use super::{kind_word, one_line, severity_word};
use crate::limits;
use mail::Envelope;
use mail_builder::MessageBuilder;
use mail_builder::headers::raw::Raw;
use smtp::{Connection, Delivery};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use store::Notice;
use tokio::time::timeout;

#[derive(Clone)]
pub struct MailTarget {
    pub from: String,
    pub to: Vec<String>,
    /// The name that its certificate must have; without TLS only where it is a loopback address.
    pub host: String,
    pub port: u16,
    /// What we call ourselves.
    pub helo: String,
    /// `None`: the system's.
    pub resolver: Option<SocketAddr>,
    pub tls: Arc<rustls::ClientConfig>,
}

impl fmt::Debug for MailTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailTarget({} to {} by {}:{})", self.from, self.to.join(", "), self.host, self.port)
    }
}

impl MailTarget {
    pub(super) async fn deliver(&self, notice: &Notice) -> Result<String, String> {
        let raw = self.message(notice).map_err(|e| e.to_string())?;
        let envelope = Envelope::new(self.from.clone(), self.to.clone());
        let mut last = format!("{} has no address", self.host);
        for address in self.addresses().await? {
            let target = smtp::Target {
                address,
                server_name: self.host.clone(),
                helo: self.helo.clone(),
                source: None,
                tls: self.tls.clone(),
            };
            let sent = timeout(limits::NOTICE_MAIL_TIMEOUT, send(&target, self.is_local(), &envelope, &raw));
            match sent.await.unwrap_or_else(|_| Err(format!("{} took too long", self.host))) {
                Ok(delivery) => return self.judged(&delivery),
                Err(why) => last = why,
            }
        }
        Err(one_line(&last))
    }

    /// Only where the operator wrote a loopback address: a name proves itself by TLS, wherever DNS says it is.
    fn is_local(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        if let Ok(ip) = self.host.parse() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let resolver = smtp::resolver::resolver(self.resolver, false)?;
        let found = resolver.lookup_ip(format!("{}.", self.host)).await.map_err(|e| e.to_string())?;
        Ok(found.iter().map(|ip| SocketAddr::new(ip, self.port)).collect())
    }

    /// Some have it: trying again would tell them twice, and the alert stands in the list for everybody.
    fn judged(&self, delivery: &Delivery) -> Result<String, String> {
        let each = |n: usize| format!("{}: {}", self.to[n], delivery.of(n));
        let taken = (0..self.to.len()).any(|n| delivery.of(n).is_success());
        let said = one_line(&(0..self.to.len()).map(each).collect::<Vec<_>>().join("; "));
        if taken { Ok(said) } else { Err(said) }
    }

    fn message(&self, notice: &Notice) -> std::io::Result<Vec<u8>> {
        let tenant = notice.tenant.map_or_else(|| "none".into(), |t| t.to_string());
        let text = format!(
            "{}\r\n\r\nabout      {}\r\nkind       {}\r\nseverity   {}\r\ntenant     {tenant}\r\nsince      {}\r\nalert      {}\r\n\r\nSeen to? posthouse alerts ack {}\r\n",
            one_line(&notice.text),
            one_line(&notice.subject),
            kind_word(notice.kind),
            severity_word(notice.severity),
            notice.first,
            notice.alert,
            notice.alert
        );
        MessageBuilder::new()
            .from(("Posthouse", self.from.as_str()))
            .to(self.to.iter().map(String::as_str).collect::<Vec<_>>())
            .subject(format!("[Posthouse] {}: {}", severity_word(notice.severity), one_line(&notice.subject)))
            // the same at every try, so that a second copy can be told from a second alert
            .message_id(format!("{}@{}", notice.id, self.helo))
            .date(notice.last.as_second())
            .header("Auto-Submitted", Raw::new("auto-generated"))
            .text_body(text)
            .write_to_vec()
    }
}

async fn send(target: &smtp::Target, local: bool, envelope: &Envelope, raw: &[u8]) -> Result<Delivery, String> {
    if local {
        let mut connection = Connection::open_local(target).await.map_err(|e| e.to_string())?;
        let delivery = connection.send(envelope, raw).await.map_err(|e| e.to_string())?;
        connection.quit().await;
        return Ok(delivery);
    }
    let mut connection = Connection::open(target).await.map_err(|e| e.to_string())?;
    let delivery = connection.send(envelope, raw).await.map_err(|e| e.to_string())?;
    connection.quit().await;
    Ok(delivery)
}
