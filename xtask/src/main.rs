//! Automation: what the README promises, as commands. Everything else calls these.

use std::env;
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

/// mail-parser declares a newer Rust than it needs (docs/decisions/0001-mail-parser-rust-version.md).
const CARGO_FLAG: &str = "--ignore-rust-version";

/// What crates/engines is tried with, and the package that has it.
const SCANNERS: [(&str, &str); 2] = [("/usr/sbin/clamd", "clamav-daemon"), ("/usr/bin/rspamd", "rspamd")];

const USAGE: &str = "usage: cargo xtask COMMAND

  demo [--exit] [--mail DIR] [--report FILE]   build the release binary and run its demo
  test [ARGS]                                  run every test; installs what a test needs and is missing
  lint                                         format, clippy with warnings denied
  bench [journey|directory]                    the benchmarks of docs/performance.md; without a name the journey
  bench peers [--quick] [--write]              Posthouse beside Postfix and Rspamd on the same work
  bench growth [--quick] [--write]             as messages, sessions and the journal grow
  bench instructions [--write]                 of one message, by callgrind, against what cannot be avoided
  bench memory [--write]                       many large messages at the same time
  bench loss [--quick] [--seed N] [--one-by-one]  nothing is lost under kills, full disks and broken connections
  bench detect --phish DIR --ham DIR [--ham DIR…] [--spam DIR] [--sample N] [--write] [--json]
                                               what is caught at which price, beside SpamAssassin and Rspamd
  bench edits --mail DIR                       real mail before and after edits, as two other parsers read it
  bench conformance                            the published suites of docs/standards.md
  fuzz [parse|edit|server|message|client] [--seconds N] [--seed N]
                                               properties of parsers and sessions on random cases; without a name each
";

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match command.as_str() {
        "demo" => demo(&rest),
        "test" => test(&rest),
        "lint" => lint(),
        "bench" => bench(&rest),
        "fuzz" => fuzz(&rest),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: &[String]) -> Result<(), String> {
    have_c_compiler()?;
    for scanner in SCANNERS {
        if let Err(why) = have_program(scanner.0, scanner.1) {
            eprintln!("the demo goes on without outside scanners: {why}");
        }
    }
    cargo(&["build", "--release", CARGO_FLAG, "--package", "posthouse"], &[])?;
    let target = env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    run(Command::new(format!("{target}/release/posthouse")).arg("demo").args(args))
}

fn test(args: &[String]) -> Result<(), String> {
    have_c_compiler()?;
    have_dkimpy()?;
    for (program, package) in SCANNERS {
        have_program(program, package)?;
    }
    cargo(&["test", "--workspace", CARGO_FLAG], args)
}

fn lint() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    cargo(&["clippy", "--workspace", "--all-targets", CARGO_FLAG, "--", "--deny", "warnings"], &[])?;
    // what the tests do not build
    cargo(&["clippy", "--package", "posthouse", "--all-features", CARGO_FLAG, "--", "--deny", "warnings"], &[])
}

fn bench(args: &[String]) -> Result<(), String> {
    have_c_compiler()?;
    match args.split_first() {
        Some((name, args)) if name == "directory" => {
            cargo(&["bench", CARGO_FLAG, "--package", "posthouse", "--bench", "directory"], args)
        }
        Some((name, args)) if name == "journey" => journey(args),
        Some((name, more))
            if ["peers", "growth", "instructions", "loss", "memory", "detect"].contains(&name.as_str()) =>
        {
            measured(name, more, args)
        }
        Some((name, args)) if name == "edits" => {
            let [_, folder] =
                args.iter().position(|a| a == "--mail").and_then(|at| args.get(at..at + 2)).unwrap_or(&[])
            else {
                return Err("say where the mail is: cargo xtask bench edits --mail DIR, a folder of .eml files".into());
            };
            have_dkimpy()?;
            let test = ["test", CARGO_FLAG, "--package", "mail", "--test", "real_mail", "--", "--nocapture"];
            run(Command::new(env!("CARGO")).args(test).env("POSTHOUSE_CORPUS", absolute(folder)?))
        }
        Some((name, _)) if name == "conformance" => {
            cargo(&["test", CARGO_FLAG, "--package", "gateway", "--test", "conformance", "--", "--nocapture"], &[])
        }
        _ => journey(args),
    }
}

/// Tests run in the folder of their package.
fn absolute(folder: &str) -> Result<std::path::PathBuf, String> {
    std::fs::canonicalize(folder).map_err(|e| format!("{folder}: {e}"))
}

/// Those of `crates/bench`, which measures the release binary from outside.
fn measured(name: &str, more: &[String], args: &[String]) -> Result<(), String> {
    let system = |wanted: &str| {
        let chosen: Vec<_> = more.windows(2).filter(|w| w[0] == "--system").map(|w| w[1].as_str()).collect();
        chosen.is_empty() || chosen.contains(&wanted)
    };
    if name == "peers" && (system("postfix") || system("postfix-rspamd")) {
        have_program("/usr/sbin/postconf", "postfix")?;
        if system("postfix-rspamd") {
            have_program("/usr/bin/rspamd", "rspamd")?;
        }
    }
    if name == "detect" {
        have_program("/usr/sbin/spamd", "spamd")?;
        have_program("/usr/bin/rspamd", "rspamd")?;
    }
    let mut release = vec!["build", "--release", CARGO_FLAG, "--package", "posthouse", "--package", "bench"];
    if name == "instructions" {
        have_program("valgrind", "valgrind")?;
        // callgrind names functions by their symbols, which the product is shipped without
        release.extend(["--config", "profile.release.package.posthouse.strip=\"none\""]);
    }
    cargo(&release, &[])?;
    let target = env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    let posthouse = format!("{target}/release/posthouse");
    run(Command::new(format!("{target}/release/bench")).args(["--posthouse", &posthouse]).args(args))
}

fn journey(args: &[String]) -> Result<(), String> {
    cargo(&["bench", CARGO_FLAG, "--package", "gateway", "--bench", "journey"], args)
}

/// Package and target of each property.
const FUZZ: [(&str, &str); 5] =
    [("mail", "parse"), ("mail", "edit"), ("smtp", "server"), ("smtp", "message"), ("smtp", "client")];
const FUZZ_SECONDS: u64 = 60;

/// Without --seed a new one each time, printed, so that what fails can be run again.
fn fuzz(args: &[String]) -> Result<(), String> {
    let (mut named, mut seconds, mut seed) = (None, FUZZ_SECONDS, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|n| n.parse().ok()).ok_or(format!("{arg} needs a number"));
        match arg.as_str() {
            "--seconds" => seconds = number()?,
            "--seed" => seed = Some(number()?),
            name if FUZZ.iter().any(|(_, target)| *target == name) => named = Some(name),
            other => return Err(format!("{other} is no target\n\n{USAGE}")),
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let seed = seed.unwrap_or(now);
    println!("seed {seed}");
    for (package, target) in FUZZ.iter().filter(|(_, target)| named.is_none_or(|n| n == *target)) {
        let mut command = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        command.args(["test", "--quiet", CARGO_FLAG, "--package", package, "--test", "fuzz"]);
        command.args(["--", "--exact", target, "--nocapture"]);
        run(command.env("FUZZ_SECONDS", seconds.to_string()).env("FUZZ_SEED", seed.to_string()))?;
    }
    Ok(())
}

/// aws-lc and SQLite are C; nothing else has to be on the machine.
fn have_c_compiler() -> Result<(), String> {
    have_program("cc", "gcc")
}

/// Another implementation verifies what we sign, and another parser reads what we edit (docs/edits.md).
fn have_dkimpy() -> Result<(), String> {
    // Debian's own interpreter, for which the packages are, whatever other one comes first in the path
    let python = env::var("POSTHOUSE_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".into());
    let imports = Command::new(&python).args(["-c", "import dkim, dns, nacl"]).output();
    if imports.is_ok_and(|o| o.status.success()) {
        return Ok(());
    }
    install("dkimpy", &["python3", "python3-dkim", "python3-dnspython", "python3-nacl"])
}

fn have_program(program: &str, package: &str) -> Result<(), String> {
    if Command::new(program).arg("--version").output().is_ok() {
        return Ok(());
    }
    install(program, &[package])
}

/// Installs Debian packages for what is missing, when we may.
fn install(program: &str, packages: &[&str]) -> Result<(), String> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0");
    if !root {
        return Err(format!("`{program}` is needed; install it with: apt-get install {}", packages.join(" ")));
    }
    eprintln!("xtask: `{program}` is missing: installing from Debian: {}", packages.join(" "));
    run(Command::new("apt-get").args(["update", "-q"]))?;
    if packages.contains(&"postfix") {
        // with a configuration of its own it would start and listen on port 25
        let preset = "echo postfix postfix/main_mailer_type select No configuration | debconf-set-selections";
        run(Command::new("sh").args(["-c", preset]))?;
    }
    let mut install = Command::new("apt-get");
    // run level 1: what is installed is not started (invoke-rc.d(8))
    install.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    run(install.args(["install", "-qy", "--no-install-recommends"]).args(packages))
}

fn cargo(args: &[&str], more: &[String]) -> Result<(), String> {
    run(Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into())).args(args).args(more))
}

fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown} ended with {status}")),
        Err(e) => Err(format!("{shown} could not be started: {e}")),
    }
}
