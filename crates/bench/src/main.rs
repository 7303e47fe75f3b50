//! Measures Posthouse beside its peers, its growth, and its instructions. `cargo xtask bench` builds and calls it;
//! docs/performance.md says what the figures mean.
//!
//! One process is generator, sink and name server; what is measured runs in process groups of its own. Speaks SMTP with
//! code of its own, so that a mistake of ours does not agree with itself.

mod board;
mod detect;
mod dns;
mod document;
mod group;
mod growth;
mod instructions;
mod journal;
mod load;
mod loss;
mod memory;
mod message;
mod parts;
mod peers;
mod plot;
mod run;
mod sink;
mod systems;
mod world;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "bench", about = "Measures Posthouse beside its peers")]
struct Cli {
    /// The binary that is measured.
    #[arg(long, global = true, default_value = "target/release/posthouse")]
    posthouse: PathBuf,
    /// In a folder below this the systems keep their files; on a disk, since what they sync is part of the work.
    #[arg(long, global = true, default_value = "/var/tmp")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Posthouse, Postfix, and Postfix with Rspamd, alternately on the same work.
    Peers(peers::Peers),
    /// Throughput and memory as messages, sessions and the journal grow.
    Growth(growth::Growth),
    /// Instructions of a message, by callgrind, against what cannot be avoided.
    Instructions(instructions::Instructions),
    /// Nothing is lost under kills, full disks and connections that break at every verb.
    Loss(loss::Loss),
    /// What many large messages at the same time cost.
    Memory(memory::Memory),
    /// What is caught at which price in false alarms, beside SpamAssassin and Rspamd.
    Detect(detect::Detect),
    #[command(hide = true)]
    Part(parts::OnePart),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let scratch = Scratch(cli.dir.join(format!("posthouse-bench-{}", std::process::id())));
    if let Err(e) = end_with_us(scratch.0.clone()) {
        eprintln!("bench: {e:#}");
        return ExitCode::FAILURE;
    }
    let done = match &cli.command {
        Command::Peers(args) => peers::peers(args, &scratch.0, &cli.posthouse),
        Command::Growth(args) => growth::growth(args, &scratch.0, &cli.posthouse),
        Command::Instructions(args) => instructions::instructions(args, &scratch.0, &cli.posthouse),
        Command::Loss(args) => loss::loss(args, &scratch.0, &cli.posthouse),
        Command::Memory(args) => memory::memory(args, &scratch.0, &cli.posthouse),
        Command::Detect(args) => detect::detect(args, &scratch.0, &cli.posthouse),
        Command::Part(args) => parts::part(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Removed when we end, however that is.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Who interrupts us does not want to look for a mail server afterwards.
fn end_with_us(dir: PathBuf) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            group::kill_all();
            let _ = std::fs::remove_dir_all(&dir);
            std::process::exit(130);
        });
    })?;
    Ok(())
}
