//! A sender from outside who shows the name or address of somebody inside.

use super::Detector;
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
    let folded: String = turned.chars().flat_map(char::to_lowercase).filter_map(fold).collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One lower-case character as a reader takes it; `None` where a reader sees nothing.
fn fold(c: char) -> Option<char> {
    const LOOK_ALIKES: &[(&str, char)] = &[
        ("àáâãäåāăąаα", 'a'),
        ("ç\u{107}čс", 'c'),
        ("ďđ", 'd'),
        ("èéêëēėęěеε", 'e'),
        ("ğģ", 'g'),
        ("һ", 'h'),
        ("ìíîïīįıіι", 'i'),
        ("јʝ", 'j'),
        ("ķκк", 'k'),
        ("łľĺļ", 'l'),
        ("м", 'm'),
        ("ñńňņ", 'n'),
        ("òóôõöøōőоο", 'o'),
        ("рρ", 'p'),
        ("řŕ", 'r'),
        ("śšşșѕ", 's'),
        ("ťţțт", 't'),
        ("ùúûüūůűųυ", 'u'),
        ("ν", 'v'),
        ("ŵ", 'w'),
        ("хχ", 'x'),
        ("ýÿу", 'y'),
        ("źżž", 'z'),
    ];
    match c {
        'a'..='z' | '0'..='9' => Some(c),
        '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}' | '\u{300}'..='\u{36f}' => None,
        // full-width forms, U+FF01..U+FF5E
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).and_then(|c| fold(c.to_ascii_lowercase())),
        '"' | '\'' | '.' | '`' | '’' => None,
        c if c.is_alphanumeric() => {
            Some(LOOK_ALIKES.iter().find(|(all, _)| all.contains(c)).map_or(c, |(_, plain)| *plain))
        }
        _ => Some(' '),
    }
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
