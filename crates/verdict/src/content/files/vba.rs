//! The source of VBA modules (MS-OVBA §2.4.1) and what in it runs by itself or reaches outside the document.

use crate::limits::OFFICE_STREAM_OCTETS_MAX;

/// The source of a module stream. It stands behind compiled code of a length that only another stream tells; its first
/// words are always `Attribute`, as a literal run at the beginning of a compressed container.
pub(super) fn source(stream: &[u8]) -> Option<String> {
    let mark = memchr::memmem::find(stream, b"\0Attribut")?;
    let text = decompress(&stream[mark.checked_sub(3)?..]);
    (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned())
}

/// §2.4.1.3: a container is 0x01 and chunks of at most 4,096 octets each; what can be read before an error stays.
fn decompress(container: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let Some((1, mut rest)) = container.split_first().map(|(first, rest)| (*first, rest)) else { return out };
    while let [low, high, after @ ..] = rest {
        let header = u16::from_le_bytes([*low, *high]);
        let size = usize::from(header & 0x0fff) + 1;
        // §2.4.1.1.5: the signature is 0b011
        if header >> 12 & 7 != 3 || out.len() > OFFICE_STREAM_OCTETS_MAX {
            break;
        }
        let chunk = &after[..size.min(after.len())];
        match header & 0x8000 {
            0 => out.extend_from_slice(chunk),
            _ => decompress_chunk(chunk, &mut out),
        }
        rest = &after[chunk.len()..];
    }
    out
}

fn decompress_chunk(chunk: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut at = 0;
    while let Some(flags) = chunk.get(at) {
        at += 1;
        for bit in 0..8 {
            if flags >> bit & 1 == 0 {
                let Some(octet) = chunk.get(at) else { return };
                out.push(*octet);
                at += 1;
                continue;
            }
            let Some([low, high]) = chunk.get(at..at + 2) else { return };
            at += 2;
            let token = u16::from_le_bytes([*low, *high]);
            // §2.4.1.3.19.1: how many bits are the offset depends on what has been written of this chunk
            let written = out.len() - start;
            let bits = (4..=12).find(|bits| 1 << bits >= written).unwrap_or(12_u32);
            let length = usize::from(token & (0xffff >> bits)) + 3;
            let offset = usize::from(token >> (16 - bits)) + 1;
            if offset > written || written + length > 4096 {
                return;
            }
            for _ in 0..length {
                out.push(out[out.len() - offset]);
            }
        }
    }
}

/// Procedures that Office runs without being asked.
const AUTO_RUN: [&str; 14] = [
    "autoopen",
    "auto_open",
    "autoexec",
    "autoclose",
    "auto_close",
    "autonew",
    "document_open",
    "document_close",
    "document_new",
    "workbook_open",
    "workbook_activate",
    "workbook_beforeclose",
    "presentation_open",
    "inkpicture1_painted",
];

/// Ways out of the document.
const COMMANDS: [&str; 22] = [
    "shell(",
    "shell ",
    "wscript.shell",
    "shell.application",
    "powershell",
    "cmd.exe",
    "cmd /c",
    "mshta",
    "rundll32",
    "regsvr32",
    "urldownloadtofile",
    "xmlhttp",
    "winhttprequest",
    "adodb.stream",
    "win32_process",
    "virtualalloc",
    "createthread",
    "callbyname",
    "savetofile",
    "certutil",
    "bitsadmin",
    "=exec(",
];

pub(super) fn auto_run(source: &str) -> Option<&'static str> {
    let lower = source.to_lowercase();
    AUTO_RUN.into_iter().find(|name| {
        memchr::memmem::find_iter(lower.as_bytes(), name.as_bytes()).any(|at| {
            let before = lower[..at].trim_end_matches([' ', '\t']);
            before.ends_with("sub") || before.ends_with("function")
        })
    })
}

pub(super) fn commands(source: &str) -> Vec<&'static str> {
    let lower = source.to_lowercase();
    COMMANDS.into_iter().filter(|word| lower.contains(word)).map(str::trim_end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        // MS-OVBA §3.2.2
        let compressed = [
            0x01, 0x2f, 0xb0, 0x00, 0x23, 0x61, 0x61, 0x61, 0x62, 0x63, 0x64, 0x65, 0x82, 0x66, 0x00, 0x70, 0x61, 0x67,
            0x68, 0x69, 0x6a, 0x01, 0x38, 0x08, 0x61, 0x6b, 0x6c, 0x00, 0x30, 0x6d, 0x6e, 0x6f, 0x70, 0x06, 0x71, 0x02,
            0x70, 0x04, 0x10, 0x72, 0x73, 0x74, 0x75, 0x76, 0x10, 0x77, 0x78, 0x79, 0x7a, 0x00, 0x3c,
        ];
        assert_eq!(decompress(&compressed), b"#aaabcdefaaaaghijaaaaaklaaamnopqaaaaaaaaaaaarstuvwxyzaaa");
        (0..compressed.len()).for_each(|n| drop(decompress(&compressed[..n])));
    }

    #[test]
    fn what_runs_by_itself_is_a_procedure_of_that_name() {
        assert_eq!(auto_run("Private Sub  Document_Open()\n"), Some("document_open"));
        assert_eq!(auto_run("' call AutoOpen from the menu"), None);
    }
}
