//! What is done with what was found: a base policy, and in front of it rules for some people, of which the first that
//! fits counts (docs/policy.md). The same value is written in a file of TOML and kept in the store.

use crate::{Category, Custom, Direction, Edits, custom, edits, limits};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A row of the table: what a message is, or is suspected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    BlockedSender,
    Malware,
    Unscannable,
    MaliciousUrl,
    Impersonation,
    Phishing,
    AuthenticationFailure,
    Spam,
    Bulk,
    DataLoss,
    /// Points of impersonation that do not reach the threshold.
    SuspectedImpersonation,
    /// Points of any kind that do not reach the threshold, but come near it.
    Suspected,
}

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing; what was found of this kind counts for nothing.
    Deliver,
    /// Words in front of the subject.
    Tag,
    BannerInfo,
    BannerCaution,
    BannerDanger,
    /// The attachments in which it was found are taken out; held where that cannot be.
    Strip,
    /// Somebody else of the tenant gets it instead.
    Redirect,
    Hold,
    /// Refused for good; Exchange Online tells the sender. Outgoing mail only.
    Reject,
    /// Taken and thrown away; a line in the log of acts is what is left.
    Delete,
    /// Held where the sender's own domain asks for it (DMARC), else its points count and no more.
    FollowSender,
}

/// How loud a banner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Info,
    Caution,
    Danger,
}

pub type Actions = BTreeMap<Kind, Action>;

/// By rows of the table: mail addresses, or [`ALERT`].
pub type Notify = BTreeMap<Kind, String>;

/// Below the connector's domain: who writes notices.
pub const NOTICE_SENDER: &str = "notice";

/// In the place of an address: the alerts of the operator.
pub const ALERT: &str = "alert";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Nothing is done; what would have been done is written down.
    pub monitor_only: bool,
    /// Where `redirect` leads to: an address of the tenant's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_to: Option<String>,
    /// What no rule says; what is not said here either is [`Kind::usual`].
    pub base: Actions,
    pub wording: Wording,
    /// Who hears of what was done.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub notify: Notify,
    pub rule: Vec<Rule>,
    /// The tenant's own rules of what to find.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custom: Vec<Custom>,
}

/// Other actions for some people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub name: String,
    /// Without it both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Whose mail: of these users, members of these groups, people of these domains; of everybody where none is named.
    #[serde(default, deserialize_with = "in_lower_case")]
    pub users: Vec<String>,
    /// By their mail addresses.
    #[serde(default, deserialize_with = "in_lower_case")]
    pub groups: Vec<String>,
    #[serde(default, deserialize_with = "in_lower_case")]
    pub domains: Vec<String>,
    #[serde(default)]
    pub monitor_only: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_to: Option<String>,
    /// What is not said here, the base policy says.
    #[serde(default)]
    pub actions: Actions,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notify: Notify,
}

/// What tags and banners say, where not the usual words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wording {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caution: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub danger: Option<String>,
}

/// Addresses of the members of each group that rules name; all in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(pub HashMap<String, HashSet<String>>);

/// What cannot be asked for, and where: keys and places in lists, from the outermost on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: Vec<String>,
    pub why: String,
}

impl Kind {
    pub const ALL: [Kind; 12] = [
        Kind::BlockedSender,
        Kind::Malware,
        Kind::Unscannable,
        Kind::MaliciousUrl,
        Kind::Impersonation,
        Kind::Phishing,
        Kind::AuthenticationFailure,
        Kind::Spam,
        Kind::Bulk,
        Kind::DataLoss,
        Kind::SuspectedImpersonation,
        Kind::Suspected,
    ];

    /// Of a message that is certainly so.
    pub fn of(category: Category) -> Kind {
        match category {
            Category::BlockedSender => Kind::BlockedSender,
            Category::Malware => Kind::Malware,
            Category::Unscannable => Kind::Unscannable,
            Category::MaliciousUrl => Kind::MaliciousUrl,
            Category::Impersonation => Kind::Impersonation,
            Category::Phishing => Kind::Phishing,
            Category::AuthenticationFailure => Kind::AuthenticationFailure,
            Category::Spam => Kind::Spam,
            Category::Bulk => Kind::Bulk,
            Category::DataLoss => Kind::DataLoss,
            Category::Clean => Kind::Suspected,
        }
    }

    /// As it is written in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::BlockedSender => "blocked_sender",
            Kind::Malware => "malware",
            Kind::Unscannable => "unscannable",
            Kind::MaliciousUrl => "malicious_url",
            Kind::Impersonation => "impersonation",
            Kind::Phishing => "phishing",
            Kind::AuthenticationFailure => "authentication_failure",
            Kind::Spam => "spam",
            Kind::Bulk => "bulk",
            Kind::DataLoss => "data_loss",
            Kind::SuspectedImpersonation => "suspected_impersonation",
            Kind::Suspected => "suspected",
        }
    }

    /// What is done unless a policy says otherwise.
    pub fn usual(self) -> Action {
        match self {
            Kind::Bulk => Action::Deliver,
            Kind::AuthenticationFailure => Action::FollowSender,
            Kind::SuspectedImpersonation => Action::BannerCaution,
            Kind::Suspected => Action::Tag,
            _ => Action::Hold,
        }
    }
}

impl Action {
    /// As it is written in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Deliver => "deliver",
            Action::Tag => "tag",
            Action::BannerInfo => "banner_info",
            Action::BannerCaution => "banner_caution",
            Action::BannerDanger => "banner_danger",
            Action::Strip => "strip",
            Action::Redirect => "redirect",
            Action::Hold => "hold",
            Action::Reject => "reject",
            Action::Delete => "delete",
            Action::FollowSender => "follow_sender",
        }
    }

    pub fn level(self) -> Option<Level> {
        match self {
            Action::BannerInfo => Some(Level::Info),
            Action::BannerCaution => Some(Level::Caution),
            Action::BannerDanger => Some(Level::Danger),
            _ => None,
        }
    }

    fn is_mark(self) -> bool {
        self == Action::Tag || self.level().is_some()
    }
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Caution => "caution",
            Level::Danger => "danger",
        }
    }
}

impl Wording {
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or("[SUSPICIOUS]")
    }

    pub fn banner(&self, level: Level) -> &str {
        match level {
            Level::Info => self.info.as_deref().unwrap_or(
                "NOTE: Something about this message is unusual. Look at the sender's address before you answer.",
            ),
            Level::Caution => self.caution.as_deref().unwrap_or(
                "CAUTION: The sender of this message may not be who they seem to be. Check the address, and ask another way before you pay, send data or sign in.",
            ),
            Level::Danger => self.danger.as_deref().unwrap_or(
                "DANGER: This message looks like fraud. Do not open links or attachments, do not answer, and tell your administrator.",
            ),
        }
    }

    pub fn banners(&self) -> Vec<String> {
        [Level::Info, Level::Caution, Level::Danger].map(|level| self.banner(level).to_owned()).into()
    }
}

impl Members {
    fn contains(&self, group: &str, address: &str) -> bool {
        self.0.get(group).is_some_and(|m| m.contains(address))
    }
}

impl Rule {
    fn is_for_all(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty() && self.domains.is_empty()
    }

    /// True of mail of the tenant's `person`, in lower case: who receives it, or outbound who sends it.
    fn fits(&self, direction: Direction, person: &str, members: Option<&Members>) -> bool {
        let domain = person.rsplit_once('@').map_or("", |(_, d)| d);
        let is_group = |g: &String| {
            // mail to the group's own address is its members'
            g == person || members.is_some_and(|m| m.contains(g, person))
        };
        self.direction.is_none_or(|d| d == direction)
            && (self.is_for_all()
                || self.users.iter().any(|u| u == person)
                || self.domains.iter().any(|d| is_or_is_below(domain, d))
                || self.groups.iter().any(is_group))
    }
}

/// Without case; a domain is of itself and of those above it.
pub(crate) fn is_or_is_below(domain: &str, other: &str) -> bool {
    let (domain, other) = (domain.trim_end_matches('.').as_bytes(), other.as_bytes());
    let Some(more) = domain.len().checked_sub(other.len()) else { return false };
    domain[more..].eq_ignore_ascii_case(other) && (more == 0 || domain[more - 1] == b'.')
}

impl Rules {
    /// The first rule that fits; `None`: the base policy alone.
    pub fn first(&self, direction: Direction, person: &str, members: Option<&Members>) -> Option<&Rule> {
        let person = person.to_lowercase();
        self.rule.iter().find(|rule| rule.fits(direction, &person, members))
    }

    pub fn action(&self, rule: Option<&Rule>, kind: Kind) -> Action {
        let said = rule.and_then(|r| r.actions.get(&kind)).or_else(|| self.base.get(&kind));
        said.copied().unwrap_or_else(|| kind.usual())
    }

    /// Where this rule's `redirect` leads to.
    pub fn redirect_to<'a>(&'a self, rule: Option<&'a Rule>) -> Option<&'a str> {
        rule.and_then(|r| r.redirect_to.as_deref()).or(self.redirect_to.as_deref())
    }

    /// Who hears of what this row of the table did.
    pub fn notified<'a>(&'a self, rule: Option<&'a Rule>, kind: Kind) -> Option<&'a str> {
        rule.and_then(|r| r.notify.get(&kind)).or_else(|| self.notify.get(&kind)).map(String::as_str)
    }

    /// Addresses that have to be the tenant's own, each with its place: mail is redirected to them, or they are notified.
    pub fn own_addresses(&self) -> Vec<(Vec<String>, String)> {
        let mut all = Vec::new();
        let mut add = |at: &[&str], to: Option<&String>, notify: &Notify| {
            let place = |key: &[&str]| [at, key].concat().iter().map(|k| (*k).to_owned()).collect::<Vec<String>>();
            let told = notify.iter().filter(|(_, who)| *who != ALERT);
            to.map(|to| (place(&["redirect_to"]), to.clone()))
                .into_iter()
                .chain(told.map(|(kind, who)| (place(&["notify", kind.as_str()]), who.clone())))
                .for_each(|one| all.push(one));
        };
        add(&[], self.redirect_to.as_ref(), &self.notify);
        for (n, rule) in self.rule.iter().enumerate() {
            add(&["rule", &n.to_string()], rule.redirect_to.as_ref(), &rule.notify);
        }
        all
    }

    /// Mail addresses of the groups that rules name, each once.
    pub fn groups(&self) -> Vec<String> {
        let mut all: Vec<String> = self.rule.iter().flat_map(|r| &r.groups).cloned().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// All that cannot be asked for.
    pub fn wrong(&self) -> Vec<Wrong> {
        let mut all = Complaints::default();
        all.of_actions(&["base"], &self.base, None);
        all.of_wording(&self.wording);
        all.of_ways(&[], &self.base, self.redirect_to.as_deref(), self.redirect_to.as_deref(), &self.notify);
        custom::complain(&self.custom, &mut all);
        if self.rule.len() > limits::RULES_MAX {
            all.say(&["rule"], format!("a policy has at most {} rules", limits::RULES_MAX));
        }
        if self.groups().len() > limits::RULE_GROUPS_MAX {
            all.say(&["rule"], format!("all rules together name at most {} groups", limits::RULE_GROUPS_MAX));
        }
        for (n, rule) in self.rule.iter().enumerate() {
            let place = n.to_string();
            let at = |key: &'static str| ["rule", place.as_str(), key];
            let letters = rule.name.trim().chars().count();
            if !(1..=limits::RULE_NAME_CHARS_MAX).contains(&letters) || rule.name.contains(char::is_control) {
                all.say(&at("name"), format!("a rule's name has 1 to {} letters", limits::RULE_NAME_CHARS_MAX));
            }
            if self.rule[..n].iter().any(|r| r.name == rule.name) {
                all.say(&at("name"), format!("two rules are called \"{}\"", rule.name));
            }
            let before = |r: &&Rule| r.is_for_all() && r.direction.is_none_or(|d| rule.direction == Some(d));
            if let Some(before) = self.rule[..n].iter().find(before) {
                let why = format!("never fires: the rule \"{}\" before it is for everybody", before.name);
                all.say(&at("name"), why);
            }
            all.of_people(rule, &at);
            all.of_actions(&at("actions"), &rule.actions, Some(rule));
            let to = self.redirect_to(Some(rule));
            all.of_ways(&["rule", &place], &rule.actions, rule.redirect_to.as_deref(), to, &rule.notify);
        }
        all.0
    }
}

#[derive(Default)]
pub(crate) struct Complaints(Vec<Wrong>);

impl Complaints {
    pub(crate) fn say(&mut self, at: &[&str], why: String) {
        self.0.push(Wrong { at: at.iter().map(|k| (*k).to_owned()).collect(), why });
    }

    fn of_actions(&mut self, at: &[&str], actions: &Actions, rule: Option<&Rule>) {
        let outbound = rule.is_some_and(|r| r.direction == Some(Direction::Outbound));
        for (kind, action) in actions {
            let why = match (kind, action) {
                (Kind::Malware, a) if !matches!(a, Action::Strip | Action::Hold | Action::Reject | Action::Delete) => {
                    "malware is held, stripped, rejected or deleted; it never passes"
                }
                (Kind::BlockedSender, Action::Strip) => {
                    "of a blocked sender nothing was found in attachments; hold or delete it"
                }
                (k, Action::FollowSender) if *k != Kind::AuthenticationFailure => {
                    "only authentication_failure can follow the sender's policy"
                }
                (k, Action::Reject) if *k != Kind::DataLoss && !outbound => {
                    "only outgoing mail is rejected: say it in a rule with direction = \"outbound\". Mail from outside was taken by Microsoft already; hold it"
                }
                (k, a) if (a.is_mark() || *a == Action::Strip) && (outbound || *k == Kind::DataLoss) => {
                    "outgoing mail is neither tagged nor given a banner nor stripped; deliver, hold, redirect, reject or delete it"
                }
                _ => continue,
            };
            self.say(&[at, &[kind.as_str()]].concat(), why.into());
        }
    }

    /// Where mail is redirected to, and who hears of what.
    fn of_ways(&mut self, at: &[&str], actions: &Actions, own: Option<&str>, to: Option<&str>, notify: &Notify) {
        if let Some(wrong) = own.filter(|a| !is_address(a)) {
            self.say(&[at, &["redirect_to"]].concat(), format!("\"{wrong}\" is no mail address"));
        }
        let key = if at.is_empty() { "base" } else { "actions" };
        for (kind, _) in actions.iter().filter(|(_, a)| **a == Action::Redirect && to.is_none()) {
            let why = "where to? Say `redirect_to = \"somebody@your.domain\"`".to_owned();
            self.say(&[at, &[key, kind.as_str()]].concat(), why);
        }
        for (kind, who) in notify.iter().filter(|(_, who)| *who != ALERT && !is_address(who)) {
            let why = format!("\"{who}\" is neither a mail address nor \"{ALERT}\"");
            self.say(&[at, &["notify", kind.as_str()]].concat(), why);
        }
    }

    fn of_people<'r>(&mut self, rule: &Rule, at: &impl Fn(&'static str) -> [&'r str; 3]) {
        if rule.users.len() + rule.groups.len() + rule.domains.len() > limits::ASSIGNED_MAX {
            let why = format!(
                "a rule names at most {} users, groups and domains; put people into a group",
                limits::ASSIGNED_MAX
            );
            self.say(&at("name"), why);
        }
        for (key, list) in [("users", &rule.users), ("groups", &rule.groups)] {
            if let Some(wrong) = list.iter().find(|a| !is_address(a)) {
                self.say(&at(key), format!("\"{wrong}\" is no mail address"));
            }
        }
        if let Some(wrong) = rule.domains.iter().find(|d| !crate::lists::is_domain(d)) {
            self.say(&at("domains"), format!("\"{wrong}\" is no domain such as \"contoso.example\""));
        }
    }

    fn of_wording(&mut self, wording: &Wording) {
        let tag = Edits { subject_tag: wording.tag.clone(), ..Edits::default() }.wrong();
        tag.into_iter().for_each(|why| self.say(&["wording", "tag"], why));
        let banners = [("info", &wording.info), ("caution", &wording.caution), ("danger", &wording.danger)];
        for (key, words) in banners {
            let why = words.as_ref().and_then(|words| edits::wrong_wording(words));
            why.into_iter().for_each(|why| self.say(&["wording", key], why));
        }
        let mut all = wording.banners();
        all.sort_unstable();
        all.dedup();
        if all.len() < 3 {
            self.say(&["wording"], "two levels say the same; nobody could tell them apart".into());
        }
    }
}

fn in_lower_case<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<String>::deserialize(from)?.iter().map(|text| text.trim().to_lowercase()).collect())
}

pub(crate) fn is_address(text: &str) -> bool {
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    plain && text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && crate::lists::is_domain(domain))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rules(json: serde_json::Value) -> Rules {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_first_rule_that_fits_counts_and_the_base_says_the_rest() {
        let rules = rules(serde_json::json!({
            "base": {"bulk": "tag"},
            "rule": [
                {"name": "ada", "users": ["Ada@contoso.example"], "actions": {"phishing": "delete"}},
                {"name": "board", "groups": ["board@contoso.example"], "actions": {"spam": "banner_danger"}},
                {"name": "out", "direction": "outbound", "actions": {"data_loss": "reject"}},
                {"name": "labs", "domains": ["labs.example"]},
            ],
        }));
        let members = Members([("board@contoso.example".into(), ["eve@contoso.example".to_owned()].into())].into());
        let name = |direction, person: &str| {
            rules.first(direction, person, Some(&members)).map_or("base", |r| r.name.as_str()).to_owned()
        };
        let inbound: Vec<String> = [
            "ada@CONTOSO.example",
            "eve@contoso.example",
            "board@contoso.example",
            "x@a.Labs.example",
            "x@notlabs.example",
            "",
        ]
        .map(|p| name(Direction::Inbound, p))
        .into();
        assert_eq!(inbound, ["ada", "board", "board", "labs", "base", "base"]);
        assert_eq!(name(Direction::Outbound, "x@labs.example"), "out");
        let eve = rules.first(Direction::Inbound, "eve@contoso.example", Some(&members));
        let actions = [Kind::Spam, Kind::Bulk, Kind::Phishing].map(|k| rules.action(eve, k));
        assert_eq!(actions, [Action::BannerDanger, Action::Tag, Action::Hold]);
    }

    #[test]
    fn what_cannot_be_asked_for() {
        let said = |json: serde_json::Value| {
            let all = rules(json).wrong();
            all.iter().map(|w| format!("{}: {}\n", w.at.join("."), w.why)).collect::<String>()
        };
        assert_eq!(said(serde_json::json!({"base": {"malware": "delete", "data_loss": "reject"}})), "");
        insta::assert_snapshot!(said(serde_json::json!({
            "base": {"malware": "deliver", "spam": "follow_sender", "phishing": "reject", "data_loss": "tag"},
            "wording": {"tag": "", "info": "short", "caution": "> a quoted warning, long enough"},
            "rule": [
                {"name": "", "users": ["ada"], "domains": ["contoso"]},
                {"name": "all"},
                {"name": "all", "direction": "outbound", "actions": {"spam": "banner_info", "phishing": "reject"}},
            ],
        })));
    }

    #[test]
    fn other_ways_and_own_rules_that_cannot_be_asked_for() {
        let said = |json: serde_json::Value| {
            let all = rules(json).wrong();
            all.iter().map(|w| format!("{}: {}\n", w.at.join("."), w.why)).collect::<String>()
        };
        let custom = serde_json::json!({"name": "a", "when": "true", "category": "spam", "reason": "so"});
        insta::assert_snapshot!(said(serde_json::json!({
            "redirect_to": "nobody",
            "base": {"malware": "redirect", "blocked_sender": "strip", "data_loss": "strip", "spam": "redirect"},
            "notify": {"spam": "soc", "phishing": "alert", "malware": "soc@contoso.example"},
            "rule": [{"name": "out", "direction": "outbound", "actions": {"phishing": "strip"}, "notify": {"spam": "x"}}],
            "custom": [
                custom,
                {"name": "a\nb", "when": "", "category": "clean", "reason": "as it is", "points": 100},
                {"name": "a", "when": "", "category": "phishing", "severity": "malicious", "reason": "as it is", "points": 1},
            ],
        })));
        assert!(said(serde_json::json!({"base": {"spam": "redirect"}})).contains("where to?"));
    }

    #[test]
    fn what_is_usual_is_right_and_every_kind_is_written_as_it_is_read() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(serde_json::to_value(kind.usual()).unwrap(), kind.usual().as_str());
        }
        let base = Kind::ALL.iter().map(|k| (*k, k.usual())).collect();
        assert_eq!(Rules { base, ..Rules::default() }.wrong(), []);
        assert_eq!(serde_json::from_str::<crate::Policy>(r#"{"only_note":["d"]}"#).unwrap().rules, Rules::default());
    }
}
