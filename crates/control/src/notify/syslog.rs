//! Syslog: RFC 5424 with structured data, over UDP (RFC 5426), TCP with octet counting (RFC 6587 §3.4.1) or the
//! machine's own socket. Syslog has no answer: “sent” is all that can be known.

use super::{kind_word, one_line, severity_word};
use crate::limits;
use std::net::SocketAddr;
use std::path::PathBuf;
use store::{Notice, Severity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};
use tokio::time::timeout;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// `host:port`
    Udp(String),
    Tcp(String),
    Unix(PathBuf),
}

#[derive(Clone, Debug)]
pub struct SyslogTarget {
    pub address: SyslogAddress,
    /// RFC 5424 §6.2.1, 0 to 23.
    pub facility: u8,
    /// What we call ourselves.
    pub hostname: String,
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// By its usual name (RFC 5424 §6.2.1, table 1).
pub fn facility(name: &str) -> Option<u8> {
    FACILITIES.iter().position(|f| *f == name).and_then(|n| u8::try_from(n).ok())
}

/// RFC 5424 §6.3.3: three characters are escaped.
fn parameter(name: &str, value: &str) -> String {
    let escaped = one_line(value).replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
    format!(" {name}=\"{escaped}\"")
}

fn line(target: &SyslogTarget, notice: &Notice) -> String {
    // RFC 5424 §6.2.1, table 2: critical, warning, notice
    let severity = match notice.severity {
        Severity::High => 2,
        Severity::Medium => 4,
        Severity::Low => 5,
    };
    let fields = [
        ("id", notice.id.clone()),
        ("alert", notice.alert.to_string()),
        ("kind", kind_word(notice.kind)),
        ("severity", severity_word(notice.severity).into()),
        ("tenant", notice.tenant.map(|t| t.to_string()).unwrap_or_default()),
        ("subject", notice.subject.clone()),
        ("count", notice.count.to_string()),
    ];
    let data: String = fields.iter().map(|(name, value)| parameter(name, value)).collect();
    // 32473 is the number for those who have none of their own (RFC 5612)
    format!(
        "<{}>1 {:.3} {} posthouse {} alert [posthouse@32473{data}] \u{feff}{}",
        u16::from(target.facility) * 8 + severity,
        notice.last,
        target.hostname,
        std::process::id(),
        one_line(&format!("{}: {}", notice.subject, notice.text))
    )
}

/// Cut at a character, for a datagram that nobody has to put together again (RFC 5426 §3.2).
fn datagram(line: &str) -> &[u8] {
    let mut end = line.len().min(limits::SYSLOG_DATAGRAM_OCTETS_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line.as_bytes()[..end]
}

impl SyslogTarget {
    pub(super) async fn deliver(&self, notice: &Notice) -> Result<String, String> {
        let line = line(self, notice);
        let sending = async {
            match &self.address {
                SyslogAddress::Udp(host) => udp(host, &line).await,
                SyslogAddress::Tcp(host) => tcp(host, &line).await,
                SyslogAddress::Unix(path) => {
                    UnixDatagram::unbound()?.send_to(datagram(&line), path).await?;
                    Ok("sent; syslog does not answer".to_owned())
                }
            }
        };
        match timeout(limits::SYSLOG_TIMEOUT, sending).await {
            Ok(said) => said.map_err(|e: std::io::Error| e.to_string()),
            Err(_) => Err(format!("nothing within {} s", limits::SYSLOG_TIMEOUT.as_secs())),
        }
    }
}

async fn udp(host: &str, line: &str) -> std::io::Result<String> {
    let mut last = std::io::Error::other("the host has no address");
    for address in tokio::net::lookup_host(host).await? {
        let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let sent = async {
            let socket = UdpSocket::bind(any).await?;
            socket.connect(address).await?;
            socket.send(datagram(line)).await
        };
        match sent.await {
            Ok(_) => return Ok("sent; syslog does not answer".into()),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// A connection for each notice: over one that is kept open, the first message after the peer went away is lost unseen.
async fn tcp(host: &str, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(format!("{} {line}", line.len()).as_bytes()).await?;
    stream.shutdown().await?;
    // a reset tells that it was not read; whoever just keeps the connection open has it
    match timeout(limits::SYSLOG_CLOSE, stream.read_to_end(&mut Vec::new())).await {
        Ok(Err(e)) => Err(e),
        _ => Ok("sent; syslog does not answer".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use store::AlertKind;

    #[test]
    fn a_line_is_rfc_5424_whatever_is_in_the_text() {
        let target = SyslogTarget {
            address: SyslogAddress::Udp("log.example:514".into()),
            facility: facility("local3").unwrap_or(0),
            hostname: "gw.posthouse.example".into(),
        };
        let at = Timestamp::from_second(1_700_000_000).unwrap_or_default();
        let notice = Notice {
            id: "n-1".into(),
            alert: 7,
            kind: AlertKind::NotAttributed,
            severity: Severity::High,
            tenant: None,
            subject: "a \"rule\" [x]\\\r\n<0>1 forged".into(),
            text: "ü\nsecond line".into(),
            first: at,
            last: at,
            count: 1,
        };
        let written = line(&target, &notice).replace(&format!(" {} ", std::process::id()), " PID ");
        insta::assert_snapshot!(written.replace('\u{feff}', "BOM "), @r#"<154>1 2023-11-14T22:13:20.000Z gw.posthouse.example posthouse PID alert [posthouse@32473 id="n-1" alert="7" kind="not_attributed" severity="high" tenant="" subject="a \"rule\" [x\]\\  <0>1 forged" count="1"] BOM a "rule" [x]\  <0>1 forged: ü second line"#);
        let long = Notice { text: "ü".repeat(5000), ..notice };
        let cut = line(&target, &long);
        assert!(
            datagram(&cut).len() <= limits::SYSLOG_DATAGRAM_OCTETS_MAX && std::str::from_utf8(datagram(&cut)).is_ok()
        );
    }
}
