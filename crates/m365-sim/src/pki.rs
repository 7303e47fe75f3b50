//! The public key infrastructure of the simulated world: a root that everybody trusts, an intermediate that
//! signs leaves, and the key with which Entra signs tokens. Nothing of it leaves the process but by the doors.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::KeyPair as _;
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Eku, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    #[error("key generation failed")]
    Key,
}

/// A certificate for some names, with everything needed to use it.
#[derive(Debug)]
pub struct Issued {
    /// Leaf, then the intermediate.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub chain_pem: String,
    pub key_pem: String,
}

/// The key of the token service.
#[derive(Debug)]
pub struct TokenKey {
    pub pkcs8: Vec<u8>,
    pub kid: String,
    /// base64url modulus and exponent, as a JWK shows them.
    pub n: String,
    pub e: String,
}

pub struct Pki {
    root_pem: String,
    root_der: CertificateDer<'static>,
    root: Issuer<'static, KeyPair>,
    intermediate: Issuer<'static, KeyPair>,
    intermediate_pem: String,
    intermediate_der: CertificateDer<'static>,
    roots: Arc<RootCertStore>,
    exo_client: Issued,
    pub token_key: TokenKey,
    /// RSA-2048 key (PKCS#8) and its public half (base64) with which every domain of this world signs mail.
    pub dkim_key: Vec<u8>,
    pub dkim_public: String,
}

fn ca_params(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Simulated Microsoft 365");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn rsa() -> Result<(Vec<u8>, aws_lc_rs::rsa::KeyPair), PkiError> {
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| PkiError::Key)?;
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'static> = pair.as_der().map_err(|_| PkiError::Key)?;
    Ok((der.as_ref().to_vec(), pair))
}

impl Pki {
    pub fn new() -> Result<Pki, PkiError> {
        let root_key = KeyPair::generate()?;
        let root_params = ca_params("Simulated Public Root")?;
        let root_cert = root_params.self_signed(&root_key)?;
        let root = Issuer::new(root_params, root_key);
        let (intermediate_cert, intermediate) = intermediate(&root, "Simulated Public Issuing CA 1")?;
        let mut roots = RootCertStore::empty();
        roots.add(root_cert.der().clone())?;
        let exo_client = issue(&intermediate, &intermediate_cert, &["mail.protection.outlook.com"], true)?;
        let (token_pkcs8, token_pair) = rsa()?;
        let (dkim_key, dkim_pair) = rsa()?;
        let spki: aws_lc_rs::encoding::PublicKeyX509Der<'static> =
            dkim_pair.public_key().as_der().map_err(|_| PkiError::Key)?;
        let public = token_pair.public_key();
        let token_key = TokenKey {
            kid: URL_SAFE_NO_PAD
                .encode(&aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public.as_ref()).as_ref()[..20]),
            n: URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            e: URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
            pkcs8: token_pkcs8,
        };
        Ok(Pki {
            root_pem: root_cert.pem(),
            root_der: root_cert.der().clone(),
            root,
            intermediate,
            intermediate_pem: intermediate_cert.pem(),
            intermediate_der: intermediate_cert.der().clone(),
            roots: Arc::new(roots),
            exo_client,
            token_key,
            dkim_public: STANDARD.encode(spki.as_ref()),
            dkim_key,
        })
    }

    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }
    pub fn root_der(&self) -> &CertificateDer<'static> {
        &self.root_der
    }
    pub fn intermediate_pem(&self) -> &str {
        &self.intermediate_pem
    }
    pub fn intermediate_der(&self) -> &CertificateDer<'static> {
        &self.intermediate_der
    }
    pub fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }
    /// What Exchange Online shows when a smart host asks for a client certificate (transport.md F3.1).
    pub fn exo_client(&self) -> &Issued {
        &self.exo_client
    }

    /// A leaf for `names` (the first one is also the common name); EKU serverAuth, and clientAuth when asked.
    pub fn issue(&self, names: &[&str], client_auth: bool) -> Result<Issued, PkiError> {
        let mut issued = leaf(&self.intermediate, names, client_auth)?;
        issued.chain.push(self.intermediate_der.clone());
        issued.chain_pem.push_str(&self.intermediate_pem);
        Ok(issued)
    }

    /// A fresh issuing authority below the root, for an operator who signs the certificates of its tenants.
    pub fn issuing_ca_pem(&self) -> Result<(String, String), PkiError> {
        let (certificate, issuer) = intermediate(&self.root, "Simulated Operator Issuing CA")?;
        Ok((certificate.pem(), issuer.key().serialize_pem()))
    }

    pub fn server_config(&self, names: &[&str]) -> Result<Arc<ServerConfig>, PkiError> {
        let issued = self.issue(names, false)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(issued.chain, issued.key)?;
        Ok(Arc::new(config))
    }
}

fn intermediate(
    root: &Issuer<'static, KeyPair>,
    name: &str,
) -> Result<(rcgen::Certificate, Issuer<'static, KeyPair>), PkiError> {
    let key = KeyPair::generate()?;
    let params = ca_params(name)?;
    let certificate = params.signed_by(&key, root)?;
    Ok((certificate, Issuer::new(params, key)))
}

fn issue(
    issuer: &Issuer<'static, KeyPair>,
    above: &rcgen::Certificate,
    names: &[&str],
    client_auth: bool,
) -> Result<Issued, PkiError> {
    let mut issued = leaf(issuer, names, client_auth)?;
    issued.chain.push(above.der().clone());
    issued.chain_pem.push_str(&above.pem());
    Ok(issued)
}

fn leaf(issuer: &Issuer<'static, KeyPair>, names: &[&str], client_auth: bool) -> Result<Issued, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nobody"));
    params.extended_key_usages = vec![Eku::ServerAuth];
    if client_auth {
        params.extended_key_usages.push(Eku::ClientAuth);
    }
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Issued {
        chain: vec![certificate.der().clone()],
        chain_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    })
}
