//! Header fields of a raw message, exact to the byte. Own code on purpose: the simulator must not share a
//! misunderstanding with the product.

use std::ops::Range;

/// Start and end of every field, from the top; folded lines belong to their field.
pub fn ranges(raw: &[u8]) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let line = &raw[at..];
        let named = line
            .iter()
            .position(|b| *b == b':')
            .is_some_and(|n| n > 0 && line[..n].iter().all(|b| (33..127).contains(b)));
        if !named {
            break;
        }
        let mut end = at;
        loop {
            match raw[end..].iter().position(|b| *b == b'\n') {
                Some(n) => end += n + 1,
                None => {
                    end = raw.len();
                    break;
                }
            }
            if end >= raw.len() || !matches!(raw[end], b' ' | b'\t') {
                break;
            }
        }
        out.push(at..end);
        at = end;
    }
    out
}

pub fn name_of(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == b':').unwrap_or(0);
    String::from_utf8_lossy(&field[..end]).into_owned()
}

pub fn value_of(field: &[u8]) -> String {
    let start = field.iter().position(|b| *b == b':').map_or(0, |n| n + 1);
    String::from_utf8_lossy(&field[start..]).replace(['\r', '\n'], "").trim().to_owned()
}

/// Name and unfolded value of every field.
pub fn all(raw: &[u8]) -> Vec<(String, String)> {
    ranges(raw).into_iter().map(|r| (name_of(&raw[r.clone()]), value_of(&raw[r]))).collect()
}

pub fn get(raw: &[u8], name: &str) -> Option<String> {
    all(raw).into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
}

/// Puts fields on top, the first one topmost.
pub fn prepend(raw: &[u8], fields: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + fields.len() * 80);
    for (name, value) in fields {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    // what does not begin with a field would run into ours
    if ranges(raw).is_empty() && !raw.starts_with(b"\r\n") && !raw.starts_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(raw);
    out
}

/// Rewrites the header: each field may be kept (`None`), renamed, or dropped (empty name).
pub fn rename(raw: &[u8], change: impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut end = 0;
    for range in ranges(raw) {
        end = range.end;
        let field = &raw[range];
        let name = name_of(field);
        match change(&name) {
            None => out.extend_from_slice(field),
            Some(new) if new.is_empty() => {}
            Some(new) => {
                out.extend_from_slice(new.as_bytes());
                out.extend_from_slice(&field[name.len()..]);
            }
        }
    }
    // a message that was all header keeps its body apart
    out.extend_from_slice(&raw[end..]);
    out
}

/// Sets a field as the rule action does: an existing one is replaced, others of that name go.
pub fn set(raw: &[u8], name: &str, value: &str) -> Vec<u8> {
    let without = rename(raw, |n| n.eq_ignore_ascii_case(name).then(String::new));
    prepend(&without, &[(name.to_owned(), value.to_owned())])
}

/// Bare address of the first mailbox in an address field.
pub fn address_in(value: &str) -> Option<String> {
    let inner = match (value.rfind('<'), value.rfind('>')) {
        (Some(from), Some(to)) if from < to => &value[from + 1..to],
        _ => value.split(',').next().unwrap_or_default(),
    };
    let inner = inner.trim().trim_matches('"');
    (inner.contains('@') && !inner.contains(' ')).then(|| inner.to_lowercase())
}

pub fn domain_of(address: &str) -> String {
    address.rsplit_once('@').map(|(_, d)| d.trim_end_matches('>').to_lowercase()).unwrap_or_default()
}
