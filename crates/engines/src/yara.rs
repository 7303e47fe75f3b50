//! YARA-X inside the process: an operator's rules from a folder, compiled once, over the message as it came and every
//! file in it that can be opened. Behind the feature `yara`: it is a third of all there is to compile.
//!
//! Rules are the operator's and trusted; what they are run over is not, so each message has its time.

use crate::{Asked, Fault, limits, words};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use verdict::{Category, Finding, Severity};
use yara_x::{Compiler, MetaValue, Rules, ScanError, Scanner, SourceCode};

pub(crate) struct Yara {
    folder: PathBuf,
    /// `None` until they are asked for first.
    rules: RwLock<Option<Arc<Rules>>>,
}

impl Yara {
    pub(crate) fn new(folder: &Path) -> Yara {
        Yara { folder: folder.to_owned(), rules: RwLock::default() }
    }

    /// The rules as they are now in the folder; what cannot be compiled leaves those of before in use.
    pub(crate) fn reload(&self) -> Result<(), String> {
        let rules = Arc::new(compiled(&self.folder)?);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Some(rules);
        Ok(())
    }

    fn rules(&self) -> Result<Arc<Rules>, Fault> {
        let known = || self.rules.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known().is_none() {
            self.reload().map_err(Fault::Failed)?;
        }
        known().ok_or_else(|| Fault::Failed("no rules".into()))
    }

    /// `by`: what is not seen by then is not said.
    pub(crate) async fn ask(self: &Arc<Yara>, asked: &Asked, by: Instant) -> Result<Vec<Finding>, Fault> {
        let (yara, raw) = (self.clone(), asked.raw.clone());
        let scan = move || {
            let rules = yara.rules()?;
            Ok(told(&seen(&rules, raw, by)?))
        };
        // a rule that makes the scanner panic is a fault of ours
        let panicked = |e: tokio::task::JoinError| Fault::Failed(e.to_string());
        tokio::task::spawn_blocking(scan).await.map_err(panicked)?
    }

    pub(crate) async fn version(self: &Arc<Yara>) -> Result<String, Fault> {
        let yara = self.clone();
        let count = tokio::task::spawn_blocking(move || yara.rules().map(|rules| rules.iter().len())).await;
        let count = count.map_err(|e| Fault::Failed(e.to_string()))??;
        Ok(format!("YARA-X, {count} rules"))
    }
}

/// Every `.yar` and `.yara` of the folder, in the order of their names, each in a namespace of its own: two files may
/// have rules of one name. A file includes no other.
fn compiled(folder: &Path) -> Result<Rules, String> {
    let failed = |what: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", what.display());
    let entries = std::fs::read_dir(folder).map_err(|e| failed(folder, &e))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "yar" || e == "yara"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(failed(folder, &"no file there ends in .yar or .yara"));
    }
    if files.len() > limits::RULE_FILES_MAX {
        return Err(failed(folder, &format!("more than {} files of rules", limits::RULE_FILES_MAX)));
    }
    let mut compiler = Compiler::new();
    compiler.enable_includes(false);
    for file in &files {
        let octets = std::fs::metadata(file).map_err(|e| failed(file, &e))?.len();
        if octets > limits::RULE_FILE_OCTETS_MAX {
            return Err(failed(file, &format!("larger than {} MiB", limits::RULE_FILE_OCTETS_MAX >> 20)));
        }
        let source = std::fs::read_to_string(file).map_err(|e| failed(file, &e))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        compiler.new_namespace(&name);
        let added = compiler.add_source(SourceCode::from(source.as_str()).with_origin(file.display().to_string()));
        // its report points with arrows over several lines
        added.map_err(|e| failed(file, &words(&e.to_string().split_whitespace().collect::<Vec<_>>().join(" "))))?;
    }
    Ok(compiler.build())
}

/// A rule that fits, and where.
struct Match {
    category: Category,
    severity: Severity,
    points: u32,
    description: Option<String>,
    places: Vec<String>,
}

/// By file of rules and rule.
type Matches = BTreeMap<(String, String), Match>;

fn seen(rules: &Rules, raw: bytes::Bytes, by: Instant) -> Result<Matches, Fault> {
    let began = Instant::now();
    let mut matches = Matches::new();
    let mut scanner = Scanner::new(rules);
    scanner.max_matches_per_pattern(limits::MATCHES_OF_A_PATTERN_MAX);
    let mut fault = None;
    let mut look = |place: &str, octets: &[u8]| {
        if fault.is_some() {
            return;
        }
        let left = by.saturating_duration_since(Instant::now());
        fault = match left {
            Duration::ZERO => Some(Fault::Slow(began.elapsed())),
            left => one(&mut scanner, left, place, octets, &mut matches).err().map(|e| match e {
                ScanError::Timeout => Fault::Slow(began.elapsed()),
                other => Fault::Failed(words(&other.to_string())),
            }),
        };
    };
    look("the message", &raw);
    mail::Message::parse(raw).with_parts(|parts| {
        for part in parts.iter().filter(|p| !matches!(p.kind, mail::Kind::Binary | mail::Kind::Multipart)) {
            look("the text", &part.decoded);
        }
        verdict::content::files::each_opened(parts, &mut |path, octets| {
            look(&if path.is_empty() { "an attachment".to_owned() } else { format!("\"{}\"", words(path)) }, octets);
        });
    });
    match fault {
        // what fitted by then is worth more than that the rest was not seen
        Some(fault) if !matches.values().any(|m| m.severity > Severity::Note) => Err(fault),
        _ => Ok(matches),
    }
}

fn one(
    scanner: &mut Scanner<'_>,
    left: Duration,
    place: &str,
    octets: &[u8],
    matches: &mut Matches,
) -> Result<(), ScanError> {
    scanner.set_timeout(left);
    for rule in scanner.scan(octets)?.matching_rules() {
        let known = matches.entry((rule.namespace().to_owned(), rule.identifier().to_owned()));
        let fits = known.or_insert_with(|| Match::of(rule.metadata()));
        if fits.places.len() < limits::PLACES_MAX && !fits.places.iter().any(|p| p == place) {
            fits.places.push(place.to_owned());
        }
    }
    Ok(())
}

impl Match {
    /// What the rule's `meta` says of itself; docs/engines.md has the table.
    fn of<'m>(metadata: impl Iterator<Item = (&'m str, MetaValue<'m>)>) -> Match {
        let mut fits = Match {
            category: Category::Malware,
            severity: Severity::Suspicious,
            points: limits::RULE_POINTS,
            description: None,
            places: Vec::new(),
        };
        for (name, value) in metadata {
            match (name.to_ascii_lowercase().as_str(), value) {
                ("category", MetaValue::String(text)) => {
                    let category = serde_json::from_value(serde_json::Value::String(text.to_ascii_lowercase()));
                    fits.category = category.unwrap_or(fits.category);
                }
                ("severity", MetaValue::String(text)) => {
                    let severity = serde_json::from_value(serde_json::Value::String(text.to_ascii_lowercase()));
                    fits.severity = severity.unwrap_or(fits.severity);
                }
                ("points", MetaValue::Integer(points)) => {
                    fits.points = u32::try_from(points).unwrap_or(0).min(verdict::finding::HOLD_POINTS - 1);
                }
                ("description", MetaValue::String(text)) => fits.description = Some(words(text)),
                _ => {}
            }
        }
        fits
    }
}

/// The worst first, as many as a person reads.
fn told(matches: &Matches) -> Vec<Finding> {
    let mut all: Vec<_> = matches.iter().collect();
    all.sort_by_key(|(_, fits)| std::cmp::Reverse(fits.severity));
    let finding = |((file, rule), fits): (&(String, String), &Match)| {
        let points = if fits.severity == Severity::Note { fits.points } else { verdict::finding::HOLD_POINTS };
        let summary = format!("the YARA rule \"{}\" fits {}", words(rule), fits.places.join(", "));
        let details = fits.description.iter().cloned().chain([format!("rules \"{}\"", words(file))]).collect();
        crate::found(crate::Kind::Yara, fits.category, fits.severity, points, summary, details)
    };
    all.into_iter().take(limits::RULES_TOLD_MAX).map(finding).collect()
}
