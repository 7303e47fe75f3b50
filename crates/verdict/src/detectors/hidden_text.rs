//! Text that is there for programs and not for people.

use super::Detector;
use crate::{Category, Evidence, Finding, Severity};
use std::collections::HashSet;

pub const DETECTOR: Detector = Detector {
    id: "hidden_text",
    title: "Hidden text beside little that is seen",
    category: Category::Phishing,
    severity: Severity::Note,
    prose: "HTML that hides much text (not displayed, of no size, in the colour of what is behind it) beside little that is seen, when\nmost of its words are seen nowhere (40 points). Preview lines and blocks for small screens, which newsletters hide, are short or say\nthe same again.",
    look,
};

const POINTS: u32 = 40;
/// Letters; preview lines are shorter.
const HIDDEN_MIN: usize = 400;
/// Hidden letters for each that is seen.
const TIMES_SEEN: usize = 2;
/// Of the hidden words, in percent, seen nowhere.
const NEW_PERCENT: usize = 60;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let pages = evidence.content.pages.iter().filter(|p| !p.is_attachment && p.depth == 0);
    let found = pages.filter_map(|page| {
        // of most pages nothing is hidden
        let hidden = Some(letters(&page.hidden)).filter(|hidden| *hidden >= HIDDEN_MIN)?;
        let seen = letters(&page.text);
        if hidden < seen * TIMES_SEEN {
            return None;
        }
        let known: HashSet<&str> = page.text.split_whitespace().collect();
        let (mut all, mut new) = (0, 0);
        for word in page.hidden.split_whitespace() {
            all += 1;
            new += usize::from(!known.contains(word));
        }
        (new * 100 >= all * NEW_PERCENT).then(|| {
            let summary = format!("{hidden} letters are hidden beside {seen} that are seen");
            let start: String = page.hidden.chars().take(120).collect();
            Finding::note(&DETECTOR, POINTS, summary, vec![format!("hidden \"{start}\"")])
        })
    });
    found.take(1).collect()
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphanumeric()).count()
}
