//! One folder a case: `message.eml`, `edit.toml`, and what has to come of it: `expect.eml` and `expect.txt`.
//! `UPDATE_EXPECT=1` writes the last two. Lines end in LF in these files and in CRLF in the message, unless `raw` is true.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{check_untouched, shown_texts};
use mail::{Banner, Edit, UrlMap, apply, apply_and_tell};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Wish {
    /// The files hold the octets as they are.
    raw: bool,
    banner: Option<String>,
    remove_banner: Vec<String>,
    subject_tag: Option<String>,
    /// Put in front of each address.
    rewrite_urls: Option<String>,
    /// Taken off again.
    restore_urls: Option<String>,
    add: Vec<(String, String)>,
}

impl Wish {
    fn edits(&self) -> Vec<Edit> {
        let mut edits: Vec<Edit> = self.add.iter().map(|(name, value)| Edit::add(name, value)).collect();
        edits.extend(self.subject_tag.clone().map(Edit::SubjectTag));
        edits.extend(self.banner.as_deref().map(|wording| Edit::Banner(Banner::of(wording))));
        if !self.remove_banner.is_empty() {
            edits.push(Edit::RemoveBanner { wordings: self.remove_banner.clone() });
        }
        edits.extend(self.rewrite_urls.clone().map(|prefix| {
            Edit::RewriteUrls(UrlMap::new(move |url| {
                (!url.starts_with(&prefix)).then(|| prefix.clone() + &encoded(url))
            }))
        }));
        edits.extend(self.restore_urls.clone().map(|prefix| {
            Edit::RestoreUrls(UrlMap::new(move |url| {
                Some(url.strip_prefix(&prefix)?.replace("%26", "&").replace("%3D", "="))
            }))
        }));
        edits
    }
}

fn encoded(url: &str) -> String {
    let plain = |b: u8| (33..=126).contains(&b) && !b"&=".contains(&b);
    url.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn cases() -> Vec<PathBuf> {
    let all = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edits")).unwrap();
    let mut cases: Vec<PathBuf> = all.map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    cases.sort();
    cases
}

fn with_crlf(text: &[u8]) -> Vec<u8> {
    text.split(|b| *b == b'\n').collect::<Vec<_>>().join(b"\r\n".as_slice())
}

fn without_crlf(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, octet) in octets.iter().enumerate() {
        if *octet != b'\r' || octets.get(n + 1) != Some(&b'\n') {
            out.push(*octet);
        }
    }
    out
}

#[test]
fn every_case_comes_out_as_expected() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let cases = cases();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let read = |file: &str| std::fs::read(case.join(file));
        let wish: Wish = toml::from_str(&String::from_utf8(read("edit.toml").unwrap()).unwrap()).expect(&name);
        let written = read("message.eml").unwrap();
        let raw = if wish.raw { written } else { with_crlf(&written) }.into();
        let edited = apply_and_tell(&raw, &wish.edits());
        let out = edited.pieces.joined();
        check_untouched(&name, &raw, &out);
        let said = edited
            .made
            .iter()
            .map(|m| format!("made: {m}\n"))
            .chain(edited.left.iter().map(|l| format!("left: {l}\n")))
            .collect::<String>();
        if edited.made.is_empty() && wish.add.is_empty() {
            assert_eq!(out, raw, "{name}: nothing was made, and yet octets changed");
        }
        let shown = if wish.raw { out.to_vec() } else { without_crlf(&out) };
        if update {
            std::fs::write(case.join("expect.eml"), &shown).unwrap();
            std::fs::write(case.join("expect.txt"), &said).unwrap();
        } else if read("expect.eml").unwrap() != shown || read("expect.txt").unwrap() != said.as_bytes() {
            wrong.push(format!("{name}:\n{said}{}", String::from_utf8_lossy(&shown)));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ; UPDATE_EXPECT=1 accepts:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_banner_that_was_put_in_comes_out_again() {
    let mut seen = 0;
    for case in cases() {
        let wish: Wish = toml::from_str(&std::fs::read_to_string(case.join("edit.toml")).unwrap()).unwrap();
        let Some(wording) = &wish.banner else { continue };
        let written = std::fs::read(case.join("message.eml")).unwrap();
        let raw = if wish.raw { written } else { with_crlf(&written) }.into();
        let once = apply(&raw, &[Edit::Banner(Banner::of(wording))]).joined();
        let back = apply(&once, &[Edit::RemoveBanner { wordings: vec![wording.clone()] }]).joined();
        assert_eq!(shown_texts(&back), shown_texts(&raw), "{}", case.display());
        seen += usize::from(once != raw);
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn the_page_shows_the_table_of_what_is_never_edited() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/edits.md")).unwrap();
    for never in mail::NEVER {
        let seen: Vec<&str> = never.types.iter().chain(never.names).copied().collect();
        let seen = seen.iter().map(|s| format!("`{s}`")).collect::<Vec<_>>().join(", ");
        let row = format!("| {} | {seen} | {} |", never.what, never.why);
        assert!(page.contains(&row), "docs/edits.md lacks the row\n{row}");
    }
}

#[test]
fn each_kind_that_is_never_edited_is_left_alone() {
    let edits = [Edit::Banner(Banner::of("This message came from outside.")), Edit::SubjectTag("[X]".into())];
    for never in mail::NEVER {
        let types = never.types.iter().map(|t| format!("{}; boundary=in", t.replace('*', "keys")));
        let names = never.names.iter().map(|n| format!("application/octet-stream; name=\"a{n}\""));
        for content_type in types.chain(names) {
            let raw = format!(
                "Subject: s\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\n--out\r\n\r\ntext\r\n--out\r\nContent-Type: {content_type}\r\n\r\n--in\r\n\r\nx\r\n--in--\r\n\r\n--out--\r\n"
            );
            let edited = apply_and_tell(&raw.clone().into(), &edits);
            assert_eq!(edited.pieces.joined(), raw.as_bytes(), "{content_type}");
            assert_eq!(edited.left, [format!("not edited: {}: {}", never.what, never.why)], "{content_type}");
        }
    }
}
