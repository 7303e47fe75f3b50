//! What is caught at which price in false alarms: the embedded detectors beside SpamAssassin and Rspamd as Debian has
//! them, local rules only, in one run on the same saved mail. docs/detection.md says what the figures mean.

mod corpus;
mod curve;
mod judges;
mod report;

use crate::document::Machine;
use crate::systems;
use crate::world::World;
use anyhow::Result;
use corpus::{Folder, Header, Kind, Prepared};
use judges::{House, Ours, Peers, Said};
use report::{Message, Report, Speed};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use verdict::Saved;

/// Messages that are under way at the same time.
pub const UNDER_WAY: usize = 8;
/// After so many the simulated Microsoft 365 begins anew: it remembers all that it ever carried.
const HOUSE_MESSAGES_MAX: usize = 4000;
/// Between two lines of progress.
const PROGRESS_MESSAGES: usize = 200;

#[derive(clap::Args)]
pub struct Detect {
    /// A folder of phishing, one message a file.
    #[arg(long, required = true, value_name = "DIR")]
    phish: Vec<PathBuf>,
    /// A folder of wanted mail; several are counted apart, too.
    #[arg(long, required = true, value_name = "DIR")]
    ham: Vec<PathBuf>,
    /// A folder of spam, which is only counted.
    #[arg(long, value_name = "DIR")]
    spam: Vec<PathBuf>,
    /// About so many messages of each folder, evenly spread.
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Writes figures and plots into docs/detection.md.
    #[arg(long)]
    write: bool,
    /// Prints everything, each message's scores included, as JSON instead of the table.
    #[arg(long)]
    json: bool,
}

pub fn detect(args: &Detect, dir: &Path, posthouse: &Path) -> Result<()> {
    for (program, package) in [("/usr/sbin/spamd", "spamd"), ("/usr/bin/rspamd", "rspamd")] {
        anyhow::ensure!(
            Path::new(program).exists(),
            "{program} is missing; install it with: apt-get install {package}"
        );
    }
    let folders = [(Kind::Phish, &args.phish), (Kind::Ham, &args.ham), (Kind::Spam, &args.spam)];
    let folders = folders.into_iter().flat_map(|(kind, dirs)| dirs.iter().map(move |dir| (kind, dir)));
    let folders: Vec<Folder> =
        folders.map(|(kind, dir)| Folder::open(kind, dir, args.sample)).collect::<Result<_>>()?;
    let speed = speed(&folders)?;
    eprintln!("bench: {speed}");
    let world = World::start(dir)?;
    let peers = Peers::start(&world)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let messages = runtime.block_on(judged(&folders, &peers, posthouse, dir))?;
    let report = Report {
        machine: Machine::here()?,
        spamassassin: systems::version_of("/usr/bin/spamassassin", &["--version"]).unwrap_or_default(),
        rspamd: systems::version_of("/usr/bin/rspamd", &["--version"]).unwrap_or_default(),
        speed,
        messages,
    };
    report.print(args.json, args.write)
}

/// Each message of each folder with its whole header, then each with a bare one.
async fn judged(folders: &[Folder], peers: &Peers, posthouse: &Path, dir: &Path) -> Result<Vec<Message>> {
    let house_dir = dir.join("house");
    let mut house = House::start(posthouse, &house_dir).await?;
    let (mut all, mut of_this_house) = (Vec::new(), 0);
    let total = Header::ALL.len() * folders.iter().map(|f| f.files.len()).sum::<usize>();
    for header in Header::ALL {
        for folder in folders {
            for files in folder.files.chunks(house.recipients.len()) {
                if of_this_house > HOUSE_MESSAGES_MAX {
                    drop(house);
                    house = House::start(posthouse, &house_dir).await?;
                    of_this_house = 0;
                }
                let read = |(file, to): (&PathBuf, &String)| Ok(Prepared::new(std::fs::read(file)?, to, header));
                let prepared: Vec<Prepared> = files.iter().zip(&house.recipients).map(read).collect::<Result<_>>()?;
                let (ours, spamassassin, rspamd) =
                    tokio::join!(house.judge(&prepared), peers.spamassassin(&prepared), peers.rspamd(&prepared));
                let scores = ours?.into_iter().zip(spamassassin).zip(rspamd);
                all.extend(files.iter().zip(scores).map(|(file, ((o, s), r))| message(folder, header, file, o, s, r)));
                of_this_house += files.len();
                if all.len() / PROGRESS_MESSAGES > (all.len() - files.len()) / PROGRESS_MESSAGES {
                    eprintln!("bench: {} of {total} judged", all.len());
                }
            }
        }
    }
    Ok(all)
}

fn message(
    folder: &Folder,
    header: Header,
    file: &Path,
    ours: Option<Ours>,
    s: Option<Said>,
    r: Option<Said>,
) -> Message {
    let score = |said: &Option<Said>| said.as_ref().map(|(score, _)| *score);
    Message {
        kind: folder.kind,
        folder: folder.name.clone(),
        file: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        header,
        held_as: ours.as_ref().and_then(|o| o.held_as),
        scores: [ours.map(|o| o.score), score(&s), score(&r)],
        peers_found: [s, r].map(|said| said.map(|(_, rules)| rules).unwrap_or_default()),
    }
}

/// CPU of the embedded judgement of each message, in this process and on one thread: parsing, decoding, every detector.
fn speed(folders: &[Folder]) -> Result<Speed> {
    let (mut all, people) = (Vec::new(), HashMap::new());
    for file in folders.iter().flat_map(|f| &f.files) {
        let raw = std::fs::read(file)?;
        let octets = raw.len();
        let judge = |raw: Vec<u8>| {
            let began = cpu_micros();
            let saved = Saved::read(raw);
            black_box(saved.findings(&saved.recipient_domains(), &people));
            cpu_micros() - began
        };
        if all.is_empty() {
            // what is made once in the life of the process is no message's cost
            judge(raw.clone());
        }
        all.push((octets, judge(raw)));
    }
    Ok(Speed::of(&all))
}

fn cpu_micros() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}
