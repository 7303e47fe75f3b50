//! `[web]`: the pages that people see (docs/links.md).

use super::complaint::Complaint;
use gateway::WebSettings;
use gateway::links::PublicUrl;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use toml::Spanned;

/// To the proxy on this machine.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8026);

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct WebSection {
    listen: Option<Spanned<String>>,
    public_url: Option<Spanned<String>>,
}

impl Complaint<'_> {
    /// `None` where no public URL is named: there are no pages.
    pub(super) fn web(&self, written: WebSection) -> Option<WebSettings> {
        let listen = written.listen.as_ref().map_or(LISTEN, |listen| {
            self.or(self.value("web.listen", listen, "an address and port such as \"127.0.0.1:8026\""), LISTEN)
        });
        let Some(public) = written.public_url else {
            if let Some(listen) = written.listen {
                self.say(self.at(
                    listen.span().start,
                    "key `web.listen` needs `web.public_url`, by which the world reaches the pages, such as \"https://links.example.net\"".into(),
                ));
            }
            return None;
        };
        let parsed = PublicUrl::parse(public.get_ref());
        if parsed.is_none() {
            let text = format!(
                "key `web.public_url`: \"{}\" is not an address such as \"https://links.example.net\", with https and without a query",
                public.get_ref()
            );
            self.say(self.at(public.span().start, text));
        }
        parsed.map(|public_url| WebSettings { listen, public_url })
    }
}
