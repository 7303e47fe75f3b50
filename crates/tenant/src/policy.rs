//! What a tenant chose.

use serde::{Deserialize, Serialize};

/// How far the way out and back is known to work. Mail is routed by [`Rollout`] only once it is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// No rule of ours exists or all are off.
    Off,
    /// Only probe messages are routed, until both directions are proven.
    Probe,
    /// Both directions were proven by mail; the rollout says whose mail takes them.
    #[serde(alias = "everyone")]
    Proven,
}

/// Whose mail a routing rule takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The rule is disabled.
    Off,
    /// The rule is evaluated and Microsoft's trace says what it would have taken; it takes nothing.
    Audit,
    /// Members of the pilot groups.
    Pilot,
    #[default]
    Everyone,
}

/// How far mail is routed, each direction by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rollout {
    pub inbound: Stage,
    pub outbound: Stage,
    /// Mail addresses of the groups whose members go first.
    pub pilot_groups: Vec<String>,
    /// Mail addresses of the groups whose members are left out at every stage.
    pub excluded_groups: Vec<String>,
}

impl Rollout {
    pub fn of(&self, direction: crate::Direction) -> Stage {
        match direction {
            crate::Direction::Inbound => self.inbound,
            crate::Direction::Outbound => self.outbound,
        }
    }
    /// What cannot be asked for, in words.
    pub fn wrong(&self) -> Option<&'static str> {
        let pilot = [self.inbound, self.outbound].contains(&Stage::Pilot);
        (pilot && self.pilot_groups.is_empty())
            .then_some("stage pilot needs at least one pilot group; without one the rule would take everybody's mail")
    }
}

/// What happens to a message that we could not judge because *we* are broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnjudged {
    /// Refuse for now; Exchange Online tries again for a day.
    #[default]
    Defer,
    /// Hand it back marked as unjudged.
    Pass,
}

/// What a tenant wants done with what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Findings of these detectors are written down but hold nothing.
    pub only_note: Vec<String>,
    /// Those in whose name attackers like to write, by address or by name; a name may be of somebody without a mailbox here.
    pub vips: Vec<String>,
    pub when_unjudged: WhenUnjudged,
    /// What somebody changed on our objects in the tenant is put right without asking, within bounds.
    pub self_heal: bool,
    /// The watchdog turns routing off when the gateway has been failing for so long; `None`: never.
    pub fail_open_after_minutes: Option<u32>,
    pub exchange_rights: ExchangeRights,
    /// A second application, with rights over mailboxes, is there to take bad mail back out of them.
    pub post_delivery: bool,
    /// What is held and nobody released is deleted after so many days.
    pub hold_days: u32,
    /// What is changed in mail that passes.
    pub edits: crate::Edits,
    /// What is done with what was found.
    pub rules: crate::Rules,
    pub lists: crate::Lists,
    /// Of what is held.
    pub quarantine: crate::Quarantine,
    /// Grows with every change of rules and lists.
    pub revision: u64,
}

impl Policy {
    /// Other rules from now on; what banners of the former ones said is taken out of replies further on.
    pub fn set_rules(&mut self, rules: crate::Rules) {
        self.edits.remember_banners(&self.rules.wording.banners(), &rules.wording.banners());
        self.rules = rules;
        self.revision += 1;
    }
}

/// As long as Microsoft's own quarantine keeps a message at most.
pub const HOLD_DAYS: u32 = 30;

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            only_note: Vec::new(),
            vips: Vec::new(),
            when_unjudged: WhenUnjudged::default(),
            self_heal: false,
            exchange_rights: ExchangeRights::default(),
            post_delivery: false,
            hold_days: HOLD_DAYS,
            fail_open_after_minutes: None,
            edits: crate::Edits::default(),
            rules: crate::Rules::default(),
            lists: crate::Lists::default(),
            quarantine: crate::Quarantine::default(),
            revision: 0,
        }
    }
}

/// By what right our application runs Exchange cmdlets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeRights {
    /// The directory role Exchange Administrator: far more than we use, and leaves nothing behind.
    #[default]
    Administrator,
    /// A role group with only the cmdlets that we run; needs a customised (hydrated) organization.
    RoleGroup,
}
