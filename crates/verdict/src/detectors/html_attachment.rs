//! Attached pages that ask for a password or lead elsewhere.

use super::Detector;
use crate::content::files::{File, FileKind, Trait};
use crate::content::urls::host_of_href;
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "html_attachment",
    title: "Attached page that phishes",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "An HTML file attached or inside an archive that asks for a password, makes another page out of packed text by script, or\nleads on to a site as soon as it is opened. Notes: a form to another site without a password, and any other script. Envelopes of mail\nencryption services whose form goes to the service itself are a note. Attached pages that are only read, reports and newsletters saved as a page, are not judged.",
    look,
};

/// Whoever types a password into a form that goes there gives it to the service. A form with a script that builds pages is judged all the same.
const ENVELOPE_SERVICES: [&str; 7] = [
    "res.cisco.com",
    "outlook.office365.com",
    "zixmessagecenter.com",
    "securemail.proofpoint.com",
    "protonmail.com",
    "virtru.com",
    "mimecast.com",
];

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let pages = evidence.content.files.iter().filter(|f| f.kind == FileKind::Html);
    pages.filter_map(judge).take(20).collect()
}

fn judge(file: &File) -> Option<Finding> {
    let shown = file.shown();
    let mut found: Vec<Finding> = file.traits.iter().filter_map(|fact| judge_fact(&shown, fact)).collect();
    // the weightiest speaks for the page
    found.sort_by_key(|f| std::cmp::Reverse((f.severity, f.points)));
    let mut first = found.into_iter().next()?;
    let words: Vec<String> = file.text.split_whitespace().take(20).map(str::to_owned).collect();
    first.details.push(format!("it says \"{}\"", words.join(" ")));
    Some(first)
}

fn judge_fact(shown: &str, fact: &Trait) -> Option<Finding> {
    Some(match fact {
        Trait::Form { password, target } => {
            let host = host_of_href(target);
            let to = host.as_deref().map_or("an unnamed place".to_owned(), str::to_owned);
            let service = ENVELOPE_SERVICES.iter().any(|s| to == *s || to.ends_with(&format!(".{s}")));
            match (password, service) {
                (true, false) => {
                    let summary = format!("the attached page {shown} asks for a password and sends it to {to}");
                    Finding::suspicious(&DETECTOR, summary, vec![format!("form to \"{target}\"")])
                }
                (_, true) => {
                    Finding::note(&DETECTOR, 20, format!("the attached page {shown} is an envelope of {to}"), vec![])
                }
                (false, false) => {
                    Finding::note(&DETECTOR, 45, format!("the attached page {shown} has a form to {to}"), vec![])
                }
            }
        }
        Trait::BuildsPage(how) => {
            let summary = format!("the attached page {shown} makes another page out of packed text");
            Finding::suspicious(&DETECTOR, summary, vec![format!("by {how}")])
        }
        Trait::Redirect(target) => {
            let summary = format!("the attached page {shown} leads elsewhere as soon as it is opened");
            Finding::suspicious(&DETECTOR, summary, vec![format!("\"{target}\"")])
        }
        Trait::Script => Finding::note(&DETECTOR, 25, format!("the attached page {shown} runs a script"), vec![]),
        _ => return None,
    })
}
