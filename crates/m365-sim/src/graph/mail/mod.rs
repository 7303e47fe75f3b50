//! Mailboxes as Graph shows them (wire.md 5): messages, folders, attachments, drafts, delta queries.

mod delta;
mod drafts;
mod folders;
mod messages;
pub mod show;
pub use messages::projected;

use super::access::{self, Opened, Right};
use super::{Answer, Answered, Refusal, Request, meter};
use crate::mailbox::ids::{self, ItemId};
use crate::mailbox::{FolderId, Item, Mailbox, folders as known};
use crate::world::Tenant;
use serde_json::{Value, json};

/// What of a user is served here.
pub const SEGMENTS: [&str; 4] = ["messages", "mailFolders", "sendMail", "translateExchangeIds"];

pub async fn route(request: &Request<'_>) -> Answered {
    let user = request.path[1].clone();
    let path: Vec<&str> = request.path.iter().skip(2).map(String::as_str).collect();
    let method = request.method.as_str();
    let right = match (method, path.as_slice()) {
        (_, ["sendMail"]) | ("POST", [.., "send"]) => Right::Send,
        ("GET", [.., "$value" | "attachments"]) | ("GET", [.., "attachments", _]) => Right::Read,
        ("GET", _) | (_, ["translateExchangeIds"]) => Right::Basic,
        _ => Right::Write,
    };
    let opened = request.tenant(|t| access::open(t, &request.caller, &user, right, request.now()))?;
    let _slot = meter::enter(&request.door.world, request.caller.app_id, opened.user).await?;
    let at = At { request, opened: &opened };
    // `/mailFolders/{f}/messages/{m}/…` means the message, wherever it is
    let path = match path.as_slice() {
        ["mailFolders", folder, "messages", id, rest @ ..] if *id != "delta" => {
            at.read(|m, _| at.folder(m, folder).map(drop))?;
            [&["messages", id], rest].concat()
        }
        ["mailFolders", _, "childFolders", folder, rest @ ..] => [&["mailFolders", folder], rest].concat(),
        other => other.to_vec(),
    };
    match (method, path.as_slice()) {
        ("GET", ["messages"]) => messages::list(&at, None),
        ("POST", ["messages"]) => drafts::create(&at, None),
        ("GET", ["mailFolders", folder, "messages"]) => messages::list(&at, Some(folder)),
        ("POST", ["mailFolders", folder, "messages"]) => drafts::create(&at, Some(folder)),
        ("GET", ["mailFolders", folder, "messages", "delta"]) => delta::messages(&at, folder),
        ("GET", ["mailFolders", "delta"]) => delta::folders(&at),
        (_, ["messages", id, rest @ ..]) => messages::one(&at, id, rest).await,
        (_, ["mailFolders", rest @ ..]) => folders::route(&at, rest),
        ("POST", ["sendMail"]) => drafts::send_mail(&at).await,
        ("POST", ["translateExchangeIds"]) => translate(&at),
        _ => Err(unknown(&path)),
    }
}

fn unknown(path: &[&str]) -> Refusal {
    Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{}'.", path.join("/")))
}

pub fn gone() -> Refusal {
    Refusal::new(
        404,
        "ErrorItemNotFound",
        "The specified object was not found in the store., The process failed to get the correct properties.",
    )
}

fn malformed() -> Refusal {
    Refusal::new(400, "ErrorInvalidIdMalformed", "Id is malformed.")
}

/// A request at a mailbox that it may open.
struct At<'a> {
    request: &'a Request<'a>,
    opened: &'a Opened,
}

impl At<'_> {
    /// Works on the mailbox under the lock.
    fn on<T>(&self, work: impl FnOnce(&mut Mailbox) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.request.tenant(|t| work(self.opened.mailbox(t)?))
    }
    fn read<T>(&self, work: impl FnOnce(&Mailbox, &Tenant) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.request.tenant(|t| {
            let t: &Tenant = t;
            work(t.mailboxes.get(&self.opened.address).ok_or_else(gone)?, t)
        })
    }
    fn now(&self) -> i64 {
        self.request.now()
    }
    /// Whether Purges are `hidden`, `readable` or `movable` (Q61).
    fn purges(&self) -> String {
        self.request.switches.graph_purges.clone()
    }
    /// The folder that a name or an id means.
    fn folder(&self, m: &Mailbox, key: &str) -> Result<FolderId, Refusal> {
        let id = match known::by_name(key) {
            Some(folder) => folder.id,
            None => {
                let (user, id) = ids::read_folder(key).ok_or_else(malformed)?;
                m.folder(id).filter(|_| user == m.user()).map(|f| f.id).ok_or_else(gone)?
            }
        };
        Ok(id)
    }
    /// The item that an id names, where it still has that id.
    fn item<'m>(&self, m: &'m Mailbox, key: &str) -> Result<&'m Item, Refusal> {
        let id = ItemId::read(key).ok_or_else(malformed)?;
        let item = m.item(id.number).filter(|_| id.user == m.user()).ok_or_else(gone)?;
        if id.moves.is_some_and(|moves| moves != item.moves) {
            return Err(gone());
        }
        Ok(item)
    }
    fn shown(&self, item: &Item) -> Value {
        let how = show::How { whole: self.opened.whole, immutable: self.request.immutable() };
        show::message(self.opened.user, item, how, self.request.query.get("$select").map(String::as_str))
    }
}

/// From one form of ids into the other (Graph "translateExchangeIds" page); REST ids only.
fn translate(at: &At<'_>) -> Answered {
    let body = &at.request.body;
    let fixed = match body["targetIdType"].as_str() {
        Some("restId") => false,
        Some("restImmutableEntryId") => true,
        _ => return Err(Refusal::bad("Only restId and restImmutableEntryId are translated by the simulator.")),
    };
    at.read(|m, _| {
        let inputs = body["inputIds"].as_array().cloned().unwrap_or_default();
        let rows = inputs.iter().filter_map(Value::as_str).map(|source| match at.item(m, source) {
            Ok(item) => {
                let id = ItemId { user: m.user(), number: item.number, moves: (!fixed).then_some(item.moves) };
                json!({"sourceId": source, "targetId": id.text()})
            }
            Err(refusal) => {
                json!({"sourceId": source, "errorDetails": {"code": refusal.code, "message": refusal.message}})
            }
        });
        Ok(Answer::List("Collection(microsoft.graph.convertIdResult)", rows.collect()))
    })
}
