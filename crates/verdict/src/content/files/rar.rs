//! The names in a RAR archive (RAR 5.0 technote, and the older format). Unpacking has no library with an open licence.

use crate::limits::ARCHIVE_ENTRIES_MAX;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub names: Vec<String>,
    pub encrypted: bool,
}

/// Those up to the first block that cannot be read.
pub(super) fn list(octets: &[u8]) -> Listing {
    let mut listing = Listing::default();
    if let Some(blocks) = octets.strip_prefix(b"Rar!\x1a\x07\x01\0") {
        let mut at = 0;
        while listing.names.len() < ARCHIVE_ENTRIES_MAX
            && let Some(length) = blocks.get(at..).and_then(|rest| block_5(rest, &mut listing))
        {
            at = at.saturating_add(length);
        }
    } else if let Some(blocks) = octets.strip_prefix(b"Rar!\x1a\x07\0") {
        let mut at = 0;
        while listing.names.len() < ARCHIVE_ENTRIES_MAX
            && let Some(length) = blocks.get(at..).and_then(|rest| block_4(rest, &mut listing))
        {
            at = at.saturating_add(length);
        }
    }
    listing
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(first)
    }
    /// Seven bits an octet, the low ones first.
    fn number(&mut self) -> Option<usize> {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let octet = self.take(1)?[0];
            value |= u64::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                return usize::try_from(value).ok();
            }
        }
        None
    }
}

/// One block and its data; returns its length.
fn block_5(octets: &[u8], listing: &mut Listing) -> Option<usize> {
    let mut fields = Fields { rest: octets };
    fields.take(4)?;
    let size = fields.number()?;
    let start = octets.len() - fields.rest.len();
    let mut fields = Fields { rest: fields.rest.get(..size)? };
    let (kind, flags) = (fields.number()?, fields.number()?);
    let extra = if flags & 1 != 0 { fields.number()? } else { 0 };
    let data = if flags & 2 != 0 { fields.number()? } else { 0 };
    match kind {
        2 => {
            let of_file = fields.number()?;
            fields.number()?;
            fields.number()?;
            fields.take(4 * usize::from(of_file & 2 != 0))?;
            fields.take(4 * usize::from(of_file & 4 != 0))?;
            fields.number()?;
            fields.number()?;
            let length = fields.number()?;
            listing.names.push(String::from_utf8_lossy(fields.take(length)?).into_owned());
            // the extra area's records: size, type; 1 is encryption
            let mut records = Fields { rest: fields.rest.get(fields.rest.len().checked_sub(extra)?..)? };
            if extra > 0 && records.number().is_some() && records.number() == Some(1) {
                listing.encrypted = true;
            }
        }
        4 => {
            listing.encrypted = true;
            return None;
        }
        5 => return None,
        _ => {}
    }
    start.checked_add(size)?.checked_add(data)
}

fn block_4(octets: &[u8], listing: &mut Listing) -> Option<usize> {
    let word = |at: usize| octets.get(at..at + 2).map(|o| usize::from(u16::from_le_bytes([o[0], o[1]])));
    let long = |at: usize| Some(word(at)? | word(at + 2)? << 16);
    let (kind, flags, size) = (*octets.get(2)?, word(3)?, word(5)?);
    let data = if flags & 0x8000 != 0 || kind == 0x74 { long(7)? } else { 0 };
    match kind {
        0x73 if flags & 0x80 != 0 => {
            listing.encrypted = true;
            return None;
        }
        0x74 => {
            let start = 32 + if flags & 0x100 != 0 { 8 } else { 0 };
            let name = octets.get(start..start + word(26)?)?;
            let name = name.split(|b| *b == 0).next().unwrap_or(name);
            listing.names.push(String::from_utf8_lossy(name).into_owned());
            listing.encrypted |= flags & 4 != 0;
        }
        0x7b => return None,
        _ => {}
    }
    (size >= 7).then(|| size.checked_add(data)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_formats_and_no_panic_on_pieces() {
        let mut five = b"Rar!\x1a\x07\x01\0".to_vec();
        // main block: crc, size 3, type 1, flags 0, archive flags 0
        five.extend(b"\0\0\0\0\x03\x01\0\0");
        // file block: size 16: type 2, flags 2, data 3, file flags 0, unpacked 3, attributes 0, compression 0, host 0, name
        five.extend(b"\0\0\0\0\x0f\x02\x02\x03\0\x03\0\0\0\x06bad.js");
        five.extend(b"abc");
        five.extend(b"\0\0\0\0\x03\x05\0\0");
        assert_eq!(list(&five), Listing { names: vec!["bad.js".into()], encrypted: false });
        let mut four = b"Rar!\x1a\x07\0".to_vec();
        four.extend(b"\0\0\x73\0\0\x0d\0\0\0\0\0\0\0");
        four.extend(b"\0\0\x74\x04\x80\x27\0\x03\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\x14\x30\x07\0\0\0\0\0");
        four.extend(b"bad.exeabc");
        assert_eq!(list(&four), Listing { names: vec!["bad.exe".into()], encrypted: true });
        for whole in [five, four] {
            (0..whole.len()).for_each(|n| drop(list(&whole[..n])));
        }
    }
}
