//! Office files that run commands when opened.

use super::Detector;
use crate::content::files::{File, Trait};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "macro_dropper",
    title: "Office file that runs commands",
    category: Category::Malware,
    severity: Severity::Malicious,
    prose: "Malicious: VBA that runs when the file is opened and reaches outside the document (starts programs, fetches files, calls\nWindows); Excel 4.0 macros that do; a DDE field that starts a program. Suspicious: macros whose source was taken out, a hidden sheet of Excel 4.0\nmacros. A note: macros otherwise, more points when they run by themselves. Workbooks with plain macros are wanted mail.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence.content.files.iter().filter_map(judge).take(20).collect()
}

fn judge(file: &File) -> Option<Finding> {
    let shown = file.shown();
    let dde = file.finds(|t| match t {
        Trait::Dde(told) => Some(told),
        _ => None,
    });
    if let Some(told) = dde {
        return Some(Finding::malicious(
            &DETECTOR,
            format!("{shown} has a field that starts a program"),
            vec![told.clone()],
        ));
    }
    let auto = file.finds(|t| match t {
        Trait::AutoRun(name) => Some(name),
        _ => None,
    });
    let commands = file.finds(|t| match t {
        Trait::RunsCommands(words) => Some(words),
        _ => None,
    });
    Some(match (auto, commands) {
        (Some(auto), Some(words)) => {
            let summary = format!("{shown} runs macros when opened, and they reach outside the document");
            Finding::malicious(&DETECTOR, summary, vec![format!("runs by itself: {auto}"), format!("words: {words}")])
        }
        (Some(auto), None) if auto.contains("hidden") => {
            Finding::suspicious(&DETECTOR, format!("{shown} has {auto}"), vec![])
        }
        _ if file.has(&Trait::MacrosWithoutSource) => {
            Finding::suspicious(&DETECTOR, format!("{shown} has macros whose source was taken out"), vec![])
        }
        (Some(auto), None) => {
            Finding::note(&DETECTOR, 40, format!("{shown} runs macros when opened"), vec![auto.clone()])
        }
        (None, Some(words)) => Finding::note(
            &DETECTOR,
            40,
            format!("{shown} has macros that reach outside the document"),
            vec![words.clone()],
        ),
        (None, None) if file.has(&Trait::Macros) => Finding::note(&DETECTOR, 15, format!("{shown} has macros"), vec![]),
        _ => return None,
    })
}
