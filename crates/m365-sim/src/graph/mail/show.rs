//! Messages, folders and attachments as JSON (wire.md 5).

use crate::mailbox::ids::{self, ItemId};
use crate::mailbox::{Folder, Item, Mailbox};
use base64::{Engine, engine::general_purpose::STANDARD};
use mail_parser::MessagePart;
use serde_json::{Value, json};
use uuid::Uuid;

/// How a message is shown to somebody.
#[derive(Clone, Copy)]
pub struct How {
    /// With body and attachments.
    pub whole: bool,
    pub immutable: bool,
}

pub fn date(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

pub fn id(user: Uuid, item: &Item, immutable: bool) -> String {
    ItemId { user, number: item.number, moves: (!immutable).then_some(item.moves) }.text()
}

/// Changes whenever the item does.
fn change_key(item: &Item) -> String {
    let mut key = vec![0, 0, 0, 22];
    key.extend_from_slice(&item.number.to_be_bytes());
    key.extend_from_slice(&item.changed.to_be_bytes());
    STANDARD.encode(key)
}

pub fn etag(item: &Item) -> String {
    format!("W/\"{}\"", change_key(item))
}

/// All that needs no look into the body.
pub fn light(user: Uuid, item: &Item, immutable: bool) -> Value {
    let d = item.message.mime.digest();
    let id = id(user, item, immutable);
    let received = date(item.message.received);
    let message_id = format!("<{}>", item.message.message_id.trim_matches(['<', '>']));
    json!({"@odata.etag": etag(item), "id": id, "createdDateTime": date(item.created), "lastModifiedDateTime": date(item.modified),
        "changeKey": change_key(item), "categories": item.categories, "receivedDateTime": received,
        "sentDateTime": d.sent.map_or(received, date), "hasAttachments": d.has_attachments, "internetMessageId": message_id,
        "subject": d.subject, "bodyPreview": d.preview, "importance": d.importance, "parentFolderId": ids::folder(user, item.folder),
        "conversationId": ids::conversation(user, &item.thread), "conversationIndex": STANDARD.encode([&[1][..], &item.thread].concat()),
        "isDeliveryReceiptRequested": null, "isReadReceiptRequested": false, "isRead": item.is_read, "isDraft": item.is_draft,
        "webLink": format!("https://outlook.office365.com/owa/?ItemID={id}&exvsurl=1&viewmodel=ReadMessageItem"),
        "inferenceClassification": "focused", "sender": d.sender, "from": d.from, "toRecipients": d.to, "ccRecipients": d.cc,
        "bccRecipients": d.bcc, "replyTo": d.reply_to, "flag": {"flagStatus": item.flag}})
}

/// The whole message, or as much as was selected.
pub fn message(user: Uuid, item: &Item, how: How, select: Option<&str>) -> Value {
    let mut row = light(user, item, how.immutable);
    if !how.whole {
        // Mail.ReadBasic: neither the body nor what shows some of it (permissions reference)
        for key in ["bodyPreview", "body", "uniqueBody"] {
            row.as_object_mut().map(|r| r.remove(key));
        }
    }
    let wants = |name: &str| select.is_some_and(|s| s.split(',').any(|w| w.trim() == name));
    if how.whole && (select.is_none() || wants("body") || wants("uniqueBody")) {
        let parsed = mail_parser::MessageParser::default().parse(item.message.mime.raw());
        let parsed = parsed.as_ref();
        let html = parsed.is_some_and(|p| p.html_body().any(|part| part.html_utf8().is_some()));
        let text = parsed.and_then(|p| p.body_text(0));
        let content = if html { parsed.and_then(|p| p.body_html(0)) } else { None }.or(text).unwrap_or_default();
        let body = json!({"contentType": if html { "html" } else { "text" }, "content": content});
        row["~uniqueBody"] = body.clone();
        row["body"] = body;
    }
    if wants("internetMessageHeaders") {
        let fields = crate::transport::all_fields(item.message.mime.raw());
        row["~internetMessageHeaders"] =
            fields.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    }
    row
}

pub fn folder(m: &Mailbox, f: &Folder) -> Value {
    let items: Vec<&Item> = m.in_folder(f.id).collect();
    let size: usize = items.iter().map(|i| i.message.mime.raw().len()).sum();
    let children = m.folders().filter(|c| c.parent == f.id && c.id != f.id && !c.hidden).count();
    json!({"id": ids::folder(m.user(), f.id), "displayName": f.name, "parentFolderId": ids::folder(m.user(), f.parent), "childFolderCount": children,
        "unreadItemCount": items.iter().filter(|i| !i.is_read).count(), "totalItemCount": items.len(), "sizeInBytes": size, "isHidden": f.hidden})
}

/// What is attached, with or without its bytes.
pub fn attachments(user: Uuid, item: &Item, whole: bool) -> Vec<Value> {
    let parsed = mail_parser::MessageParser::default().parse(item.message.mime.raw());
    let Some(parsed) = parsed else { return Vec::new() };
    let all = parsed.attachments().enumerate();
    all.filter_map(|(n, part)| {
        let bytes = bytes(&part);
        let inner = part.is_message();
        let kind = if inner { "#microsoft.graph.itemAttachment" } else { "#microsoft.graph.fileAttachment" };
        let subject = part.nested().and_then(|m| m.subject().map(str::to_owned));
        let name = part.attachment_name().map(str::to_owned).or(subject);
        let inline = part.is_inline();
        let id = ids::attachment(user, item.number, u32::try_from(n).ok()?);
        let content_type = if inner { None } else { Some(content_type(&part)) };
        let mut row = json!({"@odata.type": kind, "@odata.mediaContentType": content_type, "id": id, "lastModifiedDateTime": date(item.modified),
            "name": name, "contentType": content_type, "size": bytes.len(), "isInline": inline && !inner});
        if !inner {
            row["contentId"] = json!(part.content_id());
            row["contentLocation"] = Value::Null;
            if whole {
                row["contentBytes"] = STANDARD.encode(&bytes).into();
            }
        }
        Some(row)
    })
    .collect()
}

/// Content type and bytes of one attachment.
pub fn attached(item: &Item, n: u32) -> Option<(String, Vec<u8>)> {
    let parsed = mail_parser::MessageParser::default().parse(item.message.mime.raw())?;
    let part = parsed.attachments().nth(usize::try_from(n).ok()?)?;
    let kind = if part.is_message() { "text/plain".to_owned() } else { content_type(&part) };
    Some((kind, bytes(&part)))
}

fn bytes(part: &MessagePart<'_>) -> Vec<u8> {
    part.nested().map_or_else(|| part.decoded().into_owned(), |inner| inner.raw().to_vec())
}

fn content_type(part: &MessagePart<'_>) -> String {
    part.content_type().map_or_else(
        || "application/octet-stream".to_owned(),
        |c| format!("{}/{}", c.ctype(), c.subtype().unwrap_or("octet-stream")),
    )
}
