//! `posthouse replay`: what today's detectors and policy would do with saved mail. Changes nothing, sends nothing; reads
//! the store only when a tenant or the journal is asked for.

use crate::cli::ReplayArgs;
use crate::{commands, config::Config, show};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use store::{JourneyFilter, Store};
use tenant::Direction;
use verdict::{Decision, Finding, Ground, Saved, Verdict};

#[derive(Serialize)]
struct Judged {
    file: String,
    message_id: Option<String>,
    points: u32,
    #[serde(flatten)]
    decision: Decision,
    findings: Vec<Finding>,
    /// What the journal says of the newest journey of this message, if it knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Decision>,
}

#[derive(Default, Serialize)]
struct Summary {
    messages: usize,
    held: usize,
    /// Held messages by what they are.
    held_as: BTreeMap<&'static str, usize>,
    /// Messages in which a detector found something, and of those the held ones.
    found_by: BTreeMap<String, (usize, usize)>,
    /// Of those that the journal was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    known_to_the_journal: Option<usize>,
}

#[derive(Serialize)]
struct Replayed {
    messages: Vec<Judged>,
    summary: Summary,
}

pub async fn run(config: &Path, args: &ReplayArgs, json: bool) -> Result<()> {
    let store = match args.tenant.is_some() || args.changed {
        true => Some(commands::open(&Config::read(config)?).await?),
        false => None,
    };
    let mut rules = match (&args.tenant, &store) {
        (Some(name), Some(store)) => crate::policy::of_tenant(store, name).await?,
        _ => Ground::default(),
    };
    if let Some(file) = &args.rules {
        let custom = crate::policy::read(file)?.custom;
        let all = tenant::Rules { custom, ..rules.policy.rules.clone() };
        rules.set_rules(all);
    }
    let journal = store.as_ref().filter(|_| args.changed);
    let mut replayed = Replayed { messages: Vec::new(), summary: Summary::default() };
    for file in files(&args.saved)? {
        let mut judged = judge(&file, &rules)?;
        if let (Some(store), Some(id)) = (journal, &judged.message_id) {
            judged.before = before(store, id).await?;
        }
        replayed.summary.count(&judged, journal.is_some());
        let differs = judged.before.as_ref().is_some_and(|b| b.verdict != judged.decision.verdict);
        if journal.is_none() || differs {
            replayed.messages.push(judged);
        }
    }
    show::print(json, &replayed, || replayed.text())
}

async fn before(store: &Store, message_id: &str) -> Result<Option<Decision>> {
    let filter = JourneyFilter { message_id: Some(message_id.to_owned()), ..JourneyFilter::default() };
    let mut journeys = store.journeys(&filter).await?.into_iter();
    Ok(journeys.find(|j| j.direction == Some(Direction::Inbound)).and_then(|j| j.decision))
}

/// Those of folders below, too, in the order of their names; hidden ones are no mail.
fn files(saved: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in saved {
        let about = || path.display().to_string();
        if !path.metadata().with_context(about)?.is_dir() {
            all.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(about)?;
        let mut inside = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>().with_context(about)?;
        inside.retain(|p| p.file_name().is_some_and(|n| !n.to_string_lossy().starts_with('.')));
        inside.sort();
        all.extend(files(&inside)?);
    }
    Ok(all)
}

fn judge(file: &Path, rules: &Ground) -> Result<Judged> {
    let name = file.display().to_string();
    let saved = Saved::read(std::fs::read(file).with_context(|| name.clone())?);
    let (findings, decision) = saved.judge(rules, jiff::Timestamp::now().as_second());
    Ok(Judged {
        file: name,
        message_id: saved.message.message_id(),
        points: verdict::points(&findings, &rules.policy),
        decision,
        findings,
        before: None,
    })
}

impl Summary {
    fn count(&mut self, judged: &Judged, asked: bool) {
        let held = judged.decision.verdict == Verdict::Hold;
        self.messages += 1;
        self.held += usize::from(held);
        if held {
            *self.held_as.entry(judged.decision.category.as_str()).or_default() += 1;
        }
        let mut detectors: Vec<&String> = judged.findings.iter().map(|f| &f.detector).collect();
        detectors.sort();
        detectors.dedup();
        for detector in detectors {
            let (found, of_them_held) = self.found_by.entry(detector.clone()).or_default();
            *found += 1;
            *of_them_held += usize::from(held);
        }
        if asked {
            *self.known_to_the_journal.get_or_insert_default() += usize::from(judged.before.is_some());
        }
    }

    fn text(&self) -> String {
        let as_what: Vec<_> = self.held_as.iter().map(|(category, n)| format!("{n} {category}")).collect();
        let mut text = format!("{} held of {}", self.held, self.messages);
        if !as_what.is_empty() {
            text += &format!(": {}", as_what.join(", "));
        }
        for (detector, (found, held)) in &self.found_by {
            text += &format!("\n  {detector}: found something in {found}, {held} of them held");
        }
        if let Some(known) = self.known_to_the_journal {
            text += &format!("\nthe journal knows {known} of them");
        }
        text
    }
}

fn word(decision: &Decision) -> &'static str {
    if decision.verdict == Verdict::Hold { "held" } else { "passed" }
}

impl Replayed {
    fn text(&self) -> String {
        let row = |j: &Judged| {
            let of = |f: &Finding| format!("{} {}: {}", f.points, f.detector, show::short(&f.summary, 120));
            [
                show::safe(&j.file),
                match &j.before {
                    Some(before) => format!("{}, was {}", word(&j.decision), word(before)),
                    None => word(&j.decision).into(),
                },
                j.decision.category.as_str().into(),
                j.points.to_string(),
                j.findings.iter().map(of).collect::<Vec<_>>().join("\n"),
            ]
        };
        let headings = ["file", "verdict", "category", "points", "points, detector and reason"];
        match self.messages.is_empty() {
            true => self.summary.text(),
            false => format!("{}\n{}", show::table(headings, self.messages.iter().map(row)), self.summary.text()),
        }
    }
}
