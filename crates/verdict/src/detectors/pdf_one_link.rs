//! PDFs that are nothing but a link.

use super::Detector;
use crate::content::files::{FileKind, Trait};
use crate::content::urls::{host_of_href, site};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "pdf_one_link",
    title: "PDF that is one link",
    category: Category::Phishing,
    severity: Severity::Note,
    prose: "A PDF of one or two pages with hardly any text whose links all lead to one site that is not the sender's: a picture of a document and a\nbutton. A note, since flyers look alike. Texts to read are not judged, nor links to the sender's own site.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let own = evidence.message.from_address().and_then(|a| a.rsplit_once('@').map(|(_, d)| site(d)));
    let mut found = Vec::new();
    for file in evidence.content.files.iter().filter(|f| f.kind == FileKind::Pdf) {
        let Some(letters) = file.finds(|fact| match fact {
            Trait::OneLink(letters) => Some(*letters),
            _ => None,
        }) else {
            continue;
        };
        let mut sites: Vec<String> = file.urls.iter().filter_map(|u| host_of_href(u)).map(|h| site(&h)).collect();
        sites.sort();
        sites.dedup();
        let [one] = sites.as_slice() else { continue };
        if own.as_ref() != Some(one) {
            let summary = format!("{} is little more than a link to {one}", file.shown());
            found.push(Finding::note(
                &DETECTOR,
                45,
                summary,
                vec![format!("{letters} letters of text"), format!("\"{}\"", file.urls[0])],
            ));
        }
    }
    found.truncate(5);
    found
}
