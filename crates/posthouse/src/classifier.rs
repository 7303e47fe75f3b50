//! `posthouse classifier train`: a model from the operator's own mail. Reads files, writes one; nothing else.

use crate::cli::TrainArgs;
use crate::show;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::path::{Path, PathBuf};
use verdict::Content;
use verdict::classifier::{self, Caught, Example, FOLDS, Trained};

/// Of fewer messages of a kind nothing can be learnt that holds for others.
const MESSAGES_MIN: usize = 50;

#[derive(Serialize)]
struct Report {
    model: PathBuf,
    octets: usize,
    bad: usize,
    good: usize,
    folds: u64,
    held_out: Vec<Caught>,
}

pub fn train(args: &TrainArgs, json: bool) -> Result<()> {
    let (bad, good) = (files(&args.bad)?, files(&args.good)?);
    for (files, option) in [(&bad, "--bad"), (&good, "--good")] {
        if files.len() < MESSAGES_MIN {
            bail!(
                "{option} has {} messages; at least {MESSAGES_MIN} are needed, some thousand are better",
                files.len()
            );
        }
    }
    let mut examples = Vec::with_capacity(bad.len() + good.len());
    for (files, is_bad) in [(&bad, true), (&good, false)] {
        for file in files {
            examples.push(example(file, is_bad)?);
        }
    }
    let Some(Trained { model, held_out }) = classifier::train(&examples) else {
        bail!("--bad and --good both need messages");
    };
    let octets = model.write();
    std::fs::write(&args.out, &octets).with_context(|| args.out.display().to_string())?;
    let report = Report {
        model: args.out.clone(),
        octets: octets.len(),
        bad: held_out.bad,
        good: held_out.good,
        folds: FOLDS,
        held_out: held_out.at,
    };
    show::print(json, &report, || report.text())
}

fn example(file: &Path, is_bad: bool) -> Result<Example> {
    let raw = std::fs::read(file).with_context(|| file.display().to_string())?;
    let message = mail::Message::parse(raw.into());
    let content = message.with_parts(Content::of);
    Ok(classifier::example(&message, &content, is_bad))
}

/// Those of folders below, too, in the order of their names; hidden ones are no mail.
fn files(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for folder in folders {
        let about = || folder.display().to_string();
        if !folder.metadata().with_context(about)?.is_dir() {
            all.push(folder.clone());
            continue;
        }
        let entries = std::fs::read_dir(folder).with_context(about)?;
        let mut inside = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>().with_context(about)?;
        inside.retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
        inside.sort();
        all.extend(files(&inside)?);
    }
    Ok(all)
}

impl Report {
    fn text(&self) -> String {
        let percent = |share: f32| format!("{:.1} %", share * 100.0);
        let row = |at: &Caught| {
            [percent(at.wanted_most), percent(at.wanted), percent(at.unwanted), percent(at.from_probability)]
        };
        let headings = ["wanted mail marked, at most", "really", "unwanted mail marked", "from a likeness of"];
        let table = show::table(headings, self.held_out.iter().map(row));
        format!(
            "{} unwanted and {} wanted messages; judged in {} parts, each by a model of the others:\n{}\n{} written, {} octets. Name it in the configuration: [classifier] model = \"{}\"",
            self.bad,
            self.good,
            self.folds,
            table,
            self.model.display(),
            self.octets,
            self.model.display()
        )
    }
}
