//! Mailboxes as Graph shows them (wire.md 5): find, read, headers.

use super::{Answer, Answered, Refusal, Request};
use crate::world::{Mailbox, StoredMessage, Tenant};
use serde_json::{Value, json};

pub fn route(request: &Request<'_>) -> Answered {
    if !request.caller.may(&["Mail.Read", "Mail.ReadWrite", "Mail.ReadBasic.All"]) {
        return Err(Refusal::new(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again."));
    }
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["users", user, "messages"]) => {
            let wanted = request.filter_eq("internetMessageId");
            request.tenant(|t| {
                let list = all(mailbox(t, user)?).filter(|(_, m)| {
                    wanted.as_ref().is_none_or(|w| m.message_id.trim_matches(['<', '>']) == w.trim_matches(['<', '>']))
                });
                Ok(Answer::List("users/messages", list.map(|(folder, m)| show(folder, m)).collect()))
            })
        }
        ("GET", ["users", user, "messages", id]) => {
            request.tenant(|t| find(t, user, id).map(|(folder, m)| Answer::Json(200, show(folder, m))))
        }
        ("GET", ["users", user, "messages", id, "$value"]) => {
            request.tenant(|t| find(t, user, id).map(|(_, m)| Answer::Text(m.raw.clone())))
        }
        _ => Err(Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{}'.", path.join("/")))),
    }
}

fn mailbox<'t>(t: &'t Tenant, key: &str) -> Result<&'t Mailbox, Refusal> {
    let user = t
        .users
        .iter()
        .find(|u| u.id.to_string() == key || u.upn.eq_ignore_ascii_case(key))
        .ok_or_else(|| Refusal::new(404, "ErrorInvalidUser", format!("The requested user '{key}' is invalid.")))?;
    let address = user.addresses.first().filter(|_| !user.mailbox_type.is_empty());
    address.and_then(|a| t.mailboxes.get(a)).ok_or_else(|| {
        Refusal::new(
            404,
            "MailboxNotEnabledForRESTAPI",
            "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
        )
    })
}

fn all(m: &Mailbox) -> impl Iterator<Item = (&'static str, &StoredMessage)> {
    let folders = [("inbox", &m.inbox), ("junkemail", &m.junk), ("sentitems", &m.sent)];
    folders.into_iter().flat_map(|(name, list)| list.iter().map(move |m| (name, m)))
}

fn find<'t>(t: &'t Tenant, user: &str, id: &str) -> Result<(&'static str, &'t StoredMessage), Refusal> {
    all(mailbox(t, user)?).find(|(_, m)| m.id == id).ok_or_else(|| {
        Refusal::new(
            404,
            "ErrorItemNotFound",
            "The specified object was not found in the store., The process failed to get the correct properties.",
        )
    })
}

fn show(folder: &str, m: &StoredMessage) -> Value {
    let parsed = mail_parser::MessageParser::default().parse(&m.raw[..]);
    let subject = parsed.as_ref().and_then(|p| p.subject().map(str::to_owned));
    let from = parsed
        .as_ref()
        .and_then(|p| p.from())
        .and_then(|f| f.first())
        .map(|a| json!({"emailAddress": {"name": a.name(), "address": a.address()}}));
    let headers: Vec<Value> = parsed.as_ref().map(|p| p.headers().iter().map(|h| json!({"name": h.raw_name(), "value": String::from_utf8_lossy(h.raw_value()).replace("\r\n", "").trim()})).collect()).unwrap_or_default();
    let at = jiff::Timestamp::from_second(m.received)
        .map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default();
    json!({"@odata.etag": format!("W/\"{}\"", m.id), "id": m.id, "receivedDateTime": at, "sentDateTime": at, "internetMessageId": m.message_id, "subject": subject, "parentFolderId": folder, "isRead": false, "isDraft": false, "from": from, "sender": from, "~internetMessageHeaders": headers})
}
