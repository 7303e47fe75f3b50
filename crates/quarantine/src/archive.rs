//! The one way out for malware: an archive with a password, to an administrator whom the tenant names.

use crate::acts::Actor;
use crate::limits;
use bytes::Bytes;
use gateway::{Desk, GatewayError};
use mail_builder::MessageBuilder;
use mail_builder::headers::text::Text;
use std::io::{Cursor, Write};
use store::{Held, StoreError};
use tenant::{NOTICE_SENDER, Secret, Tenant};
use zip::write::SimpleFileOptions;
use zip::{AesMode, CompressionMethod, ZipWriter};

/// Without letters that look like others.
const ALPHABET: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz";

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(
        "{0} is no administrator of this quarantine; name those who are with `posthouse tenant quarantine TENANT --admin ADDRESS`"
    )]
    NotAnAdmin(String),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error("store: {0}")]
    Store(#[from] StoreError),
    #[error("the archive could not be made: {0}")]
    Archive(String),
    #[error("Microsoft did not take the archive: {0}")]
    Refused(String),
}

/// Sends it, and returns the password, which is written nowhere. The message stays held.
pub async fn archive(
    desk: &Desk,
    tenant: &Tenant,
    held: &Held,
    to: &str,
    who: &Actor<'_>,
) -> Result<Secret, ArchiveError> {
    if !tenant.policy.quarantine.admins.iter().any(|a| a.eq_ignore_ascii_case(to)) || !tenant.owns_address(to) {
        return Err(ArchiveError::NotAnAdmin(to.to_owned()));
    }
    let store = desk.store();
    let body = store.held_body(&held.id).await?;
    let password = password()?;
    let packing = (body, password.clone());
    let packed = tokio::task::spawn_blocking(move || packed(&packing.0, &packing.1));
    let packed = packed.await.map_err(|e| ArchiveError::Archive(e.to_string()))??;
    let raw = letter(tenant, held, to, packed)?;
    let said = desk.send(tenant.id, to, raw).await;
    let words = said.as_ref().map_or_else(ToString::to_string, |reply| format!("Microsoft answered {reply}"));
    let detail = format!("{} of journey {} to {to}: {words}", held.id, held.hold.journey);
    store.put_act(who.name, "held sent as archive", Some(tenant.id), &detail).await?;
    let said = said?;
    if said.is_success() { Ok(password) } else { Err(ArchiveError::Refused(said.to_string())) }
}

fn password() -> Result<Secret, ArchiveError> {
    let mut text = String::new();
    while text.len() < limits::PASSWORD_CHARS {
        let mut octet = [0];
        aws_lc_rs::rand::fill(&mut octet)
            .map_err(|_| ArchiveError::Archive("the system gave no random bytes".into()))?;
        // the rest of the octet's range would make some letters likelier
        if usize::from(octet[0]) < 256 / ALPHABET.len() * ALPHABET.len() {
            text.push(char::from(ALPHABET[usize::from(octet[0]) % ALPHABET.len()]));
        }
    }
    Ok(Secret::new(text))
}

/// AES-256 (WinZip AE-2); the name within tells nothing of the message.
fn packed(raw: &[u8], password: &Secret) -> Result<Vec<u8>, ArchiveError> {
    let wrong = |e: &dyn std::fmt::Display| ArchiveError::Archive(e.to_string());
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .with_aes_encryption(AesMode::Aes256, password.expose());
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("message.eml", options).map_err(|e| wrong(&e))?;
    zip.write_all(raw).map_err(|e| wrong(&e))?;
    Ok(zip.finish().map_err(|e| wrong(&e))?.into_inner())
}

fn letter(tenant: &Tenant, held: &Held, to: &str, packed: Vec<u8>) -> Result<Bytes, ArchiveError> {
    let why: Vec<String> =
        held.hold.why.iter().take(10).map(|w| format!("  - {}\r\n", w.replace(['\r', '\n'], " "))).collect();
    let text = format!(
        "This archive holds a message that Posthouse keeps since it holds malware:\r\n{}\r\nThe password was shown once to whoever asked for the archive. Open it only where nothing can be harmed.\r\nThe message is still held under {}.\r\n",
        why.concat(),
        held.id
    );
    let (domain, id) = (&tenant.connector_domain, uuid::Uuid::now_v7());
    let written = MessageBuilder::new()
        .from(("Posthouse".to_owned(), format!("{NOTICE_SENDER}@{domain}")))
        .to(to)
        .subject("Held message as an archive with a password")
        .message_id(format!("{id}@{domain}"))
        .header("Auto-Submitted", Text::new("auto-generated"))
        .text_body(text)
        .attachment("application/zip", format!("held-{}.zip", held.id), packed)
        .write_to_vec();
    written.map(Bytes::from).map_err(|e| ArchiveError::Archive(e.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Read;

    #[test]
    fn only_the_password_opens_it() {
        let (one, two) = (password().unwrap(), password().unwrap());
        assert!(one != two && one.expose().len() == limits::PASSWORD_CHARS);
        let raw = b"From: eve@evil.example\r\n\r\nharm";
        let packed = packed(raw, &one).unwrap();
        assert!(!packed.windows(8).any(|w| w == b"evil.exa"));
        let mut zip = zip::ZipArchive::new(Cursor::new(packed)).unwrap();
        assert!(zip.by_index_decrypt(0, two.expose().as_bytes()).is_err());
        let mut read = Vec::new();
        zip.by_index_decrypt(0, one.expose().as_bytes()).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, raw);
    }
}
