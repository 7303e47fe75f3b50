//! A sender from outside who shows the name or address of somebody inside.

use super::Detector;
use crate::look_alike::skeleton;
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "impersonation",
    title: "Display-name impersonation",
    category: Category::Impersonation,
    severity: Severity::Suspicious,
    prose: "Inbound mail whose From shows the display name of a user of this tenant, or an address in one of its domains, while the real\naddress is outside. Case, accents, look-alike Cyrillic and Greek letters, punctuation and \"Last, First\" are seen through. Names of\none word are ignored. A user who writes from a private address is reported too: release the message, or list the detector under\n`only_note`.",
    look,
};

/// A name needs this many letters before it can be somebody's.
const NAME_LETTERS_MIN: usize = 5;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    if evidence.direction != Direction::Inbound {
        return Vec::new();
    }
    evidence.message.from().iter().filter_map(|from| judge(evidence, &from.display, &from.address)).collect()
}

fn judge(evidence: &Evidence<'_>, display: &str, address: &str) -> Option<Finding> {
    let domain = address.rsplit_once('@').map(|(_, d)| d.to_ascii_lowercase()).unwrap_or_default();
    if evidence.own_domains.contains(&domain) {
        return None;
    }
    let shown = normalise(display);
    let finding = |summary: String, detail: String| Finding::suspicious(&DETECTOR, summary, vec![detail]);
    if let Some(real) = evidence.people.get(&shown).filter(|_| is_a_name(&shown)) {
        return Some(finding(
            format!("From shows \"{display}\", a user here, but comes from {address}"),
            format!("the user of that name is {real}"),
        ));
    }
    let claimed = display.split(|c: char| c.is_whitespace() || "<>()\"',;".contains(c)).find(|word| {
        word.rsplit_once('@')
            .is_some_and(|(local, d)| !local.is_empty() && evidence.own_domains.contains(&d.to_ascii_lowercase()))
    })?;
    Some(finding(
        format!("From shows the address {claimed} but comes from {address}"),
        format!("display name \"{display}\""),
    ))
}

fn is_a_name(normalised: &str) -> bool {
    normalised.contains(' ') && normalised.chars().filter(|c| c.is_alphabetic()).count() >= NAME_LETTERS_MIN
}

/// The form in which names are compared: lower case, look-alikes and accents folded, "Last, First" turned round.
pub fn normalise(name: &str) -> String {
    let turned = match name.split_once(',') {
        Some((last, first)) if !first.contains(',') => format!("{first} {last}"),
        _ => name.to_owned(),
    };
    skeleton(&turned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_a_reader_takes_them() {
        for same in [
            "Jürgen Müller",
            "MULLER, Jurgen",
            "\"Jürgen  Müller\"",
            "Jurgen.Muller".replace('.', " ").as_str(),
            "Jürgеn Müller",
            "Ｊｕｒｇｅｎ Muller",
            "Jur\u{200b}gen Mu\u{308}ller",
        ] {
            assert_eq!(normalise(same), "jurgen muller", "{same}");
        }
        assert_ne!(normalise("Jürgen Miller"), "jurgen muller");
    }
}
