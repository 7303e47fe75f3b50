//! A picture of a message, with a link behind it.

use super::{Detector, whose};
use crate::content::html::Page;
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "image_only",
    title: "Picture instead of text, with a link",
    category: Category::Phishing,
    severity: Severity::Note,
    prose: "HTML mail that says almost nothing in letters and shows a picture that links to a site other than the sender's: 40 points below\n60 letters, 20 below 250. Pictures of a few pixels, which count readers, are no pictures. Shops send such mail too, mostly with a footer.",
    look,
};

const BARE_POINTS: u32 = 40;
const SPARSE_POINTS: u32 = 20;
const BARE_LETTERS: usize = 60;
const SPARSE_LETTERS: usize = 250;
/// A side of a picture that is larger than an icon's, in pixels.
const PICTURE_PX_MIN: u32 = 100;
/// Wider than a logo.
const PICTURE_WIDTH_PX_MIN: u32 = 250;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut pages =
        evidence.content.pages.iter().filter(|p| !p.is_attachment && p.depth == 0 && shows_picture(p)).peekable();
    if pages.peek().is_none() {
        return Vec::new();
    }
    let letters = evidence.content.text.chars().filter(|c| c.is_alphanumeric()).take(SPARSE_LETTERS).count();
    if letters >= SPARSE_LETTERS {
        return Vec::new();
    }
    let claimed = whose::claimed(evidence);
    let found = pages.find_map(|page| {
        let image_links = page.links.iter().filter(|l| l.has_image && !l.is_hidden);
        let foreign = image_links.filter_map(|l| {
            let host = crate::content::urls::host_of_href(&l.href)?;
            let site = crate::content::urls::site(&host);
            (!claimed.contains(&site) && !whose::is_proven(evidence, &site)).then_some((site, l))
        });
        foreign.take(1).next()
    });
    let Some((site, link)) = found else { return Vec::new() };
    let points = if letters < BARE_LETTERS { BARE_POINTS } else { SPARSE_POINTS };
    let summary = format!("a picture stands for the text ({letters} letters) and links to {site}");
    vec![Finding::note(&DETECTOR, points, summary, vec![whose::detail(&link.href)])]
}

/// One that is linked and not known to be small.
fn shows_picture(page: &Page) -> bool {
    page.images.iter().any(|i| {
        i.is_link
            && !i.is_pixel()
            && i.width.is_none_or(|w| w >= PICTURE_WIDTH_PX_MIN)
            && i.height.is_none_or(|h| h >= PICTURE_PX_MIN)
    })
}
