//! Where mail comes from that nobody wants to be found at.

use super::Detector;
use crate::look_alike::skeleton;
use crate::sender::Mailbox;
use crate::{Category, Evidence, Finding, Severity, domains};

pub const DETECTOR: Detector = Detector {
    id: "sender_domain",
    title: "Throw-away sender",
    category: Category::Spam,
    severity: Severity::Note,
    prose: "Inbound mail from a domain of letters and digits that nobody chose to be remembered, from a name in letters of changing case that is\nno word (`hVuukorHxTNDkRC@`), from below a hosting platform's own domain, from many\nlevels of subdomains, from a suffix under which domains cost next to nothing, or from a free mail address under the name of a\ndepartment. Notes: honest people have cheap domains too, and a new tenant of Microsoft 365 writes from onmicrosoft.com at first.",
    look,
};

const RANDOM: u32 = 40;
const HOSTED: u32 = 50;
const MICROSOFT_TENANT: u32 = 30;
const MANY_LEVELS: u32 = 25;
const CHEAP: u32 = 25;
const DEPARTMENT: u32 = 30;
/// In front of the @.
const RANDOM_LOCAL: u32 = 30;
/// Labels of an ordinary address: `mail.news.shop.co.uk`.
const LABELS_MAX: usize = 5;
/// Nobody signs with these and writes from a free mail address.
const DEPARTMENTS: &[&str] = &[
    "support",
    "service",
    "security",
    "billing",
    "helpdesk",
    "department",
    "admin",
    "administrator",
    "payroll",
    "hr",
    "team",
    "customer",
    "bank",
    "inc",
    "llc",
    "gmbh",
    "ltd",
    "corporation",
    "kundenservice",
    "kundendienst",
    "sicherheit",
    "soporte",
    "suporte",
    "atendimento",
    "notification",
    "notifications",
    "alert",
    "noreply",
    "webmail",
    "office",
    "rewards",
];

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let Some(shown) = evidence.sender.shown().filter(|m| evidence.is_inbound() && m.is_whole()) else {
        return Vec::new();
    };
    if evidence.own_domains.contains(&shown.domain) {
        return Vec::new();
    }
    if shown.is_free_mail() {
        return department(evidence, shown).into_iter().collect();
    }
    let mut found = Vec::new();
    let mut note = |points, summary| {
        found.push(Finding::note(&DETECTOR, points, summary, vec![format!("address {}", shown.address)]))
    };
    match domains::hosting_of(&shown.domain) {
        Some("onmicrosoft.com") => {
            note(MICROSOFT_TENANT, format!("{} is a tenant of Microsoft 365 without a domain of its own", shown.domain))
        }
        Some(platform) => note(HOSTED, format!("{} is below the hosting platform {platform}", shown.domain)),
        None => {}
    }
    let own = shown.site.split('.').next().unwrap_or_default();
    if domains::is_random(own) {
        note(RANDOM, format!("the domain {} is no name", shown.site));
    }
    if domains::is_random_name(shown.local()) {
        note(RANDOM_LOCAL, format!("the name {} in front of the @ is none", shown.local()));
    }
    let labels = shown.domain.split('.');
    let short = labels.clone().filter(|l| l.len() == 1).count();
    if labels.count() > LABELS_MAX || short >= 3 {
        note(MANY_LEVELS, format!("the domain {} has many levels", shown.domain));
    }
    if let Some(suffix) = domains::cheap_suffix_of(&shown.domain) {
        note(CHEAP, format!("domains below .{suffix} cost next to nothing"));
    }
    found
}

fn department(evidence: &Evidence<'_>, shown: &Mailbox) -> Option<Finding> {
    let named = evidence.sender.names().find(|name| skeleton(name).split(' ').any(|w| DEPARTMENTS.contains(&w)))?;
    let summary = format!("\"{named}\" writes from the free mail address {}", shown.address);
    Some(Finding::note(&DETECTOR, DEPARTMENT, summary, vec![]))
}
