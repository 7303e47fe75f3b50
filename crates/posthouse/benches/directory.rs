//! The first reading of a large directory, by the real binary against the simulator, each a process of its own: how
//! long, how much memory, and what a kill in the middle costs. Linux only: the peak is read from /proc.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
#[path = "../src/demo/door.rs"]
mod door;
#[allow(dead_code)]
#[path = "../tests/world/harness.rs"]
mod harness;

use harness::World;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const USERS: u64 = 50_000;
const GROUPS: u64 = 5_000;
const MEMBERS_MAX: u64 = 5_000;
const KILLED_AT: &str = "25,000 users";

/// Peak of resident memory in MiB, while the process lives.
fn peak(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}

struct Run {
    ok: bool,
    wall: Duration,
    peak_mib: f64,
    /// When each event came, and its text.
    events: Vec<(Duration, String)>,
}

impl Run {
    fn at(&self, text: &str) -> Duration {
        let found = self.events.iter().find(|(_, said)| said.contains(text));
        found.unwrap_or_else(|| panic!("no event says {text}: {:?}", self.events)).0
    }
    fn between(&self, from: &str, to: &str) -> f64 {
        (self.at(to) - self.at(from)).as_secs_f64()
    }
}

/// Runs to the end, or to the first event with the text at which it is killed.
async fn run(world: &World, args: &[&str], kill_at: Option<&str>) -> Run {
    let began = Instant::now();
    let mut command = world.command(&[&["--json"], args].concat());
    let mut child: Child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (pid, out) = (child.id(), BufReader::new(child.stdout.take().unwrap()));
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let reader = std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let _ = send.send((began.elapsed(), line));
        }
    });
    let watcher = std::thread::spawn(move || {
        let mut highest: f64 = 0.0;
        while let Some(now) = peak(pid) {
            highest = highest.max(now);
            std::thread::sleep(Duration::from_millis(5)); // between two looks at a figure that only grows
        }
        highest
    });
    let admin = &world.endpoints["tenants"][0]["admin"];
    let (user, password) = (admin["user"].as_str().unwrap(), admin["password"].as_str().unwrap());
    let mut events = Vec::new();
    while let Some((at, line)) = receive.recv().await {
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(code) = event["user_code"].as_str() {
            world.approve(code, user, password).await;
        }
        let text = event["text"].as_str().unwrap_or(&line).to_owned();
        if kill_at.is_some_and(|k| text.contains(k)) {
            child.kill().unwrap();
        }
        events.push((at, text));
    }
    reader.join().unwrap();
    // a process that ended is watched until it is waited for: its figures are gone, the thread ends
    let ok = child.wait().unwrap().success();
    let wall = began.elapsed();
    Run { ok, wall, peak_mib: watcher.join().unwrap(), events }
}

async fn large_world() -> World {
    let world = World::start().await;
    let seed = json!({"users": USERS, "groups": GROUPS, "members_max": MEMBERS_MAX, "nested": 500});
    world.door.post(&format!("/tenants/{}/seed", world.tenant_id(0)), seed).await.unwrap();
    world.door.patch("/switches", json!({"exo_paging": "followable"})).await.unwrap();
    world
}

async fn pages(world: &World) -> HashMap<String, usize> {
    let pages = world.door.get(&format!("/tenants/{}/delta", world.tenant_id(0)), &[]).await.unwrap();
    let mut times = HashMap::new();
    for page in pages.as_array().unwrap().iter().filter(|p| p["from"] == 0) {
        *times.entry(format!("{} {} {}", page["set"], page["at"], page["member"])).or_default() += 1;
    }
    times
}

const FIRST: &str = "reading users and groups";
const READ: &str = "of them with a mail address";
const ASKED: &str = "Graph and Exchange take the application";
const CONFIRMED: &str = "Exchange confirms";

fn counts(world: &World) -> Value {
    world.json(&["directory", "contoso"])["counts"].clone()
}

#[tokio::main]
async fn main() {
    let world = World::start().await;
    let small = run(&world, &["tenant", "connect", "--yes"], None).await;
    assert!(small.ok, "{:?}", small.events);
    println!("40 users, everything       {:>6.1} s, peak {:.0} MiB", small.wall.as_secs_f64(), small.peak_mib);
    println!("gateway, their names                peak {:.0} MiB", peak(world.gateway.id()).unwrap_or_default());
    drop(world);

    let world = large_world().await;
    let whole = run(&world, &["tenant", "connect", "--yes"], None).await;
    assert!(whole.ok, "{:?}", whole.events);
    let expected = counts(&world);
    println!("users and groups, whole    {:>6.1} s", whole.between(FIRST, READ));
    println!("mailboxes, whole           {:>6.1} s", whole.between(ASKED, CONFIRMED));
    println!("connect, everything        {:>6.1} s, peak {:.0} MiB", whole.wall.as_secs_f64(), whole.peak_mib);
    println!("pages of users and groups  {:>6}", pages(&world).await.len());
    println!("gateway, names of them all          peak {:.0} MiB", peak(world.gateway.id()).unwrap_or_default());
    let again = run(&world, &["directory", "sync", "contoso"], None).await;
    assert!(again.ok, "{:?}", again.events);
    println!("nothing changed            {:>6.1} s", again.between("reading what changed", READ));
    println!("  with all mailboxes again {:>6.1} s, peak {:.0} MiB", again.wall.as_secs_f64(), again.peak_mib);
    // Q5: some answers of Exchange are not paged at all, whatever page size is asked for
    world.door.patch("/switches", json!({"exo_paging": "complete"})).await.unwrap();
    let unpaged = run(&world, &["directory", "sync", "contoso"], None).await;
    assert!(unpaged.ok, "{:?}", unpaged.events);
    println!("  with them in one answer  {:>6.1} s, peak {:.0} MiB", unpaged.wall.as_secs_f64(), unpaged.peak_mib);
    println!("{expected}");
    drop(world);

    let world = large_world().await;
    let killed = run(&world, &["tenant", "connect", "--yes"], Some(KILLED_AT)).await;
    assert!(!killed.ok);
    println!("killed at {KILLED_AT}     {:>6.1} s, peak {:.0} MiB", killed.wall.as_secs_f64(), killed.peak_mib);
    let rest = run(&world, &["tenant", "connect", "--yes"], None).await;
    assert!(rest.ok, "{:?}", rest.events);
    println!("users and groups, the rest {:>6.1} s", rest.between("going on with users and groups", READ));
    println!("connect, everything        {:>6.1} s, peak {:.0} MiB", rest.wall.as_secs_f64(), rest.peak_mib);
    let twice = pages(&world).await.values().filter(|n| **n > 1).count();
    println!("pages read twice           {twice:>6}");
    assert_eq!(counts(&world), expected, "a directory that was read in two parts differs");
}
