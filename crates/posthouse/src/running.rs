//! Which process serves from a data directory. The kernel lets go of the lock when that process ends, however it ends.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::{Seek, Write};
use std::net::SocketAddr;
use std::path::Path;

const FILE: &str = "serve.lock";

/// The process that serves, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    pub pid: u32,
    pub listens: Vec<SocketAddr>,
    /// Its status page, where it has one.
    #[serde(default)]
    pub status: Option<SocketAddr>,
}

/// Held while serving.
pub struct ServeLock {
    file: File,
}

impl Running {
    /// The one that serves from this folder now, if one does.
    pub fn of(data_dir: &Path) -> Option<Running> {
        let file = File::open(data_dir.join(FILE)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => serde_json::from_reader(&file).ok(),
            _ => None,
        }
    }
}

impl ServeLock {
    pub fn take(data_dir: &Path) -> Result<ServeLock> {
        let path = data_dir.join(FILE);
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("data_dir: {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(ServeLock { file }),
            Err(_) => {
                let pid = Running::of(data_dir)
                    .map_or_else(|| "another process".to_owned(), |r| format!("process {}", r.pid));
                bail!("data_dir: {pid} serves from {} already; end it first", data_dir.display())
            }
        }
    }

    /// Says where, for `check-config` beside it.
    pub fn tell(&mut self, listens: Vec<SocketAddr>, status: Option<SocketAddr>) -> Result<()> {
        let running = Running { pid: std::process::id(), listens, status };
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&serde_json::to_vec(&running)?)?;
        Ok(())
    }
}
