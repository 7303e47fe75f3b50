//! Files whose SHA-256 stands on a list of the operator's (docs/engines.md).

use super::Detector;
use super::listed_url::told;
use crate::lists::Listing;
use crate::{Category, Evidence, Finding, Severity};
use mail::Kind;
use sha2::{Digest, Sha256};

pub const DETECTOR: Detector = Detector {
    id: "listed_file",
    title: "Listed file",
    category: Category::Malware,
    severity: Severity::Malicious,
    prose: "An attachment whose SHA-256, decoded, stands on a list which the operator named under `[[list]]`. How bad that is, the operator\nsays for each list. One octet more, and it is another file. Without lists it finds nothing.",
    look,
};

/// Files that are hashed; a message with more is odd for other reasons.
const FILES_MAX: usize = 200;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    if !evidence.lists.any(Listing::Files) {
        return Vec::new();
    }
    let files = evidence.parts.iter().filter(|p| !matches!(p.kind, Kind::Multipart | Kind::Message));
    let files = files.filter(|p| p.is_attachment || !matches!(p.kind, Kind::Text | Kind::Html)).take(FILES_MAX);
    let mut found = Vec::new();
    for part in files {
        let digest: String = Sha256::digest(&part.decoded).iter().map(|b| format!("{b:02x}")).collect();
        let name = part.file_name.unwrap_or("without a name");
        for (list, entry) in evidence.lists.with(Listing::Files, std::slice::from_ref(&digest)) {
            let summary = format!("attachment \"{name}\" stands on the list \"{}\"", list.name);
            let detail = format!("{}, {} bytes, SHA-256 {entry}", part.content_type, part.decoded.len());
            found.push((list.severity, summary, detail));
        }
    }
    told(&DETECTOR, found)
}
