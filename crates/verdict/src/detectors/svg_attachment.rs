//! Drawings that run scripts.

use super::Detector;
use crate::content::files::{File, FileKind, Trait};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "svg_attachment",
    title: "Drawing that runs a script",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "An attached SVG opens in the browser and runs what is in it: suspicious with a script, an event handler, a frame or a page inside. A note when it\nlinks to the web. Logos and drawings have none of these. A drawing made interactive on purpose, full of text and without a link (a flame\ngraph), is a note of 60 points.",
    look,
};

/// Drawings reported of one message; the rest would only repeat.
const DRAWINGS_MAX: usize = 20;
/// A drawing made interactive on purpose.
const CHART_POINTS: u32 = 60;
/// A lure says a sentence or two.
const CHART_TEXT_OCTETS: usize = 500;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for finding in evidence.content.files.iter().filter(|f| f.kind == FileKind::Svg).filter_map(judge) {
        // a file that is read in two ways is one file
        if found.len() < DRAWINGS_MAX && !found.contains(&finding) {
            found.push(finding);
        }
    }
    found
}

fn judge(file: &File) -> Option<Finding> {
    let does = file.finds(|fact| match fact {
        Trait::Script | Trait::BuildsPage(_) => Some("runs a script"),
        Trait::Redirect(_) => Some("leads elsewhere as soon as it is opened"),
        Trait::Form { .. } => Some("has a form"),
        Trait::ForeignObject => Some("has a page inside"),
        _ => None,
    });
    // a chart that is made to be clicked says much, and leads nowhere
    let is_chart = does == Some("runs a script")
        && file.text.len() >= CHART_TEXT_OCTETS
        && links(file).next().is_none()
        && file.finds(|fact| matches!(fact, Trait::BuildsPage(_)).then_some(())).is_none();
    if is_chart {
        let summary = format!("the attached drawing {} runs a script and is full of text", file.shown());
        return Some(Finding::note(&DETECTOR, CHART_POINTS, summary, vec![]));
    }
    if let Some(does) = does {
        let details = file.urls.iter().take(3).map(|u| format!("address \"{u}\"")).collect();
        return Some(Finding::suspicious(&DETECTOR, format!("the attached drawing {} {does}", file.shown()), details));
    }
    let link = links(file).next()?;
    Some(Finding::note(
        &DETECTOR,
        40,
        format!("the attached drawing {} links to the web", file.shown()),
        vec![format!("\"{link}\"")],
    ))
}

/// Names of vocabularies are no links.
fn links(file: &File) -> impl Iterator<Item = &String> {
    file.urls.iter().filter(|u| !u.contains("//www.w3.org/") && !u.contains("//creativecommons.org/"))
}
