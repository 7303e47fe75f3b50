//! Patterns of `matches`, compiled once, into automata that look at each octet once (DFAs): whatever the pattern and the
//! text, an octet costs the same, so that a pattern's cost is known. What has no small automaton of this kind is refused;
//! an engine that takes everything falls back to one that was measured to take a thousand times as long.

use crate::limits::{RULE_PATTERN_OCTETS_MAX, RULE_PATTERN_SIZE_MAX};
use cel::common::types::{CelBool, CelString, STRING_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::{Input, MatchKind};
use std::any::Any;
use std::error::Error;
use std::sync::Arc;

/// What `matches` becomes; nobody can write it.
pub(crate) const FUNCTION: &str = "@matches";

static PATTERN: Type = Type::new_unspecified_type("pattern");

/// A value of the interpreter.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Arc<dense::DFA<Vec<u32>>>);

pub(crate) fn compiled(written: &str) -> Result<Pattern, String> {
    if written.len() > RULE_PATTERN_OCTETS_MAX {
        return Err(format!("a pattern has at most {RULE_PATTERN_OCTETS_MAX} octets"));
    }
    let dfa = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        .match_kind(MatchKind::All)
        .dfa_size_limit(Some(RULE_PATTERN_SIZE_MAX))
        .determinize_size_limit(Some(4 * RULE_PATTERN_SIZE_MAX));
    let nfa = thompson::Config::new().nfa_size_limit(Some(RULE_PATTERN_SIZE_MAX));
    let built = dense::Builder::new().configure(dfa).thompson(nfa).build(&with_ascii_words(written));
    built.map(|dfa| Pattern(Arc::new(dfa))).map_err(|e| {
        // the innermost says what is wrong with what was written
        let mut innermost = e.source();
        while let Some(inner) = innermost.and_then(Error::source) {
            innermost = Some(inner);
        }
        match innermost.map(ToString::to_string).and_then(|s| s.lines().last().map(|l| l.trim_start_matches("error: ").to_owned())) {
            Some(why) if !e.is_size_limit_exceeded() => format!("the pattern: {why}"),
            _ => "the pattern becomes too large. Mostly a gap of so many letters is why: write `.*` for `.{0,40}`, `[0-9]` for `\\d`, or make two patterns of it".into(),
        }
    })
}

/// Words of ASCII end where one octet tells it; those of all languages do not.
fn with_ascii_words(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    let mut letters = written.chars().peekable();
    while let Some(c) = letters.next() {
        match (c, letters.peek()) {
            ('\\', Some('b')) => {
                letters.next();
                out.push_str(if letters.peek() == Some(&'{') { "\\b" } else { "(?-u:\\b)" });
            }
            ('\\', Some(_)) => {
                out.push(c);
                out.extend(letters.next());
            }
            _ => out.push(c),
        }
    }
    out
}

impl Pattern {
    /// In memory.
    pub(crate) fn octets(&self) -> usize {
        self.0.memory_usage()
    }

    fn is_in(&self, text: &str) -> Result<bool, String> {
        let found = self.0.try_search_fwd(&Input::new(text).earliest(true));
        found.map(|found| found.is_some()).map_err(|e| e.to_string())
    }
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }
    fn cel_type() -> &'static Type {
        &PATTERN
    }
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}
impl StaticVal for Pattern {}

/// The function that a checked expression calls.
pub(crate) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(FUNCTION, "matches_pattern", vec![STRING_TYPE, PATTERN.to_owned()], matches)
}

fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let given = match args.as_slice() {
        [text, pattern] => text.downcast_ref::<CelString<'_>>().zip(pattern.downcast_ref::<Pattern>()),
        _ => None,
    };
    let (text, pattern) = given.ok_or_else(|| ExecutionError::function_error("matches", "not a text and a pattern"))?;
    let found = pattern.is_in(text.inner()).map_err(|why| ExecutionError::function_error("matches", why))?;
    Ok(CowVal::owned(CelBool::from(found)))
}
