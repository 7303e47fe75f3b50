//! What is thought of one address at the moment of a click, of the address alone: nothing is fetched, and the message that
//! it came in has been judged before.

use crate::content::urls::{Gathered, Place, Within};
use crate::detectors::{brand_in_link, listed_url, odd_host, redirect, userinfo};
use crate::finding::SUSPECT_POINTS;
use crate::{Content, Evidence, Finding, History, Lists, Proofs, Sender, Severity};
use mail::{Envelope, Message};
use std::collections::{HashMap, HashSet};
use tenant::Direction;

/// How bad it is, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Clean,
    Suspicious,
    Malicious,
}

/// Detectors that need nothing but the address.
const LOOK: [fn(&Evidence<'_>) -> Vec<Finding>; 5] = [
    listed_url::DETECTOR.look,
    brand_in_link::DETECTOR.look,
    odd_host::DETECTOR.look,
    userinfo::DETECTOR.look,
    redirect::DETECTOR.look,
];

/// Everything that speaks against the address, as it stands in the message. `own_domains`: of the tenant.
pub fn look(written: &str, own_domains: &[String], lists: &Lists) -> Vec<Finding> {
    let mut urls = Gathered::default();
    urls.add(written, "", Place::Link, Within::Body, false);
    let content = Content { urls: urls.urls, ..Content::default() };
    let (message, envelope) = (Message::parse(bytes::Bytes::from_static(b"\r\n")), Envelope::default());
    let (proofs, history) = (Proofs::default(), History::default());
    let sender = Sender::of(&message, &envelope, &proofs);
    let evidence = Evidence {
        direction: Direction::Inbound,
        envelope: &envelope,
        message: &message,
        parts: &[],
        content: &content,
        classifier: None,
        proofs: &proofs,
        sender: &sender,
        history: &history,
        lists,
        own_domains,
        people: &HashMap::new(),
        vips: &HashSet::new(),
    };
    LOOK.iter().flat_map(|look| look(&evidence)).collect()
}

/// Suspicious is what one finding says so, or what would make a message suspected.
pub fn standing(findings: &[Finding]) -> Standing {
    let worst = findings.iter().map(|f| f.severity).max();
    let points: u32 = findings.iter().map(|f| f.points).sum();
    match worst {
        Some(Severity::Malicious) => Standing::Malicious,
        Some(Severity::Suspicious) => Standing::Suspicious,
        _ if points >= SUSPECT_POINTS => Standing::Suspicious,
        _ => Standing::Clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{List, Listing};
    use std::sync::Arc;

    #[test]
    fn an_address_is_judged_without_its_message() {
        let list =
            |severity, host: &'static str| Arc::new(List::of("bad hosts", Listing::Urls, severity, [host].into_iter()));
        let lists = Lists(vec![list(Severity::Malicious, "evil.example"), list(Severity::Suspicious, "odd.example")]);
        let wrapped = "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fwww.evil.example%2F&data=1";
        let carried = "https://click.example/?to=https%3A%2F%2Fevil.example%2F";
        for (written, expected) in [
            ("https://acme.example/x", Standing::Clean),
            ("https://www.evil.example:8443/x", Standing::Malicious),
            (wrapped, Standing::Malicious),
            (carried, Standing::Malicious),
            ("https://odd.example/", Standing::Suspicious),
            ("https://paypal-secure-login.example/", Standing::Suspicious),
            ("http://198.51.100.7/login", Standing::Suspicious),
            ("https://mybank.com@other.example/", Standing::Suspicious),
            ("https://portal.contoso-paypal.example/", Standing::Clean),
            ("https://bit.ly/x", Standing::Clean),
        ] {
            let own = ["contoso-paypal.example".to_owned()];
            let found = look(written, &own, &lists);
            assert_eq!(standing(&found), expected, "{written}: {found:?}");
        }
    }
}
