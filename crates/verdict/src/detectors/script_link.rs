//! Links that lead to no site: a page inside the address, a script, a program of the reader's computer.

use super::{Detector, whose};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "script_link",
    title: "Link that carries a page or starts a program",
    category: Category::MaliciousUrl,
    severity: Severity::Suspicious,
    prose: "Links and forms whose target is a page written into the address itself (`data:text/html`, `data:image/svg+xml`), a script\n(`javascript:`, unless it does nothing), or a scheme by which programs were started on the reader's computer (`search-ms:`,\n`ms-msdt:` and others: suspicious). `file:` and network shares, which colleagues send each other, are a note of 20 points, and 60 when\nthey name a host with a public name.",
    look,
};

const SCRIPT_POINTS: u32 = 60;
const FILE_POINTS: u32 = 20;
const FOREIGN_FILE_POINTS: u32 = 60;
/// Each was used in attacks, none is used in wanted mail.
const PROGRAMS: [&str; 9] =
    ["search-ms", "search", "ms-msdt", "ms-officecmd", "ms-appinstaller", "ms-cxh", "ms-search", "vbscript", "mhtml"];

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let pages = evidence.content.pages.iter().filter(|p| !p.is_attachment);
    let targets = pages.flat_map(|p| {
        let links = p.links.iter().map(|l| l.href.as_str());
        links
            .chain(p.forms.iter().map(|f| f.action.as_str()))
            .chain(p.refresh.as_deref())
            .chain(p.frames.iter().map(String::as_str))
    });
    let found = targets.filter_map(judge).max_by_key(|f| f.points);
    found.into_iter().collect()
}

fn judge(href: &str) -> Option<Finding> {
    let details = || vec![whose::detail(href)];
    if href.starts_with("\\\\") {
        return Some(file(href.trim_start_matches('\\'), href));
    }
    let (scheme, rest) = href.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "data" => {
            let kind = rest.split([',', ';']).next().unwrap_or_default().trim().to_ascii_lowercase();
            let is_page = matches!(kind.as_str(), "text/html" | "image/svg+xml" | "application/xhtml+xml" | "text/xml");
            is_page.then(|| {
                Finding::suspicious(&DETECTOR, format!("a link carries a whole page in itself ({kind})"), details())
            })
        }
        "javascript" => {
            let code = rest.trim().trim_end_matches(';').replace(' ', "");
            let is_idle = code.is_empty()
                || code.starts_with("void(")
                || code.starts_with("//")
                || matches!(code.as_str(), "void0" | "returnfalse" | "window.print()" | "history.back()");
            (!is_idle).then(|| Finding::note(&DETECTOR, SCRIPT_POINTS, "a link runs a script".into(), details()))
        }
        "file" => Some(file(rest.trim_start_matches(['/', '\\']), href)),
        _ if PROGRAMS.contains(&scheme.as_str()) => {
            Some(Finding::suspicious(&DETECTOR, format!("a link starts a program by the scheme {scheme}:"), details()))
        }
        _ => None,
    }
}

fn file(path: &str, href: &str) -> Finding {
    let host = path.split(['/', '\\']).next().unwrap_or_default();
    let is_public = host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| !ip.is_private())
        || (host.contains('.') && psl::suffix(host.as_bytes()).is_some_and(|s| s.is_known()));
    let points = if is_public { FOREIGN_FILE_POINTS } else { FILE_POINTS };
    Finding::note(&DETECTOR, points, "a link opens a file or a network share".into(), vec![whose::detail(href)])
}
