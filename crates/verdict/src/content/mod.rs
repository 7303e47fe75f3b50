//! What a reader's program would show of a message or hand on to another program, gathered once for all detectors.

pub mod files;
pub mod html;
pub mod known;
pub mod letters;
pub mod style;
pub mod urls;

use crate::limits;
use crate::wording::Wording;
use files::{File, FileKind};
use html::Page;
use letters::{Odd, Watch};
use mail::{Kind, Part};
use std::sync::OnceLock;
use urls::{Gathered, Place, SeenUrl, Within};

#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Of every HTML part, in their order.
    pub pages: Vec<Page>,
    /// Every web address, wherever it stands, each once for each kind of place.
    pub urls: Vec<SeenUrl>,
    /// What a person reads of the message itself, attachments not opened: HTML's visible text, and text parts that are
    /// no alternative of it.
    pub text: String,
    /// The same in the form in which words are compared, see [`letters::folded`].
    pub folded: String,
    /// What is odd about the letters of it.
    pub odd: Odd,
    /// More links or HTML stood there than were looked at; text that is merely long is cut without a word, its links are
    /// all told.
    pub is_cut: bool,
    /// Attachments, and the files inside them.
    pub files: Vec<File>,
    /// What of the attachments could not be looked into, one sentence each.
    pub unscannable: Vec<String>,
    /// Read when first asked for, by [`crate::Evidence::wording`].
    pub(crate) wording: OnceLock<Wording>,
}

impl Content {
    pub fn of(parts: &[Part<'_>]) -> Content {
        let mut seen = Content::default();
        let mut urls = Gathered::default();
        for part in parts {
            let within = within(part);
            let text = part.text.as_deref().unwrap_or_default();
            if part.kind == Kind::Html {
                let page = Page { is_attachment: part.is_attachment, depth: part.depth, ..html::page(text) };
                addresses_of(&page, within, &mut urls);
                if within == Within::Body {
                    seen.read(&page.text);
                    seen.odd.add(&page.odd);
                }
                seen.is_cut |= page.is_cut;
                seen.pages.push(page);
            } else if matches!(part.content_type.as_str(), "text/calendar" | "application/ics") {
                let entries = unfolded(&String::from_utf8_lossy(&part.decoded));
                // shown as an invitation, whatever the part calls itself
                let within = if part.depth > 0 { Within::Nested } else { Within::Body };
                urls.add_text(&entries, Place::Calendar, within);
            } else if part.kind == Kind::Text {
                urls.add_text(text, Place::Text, within);
                if within == Within::Body && !part.has_html_twin && is_plain(&part.content_type) {
                    seen.read(text);
                    let mut watch = Watch::default();
                    watch.feed(&text[..up_to(text, limits::TEXT_OCTETS_MAX)]);
                    seen.odd.add(&watch.odd());
                }
            }
        }
        let (files, unscannable) = files::gather(parts);
        // text and pages that are parts themselves were read above
        let read = |f: &&File| f.depth == 0 && (f.claimed.starts_with("text/") || f.kind == FileKind::Html);
        for address in files.iter().filter(|f| !read(f)).flat_map(|f| &f.urls) {
            urls.add(address, "", Place::Text, Within::Attachment, false);
        }
        (seen.files, seen.unscannable) = (files, unscannable);
        seen.folded = letters::folded(&seen.text);
        seen.is_cut |= urls.is_cut;
        seen.urls = urls.urls;
        seen
    }

    /// Links of ours are judged as what is behind them: `behind` tells that of one of ours, and nothing of others.
    pub fn see_through(&mut self, behind: impl Fn(&str) -> Option<String>) {
        for link in self.pages.iter_mut().flat_map(|page| &mut page.links) {
            if let Some(inner) = behind(&link.href) {
                link.href = inner;
            }
        }
        self.urls.iter_mut().for_each(|seen| seen.see_through(&behind));
    }

    /// Links that a person may follow, those of attachments and attached messages included.
    pub fn followed(&self) -> impl Iterator<Item = &SeenUrl> {
        self.urls.iter().filter(|u| u.place.is_followed())
    }

    fn read(&mut self, text: &str) {
        let room = limits::TEXT_OCTETS_MAX.saturating_sub(self.text.len());
        let end = up_to(text, room);
        if !self.text.is_empty() && end > 0 {
            self.text.push('\n');
        }
        self.text.push_str(&text[..end]);
    }
}

/// Other kinds of text are offered as files, or are source that another program reads.
fn is_plain(content_type: &str) -> bool {
    matches!(content_type, "text/plain" | "text/enriched" | "text/richtext" | "text/markdown" | "text/" | "text")
}

fn within(part: &Part<'_>) -> Within {
    match part {
        _ if part.depth > 0 => Within::Nested,
        _ if part.is_attachment => Within::Attachment,
        _ => Within::Body,
    }
}

fn addresses_of(page: &Page, within: Within, urls: &mut Gathered) {
    for link in &page.links {
        urls.add(&link.href, &link.text, Place::Link, within, link.is_hidden);
    }
    for form in &page.forms {
        urls.add(&form.action, "", Place::Form, within, false);
    }
    for (all, place) in [(page.refresh.as_slice(), Place::Refresh), (&page.frames[..], Place::Frame)] {
        all.iter().for_each(|href| urls.add(href, "", place, within, false));
    }
    // mail programs make links of what is written out, in HTML too
    urls.add_text(&page.text, Place::Text, within);
    for image in &page.images {
        urls.add(&image.src, &image.alt, Place::Image, within, image.is_hidden);
    }
}

/// A calendar's lines as they were before they were folded and escaped (RFC 5545 §3.1, §3.3.11).
fn unfolded(entries: &str) -> String {
    let lines = entries.replace("\r\n ", "").replace("\r\n\t", "").replace("\n ", "").replace("\n\t", "");
    lines.replace("\\n", "\n").replace("\\N", "\n").replace("\\,", ",").replace("\\;", ";")
}

/// The most octets of `text` that end between letters.
pub(crate) fn up_to(text: &str, octets_max: usize) -> usize {
    let mut end = text.len().min(octets_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fmt::Write;

    /// Everything that is seen of a message, as text.
    fn seen(raw: &str) -> String {
        let raw = raw.replace('\n', "\r\n").into_bytes();
        mail::Message::parse(raw.into()).with_parts(|parts| {
            let content = Content::of(parts);
            let mut out = format!("{:?}\n{:?}\n", content.text, content.folded);
            for u in &content.urls {
                writeln!(out, "{:?} {:?} {} {:?}", u.place, u.within, u.url, u.text).unwrap();
            }
            out
        })
    }

    #[test]
    fn a_message_is_read_once_with_all_its_addresses() {
        let raw = "Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: multipart/alternative; boundary=a\n\n\
            --a\n\nHello http://t.example/1\n--a\nContent-Type: text/html\n\n<p>Héllo</p><a href=http://l.example/>go</a>\
            <img src=http://i.example/p.png>\n--a--\n--m\nContent-Type: text/plain\n\nA footer. www.f.example\n\
            --m\nContent-Type: text/calendar\n\nBEGIN:VCALENDAR\nDESCRIPTION:Join\\nhttps://c.exa\n mple/\\nnow\n\
            --m\nContent-Type: text/html; name=x.html\nContent-Disposition: attachment; filename=x.html\n\n\
            <form action=https://h.example/p><input type=password></form>\n--m\nContent-Type: message/rfc822\n\n\
            Subject: inner\n\nsee http://n.example/\n--m--\n";
        insta::assert_snapshot!(seen(raw), @r#"
        "Héllo\ngo\nA footer. www.f.example"
        "hello go a footer. www.f.example"
        Text Body http://t.example/1 ""
        Link Body http://l.example/ "go"
        Image Body http://i.example/p.png ""
        Text Body https://www.f.example/ ""
        Calendar Body https://c.example/ ""
        Form Attachment https://h.example/p ""
        Text Nested http://n.example/ ""
        "#);
    }

    /// Five megabytes of links, each to another host: seconds in a build without optimisation, and cut.
    #[test]
    fn megabytes_of_links_stay_in_bounds() {
        let html: String = (0..70_000)
            .map(|n| format!("<a href=http://h{n}.paypal-login{n}.test/{n}?u=http://x{n}.test>{n}</a>\n"))
            .collect();
        let raw = format!("From: a@firm.test\r\nContent-Type: text/html\r\n\r\n{html}");
        let message = mail::Message::parse(raw.into_bytes().into());
        let envelope = mail::Envelope::new("a@firm.test", ["grace@contoso.example"]);
        let start = std::time::Instant::now();
        let found = message.with_parts(|parts| {
            crate::inspect(&crate::Evidence {
                direction: tenant::Direction::Inbound,
                envelope: &envelope,
                message: &message,
                parts,
                content: &Content::of(parts),
                classifier: None,
                proofs: &crate::Proofs::default(),
                sender: &crate::Sender::of(&message, &envelope, &crate::Proofs::default()),
                history: &crate::History::default(),
                lists: &crate::Lists::default(),
                vips: &Default::default(),
                own_domains: &[],
                people: &std::collections::HashMap::new(),
            })
        });
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
        assert!(found.iter().any(|f| f.category == crate::Category::Unscannable), "{found:?}");
    }
}
