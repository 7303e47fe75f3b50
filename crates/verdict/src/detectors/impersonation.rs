//! A sender from outside who shows the name or address of somebody inside.

use super::Detector;
use crate::look_alike::skeleton;
use crate::{Category, Evidence, Finding, Mailbox, Severity};

pub const DETECTOR: Detector = Detector {
    id: "impersonation",
    title: "Display-name impersonation",
    category: Category::Impersonation,
    severity: Severity::Suspicious,
    prose: "Inbound mail whose From shows the display name of a user of this tenant or of a VIP (policy `vips`), or an address in one of the tenant's\ndomains, while the real address is outside. Case, accents, look-alike Cyrillic and Greek letters, punctuation and \"Last, First\" are\nseen through. Names of one word are ignored. Where this address is known here, was proven and answers go back to it, it is a note: a\nuser writes from a private address, or somebody has the same name. VIPs are never a note.",
    look,
};

/// A name needs this many letters before it can be somebody's.
const NAME_LETTERS_MIN: usize = 5;

/// An address that people here have had mail from or have written to.
const KNOWN: u32 = 20;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    if !evidence.is_inbound() {
        return Vec::new();
    }
    evidence.sender.from.iter().filter_map(|from| judge(evidence, from)).collect()
}

fn judge(evidence: &Evidence<'_>, from: &Mailbox) -> Option<Finding> {
    let Mailbox { display, address, domain, .. } = from;
    if evidence.own_domains.contains(domain) {
        return None;
    }
    let shown = normalise(display);
    if is_a_name(&shown) {
        let real = evidence.people.get(&shown);
        let is_vip = evidence.vips.contains(&shown) || real.is_some_and(|r| evidence.vips.contains(&r.to_lowercase()));
        // a VIP may have a mailbox elsewhere, which the list then names
        let is_herself = evidence.vips.contains(&address.to_lowercase());
        if (real.is_some() || is_vip) && !is_herself {
            let who = if is_vip { "a VIP" } else { "a user here" };
            let summary = format!("From shows \"{display}\", {who}, but comes from {address}");
            let detail = real.map_or("named in the policy".into(), |real| format!("the user of that name is {real}"));
            let is_known = evidence.history.first_contact.known() == Some(&false) && evidence.sender.is_aligned();
            return Some(match is_known && !is_vip && evidence.sender.reply_to.iter().all(|r| r.site == from.site) {
                true => Finding::note(&DETECTOR, KNOWN, summary, vec![detail, "this address is known here".into()]),
                false => Finding::suspicious(&DETECTOR, summary, vec![detail]),
            });
        }
    }
    let claimed = display.split(|c: char| c.is_whitespace() || "<>()\"',;".contains(c)).find(|word| {
        word.rsplit_once('@')
            .is_some_and(|(local, d)| !local.is_empty() && evidence.own_domains.contains(&d.to_ascii_lowercase()))
    })?;
    let summary = format!("From shows the address {claimed} but comes from {address}");
    Some(Finding::suspicious(&DETECTOR, summary, vec![format!("display name \"{display}\"")]))
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
