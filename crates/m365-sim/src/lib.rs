//! A simulated Microsoft 365: sign-in, Graph, Exchange admin API, mail transport, mailboxes, DNS, an Internet.
//!
//! Shares no type with the product (law 12) and is driven only through its public doors:
//! HTTPS as Microsoft speaks it, SMTP, DNS, and the control door (plain HTTP on loopback).
//! Each behaviour is recorded, documented or assumed; the uncertain ones are [`switches::Switches`].

// a refusal is a whole HTTP response; boxing it would save nothing that counts here
#![allow(clippy::result_large_err)]

pub mod activity;
pub mod audit;
pub mod clock;
pub mod control;
mod crowd;
pub mod dns;
pub mod entra;
pub mod exchange;
mod export;
pub mod graph;
mod habits;
mod history;
mod limits;
pub mod mailbox;
pub mod notify;
pub mod people;
pub mod pki;
pub mod roll;
pub mod seed;
pub mod server;
pub mod switches;
pub mod transport;
mod trouble;
pub mod world;

pub use server::{Endpoints, Options, Simulator};
