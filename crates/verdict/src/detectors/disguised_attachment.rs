//! Attachments that pretend to be something else.

use super::Detector;
use crate::content::files::{File, FileKind, NameTrick, Trait, kind};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "disguised_attachment",
    title: "Attachment in disguise",
    category: Category::Malware,
    severity: Severity::Malicious,
    prose: "A program, script, shortcut or disk image whose name ends like a document's or picture's; a name that hides its ending by a second\none, by writing from right to left or by many blanks (also inside archives). Suspicious: an HTML page named as a PDF, Office file or picture,\nand an archive named as one. Harmless mistakes are not judged: a picture with another picture's ending or .pdf, an RTF, HTML table or text\nnamed .doc or .xls.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence.content.files.iter().filter_map(judge).take(20).collect()
}

fn judge(file: &File) -> Option<Finding> {
    let trick = file.finds(|t| match t {
        Trait::NameTrick(trick) => Some(*trick),
        _ => None,
    });
    let details = vec![format!("name \"{}\", claimed as \"{}\"", file.name.escape_debug(), file.claimed)];
    if let Some(trick) = trick {
        let how = match trick {
            NameTrick::DoubleExtension => "hides its ending behind a second one",
            NameTrick::Reversed => "is written from right to left to hide its ending",
            NameTrick::Spaces => "hides its ending behind many blanks",
        };
        // whole names in right-to-left scripts carry such marks, too: only with an ending that runs it is a trick
        let runs = trick != NameTrick::Reversed || kind::runs_by_name(&file.name) || is_run(file.kind);
        return runs.then(|| Finding::malicious(&DETECTOR, format!("the name of {} {how}", file.shown()), details));
    }
    let ext = kind::extension(&file.name);
    let looks = kind::is_harmless_ending(&ext);
    let summary = format!("{} is {} and named as if it were none", file.shown(), file.kind.as_str());
    if looks && is_run(file.kind) {
        return Some(Finding::malicious(&DETECTOR, summary, details));
    }
    let as_document = matches!(ext.as_str(), "pdf" | "docx" | "xlsx" | "pptx" | "jpg" | "jpeg" | "png" | "gif");
    let lies = as_document && (file.kind == FileKind::Html || file.kind.is_archive());
    lies.then(|| Finding::suspicious(&DETECTOR, summary, details))
}

fn is_run(kind: FileKind) -> bool {
    matches!(kind, FileKind::Executable | FileKind::Script | FileKind::Shortcut | FileKind::DiskImage)
}
