//! A message whose links all lead to one place that has nothing to do with its sender.

use super::{Detector, whose};
use crate::content::known;
use crate::content::urls::{Place, Within};
use crate::{Category, Evidence, Finding, Severity};
use url::Host;

pub const DETECTOR: Detector = Detector {
    id: "one_site",
    title: "All links lead to one site that is not the sender's",
    category: Category::Phishing,
    severity: Severity::Note,
    prose: "HTML mail whose links, those to well-known names apart, all lead to one site that is neither claimed by From nor proven to be the\nsender's (DMARC, DKIM), nor the same name below another suffix, nor known to count clicks for others (25 points). Colleagues send\neach other such links too: alone it means little.",
    look,
};

const POINTS: u32 = 25;
/// Shorter names under two suffixes belong to two people.
const SISTER_LABEL_MIN: usize = 5;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let links =
        evidence.content.urls.iter().filter(|u| u.place == Place::Link && u.within == Within::Body && !u.is_carried);
    let mut foreign = links.filter(|u| known::brand_of(&u.host).is_none());
    let Some(first) = foreign.next() else { return Vec::new() };
    let claimed = whose::claimed(evidence);
    let is_own = claimed.iter().any(|own| is_sister(own, &first.site)) || whose::is_proven(evidence, &first.site);
    // what these are is told by other detectors
    let is_told = known::is_counter(&first.site)
        || known::is_shortener(&first.host)
        || known::free_host(&first.url, &first.host).is_some()
        || !matches!(first.url.host(), Some(Host::Domain(_)));
    if is_own || is_told || whose::is_ours(evidence, &first.site) || foreign.any(|u| u.site != first.site) {
        return Vec::new();
    }
    let from = claimed.first().map_or("nobody", String::as_str);
    let summary = format!("all links lead to {}, while From names {from}", first.site);
    vec![Finding::note(&DETECTOR, POINTS, summary, vec![whose::detail(&first.written)])]
}

/// The same site, or the same name below another suffix: `firm.info` writes, `firm.com` has the pages.
fn is_sister(own: &str, site: &str) -> bool {
    let label = |site: &str| site.split('.').next().map(str::to_owned).unwrap_or_default();
    own == site || (label(own) == label(site) && label(own).len() >= SISTER_LABEL_MIN)
}
