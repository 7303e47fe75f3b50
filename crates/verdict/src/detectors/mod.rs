//! One detector a file; the catalogue is the one list of them, and docs/verdicts.md is written from it.

pub mod brand;
pub mod brand_in_link;
pub mod bulk;
pub mod callback_scam;
pub mod casino_wording;
pub mod cheap_tld;
pub mod classifier;
pub mod credential_wording;
pub mod crypto_wording;
pub mod dangerous_attachment;
pub mod dating_wording;
pub mod delivery_wording;
pub mod disguised_attachment;
pub mod disguised_words;
pub mod display_name;
pub mod easy_money_wording;
pub mod eicar;
pub mod encrypted_attachment;
pub mod external_template;
pub mod extortion_wording;
pub mod form;
pub mod fortune_wording;
pub mod free_host;
pub mod header_form;
pub mod hidden_text;
pub mod html_attachment;
pub mod html_smuggling;
pub mod image_only;
pub mod impersonation;
pub mod link_mismatch;
pub mod listed_file;
pub mod listed_url;
pub mod look_alike_domain;
pub mod lying_archive;
pub mod macro_dropper;
pub mod new_domain;
pub mod odd_host;
pub mod offer_wording;
pub mod one_site;
pub mod payment_fraud;
pub mod pdf_actions;
pub mod pdf_one_link;
pub mod prize_wording;
pub mod qr_code;
pub mod recipient_in_link;
pub mod redirect;
pub mod reply_to;
pub mod script_link;
pub mod sender_domain;
pub mod spoofed_sender;
pub mod svg_attachment;
pub mod unscannable;
pub mod userinfo;
pub(crate) mod whose;

use crate::{Category, Evidence, Finding, Severity};

/// One detector: what it is called, what it looks for, and the function that looks.
#[derive(Debug)]
pub struct Detector {
    /// Stable; stands in findings, policies and the journal.
    pub id: &'static str,
    pub title: &'static str,
    /// What a message is in which it finds something.
    pub category: Category,
    /// The worst that it reports.
    pub severity: Severity,
    /// What it looks for, what it does not see, and what to do about a false alarm.
    pub prose: &'static str,
    pub look: fn(&Evidence<'_>) -> Vec<Finding>,
}

pub const CATALOGUE: &[Detector] = &[
    eicar::DETECTOR,
    listed_url::DETECTOR,
    listed_file::DETECTOR,
    dangerous_attachment::DETECTOR,
    disguised_attachment::DETECTOR,
    macro_dropper::DETECTOR,
    external_template::DETECTOR,
    lying_archive::DETECTOR,
    html_attachment::DETECTOR,
    html_smuggling::DETECTOR,
    svg_attachment::DETECTOR,
    pdf_actions::DETECTOR,
    pdf_one_link::DETECTOR,
    qr_code::DETECTOR,
    encrypted_attachment::DETECTOR,
    unscannable::DETECTOR,
    impersonation::DETECTOR,
    link_mismatch::DETECTOR,
    brand_in_link::DETECTOR,
    odd_host::DETECTOR,
    userinfo::DETECTOR,
    script_link::DETECTOR,
    form::DETECTOR,
    recipient_in_link::DETECTOR,
    redirect::DETECTOR,
    free_host::DETECTOR,
    one_site::DETECTOR,
    cheap_tld::DETECTOR,
    image_only::DETECTOR,
    hidden_text::DETECTOR,
    disguised_words::DETECTOR,
    brand::DETECTOR,
    look_alike_domain::DETECTOR,
    display_name::DETECTOR,
    reply_to::DETECTOR,
    spoofed_sender::DETECTOR,
    new_domain::DETECTOR,
    header_form::DETECTOR,
    sender_domain::DETECTOR,
    credential_wording::DETECTOR,
    delivery_wording::DETECTOR,
    callback_scam::DETECTOR,
    payment_fraud::DETECTOR,
    fortune_wording::DETECTOR,
    extortion_wording::DETECTOR,
    crypto_wording::DETECTOR,
    prize_wording::DETECTOR,
    casino_wording::DETECTOR,
    dating_wording::DETECTOR,
    offer_wording::DETECTOR,
    easy_money_wording::DETECTOR,
    bulk::DETECTOR,
    classifier::DETECTOR,
];

/// Everything that any detector saw, in the order of the catalogue.
pub fn inspect(evidence: &Evidence<'_>) -> Vec<Finding> {
    CATALOGUE.iter().flat_map(|detector| (detector.look)(evidence)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::fmt::Write;
    use std::path::Path;

    fn page() -> String {
        let mut page = "# What Posthouse finds\n\nWritten from the catalogue in `crates/verdict/src/detectors` by its test (`UPDATE_EXPECT=1`); do not edit.\n\nInbound, *suspicious* and *malicious* findings hold a message; outbound, only *malicious* ones.\nA *note* holds nothing alone; each brings points, and from 100 on they hold together. Several\ndetectors hear the same words: of their notes the strongest counts in full, the others by half, and all together at most 75 points; notes about how the\nsender looks (`brand`, `display_name`, `header_form`, `look_alike_domain`, `reply_to`, `sender_domain`) at most 90. A tenant's policy can\nlist detectors under `only_note`: their findings are written down and hold nothing.\n".to_owned();
        for d in CATALOGUE {
            write!(
                page,
                "\n## {} (`{}`, {}, {})\n\n{}\n",
                d.title,
                d.id,
                d.category.as_str(),
                format!("{:?}", d.severity).to_lowercase(),
                d.prose
            )
            .unwrap();
        }
        page
    }

    #[test]
    fn the_documented_verdicts_are_the_catalogue() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verdicts.md");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), page(), "run with UPDATE_EXPECT=1");
    }

    /// What the cases' listed things stand on.
    fn lists() -> crate::Lists {
        use crate::{List, Listing};
        let hosts = ["listed.example", "forms.example/listed"].into_iter();
        // printf 'listed by its hash\r\n' | sha256sum
        let files = ["247df0e3de388a8805593dab69dfb1b869f05fa7db76126e31a8a345c6bb7484"].into_iter();
        let lists = [
            List::of("hosts", Listing::Urls, Severity::Malicious, hosts),
            List::of("weak", Listing::Urls, Severity::Note, ["weak.example"].into_iter()),
            List::of("files", Listing::Files, Severity::Malicious, files),
        ];
        crate::Lists(lists.into_iter().map(std::sync::Arc::new).collect())
    }

    /// What is known of a case beside its message, in evidence.json; without it From is proven, and nothing known of before.
    #[derive(Default, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Given {
        proofs: Option<crate::Proofs>,
        history: crate::History,
        mail_from: Option<String>,
    }

    /// Each folder of `cases/`: message.eml (LF or CRLF) judged, findings as expect.txt says.
    #[test]
    fn every_case_is_judged_as_expected() {
        let people = [("grace hopper", "grace"), ("alan turing", "alan")]
            .map(|(n, l)| (n.to_owned(), format!("{l}@contoso.example")))
            .into();
        let own = ["contoso.example".to_owned()];
        let vips = ["ada lovelace".to_owned(), "grace@contoso.example".to_owned()].into();
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let mut wrong = String::new();
        for case in std::fs::read_dir(cases).unwrap() {
            let dir = case.unwrap().path();
            let raw =
                std::fs::read_to_string(dir.join("message.eml")).unwrap().replace("\r\n", "\n").replace('\n', "\r\n");
            let raw = raw.replace("{EICAR}", &eicar::test_file());
            let raw = crate::content::files::samples::filled_in(&raw);
            let message = mail::Message::parse(raw.into_bytes().into());
            let given = std::fs::read_to_string(dir.join("evidence.json")).unwrap_or("{}".into());
            let given: Given = serde_json::from_str(&given).unwrap();
            let sender = message.from_address().unwrap_or_default();
            let proofs = given.proofs.unwrap_or_else(|| crate::Proofs {
                microsoft: vec![crate::AuthResult {
                    method: "dmarc".into(),
                    result: "pass".into(),
                    domain: sender.rsplit_once('@').map(|(_, d)| d.to_owned()),
                }],
                ..Default::default()
            });
            let envelope = mail::Envelope::new(given.mail_from.unwrap_or(sender), ["grace@contoso.example"]);
            let found = message.with_parts(|parts| {
                inspect(&Evidence {
                    direction: tenant::Direction::Inbound,
                    envelope: &envelope,
                    message: &message,
                    parts,
                    content: &crate::Content::of(parts),
                    classifier: None,
                    proofs: &proofs,
                    sender: &crate::Sender::of(&message, &envelope, &proofs),
                    history: &given.history,
                    lists: &lists(),
                    own_domains: &own,
                    people: &people,
                    vips: &vips,
                })
            });
            let seen: String =
                found.iter().map(|f| format!("{} {:?} {} {}\n", f.detector, f.severity, f.points, f.summary)).collect();
            let expect = dir.join("expect.txt");
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                std::fs::write(&expect, &seen).unwrap();
            }
            let expected = std::fs::read_to_string(&expect).unwrap_or_default();
            if seen != expected {
                write!(wrong, "{}:\nexpected {expected:?}\nseen     {seen:?}\n", dir.display()).unwrap();
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }
}
