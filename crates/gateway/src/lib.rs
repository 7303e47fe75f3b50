//! The data plane: one function, [`journey`](journey.rs), carries each message from Exchange Online through eight
//! steps and back. Trusts nobody without proof (docs/trust.md), never calls Microsoft's admin APIs, and says yes
//! only when the message is back in Microsoft's hands or durably held.

mod journey;

// the eight steps, in order
mod act;
mod attribute;
mod authenticate;
mod decide;
mod hand_back;
mod inspect;
mod parse;
mod receive;

mod answers;
mod arc;
mod drain;
mod edits;
mod ended;
mod faults;
mod house;
mod judgements;
mod lane;
pub mod limits;
pub mod links;
mod live;
mod log;
mod metrics;
mod notify;
mod records;
mod release;
mod replies;
mod returns;
mod room;
mod scan;
mod serve;
mod status_page;
mod strip;
mod tenants;
mod web;
mod zone;

pub use arc::{ArcKey, ArcSettings};
pub use decide::client;
pub use release::{By, Desk, expires};
pub use serve::{GatewayError, Running, Settings, start};
pub use tenants::{members, people};
pub use web::WebSettings;
