//! Archives that are made to pass a scanner.

use super::Detector;
use crate::content::files::{File, Trait};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "lying_archive",
    title: "Archive that is made to pass scanners",
    category: Category::Malware,
    severity: Severity::Suspicious,
    prose: "An encrypted archive or document whose password stands in the same message: it protects from nobody but scanners. Where the password opened it here and\nnothing harmful was in it, it is a note, since careless people do it. Also a zip archive that names a file differently in front of it and in its directory,\nso that programs disagree on what is in it. Encrypted files whose password came another way are a note of `encrypted_attachment`.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence.content.files.iter().flat_map(judge).take(20).collect()
}

fn judge(file: &File) -> Vec<Finding> {
    let judged = file.traits.iter().filter_map(|fact| match fact {
        Trait::PasswordInText { word, opens: true } => {
            let summary = format!("{} is encrypted and its password stands in the message", file.shown());
            Some(Finding::note(&DETECTOR, 60, summary, vec![format!("the password \"{word}\" opens it")]))
        }
        Trait::PasswordInText { word, opens: false } => {
            let summary = format!(
                "{} is encrypted, could not be looked into, and a password stands in the message",
                file.shown()
            );
            Some(Finding::suspicious(&DETECTOR, summary, vec![format!("\"{word}\"")]))
        }
        Trait::HeadersDisagree(names) => {
            let summary = format!("{} names a file in two ways", file.shown());
            Some(Finding::suspicious(&DETECTOR, summary, vec![names.clone()]))
        }
        _ => None,
    });
    judged.collect()
}
