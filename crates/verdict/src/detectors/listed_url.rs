//! Web addresses that stand on a list of the operator's (docs/engines.md).

use super::Detector;
use crate::lists::{Listing, entries_of};
use crate::{Category, Evidence, Finding, Severity};
use std::collections::HashSet;

pub const DETECTOR: Detector = Detector {
    id: "listed_url",
    title: "Listed web address",
    category: Category::MaliciousUrl,
    severity: Severity::Malicious,
    prose: "A link to a host or an address that stands on a list which the operator named under `[[list]]`: a listed host with everything\nbelow it, a listed address itself, with or without what follows its question mark. How bad that is, the operator says for each list.\nWithout lists it finds nothing. An entry that is wrong is taken off by whoever keeps the list.",
    look,
};

/// Different addresses that are looked up: each costs about a microsecond a list.
const LOOKED_UP_MAX: usize = 2_000;
/// Of one kind of finding; a person needs no more.
const TOLD_MAX: usize = 5;
/// What a note weighs: one list that is not trusted enough to hold mail.
pub(super) const NOTE_POINTS: u32 = 50;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    if !evidence.lists.any(Listing::Urls) {
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let urls = evidence.content.urls.iter().map(|seen| &seen.url);
    let mut found = Vec::new();
    for url in urls.filter(|url| seen.insert(url.as_str())).take(LOOKED_UP_MAX) {
        let entries = entries_of(url);
        for (list, entry) in evidence.lists.with(Listing::Urls, &entries) {
            let summary = format!("a link leads to \"{entry}\", which stands on the list \"{}\"", list.name);
            found.push((list.severity, summary, format!("\"{url}\"")));
        }
        if found.len() >= TOLD_MAX {
            break;
        }
    }
    told(&DETECTOR, found)
}

/// As bad as the list says.
pub(super) fn told(detector: &Detector, found: Vec<(Severity, String, String)>) -> Vec<Finding> {
    let one = |(severity, summary, detail)| match severity {
        Severity::Note => Finding::note(detector, NOTE_POINTS, summary, vec![detail]),
        Severity::Suspicious => Finding::suspicious(detector, summary, vec![detail]),
        Severity::Malicious => Finding::malicious(detector, summary, vec![detail]),
    };
    found.into_iter().map(one).collect()
}
