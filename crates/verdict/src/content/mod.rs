//! What a reader's program would show of a message or hand on to another program, gathered once for all detectors.

pub mod files;
pub mod html;
pub mod urls;

use files::File;
use html::Page;
use mail::{Kind, Part};

#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Of every HTML part, in their order.
    pub pages: Vec<Page>,
    /// Attachments, and the files inside them.
    pub files: Vec<File>,
    /// What of the attachments could not be looked into, one sentence each.
    pub unscannable: Vec<String>,
}

impl Content {
    pub fn of(parts: &[Part<'_>]) -> Content {
        let html = parts.iter().filter(|p| p.kind == Kind::Html);
        let pages = html.map(|p| html::page(p.text.as_deref().unwrap_or_default())).collect();
        let (files, unscannable) = files::gather(parts);
        Content { pages, files, unscannable }
    }
}
