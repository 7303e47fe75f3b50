//! Drawings that run scripts.

use super::Detector;
use crate::content::files::{File, FileKind, Trait};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "svg_attachment",
    title: "Drawing that runs a script",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "An attached SVG opens in the browser and runs what is in it: suspicious with a script, an event handler, a frame or a page inside. A note when it\nlinks to the web. Logos and drawings have none of these. A drawing made interactive on purpose (a flame graph) is held, too: release it.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence.content.files.iter().filter(|f| f.kind == FileKind::Svg).filter_map(judge).take(20).collect()
}

fn judge(file: &File) -> Option<Finding> {
    let does = file.finds(|fact| match fact {
        Trait::Script | Trait::BuildsPage(_) => Some("runs a script"),
        Trait::Redirect(_) => Some("leads elsewhere as soon as it is opened"),
        Trait::Form { .. } => Some("has a form"),
        Trait::ForeignObject => Some("has a page inside"),
        _ => None,
    });
    if let Some(does) = does {
        let details = file.urls.iter().take(3).map(|u| format!("address \"{u}\"")).collect();
        return Some(Finding::suspicious(&DETECTOR, format!("the attached drawing {} {does}", file.shown()), details));
    }
    // names of vocabularies are no links
    let link = file.urls.iter().find(|u| !u.contains("//www.w3.org/") && !u.contains("//creativecommons.org/"))?;
    Some(Finding::note(
        &DETECTOR,
        40,
        format!("the attached drawing {} links to the web", file.shown()),
        vec![format!("\"{link}\"")],
    ))
}
