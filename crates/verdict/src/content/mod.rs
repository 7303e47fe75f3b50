//! What a reader's program would show of a message or hand on to another program, gathered once for all detectors.

pub mod html;
pub mod urls;

use html::Page;
use mail::{Kind, Part};

#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Of every HTML part, in their order.
    pub pages: Vec<Page>,
}

impl Content {
    pub fn of(parts: &[Part<'_>]) -> Content {
        let html = parts.iter().filter(|p| p.kind == Kind::Html);
        Content { pages: html.map(|p| html::page(p.text.as_deref().unwrap_or_default())).collect() }
    }
}
