//! The simulated services through their public doors: what they take, what they refuse, what they tell.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod activity;
mod bad_days;
mod batch;
mod directory;
mod door;
mod mail;
mod mail_access;
mod mail_delta;
mod notify;
mod objects;
mod people;
mod roles;
mod trace;
