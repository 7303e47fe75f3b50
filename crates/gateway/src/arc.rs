//! Our ARC set on a message that we edited (RFC 8617 §5.1): what was true of it before, signed over what it is now.
//! A chain that does not verify, or that nobody can verify now, is not extended.

use crate::house::House;
use crate::limits;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::KeyPair;
use mail_auth::arc::ArcSealer;
use mail_auth::crypto::{RsaKey, Sha256};
use mail_auth::headers::HeaderWriter;
use mail_auth::signer::Ready;
use mail_auth::{ArcResult, AuthenticatedMessage, AuthenticationResults};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use std::fmt::Write;
use std::sync::Arc;
use tenant::Secret;
use verdict::Proofs;

/// With what an edited message is sealed.
#[derive(Clone, Debug)]
pub struct ArcSettings {
    /// RSA, PKCS #1 or #8, PEM. Ed25519 is not taken: others do not verify ARC sets of it.
    pub key_pem: Secret,
    pub domain: String,
    pub selector: String,
}

/// Every field of RFC 6376 §5.4.1 that is not written anew on the way, and the signatures that vouched for the message
/// before; none of ours, which the tenant's rules take off.
const SIGNED: [&str; 16] = [
    "From",
    "To",
    "Cc",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-ID",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "DKIM-Signature",
];

/// A key that is ready to seal.
#[derive(Clone)]
pub struct ArcKey {
    sealer: Arc<ArcSealer<RsaKey<Sha256>, Ready>>,
    /// `<selector>._domainkey.<domain>`
    pub record_name: String,
    /// What has to stand there (RFC 6376 §3.6.1).
    pub record: String,
}

impl ArcKey {
    /// Reads the key, or says what is wrong with it.
    pub fn new(settings: &ArcSettings) -> Result<ArcKey, String> {
        let (key, record) = read(settings.key_pem.expose())?;
        let sealer = ArcSealer::from_key(key).domain(&settings.domain).selector(&settings.selector).headers(SIGNED);
        Ok(ArcKey {
            sealer: Arc::new(sealer),
            record_name: format!("{}._domainkey.{}", settings.selector, settings.domain).to_lowercase(),
            record,
        })
    }
}

fn read(pem: &str) -> Result<(RsaKey<Sha256>, String), String> {
    let unreadable = "expected one PEM block with an RSA key of 2048 bits or more";
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| unreadable)?;
    let pair = match &der {
        PrivateKeyDer::Pkcs1(der) => aws_lc_rs::rsa::KeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => aws_lc_rs::rsa::KeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err(unreadable.into()),
    };
    let pair = pair.map_err(|_| unreadable)?;
    if pair.public_modulus_len() * 8 < limits::ARC_RSA_BITS_MIN {
        return Err(unreadable.into());
    }
    let public: aws_lc_rs::encoding::PublicKeyX509Der<'static> = pair.public_key().as_der().map_err(|_| unreadable)?;
    let key = RsaKey::from_key_der(der).map_err(|_| unreadable)?;
    Ok((key, format!("v=DKIM1; k=rsa; p={}", base64(public.as_ref()))))
}

fn base64(octets: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(octets)
}

/// A set, as it goes on top of the message.
#[derive(Debug)]
pub(crate) struct Set {
    pub header: String,
    pub instance: usize,
}

/// The set for `edited`, by the chain of `raw` and what was proven of it; or why there is none.
pub(crate) async fn seal(house: &House, raw: &[u8], edited: &[u8], proofs: &Proofs) -> Result<Set, String> {
    let key = house.arc.as_ref().ok_or("no gateway.arc_key")?;
    let before = AuthenticatedMessage::parse(raw).ok_or("the message has no header")?;
    let verified = tokio::time::timeout(limits::AUTHENTICATE_BUDGET, house.authenticator.verify_arc(&before));
    let chain = verified.await.map_err(|_| "the chain so far could not be verified in time")?;
    let has_fields = mail::HeaderSection::of(raw).fields().any(|f| f.name.to_ascii_lowercase().starts_with("arc-"));
    match chain.result() {
        ArcResult::Pass => {}
        ArcResult::None if !has_fields => {}
        _ => return Err("the chain so far does not verify".into()),
    }
    let instance = chain.chain().len() + 1;
    if instance > limits::ARC_SETS_MAX {
        return Err(format!("the chain has {} sets already", limits::ARC_SETS_MAX));
    }
    let now = AuthenticatedMessage::parse(edited).ok_or("the message has no header")?;
    // the library writes the name of the host as it is given, and knows no results but its own: ours stand behind it
    let results = results(&house.settings.hostname, proofs);
    let results = AuthenticationResults::new(&results);
    let set = key.sealer.seal(&now, &results, &chain).map_err(|e| format!("the seal was not made: {e}"))?;
    Ok(Set { header: set.to_header(), instance })
}

/// RFC 8601 §2.2, in one line and with single spaces: what Exchange Online found when the message came to the tenant, and
/// what we verified before we changed anything.
fn results(hostname: &str, proofs: &Proofs) -> String {
    let mut out = hostname.to_owned();
    let mut add = |method: &str, result: &str, property: &str, domain: Option<&str>| {
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if !plain(result) || result.is_empty() {
            return;
        }
        let _ = write!(out, "; {method}={result}");
        if let Some(domain) = domain.filter(|d| plain(d) && !d.is_empty() && !property.is_empty()) {
            let _ = write!(out, " {property}={domain}");
        }
    };
    for found in proofs.own.iter().filter(|r| r.method == "dkim").take(limits::ARC_RESULTS_MAX) {
        add("dkim", &found.result, "header.d", found.domain.as_deref());
    }
    if !proofs.own.iter().any(|r| r.method == "dkim") {
        add("dkim", "none", "", None);
    }
    for (method, property) in [("spf", "smtp.mailfrom"), ("dmarc", "header.from")] {
        if let Some(found) = proofs.microsoft.iter().find(|r| r.method == method) {
            add(method, &found.result, property, found.domain.as_deref());
        }
    }
    let arc = proofs.own.iter().find(|r| r.method == "arc").map_or("none", |r| &r.result);
    add("arc", arc, "", None);
    out
}

#[cfg(test)]
mod tests;
