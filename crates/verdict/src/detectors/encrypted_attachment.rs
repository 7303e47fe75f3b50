//! Attachments that nobody but the reader can open.

use super::Detector;
use crate::content::files::{FileKind, Trait};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "encrypted_attachment",
    title: "Attachment that was not looked into",
    category: Category::Unscannable,
    severity: Severity::Note,
    prose: "An encrypted archive, Office file or PDF whose password does not stand in the message, and archives of kinds that are not opened here (RAR, CAB,\nXZ, …; of RAR the names are read). A note: banks and payroll offices encrypt in earnest. A tenant that wants such mail held says so in its policy.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in &evidence.content.files {
        let told = file.traits.iter().any(|t| matches!(t, Trait::PasswordInText { .. }));
        if file.has(&Trait::Encrypted) && !told {
            found.push(Finding::note(&DETECTOR, 15, format!("{} is encrypted", file.shown()), vec![]));
        } else if file.has(&Trait::NotOpened) && file.kind.is_archive() {
            let points = if file.kind == FileKind::Rar { 30 } else { 20 };
            let summary = format!("{} is {} and was not opened", file.shown(), file.kind.as_str());
            found.push(Finding::note(&DETECTOR, points, summary, vec![]));
        }
    }
    // several of them are not several times as bad
    found.truncate(1);
    found
}
