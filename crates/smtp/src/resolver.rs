//! Names to addresses: the operator's name server, or the system's.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::net::SocketAddr;
use std::time::Duration;

/// Name servers and options; `None` is what the system says.
pub fn name_servers(server: Option<SocketAddr>) -> Result<(ResolverConfig, ResolverOpts), String> {
    let (config, mut options) = match server {
        Some(server) => {
            let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
            udp.port = server.port();
            tcp.port = server.port();
            let server = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
            (ResolverConfig::from_parts(None, vec![], vec![server]), ResolverOpts::default())
        }
        None => hickory_resolver::system_conf::read_system_conf().map_err(|e| e.to_string())?,
    };
    options.timeout = Duration::from_secs(2);
    options.attempts = 2;
    Ok((config, options))
}

/// `remember`: answers are kept for as long as they say; without it every question is asked anew.
pub fn resolver(server: Option<SocketAddr>, remember: bool) -> Result<TokioResolver, String> {
    let (config, mut options) = name_servers(server)?;
    if !remember {
        options.cache_size = 0;
    }
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    builder.build().map_err(|e| e.to_string())
}
