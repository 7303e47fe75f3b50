//! Documents that fetch a part of themselves from elsewhere when opened.

use super::Detector;
use crate::content::files::Trait;
use crate::content::urls::{host_of_href, site};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "external_template",
    title: "Document that fetches its template",
    category: Category::Malware,
    severity: Severity::Suspicious,
    prose: "A Word template, object, frame or part that an Office or RTF document loads from the web or another network when it is opened: macros and\nexploits come that way past every gate. Templates on a disk, on a server of one label (an office's own), in SharePoint or at the sender's own site\nare ordinary leftovers and not judged, nor are hyperlinks and linked workbooks.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let own = evidence.message.from_address().and_then(|a| a.rsplit_once('@').map(|(_, d)| site(d)));
    let mut found = Vec::new();
    for file in &evidence.content.files {
        for fact in &file.traits {
            let Trait::ExternalTemplate { kind, target } = fact else { continue };
            let Some(host) = host_of(target).filter(|h| h.contains('.')) else { continue };
            let site = site(&host);
            if own.as_ref() == Some(&site) || evidence.own_domains.contains(&site) || host.ends_with(".sharepoint.com")
            {
                continue;
            }
            let what = if kind == "attachedtemplate" { "its template" } else { "a part of itself" };
            let summary = format!("{} fetches {what} from {host} when opened", file.shown());
            found.push(Finding::suspicious(&DETECTOR, summary, vec![format!("target \"{target}\"")]));
        }
    }
    found.truncate(20);
    found
}

/// Web addresses, and shares in both notations; `mhtml:` and the like stand in front of them.
fn host_of(target: &str) -> Option<String> {
    if let Some(at) = target.to_ascii_lowercase().find("http") {
        return host_of_href(target[at..].split('!').next().unwrap_or_default());
    }
    let share = target.strip_prefix("file:").unwrap_or(target).replace('\\', "/");
    let rest = share.strip_prefix("//")?;
    rest.split('/').next().map(|h| h.split('@').next().unwrap_or(h).to_ascii_lowercase()).filter(|h| !h.is_empty())
}
