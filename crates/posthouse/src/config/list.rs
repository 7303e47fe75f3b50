//! `[[list]]`: addresses and files that are known to be bad, from a file or a feed (docs/engines.md).

use super::ConfigError;
use super::complaint::Complaint;
use super::engine::is_label;
use super::notify::is_loopback;
use engines::limits::{FEED_EVERY, FEED_EVERY_SECS, LISTS_MAX};
use engines::{FeedSettings, Format, Source};
use serde::Deserialize;
use std::time::Duration;
use toml::Spanned;
use verdict::{Listing, Severity};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListSection {
    name: Spanned<String>,
    kind: Spanned<String>,
    source: Spanned<String>,
    format: Option<Spanned<String>>,
    column: Option<Spanned<usize>>,
    every_secs: Option<Spanned<u64>>,
    finding: Option<Spanned<String>>,
}

impl Complaint<'_> {
    /// Those that are right; of the others it is said what is wrong.
    pub(super) fn lists(&self, written: Vec<ListSection>) -> Vec<FeedSettings> {
        let mut all: Vec<FeedSettings> = Vec::new();
        for section in written {
            let at = section.name.span().start;
            let Some(list) = self.or(self.list(section).map(Some), None) else { continue };
            if all.iter().any(|l| l.name == list.name) {
                self.say(self.at(
                    at,
                    format!("key `list.name`: two are called \"{}\"; findings show lists by their names", list.name),
                ));
            } else if all.len() >= LISTS_MAX {
                self.say(self.at(at, format!("key `list`: more than {LISTS_MAX}; each is looked into for every link")));
            } else {
                all.push(list);
            }
        }
        all
    }

    fn list(&self, section: ListSection) -> Result<FeedSettings, ConfigError> {
        let wrong = |key: &str, written: &Spanned<String>, expected: &str| {
            let text = format!("key `list.{key}`: \"{}\" is not {expected}", written.get_ref());
            self.at(written.span().start, text)
        };
        if !is_label(section.name.get_ref()) {
            return Err(wrong("name", &section.name, "a word of at most 32 letters, digits, - and _"));
        }
        let of = match section.kind.get_ref().as_str() {
            "url" => Listing::Urls,
            "file" => Listing::Files,
            _ => return Err(wrong("kind", &section.kind, "\"url\" or \"file\"")),
        };
        let severity = match section.finding.as_ref().map(|f| f.get_ref().as_str()) {
            None | Some("malicious") => Severity::Malicious,
            Some("suspicious") => Severity::Suspicious,
            Some("note") => Severity::Note,
            Some(other) => {
                let text = format!("key `list.finding`: \"{other}\" is not \"malicious\", \"suspicious\" or \"note\"");
                return Err(self.at(section.finding.as_ref().map_or(0, |f| f.span().start), text));
            }
        };
        let every = match section.every_secs {
            None => FEED_EVERY,
            Some(secs) if FEED_EVERY_SECS.contains(secs.get_ref()) => Duration::from_secs(secs.into_inner()),
            Some(secs) => {
                let (from, to) = (FEED_EVERY_SECS.start(), FEED_EVERY_SECS.end());
                let text = format!("key `list.every_secs`: {} is not from {from} to {to}", secs.get_ref());
                return Err(self.at(secs.span().start, text));
            }
        };
        let format = self.format(section.format.as_ref(), section.column.as_ref())?;
        let source = self.source(&section.source)?;
        Ok(FeedSettings { name: section.name.into_inner(), of, source, format, every, severity })
    }

    fn format(&self, format: Option<&Spanned<String>>, column: Option<&Spanned<usize>>) -> Result<Format, ConfigError> {
        let at = format.map(|f| f.span().start).or(column.map(|c| c.span().start)).unwrap_or(0);
        match (format.map_or("lines", |f| f.get_ref().as_str()), column.map(|c| *c.get_ref())) {
            ("lines", None) => Ok(Format::Lines),
            ("hosts", None) => Ok(Format::Hosts),
            ("csv", Some(column)) if column > 0 => Ok(Format::Csv { column }),
            ("csv", _) => Err(self.at(at, "key `list.column`: expected beside format \"csv\", counted from 1".into())),
            ("lines" | "hosts", Some(_)) => {
                Err(self.at(at, "key `list.column`: only format \"csv\" has columns".into()))
            }
            (other, _) => {
                let text = format!("key `list.format`: \"{other}\" is not \"lines\", \"hosts\" or \"csv\"");
                Err(self.at(at, text))
            }
        }
    }

    /// Whoever can change a list on its way can have mail held, or let through. Its address may hold a key: it is not quoted.
    fn source(&self, written: &Spanned<String>) -> Result<Source, ConfigError> {
        let text = written.get_ref();
        if text.starts_with('/') {
            return Ok(Source::File(text.into()));
        }
        let url = reqwest::Url::parse(text).ok();
        if url.is_some_and(|url| url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
            return Ok(Source::Url(text.clone()));
        }
        let expected = "key `list.source`: expected a file such as \"/etc/posthouse/bad.txt\" or an https address; http only to this machine";
        Err(self.at(written.span().start, expected.into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::{Config, ConfigErrors, EXAMPLE};
    use std::path::Path;

    #[test]
    fn complaints_say_what_is_expected_and_quote_no_key() {
        let list = |more: &str| format!("[[list]]\nname = \"bad\"\nkind = \"url\"\n{more}\n");
        let file = "source = \"/etc/bad.txt\"";
        let cases = [
            ("right", list("source = \"https://feeds.example/a?key=token\"\nformat = \"csv\"\ncolumn = 2")),
            ("http", list("source = \"http://feeds.example/a?key=token\"")),
            ("a relative path", list("source = \"bad.txt\"")),
            ("no column", list(&format!("{file}\nformat = \"csv\""))),
            ("a column of lines", list(&format!("{file}\ncolumn = 1"))),
            ("no such format", list(&format!("{file}\nformat = \"json\""))),
            ("no such finding", list(&format!("{file}\nfinding = \"terrible\""))),
            ("too often", list(&format!("{file}\nevery_secs = 1"))),
            ("no such kind", format!("[[list]]\nname = \"bad\"\nkind = \"hash\"\n{file}\n")),
            ("twice", list(file) + &list(file)),
        ];
        let mut text = String::new();
        for (what, sections) in cases {
            let (_, said) = Config::parse(Path::new("posthouse.toml"), &format!("{EXAMPLE}\n{sections}"));
            let said = if said.is_empty() { "accepted".into() } else { ConfigErrors(said).to_string() };
            assert!(!said.contains("token"), "{said}");
            text += &format!("{what}: {said}\n");
        }
        insta::assert_snapshot!(text);
    }
}
