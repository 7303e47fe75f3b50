//! Rules that a tenant writes itself (docs/rules.md): shown, set, checked, and asked of what the store keeps before they
//! are switched on.

use crate::commands::open;
use crate::config::Config;
use crate::lifecycle::who;
use crate::{policy, show, wiring};
use anyhow::{Result, bail};
use clap::Subcommand;
use serde::Serialize;
use std::path::{Path, PathBuf};
use store::{JourneyEntry, Store};
use tenant::{Custom, Direction, Rules, State, Tenant, Weight};
use verdict::custom::{self, Answer, Described, Facts, Seen};
use verdict::{CustomRules, Finding, Saved};

#[derive(Subcommand)]
pub enum RulesCommand {
    /// The tenant's own rules.
    Show {
        /// Tenant id, label or domain.
        tenant: String,
        /// As a file for `rules set`.
        #[arg(long)]
        toml: bool,
    },
    /// Put the rules of a file in the place of the present ones.
    Set {
        /// Tenant id, label or domain.
        tenant: String,
        #[arg(short, long)]
        file: PathBuf,
    },
    /// Say whether a file holds rules, and what is wrong with them.
    Check { file: PathBuf },
    /// Say which mail of the last days they would have found; changes nothing.
    Test {
        /// Tenant id, label or domain.
        tenant: String,
        /// Ask the rules of this file instead of the tenant's.
        #[arg(short, long)]
        file: Option<PathBuf>,
        /// Mail of so long, such as 7d or 12h.
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = crate::ledger::duration)]
        since: jiff::SignedDuration,
        /// Messages that are named for each rule; all are counted.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// What a rule sees of a message.
    Fields,
}

pub async fn run(config: &Path, command: RulesCommand, json: bool) -> Result<()> {
    match command {
        RulesCommand::Check { file } => {
            let rules = policy::read(&file)?.custom;
            let micros = CustomRules::of(&rules).0.cost() / 1000;
            show::print(json, &rules, || {
                let told = format!("{} holds {} custom rules", file.display(), rules.len());
                format!("{told}; at the very worst they take {micros} µs of a message")
            })
        }
        RulesCommand::Fields => {
            let all = custom::described();
            show::print(json, &all, || fields(&all))
        }
        RulesCommand::Show { tenant, toml } => {
            let store = open(&Config::read(config)?).await?;
            let tenant = wiring::find_tenant(&store, &tenant).await?;
            if toml {
                print!("{}", toml::to_string(&of(tenant.policy.rules.custom))?);
                return Ok(());
            }
            show::print(json, &tenant.policy.rules.custom, || text(&tenant))
        }
        RulesCommand::Set { tenant, file } => set(&Config::read(config)?, &tenant, &file, json).await,
        RulesCommand::Test { tenant, file, since, limit } => {
            let store = open(&Config::read(config)?).await?;
            let tenant = wiring::find_tenant(&store, &tenant).await?;
            let rules = match file {
                Some(file) => policy::read(&file)?.custom,
                None => tenant.policy.rules.custom.clone(),
            };
            if rules.is_empty() {
                bail!("there is no custom rule to ask: docs/rules.md shows one");
            }
            let tested = tested(&store, &tenant, &rules, jiff::Timestamp::now() - since, limit).await?;
            show::print(json, &tested, || tested.text())
        }
    }
}

/// Nothing but these.
fn of(custom: Vec<Custom>) -> Rules {
    Rules { custom, ..Rules::default() }
}

async fn set(config: &Config, name: &str, file: &Path, json: bool) -> Result<()> {
    let rules = policy::read(file)?;
    if of(rules.custom.clone()) != rules {
        bail!("{} says more than custom rules; `posthouse policy set` takes it as a whole", file.display());
    }
    let store = open(config).await?;
    let tenant = wiring::find_tenant(&store, name).await?;
    let change = |known: &mut Tenant| {
        known.policy.set_rules(Rules { custom: rules.custom.clone(), ..known.policy.rules.clone() });
    };
    let Some(tenant) = store.change_tenant(tenant.id, change).await? else {
        bail!("{name} was disconnected meanwhile; nothing was set")
    };
    let detail = format!("revision {}: {}", tenant.policy.revision, serde_json::to_string(&rules.custom)?);
    store.put_act(&who(), "custom rules", Some(tenant.id), &detail).await?;
    show::print(json, &tenant.policy.rules.custom, || text(&tenant))
}

fn fields(all: &[Described]) -> String {
    let row = |d: &Described| [d.name.clone(), d.kind.clone(), d.prose.to_owned()];
    show::table(["name", "what", ""], all.iter().map(row)).to_string()
}

fn text(tenant: &Tenant) -> String {
    let rules = &tenant.policy.rules.custom;
    if rules.is_empty() {
        return format!("{} has no custom rules", tenant.display_name);
    }
    let row = |r: &Custom| {
        let weight = match r.severity {
            Weight::Note => format!("note, {} points", r.points),
            Weight::Suspicious => "suspicious".into(),
            Weight::Malicious => "malicious".into(),
        };
        [
            show::safe(&r.name),
            state(r).into(),
            format!("{}, {weight}", r.category.as_str()),
            show::safe(&r.when),
            show::safe(&r.reason),
        ]
    };
    show::table(["rule", "state", "what it finds", "when", "reason"], rules.iter().map(row)).to_string()
}

fn state(rule: &Custom) -> &'static str {
    match rule.state {
        State::Watch => "watched",
        State::Enabled => "enabled",
    }
}

/// What a rule says of the mail of some days.
#[derive(Serialize)]
struct Tested {
    since: jiff::Timestamp,
    journeys: u64,
    rules: Vec<OfRule>,
}

#[derive(Default, Serialize)]
struct OfRule {
    rule: String,
    state: &'static str,
    found: u64,
    not_found: u64,
    /// Only the message itself could have told, and it is not kept.
    not_known: u64,
    failed: u64,
    /// What was not known, and why it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    because: Vec<String>,
    messages: Vec<FoundIn>,
}

#[derive(Serialize)]
struct FoundIn {
    journey: String,
    at: jiff::Timestamp,
    from: Option<String>,
    subject: Option<String>,
    /// What was done with it then.
    decision: Option<verdict::Verdict>,
}

async fn tested(
    store: &Store,
    tenant: &Tenant,
    rules: &[Custom],
    since: jiff::Timestamp,
    limit: usize,
) -> Result<Tested> {
    let custom = CustomRules::of(rules).0;
    let known = |rule: &Custom| OfRule { rule: rule.name.clone(), state: state(rule), ..OfRule::default() };
    let mut tested = Tested { since, journeys: 0, rules: rules.iter().map(known).collect() };
    let mut before = None;
    loop {
        let some = store.journeys_since(tenant.id, since, before.as_ref()).await?;
        let Some(last) = some.last() else { return Ok(tested) };
        before = Some((last.started, last.id.clone()));
        for journey in some.iter().filter(|j| j.probe.is_none() && j.direction.is_some()) {
            let found: Vec<Finding> = journey.findings.iter().filter(|f| !custom::is_of_rule(f)).cloned().collect();
            let answers = custom.ask(facts(store, &custom, tenant, journey).await, &found);
            tested.journeys += 1;
            for (rule, answer) in answers {
                if let Some(told) = tested.rules.iter_mut().find(|r| r.rule == rule.name) {
                    told.count(journey, answer, limit);
                }
            }
        }
    }
}

/// Of the message itself where it is held, else of what the journal says of it.
async fn facts(store: &Store, custom: &CustomRules, tenant: &Tenant, journey: &JourneyEntry) -> Facts {
    let direction = journey.direction.unwrap_or(Direction::Inbound);
    let held = match &journey.held {
        Some(id) => store.held_one(id).await.ok().flatten().filter(|h| h.hold.tenant == tenant.id),
        None => None,
    };
    if let Some(held) = held
        && let Ok(body) = store.held_body(&held.id).await
    {
        let mut saved = Saved::read(body.to_vec());
        saved.envelope = mail::Envelope::new(journey.sender.clone(), journey.recipients.clone());
        (saved.direction, saved.proofs) = (direction, journey.proofs.clone());
        return saved.facts(custom, &tenant.domains);
    }
    custom.facts_of(&Seen {
        direction,
        octets: journey.bytes,
        mail_from: &journey.sender,
        recipients: journey.recipients.iter().map(String::as_str).collect(),
        from: journey.from.as_deref().unwrap_or_default(),
        reply_to: journey.reply_to.iter().map(String::as_str).collect(),
        subject: journey.subject.as_deref().unwrap_or_default(),
        proofs: &journey.proofs,
        history: None,
        whole: None,
    })
}

/// Reasons that are named.
const BECAUSE_MAX: usize = 5;

impl OfRule {
    fn count(&mut self, journey: &JourneyEntry, answer: Answer, limit: usize) {
        let mut because = |why: String| {
            if self.because.len() < BECAUSE_MAX && !self.because.contains(&why) {
                self.because.push(why);
            }
        };
        match answer {
            Answer::No => self.not_found += 1,
            Answer::Unknown(name) => {
                because(format!("`{name}` is known of held messages only"));
                self.not_known += 1;
            }
            Answer::Failed(why) => {
                because(why);
                self.failed += 1;
            }
            Answer::Yes => {
                self.found += 1;
                if self.messages.len() < limit {
                    self.messages.push(FoundIn {
                        journey: journey.id.clone(),
                        at: journey.started,
                        from: journey.from.clone(),
                        subject: journey.subject.clone(),
                        decision: journey.decision.as_ref().map(|d| d.verdict),
                    });
                }
            }
        }
    }
}

impl Tested {
    fn text(&self) -> String {
        let row = |r: &OfRule| {
            [
                show::safe(&r.rule),
                r.state.into(),
                r.found.to_string(),
                r.not_found.to_string(),
                r.not_known.to_string(),
                r.failed.to_string(),
                show::safe(&r.because.join("\n")),
            ]
        };
        let headings = ["rule", "state", "found", "not found", "not known", "failed", "because"];
        let mut text = format!(
            "{} journeys since {:.0}\n{}",
            self.journeys,
            self.since,
            show::table(headings, self.rules.iter().map(row))
        );
        let found = self.rules.iter().flat_map(|r| r.messages.iter().map(move |m| (r, m)));
        let rows: Vec<_> = found
            .map(|(r, m)| {
                let done = m.decision.map(|d| format!("{d:?}").to_lowercase()).unwrap_or_default();
                let or = |t: &Option<String>| show::short(t.as_deref().unwrap_or_default(), 50);
                [m.journey.clone(), show::safe(&r.rule), or(&m.from), or(&m.subject), done]
            })
            .collect();
        if !rows.is_empty() {
            text += &format!("\n{}", show::table(["journey", "rule", "from", "subject", "was"], rows));
        }
        text
    }
}
