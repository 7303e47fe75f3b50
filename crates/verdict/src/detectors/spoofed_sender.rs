//! A From that its domain's owner does not stand for.

use super::Detector;
use crate::evidence::SenderPolicy;
use crate::sender::{Mailbox, Proven};
use crate::{Category, Evidence, Finding, Severity};

pub const DETECTOR: Detector = Detector {
    id: "spoofed_sender",
    title: "Sender that does not authenticate",
    category: Category::AuthenticationFailure,
    severity: Severity::Suspicious,
    prose: "Inbound mail whose From is not proven by SPF, DKIM or DMARC, by Microsoft's results and our own. Suspicious where DMARC fails and the\ndomain's owner asks for such mail to be quarantined or rejected, unless it comes over a mailing list from somebody known here; and where From\nis the tenant's own domain, MAIL FROM is not, and nothing passes. Notes where From is the tenant's own and only another organisation is proven\n(a service that writes in somebody's name: have it sign with DKIM), where the owner asks for nothing, and where SPF alone fails.\nThat nothing is published or nothing could be looked up counts nothing, and where Microsoft and we differ, what passes counts. ARC\ncounts nothing: anybody can seal.",
    look,
};

const OWN_BY_OTHERS: u32 = 60;
const POLICY_OVER_A_LIST: u32 = 50;
const DMARC_FAILS: u32 = 35;
const SPF_FAILS: u32 = 40;
const SPF_SOFTFAILS: u32 = 25;
const NOTHING_ALIGNED: u32 = 15;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let Some(shown) = evidence.sender.shown().filter(|m| evidence.is_inbound() && !m.domain.is_empty()) else {
        return Vec::new();
    };
    of_own(evidence, shown)
        .or_else(|| by_policy(evidence, shown))
        .or_else(|| by_results(evidence, shown))
        .into_iter()
        .collect()
}

fn of_own(evidence: &Evidence<'_>, shown: &Mailbox) -> Option<Finding> {
    let own = |domain: &str| evidence.own_domains.iter().any(|o| o == domain);
    if !own(&shown.domain) || own(&evidence.sender.envelope.domain) {
        return None;
    }
    let summary = format!("From is the own address {}, MAIL FROM is {}", shown.address, mail_from(evidence));
    match evidence.sender.proven {
        Proven::Nothing => Some(Finding::suspicious(&DETECTOR, summary, results(evidence))),
        Proven::Other => Some(Finding::note(&DETECTOR, OWN_BY_OTHERS, summary, results(evidence))),
        Proven::Aligned | Proven::Unknown => None,
    }
}

fn by_policy(evidence: &Evidence<'_>, shown: &Mailbox) -> Option<Finding> {
    if !evidence.sender.dmarc_fails {
        return None;
    }
    let denied = format!("{} does not stand for this mail (DMARC fails)", shown.domain);
    let Some(wish) = wish(evidence) else {
        if evidence.own_domains.contains(&shown.domain) {
            return None;
        }
        return Some(Finding::note(&DETECTOR, DMARC_FAILS, denied, results(evidence)));
    };
    let summary = format!("{denied} and asks for such mail to be {wish}");
    // a list changes what the author has signed
    let over_a_list = is_of_a_list(evidence) && evidence.history.first_contact.known() == Some(&false);
    // who reports that mail did not arrive seldom aligns his name with anything
    let forgiven = over_a_list || evidence.envelope.is_null_sender();
    Some(match forgiven {
        true => Finding::note(&DETECTOR, POLICY_OVER_A_LIST, summary, results(evidence)),
        false => Finding::suspicious(&DETECTOR, summary, results(evidence)),
    })
}

/// By our own look-up; else by what Microsoft says that it did, or would have done.
fn wish(evidence: &Evidence<'_>) -> Option<&'static str> {
    match evidence.proofs.sender_policy.known() {
        Some(SenderPolicy::Reject) => Some("rejected"),
        Some(SenderPolicy::Quarantine) => Some("quarantined"),
        Some(SenderPolicy::None) => None,
        None => match evidence.proofs.first_pass.dmarc_action.as_deref() {
            Some("reject" | "oreject" | "pct.reject") => Some("rejected"),
            Some("quarantine" | "pct.quarantine") => Some("quarantined"),
            _ => None,
        },
    }
}

fn by_results(evidence: &Evidence<'_>, shown: &Mailbox) -> Option<Finding> {
    let spf = |result: &str| {
        evidence.proofs.microsoft.iter().chain(&evidence.proofs.own).any(|r| r.method == "spf" && r.result == result)
    };
    let note = |points, summary| Some(Finding::note(&DETECTOR, points, summary, results(evidence)));
    match evidence.sender.proven {
        Proven::Nothing if spf("fail") => note(
            SPF_FAILS,
            format!(
                "{} says that mail does not come from where this came from (SPF), and nothing else proves it",
                mail_from(evidence)
            ),
        ),
        Proven::Nothing if spf("softfail") => {
            note(SPF_SOFTFAILS, format!("nothing proves {}, and SPF doubts it", shown.domain))
        }
        Proven::Other if evidence.sender.envelope.site != shown.site && !is_of_a_list(evidence) => {
            note(NOTHING_ALIGNED, format!("nothing proves {}; what passes is of others", shown.domain))
        }
        _ => None,
    }
}

fn is_of_a_list(evidence: &Evidence<'_>) -> bool {
    evidence.message.headers().fields().any(|f| f.is("List-Id") || f.is("List-Post"))
}

fn mail_from<'a>(evidence: &'a Evidence<'_>) -> &'a str {
    match evidence.sender.envelope.address.as_str() {
        "" => "empty",
        address => address,
    }
}

fn results(evidence: &Evidence<'_>) -> Vec<String> {
    let said = |who: &str, all: &[crate::AuthResult]| {
        let words: Vec<String> = all
            .iter()
            .map(|r| {
                format!("{}={}{}", r.method, r.result, r.domain.as_ref().map_or(String::new(), |d| format!(" ({d})")))
            })
            .collect();
        (!words.is_empty()).then(|| format!("{who}: {}", words.join(", ")))
    };
    [said("Microsoft", &evidence.proofs.microsoft), said("own", &evidence.proofs.own)].into_iter().flatten().collect()
}
