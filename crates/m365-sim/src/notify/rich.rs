//! Notifications that tell what is in a message (wire.md 6): encrypted for the certificate of the subscription, with
//! tokens that prove who sent them.

use crate::world::World;
use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::{digest, hmac, rand};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The application that publishes change notifications.
const PUBLISHER: &str = "0bf30f3b-4a52-48df-9a82-234910c4a086";
/// Seconds that a validation token lives (assumed: as the documented example's, about eight hours).
const TOKEN_SECS: i64 = 29_100;

/// The public key of a certificate, where it is one that notifications can be encrypted for: RSA of 2048 bits and more.
pub fn public_key(der: &[u8]) -> Option<OaepPublicEncryptingKey> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let key = PublicEncryptingKey::from_der(certificate.public_key().raw).ok()?;
    OaepPublicEncryptingKey::new(key).ok().filter(|k| k.key_size_bits() >= 2048)
}

pub fn encrypted(message: &Value, certificate: &[u8], name: &str) -> Option<Value> {
    let public = public_key(certificate)?;
    let mut key = [0; 32];
    rand::fill(&mut key).ok()?;
    let mut data = message.to_string().into_bytes();
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, &key).ok()?).ok()?;
    // documented: the first sixteen bytes of the key are the initialisation vector
    let mut iv = [0; 16];
    iv.copy_from_slice(&key[..16]);
    cipher.less_safe_encrypt(&mut data, EncryptionContext::Iv128(FixedLength::from(iv))).ok()?;
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &data);
    let mut wrapped = vec![0; public.ciphertext_size()];
    let wrapped = public.encrypt(&OAEP_SHA1_MGF1SHA1, &key, &mut wrapped, None).ok()?;
    let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
    let thumbprint: String = thumbprint.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    Some(
        json!({"data": STANDARD.encode(&data), "dataKey": STANDARD.encode(wrapped), "dataSignature": STANDARD.encode(signature.as_ref()), "encryptionCertificateId": name, "encryptionCertificateThumbprint": thumbprint}),
    )
}

pub fn validation_token(world: &World, app: Uuid, tenant: Uuid) -> String {
    let now = world.clock.unix();
    let issuer = format!("https://sts.windows.net/{tenant}/");
    crate::entra::mint(
        world,
        &json!({"aud": app, "iss": issuer, "iat": now, "nbf": now, "exp": now + TOKEN_SECS, "aio": "42FgYKhZ", "appid": PUBLISHER, "appidacr": "2", "idp": issuer, "tid": tenant, "uti": Uuid::new_v4().simple().to_string(), "ver": "1.0"}),
    )
}
