//! Drafts by JSON or MIME, and sending (wire.md 5; Graph "Create message", "sendMail" and "send" pages).

use super::{At, gone, show};
use crate::graph::{Answer, Answered, Refusal};
use crate::mailbox::folders::DRAFTS;
use crate::mailbox::{Item, Mime};
use crate::world::StoredMessage;
use base64::{Engine, engine::general_purpose::STANDARD};
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::raw::Raw;
use serde_json::Value;
use uuid::Uuid;

/// Message flags and delivery time as MAPI properties: the only way to put in a message that is no draft.
const FLAGS: &str = "integer 0x0e07";
const DELIVERED: &str = "systemtime 0x0e06";
/// MSGFLAG_READ and MSGFLAG_UNSENT.
const READ: i64 = 1;
const UNSENT: i64 = 8;

pub fn create(at: &At<'_>, folder: Option<&str>) -> Answered {
    let body = &at.request.body;
    let now = at.now();
    let raw = match body {
        Value::String(base64) => STANDARD.decode(base64.trim()).map_err(|_| {
            Refusal::new(400, "ErrorMimeContentInvalidBase64String", "The MIME content isn't valid base64.")
        })?,
        json => written(json, &at.opened.address)?,
    };
    let property = |wanted: &str| {
        let mut all = body["singleValueExtendedProperties"].as_array().into_iter().flatten();
        let found = all.rfind(|p| p["id"].as_str().is_some_and(|id| id.eq_ignore_ascii_case(wanted)));
        found.and_then(|p| p["value"].as_str().map(str::to_owned))
    };
    let flags = property(FLAGS).and_then(|v| v.parse::<i64>().ok());
    let received = property(DELIVERED).and_then(|v| v.parse::<jiff::Timestamp>().ok()).map_or(now, |t| t.as_second());
    at.on(|m| {
        let folder = folder.map_or(Ok(DRAFTS), |f| at.folder(m, f))?;
        let message = stored(raw, &at.opened.address, received);
        let number = m.add(message, folder, now, |item| {
            item.is_draft = flags.is_none_or(|f| f & UNSENT != 0);
            item.is_read = flags.map_or(item.is_draft, |f| f & READ != 0);
            item.is_read = body["isRead"].as_bool().unwrap_or(item.is_read);
            if let Some(list) = body["categories"].as_array() {
                item.categories = list.iter().filter_map(|c| c.as_str().map(str::to_owned)).collect();
            }
            if let Some(flag) = body["flag"]["flagStatus"].as_str() {
                item.flag = flag.to_owned();
            }
        });
        m.item(number).map(|item| Answer::Json(201, at.shown(item))).ok_or_else(gone)
    })
}

fn stored(raw: Vec<u8>, address: &str, received: i64) -> StoredMessage {
    let message_id = crate::transport::field(&raw, "Message-ID").unwrap_or_default();
    StoredMessage {
        id: Uuid::new_v4().simple().to_string(),
        received,
        sender: address.to_owned(),
        recipient: address.to_owned(),
        message_id,
        mime: Mime::new(raw),
    }
}

fn addresses(list: &Value) -> Vec<(String, String)> {
    let one = |r: &Value| {
        let text = |key: &str| r["emailAddress"][key].as_str().unwrap_or_default().to_owned();
        (text("name"), text("address"))
    };
    let all = list.as_array().into_iter().flatten().map(one);
    all.filter(|(_, address)| address.contains('@')).collect()
}

fn field(list: &Value) -> Option<Address<'static>> {
    let all = addresses(list);
    let one = |(name, address): (String, String)| {
        if name.is_empty() { Address::from(address) } else { Address::from((name, address)) }
    };
    (!all.is_empty()).then(|| Address::new_list(all.into_iter().map(one).collect()))
}

/// The MIME of a message that came as JSON.
fn written(json: &Value, address: &str) -> Result<Vec<u8>, Refusal> {
    let domain = address.rsplit('@').next().unwrap_or_default();
    let message_id = json["internetMessageId"].as_str().map(|id| id.trim_matches(['<', '>']).to_owned());
    let mut mail = MessageBuilder::new()
        .message_id(message_id.unwrap_or_else(|| format!("{}@{domain}", Uuid::new_v4())))
        .subject(json["subject"].as_str().unwrap_or_default().to_owned());
    let from = &json["from"]["emailAddress"];
    let from_address = from["address"].as_str().unwrap_or(address).to_owned();
    mail = match from["name"].as_str() {
        Some(name) => mail.from((name.to_owned(), from_address)),
        None => mail.from(from_address),
    };
    type Set = fn(MessageBuilder<'static>, Address<'static>) -> MessageBuilder<'static>;
    let fields: [(&str, Set); 4] = [
        ("toRecipients", |m, a| m.to(a)),
        ("ccRecipients", |m, a| m.cc(a)),
        ("bccRecipients", |m, a| m.bcc(a)),
        ("replyTo", |m, a| m.reply_to(a)),
    ];
    for (key, set) in fields {
        if let Some(list) = field(&json[key]) {
            mail = set(mail, list);
        }
    }
    for header in json["internetMessageHeaders"].as_array().into_iter().flatten() {
        let (name, value) = (header["name"].as_str().unwrap_or_default(), header["value"].as_str().unwrap_or_default());
        if !name.to_ascii_lowercase().starts_with("x-") {
            return Err(Refusal::new(
                400,
                "InvalidInternetMessageHeader",
                format!("The internet message header name '{name}' should start with 'x-' or 'X-'."),
            ));
        }
        mail = mail.header(name.to_owned(), Raw::new(value.to_owned()));
    }
    let content = json["body"]["content"].as_str().unwrap_or_default().to_owned();
    mail = match json["body"]["contentType"].as_str() {
        Some(kind) if kind.eq_ignore_ascii_case("html") => mail.html_body(content),
        _ => mail.text_body(content),
    };
    for a in json["attachments"].as_array().into_iter().flatten() {
        let bytes = STANDARD.decode(a["contentBytes"].as_str().unwrap_or_default()).unwrap_or_default();
        let kind = a["contentType"].as_str().unwrap_or("application/octet-stream").to_owned();
        mail = mail.attachment(kind, a["name"].as_str().unwrap_or("attachment").to_owned(), bytes);
    }
    mail.write_to_vec().map_err(|e| Refusal::bad(format!("The message can't be written: {e}")))
}

/// A draft with other words: what is not given stays as it was.
pub fn rewritten(item: &Item, change: &Value) -> Result<StoredMessage, Refusal> {
    let how = show::How { whole: true, immutable: false };
    let mut json = show::message(Uuid::nil(), item, how, None);
    for (key, value) in change.as_object().into_iter().flatten() {
        json[key] = value.clone();
    }
    json["attachments"] = show::attachments(Uuid::nil(), item, true).into();
    let raw = written(&json, &item.message.sender)?;
    Ok(stored(raw, &item.message.sender, item.message.received))
}

fn deliver(at: &At<'_>, raw: Vec<u8>, keep: bool) -> Answered {
    let mime = Mime::new(raw);
    let d = mime.digest();
    let all = d.to.iter().chain(&d.cc).chain(&d.bcc);
    let to: Vec<String> = all.filter_map(|r| r["emailAddress"]["address"].as_str().map(str::to_owned)).collect();
    if to.is_empty() {
        return Err(Refusal::new(400, "ErrorInvalidRecipients", "At least one recipient is not valid."));
    }
    // nobody sees who got a blind copy
    let seen = crate::transport::without_field(mime.raw(), "Bcc");
    let (tenant, from) = (at.request.caller.tenant.to_string(), at.opened.address.clone());
    at.request.door.transport.submit_kept(&tenant, &from, to, seen, keep).map_err(Refusal::bad)?;
    Ok(Answer::Accepted)
}

pub async fn send_mail(at: &At<'_>) -> Answered {
    let body = &at.request.body;
    let keep = body["saveToSentItems"].as_bool().unwrap_or(true);
    let raw = match body {
        Value::String(base64) => STANDARD.decode(base64.trim()).map_err(|_| {
            Refusal::new(400, "ErrorMimeContentInvalidBase64String", "The MIME content isn't valid base64.")
        })?,
        json => written(&json["message"], &at.opened.address)?,
    };
    deliver(at, raw, keep)
}

/// A draft goes out and into Sent Items.
pub fn send(at: &At<'_>, id: &str) -> Answered {
    let (number, raw) = at.read(|m, _| {
        let item = at.item(m, id)?;
        if !item.is_draft {
            return Err(Refusal::new(400, "ErrorMessageNotDraft", "Only a draft can be sent."));
        }
        Ok((item.number, item.message.mime.raw().to_vec()))
    })?;
    let answer = deliver(at, raw, true)?;
    at.on(|m| {
        m.remove(number);
        Ok(answer)
    })
}
