//! Sessions of both roles, without a socket and over real ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authority;
mod client_dialogs;
mod dialog;
mod keeper;
mod loopback;
mod server_dialogs;
