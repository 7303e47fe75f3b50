//! The only crate that speaks to Microsoft's administration: sign-in (Entra), Graph, the Exchange
//! admin API, the activity feed.
//!
//! Trusts Microsoft's certificates and nothing else. Every error says who must act. Tokens live in memory only and
//! never print themselves; base URLs and token scopes are settings of their own, so that an address for rehearsals
//! does not change what a token is good for.

mod activity;
mod clock;
mod cloud;
mod error;
mod exchange;
mod graph;
mod http;
pub mod limits;
mod sign_in;
mod tokens;

pub use activity::Blob;
pub use cloud::{Cloud, Service};
pub use error::{M365Error, Who};
pub use exchange::{Answer, Part, Row};
pub use graph::{Next, Page};
pub use http::Client;
pub use sign_in::{Browser, DeviceCode, PUBLIC_CLIENT, SignedIn};
pub use tokens::{AppIdentity, Claims, Identity};

pub type Result<T> = std::result::Result<T, M365Error>;
