//! A feed as it was last good, on disk: its text and, beside it, what to ask its source with. The text is there first, so
//! that a crash between the two only has it fetched again. A cache: deleting it costs nothing but fetching, hence not in the store.

use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Under the same name another feed may have been configured before.
    pub source: String,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub fetched: Option<jiff::Timestamp>,
}

impl Kept {
    pub fn write(&self, dir: &Path, name: &str, text: &[u8]) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        whole(&dir.join(format!("{name}.txt")), text)?;
        whole(&dir.join(format!("{name}.json")), &serde_json::to_vec(self)?)
    }

    /// Nothing where nothing is kept, or of another source.
    pub fn read(dir: &Path, name: &str, source: &str) -> Option<(Kept, Vec<u8>)> {
        let kept: Kept = serde_json::from_slice(&fs::read(dir.join(format!("{name}.json"))).ok()?).ok()?;
        (kept.source == source).then_some(())?;
        Some((kept, fs::read(dir.join(format!("{name}.txt"))).ok()?))
    }
}

/// There at once, or as it was. The address in it may hold a key.
fn whole(path: &Path, octets: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.create(true).truncate(true).write(true).open(&part)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(part, path)
}
