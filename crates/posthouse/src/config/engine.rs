//! `[[engine]]`: outside scanners, each optional (docs/engines.md).

use super::ConfigError;
use super::complaint::Complaint;
use engines::limits::{BUDGET, BUDGET_MILLIS, ENGINES_MAX};
use engines::{Address, EngineSettings, KINDS, OnFault};
use serde::Deserialize;
use std::time::Duration;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EngineSection {
    kind: Spanned<String>,
    name: Option<Spanned<String>>,
    address: Spanned<String>,
    budget_millis: Option<Spanned<u64>>,
    on_fault: Option<Spanned<String>>,
}

impl Complaint<'_> {
    /// Those that are right; of the others it is said what is wrong.
    pub(super) fn engines(&self, written: Vec<EngineSection>) -> Vec<EngineSettings> {
        let mut all: Vec<EngineSettings> = Vec::new();
        for section in written {
            let at = section.kind.span().start;
            let Some(engine) = self.or(self.engine(section).map(Some), None) else { continue };
            let name = &engine.name;
            if all.iter().any(|e| e.name == *name) {
                self.say(self.at(at, format!("key `engine.name`: two are called \"{name}\"; expected a `name` of its own for each, under which journal and metrics show it")));
            } else if all.len() >= ENGINES_MAX {
                self.say(
                    self.at(at, format!("key `engine`: more than {ENGINES_MAX}; each is asked about every message")),
                );
            } else {
                all.push(engine);
            }
        }
        all
    }

    fn engine(&self, section: EngineSection) -> Result<EngineSettings, ConfigError> {
        let wrong = |key: &str, written: &Spanned<String>, expected: &str| {
            let text = format!("key `engine.{key}`: \"{}\" is not {expected}", written.get_ref());
            self.at(written.span().start, text)
        };
        let kind = KINDS.iter().copied().find(|k| k.as_str() == section.kind.get_ref());
        if kind.is_none() && section.kind.get_ref() == "yara" {
            let why = "key `engine.kind`: \"yara\" cannot be used: this posthouse was built without the feature `yara`";
            return Err(self.at(section.kind.span().start, why.into()));
        }
        let kind = kind.ok_or_else(|| wrong("kind", &section.kind, "\"clamd\", \"rspamd\", \"icap\" or \"yara\""))?;
        let name = match &section.name {
            None => kind.as_str().to_owned(),
            Some(name) if is_label(name.get_ref()) => name.get_ref().clone(),
            Some(name) => return Err(wrong("name", name, "a word of at most 32 letters, digits, - and _")),
        };
        let address = Address::read(kind, section.address.get_ref());
        let address = address.map_err(|expected| wrong("address", &section.address, expected))?;
        let on_fault = match &section.on_fault {
            None => OnFault::default(),
            Some(written) => {
                let expected = "\"defer\", \"pass\" or \"ignore\"";
                written.get_ref().parse().map_err(|()| wrong("on_fault", written, expected))?
            }
        };
        let budget = match section.budget_millis {
            None => BUDGET,
            Some(millis) if BUDGET_MILLIS.contains(millis.get_ref()) => Duration::from_millis(millis.into_inner()),
            Some(millis) => {
                let (from, to) = (BUDGET_MILLIS.start(), BUDGET_MILLIS.end());
                let text = format!("key `engine.budget_millis`: {} is not from {from} to {to}", millis.get_ref());
                return Err(self.at(millis.span().start, text));
            }
        };
        Ok(EngineSettings { name, kind, address, budget, on_fault })
    }
}

/// It stands in metrics and in the subjects of alerts.
pub(super) fn is_label(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::{Config, ConfigErrors, EXAMPLE};
    use std::path::Path;

    fn with(sections: &str) -> Result<Config, String> {
        let (config, said) = Config::parse(Path::new("posthouse.toml"), &format!("{EXAMPLE}\n{sections}"));
        if said.is_empty() { Ok(config.unwrap()) } else { Err(ConfigErrors(said).to_string()) }
    }

    #[test]
    fn complaints_say_what_is_expected() {
        let clamd = |more: &str| format!("[[engine]]\nkind = \"clamd\"\naddress = \"127.0.0.1:3310\"\n{more}\n");
        let cases = [
            ("no such kind", "[[engine]]\nkind = \"sophos\"\naddress = \"127.0.0.1:3310\"".into()),
            ("no port", "[[engine]]\nkind = \"clamd\"\naddress = \"localhost\"".into()),
            ("no scheme", "[[engine]]\nkind = \"rspamd\"\naddress = \"127.0.0.1:11333\"".into()),
            ("no service", "[[engine]]\nkind = \"icap\"\naddress = \"http://127.0.0.1\"".into()),
            ("a wrong choice", clamd("on_fault = \"panic\"")),
            ("too little time", clamd("budget_millis = 1")),
            ("a name that is no label", clamd("name = \"the scanner\"")),
            ("twice the same", clamd("") + &clamd("")),
            ("an unknown key", clamd("bugdet_millis = 100")),
        ];
        let mut text = String::new();
        for (what, sections) in cases {
            text += &format!("{what}: {}\n", with(&sections).err().unwrap_or_else(|| "accepted".into()));
        }
        insta::assert_snapshot!(text);
        let two = with(&(clamd("") + &clamd("name = \"second\"\nbudget_millis = 700\non_fault = \"ignore\""))).unwrap();
        let shown: Vec<String> = two
            .engines
            .iter()
            .map(|e| format!("{} {} {} {}", e.name, e.address, e.budget.as_millis(), e.on_fault.as_str()))
            .collect();
        assert_eq!(shown, ["clamd 127.0.0.1:3310 5000 defer", "second 127.0.0.1:3310 700 ignore"]);
    }
}
