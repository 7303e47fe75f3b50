//! A message as it was stored, once for all who have it, and what lists show of it, read when it is first asked for.

use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// Characters of `bodyPreview` (Graph message resource: the first 255).
const PREVIEW_CHARS: usize = 255;

pub struct Mime {
    raw: Vec<u8>,
    digest: OnceLock<Digest>,
}

/// What is shown of a message without its body.
pub struct Digest {
    pub subject: Option<String>,
    pub preview: String,
    pub from: Value,
    pub sender: Value,
    pub to: Vec<Value>,
    pub cc: Vec<Value>,
    pub bcc: Vec<Value>,
    pub reply_to: Vec<Value>,
    pub has_attachments: bool,
    pub importance: &'static str,
    pub sent: Option<i64>,
    /// Message-IDs without brackets: those of References, then that of In-Reply-To.
    pub thread: Vec<String>,
}

impl Mime {
    pub fn new(raw: Vec<u8>) -> Arc<Mime> {
        Arc::new(Mime { raw, digest: OnceLock::new() })
    }
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }
    pub fn digest(&self) -> &Digest {
        self.digest.get_or_init(|| digest(&self.raw))
    }
}

impl std::fmt::Debug for Mime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mime({} bytes)", self.raw.len())
    }
}

fn digest(raw: &[u8]) -> Digest {
    let parsed = mail_parser::MessageParser::default().parse(raw);
    let parsed = parsed.as_ref();
    let list = |field: Option<mail_parser::AddressList<'_>>| -> Vec<Value> {
        let one = |a: mail_parser::Mailbox<'_>| {
            let name = a.name().or(a.address());
            json!({"emailAddress": {"name": name, "address": a.address()}})
        };
        field.map(|f| f.mailboxes().map(one).collect()).unwrap_or_default()
    };
    let first = |list: Vec<Value>| list.into_iter().next().unwrap_or_default();
    let from = first(list(parsed.and_then(|p| p.from())));
    let sender = first(list(parsed.and_then(|p| p.sender())));
    let text = parsed.and_then(|p| p.body_text(0)).unwrap_or_default();
    let importance = super::header(raw, "Importance").unwrap_or_default().to_lowercase();
    let ids = |name: &str| {
        let field = super::header(raw, name).unwrap_or_default();
        let ids = field.split_whitespace().map(|id| id.trim_matches(['<', '>', ',']).to_owned());
        ids.filter(|id| !id.is_empty()).collect::<Vec<_>>()
    };
    let mut thread = ids("References");
    thread.extend(ids("In-Reply-To").into_iter().take(1));
    Digest {
        subject: parsed.and_then(|p| p.subject()).map(str::to_owned),
        preview: text.chars().take(PREVIEW_CHARS).collect(),
        sender: if sender.is_null() { from.clone() } else { sender },
        from,
        to: list(parsed.and_then(|p| p.to())),
        cc: list(parsed.and_then(|p| p.cc())),
        bcc: list(parsed.and_then(|p| p.bcc())),
        reply_to: list(parsed.and_then(|p| p.reply_to())),
        has_attachments: parsed.is_some_and(|p| p.has_attachments()),
        importance: match importance.as_str() {
            "high" => "high",
            "low" => "low",
            _ => "normal",
        },
        sent: parsed.and_then(|p| p.date()).map(|d| d.to_timestamp()),
        thread,
    }
}

/// The subject without `Re:`, `Fw:` and their like, in small letters; and whether there was one of them.
pub fn topic(subject: &str) -> (String, bool) {
    const PREFIXES: [&str; 6] = ["re:", "fw:", "fwd:", "aw:", "wg:", "sv:"];
    let mut rest = subject.trim().to_lowercase();
    let mut answered = false;
    while let Some(prefix) = PREFIXES.iter().find(|p| rest.starts_with(**p)) {
        rest = rest[prefix.len()..].trim_start().to_owned();
        answered = true;
    }
    (rest, answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_shows_what_a_list_shows() {
        let raw = b"From: Ada <ada@x.example>\r\nTo: b@y.example, Cy <c@z.example>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nImportance: High\r\nReferences: <a@x>\r\n <b@x>\r\nIn-Reply-To: <b@x>\r\nDate: Mon, 02 Mar 2026 08:00:00 +0000\r\n\r\nhello\r\n";
        let mime = Mime::new(raw.to_vec());
        let d = mime.digest();
        assert_eq!(d.subject.as_deref(), Some("Grüße"));
        assert_eq!(d.from["emailAddress"]["name"], "Ada");
        assert_eq!(d.sender, d.from);
        assert_eq!(d.to[0]["emailAddress"], json!({"name": "b@y.example", "address": "b@y.example"}));
        assert_eq!((d.importance, d.sent, d.has_attachments), ("high", Some(1_772_438_400), false));
        assert_eq!(d.thread, ["a@x", "b@x", "b@x"]);
        assert_eq!(topic("Re: FW: Plan"), ("plan".into(), true));
        assert_eq!(topic("Report: x"), ("report: x".into(), false));
    }
}
