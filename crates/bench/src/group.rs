//! The processes of one system under test: started in a process group of their own, measured alone, always ended.

use anyhow::{Context, Result, bail};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// USER_HZ of Linux, the unit of times in /proc.
pub const TICKS_A_SECOND: f64 = 100.0;
/// Between two looks at memory: each walks the page tables of every process.
const MEMORY_LOOK: Duration = Duration::from_millis(250);
/// A mail server that is asked to end and does not is killed.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Process groups that are to be ended when somebody interrupts us.
static LIVING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn living() -> std::sync::MutexGuard<'static, Vec<u32>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For whoever ends us before we are done.
pub fn kill_all() {
    living().iter().for_each(|leader| signal("KILL", *leader));
}

fn signal(name: &str, leader: u32) {
    let _ = Command::new("kill").args(["-s", name, "--", &format!("-{leader}")]).stderr(Stdio::null()).status();
}

/// A program and whatever it starts.
pub struct Group {
    name: String,
    child: Child,
}

impl Group {
    pub fn start(name: &str, command: &mut Command) -> Result<Group> {
        let child = command.process_group(0).stdin(Stdio::null()).spawn();
        let child = child.with_context(|| format!("{name} could not be started"))?;
        living().push(child.id());
        Ok(Group { name: name.to_owned(), child })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `what` is so; an error when the program ends before, or after two minutes: rspamd compiles its rules first, the demo connects a tenant.
    pub fn wait_for(&mut self, mut what: impl FnMut() -> bool) -> Result<()> {
        let began = Instant::now();
        while !what() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once with {status}; its words are above, or in its log", self.name);
            }
            if began.elapsed() > Duration::from_secs(120) {
                bail!("{} did not come up within two minutes", self.name);
            }
            std::thread::sleep(Duration::from_millis(10)); // between two looks at another process
        }
        Ok(())
    }

    /// Asks it to end, and sees to it.
    pub fn end(&mut self) {
        let leader = self.child.id();
        if let Ok(None) = self.child.try_wait() {
            let _ = Command::new("kill").args(["-s", "TERM", &leader.to_string()]).status();
            let began = Instant::now();
            while let (Ok(None), true) = (self.child.try_wait(), began.elapsed() < END_PATIENCE) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        signal("KILL", leader);
        let _ = self.child.wait();
        living().retain(|l| *l != leader);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// One line of /proc/PID/stat, as far as we need it (proc(5)).
struct Stat {
    parent: u32,
    /// Its own, and that of its children who ended.
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name stands in parentheses and may hold anything
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<u64>().ok());
    let ticks = [14, 15, 16, 17].into_iter().map(number).sum::<Option<u64>>()?;
    Some(Stat { parent: u32::try_from(number(4)?).ok()?, ticks })
}

/// The processes below those `leaders`, themselves included.
fn family(leaders: &[u32]) -> HashMap<u32, u64> {
    let all: HashMap<u32, Stat> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    let mut inside: HashSet<u32> = leaders.iter().copied().collect();
    loop {
        let more: Vec<u32> =
            all.iter().filter(|(p, s)| inside.contains(&s.parent) && !inside.contains(p)).map(|(p, _)| *p).collect();
        if more.is_empty() {
            break;
        }
        inside.extend(more);
    }
    all.into_iter().filter(|(pid, _)| inside.contains(pid)).map(|(pid, s)| (pid, s.ticks)).collect()
}

/// Seconds of CPU that these groups have used so far, user and system, ended children included.
pub fn cpu_seconds(leaders: &[u32]) -> f64 {
    family(leaders).values().sum::<u64>() as f64 / TICKS_A_SECOND
}

/// Proportional set size in octets: what is shared with other processes is counted in parts.
pub fn memory_octets(leaders: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find(|l| l.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    family(leaders).keys().filter_map(of).sum()
}

/// Busy and all ticks of the machine.
pub fn machine_ticks() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    // guest time, the last two, is in user time already
    let ticks: Vec<f64> = line.split_whitespace().skip(1).take(8).filter_map(|t| t.parse().ok()).collect();
    let all: f64 = ticks.iter().sum();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    (all - idle, all)
}

pub fn own_cpu_seconds() -> f64 {
    stat(std::process::id()).map_or(0.0, |s| s.ticks as f64) / TICKS_A_SECOND
}

/// Looks at the memory of a system until dropped.
pub struct Peak {
    octets: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Peak {
    pub fn watch(leaders: Vec<u32>) -> Peak {
        let (octets, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (highest, stop) = (octets.clone(), ended.clone());
        let thread = std::thread::spawn(move || {
            while !stop.load(Relaxed) {
                highest.fetch_max(memory_octets(&leaders), Relaxed);
                std::thread::park_timeout(MEMORY_LOOK);
            }
        });
        Peak { octets, ended, thread: Some(thread) }
    }

    pub fn octets(mut self) -> u64 {
        self.stop();
        self.octets.load(Relaxed)
    }

    fn stop(&mut self) {
        self.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_time_of_children_counts_while_they_live_and_after() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 60 & sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; wait"]);
        let mut group = Group::start("sh", &mut shell).unwrap();
        let leader = [group.id()];
        group.wait_for(|| cpu_seconds(&leader) > 0.05).unwrap();
        assert!(memory_octets(&leader) > 100_000);
        let sleeping: Vec<u32> = family(&leader).into_keys().collect();
        group.end();
        assert!(sleeping.iter().all(|pid| stat(*pid).is_none() || !leader.contains(&stat(*pid).unwrap().parent)));
        assert!(family(&leader).is_empty());
    }
}
