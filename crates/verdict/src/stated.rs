//! What Microsoft's first pass wrote into a message. Trusted only as far as its origin is proven (docs/trust.md).

use crate::{AuthResult, Proofs};
use mail::Message;

impl Proofs {
    /// Of the topmost field of each name, which whoever wrote last put there; nothing verified by ourselves.
    pub fn stated(message: &Message) -> Proofs {
        let top = |name: &str| message.header_values(name).into_iter().next();
        Proofs {
            microsoft: top("Authentication-Results").map(|v| results(&v)).unwrap_or_default(),
            own: Vec::new(),
            scl: top("X-Forefront-Antispam-Report").and_then(|v| scl(&v)),
        }
    }
}

/// `spf=pass (sender IP is …) smtp.mailfrom=d; dkim=…` (RFC 8601 §2.2; Microsoft's grammar: transport.md F2.8).
fn results(value: &str) -> Vec<AuthResult> {
    let mut found = Vec::new();
    for part in without_comments(value).split(';') {
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
    let keep = |c: char| match c {
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
    value
        .chars()
        .filter(|c| !c.is_control())
        .filter({
            let mut keep = keep;
            move |c| keep(*c)
        })
        .collect()
}

fn scl(value: &str) -> Option<i8> {
    value.split(';').find_map(|p| p.trim().strip_prefix("SCL:")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microsofts_results_are_read() {
        let line = "spf=pass (sender IP is 1.2.3.4 (x)) smtp.mailfrom=bounce@Acme.example; dkim=none (message not signed) header.d=none;dmarc=fail action=oreject header.from=acme.example;compauth=fail reason=000";
        let seen: Vec<String> = results(line)
            .iter()
            .map(|r| format!("{} {} {}", r.method, r.result, r.domain.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(seen, ["spf pass acme.example", "dkim none -", "dmarc fail acme.example", "compauth fail -"]);
        assert_eq!(results("garbage ((; = ;x=y"), []);
        assert_eq!((scl("CIP:1.2.3.4;SCL:-1;SFV:SKN"), scl("SFV:NSPM"), scl("SCL:5")), (Some(-1), None, Some(5)));
    }
}
