//! The forms in which lists come: an entry a line, a hosts file, a column of CSV.

use crate::limits;
use verdict::Listing;
use verdict::lists::{file_entry, url_entry};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Lines,
    /// An address and names for it, as hosts(5); the names are the entries.
    Hosts,
    /// Counted from 1.
    Csv {
        column: usize,
    },
}

/// Entries in the form in which they are compared, and how many lines were none. A text without any is an error: it is
/// a page that says so, or the form is another.
pub(super) fn entries(of: Listing, format: Format, text: &str) -> Result<(Vec<String>, usize), String> {
    let read = match of {
        Listing::Urls => url_entry,
        Listing::Files => file_entry,
    };
    let (mut entries, mut rejected) = (Vec::new(), 0);
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let before = entries.len();
        match format {
            Format::Lines => entries.extend(read(without_comment(line))),
            Format::Hosts => entries.extend(without_comment(line).split_whitespace().skip(1).filter_map(read)),
            Format::Csv { column } => entries.extend(field(line, column).and_then(|field| read(&field))),
        }
        rejected += usize::from(entries.len() == before);
        if entries.len() > limits::LIST_ENTRIES_MAX {
            return Err(format!("it has more than {} entries", limits::LIST_ENTRIES_MAX));
        }
    }
    if entries.is_empty() {
        return Err(format!("no entry in its {rejected} lines; is `format` right?"));
    }
    Ok((entries, rejected))
}

/// An address may have a `#` in it; a comment has white space before it.
fn without_comment(line: &str) -> &str {
    let at =
        line.match_indices('#').find(|(at, _)| line[..*at].ends_with([' ', '\t'])).map_or(line.len(), |(at, _)| at);
    line[..at].trim_end()
}

/// RFC 4180 §2, but for fields over several lines.
fn field(line: &str, column: usize) -> Option<String> {
    let mut fields = vec![String::new()];
    let (mut quoted, mut letters) = (false, line.chars().peekable());
    while let Some(letter) = letters.next() {
        let here = fields.last_mut()?;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => here.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => {
                if fields.len() == column {
                    break;
                }
                fields.push(String::new());
            }
            _ => here.push(letter),
        }
    }
    fields.into_iter().nth(column.checked_sub(1)?).map(|field| field.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_form_is_read() {
        let read = |format, text: &str| entries(Listing::Urls, format, text);
        let lines = "# a list\r\nEvil.example\r\n\r\nhttp://x.example/a#b # why\nnot an entry\n";
        assert_eq!(read(Format::Lines, lines), Ok((vec!["evil.example".into(), "x.example/a".into()], 1)));
        let hosts = "127.0.0.1 localhost\n0.0.0.0 a.example b.example # two\n0.0.0.0 0.0.0.0\n";
        let found = read(Format::Hosts, hosts).unwrap();
        assert_eq!((&found.0[..2], found.1), (&["a.example".to_owned(), "b.example".to_owned()][..], 1));
        let csv = "id,url,what\n1,\"http://x.example/?a=\"\"1\"\",2\",\"phish, kit\"\n2,evil.example,\n3\n";
        let expected = vec!["x.example/?a=%221%22,2".into(), "evil.example".into()];
        assert_eq!(read(Format::Csv { column: 2 }, csv), Ok((expected, 2)));
        let hash = "ab".repeat(32);
        assert_eq!(entries(Listing::Files, Format::Lines, &format!("{hash} # eicar\n")), Ok((vec![hash], 0)));
    }

    #[test]
    fn a_page_that_says_sorry_is_no_list() {
        let page = "<html>\n<body>Too many requests</body>\n</html>\n";
        let said = entries(Listing::Urls, Format::Lines, page).unwrap_err();
        assert_eq!(said, "no entry in its 3 lines; is `format` right?");
        assert!(entries(Listing::Urls, Format::Lines, "").is_err());
        assert!(entries(Listing::Files, Format::Lines, "evil.example\n").is_err());
    }
}
