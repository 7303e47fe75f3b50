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
        ("GET", ["users", user, "messages"]) => list(request, user, None),
        ("GET", ["users", user, "mailFolders"]) => request.tenant(|t| {
            let mailbox = mailbox(t, user)?;
            Ok(Answer::List("users/mailFolders", FOLDERS.iter().map(|f| show_folder(mailbox, f)).collect()))
        }),
        ("GET", ["users", user, "mailFolders", folder]) => {
            let name = well_known(folder)?;
            request.tenant(|t| Ok(Answer::Json(200, show_folder(mailbox(t, user)?, name))))
        }
        ("GET", ["users", user, "mailFolders", folder, "messages"]) => list(request, user, Some(well_known(folder)?)),
        ("GET", ["users", user, "messages", id]) => {
            request.tenant(|t| find(t, user, id).map(|(folder, m)| Answer::Json(200, show(folder, m))))
        }
        ("GET", ["users", user, "messages", id, "$value"]) => {
            request.tenant(|t| find(t, user, id).map(|(_, m)| Answer::Text(m.raw.clone())))
        }
        _ => Err(Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{}'.", path.join("/")))),
    }
}

/// Inbox, junk and sent mail; other folders come with what is done after delivery.
const FOLDERS: [(&str, &str); 3] = [("inbox", "Inbox"), ("junkemail", "Junk Email"), ("sentitems", "Sent Items")];

fn well_known(folder: &str) -> Result<&'static (&'static str, &'static str), Refusal> {
    FOLDERS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(folder) || folder_id(name) == folder)
        .ok_or_else(|| Refusal::new(404, "ErrorItemNotFound", "The specified object was not found in the store."))
}

fn folder_id(name: &str) -> String {
    format!("AQMkAD-{name}")
}

fn show_folder(mailbox: &Mailbox, (name, shown): &(&'static str, &'static str)) -> Value {
    let count = all(mailbox).filter(|(folder, _)| folder == name).count();
    json!({"id": folder_id(name), "displayName": shown, "parentFolderId": folder_id("msgfolderroot"), "childFolderCount": 0, "unreadItemCount": count, "totalItemCount": count, "sizeInBytes": 0, "isHidden": false})
}

/// Newest first, as Outlook shows them.
fn list(request: &Request<'_>, user: &str, folder: Option<&(&str, &str)>) -> Answered {
    request.tenant(|t| {
        let mut hits: Vec<_> = all(mailbox(t, user)?).filter(|(name, _)| folder.is_none_or(|f| f.0 == *name)).collect();
        hits.sort_by_key(|(_, m)| std::cmp::Reverse(m.received));
        Ok(Answer::List("users/messages", hits.into_iter().map(|(folder, m)| show(folder, m)).collect()))
    })
}

fn mailbox<'t>(t: &'t Tenant, key: &str) -> Result<&'t Mailbox, Refusal> {
    let by_id = key.parse().ok().and_then(|id| t.users.by_id(id));
    let user = by_id
        .or_else(|| t.users.by_name(key).filter(|u| u.upn.eq_ignore_ascii_case(key)))
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
    let parsed = parsed.as_ref();
    let subject = parsed.and_then(|p| p.subject());
    let list = |field: Option<mail_parser::AddressList<'_>>| -> Vec<Value> {
        let one = |a: mail_parser::Mailbox<'_>| json!({"emailAddress": {"name": a.name(), "address": a.address()}});
        field.map(|f| f.mailboxes().map(one).collect()).unwrap_or_default()
    };
    let from = list(parsed.and_then(|p| p.from())).into_iter().next();
    let html = parsed.is_some_and(|p| p.html_body().any(|part| part.html_utf8().is_some()));
    let text = parsed.and_then(|p| p.body_text(0)).unwrap_or_default();
    let content = if html { parsed.and_then(|p| p.body_html(0)) } else { None }.unwrap_or_else(|| text.clone());
    let headers: Vec<Value> = parsed.map(|p| p.headers().iter().map(|h| json!({"name": h.raw_name(), "value": String::from_utf8_lossy(h.raw_value()).replace("\r\n", "").trim()})).collect()).unwrap_or_default();
    let at = jiff::Timestamp::from_second(m.received)
        .map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default();
    json!({"@odata.etag": format!("W/\"{}\"", m.id), "id": m.id, "createdDateTime": at, "lastModifiedDateTime": at, "changeKey": m.id, "categories": [],
        "receivedDateTime": at, "sentDateTime": at, "hasAttachments": parsed.is_some_and(|p| p.has_attachments()),
        "internetMessageId": format!("<{}>", m.message_id.trim_matches(['<', '>'])), "subject": subject,
        "bodyPreview": text.chars().take(255).collect::<String>(), "importance": "normal", "parentFolderId": folder_id(folder),
        "isRead": false, "isDraft": false, "body": {"contentType": if html { "html" } else { "text" }, "content": content},
        "sender": from, "from": from, "toRecipients": list(parsed.and_then(|p| p.to())), "ccRecipients": list(parsed.and_then(|p| p.cc())),
        "bccRecipients": [], "replyTo": list(parsed.and_then(|p| p.reply_to())), "flag": {"flagStatus": "notFlagged"},
        "~internetMessageHeaders": headers})
}
