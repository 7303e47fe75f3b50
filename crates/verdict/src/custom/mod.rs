//! Rules that a tenant writes itself, in CEL (docs/rules.md): checked and compiled when the tenant is read, asked of
//! each message after the detectors and engines. A rule that cannot be asked says so in a finding that weighs nothing:
//! it never stops mail.

mod check;
mod model;
mod pattern;
#[cfg(test)]
mod tests;

use crate::finding::HOLD_POINTS;
use crate::limits::*;
use crate::{Evidence, Finding, Severity};
use cel::common::ast::SourceInfo;
use cel::parser::Parser;
use cel::{Context, Env, IdedExpr, Value};
use check::{Checker, Cost, Type};
pub use model::{Described, Seen, described};
use model::{Source, Variable, variable};
use pattern::Pattern;
use std::sync::{Arc, LazyLock};
use tenant::{Custom, State, Weight, Wrong, wrong_custom};

/// Before the name of a rule whose finding counts, of one that is only watched, and of one that could not be asked.
pub const ENABLED: &str = "custom:";
pub const WATCHED: &str = "watched:";
pub const FAILED: &str = "failed:";

/// True of what nothing follows from: only told.
pub fn is_only_told(finding: &Finding) -> bool {
    finding.detector.starts_with(WATCHED) || finding.detector.starts_with(FAILED)
}

/// True of what custom rules found, whatever follows from it.
pub fn is_of_rule(finding: &Finding) -> bool {
    is_only_told(finding) || finding.detector.starts_with(ENABLED)
}

/// The rules of a tenant, ready to be asked.
#[derive(Debug, Default)]
pub struct CustomRules {
    rules: Vec<Ready>,
    /// What any of them looks at.
    used: Vec<&'static Variable>,
    digests: bool,
}

#[derive(Debug)]
struct Ready {
    rule: Custom,
    compiled: Compiled,
}

#[derive(Debug)]
struct Compiled {
    expression: IdedExpr,
    patterns: Vec<(String, Pattern)>,
    used: Vec<&'static str>,
    digests: bool,
    cost: Cost,
}

impl Compiled {
    fn pattern_octets(&self) -> usize {
        self.patterns.iter().map(|(_, p)| p.octets()).sum()
    }
}

/// What the rules look at of one message, copied from it. What of it is not known has no value.
#[derive(Clone, Debug, Default)]
pub struct Facts(Vec<(&'static str, Option<Value>)>);

/// What a rule says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// This is not known of the message.
    Unknown(&'static str),
    Failed(String),
}

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // names that the library has twice are its own fault, and its tests would show it
    let _ = env.add_extension(cel::extensions::strings);
    let _ = pattern::declare(&mut env);
    Arc::new(env)
});

/// All that is wrong with the expressions, each with its place.
pub fn wrong(rules: &[Custom]) -> Vec<Wrong> {
    CustomRules::of(rules).1
}

impl CustomRules {
    /// Those that can be asked, and what is wrong with the others.
    pub fn of(rules: &[Custom]) -> (CustomRules, Vec<Wrong>) {
        let (mut all, mut wrong) = (CustomRules::default(), Vec::new());
        let (mut cost, mut octets) = (0u64, 0usize);
        for (n, rule) in rules.iter().enumerate().take(tenant::limits::CUSTOM_RULES_MAX) {
            let mut refuse =
                |why: String| wrong.push(wrong_custom(n, "when", format!("rule \"{}\", {why}", rule.name)));
            match compiled(n, &rule.when) {
                Err(why) => refuse(why),
                Ok(one) if cost.saturating_add(one.cost) > RULES_COST_MAX => refuse(format!(
                    "which would be too much for one message: all rules together may cost {} steps, those before it {cost} and it {}",
                    RULES_COST_MAX, one.cost
                )),
                Ok(one) if octets + one.pattern_octets() > RULES_PATTERN_SIZE_MAX => refuse(format!(
                    "whose patterns would take too much memory: all rules together may have {} KiB, and it has {}",
                    RULES_PATTERN_SIZE_MAX >> 10,
                    one.pattern_octets() >> 10
                )),
                Ok(one) => {
                    cost += one.cost;
                    octets += one.pattern_octets();
                    all.digests |= one.digests;
                    let new = one.used.iter().filter_map(|name| variable(name));
                    for variable in new {
                        if !all.used.iter().any(|v| v.name == variable.name) {
                            all.used.push(variable);
                        }
                    }
                    all.rules.push(Ready { rule: rule.clone(), compiled: one });
                }
            }
        }
        (all, wrong)
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Steps that all of them take at most.
    pub fn cost(&self) -> u64 {
        self.rules.iter().map(|r| r.compiled.cost).sum()
    }

    /// Parts of one message that differ in their recipients may be judged differently.
    pub fn tell_recipients_apart(&self) -> bool {
        self.used.iter().any(|v| v.name == "recipients")
    }

    /// Those that the rules look at, and no more.
    pub fn facts(&self, evidence: &Evidence<'_>) -> Facts {
        if self.is_empty() {
            return Facts::default();
        }
        let from = evidence.message.from_address().unwrap_or_default();
        let subject = evidence.message.subject().unwrap_or_default();
        self.facts_of(&Seen::of(evidence, &from, &subject))
    }

    pub fn facts_of(&self, seen: &Seen<'_>) -> Facts {
        let of_message = self.used.iter().filter_map(|v| match v.source {
            Source::Message(of) => Some((v.name, of(seen, self.digests))),
            Source::Findings(_) => None,
        });
        Facts(of_message.collect())
    }

    /// What each rule says, by its name.
    pub fn ask(&self, facts: Facts, findings: &[Finding]) -> Vec<(&Custom, Answer)> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut context = Context::with_env(ENV.clone());
        let mut unknown: Vec<&'static str> = Vec::new();
        for (name, value) in facts.0 {
            match value {
                Some(value) => context.add_variable_from_value(name, value),
                None => unknown.push(name),
            }
        }
        for variable in &self.used {
            if let Source::Findings(of) = variable.source {
                context.add_variable_from_value(variable.name, of(findings));
            }
        }
        for (name, pattern) in self.rules.iter().flat_map(|r| &r.compiled.patterns) {
            context.add_variable_as_val(name, Box::new(pattern.clone()));
        }
        self.rules.iter().map(|ready| (&ready.rule, ready.answer(&context, &unknown))).collect()
    }

    /// What they find, in their order.
    pub fn look(&self, facts: Facts, findings: &[Finding]) -> Vec<Finding> {
        self.ask(facts, findings).into_iter().filter_map(|(rule, answer)| found(rule, answer)).collect()
    }
}

impl Ready {
    fn answer(&self, context: &Context<'_, '_>, unknown: &[&'static str]) -> Answer {
        if let Some(name) = unknown.iter().find(|name| self.compiled.used.contains(name)) {
            return Answer::Unknown(name);
        }
        // whatever the interpreter does not expect must not cost the message its other judgement
        let asking = || Value::resolve(&self.compiled.expression, context);
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(asking)) {
            Ok(Ok(Value::Bool(true))) => Answer::Yes,
            Ok(Ok(Value::Bool(false))) => Answer::No,
            Ok(Ok(_)) => Answer::Failed("it came to neither true nor false".into()),
            Ok(Err(e)) => Answer::Failed(short(&e.to_string())),
            Err(_) => Answer::Failed("the interpreter panicked".into()),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

fn found(rule: &Custom, answer: Answer) -> Option<Finding> {
    let severity = match rule.severity {
        Weight::Note => Severity::Note,
        Weight::Suspicious => Severity::Suspicious,
        Weight::Malicious => Severity::Malicious,
    };
    let points = if severity == Severity::Note { rule.points.min(HOLD_POINTS - 1) } else { HOLD_POINTS };
    let finding = |prefix: &str, severity, points, summary: String, detail: String| Finding {
        detector: format!("{prefix}{}", rule.name),
        category: rule.category,
        severity,
        points,
        summary,
        details: vec![detail],
    };
    let named = format!("custom rule \"{}\"", rule.name);
    match (answer, rule.state) {
        (Answer::Yes, State::Enabled) => Some(finding(ENABLED, severity, points, rule.reason.clone(), named)),
        (Answer::Yes, State::Watch) => {
            let would =
                format!("{named}, which is only watched; enabled it would have said {severity:?}, {points} points");
            Some(finding(WATCHED, Severity::Note, 0, rule.reason.clone(), would))
        }
        (Answer::Failed(why), _) => {
            let summary = format!("the {named} could not be asked: {why}");
            Some(finding(FAILED, Severity::Note, 0, summary, named))
        }
        (Answer::No | Answer::Unknown(_), _) => None,
    }
}

/// Ready to be asked, or where it is wrong and why. The parser goes as deep as the text does before anybody can say that
/// it is too deep, hence a stack of its own.
fn compiled(n: usize, written: &str) -> Result<Compiled, String> {
    let letters = written.chars().count();
    if letters > RULE_CHARS_MAX {
        return Err(format!(
            "line 1, column 1: an expression has at most {RULE_CHARS_MAX} letters, this one {letters}"
        ));
    }
    let parsing = std::thread::scope(|scope| {
        let parse = std::thread::Builder::new().stack_size(RULE_PARSER_STACK_OCTETS);
        parse.spawn_scoped(scope, || parsed(n, written)).map(|thread| thread.join())
    });
    match parsing {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(_)) => Err("line 1, column 1: the parser panicked over it".into()),
        Err(e) => Err(format!("line 1, column 1: it cannot be parsed now: {e}")),
    }
}

fn parsed(n: usize, written: &str) -> Result<Compiled, String> {
    let parser = Parser::new().max_recursion_depth(RULE_PARSER_DEPTH_MAX);
    let (mut expression, places) = parser.parse_with_source_info(written).map_err(|e| {
        let first = e.errors.first();
        let (line, column) = first.map_or((1, 1), |e| e.pos);
        let why = match first.map(|e| e.msg.lines().next().unwrap_or_default()) {
            Some(why) if why.contains("Recursion limit") => {
                format!("more than {RULE_PARSER_DEPTH_MAX} levels of brackets; make two rules of it")
            }
            why => short(why.unwrap_or_default()),
        };
        format!("line {}, column {}: {why}", line.max(1), column.max(1))
    })?;
    let mut checker = Checker { prefix: format!("@pattern{n}_"), ..Checker::default() };
    let at = |node: u64, why: &str| {
        let (line, column) = place(&places, node, written);
        format!("line {line}, column {column}: {why}")
    };
    let root = expression.id;
    let (of, cost) = checker.check(&mut expression).map_err(|e| at(e.node, &e.why))?;
    if !matches!(of, Type::Bool) {
        return Err(at(root, &format!("a rule is true or false; this is {of}")));
    }
    if cost > RULE_COST_MAX {
        let why = format!(
            "which would cost up to {cost} steps, and {RULE_COST_MAX} are allowed: what is asked of each of many (urls, headers, attachments) costs most, above all where it is a pattern or another list"
        );
        return Err(at(root, &why));
    }
    let patterns = std::mem::take(&mut checker.patterns).into_iter().enumerate();
    Ok(Compiled {
        expression,
        patterns: patterns.map(|(i, p)| (format!("{}{i}", checker.prefix), p)).collect(),
        used: checker.used,
        digests: checker.digests,
        cost,
    })
}

/// Line and column of a node, both from one.
fn place(places: &SourceInfo, node: u64, written: &str) -> (usize, usize) {
    let offset = places.offset_for(node).map_or(0, |(start, _)| start as usize);
    let before: String = written.chars().take(offset).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
