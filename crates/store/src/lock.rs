//! One set of hands in a tenant at a time, whichever process they belong to.

use crate::{Result, Store, StoreError};
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use tenant::TenantId;

/// Held until dropped; the kernel lets go when the process ends, however it ends.
#[derive(Debug)]
pub struct TenantLock {
    _file: File,
}

impl Store {
    /// `None`: somebody else is changing this tenant now.
    pub fn lock_tenant(&self, id: TenantId) -> Result<Option<TenantLock>> {
        self.lock(&format!("tenant-{id}.lock"))
    }

    /// The one watchdog of this data directory. `None`: another process keeps watch.
    pub fn lock_watchdog(&self) -> Result<Option<TenantLock>> {
        self.lock("watchdog.lock")
    }

    /// One of a few files for many ids, so that none is left behind for each.
    pub(crate) fn lock_one_of(&self, kind: &str, id: &str) -> Result<Option<TenantLock>> {
        let n = id.bytes().fold(0u8, |n, b| n.wrapping_mul(31).wrapping_add(b)) % 32;
        self.lock(&format!("{kind}-{n}.lock"))
    }

    fn lock(&self, name: &str) -> Result<Option<TenantLock>> {
        let path: PathBuf = self.data_dir.join(name);
        let wrong = |source| StoreError::File { what: path.display().to_string(), source };
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(TenantLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(wrong(source)),
        }
    }
}
