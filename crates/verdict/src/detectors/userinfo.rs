//! A link that begins with one site's name and leads to another: `https://bank.example@evil.example`.

use super::{Detector, whose};
use crate::content::urls::{SeenUrl, site};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "userinfo",
    title: "Link that begins with another site's name",
    category: Category::MaliciousUrl,
    severity: Severity::Suspicious,
    prose: "Web links whose user part (RFC 3986 §3.2.1, before the `@`) is itself the name of a host of another site than the one\nthey lead to. Other user parts are a note of 20 points: nobody signs in that way any more; none where an e-mail address was linked\nby mistake (`http://info@firm.example`).",
    look,
};

const POINTS: u32 = 20;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence.content.followed().filter_map(judge).next().into_iter().collect()
}

fn judge(url: &SeenUrl) -> Option<Finding> {
    let user = url.url.username();
    if user.is_empty() || url.url.scheme() == "ftp" {
        return None;
    }
    let details = vec![whose::detail(&url.written)];
    let named = user.split(['%', ':', '/']).next().unwrap_or(user);
    let is_host = named.contains('.') && psl::suffix(named.as_bytes()).is_some_and(|s| s.is_known());
    if is_host && site(named) != url.site {
        return Some(Finding::suspicious(
            &DETECTOR,
            format!("a link begins with {named} and leads to {}", url.site),
            details,
        ));
    }
    let is_address = url.url.path() == "/" && url.url.query().is_none() && url.url.password().is_none();
    (!is_address)
        .then(|| Finding::note(&DETECTOR, POINTS, format!("a link to {} carries a user name", url.site), details))
}
