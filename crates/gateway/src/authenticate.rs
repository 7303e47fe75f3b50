//! Step 4: what is proven about the sender. Microsoft's topmost results (trusted, since the peer and the tenant are
//! proven, G10), and our own DKIM and ARC verification. Facts, not errors: what cannot be found out is `temperror`.

use crate::receive::Received;
use crate::{house::House, limits};
use mail::Message;
use mail_auth::{ArcResult, AuthenticatedMessage, DkimResult};
use std::time::Instant;
use verdict::{AuthResult, Proofs};

pub(crate) async fn authenticate(house: &House, received: &Received, message: &Message) -> Proofs {
    let until = received.judged_by().min(Instant::now() + limits::AUTHENTICATE_BUDGET);
    let own = match tokio::time::timeout_at(until.into(), verify(house, message.raw())).await {
        Ok(own) => own,
        Err(_) => vec![fact("dkim", "temperror", None), fact("arc", "temperror", None)],
    };
    Proofs { own, ..stated(message) }
}

/// What Microsoft wrote into a message; nothing verified by ourselves.
pub fn stated(message: &Message) -> Proofs {
    let microsoft = message.header_values("Authentication-Results").first().map(|v| results(v)).unwrap_or_default();
    let scl = message.header_values("X-Forefront-Antispam-Report").first().and_then(|v| scl(v));
    Proofs { microsoft, scl, ..Proofs::default() }
}

fn fact(method: &str, result: &str, domain: Option<String>) -> AuthResult {
    AuthResult { method: method.into(), result: result.into(), domain }
}

async fn verify(house: &House, raw: &[u8]) -> Vec<AuthResult> {
    let Some(mut message) = AuthenticatedMessage::parse(raw) else { return Vec::new() };
    let mut looked_at = 0;
    message.retain_dkim_signatures(|_| {
        looked_at += 1;
        if looked_at <= limits::SIGNATURES_MAX { Ok(()) } else { Err(mail_auth::dkim::DkimError::UnsupportedAlgorithm) }
    });
    let mut facts = Vec::new();
    for output in house.authenticator.verify_dkim(&message).await {
        let result = match output.result() {
            DkimResult::Pass => "pass",
            DkimResult::Neutral(_) => "neutral",
            DkimResult::Fail(_) => "fail",
            DkimResult::PermError(_) => "permerror",
            DkimResult::TempError(_) => "temperror",
            DkimResult::None => "none",
        };
        facts.push(fact("dkim", result, output.signature().map(|s| s.d.to_string())));
    }
    let arc = house.authenticator.verify_arc(&message).await;
    if let Some(last) = arc.chain().last() {
        let sealer = last.seal.header.d.to_string();
        let result = match arc.result() {
            ArcResult::Pass => "pass",
            ArcResult::None => "none",
            _ => "fail",
        };
        facts.push(fact("arc", result, Some(sealer)));
    }
    facts
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
