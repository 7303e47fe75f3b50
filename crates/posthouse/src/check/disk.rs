//! The data directory: there or to be made, ours to write, with room.

use super::Checked;
use std::io::{ErrorKind, Write};
use std::path::Path;

const KEY: &str = "data_dir";

pub(super) fn data_dir(dir: &Path) -> Checked {
    // what is missing is made by the first start, where it can be
    let existing = dir.ancestors().map(|a| if a.as_os_str().is_empty() { Path::new(".") } else { a });
    let Some(existing) = existing.into_iter().find(|a| a.symlink_metadata().is_ok()) else {
        return Checked::problem(KEY, format!("{} cannot be reached", dir.display()));
    };
    if !existing.is_dir() {
        return Checked::problem(
            KEY,
            format!("{} is not a folder; expected one, or a place for one", existing.display()),
        );
    }
    if let Err(e) = try_writing(existing) {
        return Checked::problem(KEY, not_writable(existing, &e));
    }
    if let Some(problem) = key_file(&dir.join("secret.key")) {
        return Checked::problem(KEY, problem);
    }
    let is = if existing == dir { "can be written" } else { "will be made" };
    Checked::ok(KEY, format!("{} {is}", dir.display()))
}

/// As much as a message with its row would need at least, so that a full disk is noticed.
const TRIED_OCTETS: usize = 256 * 1024;

fn try_writing(dir: &Path) -> std::io::Result<()> {
    let file = dir.join(format!(".posthouse-check-{}", std::process::id()));
    let written = std::fs::File::create(&file).and_then(write);
    let removed = std::fs::remove_file(&file);
    written.and(removed)
}

fn write(mut file: std::fs::File) -> std::io::Result<()> {
    file.write_all(&vec![b'.'; TRIED_OCTETS])?;
    file.sync_data()
}

pub(super) fn not_writable(dir: &Path, error: &std::io::Error) -> String {
    let dir = dir.display();
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => {
            format!("{dir} is on a disk that is mounted read-only; mount it writable, or name another")
        }
        ErrorKind::StorageFull => format!("{dir} is on a disk that is full; make room, or name another"),
        ErrorKind::QuotaExceeded => format!("the user that runs posthouse has used up its quota on the disk of {dir}"),
        ErrorKind::PermissionDenied => {
            format!("{dir} may not be written by the user that runs posthouse; give it to that user (chown)")
        }
        _ => format!("{dir} cannot be written: {error}"),
    }
}

/// Of an earlier start, if there was one.
fn key_file(file: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = match std::fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return None,
        Err(e) => return Some(super::unreadable(file, &e)),
    };
    if let Err(e) = std::fs::read(file) {
        return Some(super::unreadable(file, &e));
    }
    let (mode, file) = (metadata.permissions().mode() & 0o777, file.display());
    (mode & 0o077 != 0)
        .then(|| format!("key file {file} has mode {mode:o}, others can read it; set it with: chmod 600 {file}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Errors of the kernel itself: a full disk from /dev/full, the others by their numbers.
    #[test]
    fn a_disk_that_cannot_be_written_is_told_by_its_reason() {
        let full = write(std::fs::File::options().write(true).open("/dev/full").unwrap()).unwrap_err();
        let (read_only, quota, not_ours) = (30, 122, 13);
        let number = |n| std::io::Error::from_raw_os_error(n);
        let said: String = [full, number(read_only), number(quota), number(not_ours), number(5)]
            .iter()
            .fold(String::new(), |all, e| format!("{all}{}\n", not_writable(Path::new("/var/lib/posthouse"), e)));
        insta::assert_snapshot!(said);
    }
}
