//! Pages that make a file inside the browser.

use super::Detector;
use crate::content::files::Trait;
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "html_smuggling",
    title: "HTML smuggling",
    category: Category::Malware,
    severity: Severity::Malicious,
    prose: "An attached HTML or SVG file whose script unpacks data into a file of its own and hands it over as a download: so a program passes every\ngate as text. Pages that only offer a link to a download are not judged.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let smuggling = |file: &crate::content::files::File| {
        file.finds(|fact| match fact {
            Trait::Smuggling(how) => Some(Finding::malicious(
                &DETECTOR,
                format!("the attached page {} makes a file by script and hands it over as a download", file.shown()),
                vec![format!("by {how}")],
            )),
            _ => None,
        })
    };
    evidence.content.files.iter().filter_map(smuggling).take(20).collect()
}
