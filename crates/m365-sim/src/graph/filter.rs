//! `$filter` of Graph, as far as directory and mail clients use it: comparisons, `startswith`, `endswith`, `contains`,
//! `any`, `and`, `or`, `not`. What is not understood is refused: a filter that is silently ignored would show
//! everything. Source: OData 4.01 part 2, §5.1.1; strings compare without case, as the directory does.

use serde_json::Value;

#[derive(Debug)]
pub enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Compare(Vec<String>, String, Value),
    Function(String, Vec<String>, String),
    /// A collection, the name of its element, and what has to hold for one of them.
    Any(Vec<String>, String, Box<Filter>),
}

impl Filter {
    pub fn parse(text: &str) -> Result<Filter, String> {
        let mut words = Words { rest: text.trim() };
        let filter = words.either()?;
        if words.rest.is_empty() { Ok(filter) } else { Err(words.rest.to_owned()) }
    }

    /// The text that a property has to be equal to, whatever else is asked.
    pub fn pins(&self, property: &str) -> Option<&str> {
        match self {
            Filter::And(a, b) => a.pins(property).or_else(|| b.pins(property)),
            Filter::Compare(path, operator, Value::String(text)) if operator == "eq" && path.join("/") == property => {
                Some(text)
            }
            _ => None,
        }
    }

    /// The property that is asked first.
    pub fn first(&self) -> String {
        match self {
            Filter::And(a, _) | Filter::Or(a, _) | Filter::Not(a) => a.first(),
            Filter::Compare(path, ..) | Filter::Function(_, path, _) | Filter::Any(path, ..) => path.join("/"),
        }
    }

    pub fn holds(&self, row: &Value) -> bool {
        self.with(row, None)
    }

    fn with(&self, row: &Value, element: Option<(&str, &Value)>) -> bool {
        match self {
            Filter::And(a, b) => a.with(row, element) && b.with(row, element),
            Filter::Or(a, b) => a.with(row, element) || b.with(row, element),
            Filter::Not(a) => !a.with(row, element),
            Filter::Compare(path, operator, wanted) => compare(at(row, path, element), operator, wanted),
            Filter::Function(name, path, wanted) => {
                let text = at(row, path, element).as_str().unwrap_or_default().to_lowercase();
                let wanted = wanted.to_lowercase();
                match name.as_str() {
                    "startswith" => text.starts_with(&wanted),
                    "endswith" => text.ends_with(&wanted),
                    _ => text.contains(&wanted),
                }
            }
            Filter::Any(path, name, inner) => at(row, path, element)
                .as_array()
                .is_some_and(|all| all.iter().any(|e| inner.with(row, Some((name, e))))),
        }
    }
}

/// Keys that are shown only when selected begin with `~`.
fn at<'v>(row: &'v Value, path: &[String], element: Option<(&str, &'v Value)>) -> &'v Value {
    let (mut value, path) = match (element, path.split_first()) {
        (Some((name, element)), Some((first, rest))) if first == name => (element, rest),
        _ => (row, path),
    };
    for key in path {
        value = value.get(key).or_else(|| value.get(format!("~{key}"))).unwrap_or(&Value::Null);
    }
    value
}

fn compare(value: &Value, operator: &str, wanted: &Value) -> bool {
    let order = match (value, wanted) {
        (Value::String(a), Value::String(b)) => Some(a.to_lowercase().cmp(&b.to_lowercase())),
        (Value::Number(a), Value::Number(b)) => a.as_f64().and_then(|a| b.as_f64().and_then(|b| a.partial_cmp(&b))),
        (a, b) => (a == b).then_some(std::cmp::Ordering::Equal),
    };
    match operator {
        "eq" => order.is_some_and(|o| o.is_eq()),
        "ne" => !order.is_some_and(|o| o.is_eq()),
        "ge" => order.is_some_and(|o| o.is_ge()),
        "gt" => order.is_some_and(|o| o.is_gt()),
        "le" => order.is_some_and(|o| o.is_le()),
        _ => order.is_some_and(|o| o.is_lt()),
    }
}

struct Words<'t> {
    rest: &'t str,
}

impl Words<'_> {
    fn take(&mut self, word: &str) -> bool {
        let found = self.rest.get(..word.len()).is_some_and(|s| s.eq_ignore_ascii_case(word));
        let ends = !word.ends_with(|c: char| c.is_ascii_alphanumeric())
            || !self.rest[if found { word.len() } else { 0 }..].starts_with(|c: char| c.is_ascii_alphanumeric());
        if found && ends {
            self.rest = self.rest[word.len()..].trim_start();
        }
        found && ends
    }

    fn need(&mut self, word: &str) -> Result<(), String> {
        if self.take(word) { Ok(()) } else { Err(self.rest.to_owned()) }
    }

    fn either(&mut self) -> Result<Filter, String> {
        let mut left = self.both()?;
        while self.take("or") {
            left = Filter::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Filter, String> {
        let mut left = self.one()?;
        while self.take("and") {
            left = Filter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Filter, String> {
        if self.take("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.take("(") {
            let inner = self.either()?;
            return self.need(")").map(|()| inner);
        }
        for name in ["startswith", "endswith", "contains"] {
            if self.take(name) {
                self.need("(")?;
                let path = self.path()?;
                self.need(",")?;
                let Value::String(text) = self.literal()? else { return Err(self.rest.to_owned()) };
                return self.need(")").map(|()| Filter::Function(name.to_owned(), path, text));
            }
        }
        let mut path = self.path()?;
        if path.last().is_some_and(|p| p == "any") && self.take("(") {
            path.pop();
            let name = self.path()?.join("/");
            self.need(":")?;
            let inner = self.either()?;
            return self.need(")").map(|()| Filter::Any(path, name, Box::new(inner)));
        }
        for operator in ["eq", "ne", "ge", "gt", "le", "lt"] {
            if self.take(operator) {
                return Ok(Filter::Compare(path, operator.to_owned(), self.literal()?));
            }
        }
        Err(self.rest.to_owned())
    }

    fn path(&mut self) -> Result<Vec<String>, String> {
        let end =
            self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "/_@.".contains(c))).unwrap_or(self.rest.len());
        let (path, rest) = self.rest.split_at(end);
        if path.is_empty() {
            return Err(rest.to_owned());
        }
        self.rest = rest.trim_start();
        Ok(path.split('/').map(str::to_owned).collect())
    }

    fn literal(&mut self) -> Result<Value, String> {
        if let Some(text) = self.rest.strip_prefix('\'') {
            let mut end = 0;
            while let Some(quote) = text[end..].find('\'').map(|n| end + n) {
                if !text[quote + 1..].starts_with('\'') {
                    self.rest = text[quote + 1..].trim_start();
                    return Ok(text[..quote].replace("''", "'").into());
                }
                end = quote + 2;
            }
            return Err(self.rest.to_owned());
        }
        let end = self.rest.find([' ', ')', ',']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(self.rest.to_owned());
        }
        self.rest = rest.trim_start();
        // true, false, null and numbers as in JSON; dates and GUIDs stand bare and compare as text
        Ok(serde_json::from_str(word).unwrap_or_else(|_| word.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters_mean_what_they_say() {
        let row = json!({"displayName": "Ada O'Neil", "mail": null, "~accountEnabled": true, "n": 7, "receivedDateTime": "2026-03-02T08:00:00Z",
            "from": {"emailAddress": {"address": "a@b.example"}}, "~proxyAddresses": ["SMTP:ada@c.example"], "plans": [{"service": "exchange"}]});
        for (text, holds) in [
            ("displayName eq 'ada o''neil'", true),
            ("displayName ne 'x' and mail eq null", true),
            ("accountEnabled eq false or n gt 6", true),
            ("not (n le 7)", false),
            ("startswith(displayName,'ada') and endswith(displayName, 'neil')", true),
            ("contains(displayName,'zz')", false),
            ("receivedDateTime ge 2026-03-01T00:00:00Z", true),
            ("from/emailAddress/address eq 'A@b.example'", true),
            ("proxyAddresses/any(p:p eq 'smtp:ada@c.example')", true),
            ("plans/any(p:p/service eq 'teams')", false),
            ("noSuch eq 'x'", false),
        ] {
            let filter = Filter::parse(text).unwrap_or_else(|rest| panic!("{text}: {rest}"));
            assert_eq!(filter.holds(&row), holds, "{text}");
        }
        for text in
            ["", "displayName", "displayName eq", "displayName is 'x'", "n eq 1 und", "(n eq 1", "a eq 'x", "or"]
        {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}
