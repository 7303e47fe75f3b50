//! A link to a name that costs next to nothing.

use super::{Detector, whose};
use crate::content::known;
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "cheap_tld",
    title: "Link to a name that costs next to nothing",
    category: Category::Phishing,
    severity: Severity::Note,
    prose: "Links to sites below suffixes whose names are given away (list in `content/known/cheap_tlds.txt`): bought for a day's mail and\nthrown away (20 points). Honest people have such names too; links to the sender's own site are left to `sender_domain`.",
    look,
};

const POINTS: u32 = 20;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let claimed = whose::claimed(evidence);
    // that the sender himself has such a name is told by `sender_domain`
    let foreign = evidence.content.followed().filter(|u| !claimed.contains(&u.site));
    let found = foreign.filter_map(|u| known::cheap_tld(&u.site).map(|tld| (tld, u))).next();
    let note = found.map(|(tld, url)| {
        let summary = format!("a link leads to {}, below .{tld}", url.site);
        Finding::note(&DETECTOR, POINTS, summary, vec![whose::detail(&url.written)])
    });
    note.into_iter().collect()
}
