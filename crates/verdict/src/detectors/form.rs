//! A form in the mail itself.

use super::{Detector, whose};
use crate::content::urls::{host_of_href, site};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "form",
    title: "Form that asks for secrets in the mail",
    category: Category::Phishing,
    severity: Severity::Suspicious,
    prose: "An HTML form with a password field in the message or in an attached page (suspicious), unless it is sent to the sender's own\nproven site; other forms with text fields in the message that are sent to a foreign site (25 points). Signing in happens on sites, never in\nmail.",
    look,
};

const TEXT_POINTS: u32 = 25;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found: Option<Finding> = None;
    for page in &evidence.content.pages {
        for form in &page.forms {
            let target = host_of_href(&form.action).map(|h| site(&h));
            let is_own = target.as_deref().is_some_and(|t| whose::is_proven(evidence, t));
            let place = if page.is_attachment { "an attached page" } else { "the message" };
            let to = target.as_deref().map_or(String::new(), |t| format!(" and sends it to {t}"));
            let details = vec![format!("action \"{}\"", whose::cut(&form.action))];
            if form.has_password && !is_own {
                return vec![Finding::suspicious(
                    &DETECTOR,
                    format!("a form in {place} asks for a password{to}"),
                    details,
                )];
            }
            let is_foreign = target.as_ref().is_some_and(|t| !whose::claimed(evidence).contains(t));
            if form.has_text && !page.is_attachment && is_foreign && !is_own && found.is_none() {
                found = Some(Finding::note(
                    &DETECTOR,
                    TEXT_POINTS,
                    format!("a form in {place} asks for text{to}"),
                    details,
                ));
            }
        }
    }
    found.into_iter().collect()
}
