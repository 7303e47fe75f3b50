//! What Microsoft wrote down when the message first came to the tenant (transport.md F2.8): results, score, client.
//! Its own fields are topmost; the peer and the tenant are proven, so that nobody else wrote those (G10).

use crate::{AuthResult, Fact, FirstPass, Proofs};
use mail::Message;
use std::net::IpAddr;

impl Proofs {
    /// What stands in a message's own header; nothing verified by ourselves.
    pub fn stated(message: &Message) -> Proofs {
        read(message)
    }
}

fn read(message: &Message) -> Proofs {
    let topmost = |name: &str| message.headers().fields().find(|f| f.is(name)).map(|f| f.text()).unwrap_or_default();
    let (results_field, report) = (topmost("Authentication-Results"), topmost("X-Forefront-Antispam-Report"));
    let bare = without_comments(&results_field);
    let items: Vec<(&str, &str)> = report.split(';').filter_map(|p| p.trim().split_once(':')).collect();
    let item = |name: &str| items.iter().find(|(n, _)| *n == name).map(|(_, v)| v.trim()).filter(|v| !v.is_empty());
    Proofs {
        microsoft: results(&bare),
        own: Vec::new(),
        scl: item("SCL").and_then(|v| v.parse().ok()),
        first_pass: FirstPass {
            dmarc_action: property(&bare, "action"),
            compauth_reason: property(&bare, "reason"),
            bcl: self::item(&topmost("X-Microsoft-Antispam"), "BCL").and_then(|v| v.parse().ok()),
            filter_verdict: item("SFV").map(str::to_owned),
            category: item("CAT").map(str::to_owned),
            country: item("CTRY").map(str::to_owned),
            ip_verdict: item("IPV").map(str::to_owned),
        },
        client: client(item("CIP"), &results_field),
        sender_policy: Fact::default(),
    }
}

/// The name by which the client greeted Microsoft.
pub fn stated_helo(message: &Message) -> Option<String> {
    let report = message.headers().fields().find(|f| f.is("X-Forefront-Antispam-Report"))?.text();
    item(&report, "H").map(|h| h.trim_end_matches('.').to_ascii_lowercase())
}

/// `CIP:192.0.2.1`, else `spf=… (sender IP is 192.0.2.1)`; addresses of private networks say nothing about a sender.
fn client(cip: Option<&str>, results: &str) -> Fact<IpAddr> {
    let told = results.split_once("sender IP is ").and_then(|(_, rest)| rest.split([')', ' ']).next());
    let Some(text) = cip.or(told) else { return Fact::Absent };
    match text.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) if v4.is_private() || v4.is_loopback() || v4.is_unspecified() || v4.is_broadcast() => {
            Fact::Absent
        }
        Ok(ip) if ip.is_loopback() || ip.is_unspecified() => Fact::Absent,
        Ok(ip) => Fact::Known(ip),
        Err(_) => Fact::Unknown(format!("\"{text}\" is no address")),
    }
}

/// `NAME:value;`
fn item<'a>(field: &'a str, name: &str) -> Option<&'a str> {
    let value = field.split(';').find_map(|p| p.trim().strip_prefix(name)?.strip_prefix(':'))?.trim();
    Some(value).filter(|v| !v.is_empty())
}

/// `name=value` anywhere among the results.
fn property(results: &str, name: &str) -> Option<String> {
    let words = results.split([';', ' ', '\t']);
    words.filter_map(|w| w.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v.to_ascii_lowercase())
}

/// `spf=pass smtp.mailfrom=d; dkim=…` (RFC 8601 §2.2; Microsoft's grammar: transport.md F2.8).
fn results(bare: &str) -> Vec<AuthResult> {
    let mut found = Vec::new();
    for part in bare.split(';') {
        let mut words = part.split_whitespace();
        let Some((method, result)) = words.next().and_then(|w| w.split_once('=')) else { continue };
        let known = ["spf", "dkim", "dmarc", "arc", "compauth"];
        let method = method.to_ascii_lowercase();
        if !known.contains(&method.as_str()) {
            continue;
        }
        let property = |word: &str| {
            let (name, value) = word.split_once('=')?;
            let names = ["smtp.mailfrom", "header.d", "header.from"];
            names.contains(&name).then(|| value.rsplit('@').next().unwrap_or(value).to_ascii_lowercase())
        };
        let domain = words.find_map(property).filter(|d| d != "none");
        found.push(AuthResult { method, result: result.to_ascii_lowercase(), domain });
    }
    found
}

fn without_comments(value: &str) -> String {
    let mut depth = 0usize;
    let mut keep = |c: char| match c {
        '(' => {
            depth += 1;
            false
        }
        ')' => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    };
    let mut bare = String::with_capacity(value.len());
    bare.extend(value.chars().filter(|c| !c.is_control()).filter(|c| keep(*c)));
    bare
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seen(raw: &str) -> Proofs {
        read(&Message::parse(raw.replace('\n', "\r\n").into_bytes().into()))
    }

    #[test]
    fn microsofts_results_are_read() {
        let line = "spf=pass (sender IP is 203.0.113.4 (x)) smtp.mailfrom=bounce@Acme.example; dkim=none (message not signed) header.d=none;dmarc=fail action=oreject header.from=acme.example;compauth=fail reason=000";
        let proofs = seen(&format!("Authentication-Results: {line}\n\n"));
        let said: Vec<String> = proofs
            .microsoft
            .iter()
            .map(|r| format!("{} {} {}", r.method, r.result, r.domain.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(said, ["spf pass acme.example", "dkim none -", "dmarc fail acme.example", "compauth fail -"]);
        assert_eq!(proofs.first_pass.dmarc_action.as_deref(), Some("oreject"));
        assert_eq!(proofs.first_pass.compauth_reason.as_deref(), Some("000"));
        assert_eq!(proofs.client, Fact::Known("203.0.113.4".parse().unwrap()));
        assert_eq!(seen("Authentication-Results: garbage ((; = ;x=y\n\n").microsoft, []);
    }

    #[test]
    fn the_report_is_read_and_only_the_topmost() {
        let raw = "X-Forefront-Antispam-Report: CIP:198.51.100.7;CTRY:US;IPV:NLI;SCL:5;SFV:SPM;H:mail.acme.example;CAT:PHSH;\nX-Microsoft-Antispam: BCL:7;ARA:1;\nX-Forefront-Antispam-Report: CIP:192.0.2.9;SCL:-1\n\n";
        let proofs = seen(raw);
        let first = &proofs.first_pass;
        assert_eq!((proofs.scl, first.bcl), (Some(5), Some(7)));
        let words = [&first.filter_verdict, &first.category, &first.country, &first.ip_verdict];
        assert_eq!(words.map(|w| w.as_deref().unwrap()), ["SPM", "PHSH", "US", "NLI"]);
        assert_eq!(proofs.client, Fact::Known("198.51.100.7".parse().unwrap()));
        assert_eq!(
            stated_helo(&Message::parse(raw.replace('\n', "\r\n").into_bytes().into())).as_deref(),
            Some("mail.acme.example")
        );
        assert_eq!(seen("X-Forefront-Antispam-Report: SCL:-1;CIP:10.0.0.1\n\n").client, Fact::Absent);
        assert_eq!(seen("X-Forefront-Antispam-Report: SFV:NSPM\n\n").scl, None);
        assert_eq!(seen("\n").client, Fact::Absent);
    }
}
