//! Authentication as Exchange Online reports it (transport.md S24–S26, F2.8): really evaluated by mail-auth against
//! the simulator's DNS, really signed.

use super::fields;
use base64::Engine;
use mail_auth::arc::ArcSealer;
use mail_auth::crypto::{RsaKey, Sha256};
use mail_auth::dkim::DkimSigner;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::headers::HeaderWriter;
use mail_auth::hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    ArcResult, AuthenticatedMessage, AuthenticationResults, DkimResult, DmarcResult, MessageAuthenticator, SpfResult,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The fields that Exchange Online signs (recorded).
const SIGNED: [&str; 7] =
    ["From", "Date", "Subject", "Message-ID", "Content-Type", "MIME-Version", "X-MS-Exchange-SenderADCheck"];
/// Signatures that are looked at; more is an attack on the verifier.
const SIGNATURES_MAX: usize = 10;

/// Exchange Online's verifier and signer.
pub struct Authenticator {
    inner: MessageAuthenticator,
    key: Vec<u8>,
}

/// What one pass found.
#[derive(Clone, Debug, Default)]
pub struct Results {
    pub spf: String,
    /// The value of Authentication-Results.
    pub line: String,
}

impl Authenticator {
    pub fn new(dns: SocketAddr, dkim_key: Vec<u8>) -> std::io::Result<Authenticator> {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        udp.port = dns.port();
        tcp.port = dns.port();
        let config =
            ResolverConfig::from_parts(None, vec![], vec![NameServerConfig::new(dns.ip(), true, vec![udp, tcp])]);
        let mut options = ResolverOpts::default();
        options.timeout = Duration::from_secs(3);
        let inner = MessageAuthenticator::new(config, options).map_err(|e| std::io::Error::other(e.to_string()))?;
        Ok(Authenticator { inner, key: dkim_key })
    }

    fn rsa(&self) -> Option<RsaKey<Sha256>> {
        RsaKey::<Sha256>::from_key_der(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))).ok()
    }

    /// SPF, DKIM, DMARC, ARC of a message that came over SMTP.
    pub async fn judge(&self, raw: &[u8], ip: IpAddr, helo: &str, sender: &str, sealers: &[String]) -> Results {
        let helo_name = if helo.is_empty() { "unknown" } else { helo };
        let spf = self.inner.verify_spf(SpfParameters::mail_from(ip, helo_name, "mx.microsoft.com", sender)).await;
        let spf_word = match spf.result() {
            SpfResult::Pass => "pass",
            SpfResult::Fail => "fail",
            SpfResult::SoftFail => "softfail",
            SpfResult::Neutral => "neutral",
            SpfResult::TempError => "temperror",
            SpfResult::PermError => "permerror",
            SpfResult::None => "none",
        };
        let mail_domain = if sender.is_empty() { helo_name.to_owned() } else { fields::domain_of(sender) };
        let from = fields::get(raw, "From")
            .and_then(|v| fields::address_in(&v))
            .map(|a| fields::domain_of(&a))
            .unwrap_or_default();
        let Some(message) = AuthenticatedMessage::parse(raw) else {
            return Results {
                spf: spf_word.into(),
                line: format!(
                    "spf={spf_word} (sender IP is {ip}) smtp.mailfrom={mail_domain}; dkim=none (message not signed) header.d=none;dmarc=none action=none header.from={from};compauth=none reason=405"
                ),
            };
        };
        let too_many = message.dkim_signatures().len() > SIGNATURES_MAX;
        let dkim = if too_many { Vec::new() } else { self.inner.verify_dkim(&message).await };
        let dmarc = self.inner.verify_dmarc(DmarcParameters::new(&message, &dkim, &mail_domain, &spf)).await;
        let arc = self.inner.verify_arc(&message).await;
        let best = dkim.iter().find(|d| d.result() == &DkimResult::Pass).or(dkim.first());
        let dkim_passed = best.is_some_and(|d| d.result() == &DkimResult::Pass);
        let dkim_line = match best {
            None => "dkim=none (message not signed) header.d=none".to_owned(),
            Some(d) => {
                let domain = d.signature().map(|s| s.d.to_string()).unwrap_or_else(|| "none".into());
                if dkim_passed {
                    format!("dkim=pass (signature was verified) header.d={domain}")
                } else {
                    format!("dkim=fail (body hash did not verify) header.d={domain}")
                }
            }
        };
        let (dmarc_word, action) = match dmarc.result() {
            DmarcResult::Pass => ("pass", "none"),
            DmarcResult::None => ("none", "none"),
            DmarcResult::TempError(_) => ("temperror", "none"),
            DmarcResult::PermError(_) => ("permerror", "none"),
            DmarcResult::Fail(_) => ("fail", "oreject"),
        };
        let sets = arc.chain().len();
        let seal = fields::get(raw, "ARC-Seal").unwrap_or_default();
        let sealer = seal.split(';').find_map(|p| p.trim().strip_prefix("d=")).unwrap_or_default().to_lowercase();
        let trusted = sealer == "microsoft.com" || sealers.iter().any(|s| s.eq_ignore_ascii_case(&sealer));
        let arc_line = match arc.result() {
            _ if sets == 0 => "arc=none".to_owned(),
            ArcResult::Pass => format!("arc=pass (0 oda={} ltdi=1)", u8::from(trusted)),
            _ => "arc=fail (47)".to_owned(),
        };
        let overridden = dmarc_word == "fail" && arc.result() == &ArcResult::Pass && sets > 0 && trusted;
        let compauth = match dmarc_word {
            _ if overridden => "compauth=pass reason=130",
            "pass" => "compauth=pass reason=100",
            "fail" => "compauth=fail reason=000",
            _ => "compauth=none reason=405",
        };
        Results {
            spf: spf_word.into(),
            line: format!(
                "spf={spf_word} (sender IP is {ip}) smtp.mailfrom={mail_domain}; {dkim_line};dmarc={dmarc_word} action={action} header.from={from};{compauth};{arc_line}"
            ),
        }
    }

    /// A DKIM field for the message, or nothing when it cannot be signed (no From, no header).
    pub fn sign(&self, raw: &[u8], domain: &str, selector: &str) -> Option<Vec<u8>> {
        let signer = DkimSigner::from_key(self.rsa()?).domain(domain).selector(selector).headers(SIGNED);
        signer.sign(raw).ok().map(|s| s.to_header().into_bytes())
    }

    /// The next ARC set (d=microsoft.com), whose results are those of this pass.
    pub async fn seal(&self, raw: &[u8], sender: &str) -> Option<Vec<u8>> {
        let message = AuthenticatedMessage::parse(raw)?;
        let chain = self.inner.verify_arc(&message).await;
        let dkim = if message.dkim_signatures().len() > SIGNATURES_MAX {
            Vec::new()
        } else {
            self.inner.verify_dkim(&message).await
        };
        let results = AuthenticationResults::new("mx.microsoft.com").with_dkim_results(&dkim, sender);
        let sealer =
            ArcSealer::from_key(self.rsa()?).domain("microsoft.com").selector("arcselector10001").headers(SIGNED);
        sealer.seal(&message, &results, &chain).ok().map(|set| set.to_header().into_bytes())
    }
}

/// For domains of the outside world, whose own servers sign.
pub fn sign_as(raw: &[u8], key: &[u8], domain: &str, selector: &str) -> Option<Vec<u8>> {
    let key = RsaKey::<Sha256>::from_key_der(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()))).ok()?;
    let signer = DkimSigner::from_key(key).domain(domain).selector(selector).headers([
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
    ]);
    signer.sign(raw).ok().map(|s| s.to_header().into_bytes())
}

/// A blob as Exchange's opaque headers carry them.
pub fn blob(raw: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, raw);
    base64::engine::general_purpose::STANDARD.encode(digest.as_ref())
}
