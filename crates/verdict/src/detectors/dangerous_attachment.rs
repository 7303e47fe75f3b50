//! Attachments that are there to be run.

use super::Detector;
use crate::content::files::{File, FileKind, Trait, kind};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "dangerous_attachment",
    title: "Attachment that is there to be run",
    category: Category::Malware,
    severity: Severity::Malicious,
    prose: "Programs, installers, scripts that Windows runs by a double click, shortcuts, disk images and OneNote sections with a file\nin them, attached or inside an archive or document (of an encrypted or RAR archive the names are enough). Judged by the\noctets; scripts have none of their own and go by their names. Malicious where a shortcut starts an interpreter. The .js files of a web page in the same archive are\nnot judged, nor are shell, Python and Perl scripts, which Windows does not run. Who really exchanges programs by mail releases\nthe message or lists the detector under `only_note`.",
    look,
};

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let files = &evidence.content.files;
    files.iter().filter_map(|file| judge(file, files)).take(20).collect()
}

/// Programs that run what a shortcut hands them.
const INTERPRETERS: [&str; 11] = [
    "powershell",
    "cmd.exe",
    "cmd /",
    "mshta",
    "wscript",
    "cscript",
    "rundll32",
    "regsvr32",
    "msiexec",
    "curl",
    "forfiles",
];

fn judge(file: &File, all: &[File]) -> Option<Finding> {
    let summary = format!("{} is {}", file.shown(), file.kind.as_str());
    let details = vec![format!("{} octets, claimed as \"{}\"", file.octets, file.claimed)];
    match file.kind {
        FileKind::Script if is_of_a_web_page(file, all) => None,
        FileKind::Executable | FileKind::Script => Some(Finding::suspicious(&DETECTOR, summary, details)),
        // an empty image of a few sectors carries nothing
        FileKind::DiskImage => Some(Finding::suspicious(&DETECTOR, summary, details)),
        FileKind::Shortcut => {
            let told = told(file).to_lowercase();
            match INTERPRETERS.into_iter().find(|i| told.contains(i)) {
                Some(runs) => {
                    let told = vec![told.chars().take(300).collect()];
                    Some(Finding::malicious(
                        &DETECTOR,
                        format!("{summary} that starts {}", runs.trim_end_matches(" /")),
                        told,
                    ))
                }
                None => Some(Finding::suspicious(&DETECTOR, summary, details)),
            }
        }
        FileKind::InternetShortcut => {
            // a saved link is wanted mail; one to a file share or a program fetches and runs
            let told = told(file).to_lowercase();
            let runs = told.contains("file:")
                || told.contains("url=\\\\")
                || told.contains("@ssl")
                || told.contains("davwwwroot");
            runs.then(|| {
                Finding::suspicious(
                    &DETECTOR,
                    format!("{summary} to a file elsewhere"),
                    vec![told.chars().take(300).collect()],
                )
            })
        }
        FileKind::OneNote if file.has(&Trait::NotOpened) => Some(Finding::note(&DETECTOR, 40, summary, details)),
        _ => None,
    }
}

fn told(file: &File) -> &str {
    file.finds(|t| match t {
        Trait::Shortcut(told) => Some(told.as_str()),
        _ => None,
    })
    .unwrap_or_default()
}

/// Next to pages and style sheets a .js is read by a browser. Words that only Windows Script Host knows are no page's.
fn is_of_a_web_page(file: &File, all: &[File]) -> bool {
    let archive = |f: &File| f.path.rsplit_once(" → ").map(|(outer, _)| outer.to_owned());
    let ext = kind::extension(&file.name);
    let outer = archive(file);
    ext == "js"
        && outer.is_some()
        && !file.has(&Trait::NotOpened)
        && all.iter().any(|f| archive(f) == outer && matches!(kind::extension(&f.name).as_str(), "css" | "ts" | "json"))
}
