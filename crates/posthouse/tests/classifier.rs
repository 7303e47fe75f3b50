//! `posthouse classifier train` on messages written here.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn train(args: &[&str]) -> (bool, String, String) {
    let said = Command::new(env!("CARGO_BIN_EXE_posthouse")).args(["classifier", "train"]).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (said.status.success(), text(said.stdout), text(said.stderr))
}

fn write(folder: &Path, count: usize, message: impl Fn(usize, &str) -> String) {
    std::fs::create_dir_all(folder.join("more")).unwrap();
    for n in 0..count {
        let word = ["lamp", "garden", "river", "paper", "stone", "window", "bread"][n % 7];
        let folder = if n % 2 == 0 { folder.to_owned() } else { folder.join("more") };
        std::fs::write(folder.join(format!("{n}.eml")), message(n, word)).unwrap();
    }
}

#[test]
fn a_model_is_written_and_says_how_well_it_works_on_mail_it_has_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    write(Path::new(&path("bad")), 70, |n, word| {
        format!("Subject: Win a {word}\r\n\r\nClaim your {word} prize {n}, click to win it.\r\n")
    });
    write(Path::new(&path("good")), 70, |n, word| {
        format!("Subject: The {word}\r\n\r\nThe {word} {n} is ready for our meeting, see you there.\r\n")
    });
    let args = |out: &str| vec!["--bad".into(), path("bad"), "--good".into(), path("good"), "--out".into(), path(out)];
    let run = |out: &str, json: bool| {
        let mut args: Vec<String> = args(out);
        args.extend(json.then(|| "--json".to_owned()));
        train(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (done, text, error) = run("one.model", true);
    assert!(done, "{error}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["bad"], &report["good"]), (&70.into(), &70.into()));
    assert_eq!(report["held_out"][0]["unwanted"], 1.0, "{report:#}");
    let (_, table, _) = run("other.model", false);
    assert!(table.contains("70 unwanted and 70 wanted messages") && table.contains("100.0 %"), "{table}");
    let read = |name| std::fs::read(path(name)).unwrap();
    assert_eq!(read("one.model"), read("other.model"));
    assert_eq!(report["octets"], read("one.model").len());
}

#[test]
fn too_few_messages_teach_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    write(dir.path(), 3, |_, word| format!("Subject: {word}\r\n\r\n{word}\r\n"));
    let (done, _, error) = train(&["--bad", folder, "--good", folder, "--out", "never.model"]);
    assert!(!done && error.contains("--bad has 3 messages; at least 50 are needed"), "{error}");
}
