//! Real mail, from a folder of `.eml` files that POSTHOUSE_CORPUS names: either nothing changes and a reason is said, or
//! another parser sees every other part as it was. Nothing of that mail is in the project.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use mail::{Banner, Edit, apply, apply_and_tell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const WORDING: &str = "CAUTION: this message came from outside. Open nothing that you do not expect.";

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "eml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// As it would come over the wire, whatever the file keeps: without the line in front that mailbox files have.
fn with_crlf(octets: &[u8]) -> Vec<u8> {
    let octets = match octets.strip_prefix(b"From ") {
        Some(rest) => &rest[rest.iter().position(|b| *b == b'\n').map_or(0, |n| n + 1)..],
        None => octets,
    };
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 30);
    for (n, octet) in octets.iter().enumerate() {
        if *octet == b'\n' && n.checked_sub(1).is_none_or(|before| octets[before] != b'\r') {
            out.push(b'\r');
        }
        out.push(*octet);
    }
    out
}

/// Debian's Python has the packages that the tests need; another one in the path may not.
fn python() -> Command {
    Command::new(std::env::var("POSTHOUSE_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".into()))
}

#[test]
fn every_message_is_left_for_a_reason_or_edited_so_that_another_parser_agrees() {
    let Some(folder) = std::env::var_os("POSTHOUSE_CORPUS") else {
        eprintln!("POSTHOUSE_CORPUS is not set: no real mail was tried; set it to a folder of .eml files");
        return;
    };
    let pairs = tempfile::tempdir().unwrap();
    let edits = [Edit::SubjectTag("[EXTERNAL]".into()), Edit::Banner(Banner::of(WORDING))];
    let (mut edited, mut reasons) = (0, BTreeMap::<String, u32>::new());
    let all = files(Path::new(&folder));
    assert!(!all.is_empty(), "no .eml file below {}", folder.display());
    for (n, file) in all.iter().enumerate() {
        let raw = with_crlf(&std::fs::read(file).unwrap()).into();
        let out = apply_and_tell(&raw, &edits);
        let after = out.pieces.joined();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        common::check_untouched(&name, &raw, &after);
        assert!(after != raw || !out.left.is_empty(), "{name}: unchanged without a reason");
        out.left
            .iter()
            .for_each(|why| *reasons.entry(why.split(" part ").next().unwrap().to_owned()).or_default() += 1);
        if out.made.iter().any(|m| m.starts_with("banner")) {
            edited += 1;
            let back = apply(&after, &[Edit::RemoveBanner { wordings: vec![WORDING.into()] }]).joined();
            assert_eq!(common::shown_texts(&back), common::shown_texts(&raw), "{name}: banner in and out");
        }
        std::fs::write(pairs.path().join(format!("{n:05}-{name}.before")), &raw).unwrap();
        std::fs::write(pairs.path().join(format!("{n:05}-{name}.after")), &after).unwrap();
    }
    println!("{} messages, {edited} with a banner; left: {reasons:#?}", all.len());
    compare(pairs.path());
}

#[test]
fn another_parser_agrees_on_the_cases_too() {
    let pairs = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edits")).unwrap() {
        let case = entry.unwrap().path();
        let wish = std::fs::read_to_string(case.join("edit.toml")).unwrap();
        // links are many changes of one part, which the comparison does not follow
        if wish.contains("_urls") || wish.contains("remove_banner") || wish.contains("raw") {
            continue;
        }
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        for (from, to) in [("message.eml", "before"), ("expect.eml", "after")] {
            let octets = with_crlf(&std::fs::read(case.join(from)).unwrap());
            std::fs::write(pairs.path().join(format!("{name}.{to}")), octets).unwrap();
        }
    }
    compare(pairs.path());
}

fn compare(pairs: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent.py");
    let said = python().arg(script).arg(pairs).output().expect("Python 3 is needed; `cargo xtask test` installs it");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}{}", String::from_utf8_lossy(&said.stderr));
    println!("another parser agrees: {text}");
}
