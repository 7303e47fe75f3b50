//! Step 4: what is proven about the sender. Microsoft's topmost results (trusted, since the peer and the tenant are
//! proven, G10), and our own SPF, DKIM, DMARC and ARC verification; SPF with the address of whoever handed the message to
//! Microsoft, which Microsoft tells. Facts, not errors: what cannot be found out is `temperror`, or unknown with a reason.

use crate::attribute::Attributed;
use crate::receive::Received;
use crate::records::Records;
use crate::{house::House, limits};
use mail::Message;
use mail_auth::dmarc::{Policy, verify::DmarcParameters};
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    ArcResult, AuthenticatedMessage, DkimOutput, DkimResult, DmarcResult, Parameters, SpfOutput, SpfResult,
};
use std::net::IpAddr;
use std::time::Instant;
use tenant::Direction;
use tokio::time::timeout_at;
use verdict::{AuthResult, Fact, Proofs, SenderPolicy};

pub(crate) async fn authenticate(
    house: &House,
    attributed: &Attributed,
    received: &Received,
    message: &Message,
) -> Proofs {
    let mut proofs = Proofs::stated(message);
    let until = received.judged_by().min(Instant::now() + limits::AUTHENTICATE_BUDGET);
    let Some(parsed) = parsed(message.raw()) else { return proofs };
    let late = || vec![fact("dkim", "temperror", None), fact("arc", "temperror", None)];
    let signatures = async {
        let dkim = house.authenticator.verify_dkim(remembered(house, &parsed)).await;
        let mut facts: Vec<AuthResult> = dkim.iter().map(dkim_fact).collect();
        facts.extend(arc_fact(house, &parsed).await);
        (facts, dkim)
    };
    let signatures = timeout_at(until.into(), signatures);
    // users of the tenant were authenticated by Microsoft, and their domains' records speak of what comes from outside
    if attributed.direction == Direction::Outbound {
        proofs.own = signatures.await.map_or_else(|_| late(), |(facts, _)| facts);
        return proofs;
    }
    let helo = verdict::stated_helo(message).unwrap_or_default();
    let spf = timeout_at(until.into(), spf(house, received, proofs.client.known().copied(), &helo));
    let (signatures, spf) = tokio::join!(signatures, spf);
    let spf = spf.unwrap_or_else(|_| Some(SpfOutput::new(String::new()).with_result(SpfResult::TempError)));
    let (facts, dkim) = signatures.unwrap_or_else(|_| (late(), Vec::new()));
    proofs.own = facts;
    let mail_from = received.envelope.sender.rsplit_once('@').map_or(helo.as_str(), |(_, d)| d);
    proofs.own.extend(spf.as_ref().map(|spf| fact("spf", spf_word(spf.result()), named(mail_from))));
    let spf = spf.unwrap_or_else(|| SpfOutput::new(mail_from.to_owned()).with_result(SpfResult::None));
    match timeout_at(until.into(), dmarc(house, &parsed, &dkim, mail_from, &spf)).await {
        Ok((result, policy)) => {
            proofs.own.extend(result);
            proofs.sender_policy = policy;
        }
        Err(_) => {
            proofs.own.push(fact("dmarc", "temperror", None));
            proofs.sender_policy = Fact::Unknown("DNS did not answer in time".into());
        }
    }
    proofs
}

fn remembered<P>(house: &House, asked: P) -> Parameters<'_, P, Records> {
    Parameters::new(asked).with_cache(&house.records)
}

/// With as many signatures as are verified.
fn parsed(raw: &[u8]) -> Option<AuthenticatedMessage<'_>> {
    let mut message = AuthenticatedMessage::parse(raw)?;
    let mut looked_at = 0;
    message.retain_dkim_signatures(|_| {
        looked_at += 1;
        if looked_at <= limits::SIGNATURES_MAX { Ok(()) } else { Err(mail_auth::dkim::DkimError::UnsupportedAlgorithm) }
    });
    Some(message)
}

fn named(domain: &str) -> Option<String> {
    Some(domain.to_ascii_lowercase()).filter(|d| !d.is_empty())
}

fn fact(method: &str, result: &str, domain: Option<String>) -> AuthResult {
    AuthResult { method: method.into(), result: result.into(), domain }
}

fn dkim_fact(output: &DkimOutput<'_>) -> AuthResult {
    let result = match output.result() {
        DkimResult::Pass => "pass",
        DkimResult::Neutral(_) => "neutral",
        DkimResult::Fail(_) => "fail",
        DkimResult::PermError(_) => "permerror",
        DkimResult::TempError(_) => "temperror",
        DkimResult::None => "none",
    };
    fact("dkim", result, output.signature().map(|s| s.d.to_string()))
}

async fn arc_fact(house: &House, message: &AuthenticatedMessage<'_>) -> Option<AuthResult> {
    let arc = house.authenticator.verify_arc(remembered(house, message)).await;
    let sealer = arc.chain().last()?.seal.header.d.to_string();
    let result = match arc.result() {
        ArcResult::Pass => "pass",
        ArcResult::None => "none",
        _ => "fail",
    };
    Some(fact("arc", result, Some(sealer)))
}

/// RFC 7208; of the null sender that of its HELO name (§2.4). `None`: nobody said where the message came from.
async fn spf(house: &House, received: &Received, client: Option<IpAddr>, helo: &str) -> Option<SpfOutput> {
    let sender = &received.envelope.sender;
    if sender.is_empty() && helo.is_empty() {
        return None;
    }
    let asked = SpfParameters::mail_from(client?, helo, &house.settings.hostname, sender);
    Some(house.authenticator.verify_spf(remembered(house, asked)).await)
}

fn spf_word(result: SpfResult) -> &'static str {
    match result {
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::Neutral => "neutral",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
        SpfResult::None => "none",
    }
}

/// RFC 9989, organisational domains by its tree walk (§4.10); and what the domain's owner asks for.
async fn dmarc(
    house: &House,
    message: &AuthenticatedMessage<'_>,
    dkim: &[DkimOutput<'_>],
    mail_from: &str,
    spf: &SpfOutput,
) -> (Option<AuthResult>, Fact<SenderPolicy>) {
    let asked = DmarcParameters::new(message, dkim, mail_from, spf);
    let output = house.authenticator.verify_dmarc(remembered(house, asked)).await;
    let result = match output.result() {
        DmarcResult::Pass => "pass",
        // a signature that could not be looked up may be the aligned one
        DmarcResult::Fail(_) if dkim.iter().any(|d| matches!(d.result(), DkimResult::TempError(_))) => "temperror",
        DmarcResult::Fail(_) => "fail",
        DmarcResult::TempError(_) => "temperror",
        DmarcResult::PermError(_) => "permerror",
        DmarcResult::None => "none",
    };
    let policy = match (output.record(), output.policy()) {
        _ if result == "temperror" => Fact::Unknown("DNS did not answer".into()),
        (None, _) => Fact::Absent,
        (Some(_), Policy::Reject) => Fact::Known(SenderPolicy::Reject),
        (Some(_), Policy::Quarantine) => Fact::Known(SenderPolicy::Quarantine),
        (Some(_), _) => Fact::Known(SenderPolicy::None),
    };
    (Some(fact("dmarc", result, named(output.domain()))), policy)
}
