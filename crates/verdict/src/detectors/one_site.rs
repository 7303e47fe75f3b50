//! A message whose links all lead to one place that has nothing to do with its sender.

use super::{Detector, whose};
use crate::content::known;
use crate::content::urls::{Place, Within};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "one_site",
    title: "All links lead to one site that is not the sender's",
    category: Category::Phishing,
    severity: Severity::Note,
    prose: "HTML mail whose links, those to well-known names apart, all lead to one site that is neither claimed by From nor proven to be the\nsender's (DMARC, DKIM), nor known to count clicks for others (25 points). Colleagues send each other such links too: alone it means\nlittle.",
    look,
};

const POINTS: u32 = 25;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let links =
        evidence.content.urls.iter().filter(|u| u.place == Place::Link && u.within == Within::Body && !u.is_carried);
    let mut foreign = links.filter(|u| known::brand_of(&u.host).is_none());
    let Some(first) = foreign.next() else { return Vec::new() };
    let is_own = whose::claimed(evidence).contains(&first.site) || whose::is_proven(evidence, &first.site);
    // what these are is told by other detectors
    let is_told = known::is_counter(&first.site)
        || known::is_shortener(&first.host)
        || known::free_host(&first.url, &first.host).is_some();
    if is_own || is_told || whose::is_ours(evidence, &first.site) || foreign.any(|u| u.site != first.site) {
        return Vec::new();
    }
    let from = whose::claimed(evidence).first().map_or("nobody".to_owned(), Clone::clone);
    let summary = format!("all links lead to {}, while From names {from}", first.site);
    vec![Finding::note(&DETECTOR, POINTS, summary, vec![whose::detail(&first.written)])]
}
