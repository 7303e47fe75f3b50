//! What is wrong with the file, all of it at once, each with its line and its key.

use serde::Deserialize;
use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A complaint about the file, ready to be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {source}\nsay where the configuration is with --config FILE; `posthouse config example` prints one to start from", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("{}:{line}: {message}", file.display())]
    Wrong { file: PathBuf, line: usize, message: String },
}

impl ConfigError {
    /// The key of which it speaks, or the file.
    pub fn key(&self) -> String {
        match self {
            ConfigError::Unreadable { file, .. } => file.display().to_string(),
            ConfigError::Wrong { file, message, .. } => {
                message.split('`').nth(1).map_or_else(|| file.display().to_string(), str::to_owned)
            }
        }
    }
}

/// Every complaint, one a line.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
impl std::error::Error for ConfigErrors {}

/// Closer than this, a key is taken for a slip of the pen: `retrun_port` is 0.91 from `return_port`.
const SIMILAR: f64 = 0.8;

/// Collects what is wrong while the file is read.
pub(crate) struct Complaint<'a> {
    pub file: &'a Path,
    pub text: &'a str,
    said: RefCell<Vec<ConfigError>>,
}

impl<'a> Complaint<'a> {
    pub fn about(file: &'a Path, text: &'a str) -> Complaint<'a> {
        Complaint { file, text, said: RefCell::default() }
    }

    pub fn into_said(self) -> Vec<ConfigError> {
        self.said.into_inner()
    }

    /// Writes down what is wrong and goes on with a stand-in; a configuration with one is never served.
    pub fn or<T>(&self, checked: Result<T, ConfigError>, stand_in: T) -> T {
        checked.unwrap_or_else(|e| {
            self.say(e);
            stand_in
        })
    }

    pub fn say(&self, error: ConfigError) {
        self.said.borrow_mut().push(error);
    }

    pub fn at(&self, offset: usize, message: String) -> ConfigError {
        let line = self.text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1;
        ConfigError::Wrong { file: self.file.to_owned(), line, message }
    }

    pub fn value<T: std::str::FromStr>(
        &self,
        key: &str,
        value: &Spanned<String>,
        expected: &str,
    ) -> Result<T, ConfigError> {
        value
            .get_ref()
            .parse()
            .map_err(|_| self.at(value.span().start, format!("key `{key}`: \"{}\" is not {expected}", value.get_ref())))
    }

    pub fn host_name(&self, key: &str, value: &Spanned<String>) -> Result<String, ConfigError> {
        let name = value.get_ref().trim_end_matches('.').to_ascii_lowercase();
        let label =
            |l: &str| !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if name.contains('.') && name.split('.').all(label) {
            return Ok(name);
        }
        Err(self.at(
            value.span().start,
            format!(
                "key `{key}`: \"{}\" is not a host name with at least one dot, e.g. \"gw.example.net\"",
                value.get_ref()
            ),
        ))
    }

    /// The file as its sections say. What cannot be taken is complained of, left out, and the rest read again, so that one
    /// slip does not hide the next.
    pub fn read<T: for<'de> Deserialize<'de>>(&self) -> Option<T> {
        let (mut table, wrong) = DeTable::parse_recoverable(self.text);
        if !wrong.is_empty() {
            wrong.iter().for_each(|e| self.say(self.at(e.span().map_or(0, |s| s.start), plain(e.message()))));
            return None;
        }
        loop {
            let error = match T::deserialize(toml::Deserializer::from(table.clone())) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            let missing = between(error.message(), "missing field `");
            match missing.is_none().then(|| take_out(table.get_mut(), &span)).flatten() {
                Some(path) => self.say(self.at(span.start, explained(&path, error.message()))),
                None => {
                    let left_out = missing.is_some_and(|m| self.said.borrow().iter().any(|e| e.key().ends_with(m)));
                    if !left_out {
                        self.say(self.at(span.start, missing_words(table.get_ref(), &span, error.message())));
                    }
                    return None;
                }
            }
        }
    }
}

fn plain(message: &str) -> String {
    message.trim().replace('\n', " ")
}

fn between<'m>(message: &'m str, before: &str) -> Option<&'m str> {
    message.split_once(before)?.1.split('`').next()
}

/// Takes the entry out of which the error speaks, and returns its whole name.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let inside = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end && !span.is_empty();
    let mut here = None;
    for (key, value) in table.iter_mut() {
        let name = key.get_ref().to_string();
        if inside(key.span()) {
            here = Some(name);
            break;
        }
        let deeper = match value.get_mut() {
            DeValue::Table(table) => take_out(table, span),
            DeValue::Array(array) => array.iter_mut().find_map(|item| match item.get_mut() {
                DeValue::Table(table) => take_out(table, span),
                _ => None,
            }),
            _ => None,
        };
        if let Some(deeper) = deeper {
            return Some(format!("{name}.{deeper}"));
        }
        if inside(value.span()) {
            here = Some(name);
            break;
        }
    }
    here.inspect(|name| drop(table.remove(name.as_str())))
}

fn explained(path: &str, message: &str) -> String {
    let (field, variant) = (between(message, "unknown field `"), between(message, "unknown variant `"));
    let Some(unknown) = field.or(variant) else { return format!("key `{path}`: {}", plain(message)) };
    let expected: Vec<&str> =
        message.split_once("expected").map_or("", |(_, rest)| rest).split('`').skip(1).step_by(2).collect();
    let nearest = expected.iter().map(|e| (strsim::jaro_winkler(unknown, e), *e)).max_by(|a, b| a.0.total_cmp(&b.0));
    // of a table whose keys are a closed list, one that is not of it is called a variant as well
    let what = match path.rsplit('.').next() == Some(unknown) {
        true => format!("key `{path}`"),
        false => format!("key `{path}`: \"{unknown}\""),
    };
    match nearest.filter(|(similarity, _)| *similarity >= SIMILAR) {
        Some((_, meant)) => format!("{what} is not known; did you mean `{meant}`?"),
        None => format!("{what} is not known; expected one of {}", expected.join(", ")),
    }
}

/// A missing key is told with the section that it belongs into.
fn missing_words(table: &DeTable<'_>, span: &Range<usize>, message: &str) -> String {
    let Some(missing) = between(message, "missing field `") else { return plain(message) };
    let section = table.iter().find(|(_, v)| v.span() == *span && v.get_ref().is_table()).map(|(k, _)| k.get_ref());
    match section {
        Some(section) => format!("key `{section}.{missing}` is missing"),
        None => format!("key `{missing}` is missing"),
    }
}
