//! `posthouse replay` on saved messages of our own: what lies in `held` is held, what lies in `passed` passes.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn replay(args: &[&str]) -> (bool, String, String) {
    let said = Command::new(env!("CARGO_BIN_EXE_posthouse")).arg("replay").args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (said.status.success(), text(said.stdout), text(said.stderr))
}

#[test]
fn saved_messages_are_judged_as_they_would_be_today() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay");
    let folder = folder.to_str().unwrap();
    let (done, text, _) = replay(&["--json", folder]);
    assert!(done);
    let replayed: Value = serde_json::from_str(&text).unwrap();
    let messages = replayed["messages"].as_array().unwrap();
    for message in messages {
        let expected = if message["file"].as_str().unwrap().contains("/held/") { "hold" } else { "pass" };
        assert_eq!(message["verdict"], expected, "{message:#}");
        // what holds it is told, and is in the points
        let holds = expected == "hold";
        assert_eq!(message["reasons"].as_array().unwrap().is_empty(), !holds, "{message:#}");
        assert_eq!(message["points"].as_u64().unwrap() >= 100, holds, "{message:#}");
    }
    let held = messages.iter().filter(|m| m["verdict"] == "hold").count();
    assert_eq!((messages.len(), held), (5, 2));
    assert_eq!((&replayed["summary"]["messages"], &replayed["summary"]["held"]), (&5.into(), &2.into()));
    let (_, table, _) = replay(&[folder]);
    assert!(table.contains("2 held of 5: 1 impersonation, 1 phishing"), "{table}");
}

#[test]
fn what_cannot_be_read_is_said() {
    let (done, _, error) = replay(&["nowhere.eml"]);
    assert!(!done && error.contains("nowhere.eml"), "{error}");
    let (done, _, error) = replay(&["--tenant", "contoso", "nowhere.eml", "--config", "nowhere.toml"]);
    assert!(!done && error.contains("nowhere.toml"), "{error}");
}
