//! The simulated services through their public doors: what they take, what they refuse, what they tell.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod activity;
mod bad_days;
mod directory;
mod door;
mod objects;
mod roles;
mod trace;
