//! A policy as it is written in a file: everything that is wrong with it at once, each with its line.

use crate::config::{Complaint, ConfigErrors};
use anyhow::{Context, Result};
use std::path::Path;
use tenant::Rules;
use toml::de::{DeTable, DeValue};

pub fn read(file: &Path) -> Result<Rules> {
    let text = std::fs::read_to_string(file).with_context(|| format!("policy {}", file.display()))?;
    Ok(parse(file, &text)?)
}

fn parse(file: &Path, text: &str) -> Result<Rules, ConfigErrors> {
    let complaint = Complaint::about(file, text);
    let rules: Option<Rules> = complaint.read();
    let of_rules = |rules: &Rules| [rules.wrong(), verdict::custom::wrong(&rules.custom)].concat();
    for wrong in rules.iter().flat_map(of_rules) {
        let (key, line) = (in_words(&wrong.at), offset(text, &wrong.at));
        complaint.say(complaint.at(line, format!("key `{key}`: {}", wrong.why)));
    }
    match (rules, complaint.into_said()) {
        (Some(rules), said) if said.is_empty() => Ok(rules),
        (_, said) => Err(ConfigErrors(said)),
    }
}

/// Rules are counted from one, as people do.
fn in_words(at: &[String]) -> String {
    let one = |key: &String| match key.parse::<usize>() {
        Ok(n) => format!("[{}]", n + 1),
        Err(_) => format!(".{key}"),
    };
    at.iter().map(one).collect::<String>().trim_start_matches('.').to_owned()
}

/// Where that stands, or the innermost of what is around it.
fn offset(text: &str, at: &[String]) -> usize {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut found = 0;
    let mut inside = &DeValue::Table(table.into_inner());
    for key in at {
        inside = match inside {
            DeValue::Table(table) => match table.iter().find(|(k, _)| k.get_ref() == key.as_str()) {
                Some((name, value)) => {
                    found = name.span().start;
                    value.get_ref()
                }
                None => break,
            },
            DeValue::Array(items) => match key.parse().ok().and_then(|n: usize| items.get(n)) {
                Some(item) => {
                    found = item.span().start;
                    item.get_ref()
                }
                None => break,
            },
            _ => break,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WRONG: &str = r#"monitor_only = "yes"
[base]
phising = "hold"
spam = "quarantine"
bulk = "tag"

[[rule]]
name = "board"
groups = ["board@contoso.example"]

[[rule]]
name = "all"
usres = []
"#;

    const NOT_POSSIBLE: &str = r#"[base]
malware = "deliver"

[[rule]]
name = "board"
users = ["ada"]

[[rule]]
name = "all"

[[rule]]
name = "board"
[rule.actions]
phishing = "reject"

[[custom]]
name = "own"
when = """
subject.contains('x') &&
  form.site == 'acme.example'"""
category = "spam"
reason = "so it is"
"#;

    #[test]
    fn a_wrong_file_names_line_and_reason() {
        let said = |text: &str| parse(Path::new("policy.toml"), text).unwrap_err().to_string();
        insta::assert_snapshot!(format!("{}\n\n{}\n\n{}", said(WRONG), said(NOT_POSSIBLE), said("[base")));
    }

    #[test]
    fn what_is_shown_as_a_file_is_read_as_the_same() {
        let text = "monitor_only = true\n[base]\nbulk = \"tag\"\n[wording]\ntag = \"[?]\"\n[[rule]]\nname = \"out\"\ndirection = \"outbound\"\nusers = [\"Ada@contoso.example\"]\nredirect_to = \"b@contoso.example\"\nactions = { data_loss = \"reject\" }\nnotify = { data_loss = \"alert\" }\n[[custom]]\nname = \"own\"\nwhen = \"points > 5\"\ncategory = \"spam\"\nreason = \"so it is\"\n";
        let rules = parse(Path::new("policy.toml"), text).unwrap();
        assert_eq!(rules.rule[0].users, ["ada@contoso.example"]);
        assert_eq!(parse(Path::new("policy.toml"), &toml::to_string(&rules).unwrap()).unwrap(), rules);
        assert_eq!(parse(Path::new("policy.toml"), "").unwrap(), Rules::default());
    }
}
