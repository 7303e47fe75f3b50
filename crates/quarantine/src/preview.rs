//! A held message to look at: what a reader would see of it, and nothing that does anything.

use crate::limits;
use crate::sanitise::{escaped, sanitise};
use bytes::Bytes;
use mail::{Kind, Message, Part};
use serde::Serialize;
use std::fmt::Write;
use store::NewHold;
use verdict::Content;

#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// As the header says.
    pub from: Vec<String>,
    pub reply_to: Vec<String>,
    pub to: Vec<String>,
    pub subject: String,
    /// MAIL FROM.
    pub sender: String,
    /// What is seen of it; hidden text is not.
    pub text: String,
    /// More stood there.
    pub is_cut: bool,
    pub attachments: Vec<Attachment>,
    /// Sanitised; `None`: it has no HTML.
    pub html: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Attachment {
    pub name: String,
    pub content_type: String,
    pub octets: usize,
}

/// A picture that came with the message.
pub(crate) struct Picture<'a> {
    pub content_id: &'a str,
    pub content_type: &'static str,
    pub octets: &'a [u8],
}

/// Loads nothing, runs nothing, sends nothing; pictures are data.
pub(crate) const POLICY_OF_MESSAGES: &str =
    "default-src 'none'; img-src data:; style-src 'none'; script-src 'none'; form-action 'none'; base-uri 'none'";

pub fn preview(hold: &NewHold, body: Bytes) -> Preview {
    let message = Message::parse(body);
    let mailbox = |a: &mail::Address| match a.display.is_empty() {
        true => a.address.clone(),
        false => format!("{} <{}>", a.display, a.address),
    };
    let (text, html, attachments) = message.with_parts(|parts| {
        let content = Content::of(parts);
        (content.text, html(parts, hold.malware), attachments(parts))
    });
    let shown: String = text.chars().take(limits::TEXT_CHARS_MAX).collect();
    Preview {
        from: message.from().iter().map(mailbox).collect(),
        reply_to: message.reply_to().iter().map(mailbox).collect(),
        to: message.shown_recipients().iter().map(mailbox).collect(),
        subject: message.subject().unwrap_or_default(),
        sender: hold.envelope.sender.clone(),
        is_cut: shown.len() < text.len(),
        text: shown,
        attachments,
        html,
    }
}

/// Parts of attached messages are attachments.
fn attachments(parts: &[Part<'_>]) -> Vec<Attachment> {
    let is_one = |p: &&Part<'_>| p.depth == 0 && !p.is_other_reading && p.kind != Kind::Multipart && p.is_attachment;
    let of = |p: &Part<'_>| Attachment {
        name: p.file_name.unwrap_or_default().chars().take(limits::SHOWN_CHARS_MAX).collect(),
        content_type: p.content_type.chars().take(limits::SHOWN_CHARS_MAX).collect(),
        octets: p.decoded.len(),
    };
    parts.iter().filter(is_one).map(of).collect()
}

/// A picture may be what harms: beside malware none is shown.
fn html(parts: &[Part<'_>], malware: bool) -> Option<String> {
    let is_page = |p: &&Part<'_>| p.depth == 0 && p.kind == Kind::Html && !p.is_attachment && !p.is_other_reading;
    let mut pages = parts.iter().filter(is_page).peekable();
    pages.peek()?;
    let pictures: Vec<Picture<'_>> = if malware { Vec::new() } else { parts.iter().filter_map(picture).collect() };
    let all: Vec<String> = pages.map(|p| sanitise(p.text.as_deref().unwrap_or_default(), &pictures)).collect();
    Some(all.join("<hr>"))
}

/// By its first octets, whatever it calls itself.
fn picture<'a>(part: &'a Part<'_>) -> Option<Picture<'a>> {
    let content_type = match &part.decoded[..] {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        _ => return None,
    };
    let content_id = part.content_id?.trim_matches(['<', '>']);
    (part.depth == 0).then_some(Picture { content_id, content_type, octets: &part.decoded })
}

impl Preview {
    /// A whole page, to be opened from a file as well.
    pub fn page(&self) -> String {
        let body = self.html.clone().unwrap_or_else(|| format!("<pre>{}</pre>", escaped(&self.text)));
        format!(
            "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY_OF_MESSAGES}\">\n<meta name=\"referrer\" content=\"no-referrer\">\n<title>Held message</title></head>\n<body>\n{}<hr>\n{body}\n</body></html>\n",
            self.head()
        )
    }

    /// Who, to whom, about what, and what is attached.
    pub(crate) fn head(&self) -> String {
        let mut out = String::from("<table>");
        let mut row = |what: &str, text: &str| {
            if !text.is_empty() {
                let _ = write!(out, "<tr><th>{what}</th><td>{}</td></tr>", escaped(text));
            }
        };
        row("From", &self.from.join(", "));
        row("Sent by", &self.sender);
        row("Answers go to", &self.reply_to.join(", "));
        row("To", &self.to.join(", "));
        row("Subject", &self.subject);
        for a in &self.attachments {
            row("Attachment", &format!("{} ({}, {} octets)", a.name, a.content_type, a.octets));
        }
        out + "</table>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acts::tests::hold;

    #[test]
    fn a_message_is_shown_whole_and_harmless() {
        let raw = "From: \"<script>x</script>\" <eve@evil.example>\r\nReply-To: other@evil.example\r\nTo: anna@contoso.example\r\nSubject: =?utf-8?q?=3Cimg_src=3Dx_onerror=3Dalert(1)=3E?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Pay <a href=https://evil.example/>now</a></p><span style='display:none'>hidden</span><img src=cid:p@x><img src=https://t.example/>\r\n--b\r\nContent-Type: image/svg+xml\r\nContent-ID: <p@x>\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--b\r\nContent-Type: application/pdf; name=\"a<b>.pdf\"\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b--\r\n";
        let mut held = hold(&["anna@contoso.example"]);
        let shown = preview(&held, raw.into());
        insta::assert_snapshot!(shown.page());
        insta::assert_snapshot!(shown.text, @"Pay now");
        held.malware = true;
        assert!(!preview(&held, raw.into()).page().contains("src=\"data:"));
    }
}
