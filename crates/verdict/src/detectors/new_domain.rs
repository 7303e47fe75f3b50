//! Senders whose whole organisation nobody here has had to do with.

use super::Detector;
use crate::sender::Proven;
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "new_domain",
    title: "Newly seen domain",
    category: Category::Impersonation,
    severity: Severity::Note,
    prose: "Inbound mail from an organisation (registrable domain) of which nobody in the tenant has had mail that was passed on, and to\nwhich nobody has written, as long as the journal goes back. Everybody is new once, so it weighs nothing where From is proven, and 10\npoints where it is not. Custom rules and banners can ask for it.",
    look,
};

const UNPROVEN: u32 = 10;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let sender = evidence.sender;
    let is_new = evidence.is_inbound() && evidence.history.new_domain.known() == Some(&true);
    let Some(shown) = sender.shown().filter(|shown| is_new && shown.is_whole()) else { return Vec::new() };
    if evidence.own_domains.contains(&shown.domain) || shown.is_free_mail() {
        return Vec::new();
    }
    let points = match sender.proven {
        Proven::Aligned | Proven::Unknown => 0,
        Proven::Other | Proven::Nothing => UNPROVEN,
    };
    vec![Finding::note(&DETECTOR, points, format!("nobody here had to do with {} before", shown.site), vec![])]
}
