//! A display name that is written to be taken for something else, or to be seen by people and not by filters.

use super::{Detector, disguised_words};
use crate::content::up_to;
use crate::look_alike::is_unseen;
use crate::{Category, Evidence, Finding, Severity, domains};

pub const DETECTOR: Detector = Detector {
    id: "display_name",
    title: "Deceptive display name",
    category: Category::Phishing,
    severity: Severity::Note,
    prose: "Inbound mail whose display name in From contains an e-mail address of another organisation than the real one, letters of two\nalphabets within a word, mathematical letters or invisible characters between letters, long gaps, or a label like *[EXTERNAL]* that\nonly the tenant's own system sets, or whose text begins like such a label (\"from a trusted sender\"); and, for fewer points,\nmathematical letters in the subject, or a subject that begins with *Re:* in a\nmessage that answers none. Notes only: some services do write the customer's address into the display name.",
    look,
};

const OTHER_ADDRESS: u32 = 40;
const DISGUISED_NAME: u32 = 60;
/// Advertisers write so, too.
const DISGUISED_SUBJECT: u32 = 30;
const BANNER: u32 = 45;
const GAP: u32 = 30;
const LABEL: u32 = 20;
const ANSWERS_NOTHING: u32 = 10;
/// Spaces in a row; a narrow window shows only what is in front of them.
const GAP_CHARS_MIN: usize = 4;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(shown) = evidence.sender.shown().filter(|_| evidence.is_inbound()) else { return found };
    let mut note =
        |points, summary: String, detail: String| found.push(Finding::note(&DETECTOR, points, summary, vec![detail]));
    for name in evidence.sender.names() {
        if let Some((address, site)) =
            address_in(name).filter(|(_, site)| *site != shown.site && !shown.site.is_empty())
        {
            let is_own = evidence.own_domains.iter().any(|own| crate::content::urls::site(own) == site);
            if !is_own {
                note(
                    OTHER_ADDRESS,
                    format!("From shows the address {address} but is of {}", shown.site),
                    format!("display name \"{name}\""),
                );
            }
        }
        if let Some(how) = disguise(name).filter(|_| !is_told(name)) {
            note(DISGUISED_NAME, format!("the display name is written with {how}"), format!("display name \"{name}\""));
            break;
        }
        if longest_gap(name) >= GAP_CHARS_MIN {
            note(GAP, "the display name has a long gap".into(), format!("display name \"{name}\""));
            break;
        }
        let lower = name.to_ascii_lowercase();
        if ["[external]", "[ext]", "[internal]", "[secure]", "[trusted]"].iter().any(|label| lower.contains(label)) {
            note(LABEL, "the display name carries a label of a mail system".into(), format!("display name \"{name}\""));
        }
    }
    if let Some(words) = banner(evidence) {
        note(BANNER, "the text begins as if a mail system had checked it".into(), format!("text \"{words}\""));
    }
    let Some(subject) = evidence.message.subject() else { return found };
    if let Some(how) = disguise(&subject).filter(|_| !is_told(&subject)) {
        note(DISGUISED_SUBJECT, format!("the subject is written with {how}"), format!("subject \"{subject}\""));
    }
    let begins = subject.trim_start().get(..3).is_some_and(|b| b.eq_ignore_ascii_case("re:"));
    if begins && !evidence.message.answers() {
        note(
            ANSWERS_NOTHING,
            "the subject says that it is an answer, and it answers no message".into(),
            format!("subject \"{subject}\""),
        );
    }
    found
}

/// `disguised_words` counts it.
fn is_told(text: &str) -> bool {
    disguised_words::disguised(text).is_some()
}

/// What a mail system would write above a message that it had checked.
const CHECKED: [&str; 12] = [
    "from a trusted sender",
    "sender is trusted",
    "sender is verified",
    "sender has been verified",
    "sender was verified",
    "von einem vertrauenswürdigen absender",
    "expéditeur de confiance",
    "expéditeur vérifié",
    "remitente de confianza",
    "remetente confiável",
    "vertrouwde afzender",
    "mittente attendibile",
];
/// Of the beginning of the text.
const BANNER_OCTETS: usize = 300;

fn banner(evidence: &Evidence<'_>) -> Option<&'static str> {
    let text = &evidence.content.text;
    let begin = text[..up_to(text, BANNER_OCTETS)].to_lowercase();
    CHECKED.into_iter().find(|words| begin.contains(words))
}

/// An address that stands in the text, and whose it is.
fn address_in(text: &str) -> Option<(&str, String)> {
    text.split(|c: char| c.is_whitespace() || "<>()[]\"',;|".contains(c)).find_map(|word| {
        let (local, domain) = word.rsplit_once('@')?;
        let domain = domain.trim_end_matches(['.', ':']).to_ascii_lowercase();
        (!local.is_empty() && domains::is_host_name(&domain)).then(|| (word, crate::content::urls::site(&domain)))
    })
}

/// By what letters a text hides from whoever compares it, if it does.
fn disguise(text: &str) -> Option<&'static str> {
    if text.is_ascii() {
        return None;
    }
    let letters: Vec<char> = text.chars().collect();
    let between_letters = |at: usize| {
        let before = letters[..at].iter().rev().find(|c| !is_unseen(**c));
        let after = letters[at..].iter().find(|c| !is_unseen(**c));
        before.is_some_and(char::is_ascii_alphabetic) && after.is_some_and(char::is_ascii_alphabetic)
    };
    // a soft hyphen parts syllables, an accent may stand behind its letter
    let hides = |c: char| is_unseen(c) && c != '\u{ad}' && (!matches!(c, '\u{300}'..='\u{36f}') || c == '\u{34f}');
    if letters.iter().enumerate().any(|(at, c)| hides(*c) && between_letters(at)) {
        return Some("invisible characters between letters");
    }
    if letters.iter().filter(|c| matches!(**c, '\u{1d400}'..='\u{1d7ff}')).count() > 2 {
        return Some("mathematical letters");
    }
    let mixed = text.split(|c: char| !c.is_alphabetic()).any(|word| {
        let latin = word.chars().any(|c| c.is_ascii_alphabetic());
        latin && word.chars().any(|c| matches!(c, '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}'))
    });
    mixed.then_some("letters of two alphabets in one word")
}

fn longest_gap(text: &str) -> usize {
    let (mut longest, mut run) = (0, 0);
    for c in text.trim().chars() {
        run = if c.is_whitespace() || c == '\u{2800}' || c == '\u{3164}' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises_and_honest_letters() {
        for text in ["M\u{e0139}icrosoft", "Pay\u{200b}Pal", "E\u{34f}V\u{34f}R", "𝐀𝐦𝐚𝐳𝐨𝐧", "Аpple"]
        {
            assert!(disguise(text).is_some(), "{text}");
        }
        for text in [
            "Jürgen",
            "Мария Ивановна",
            "Ju\u{308}rgen",
            "👩\u{200d}💻 Dev",
            "Donau\u{ad}dampf",
            "می\u{200c}خواهم",
            "π-Day",
            "❤\u{fe0f} you",
        ] {
            assert_eq!(disguise(text), None, "{text}");
        }
        assert_eq!(address_in("\"delivery@FedEx.es\"").map(|a| a.1), Some("fedex.es".into()));
    }
}
