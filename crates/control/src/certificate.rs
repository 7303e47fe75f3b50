//! Certificates: the one by which our application signs in (self-made, its key stays here), and the one by which
//! mail comes back into a tenant (from an authority that Exchange Online trusts; transport.md F1.4).

use crate::objects::credential::Credential;
use crate::work::Work;
use crate::{ControlError, Result, limits};
use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
    SerialNumber,
};
use std::path::{Path, PathBuf};
use tenant::{ReturnCertificate, Secret, Tenant};

/// Where return certificates come from.
#[derive(Clone, Debug)]
pub enum CertificateIssuer {
    /// `<name>.pem` (chain) and `<name>.key`, put there by the operator or an ACME client.
    Directory(PathBuf),
    /// An issuing authority below a root that Exchange Online trusts.
    Authority { chain_pem: String, key_pem: Secret },
}

/// A certificate with its chain and key.
#[derive(Clone, Debug)]
pub struct Issued {
    pub chain_pem: String,
    pub key_pem: Secret,
}

impl CertificateIssuer {
    pub fn certificate_for(&self, name: &str) -> Result<Issued> {
        match self {
            CertificateIssuer::Directory(directory) => from_directory(directory, name),
            CertificateIssuer::Authority { chain_pem, key_pem } => signed(name, chain_pem, key_pem)
                .map_err(|e| ControlError::Certificate(format!("certificates.authority_chain and authority_key: {e}"))),
        }
    }
}

impl CertificateIssuer {
    /// Until when a certificate would be good that it gave now; `None`: it has none to give.
    pub(crate) fn issuable_until(&self, name: &str, now: i64) -> Option<i64> {
        match self {
            CertificateIssuer::Directory(directory) => {
                smtp::tls::not_after(&from_directory(directory, name).ok()?.chain_pem)
            }
            CertificateIssuer::Authority { .. } => Some(now + limits::CERTIFICATE_DAYS * limits::DAY),
        }
    }
}

/// The return certificate of a tenant, as the issuer has it now. The name in it stays, so nothing in the tenant changes.
pub(crate) async fn take(work: &Work<'_>, tenant: &mut Tenant) -> Result<()> {
    let issued = work.settings.issuer.certificate_for(&tenant.connector_domain)?;
    tenant.certificate = ReturnCertificate { chain_pem: issued.chain_pem, key_pem: issued.key_pem };
    work.store.change_tenant(tenant.id, |known| known.certificate = tenant.certificate.clone()).await?;
    Ok(())
}

fn from_directory(directory: &Path, name: &str) -> Result<Issued> {
    let read = |ending: &str| {
        let file = directory.join(format!("{name}.{ending}"));
        std::fs::read_to_string(&file).map_err(|e| ControlError::Waits(format!("{}: {e}; put a certificate for {name} there, with every intermediate below the leaf, and its key as {name}.key, then run the command again", file.display())))
    };
    let issued = Issued { chain_pem: read("pem")?, key_pem: Secret::new(read("key")?) };
    smtp::tls::read_pem(&issued.chain_pem, issued.key_pem.expose())
        .map_err(|e| ControlError::Certificate(format!("{}/{name}.pem: {e}", directory.display())))?;
    Ok(issued)
}

fn lifetime(params: &mut CertificateParams) {
    let now = Timestamp::now().as_second();
    let date = |second: i64| {
        let t = Timestamp::from_second(second).unwrap_or_default().to_string();
        let part = |range: std::ops::Range<usize>| t.get(range).and_then(|p| p.parse::<i32>().ok()).unwrap_or(1);
        rcgen::date_time_ymd(part(0..4), u8::try_from(part(5..7)).unwrap_or(1), u8::try_from(part(8..10)).unwrap_or(1))
    };
    params.not_before = date(now - 86_400);
    params.not_after = date(now + limits::CERTIFICATE_DAYS * 86_400);
}

/// Name as SAN and as CN, both purposes (transport.md G18).
fn signed(name: &str, chain_pem: &str, key_pem: &Secret) -> std::result::Result<Issued, String> {
    let key_of_authority = KeyPair::from_pem(key_pem.expose()).map_err(|_| "the key cannot be read".to_owned())?;
    let authority = Issuer::from_ca_cert_pem(chain_pem, key_of_authority).map_err(|e| e.to_string())?;
    let key = KeyPair::generate().map_err(|e| e.to_string())?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(|e| e.to_string())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.serial_number = Some(serial().map_err(|e| e.to_string())?);
    lifetime(&mut params);
    let certificate = params.signed_by(&key, &authority).map_err(|e| e.to_string())?;
    Ok(Issued { chain_pem: format!("{}{chain_pem}", certificate.pem()), key_pem: Secret::new(key.serialize_pem()) })
}

fn serial() -> Result<SerialNumber> {
    let mut bytes = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ControlError::Certificate("no randomness".into()))?;
    // RFC 5280 §4.1.2.2: positive
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}

/// RSA, since Entra takes PS256 of it (wire.md 1.3).
pub(crate) fn for_application(name: &str) -> Result<Credential> {
    let wrong = |e: rcgen::Error| ControlError::Certificate(e.to_string());
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).map_err(wrong)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(wrong)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial()?);
    lifetime(&mut params);
    let until = params.not_after.unix_timestamp();
    let certificate = params.self_signed(&key).map_err(wrong)?;
    let certificate_der = certificate.der().to_vec();
    let mut thumbprint_sha256 = [0u8; 32];
    thumbprint_sha256.copy_from_slice(digest(&SHA256, &certificate_der).as_ref());
    Ok(Credential { certificate_der, thumbprint_sha256, key_pem: Secret::new(key.serialize_pem()), until })
}

/// Random text that nobody can guess, in hexadecimal: a transport rule compares it as a pattern.
pub(crate) fn secret() -> Result<Secret> {
    let mut bytes = [0u8; limits::SECRET_OCTETS];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ControlError::Certificate("no randomness".into()))?;
    Ok(Secret::new(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_certificate_says_what_to_put_where() {
        let dir = tempfile::tempdir().unwrap();
        let error = CertificateIssuer::Directory(dir.path().to_owned())
            .certificate_for("contoso.connect.example")
            .unwrap_err()
            .to_string();
        assert!(error.contains("contoso.connect.example.pem") && error.contains("put a certificate"), "{error}");
    }

    #[test]
    fn secrets_differ_and_are_long() {
        let (one, two) = (secret().unwrap(), secret().unwrap());
        assert!(one != two && one.expose().len() == 64);
    }
}
