//! What a tenant wants of its quarantine: who may release what, who is told when (docs/quarantine.md).

use crate::rules::is_address;
use crate::{Category, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quarantine {
    /// Who may be sent malware, in an archive with a password.
    pub admins: Vec<String>,
    /// Recipients are told by mail of what is held for them.
    pub digest: bool,
    /// When, each day.
    pub digest_at: Vec<TimeOfDay>,
    /// In this time zone (IANA).
    pub time_zone: String,
    /// What recipients may release by themselves. Malware never.
    pub users_release: Vec<Category>,
    /// Who decides for an address that is nobody's own: a group or a shared mailbox.
    pub owners: BTreeMap<String, Vec<String>>,
}

impl Default for Quarantine {
    fn default() -> Quarantine {
        Quarantine {
            admins: Vec::new(),
            digest: false,
            digest_at: vec![TimeOfDay(8 * 60), TimeOfDay(13 * 60)],
            time_zone: "UTC".into(),
            users_release: vec![
                Category::BlockedSender,
                Category::AuthenticationFailure,
                Category::Spam,
                Category::Bulk,
            ],
            owners: BTreeMap::new(),
        }
    }
}

impl Quarantine {
    /// Whether a recipient may have by himself what is held as this.
    pub fn may_release(&self, category: Option<Category>) -> bool {
        category.is_some_and(|c| c != Category::Malware && self.users_release.contains(&c))
    }

    /// Who decides for this address, where it is nobody's own.
    pub fn owners_of(&self, address: &str) -> Option<&[String]> {
        self.owners.iter().find(|(of, _)| of.eq_ignore_ascii_case(address)).map(|(_, owners)| owners.as_slice())
    }

    /// What cannot be asked for, in words.
    pub fn wrong(&self, is_own: impl Fn(&str) -> bool) -> Option<String> {
        let own = |key: &str, address: &String| match is_address(address) && is_own(address) {
            true => None,
            false => Some(format!("{key}: \"{address}\" is no mail address of the tenant")),
        };
        let owners = self.owners.iter().flat_map(|(of, owners)| std::iter::once(of).chain(owners));
        let malware = self.users_release.contains(&Category::Malware);
        self.admins
            .iter()
            .find_map(|a| own("admins", a))
            .or_else(|| owners.into_iter().find_map(|a| own("owners", a)))
            .or_else(|| malware.then(|| "users_release: malware is released to nobody".to_owned()))
            .or_else(|| {
                (self.digest && self.digest_at.is_empty()).then(|| "digest_at: name a time such as \"08:00\"".into())
            })
            .or_else(|| {
                let many = self.digest_at.len() > limits::DIGESTS_A_DAY_MAX;
                many.then(|| format!("digest_at: at most {} times a day", limits::DIGESTS_A_DAY_MAX))
            })
    }
}

/// Minutes since midnight, written `08:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    pub fn minutes(self) -> u16 {
        self.0
    }
}

impl FromStr for TimeOfDay {
    type Err = String;
    fn from_str(text: &str) -> Result<TimeOfDay, String> {
        let number = |part: &str, end: u16| {
            part.parse::<u16>().ok().filter(|n| part.len() == 2 && !part.starts_with('+') && *n < end)
        };
        let read = text.split_once(':').and_then(|(h, m)| Some(number(h, 24)? * 60 + number(m, 60)?));
        read.map(TimeOfDay).ok_or_else(|| format!("\"{text}\" is no time of day such as \"08:30\""))
    }
}
impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}
impl TryFrom<String> for TimeOfDay {
    type Error = String;
    fn try_from(text: String) -> Result<TimeOfDay, String> {
        text.parse()
    }
}
impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> String {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_cannot_be_asked_for_is_told() {
        let said = |change: fn(&mut Quarantine)| {
            let mut wish = Quarantine { digest: true, ..Quarantine::default() };
            change(&mut wish);
            wish.wrong(|a| a.ends_with("@contoso.example")).unwrap_or_default()
        };
        assert_eq!(said(|_| {}), "");
        assert_eq!(
            said(|q| q.admins.push("x@evil.example".into())),
            "admins: \"x@evil.example\" is no mail address of the tenant"
        );
        assert!(
            said(|q| drop(q.owners.insert("g@contoso.example".into(), vec!["b".into()]))).starts_with("owners: \"b\"")
        );
        assert!(said(|q| q.users_release.push(Category::Malware)).starts_with("users_release"));
        assert!(said(|q| q.digest_at.clear()).starts_with("digest_at"));
        for (text, right) in [("08:30", true), ("23:59", true), ("24:00", false), ("8:30", false), ("+8:30", false)] {
            assert_eq!(text.parse::<TimeOfDay>().is_ok(), right, "{text}");
        }
    }

    #[test]
    fn malware_is_never_a_recipients_to_release() {
        let all = Quarantine { users_release: Category::ALL.to_vec(), ..Quarantine::default() };
        assert!(!all.may_release(Some(Category::Malware)) && !all.may_release(None));
        assert!(
            all.may_release(Some(Category::Phishing)) && !Quarantine::default().may_release(Some(Category::Phishing))
        );
    }
}
