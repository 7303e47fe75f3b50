//! Microsoft's addresses as data: a file that the operator downloads, either as Microsoft publishes it (the endpoints
//! web service, JSON) or with one range a line. Of the JSON only Exchange's entries for SMTP count; everything else in it
//! is of addresses that never send mail.

use anyhow::{Context, Result, anyhow, bail};
use ipnet::IpNet;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// Where Microsoft publishes them; the `clientrequestid` is any GUID.
pub const SERVICE: &str = "https://endpoints.office.com/endpoints/worldwide?clientrequestid=<any GUID>";

/// A file of Microsoft's is some 60 KiB; what is far larger is another file.
const FILE_OCTETS_MAX: u64 = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    service_area: String,
    #[serde(default)]
    ips: Vec<String>,
    /// `25` or `80,443`
    #[serde(default)]
    tcp_ports: String,
}

impl Endpoint {
    fn sends_mail(&self) -> bool {
        self.service_area == "Exchange" && self.tcp_ports.split(',').any(|port| port.trim() == "25")
    }
}

/// The ranges of a file, in order and each once.
pub fn read(file: &Path) -> Result<Vec<IpNet>> {
    let shown = file.display();
    let unreadable = |e: std::io::Error| anyhow!(crate::check::unreadable(file, &e));
    let octets = std::fs::metadata(file).map_err(unreadable)?.len();
    if octets > FILE_OCTETS_MAX {
        bail!("{shown} is {octets} octets long; expected Microsoft's endpoints as JSON, or one range a line");
    }
    parse(&std::fs::read_to_string(file).map_err(unreadable)?).with_context(|| shown.to_string())
}

pub fn parse(text: &str) -> Result<Vec<IpNet>> {
    let written: Vec<(usize, String)> = if text.trim_start().starts_with(['[', '{']) {
        let all: Vec<Endpoint> = serde_json::from_str(text)
            .map_err(|e| anyhow!("not the JSON of Microsoft's endpoints web service ({e}); get it from {SERVICE}"))?;
        all.into_iter().filter(Endpoint::sends_mail).flat_map(|e| e.ips).map(|ip| (0, ip)).collect()
    } else {
        let line = |line: &str| line.split('#').next().unwrap_or("").trim().to_owned();
        text.lines().map(line).enumerate().map(|(n, l)| (n + 1, l)).filter(|(_, l)| !l.is_empty()).collect()
    };
    let mut ranges = BTreeSet::new();
    for (line, written) in written {
        let range: IpNet = written
            .parse()
            .or_else(|_| written.parse::<std::net::IpAddr>().map(IpNet::from))
            .map_err(|_| anyhow!("line {line}: \"{written}\" is not an address range such as 40.92.0.0/15"))?;
        if range.prefix_len() == 0 {
            bail!(
                "line {line}: {range} is every address; whoever sends from anywhere would be half way to being Microsoft"
            );
        }
        ranges.insert(range.trunc());
    }
    if ranges.is_empty() {
        bail!("no range of Exchange for port 25 stands in it; with none all mail would be refused");
    }
    Ok(ranges.into_iter().collect())
}

/// What a file would change, for a person to look at before it does.
#[derive(Debug, serde::Serialize)]
pub struct Comparison {
    pub taken: Vec<IpNet>,
    pub added: Vec<IpNet>,
    pub removed: Vec<IpNet>,
}

pub fn compare(present: &[IpNet], taken: Vec<IpNet>) -> Comparison {
    let without = |a: &[IpNet], b: &[IpNet]| a.iter().filter(|r| !b.contains(r)).copied().collect();
    Comparison { added: without(&taken, present), removed: without(present, &taken), taken }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for range in &self.taken {
            writeln!(f, "{} {range}", if self.added.contains(range) { '+' } else { ' ' })?;
        }
        for range in &self.removed {
            writeln!(f, "- {range}")?;
        }
        write!(f, "{} ranges, {} added, {} removed", self.taken.len(), self.added.len(), self.removed.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// In the form of Microsoft's answer; the addresses are of documentation ranges.
    const PUBLISHED: &str = r#"[
      {"id": 1, "serviceArea": "Exchange", "urls": ["outlook.example"], "ips": ["192.0.2.0/24"], "tcpPorts": "80,443", "category": "Optimize"},
      {"id": 9, "serviceArea": "Exchange", "urls": ["*.protection.example"], "ips": ["192.0.2.0/24"], "tcpPorts": "443,2525"},
      {"id": 10, "serviceArea": "Exchange", "urls": ["*.mail.protection.example"], "ips": ["198.51.100.0/24", "2001:db8:f400::/48"], "tcpPorts": "25"},
      {"id": 11, "serviceArea": "Exchange", "urls": ["*.mx.example"], "ips": ["198.51.100.0/24", "203.0.113.7/25"], "tcpPorts": "25,443"},
      {"id": 31, "serviceArea": "SharePoint", "ips": ["203.0.113.128/25"], "tcpPorts": "25"},
      {"id": 46, "serviceArea": "Common", "urls": ["*.office.example"], "tcpPorts": "443"}
    ]"#;

    fn said(text: &str) -> String {
        match parse(text) {
            Ok(ranges) => ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn exchanges_entries_for_smtp_are_taken_and_no_others() {
        assert_eq!(said(PUBLISHED), "198.51.100.0/24 203.0.113.0/25 2001:db8:f400::/48");
        assert_eq!(said("# ours\n198.51.100.0/24 # first\n\n203.0.113.9\r\n"), "198.51.100.0/24 203.0.113.9/32");
    }

    #[test]
    fn a_file_that_would_open_or_close_the_door_by_mistake_is_refused() {
        let web = PUBLISHED.replace("\"25\"", "\"443\"").replace("25,443", "443");
        let cases = [
            ("nothing for SMTP", said(&web)),
            ("empty", said("# nothing\n")),
            ("everything", said("198.51.100.0/24\n0.0.0.0/0\n")),
            ("no range", said("198.51.100.0/24\nfoo\n")),
            ("other JSON", said("{\"error\": \"not found\"}")),
            ("half a file", said(&PUBLISHED[..200])),
        ];
        insta::assert_snapshot!(cases.iter().fold(String::new(), |all, (what, said)| format!("{all}{what}: {said}\n")));
    }

    #[test]
    fn a_person_sees_what_a_file_would_change() {
        let present = ["198.51.100.0/24".parse().unwrap(), "192.0.2.0/24".parse().unwrap()];
        let text = compare(&present, parse(PUBLISHED).unwrap()).to_string();
        assert_eq!(
            text,
            "  198.51.100.0/24\n+ 203.0.113.0/25\n+ 2001:db8:f400::/48\n- 192.0.2.0/24\n3 ranges, 2 added, 1 removed"
        );
    }
}
