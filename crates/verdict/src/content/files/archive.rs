//! Archives, opened in memory within the budget: zip, 7z, tar, gzip. Of RAR only the names are read.

use super::kind::{self, FileKind};
use super::{Opener, Trait, office, rar};
use crate::limits::*;
use std::io::{Cursor, Read};

/// What unpacking may still cost for this message. Once it is gone nothing more is opened.
#[derive(Debug)]
pub(super) struct Budget {
    entries: usize,
    octets: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { entries: ARCHIVE_ENTRIES_MAX, octets: UNPACKED_OCTETS_MAX }
    }
}

impl Budget {
    pub(super) fn spend(&mut self, octets: usize) {
        self.octets = self.octets.saturating_sub(octets as u64);
    }
    pub(super) fn may_go_on(&self) -> bool {
        self.octets > 0
    }
    #[cfg(test)]
    pub(super) fn spent(&self) -> (usize, u64) {
        (ARCHIVE_ENTRIES_MAX - self.entries, UNPACKED_OCTETS_MAX - self.octets)
    }
}

type Zip<'a> = zip::ZipArchive<Cursor<&'a [u8]>>;

impl Opener<'_> {
    /// One more entry, or the sentence why not.
    fn may_open(&mut self, file: usize) -> bool {
        if self.budget.entries == 0 {
            self.cannot(file, &format!("more than {ARCHIVE_ENTRIES_MAX} files in the message's archives"));
        } else if !self.budget.may_go_on() {
            self.cannot(file, &format!("more than {} MB to unpack", UNPACKED_OCTETS_MAX >> 20));
        } else {
            self.budget.entries -= 1;
            return true;
        }
        false
    }

    /// Reads what is needed of an entry: its head, and all of it where its kind asks for that.
    fn unpack(
        &mut self,
        file: usize,
        name: &str,
        packed_octets: u64,
        mut from: &mut dyn Read,
    ) -> std::io::Result<Vec<u8>> {
        let mut octets = Vec::new();
        (&mut from).take(HEAD_OCTETS as u64).read_to_end(&mut octets)?;
        if kind::kind_of(&octets, name, "").is_read_whole() {
            let most = (UNPACKED_FILE_OCTETS_MAX as u64).min(self.budget.octets);
            from.take(most).read_to_end(&mut octets)?;
            if octets.len() as u64 >= most {
                self.cannot(file, &format!("\"{name}\" in it is larger than is looked at"));
            }
        }
        self.budget.spend(octets.len());
        let ratio = octets.len() as u64 / packed_octets.max(1);
        if octets.len() as u64 > UNPACK_RATIO_FREE_OCTETS && ratio > UNPACK_RATIO_MAX {
            self.cannot(file, &format!("\"{name}\" in it grows {ratio} times when unpacked"));
        }
        Ok(octets)
    }
}

/// Entries by their signature, since what an archive says about itself may be a lie.
fn entries_seen(octets: &[u8]) -> usize {
    memchr::memmem::find_iter(octets, b"PK\x01\x02").take(ARCHIVE_ENTRIES_MAX + 1).count()
}

pub(super) fn open_zip(opener: &mut Opener<'_>, file: usize, octets: &[u8], depth: usize) {
    if entries_seen(octets) > ARCHIVE_ENTRIES_MAX {
        return opener.cannot(file, &format!("more than {ARCHIVE_ENTRIES_MAX} files"));
    }
    let mut archive = match zip::ZipArchive::new(Cursor::new(octets)) {
        Ok(archive) => archive,
        Err(_) => return opener.cannot(file, "a broken zip archive"),
    };
    if archive.has_overlapping_files().unwrap_or(true) {
        return opener.cannot(file, "a zip archive whose files overlap each other");
    }
    let grown = archive.decompressed_size().unwrap_or(u128::MAX);
    if grown > u128::from(UNPACKED_OCTETS_MAX) && grown / octets.len().max(1) as u128 > u128::from(UNPACK_RATIO_MAX) {
        return opener.cannot(file, &format!("a zip archive that grows to {} MB when unpacked", grown >> 20));
    }
    if archive.index_for_name("[Content_Types].xml").is_some() || archive.index_for_name("mimetype").is_some() {
        opener.files[file].kind = FileKind::Document;
        return office::open_document(opener, file, &mut archive, depth);
    }
    if archive.index_for_name("META-INF/MANIFEST.MF").is_some() && kind::runs_by_name(&opener.files[file].name) {
        opener.files[file].kind = FileKind::Script;
    }
    if let Some(lie) = header_lie(&mut archive, octets) {
        opener.files[file].traits.push(Trait::HeadersDisagree(lie));
    }
    let encrypted = (0..archive.len()).any(|n| archive.by_index_raw(n).is_ok_and(|f| f.encrypted()));
    let password = encrypted.then(|| password(opener, file, &mut archive)).flatten();
    for index in 0..archive.len() {
        if !opener.may_open(file) {
            return;
        }
        zip_entry(opener, file, &mut archive, index, password.as_deref(), depth);
    }
}

fn zip_entry(
    opener: &mut Opener<'_>,
    file: usize,
    archive: &mut Zip<'_>,
    index: usize,
    password: Option<&str>,
    depth: usize,
) {
    let Ok(raw) = archive.by_index_raw(index) else { return opener.cannot(file, "a broken zip archive") };
    let name =
        raw.name().map(|n| n.into_owned()).unwrap_or_else(|_| String::from_utf8_lossy(raw.name_raw()).into_owned());
    let (packed, is_dir, encrypted) = (raw.compressed_size(), raw.is_dir(), raw.encrypted());
    drop(raw);
    if is_dir {
        return;
    }
    if encrypted && password.is_none() {
        return opener.closed(file, &name);
    }
    let opened = match password.filter(|_| encrypted) {
        Some(word) => archive.by_index_decrypt(index, word.as_bytes()),
        None => archive.by_index(index),
    };
    let unpacked = match opened {
        Ok(mut entry) => opener.unpack(file, &name, packed, &mut entry).map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    match unpacked {
        Ok(octets) => opener.inner(file, &name, &octets, depth),
        Err(_) => {
            opener.closed(file, &name);
            opener.cannot(file, &format!("\"{name}\" in it is broken or packed in a rare way"));
        }
    }
}

/// APPNOTE 4.3.7: the name in front of the octets, which some programs go by, is the name in the directory.
fn header_lie(archive: &mut Zip<'_>, octets: &[u8]) -> Option<String> {
    (0..archive.len()).find_map(|n| {
        let entry = archive.by_index_raw(n).ok()?;
        let at = usize::try_from(entry.header_start()).ok()?;
        let length = u16::from_le_bytes(octets.get(at + 26..at + 28)?.try_into().ok()?);
        let local = octets.get(at + 30..at + 30 + usize::from(length))?;
        let lies = local != entry.name_raw() && local.is_ascii() && entry.name_raw().is_ascii();
        lies.then(|| format!("\"{}\" and \"{}\"", entry.name_raw().escape_ascii(), local.escape_ascii()))
    })
}

/// The word of the text that opens it, proven on its smallest encrypted entry.
fn password(opener: &mut Opener<'_>, file: usize, archive: &mut Zip<'_>) -> Option<String> {
    opener.files[file].traits.push(Trait::Encrypted);
    let words = opener.passwords().to_vec();
    let smallest = (0..archive.len())
        .filter_map(|n| archive.by_index_raw(n).ok().filter(|f| f.encrypted()).map(|f| (f.size(), n)))
        .min()
        .filter(|(size, _)| *size <= PASSWORD_PROOF_OCTETS_MAX);
    let opens = |archive: &mut Zip<'_>, n: usize, word: &str| {
        // the check octet lets 1 wrong word of 256 pass, the checksum at the end none
        let most = PASSWORD_PROOF_OCTETS_MAX + 1;
        archive.by_index_decrypt(n, word.as_bytes()).is_ok_and(|f| f.take(most).read_to_end(&mut Vec::new()).is_ok())
    };
    let word = smallest.and_then(|(_, n)| words.iter().find(|w| opens(archive, n, w)).cloned());
    if let Some(given) = word.clone().or_else(|| words.first().cloned()) {
        opener.files[file].traits.push(Trait::PasswordInText { word: given, opens: word.is_some() });
    }
    word
}

pub(super) fn open_7z(opener: &mut Opener<'_>, file: usize, octets: &[u8], depth: usize) {
    use sevenz_rust2::{ArchiveReader, EntryDecision, Error, Password};
    let reader = ArchiveReader::new_with_memory_limit(Cursor::new(octets), Password::empty(), SEVEN_ZIP_MEMORY_KIB_MAX);
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(Error::PasswordRequired | Error::MaybeBadPassword(_) | Error::UnsupportedCompressionMethod(_)) => {
            // without AES here: a key derivation's cost is the archive's own choice, up to years
            opener.files[file].traits.push(Trait::Encrypted);
            return opener.password_beside(file);
        }
        Err(_) => return opener.cannot(file, "a broken 7z archive, or one that needs much memory"),
    };
    reader.set_thread_count(1);
    let files = &reader.archive().files;
    let grown: u64 = files.iter().map(|f| f.size()).fold(0, u64::saturating_add);
    let names: Vec<String> = files.iter().filter(|f| !f.is_directory()).map(|f| f.name().to_owned()).collect();
    let encrypted = (0..files.len()).any(|n| reader.archive().is_file_encrypted(n));
    if encrypted || grown > UNPACKED_OCTETS_MAX || names.len() > ARCHIVE_ENTRIES_MAX {
        for name in names.iter().take(ARCHIVE_ENTRIES_MAX) {
            opener.closed(file, name);
        }
        if !encrypted {
            return opener.cannot(file, &format!("a 7z archive of {} files and {} MB", names.len(), grown >> 20));
        }
        opener.files[file].traits.push(Trait::Encrypted);
        return opener.password_beside(file);
    }
    let opened = reader.for_each_entries_with_decision(|entry, from| {
        if entry.is_directory() || !entry.has_stream() {
            return Ok(EntryDecision::Continue);
        }
        if !opener.may_open(file) {
            return Ok(EntryDecision::Stop);
        }
        let inner = opener.unpack(file, entry.name(), entry.size(), from)?;
        // blocks are solid: what is not looked at is unpacked all the same
        opener.budget.spend(usize::try_from(entry.size()).unwrap_or(usize::MAX).saturating_sub(inner.len()));
        opener.inner(file, entry.name(), &inner, depth);
        Ok(EntryDecision::Continue)
    });
    if opened.is_err() {
        opener.cannot(file, "a 7z archive that is broken or packed in a rare way");
    }
}

pub(super) fn open_gzip(opener: &mut Opener<'_>, file: usize, octets: &[u8], depth: usize) {
    if !opener.may_open(file) {
        return;
    }
    let outer = opener.files[file].name.clone();
    let grown = gzip_claims(octets);
    if grown > UNPACKED_OCTETS_MAX && grown / octets.len().max(1) as u64 > UNPACK_RATIO_MAX {
        return opener.cannot(file, &format!("a gzip file that grows to {} MB when unpacked", grown >> 20));
    }
    // programs unpack every member of it, one after the other (RFC 1952 §2.2)
    let mut from = flate2::read::MultiGzDecoder::new(octets);
    let told = from.header().and_then(|h| h.filename()).map(|n| String::from_utf8_lossy(n).into_owned());
    let lower = outer.to_ascii_lowercase();
    let stem = match (lower.strip_suffix(".tgz"), lower.strip_suffix(".gz")) {
        (Some(stem), _) => Some(format!("{}.tar", &outer[..stem.len()])),
        (_, Some(stem)) => Some(outer[..stem.len()].to_owned()),
        _ => None,
    };
    let name = told.or(stem).unwrap_or_else(|| "its content".into());
    match opener.unpack(file, &name, octets.len() as u64, &mut from) {
        Ok(inner) => opener.inner(file, &name, &inner, depth),
        Err(_) => opener.cannot(file, "a broken gzip file"),
    }
}

/// What the last member says it has unpacked (RFC 1952 §2.3.1, ISIZE); where it lies, only what is read counts.
fn gzip_claims(octets: &[u8]) -> u64 {
    octets.last_chunk::<4>().map_or(0, |size| u64::from(u32::from_le_bytes(*size)))
}

pub(super) fn open_tar(opener: &mut Opener<'_>, file: usize, octets: &[u8], depth: usize) {
    let mut archive = tar::Archive::new(octets);
    let Ok(entries) = archive.entries() else { return opener.cannot(file, "a broken tar archive") };
    for entry in entries {
        if !opener.may_open(file) {
            return;
        }
        let Ok(mut entry) = entry else { return opener.cannot(file, "a broken tar archive") };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let size = entry.size();
        match opener.unpack(file, &name, size, &mut entry) {
            Ok(inner) => opener.inner(file, &name, &inner, depth),
            Err(_) => return opener.cannot(file, "a broken tar archive"),
        }
    }
}

pub(super) fn list_rar(opener: &mut Opener<'_>, file: usize, octets: &[u8]) {
    let listing = rar::list(octets);
    opener.files[file].traits.push(Trait::NotOpened);
    if listing.encrypted {
        opener.files[file].traits.push(Trait::Encrypted);
        opener.password_beside(file);
    }
    for name in listing.names {
        if !opener.may_open(file) {
            return;
        }
        opener.closed(file, &name);
    }
}
