//! The key file and what is sealed with it: AES-256-GCM, the row's identity as associated data, so that
//! a sealed value copied into another row does not open.

use crate::{Result, StoreError};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use tenant::Secret;

const NONCE_BYTES: usize = 12;

pub(crate) struct Key {
    sealer: RandomizedNonceKey,
    /// For secrets that are worked out instead of kept.
    origin: hmac::Key,
}

/// Written beside and linked, so that the file is whole from its first moment, whoever else starts or is killed now.
fn make(path: &Path) -> Result<()> {
    let failed = |source| StoreError::File { what: format!("key file {}", path.display()), source };
    let mut key = [0u8; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| StoreError::Corrupt("the system gave no random bytes".into()))?;
    let beside = path.with_extension(format!("part-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed)?;
    file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed)?;
    let linked = std::fs::hard_link(&beside, path);
    std::fs::remove_file(&beside).map_err(failed)?;
    match linked {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(failed(e)),
        _ => Ok(()),
    }
}

impl Key {
    /// Reads the key file, or makes it on the first start. Refuses one that others can read.
    pub(crate) fn open(path: &Path) -> Result<Key> {
        let failed = |source| StoreError::File { what: format!("key file {}", path.display()), source };
        if !path.exists() {
            make(path)?;
        }
        let mut file = std::fs::File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(StoreError::Corrupt(format!(
                "key file {} has mode {mode:o}, others can read it; set it with: chmod 600 {}",
                path.display(),
                path.display()
            )));
        }
        let mut key = [0u8; 32];
        file.read_exact(&mut key).map_err(failed)?;
        let sealer = RandomizedNonceKey::new(&AES_256_GCM, &key)
            .map_err(|_| StoreError::Corrupt("key file is not a key".into()))?;
        Ok(Key { sealer, origin: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// 256 bits that only this key file gives for this purpose.
    pub(crate) fn derived(&self, purpose: &str) -> Secret {
        let tag = hmac::sign(&self.origin, purpose.as_bytes());
        Secret::new(tag.as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>())
    }

    pub(crate) fn seal(&self, row: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .sealer
            .seal_in_place_append_tag(Aad::from(row.as_bytes()), &mut sealed)
            .map_err(|_| StoreError::Corrupt(format!("{row} could not be sealed")))?;
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    pub(crate) fn open_sealed(&self, row: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let wrong = || {
            StoreError::Corrupt(format!(
                "{row} does not open with this key file; restore the key file that belongs to this data directory"
            ))
        };
        let (nonce, body) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let mut body = body.to_vec();
        let plain = self.sealer.open_in_place(nonce, Aad::from(row.as_bytes()), &mut body).map_err(|_| wrong())?;
        Ok(plain.to_vec())
    }
}
