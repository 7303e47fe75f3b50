//! The EICAR test file (eicar.org, 68 bytes, optionally followed by white space up to 128 bytes).

use super::Detector;
use crate::content::files::Trait;
use crate::{Category, Evidence, Finding, Severity};
use mail::Kind;

pub const DETECTOR: Detector = Detector {
    id: "eicar",
    title: "EICAR test file",
    category: Category::Malware,
    severity: Severity::Malicious,
    prose: "Any part of the message, attached messages included, whose decoded content is the EICAR anti-virus test file. It harms\nnobody and proves that attachments are looked into. A file that merely contains the string is not one. Archives and documents are opened.",
    look,
};

/// The definition allows trailing white space up to this total.
const FILE_BYTES_MAX: usize = 128;

/// In two halves, so that no scanner takes this program for the file.
const HALVES: [&str; 2] = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

/// The file itself, for tests and demonstrations.
pub fn test_file() -> String {
    HALVES.concat()
}

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for part in evidence.parts {
        let whole = part.kind != Kind::Multipart && part.kind != Kind::Message;
        if whole && is_test_file(&part.decoded) {
            let name = part.file_name.unwrap_or("without a name");
            let summary = format!("attachment \"{name}\" is the EICAR test file");
            let where_ = format!("{}, {} bytes, at depth {}", part.content_type, part.decoded.len(), part.depth);
            found.push(Finding::malicious(&DETECTOR, summary, vec![where_]));
        }
    }
    let inside = evidence.content.files.iter().filter(|f| f.depth > 0 && f.has(&Trait::TestFile)).take(20);
    found.extend(inside.map(|f| {
        let where_ = format!("{} bytes, inside the attachment", f.octets);
        Finding::malicious(&DETECTOR, format!("attachment {} is the EICAR test file", f.shown()), vec![where_])
    }));
    found
}

pub(crate) fn is_test_file(bytes: &[u8]) -> bool {
    // a text part carries line ends of the message around it
    let file = bytes.trim_ascii_start();
    let rest = file.strip_prefix(HALVES[0].as_bytes()).and_then(|r| r.strip_prefix(HALVES[1].as_bytes()));
    rest.is_some_and(|r| file.len() <= FILE_BYTES_MAX && r.iter().all(|b| b.is_ascii_whitespace() || *b == 0x1a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_and_nothing_else() {
        let file = test_file();
        assert_eq!(file.len(), 68);
        assert!(is_test_file(file.as_bytes()));
        assert!(is_test_file(format!("{file}\r\n\x1a").as_bytes()));
        assert!(!is_test_file(format!("{file}x").as_bytes()));
        assert!(!is_test_file(format!("about {file}").as_bytes()));
        assert!(!is_test_file(&file.as_bytes()[..67]));
        assert!(!is_test_file(format!("{file}{}", " ".repeat(61)).as_bytes()));
    }
}
