//! A link to a page that anybody could have put there.

use super::{Detector, whose};
use crate::content::known;
use crate::{Category, Evidence, Finding, Severity, domains};
use url::Url;

pub const DETECTOR: Detector = Detector {
    id: "free_host",
    title: "Link to a page on free hosting",
    category: Category::MaliciousUrl,
    severity: Severity::Note,
    prose: "Links to hosts where anybody puts a page without a name of his own: free hosting, storage buckets, tunnels, IPFS\ngateways, site and form builders, changing addresses. The list stands in `content/known/free_hosts.txt`, with points from 5\n(forms that wanted mail uses) to 70, and 25 more for a page in a storage bucket (`…/x.html`). Images are left out, hosts of the sender himself, and those of the platform on which\nhe lives himself. The worst one counts.\nA From address at such a host is worth 40 points.",
    look,
};

/// Of a sender who has no name of his own; whoever builds an application may mail from there.
const SENDER_POINTS: u32 = 40;
/// A bucket that serves a page.
const PAGE_POINTS: u32 = 25;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let claimed = whose::claimed(evidence);
    // who lives on such a platform himself links to his neighbours: that counts at `sender_domain`
    let platform = evidence.sender.shown().and_then(|m| domains::hosting_of(&m.domain));
    let is_neighbour = |host: &str| platform.is_some_and(|p| domains::hosting_of(host) == Some(p));
    let hosts = evidence.content.followed().filter(|u| !claimed.contains(&u.site) && !is_neighbour(&u.host));
    let worst = hosts.filter_map(|u| known::free_host(&u.url, &u.host).map(|f| (f, u))).max_by_key(|(f, _)| f.points);
    let link = worst.map(|(free, url)| {
        // files are put there for others; who sends a page has no site
        let is_page = free.what == "a storage bucket" && is_page(&url.url);
        let (points, kind) = if is_page { (free.points + PAGE_POINTS, "a page in ") } else { (free.points, "") };
        let summary = format!("a link leads to {}, {kind}{}", url.host, what(free.what));
        Finding::note(&DETECTOR, points, summary, vec![whose::detail(&url.written)])
    });
    let addresses = evidence.message.from().iter().filter_map(|a| a.address.rsplit_once('@'));
    let sender = addresses.filter_map(|(_, d)| known::free_name(&d.to_ascii_lowercase()).map(|f| (f, d))).next();
    // what `sender_domain` knows counts there
    let sender = sender.filter(|(_, d)| domains::hosting_of(&d.to_ascii_lowercase()).is_none());
    let sender = sender.filter(|(free, _)| free.points >= SENDER_POINTS).map(|(free, domain)| {
        let summary = format!("From is at {domain}, {}", what(free.what));
        Finding::note(&DETECTOR, SENDER_POINTS, summary, vec![])
    });
    link.into_iter().chain(sender).collect()
}

fn is_page(url: &Url) -> bool {
    let path = url.path().to_ascii_lowercase();
    path.ends_with(".html") || path.ends_with(".htm")
}

fn what(kind: &str) -> String {
    match kind {
        "the interplanetary file system" => "a gateway to the interplanetary file system".into(),
        "free hosting" => "free hosting without a name of its own".into(),
        other => other.into(),
    }
}
