//! Links that do not say where they lead.

use super::{Detector, whose};
use crate::content::known;
use crate::content::urls::{SeenUrl, carried, site};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "redirect",
    title: "Shortened links and open redirectors",
    category: Category::MaliciousUrl,
    severity: Severity::Note,
    prose: "Links through services that shorten addresses (15 points), through well-known sites that lead on to any other one\n(`google.com/url?q=`, 30 points), through any site that carries a foreign address in its own (5 points: newsletters count\nclicks that way; nothing when that site is the sender's). Alone it holds nothing.",
    look,
};

const SHORTENER_POINTS: u32 = 15;
const OPEN_REDIRECT_POINTS: u32 = 30;
const FOREIGN_TARGET_POINTS: u32 = 5;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    // of each kind one: a message with forty shortened links is no worse than one with one
    let mut found: [Option<Finding>; 3] = [None, None, None];
    let claimed = whose::claimed(evidence);
    for url in evidence.content.followed().filter(|u| !u.is_carried) {
        let note = |points, summary: String| {
            Some(Finding::note(&DETECTOR, points, summary, vec![whose::detail(&url.written)]))
        };
        if found[0].is_none() && known::is_shortener(&url.host) {
            found[0] =
                note(SHORTENER_POINTS, format!("a link is shortened by {} and does not tell where it leads", url.host));
        } else if found[1].is_none() && known::is_open_redirect(&url.url, &url.host) && !claimed.contains(&url.site) {
            found[1] =
                note(OPEN_REDIRECT_POINTS, format!("a link goes through {}, which leads on to any site", url.site));
        } else if found[2].is_none()
            && !claimed.contains(&url.site)
            && !known::is_counter(&url.site)
            && let Some(target) = foreign_target(url)
            && !claimed.contains(&target)
        {
            found[2] = note(FOREIGN_TARGET_POINTS, format!("a link to {} carries the address of {target}", url.site));
        }
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found.into_iter().flatten().collect()
}

/// The site of a whole address that stands in another one's query.
fn foreign_target(url: &SeenUrl) -> Option<String> {
    let target = site(carried(&url.url)?.host_str()?);
    (target != url.site).then_some(target)
}
