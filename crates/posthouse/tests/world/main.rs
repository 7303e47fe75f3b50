//! The world: the simulator, a real gateway process and the real command line, with faults; checkers after each run.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
#[path = "../../src/demo/door.rs"]
mod door;
mod harness;

mod bad_mail;
mod directory;
mod edits;
mod engines;
mod kills;
mod ledger;
mod lifecycle;
mod links;
mod loop_guard;
mod notices;
mod observe;
mod policy;
mod preview;
mod promises;
mod quarantine;
mod renewal;
mod returns;
mod rules;
mod simulator;
mod status;
mod store_faults;
mod tamper;
mod trust;
mod watch;
mod watch_feed;
mod watch_trouble;
mod watchdog;
mod watched;
