//! Where figures go: between two marks in docs/performance.md, with machine, day and commit.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::process::Command;

const PAGE: &str = "docs/performance.md";
pub const DETECTION: &str = "docs/detection.md";
pub const PLOTS: &str = "docs/performance";

/// On what something was measured, when, and of which commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub day: String,
    pub commit: String,
    pub processor: String,
    pub cores: usize,
}

impl Machine {
    pub fn here() -> Result<Machine> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let named = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':'));
        let git = |args: &[&str]| {
            let said = Command::new("git").args(args).output().ok().filter(|o| o.status.success());
            said.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
        };
        let dirty =
            git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"]).is_some_and(|s| !s.is_empty());
        let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".into());
        Ok(Machine {
            day: jiff::Timestamp::now().to_string().chars().take(10).collect(),
            commit: if dirty { format!("{commit} with changes") } else { commit },
            processor: named.map_or("unknown processor", |(_, name)| name.trim()).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
        })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at commit {} on {} cores ({})", self.day, self.commit, self.cores, self.processor)
    }
}

pub fn put(name: &str, text: &str) -> Result<()> {
    put_into(PAGE, name, text)
}

/// Replaces what stands between `<!-- NAME: … -->` and `<!-- end of NAME -->`.
pub fn put_into(page: &str, name: &str, text: &str) -> Result<()> {
    let before = fs::read_to_string(page).with_context(|| format!("{page}; run this from the workspace's root"))?;
    fs::write(page, replaced(&before, name, text).with_context(|| format!("{page} has no marks of {name}"))?)?;
    eprintln!("bench: wrote {name} into {page}");
    Ok(())
}

fn replaced(page: &str, name: &str, text: &str) -> Option<String> {
    let begins = page.find(&format!("<!-- {name}:"))?;
    let from = begins + page[begins..].find("-->")? + "-->".len();
    let to = from + page[from..].find(&format!("<!-- end of {name} -->"))?;
    Some(format!("{}\n\n{}\n\n{}", &page[..from], text.trim(), &page[to..]))
}

/// The folder of a file is made.
pub fn folder_of(file: &Path) -> Result<()> {
    Ok(fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = "a\n<!-- x: written by y -->\nold\n<!-- end of x -->\nb\n";
        let new = replaced(page, "x", "new\n");
        assert_eq!(new.as_deref(), Some("a\n<!-- x: written by y -->\n\nnew\n\n<!-- end of x -->\nb\n"));
        assert_eq!(replaced(page, "z", "new"), None);
    }
}
