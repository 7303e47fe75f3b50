//! The figures as tables, as plots, as JSON.

use super::corpus::{Header, Kind};
use super::curve::{self, Point};
use crate::document::{self, DETECTION, Machine};
use crate::plot::{self, Shares};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use verdict::{Category, finding::HOLD_POINTS};

/// The part of wanted mail that may be held.
const FALSE_ALARMS_MAX: f64 = 0.005;
/// To there the plots go.
const PLOTTED_FALSE_ALARMS_MAX: f64 = 0.05;

/// With the threshold that each has where nobody changed it: ours holds, SpamAssassin calls it spam, Rspamd marks it.
const JUDGES: [(&str, f64); 3] = [("Posthouse", HOLD_POINTS as f64), ("SpamAssassin", 5.0), ("Rspamd", 6.0)];

#[derive(Serialize, Deserialize)]
pub struct Message {
    pub kind: Kind,
    pub folder: String,
    pub file: String,
    pub header: Header,
    /// As what the gateway held it.
    pub held_as: Option<Category>,
    /// In the order of [`JUDGES`].
    pub scores: [Option<f64>; 3],
    /// The rules of SpamAssassin and of Rspamd that matched.
    pub peers_found: [Vec<String>; 2],
}

/// CPU of one judgement.
#[derive(Serialize, Deserialize)]
pub struct Speed {
    pub messages: usize,
    pub median_octets: usize,
    pub median_ms: f64,
    pub p99_ms: f64,
    pub highest_ms: f64,
    /// Median of those of 15 to 25 KB, and how many they are.
    pub of_20_kb_ms: Option<f64>,
    pub of_20_kb: usize,
}

impl Speed {
    /// Octets and microseconds of each.
    pub fn of(all: &[(usize, f64)]) -> Speed {
        let mut octets: Vec<usize> = all.iter().map(|m| m.0).collect();
        octets.sort_unstable();
        let sorted = |of: &dyn Fn(usize) -> bool| {
            let mut times: Vec<f64> = all.iter().filter(|m| of(m.0)).map(|m| m.1 / 1000.0).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        let part = |times: &[f64], part: f64| {
            let at = (times.len() as f64 * part) as usize;
            times.get(at.min(times.len().saturating_sub(1))).copied()
        };
        let (times, of_20_kb) = (sorted(&|_| true), sorted(&|octets| (15_000..25_000).contains(&octets)));
        Speed {
            messages: all.len(),
            median_octets: octets.get(octets.len() / 2).copied().unwrap_or_default(),
            median_ms: part(&times, 0.5).unwrap_or_default(),
            p99_ms: part(&times, 0.99).unwrap_or_default(),
            highest_ms: part(&times, 1.0).unwrap_or_default(),
            of_20_kb_ms: part(&of_20_kb, 0.5),
            of_20_kb: of_20_kb.len(),
        }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "CPU of the embedded judgement: median {:.3} ms, p99 {:.2} ms, highest {:.1} ms of {} messages (median size {:.1} KB)",
            self.median_ms,
            self.p99_ms,
            self.highest_ms,
            self.messages,
            self.median_octets as f64 / 1000.0
        )?;
        match self.of_20_kb_ms {
            Some(ms) => write!(f, "; median {ms:.3} ms of the {} between 15 and 25 KB", self.of_20_kb),
            None => Ok(()),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    pub spamassassin: String,
    pub rspamd: String,
    pub speed: Speed,
    pub messages: Vec<Message>,
}

impl Report {
    pub fn print(&self, json: bool, write: bool) -> Result<()> {
        if json {
            let mut value = serde_json::to_value(self)?;
            value["operating_points"] = serde_json::to_value(Header::ALL.map(|h| self.points(h)))?;
            println!("{}", serde_json::to_string_pretty(&value)?);
        } else {
            println!("{}", self.text());
        }
        let folder = if write { PathBuf::from(document::PLOTS) } else { PathBuf::from("target/bench") };
        self.plot(&folder)?;
        if write {
            let images: String = Header::ALL
                .map(|h| format!("![Caught over false alarms, {}](performance/{})\n", title(h), plot_name(h)))
                .concat();
            document::put_into(DETECTION, "detect", &format!("{}\n{images}", self.text()))?;
        } else {
            eprintln!("plots: {}", folder.display());
        }
        Ok(())
    }

    /// What a judge did not say counts as nothing found.
    fn scores(&self, header: Header, judge: usize, of: impl Fn(&Message) -> bool) -> Vec<f64> {
        let these = self.messages.iter().filter(|m| m.header == header && of(m));
        these.map(|m| m.scores[judge].unwrap_or(if judge == 0 { 0.0 } else { f64::MIN })).collect()
    }

    fn curve(&self, header: Header, judge: usize) -> Vec<Point> {
        let of = |kind| self.scores(header, judge, |m| m.kind == kind);
        curve::curve(&of(Kind::Phish), &of(Kind::Ham))
    }

    /// Of each judge, within the price.
    fn points(&self, header: Header) -> [Point; 3] {
        [0, 1, 2].map(|judge| curve::at_most(&self.curve(header, judge), FALSE_ALARMS_MAX))
    }

    fn folders(&self, kind: Kind) -> Vec<&str> {
        let mut names: Vec<&str> = self.messages.iter().filter(|m| m.kind == kind).map(|m| m.folder.as_str()).collect();
        names.dedup();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn text(&self) -> String {
        let count = |kind| {
            let of = |name: &&str| {
                let n = self.messages.iter().filter(|m| m.folder == **name && m.header == Header::Whole).count();
                format!("{n} {name}")
            };
            self.folders(kind).iter().map(of).collect::<Vec<_>>().join(", ")
        };
        let mut text = format!(
            "Measured {}; SpamAssassin {}, Rspamd {}; phishing: {}; wanted: {}; spam: {}.\n{}.\n",
            self.machine,
            self.spamassassin,
            self.rspamd,
            count(Kind::Phish),
            count(Kind::Ham),
            count(Kind::Spam),
            self.speed
        );
        for header in Header::ALL {
            text +=
                &format!("\n### {}\n\n{}\n{}\n", capital(title(header)), self.table(header), self.sentences(header));
        }
        text
    }

    /// Two lines a judge: within the price, and where it stands by itself.
    fn table(&self, header: Header) -> String {
        let ham = self.folders(Kind::Ham);
        let heads: String = ham.iter().map(|name| format!(" of {name} |")).collect();
        let mut text = format!(
            "| judge | threshold | phishing caught | wanted held |{heads} spam caught |\n|---|---|---|---|{}---|\n",
            "---|".repeat(ham.len())
        );
        let points = self.points(header);
        for (judge, (name, own)) in JUDGES.iter().enumerate() {
            for (threshold, what) in [(points[judge].threshold, "at most 0.5 % false alarms"), (*own, "its own")] {
                let part = |of: &dyn Fn(&Message) -> bool| curve::rate(&self.scores(header, judge, of), threshold);
                let folders: String = ham
                    .iter()
                    .map(|folder| {
                        let scores = self.scores(header, judge, |m| m.folder == *folder && m.kind == Kind::Ham);
                        let held = scores.iter().filter(|s| **s >= threshold).count();
                        format!(" {held} of {} |", scores.len())
                    })
                    .collect();
                text += &format!(
                    "| {name} | {threshold:.1} ({what}) | {} | {} |{folders} {} |\n",
                    percent(part(&|m| m.kind == Kind::Phish)),
                    percent(part(&|m| m.kind == Kind::Ham)),
                    percent(part(&|m| m.kind == Kind::Spam)),
                );
            }
        }
        text
    }

    fn sentences(&self, header: Header) -> String {
        let [ours, spamassassin, rspamd] = self.points(header);
        let better = spamassassin.caught.max(rspamd.caught);
        let ratio = if better > 0.0 { format!("{:.2} ×", ours.caught / better) } else { "not comparable to".into() };
        let mut held: BTreeMap<Category, usize> = BTreeMap::new();
        let phish = || self.messages.iter().filter(|m| m.header == header && m.kind == Kind::Phish);
        phish().filter_map(|m| m.held_as).for_each(|category| *held.entry(category).or_default() += 1);
        let as_what: Vec<_> = held.iter().map(|(category, n)| format!("{n} as {}", category.as_str())).collect();
        let mute = |judge: usize| {
            let n = self.messages.iter().filter(|m| m.header == header && m.scores[judge].is_none()).count();
            if n > 0 { format!(" {} did not judge {n} messages.", JUDGES[judge].0) } else { String::new() }
        };
        format!(
            "Within 0.5 % false alarms Posthouse catches {ratio} the better peer. Held phishing: {}.{}{}{}\n",
            if as_what.is_empty() { "none".into() } else { as_what.join(", ") },
            mute(0),
            mute(1),
            mute(2)
        )
    }

    fn plot(&self, folder: &Path) -> Result<()> {
        for header in Header::ALL {
            let line = |judge: usize| self.curve(header, judge).iter().map(|p| (p.false_alarms, p.caught)).collect();
            let own = |judge: usize| {
                let of = |kind| curve::rate(&self.scores(header, judge, |m| m.kind == kind), JUDGES[judge].1);
                (of(Kind::Ham), of(Kind::Phish))
            };
            let series = [0, 1, 2].map(|judge| (JUDGES[judge].0.to_owned(), line(judge), own(judge)));
            let title = format!("Phishing caught over wanted mail held, {}", title(header));
            let shares =
                Shares { title: &title, x: "wanted mail held", y: "phishing caught", x_max: PLOTTED_FALSE_ALARMS_MAX };
            plot::shares(&folder.join(plot_name(header)), &shares, &series)?;
        }
        Ok(())
    }
}

fn title(header: Header) -> &'static str {
    match header {
        Header::Whole => "whole header",
        Header::Bare => "only From, Reply-To, Subject and MIME fields",
    }
}

fn plot_name(header: Header) -> &'static str {
    match header {
        Header::Whole => "detect-whole.svg",
        Header::Bare => "detect-bare.svg",
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_by_judge_and_folder() {
        let message = |kind, folder: &str, scores| Message {
            kind,
            folder: folder.into(),
            file: "x".into(),
            header: Header::Whole,
            held_as: (kind == Kind::Phish).then_some(Category::Phishing),
            scores,
            peers_found: [vec![], vec![]],
        };
        let report = Report {
            machine: Machine { day: "2026-01-01".into(), commit: "c".into(), processor: "p".into(), cores: 2 },
            spamassassin: "4".into(),
            rspamd: "3".into(),
            speed: Speed::of(&[(20_000, 500.0), (1000, 100.0), (3000, 200.0)]),
            messages: vec![
                message(Kind::Phish, "phish", [Some(150.0), Some(7.0), Some(1.0)]),
                message(Kind::Phish, "phish", [Some(60.0), Some(2.0), None]),
                message(Kind::Ham, "easy", [Some(0.0), Some(3.0), Some(0.5)]),
                message(Kind::Ham, "hard", [Some(0.0), Some(1.0), Some(9.0)]),
            ],
        };
        let table = report.table(Header::Whole);
        for line in [
            "| Posthouse | 60.0 (at most 0.5 % false alarms) | 100.0 % | 0.0 % | 0 of 1 | 0 of 1 | 0.0 % |",
            "| Posthouse | 100.0 (its own) | 50.0 % | 0.0 % | 0 of 1 | 0 of 1 | 0.0 % |",
            "| SpamAssassin | 7.0 (at most 0.5 % false alarms) | 50.0 % | 0.0 % | 0 of 1 | 0 of 1 | 0.0 % |",
            "| Rspamd | 6.0 (its own) | 0.0 % | 50.0 % | 0 of 1 | 1 of 1 | 0.0 % |",
        ] {
            assert!(table.contains(line), "{line}\n{table}");
        }
        let told = report.sentences(Header::Whole);
        assert!(
            told.contains("2.00 × the better peer. Held phishing: 2 as phishing. Rspamd did not judge 1"),
            "{told}"
        );
        assert_eq!((report.speed.median_ms, report.speed.p99_ms, report.speed.of_20_kb), (0.2, 0.5, 1));
    }
}
