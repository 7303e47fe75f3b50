//! One detector a file; the catalogue is the one list of them, and docs/verdicts.md is written from it.

pub mod eicar;
pub mod impersonation;
pub mod link_mismatch;
pub mod listed_file;
pub mod listed_url;

use crate::{Category, Evidence, Finding, Severity};

/// One detector: what it is called, what it looks for, and the function that looks.
#[derive(Debug)]
pub struct Detector {
    /// Stable; stands in findings, policies and the journal.
    pub id: &'static str,
    pub title: &'static str,
    /// What a message is in which it finds something.
    pub category: Category,
    /// The worst that it reports.
    pub severity: Severity,
    /// What it looks for, what it does not see, and what to do about a false alarm.
    pub prose: &'static str,
    pub look: fn(&Evidence<'_>) -> Vec<Finding>,
}

pub const CATALOGUE: &[Detector] =
    &[eicar::DETECTOR, impersonation::DETECTOR, link_mismatch::DETECTOR, listed_url::DETECTOR, listed_file::DETECTOR];

/// Everything that any detector saw, in the order of the catalogue.
pub fn inspect(evidence: &Evidence<'_>) -> Vec<Finding> {
    CATALOGUE.iter().flat_map(|detector| (detector.look)(evidence)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::fmt::Write;
    use std::path::Path;

    fn page() -> String {
        let mut page = "# What Posthouse finds\n\nWritten from the catalogue in `crates/verdict/src/detectors` by its test (`UPDATE_EXPECT=1`); do not edit.\n\nInbound, *suspicious* and *malicious* findings hold a message; outbound, only *malicious* ones.\nA *note* holds nothing alone; each brings points, and from 100 on they hold together. A tenant's policy can\nlist detectors under `only_note`: their findings are written down and hold nothing.\n".to_owned();
        for d in CATALOGUE {
            write!(
                page,
                "\n## {} (`{}`, {}, {})\n\n{}\n",
                d.title,
                d.id,
                d.category.as_str(),
                format!("{:?}", d.severity).to_lowercase(),
                d.prose
            )
            .unwrap();
        }
        page
    }

    #[test]
    fn the_documented_verdicts_are_the_catalogue() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verdicts.md");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), page(), "run with UPDATE_EXPECT=1");
    }

    /// What the cases' listed things stand on.
    fn lists() -> crate::Lists {
        use crate::{List, Listing};
        let hosts = ["listed.example", "forms.example/listed"].into_iter();
        // printf 'listed by its hash\r\n' | sha256sum
        let files = ["247df0e3de388a8805593dab69dfb1b869f05fa7db76126e31a8a345c6bb7484"].into_iter();
        let lists = [
            List::of("hosts", Listing::Urls, Severity::Malicious, hosts),
            List::of("weak", Listing::Urls, Severity::Note, ["weak.example"].into_iter()),
            List::of("files", Listing::Files, Severity::Malicious, files),
        ];
        crate::Lists(lists.into_iter().map(std::sync::Arc::new).collect())
    }

    /// Each folder of `cases/`: message.eml (LF or CRLF) judged, findings as expect.txt says.
    #[test]
    fn every_case_is_judged_as_expected() {
        let people = [("grace hopper".to_owned(), "grace@contoso.example".to_owned())].into();
        let own = ["contoso.example".to_owned()];
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let mut wrong = String::new();
        for case in std::fs::read_dir(cases).unwrap() {
            let dir = case.unwrap().path();
            let raw =
                std::fs::read_to_string(dir.join("message.eml")).unwrap().replace("\r\n", "\n").replace('\n', "\r\n");
            let raw = raw.replace("{EICAR}", &eicar::test_file());
            let message = mail::Message::parse(raw.into_bytes().into());
            let sender = message.from_address().unwrap_or_default();
            let proofs = crate::Proofs {
                microsoft: vec![crate::AuthResult {
                    method: "dmarc".into(),
                    result: "pass".into(),
                    domain: sender.rsplit_once('@').map(|(_, d)| d.to_owned()),
                }],
                ..Default::default()
            };
            let envelope = mail::Envelope::new(sender, ["grace@contoso.example"]);
            let found = message.with_parts(|parts| {
                inspect(&Evidence {
                    direction: tenant::Direction::Inbound,
                    envelope: &envelope,
                    message: &message,
                    parts,
                    content: &crate::Content::of(parts),
                    proofs: &proofs,
                    lists: &lists(),
                    own_domains: &own,
                    people: &people,
                })
            });
            let seen: String =
                found.iter().map(|f| format!("{} {:?} {}\n", f.detector, f.severity, f.summary)).collect();
            let expect = dir.join("expect.txt");
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                std::fs::write(&expect, &seen).unwrap();
            }
            let expected = std::fs::read_to_string(&expect).unwrap_or_default();
            if seen != expected {
                write!(wrong, "{}:\nexpected {expected:?}\nseen     {seen:?}\n", dir.display()).unwrap();
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }
}
