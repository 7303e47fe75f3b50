//! A sender who shows a brand's name and is not the brand.

use super::Detector;
use crate::brands::{self, Brand, Extent, Mention};
use crate::content::known;
use crate::content::urls::{SeenUrl, Within};
use crate::sender::{Mailbox, Proven};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "brand",
    title: "Brand impersonation",
    category: Category::Impersonation,
    severity: Severity::Suspicious,
    prose: "Inbound mail that shows a known brand's name (a list of some three hundred that are phished most) as the sender while From is of\nnone of the brand's domains. Suspicious where the display name is the brand, alone or with words such as *Support*, *Security* or\n*Team*; a note where the brand is named among other words, by a name that is also an ordinary word, in the local part, in the subject\nalone, where the domain carries the brand's name and is proven, or where From is the brand's own address, nothing proves it and no link\nleads to the brand. Whoever writes *about* a brand under a name of his own passes.\nMail of a brand's partner that shows the brand's name is a false alarm: release it, and tell us of the domain.",
    look,
};

/// Somebody speaks in the brand's name, under another's domain.
const ON_BEHALF: u32 = 70;
/// The domain has the brand's name in it, and is proven: it may be one that the list does not know.
const OWN_LABEL: u32 = 60;
/// The name may mean something else.
const WORD_ALONE: u32 = 60;
const WORD_RANKED: u32 = 70;
const AMONG_WORDS: u32 = 20;
const AMONG_WORDS_FREE: u32 = 50;
const LOCAL_PART: u32 = 25;
const SUBJECT: u32 = 10;
/// As the brand itself, unproven, with no way to it.
const NO_WAY_TO_IT: u32 = 60;
/// Mail of a sender with whom people here have to do already.
const KNOWN_SENDER: u32 = 30;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let Some(shown) = evidence.sender.shown() else { return Vec::new() };
    if !evidence.is_inbound() || evidence.own_domains.contains(&shown.domain) {
        return Vec::new();
    }
    let claims = |m: &Mention| !m.brand.owns(&shown.domain) && !is_a_report(evidence, shown, m);
    let claim = evidence.sender.names().find_map(|name| {
        let foreign = brands::named_in(name).into_iter().find(claims);
        foreign.map(|mention| judge(evidence, shown, name, mention))
    });
    // one claim is enough, the strongest: display name, then the domain, then local part, then subject
    claim
        .or_else(|| of_domain(evidence, shown))
        .or_else(|| of_local_part(shown))
        .or_else(|| of_subject(evidence, shown))
        .into_iter()
        .collect()
}

/// Exchange reports as "Microsoft Outlook" from whatever domain it serves (RFC 3464), with the null sender.
fn is_a_report(evidence: &Evidence<'_>, shown: &Mailbox, mention: &Mention) -> bool {
    let local = shown.local().to_ascii_lowercase();
    evidence.envelope.is_null_sender()
        && mention.brand.name == "Microsoft"
        && (local.starts_with("microsoftexchange") || ["postmaster", "mailer-daemon"].contains(&local.as_str()))
}

fn judge(evidence: &Evidence<'_>, shown: &Mailbox, name: &str, mention: Mention) -> Finding {
    let Mention { brand, extent, is_word } = mention;
    let summary = format!("From shows \"{name}\" but is of {}, not of {}", site_of(shown), brand.name);
    let details = vec![format!("address {}", shown.address), proof(evidence.sender.proven).to_owned()];
    let note = |points| Finding::note(&DETECTOR, points, summary.clone(), details.clone());
    let is_known = evidence.history.first_contact.known() == Some(&false);
    match extent {
        Extent::Part if shown.is_free_mail() => note(AMONG_WORDS_FREE),
        Extent::Part => note(AMONG_WORDS),
        _ if is_known && evidence.sender.is_aligned() => note(KNOWN_SENDER),
        _ if evidence.sender.is_aligned() && carries(shown, brand) => note(OWN_LABEL),
        Extent::Ranked if is_word => note(WORD_RANKED),
        _ if is_word => note(WORD_ALONE),
        Extent::Behalf => note(ON_BEHALF),
        Extent::Ranked | Extent::Whole => Finding::suspicious(&DETECTOR, summary, details),
    }
}

/// From is of the brand's own domain and shows its name, nothing proves it, and none of the links leads to the brand or
/// to one who counts clicks for others: whoever wrote it only borrows the address.
fn of_domain(evidence: &Evidence<'_>, shown: &Mailbox) -> Option<Finding> {
    if evidence.sender.is_aligned() || evidence.envelope.is_null_sender() || shown.display.is_empty() {
        return None;
    }
    let mut links = evidence.content.followed().filter(|u| u.within == Within::Body).peekable();
    links.peek()?;
    let named = brands::named_in(&shown.display);
    let brand = named.iter().find(|m| m.extent >= Extent::Behalf && m.brand.owns(&shown.domain))?.brand;
    let is_theirs = |u: &SeenUrl| {
        u.site == shown.site
            || brand.owns(&u.host)
            || known::is_counter(&u.site)
            || known::brand_of(&u.host).is_some_and(|b| b.owns(&shown.domain))
    };
    if links.any(is_theirs) {
        return None;
    }
    let summary =
        format!("From is of {}, of {}, but nothing proves it and no link leads there", shown.site, brand.name);
    Some(Finding::note(&DETECTOR, NO_WAY_TO_IT, summary, vec![proof(evidence.sender.proven).to_owned()]))
}

fn site_of(shown: &Mailbox) -> &str {
    if shown.site.is_empty() { "no domain" } else { &shown.site }
}

fn proof(proven: Proven) -> &'static str {
    match proven {
        Proven::Aligned => "the domain of From is proven",
        Proven::Other => "only another domain is proven",
        Proven::Nothing => "nothing is proven",
        Proven::Unknown => "what is proven is not known",
    }
}

/// `paypal-surveys.com`, `theledger.com`
fn carries(shown: &Mailbox, brand: &Brand) -> bool {
    let own = shown.site.split('.').next().unwrap_or_default();
    brand.labels().any(|label| label.len() >= 3 && own.contains(label))
}

fn of_local_part(shown: &Mailbox) -> Option<Finding> {
    let words = shown.local().replace(|c: char| !c.is_alphanumeric(), " ");
    let found = brands::named_in(&words)
        .into_iter()
        .find(|m| !m.is_word && m.brand.name.len() > 3 && !m.brand.owns(&shown.domain))?;
    // a customer has an address for each shop
    let is_service = found.extent != Extent::Part && !shown.is_free_mail();
    let summary = format!("the address {} carries the name of {}", shown.address, found.brand.name);
    is_service.then(|| Finding::note(&DETECTOR, LOCAL_PART, summary, vec![]))
}

fn of_subject(evidence: &Evidence<'_>, shown: &Mailbox) -> Option<Finding> {
    let subject = evidence.message.subject().filter(|_| !evidence.message.answers())?;
    let mentions = brands::named_in(&subject);
    if mentions.iter().any(|m| m.brand.owns(&shown.domain)) {
        return None;
    }
    let found = mentions.into_iter().find(|m| !m.is_word)?;
    let summary = format!("the subject names {} and From is of {}", found.brand.name, site_of(shown));
    Some(Finding::note(&DETECTOR, SUBJECT, summary, vec![format!("subject \"{subject}\"")]))
}
