//! Ports: free, allowed and of this machine. What the process that serves from the same folder has is its own.

use super::Checked;
use crate::config::Config;
use crate::running::Running;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::net::{TcpListener, UdpSocket};

pub(super) async fn all(config: &Config) -> Vec<Checked> {
    let running = Running::of(&config.data_dir);
    let mut all = vec![tcp("gateway.listen", config.listen, running.as_ref()).await];
    if let Some(listen) = config.zone_listen {
        let udp = UdpSocket::bind(listen).await.map(drop);
        let tcp = tcp("zone.listen", listen, running.as_ref()).await;
        all.push(match udp {
            Err(e) if tcp.level == super::Level::Ok && !is_its_own(listen, running.as_ref()) => {
                judged("zone.listen", listen, "UDP", Err(e))
            }
            _ => tcp,
        });
    }
    if let Some(web) = &config.web {
        all.push(tcp("web.listen", web.listen, running.as_ref()).await);
    }
    if let Some(listen) = config.status {
        all.push(tcp("status.listen", listen, running.as_ref()).await);
        if !listen.ip().is_loopback() {
            all.push(Checked::warning(
                "status.listen",
                format!(
                    "{listen} can be asked from other machines, and it asks nobody who he is; let a firewall do that"
                ),
            ));
        }
    }
    if let Some(source) = config.egress_address {
        let bound = TcpListener::bind(SocketAddr::new(source, 0)).await.map(drop);
        all.push(match bound {
            Err(e) if e.kind() == ErrorKind::AddrNotAvailable => Checked::problem(
                "gateway.egress_address",
                format!("{source} is no address of this machine; `ip address` shows those that are"),
            ),
            _ => Checked::ok("gateway.egress_address", format!("{source} is ours")),
        });
    }
    all
}

fn is_its_own(listen: SocketAddr, running: Option<&Running>) -> bool {
    running.is_some_and(|r| r.listens.contains(&listen))
}

async fn tcp(key: &str, listen: SocketAddr, running: Option<&Running>) -> Checked {
    if let Some(running) = running.filter(|_| is_its_own(listen, running)) {
        return Checked::ok(key, format!("{listen} is served by process {}", running.pid));
    }
    judged(key, listen, "TCP", TcpListener::bind(listen).await.map(drop))
}

fn judged(key: &str, listen: SocketAddr, protocol: &str, bound: std::io::Result<()>) -> Checked {
    let (ip, port) = (listen.ip(), listen.port());
    let Err(error) = bound else { return Checked::ok(key, format!("{listen} is free")) };
    Checked::problem(
        key,
        match error.kind() {
            ErrorKind::AddrInUse => format!(
                "{protocol} port {port} of {ip} is taken by another process; `ss -lnp sport = :{port}` shows which"
            ),
            ErrorKind::PermissionDenied => format!(
                "port {port} needs more rights; give the service AmbientCapabilities=CAP_NET_BIND_SERVICE, or name a port above 1023"
            ),
            ErrorKind::AddrNotAvailable => {
                format!("{ip} is no address of this machine; `ip address` shows those that are, 0.0.0.0 is all of them")
            }
            _ => format!("{listen} cannot be listened on: {error}"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_had_is_told_by_its_reason() {
        let said: String = [98, 13, 99, 97].iter().fold(String::new(), |all, number| {
            let error = std::io::Error::from_raw_os_error(*number);
            format!("{all}{}\n", judged("gateway.listen", ([192, 0, 2, 25], 25).into(), "TCP", Err(error)))
        });
        insta::assert_snapshot!(said);
    }
}
