//! Message bodies as files, in the shape of an object store (put, get, delete by key), so that another
//! one can stand here without any plane noticing. A put that answered `Ok` survives a power cut.

use crate::{Result, StoreError, limits};
use bytes::Bytes;
use mail::Pieces;
use std::collections::HashSet;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder of bodies, one file a key.
#[derive(Clone, Debug)]
pub struct Bodies {
    dir: PathBuf,
}

impl Bodies {
    pub(crate) fn open(dir: PathBuf) -> Result<Bodies> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|source| StoreError::File { what: format!("folder {}", dir.display()), source })?;
        Ok(Bodies { dir })
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.eml"))
    }

    /// Writes beside, syncs, renames, syncs the folder: a reader sees all of a body or none of it.
    pub async fn put(&self, key: &str, raw: &Pieces) -> Result<()> {
        let (path, raw) = (self.path(key), raw.clone());
        blocking(move || {
            let beside = path.with_extension("part");
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            for piece in raw.as_slice() {
                file.write_all(piece)?;
            }
            file.sync_data()?;
            std::fs::rename(&beside, &path)?;
            std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
        })
        .await
        .map_err(|source| StoreError::File { what: format!("body {key}"), source })
    }

    pub async fn get(&self, key: &str) -> Result<Bytes> {
        let path = self.path(key);
        blocking(move || std::fs::read(path))
            .await
            .map(Bytes::from)
            .map_err(|source| StoreError::File { what: format!("body {key}"), source })
    }

    /// Deleting what is gone is a success.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key);
        match blocking(move || std::fs::remove_file(path)).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::File { what: format!("body {key}"), source: e })
            }
            _ => Ok(()),
        }
    }

    /// Removes files that no row speaks of and that nobody can still be writing.
    pub(crate) fn sweep(&self, known: &HashSet<String>) {
        let Ok(files) = std::fs::read_dir(&self.dir) else { return };
        for file in files.flatten() {
            let stem = file.path().file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            let old = file
                .metadata()
                .and_then(|m| m.modified())
                .ok()
                .and_then(|t| t.elapsed().ok())
                .is_some_and(|age| age > limits::ORPHAN_AGE);
            if old && !known.contains(&stem) {
                let removed = std::fs::remove_file(file.path());
                tracing::info!(body = %stem, ok = removed.is_ok(), "swept an unfinished body");
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(std::io::Error::other(e)))
}
