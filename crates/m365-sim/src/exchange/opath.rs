//! Recipient filters (OPATH), as far as management scopes use them: `-eq`, `-ne`, `-like`, `-and`, `-or`, `-not`,
//! parentheses (New-ManagementScope page, 2026-08). What is not understood is refused.

use super::Row;
use serde_json::Value;

#[derive(Clone, Debug)]
pub enum Opath {
    And(Box<Opath>, Box<Opath>),
    Or(Box<Opath>, Box<Opath>),
    Not(Box<Opath>),
    Compare(String, String, String),
}

impl Opath {
    pub fn parse(text: &str) -> Result<Opath, String> {
        let words = words(text)?;
        let mut at = 0;
        let filter = either(&words, &mut at)?;
        match words.get(at) {
            None => Ok(filter),
            Some(word) => Err(word.text().to_owned()),
        }
    }

    /// Whether it holds for a recipient; of a list, whether it does for one element.
    pub fn holds(&self, recipient: &Row) -> bool {
        match self {
            Opath::And(a, b) => a.holds(recipient) && b.holds(recipient),
            Opath::Or(a, b) => a.holds(recipient) || b.holds(recipient),
            Opath::Not(a) => !a.holds(recipient),
            Opath::Compare(property, operator, wanted) => {
                let value = recipient.iter().find(|(k, _)| k.eq_ignore_ascii_case(property)).map(|(_, v)| v);
                let texts: Vec<String> = match value {
                    Some(Value::Array(all)) => all.iter().map(plain).collect(),
                    Some(one) => vec![plain(one)],
                    None => Vec::new(),
                };
                match operator.as_str() {
                    "-ne" => !texts.iter().any(|t| like(wanted, t, false)),
                    operator => texts.iter().any(|t| like(wanted, t, operator == "-like")),
                }
            }
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn like(wanted: &str, text: &str, wild: bool) -> bool {
    let (wanted, text) = (wanted.to_lowercase(), text.to_lowercase());
    if !wild {
        return wanted == text;
    }
    let mut parts = wanted.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(previous) = last.replace(part) {
            let Some((_, after)) = rest.split_once(previous) else { return false };
            rest = after;
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

enum Word {
    Bare(String),
    Quoted(String),
}

impl Word {
    fn text(&self) -> &str {
        match self {
            Word::Bare(text) | Word::Quoted(text) => text,
        }
    }
    fn is(&self, text: &str) -> bool {
        matches!(self, Word::Bare(word) if word.eq_ignore_ascii_case(text))
    }
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim().trim_start_matches('{').trim_end_matches('}').trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '\'' | '"' => {
                // a quote inside is doubled
                let mut value = String::new();
                let mut left = &rest[1..];
                loop {
                    let (before, after) = left.split_once(first).ok_or_else(|| rest.to_owned())?;
                    value.push_str(before);
                    match after.strip_prefix(first) {
                        Some(more) => {
                            value.push(first);
                            left = more;
                        }
                        None => {
                            words.push(Word::Quoted(value));
                            rest = after.trim_start();
                            break;
                        }
                    }
                }
                continue;
            }
            '(' | ')' => 1,
            _ => rest.find([' ', '(', ')']).unwrap_or(rest.len()),
        };
        words.push(Word::Bare(rest[..end].to_owned()));
        rest = rest[end..].trim_start();
    }
    Ok(words)
}

fn either(words: &[Word], at: &mut usize) -> Result<Opath, String> {
    let mut left = both(words, at)?;
    while words.get(*at).is_some_and(|w| w.is("-or")) {
        *at += 1;
        left = Opath::Or(Box::new(left), Box::new(both(words, at)?));
    }
    Ok(left)
}

fn both(words: &[Word], at: &mut usize) -> Result<Opath, String> {
    let mut left = one(words, at)?;
    while words.get(*at).is_some_and(|w| w.is("-and")) {
        *at += 1;
        left = Opath::And(Box::new(left), Box::new(one(words, at)?));
    }
    Ok(left)
}

fn one(words: &[Word], at: &mut usize) -> Result<Opath, String> {
    let take = |at: &mut usize| -> Result<&Word, String> {
        let word = words.get(*at).ok_or("the end")?;
        *at += 1;
        Ok(word)
    };
    let first = take(at)?;
    if first.is("-not") {
        return Ok(Opath::Not(Box::new(one(words, at)?)));
    }
    if first.is("(") {
        let inner = either(words, at)?;
        let close = take(at)?;
        return if close.is(")") { Ok(inner) } else { Err(close.text().to_owned()) };
    }
    let operator = take(at)?.text().to_lowercase();
    if !["-eq", "-ne", "-like"].contains(&operator.as_str()) {
        return Err(operator);
    }
    let value = take(at)?.text().trim_start_matches('$').to_owned();
    Ok(Opath::Compare(first.text().to_owned(), operator, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters_mean_what_they_say() {
        let Value::Object(ada) = json!({"Name": "Ada O'Neil", "MemberOfGroup": ["CN=A,DC=x", "CN=B,DC=x"], "RecipientTypeDetails": "UserMailbox"})
        else {
            panic!()
        };
        for (text, holds) in [
            ("MemberOfGroup -eq 'cn=b,dc=x'", true),
            ("MemberOfGroup -ne 'CN=B,DC=x'", false),
            ("{Name -like 'ada*neil'}", true),
            ("Name -like '*o''n*'", true),
            ("Name -like 'ada'", false),
            ("-not (Name -eq 'x') -and RecipientTypeDetails -eq \"UserMailbox\"", true),
            ("Name -eq 'x' -or (Name -eq 'y' -or MemberOfGroup -like 'CN=A*')", true),
            ("NoSuch -eq 'x'", false),
        ] {
            let filter = Opath::parse(text).unwrap_or_else(|rest| panic!("{text}: {rest}"));
            assert_eq!(filter.holds(&ada), holds, "{text}");
        }
        for text in ["", "Name", "Name -eq", "Name -is 'x'", "(Name -eq 'x'", "Name -eq 'x", "Name -eq 'x' 'y'"] {
            assert!(Opath::parse(text).is_err(), "{text}");
        }
    }
}
