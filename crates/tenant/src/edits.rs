//! What a tenant wants changed in mail that passes (docs/edits.md); nothing unless it asks.

use crate::{HEADER_PREFIX, Links};
use serde::{Deserialize, Serialize};

/// What a banner says unless the tenant has words of its own.
pub const WORDING: &str = "CAUTION: This message came from outside your organization. Do not open links or attachments unless you know the sender and expected it.";
/// Below it a text that equals the wording could be somebody's own words, and is not taken out again.
const WORDING_CHARS_MIN: usize = 20;
/// A longer warning is not read.
const WORDING_CHARS_MAX: usize = 500;
/// A tag in UTF-8 and base64 still is one encoded word (75 octets, RFC 2047 §2).
const TAG_OCTETS_MAX: usize = 40;
/// Mail in which an older wording is quoted goes on for months; who changes it more often than that changes it back.
const FORMER_WORDINGS_MAX: usize = 8;
/// RFC 5322 §2.1.1, with the name.
const FIELD_OCTETS_MAX: usize = 200;

/// Which mail from outside gets a banner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BannerFor {
    #[default]
    Off,
    /// All of it.
    External,
    /// Mail in which something was found that did not hold it, or that could not be judged.
    Suspicious,
}

/// A field that is put on top.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderField {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Edits {
    pub banner: BannerFor,
    /// Without it [`WORDING`].
    pub wording: Option<String>,
    /// What it said before, newest last: replies may still quote it.
    pub former_wordings: Vec<String>,
    pub subject_tag: Option<String>,
    pub header: Option<HeaderField>,
    pub links: Links,
}

impl Edits {
    pub fn wording(&self) -> &str {
        self.wording.as_deref().unwrap_or(WORDING)
    }

    /// Every wording that mail of this tenant may quote; none if there never was a banner.
    pub fn wordings(&self) -> Vec<String> {
        let current = (self.banner != BannerFor::Off).then(|| self.wording().to_owned());
        let former = self.former_wordings.iter().filter(|w| current.as_ref() != Some(w)).cloned();
        current.clone().into_iter().chain(former).collect()
    }

    /// Remembers what banners said up to now, when the wording changes or there are to be none any more.
    pub fn remember(&mut self, before: &Edits) {
        let used = before.wording().to_owned();
        let goes_on = self.banner != BannerFor::Off && self.wording() == used;
        self.former_wordings.retain(|w| *w != used);
        if before.banner != BannerFor::Off && !goes_on || before.former_wordings.contains(&used) {
            self.former_wordings.push(used);
        }
        self.forget_oldest();
        self.links.used |= before.links.used || before.links.rewrite || self.links.rewrite;
    }

    /// The same for the banners of rules that say something else from now on.
    pub fn remember_banners(&mut self, before: &[String], now: &[String]) {
        self.former_wordings.retain(|w| !before.contains(w));
        self.former_wordings.extend(before.iter().filter(|w| !now.contains(w)).cloned());
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        let over = self.former_wordings.len().saturating_sub(FORMER_WORDINGS_MAX);
        self.former_wordings.drain(..over);
    }

    /// True when something that its sender may have signed is changed in mail from outside.
    pub fn change_content(&self) -> bool {
        self.banner != BannerFor::Off || self.subject_tag.is_some() || self.links.rewrite
    }

    /// What cannot be asked for, in words.
    pub fn wrong(&self) -> Option<String> {
        if let Some(wrong) = wrong_wording(self.wording()) {
            return Some(wrong);
        }
        if self
            .subject_tag
            .as_ref()
            .is_some_and(|t| t.trim().is_empty() || t.len() > TAG_OCTETS_MAX || t.contains(char::is_control))
        {
            return Some(format!(
                "a subject tag has 1 to {TAG_OCTETS_MAX} octets and no line ends, such as \"[EXTERNAL]\""
            ));
        }
        if self.header.as_ref().is_some_and(|field| !field.is_right()) {
            return Some(format!(
                "a header is written `X-Name: value`, in ASCII, {FIELD_OCTETS_MAX} octets at most, and none of {HEADER_PREFIX}…"
            ));
        }
        self.links.wrong()
    }
}

/// What no banner can say, in words.
pub(crate) fn wrong_wording(wording: &str) -> Option<String> {
    let letters = wording.chars().count();
    if !(WORDING_CHARS_MIN..=WORDING_CHARS_MAX).contains(&letters) || wording.contains(char::is_control) {
        return Some(format!(
            "a banner's wording is one line of {WORDING_CHARS_MIN} to {WORDING_CHARS_MAX} letters; this one has {letters}"
        ));
    }
    let quoted = wording.starts_with(['>', '|']);
    quoted.then(|| "a banner's wording must not begin with a sign of quoting".into())
}

impl HeaderField {
    /// `Name: value`
    pub fn parse(text: &str) -> Option<HeaderField> {
        let (name, value) = text.split_once(':')?;
        let field = HeaderField { name: name.trim().into(), value: value.trim().into() };
        field.is_right().then_some(field)
    }
    fn is_right(&self) -> bool {
        let ours = self.name.get(..HEADER_PREFIX.len()).is_some_and(|n| n.eq_ignore_ascii_case(HEADER_PREFIX));
        let named = self.name.get(..2).is_some_and(|x| x.eq_ignore_ascii_case("x-")) && self.name.len() > 2 && !ours;
        named
            && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && self.value.bytes().all(|b| (32..=126).contains(&b))
            && self.name.len() + self.value.len() <= FIELD_OCTETS_MAX
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_can_be_asked_for() {
        let said = |change: fn(&mut Edits)| {
            let mut edits = Edits::default();
            change(&mut edits);
            edits.wrong().unwrap_or_else(|| "right".into())
        };
        assert_eq!(said(|_| {}), "right");
        assert_eq!(said(|e| e.wording = Some("Von außen: bitte zweimal hinsehen.".into())), "right");
        assert!(said(|e| e.wording = Some("external".into())).contains("20 to 500"));
        assert!(said(|e| e.wording = Some("> quoted words that are long enough".into())).contains("quoting"));
        assert_eq!(said(|e| e.subject_tag = Some("[EXTERNAL]".into())), "right");
        assert!(said(|e| e.subject_tag = Some("a\r\nBcc: x".into())).contains("subject tag"));
        assert!(said(|e| e.links.days = 0).contains("1 to 365 days"));
        assert_eq!(HeaderField::parse("X-External: yes").unwrap().value, "yes");
        for wrong in
            ["X-External", "Subject: x", "X-Posthouse-Pass: x", "x-posthouse-id: 1", "X-A b: c", "X-A: ü", "X-: a"]
        {
            assert_eq!(HeaderField::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn wordings_that_were_used_are_remembered() {
        let mut edits = Edits::default();
        let change = |edits: &mut Edits, banner, wording: Option<&str>| {
            let before = edits.clone();
            (edits.banner, edits.wording) = (banner, wording.map(str::to_owned));
            edits.remember(&before);
            edits.wordings()
        };
        assert!(change(&mut edits, BannerFor::Off, Some("never shown")).is_empty());
        assert_eq!(change(&mut edits, BannerFor::External, None), [WORDING]);
        assert_eq!(change(&mut edits, BannerFor::External, Some("other words")), ["other words", WORDING]);
        assert_eq!(change(&mut edits, BannerFor::Off, Some("other words")), [WORDING, "other words"]);
        assert_eq!(change(&mut edits, BannerFor::External, None), [WORDING, "other words"]);
        for n in 0..20 {
            change(&mut edits, BannerFor::External, Some(&format!("wording {n}")));
        }
        assert_eq!(edits.former_wordings.len(), FORMER_WORDINGS_MAX);
    }
}
