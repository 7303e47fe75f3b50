//! PDFs that do more than being read.

use super::Detector;
use crate::content::files::{File, FileKind, Trait};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "pdf_actions",
    title: "PDF that acts",
    category: Category::Malware,
    severity: Severity::Malicious,
    prose: "Malicious: a PDF with an action that starts a program. Suspicious: a script that runs at opening and uses words that no form's\narithmetic needs, or a file inside that is there to be run. A note: any other script; forms have them. Invoices that carry their data as XML (ZUGFeRD, Factur-X) are not judged.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence.content.files.iter().filter(|f| f.kind == FileKind::Pdf).flat_map(judge).take(20).collect()
}

fn judge(file: &File) -> Vec<Finding> {
    let shown = file.shown();
    let facts = file.traits.iter().filter_map(|fact| {
        Some(match fact {
            Trait::Launch(what) => {
                Finding::malicious(&DETECTOR, format!("{shown} starts a program"), vec![format!("\"{what}\"")])
            }
            Trait::PdfScript { at_opening: true, words } if !words.is_empty() => {
                let summary = format!("{shown} runs a script when opened that hides or sends something");
                Finding::suspicious(&DETECTOR, summary, vec![words.clone()])
            }
            Trait::PdfScript { words, .. } => Finding::note(
                &DETECTOR,
                if words.is_empty() { 10 } else { 30 },
                format!("{shown} has a script"),
                vec![words.clone()],
            ),
            Trait::EmbeddedObject(name) => {
                Finding::suspicious(&DETECTOR, format!("{shown} carries \"{name}\", which is there to be run"), vec![])
            }
            _ => return None,
        })
    });
    facts.collect()
}
