//! Rules that a tenant writes itself: an expression over what is seen of a message, and what it means when it is true
//! (docs/rules.md). What an expression may say, `verdict::custom` knows.

use crate::rules::{Complaints, Wrong};
use crate::{Category, limits};
use serde::{Deserialize, Serialize};

/// One rule; what it finds is a finding as any detector's, called `custom:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    pub name: String,
    /// For those who keep the rules.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// True of the messages that are meant; in CEL.
    pub when: String,
    pub category: Category,
    #[serde(default)]
    pub severity: Weight,
    /// Of a note; what is suspicious or malicious has those that hold a message.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub points: u32,
    /// What people read.
    pub reason: String,
    #[serde(default)]
    pub state: State,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// How much it weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    #[default]
    Note,
    Suspicious,
    Malicious,
}

/// Whether it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// What it finds is written down, and nothing follows from it.
    #[default]
    Watch,
    Enabled,
}

/// Points of a note stay below those that hold a message.
const NOTE_POINTS_MAX: u32 = 99;

/// What is wrong with rules whatever their expressions say.
pub(crate) fn complain(rules: &[Custom], all: &mut Complaints) {
    if rules.len() > limits::CUSTOM_RULES_MAX {
        all.say(&["custom"], format!("a tenant has at most {} custom rules", limits::CUSTOM_RULES_MAX));
    }
    for (n, rule) in rules.iter().enumerate() {
        let place = n.to_string();
        let mut say = |key: &str, why: String| all.say(&["custom", &place, key], why);
        let is_name = |c: char| c.is_alphanumeric() || " -_.".contains(c);
        let letters = rule.name.chars().count();
        if !(1..=limits::RULE_NAME_CHARS_MAX).contains(&letters)
            || !rule.name.chars().all(is_name)
            || rule.name.trim() != rule.name
        {
            let why = "letters, digits, blanks, \"-\", \"_\" and \".\"";
            say("name", format!("a custom rule's name has 1 to {} {why}", limits::RULE_NAME_CHARS_MAX));
        }
        if rules[..n].iter().any(|r| r.name == rule.name) {
            say("name", format!("two custom rules are called \"{}\"", rule.name));
        }
        for (key, text, least) in [("reason", &rule.reason, 3), ("description", &rule.description, 0)] {
            let letters = text.chars().count();
            if !(least..=limits::CUSTOM_TEXT_CHARS_MAX).contains(&letters) || text.contains(char::is_control) {
                say(key, format!("one line of {least} to {} letters", limits::CUSTOM_TEXT_CHARS_MAX));
            }
        }
        if matches!(rule.category, Category::BlockedSender | Category::Clean) {
            say(
                "category",
                "a rule finds neither \"clean\" nor \"blocked_sender\": for senders there are lists".into(),
            );
        }
        match rule.severity {
            Weight::Note if rule.points > NOTE_POINTS_MAX => say(
                "points",
                format!(
                    "a note has 0 to {NOTE_POINTS_MAX} points; what holds a message alone is severity = \"suspicious\""
                ),
            ),
            Weight::Suspicious | Weight::Malicious if rule.points > 0 => {
                say("points", "only a note has points of its own; what is suspicious or malicious has 100".into());
            }
            _ => {}
        }
    }
}

/// The places of complaints about one rule.
pub fn wrong_custom(n: usize, key: &str, why: String) -> Wrong {
    Wrong { at: vec!["custom".into(), n.to_string(), key.into()], why }
}
