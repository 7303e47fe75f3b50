//! A link to a host that has no name, or one written so that it is not recognised.

use super::{Detector, whose};
use crate::content::urls::SeenUrl;
use crate::{Category, Evidence, Finding, Severity};
use std::net::Ipv4Addr;
use url::Host;

pub const DETECTOR: Detector = Detector {
    id: "odd_host",
    title: "Link to a host without an honest name",
    category: Category::MaliciousUrl,
    severity: Severity::Suspicious,
    prose: "Links to bare public IP addresses (60 points; private networks are left alone), to addresses written as one number, in hex\nor octal (suspicious), to hosts written in mathematical, full-width or circled letters that only a browser turns into plain ones\n(suspicious), to internationalised names that mix look-alike letters into Latin ones (suspicious). Names in one script of\ntheir own are not judged.",
    look,
};

const IP_POINTS: u32 = 60;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for url in evidence.content.followed() {
        if let Some(finding) = judge(url)
            && !found.iter().any(|f| f.summary == finding.summary)
            && found.len() < 5
        {
            found.push(finding);
        }
    }
    // points of one kind are counted once, however many links there are
    if let Some(first) = found.iter().position(|f| f.severity == Severity::Note) {
        let mut n = 0;
        found.retain(|f| {
            n += 1;
            f.severity > Severity::Note || n - 1 == first
        });
    }
    found
}

fn judge(url: &SeenUrl) -> Option<Finding> {
    let detail = || vec![whose::detail(&url.written)];
    let written = host_as_written(&url.written);
    match url.url.host()? {
        Host::Ipv4(ip) if is_public(ip) => {
            if !url.is_wrapped && written.as_deref().is_some_and(|w| w.parse::<Ipv4Addr>().is_err()) {
                return Some(Finding::suspicious(
                    &DETECTOR,
                    format!("a link hides the IP address {ip} in another notation"),
                    detail(),
                ));
            }
            Some(Finding::note(&DETECTOR, IP_POINTS, format!("a link leads to the bare IP address {ip}"), detail()))
        }
        Host::Ipv6(ip)
            if !ip.is_loopback() && (ip.segments()[0] & 0xfe00) != 0xfc00 && (ip.segments()[0] & 0xffc0) != 0xfe80 =>
        {
            Some(Finding::note(&DETECTOR, IP_POINTS, format!("a link leads to the bare IP address {ip}"), detail()))
        }
        Host::Domain(host) => {
            let written = written.filter(|_| !url.is_wrapped)?;
            if !written.is_ascii() && !host.split('.').any(|l| l.starts_with("xn--")) {
                return Some(Finding::suspicious(
                    &DETECTOR,
                    format!("a link writes the host {host} in letters of another style"),
                    detail(),
                ));
            }
            let shown = shown_labels(host);
            let mixed = shown.iter().find(|label| mixes_scripts(label))?;
            Some(Finding::suspicious(
                &DETECTOR,
                format!("the host {host} shows as \"{mixed}\", with look-alike letters"),
                detail(),
            ))
        }
        _ => None,
    }
}

fn is_public(ip: Ipv4Addr) -> bool {
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_unspecified()
        || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64))
}

/// Between the slashes and the path, without user and port; percent signs resolved as a browser does.
fn host_as_written(written: &str) -> Option<String> {
    let rest = written
        .split_once(':')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        .map_or(written, |(_, rest)| rest);
    let rest = rest.trim_start_matches(['/', '\\']);
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rsplit('@').next()?;
    let host = host.split(':').next()?;
    Some(host.trim_end_matches('.').to_ascii_lowercase())
}

/// Punycode labels as browsers show them.
fn shown_labels(host: &str) -> Vec<String> {
    host.split('.').filter_map(|l| l.strip_prefix("xn--")).filter_map(decode_label).collect()
}

fn decode_label(label: &str) -> Option<String> {
    idna::punycode::decode_to_string(label)
}

/// Latin letters with Cyrillic or Greek ones among them, or nothing but such that all look like Latin ones.
fn mixes_scripts(label: &str) -> bool {
    let (mut latin, mut foreign, mut all_alike) = (0, 0, true);
    for c in label.chars().filter(|c| c.is_alphabetic()) {
        let alike = crate::content::letters::is_look_alike(c);
        if c.is_ascii() {
            latin += 1;
        } else if matches!(c, '\u{370}'..='\u{52f}' | '\u{250}'..='\u{2af}' | '\u{530}'..='\u{58f}' | '\u{1d00}'..='\u{1d2b}')
        {
            foreign += 1;
            all_alike &= alike;
        } else {
            return false;
        }
    }
    // a whole word that could be Latin letter by letter is rare in any language
    foreign > 0 && (latin > 0 || (all_alike && foreign >= 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_script_are_left_alone() {
        assert!(mixes_scripts("pаypal") && mixes_scripts("аррӏе"));
        assert!(
            !mixes_scripts("müller") && !mixes_scripts("почта") && !mixes_scripts("日本") && !mixes_scripts("россия")
        );
    }

    #[test]
    fn hosts_are_read_as_they_are_written() {
        for (written, host) in [
            ("http://3232235777/x", "3232235777"),
            ("https:\\\\user:p@0x7f.1:80\\x", "0x7f.1"),
            ("www.a.example/x", "www.a.example"),
            ("//b.example", "b.example"),
        ] {
            assert_eq!(host_as_written(written).as_deref(), Some(host), "{written}");
        }
    }
}
