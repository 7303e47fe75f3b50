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
    Proofs { own, ..Proofs::stated(message) }
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
