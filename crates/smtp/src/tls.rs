//! TLS as mail peers need it. A server asks for a client certificate without demanding one and judges it after
//! the handshake, so that a bad one is answered in SMTP instead of an alert nobody can read, and so that a
//! certificate with only the serverAuth purpose (all that public authorities still issue) can be judged at all.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use std::sync::Arc;

/// What is wrong with key material of ours.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("no certificate in PEM form: {0}")]
    Certificate(String),
    #[error("no private key in PEM form")]
    Key,
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Chain and key as rustls wants them.
pub fn read_pem(
    chain_pem: &str,
    key_pem: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| TlsError::Certificate(e.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::Certificate("the text holds none".into()));
    }
    Ok((chain, PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| TlsError::Key)?))
}

/// A server that asks for a client certificate. No resumption: every session proves its certificate anew.
pub fn server_config(chain_pem: &str, key_pem: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = read_pem(chain_pem, key_pem)?;
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_client_cert_verifier(Arc::new(AskAny(provider))).with_single_cert(chain, key)?;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A client that verifies the server by `roots` and shows `identity` when asked. No resumption: a session of one
/// tenant must never be taken for one of another.
pub fn client_config(roots: Arc<RootCertStore>, identity: Option<(&str, &str)>) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((chain_pem, key_pem)) => {
            let (chain, key) = read_pem(chain_pem, key_pem)?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Judges clients' chains as one judges a server's: complete, trusted, in time, and for an expected name.
#[derive(Clone, Debug)]
pub struct ClientJudge(Arc<WebPkiServerVerifier>);

impl ClientJudge {
    pub fn new(roots: Arc<RootCertStore>) -> Result<ClientJudge, TlsError> {
        let built = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
        built.map(ClientJudge).map_err(|e| TlsError::Certificate(format!("no trusted roots: {e}")))
    }

    /// The name of `names` that the chain proves, or why it proves none. `*.name` asks for a certificate that is good for
    /// any name directly below (RFC 6125 §6.4.3): such a one only its owner can have.
    pub fn judge(&self, chain: &[CertificateDer<'_>], names: &[String]) -> Result<String, String> {
        let Some((leaf, above)) = chain.split_first() else { return Err("no client certificate was shown".into()) };
        let mut why = "no name is expected of any client".to_owned();
        for name in names {
            let below = name.strip_prefix("*.").map(|parent| format!("any-name.{parent}"));
            let Ok(expected) = ServerName::try_from(below.as_deref().unwrap_or(name)) else { continue };
            match self.0.verify_server_cert(leaf, above, &expected, &[], UnixTime::now()) {
                Ok(_) => return Ok(name.clone()),
                Err(e) => why = format!("the client certificate ({}) is not one of {name}: {e}", subject(leaf)),
            }
        }
        Err(why)
    }
}

fn subject(der: &CertificateDer<'_>) -> String {
    x509_parser::parse_x509_certificate(der)
        .map_or_else(|_| "unreadable".into(), |(_, c)| format!("{}, issued by {}", c.subject(), c.issuer()))
}

/// Takes any certificate, but makes the client prove that it holds the key.
#[derive(Debug)]
struct AskAny(Arc<CryptoProvider>);

impl ClientCertVerifier for AskAny {
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// When the first certificate of a chain ends, in seconds since 1970.
pub fn not_after(chain_pem: &str) -> Option<i64> {
    let leaf = CertificateDer::pem_slice_iter(chain_pem.as_bytes()).next()?.ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&leaf).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_a_star_asks_for_a_certificate_of_everything_below() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        roots.add(authority.self_signed(&key).unwrap().der().clone()).unwrap();
        let (roots, signer) = (Arc::new(roots), rcgen::Issuer::new(authority, key));
        let judged = |has: &str, expected: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let leaf = rcgen::CertificateParams::new(vec![has.to_owned()]).unwrap().signed_by(&key, &signer).unwrap();
            let judge = ClientJudge::new(roots.clone()).unwrap();
            judge.judge(&[leaf.der().clone()], &[expected.to_owned()]).is_ok()
        };
        assert!(judged("*.mail.example", "*.mail.example"));
        assert!(judged("mail.example", "mail.example"));
        for has in ["mail.example", "*.other.example", "one.mail.example", "*.example"] {
            assert!(!judged(has, "*.mail.example"), "{has}");
        }
    }
}
