//! An expression is checked before it is ever run: every name is in the model, every operator has what it takes, and
//! what it can cost at most is known, from the bounds of the model's lists and texts. The interpreter has no limit of
//! steps of its own and needs none: what is accepted here cannot loop further than was counted.

use super::model::{Field, Kind, MODEL, variable};
use super::pattern::{self, Pattern};
use crate::limits::*;
use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, operators as op};
use std::fmt;

/// Nanoseconds, roughly: what one octet costs to look at.
pub(crate) type Cost = u64;

/// What an expression is.
#[derive(Clone, Debug)]
pub(crate) enum Type {
    Bool,
    Int,
    /// At most so many octets.
    Text(u64),
    /// At most so many; `None`: of nothing yet.
    List(u64, Option<Box<Type>>),
    Record(&'static [Field]),
}

impl From<Kind> for Type {
    fn from(kind: Kind) -> Type {
        match kind {
            Kind::Bool => Type::Bool,
            Kind::Int => Type::Int,
            Kind::Text(octets) => Type::Text(octets as u64),
            Kind::List(max, of) => Type::List(max as u64, Some(Box::new(Type::from(*of)))),
            Kind::Record(fields) => Type::Record(fields),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "true or false",
            Type::Int => "a number",
            Type::Text(_) => "a text",
            Type::List(..) => "a list",
            Type::Record(_) => "a record of several fields",
        })
    }
}

impl Type {
    /// What a copy of it costs.
    fn weight(&self) -> Cost {
        match self {
            Type::Bool | Type::Int => RULE_STEP_COST,
            Type::Text(octets) => RULE_STEP_COST + octets / RULE_COPY_OCTETS,
            Type::List(n, of) => {
                RULE_STEP_COST + n.saturating_mul(of.as_ref().map_or(RULE_STEP_COST, |of| of.weight()))
            }
            Type::Record(fields) => fields.iter().map(|f| 2 * RULE_STEP_COST + Type::from(f.kind).weight()).sum(),
        }
    }

    /// The same kind of thing, with the larger bound.
    fn join(self, other: Type) -> Option<Type> {
        Some(match (self, other) {
            (Type::Bool, Type::Bool) => Type::Bool,
            (Type::Int, Type::Int) => Type::Int,
            (Type::Text(a), Type::Text(b)) => Type::Text(a.max(b)),
            (Type::List(a, x), Type::List(b, y)) => Type::List(
                a.max(b),
                match (x, y) {
                    (Some(x), Some(y)) => Some(Box::new(x.join(*y)?)),
                    (x, y) => x.or(y),
                },
            ),
            (Type::Record(a), Type::Record(b)) if std::ptr::eq(a, b) => Type::Record(a),
            _ => return None,
        })
    }
}

/// What is wrong, and at which node.
#[derive(Debug)]
pub(crate) struct Refused {
    pub node: u64,
    pub why: String,
}

#[derive(Default)]
pub(crate) struct Checker {
    /// Names that comprehensions bind, the innermost last.
    pub bound: Vec<(String, Type)>,
    pub depth: usize,
    /// Names of the model that are used, and whether digests are.
    pub used: Vec<&'static str>,
    pub digests: bool,
    pub patterns: Vec<Pattern>,
    /// Of the variables that hold the patterns.
    pub prefix: String,
}

type Checked = Result<(Type, Cost), Refused>;

/// What a comprehension calls what it gathers; nobody can write it.
const GATHERED: &str = "@result";

impl Checker {
    /// Also puts compiled patterns in the place of written ones.
    pub(crate) fn check(&mut self, e: &mut IdedExpr) -> Checked {
        self.depth += 1;
        let checked = if self.depth > RULE_DEPTH_MAX {
            refuse(e.id, format!("deeper than {RULE_DEPTH_MAX} levels; make two rules of it"))
        } else {
            self.node(e)
        };
        self.depth -= 1;
        let (of, cost) = checked?;
        Ok((of, cost.saturating_add(RULE_STEP_COST)))
    }

    fn node(&mut self, e: &mut IdedExpr) -> Checked {
        let id = e.id;
        match &mut e.expr {
            Expr::Literal(LiteralValue::Boolean(_)) => Ok((Type::Bool, 0)),
            Expr::Literal(LiteralValue::Int(_)) => Ok((Type::Int, 0)),
            Expr::Literal(LiteralValue::String(s)) => Ok((Type::Text(s.inner().len() as u64), 0)),
            Expr::Literal(_) => refuse(id, "only texts, whole numbers, true and false can be written here"),
            Expr::Ident(name) => Ok((self.name(id, name)?, 0)),
            Expr::Select(select) if select.test => {
                refuse(id, "has() is not needed: every field is there, and empty where nothing is known")
            }
            Expr::Select(select) => {
                let (of, cost) = self.check(&mut select.operand)?;
                Ok((self.field(id, &of, &select.field)?, cost))
            }
            Expr::Call(_) => self.call(e),
            Expr::List(list) => {
                if !list.optional_indices.is_empty() {
                    return refuse(id, "lists have no optional elements here");
                }
                let (mut of, mut cost) = (None::<Type>, 0);
                let n = list.elements.len() as u64;
                for element in &mut list.elements {
                    let node = element.id;
                    let (one, its) = self.check(element)?;
                    cost += its + one.weight();
                    of = Some(match of {
                        None => one,
                        Some(of) => joined(node, of, one)?,
                    });
                }
                Ok((Type::List(n, of.map(Box::new)), cost))
            }
            Expr::Comprehension(comprehension) => self.comprehension(id, comprehension),
            Expr::Map(_) | Expr::Struct(_) => refuse(id, "a rule makes no maps or messages of its own"),
            Expr::Unspecified => refuse(id, "something is missing here"),
        }
    }

    fn name(&mut self, id: u64, name: &str) -> Result<Type, Refused> {
        if let Some((_, of)) = self.bound.iter().rev().find(|(known, _)| known == name) {
            return Ok(of.clone());
        }
        let Some(known) = variable(name) else {
            return refuse(id, unknown("nothing", name, MODEL.iter().map(|v| v.name)));
        };
        if !self.used.contains(&known.name) {
            self.used.push(known.name);
        }
        Ok(known.kind.into())
    }

    fn field(&mut self, id: u64, of: &Type, name: &str) -> Result<Type, Refused> {
        match of {
            Type::Record(fields) => {
                let Some(field) = fields.iter().find(|f| f.name == name) else {
                    return refuse(id, unknown("no field", name, fields.iter().map(|f| f.name)));
                };
                self.digests |= field.name == "sha256";
                Ok(field.kind.into())
            }
            Type::List(..) => {
                refuse(id, format!("`.{name}` of a list: say of which, for instance `.exists(x, x.{name} == …)`"))
            }
            other => refuse(id, format!("`.{name}` of {other}, which has no fields")),
        }
    }

    fn comprehension(&mut self, id: u64, c: &mut ComprehensionExpr) -> Checked {
        let (range, cost) = self.check(&mut c.iter_range)?;
        let (n, of) = match range {
            Type::List(n, Some(of)) => (n, *of),
            Type::List(_, None) => return refuse(id, "an empty list has nothing to go through"),
            other => return refuse(id, format!("{other} has nothing to go through; only lists have")),
        };
        if c.iter_var2.is_some() {
            return refuse(id, "only one name for each element");
        }
        if variable(&c.iter_var).is_some() || self.bound.iter().any(|(name, _)| *name == c.iter_var) {
            return refuse(id, format!("`{}` means something already; take another name", c.iter_var));
        }
        let (start, first) = self.check(&mut c.accu_init)?;
        let outer = self.bound.len();
        let copy = of.weight();
        self.bound.push((c.iter_var.clone(), of));
        self.bound.push((GATHERED.into(), start.clone()));
        let (step, each) = self.check(&mut c.loop_step)?;
        let (_, again) = self.check(&mut c.loop_cond)?;
        let gathered = match (start, step) {
            (Type::List(..), Type::List(added, of)) => Type::List(n.saturating_mul(added), of),
            (start, step) => joined(id, start, step)?,
        };
        self.bound.truncate(outer);
        self.bound.push((GATHERED.into(), gathered));
        let (result, last) = self.check(&mut c.result)?;
        self.bound.truncate(outer);
        let each = copy.saturating_add(each).saturating_add(again);
        Ok((result, cost.saturating_add(first).saturating_add(n.saturating_mul(each)).saturating_add(last)))
    }

    /// The pattern is compiled here and is a value from now on.
    fn matches(&mut self, id: u64, call: &mut CallExpr) -> Checked {
        if let Some(text) = call.target.take() {
            call.args.insert(0, *text);
        }
        let [text, written] = call.args.as_mut_slice() else {
            return refuse(id, "matches takes a text and a pattern: text.matches(\"a|b\")");
        };
        let (of, cost) = self.check(text)?;
        let (Type::Text(octets), Expr::Literal(LiteralValue::String(pattern))) = (of, &written.expr) else {
            return refuse(id, "matches takes a text, and a pattern that is written out: text.matches(\"a|b\")");
        };
        if self.patterns.len() >= RULE_PATTERNS_MAX {
            return refuse(id, format!("a rule has at most {RULE_PATTERNS_MAX} patterns; join some by `|`"));
        }
        let compiled = pattern::compiled(pattern.inner()).map_err(|why| Refused { node: written.id, why })?;
        written.expr = Expr::Ident(format!("{}{}", self.prefix, self.patterns.len()));
        self.patterns.push(compiled);
        call.func_name = pattern::FUNCTION.into();
        Ok((Type::Bool, cost.saturating_add(octets.saturating_mul(RULE_PATTERN_OCTET_COST))))
    }

    fn call(&mut self, e: &mut IdedExpr) -> Checked {
        let id = e.id;
        let Expr::Call(call) = &mut e.expr else { return refuse(id, "no call") };
        // `size(x)` and `x.size()` are one
        let is_method = call.target.is_some();
        if call.func_name == "matches" {
            return self.matches(id, call);
        }
        let mut given: Vec<&mut IdedExpr> = call.target.as_deref_mut().into_iter().chain(&mut call.args).collect();
        let (mut types, mut cost) = (Vec::new(), 0);
        for one in &mut given {
            let (of, its) = self.check(one)?;
            types.push(of);
            cost += its;
        }
        let name = call.func_name.as_str();
        let is_gathered = matches!(given.first().map(|e| &e.expr), Some(Expr::Ident(n)) if n == GATHERED);
        let (of, more) = match outcome(id, name, &types, is_gathered)? {
            Some(known) => known,
            None if types.is_empty() || !is_known(name, is_method) => {
                return refuse(id, unknown("no function", shown(name), FUNCTIONS.iter().copied()));
            }
            None => {
                let given: Vec<String> = types.iter().map(Type::to_string).collect();
                return refuse(id, format!("`{}` does not take {}", shown(name), given.join(" and ")));
            }
        };
        Ok((of, cost.saturating_add(more)))
    }
}

/// Functions that a rule may call.
const FUNCTIONS: [&str; 16] = [
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "lowerAscii",
    "upperAscii",
    "trim",
    "size",
    "exists",
    "exists_one",
    "all",
    "filter",
    "map",
    "in",
    "&&",
    "||",
];

fn is_known(name: &str, is_method: bool) -> bool {
    let plain = FUNCTIONS.contains(&name) && (is_method || name == "size");
    plain || name.starts_with(['_', '!', '@', '-'])
}

/// What comes out of a call, and what it costs beside its arguments; `None`: it does not take these.
fn outcome(id: u64, name: &str, types: &[Type], is_gathered: bool) -> Result<Option<(Type, Cost)>, Refused> {
    use Type::{Bool, Int, List, Text};
    Ok(Some(match (name, types) {
        (op::LOGICAL_AND | op::LOGICAL_OR, [Bool, Bool]) => (Bool, 0),
        (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, [Bool]) => (Bool, 0),
        (op::CONDITIONAL, [Bool, a, b]) => (joined(id, a.clone(), b.clone())?, 0),
        (op::EQUALS | op::NOT_EQUALS, [Bool, Bool] | [Int, Int]) => (Bool, 0),
        (
            op::EQUALS | op::NOT_EQUALS | op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS,
            [Text(a), Text(b)],
        ) => (Bool, *a.min(b)),
        (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [Int, Int]) => (Bool, 0),
        (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, [Int, Int]) => (Int, 0),
        (op::NEGATE, [Int]) => (Int, 0),
        (op::ADD, [Text(a), Text(b)]) => (Text(a.saturating_add(*b)), a.saturating_add(*b)),
        // what `map` and `filter` are made of; anybody else's would grow with each round
        (op::ADD, [List(a, of), List(b, added)]) if is_gathered => {
            let of = match (of, added) {
                (Some(of), Some(added)) => joined(id, (**of).clone(), (**added).clone())?,
                (of, added) => match of.as_ref().or(added.as_ref()) {
                    Some(one) => (**one).clone(),
                    None => return Ok(None),
                },
            };
            let cost = of.weight();
            (List(a.saturating_add(*b), Some(Box::new(of))), cost)
        }
        (op::INDEX, [List(_, Some(of)), Int]) => ((**of).clone(), of.weight()),
        (op::IN, [one, List(n, Some(of))]) if one.clone().join((**of).clone()).is_some() => match one {
            Bool | Int | Text(_) => (Bool, n.saturating_mul(of.weight())),
            _ => return Ok(None),
        },
        ("size", [Text(octets)]) => (Int, *octets),
        ("size", [List(..)]) => (Int, 0),
        ("contains" | "startsWith" | "endsWith", [Text(a), Text(b)]) => (Bool, a.saturating_add(*b)),
        ("lowerAscii" | "upperAscii" | "trim", [Text(octets)]) => (Text(*octets), 2 * octets),
        _ => return Ok(None),
    }))
}

fn joined(node: u64, a: Type, b: Type) -> Result<Type, Refused> {
    let why = format!("{a} and {b} in one place; both have to be the same");
    a.join(b).ok_or(Refused { node, why })
}

fn refuse<T>(node: u64, why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { node, why: why.into() })
}

/// As it is written.
fn shown(name: &str) -> &str {
    match name {
        op::INDEX => "[ ]",
        op::IN => "in",
        op::CONDITIONAL => "? :",
        other => other.trim_matches(['_', '@']),
    }
}

fn unknown(what: &str, name: &str, known: impl Iterator<Item = &'static str>) -> String {
    let near = known.map(|k| (strsim::osa_distance(k, name), k)).min().filter(|(far, _)| *far <= 3);
    match near {
        Some((_, near)) => format!("there is {what} called `{name}`; is `{near}` meant?"),
        None => format!("there is {what} called `{name}`; docs/rules.md lists them"),
    }
}
