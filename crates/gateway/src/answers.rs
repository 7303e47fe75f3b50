//! What Exchange Online's answers on the way back mean: one table (docs/replies.md shows it; transport.md G14, G22).
//! The first row that fits counts. Nothing here bounces what the tenant's or our own set-up is to blame for.

use smtp::Reply;

/// What an answer says about a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Taken,
    /// Too many messages or connections: the same later, over fewer connections.
    SlowDown,
    /// Connector, certificate or tenant is not set up as it was: a person's to mend, never the sender's.
    SetUp,
    /// The message went round; sending it again makes it worse.
    Loop,
    ForNow,
    ForGood,
}

/// Which enhanced codes a row is about.
#[derive(Clone, Copy)]
enum Codes {
    Any,
    One(u16, u16),
    /// `x.subject.from` to `x.subject.to`, both included.
    Range(u16, u16, u16),
    Subject(u16),
}

impl Codes {
    fn fit(self, enhanced: Option<(u8, u16, u16)>) -> bool {
        match (self, enhanced) {
            (Codes::Any, _) => true,
            (_, None) => false,
            (Codes::One(subject, detail), Some((_, s, d))) => (s, d) == (subject, detail),
            (Codes::Range(subject, from, to), Some((_, s, d))) => s == subject && (from..=to).contains(&d),
            (Codes::Subject(subject), Some((_, s, _))) => s == subject,
        }
    }
}

struct Row {
    class: u16,
    codes: Codes,
    meaning: Meaning,
    what: &'static str,
}

const fn row(class: u16, codes: Codes, meaning: Meaning, what: &'static str) -> Row {
    Row { class, codes, meaning, what }
}

const TABLE: &[Row] = &[
    row(2, Codes::Any, Meaning::Taken, "taken"),
    row(4, Codes::Range(7, 500, 699), Meaning::SlowDown, "too much from this address or for this tenant"),
    row(4, Codes::One(3, 2), Meaning::SlowDown, "the server takes no mail at the moment"),
    row(4, Codes::One(5, 3), Meaning::ForNow, "too many recipients of a domain in one transaction"),
    row(4, Codes::Any, Meaning::ForNow, "refused for now"),
    row(5, Codes::One(7, 64), Meaning::SetUp, "no inbound connector of the tenant knows our certificate"),
    row(5, Codes::One(7, 51), Meaning::SetUp, "a connector of the tenant restricts who may send for it"),
    row(5, Codes::One(7, 68), Meaning::SetUp, "the tenant rejects direct send, and our connector did not match"),
    row(5, Codes::One(7, 711), Meaning::SetUp, "the connector is blocked as compromised"),
    row(5, Codes::One(7, 705), Meaning::SetUp, "the tenant has exceeded what it may send and is blocked"),
    row(5, Codes::One(4, 14), Meaning::Loop, "hop count exceeded"),
    row(5, Codes::One(4, 6), Meaning::Loop, "routing loop"),
    row(5, Codes::One(7, 233), Meaning::ForGood, "the tenant's limit of external recipients a day"),
    row(5, Codes::Subject(1), Meaning::ForGood, "no such address"),
    row(5, Codes::One(4, 1), Meaning::ForGood, "no such recipient (directory-based edge blocking)"),
    row(5, Codes::Subject(2), Meaning::ForGood, "the mailbox is full, disabled or takes no such mail"),
    row(5, Codes::Any, Meaning::ForGood, "refused for good"),
];

fn row_of(reply: &Reply) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.class == reply.code / 100 && row.codes.fit(reply.enhanced))
}

/// A reply that is none (3xx, or a code of no class) is nobody's yes.
pub(crate) fn meaning(reply: &Reply) -> Meaning {
    row_of(reply).map_or(Meaning::ForNow, |row| row.meaning)
}

/// For a person who has to mend it.
pub(crate) fn in_words(reply: &Reply) -> &'static str {
    row_of(reply).map_or("no answer that mail servers give", |row| row.what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fmt::Write;

    fn codes(row: &Row) -> String {
        let class = row.class;
        match row.codes {
            Codes::Any => format!("{class}xx, any other"),
            Codes::One(s, d) => format!("{class}.{s}.{d}"),
            Codes::Range(s, from, to) => format!("{class}.{s}.{from}–{to}"),
            Codes::Subject(s) => format!("{class}.{s}.x"),
        }
    }

    fn told(meaning: Meaning) -> [&'static str; 3] {
        match meaning {
            Meaning::Taken => ["`250`", "", ""],
            Meaning::SlowDown => {
                ["that answer", "held, tried again for a day", "half as many connections from then on"]
            }
            Meaning::SetUp => ["`451 4.3.5`, never a bounce", "held, tried again for a day", "alert (high)"],
            Meaning::Loop => ["that answer", "held, a person decides", "alert: loop"],
            Meaning::ForNow => ["that answer", "held, tried again for a day", ""],
            Meaning::ForGood => [
                "that answer; Exchange Online tells the sender",
                "held, a person decides",
                "alert where some were taken",
            ],
        }
    }

    #[test]
    fn the_documented_answers_are_the_table() {
        let mut page = "# What Exchange Online may answer on the way back\n\nWritten from `crates/gateway/src/answers.rs` by its test (`UPDATE_EXPECT=1`); do not edit. The first row that fits counts.\n\n| Exchange Online says | what that means | it hears from us, when it said so for every recipient | recipients to whom it said so, when it took others | besides |\n|---|---|---|---|---|\n".to_owned();
        for row in TABLE {
            let [all, mixed, besides] = told(row.meaning);
            writeln!(page, "| {} | {} | {all} | {mixed} | {besides} |", codes(row), row.what).unwrap();
        }
        page += "| nothing: it cannot be reached, or fell silent | | `451 4.4.1` | held, tried again for a day | alert |\n\nRefused by all, but with different answers: the first temporary one is ours, since some may be taken later. A recipient who was taken is never offered again.\n";
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/replies.md");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), page, "run with UPDATE_EXPECT=1");
    }

    #[test]
    fn the_first_row_that_fits_counts() {
        let of = |code, enhanced| meaning(&Reply { code, enhanced, text: String::new() });
        assert_eq!(of(250, Some((2, 1, 5))), Meaning::Taken);
        assert_eq!(of(451, Some((4, 7, 500))), Meaning::SlowDown);
        assert_eq!(of(451, Some((4, 7, 700))), Meaning::ForNow);
        assert_eq!(of(550, Some((5, 7, 64))), Meaning::SetUp);
        assert_eq!(of(550, Some((5, 7, 1))), Meaning::ForGood);
        assert_eq!(of(554, Some((5, 4, 14))), Meaning::Loop);
        assert_eq!(of(550, None), Meaning::ForGood);
        assert_eq!(of(421, None), Meaning::ForNow);
        assert_eq!(of(354, None), Meaning::ForNow, "a go-ahead in the wrong place is no yes");
    }
}
