//! One SMTP reply (RFC 5321 §4.2) with its enhanced code (RFC 3463).

use std::fmt::{self, Write};

/// A reply, said or heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// `4.7.1`, without which RFC 2034 leaves a reply legal but mute.
    pub enhanced: Option<(u8, u16, u16)>,
    pub text: String,
}

impl Reply {
    pub fn new(code: u16, enhanced: (u8, u16, u16), text: impl Into<String>) -> Reply {
        Reply { code, enhanced: Some(enhanced), text: text.into() }
    }
    pub fn plain(code: u16, text: impl Into<String>) -> Reply {
        Reply { code, enhanced: None, text: text.into() }
    }
    /// From the lines that were heard, each without its line end. `None` when they are no reply: no code, something
    /// else than a space or hyphen behind it, or lines that disagree about it (RFC 5321 §4.2.1).
    pub fn parse(lines: &[String]) -> Option<Reply> {
        let digits = lines.first()?.get(..3).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
        let code: u16 = digits.parse().ok().filter(|c| (200..600).contains(c))?;
        let text = |line: &'_ str| match line.strip_prefix(digits)?.as_bytes() {
            [] => Some(4.min(line.len())),
            [b' ' | b'-', ..] => Some(4),
            _ => None,
        };
        let texts: Vec<&str> = lines.iter().map(|l| text(l).map(|at| &l[at..])).collect::<Option<_>>()?;
        let (enhanced, first) = match texts[0].split_once(' ').map_or((texts[0], ""), |parts| parts) {
            (word, rest) if enhanced(word).is_some_and(|e| u16::from(e.0) == code / 100) => (enhanced(word), rest),
            _ => (None, texts[0]),
        };
        let text = std::iter::once(first).chain(texts[1..].iter().copied()).collect::<Vec<_>>().join("\n");
        Some(Reply { code, enhanced, text })
    }
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }
    /// 4xx: the same again may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
    /// As it goes over the wire; the text's lines become reply lines, and nothing in it can end one.
    pub fn wire(&self) -> String {
        let mut out = String::with_capacity(self.text.len() + 32);
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let between = if lines.peek().is_some() { '-' } else { ' ' };
            // writing into a String cannot fail
            let _ = write!(out, "{}{between}", self.code);
            if let Some((a, b, c)) = self.enhanced {
                let _ = write!(out, "{a}.{b}.{c} ");
            }
            out.extend(line.chars().filter(|c| !c.is_control()));
            out.push_str("\r\n");
        }
        out
    }
}

fn enhanced(word: &str) -> Option<(u8, u16, u16)> {
    let mut parts = word.split('.');
    let code = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(code)
}

/// `451 4.7.1 text`, lines joined.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some((a, b, c)) = self.enhanced {
            write!(f, " {a}.{b}.{c}")?;
        }
        write!(f, " {}", self.text.replace('\n', " / "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn replies_are_read_as_they_are_written() {
        let heard = |text: &str| Reply::parse(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        for text in [
            "250 2.1.5 Recipient OK",
            "354 go ahead",
            "550 5.7.64 TenantAttribution; Relay Access Denied [x]",
            "250-host\n250 SIZE 10",
        ] {
            let reply = heard(text).unwrap();
            assert_eq!(reply.wire().replace("\r\n", "\n").trim_end(), text);
        }
        assert_eq!(heard("250 4.1.1 odd").unwrap().enhanced, None, "a class that contradicts the code is text");
        for bad in ["", "25", "abc def", "999 x", "+25 x", "2500 x", "250x", "250-a\n550 b", "250-a\nb", "25\u{e9} x"] {
            assert_eq!(heard(bad), None, "{bad}");
        }
        assert_eq!(Reply::new(451, (4, 7, 1), "a\r\nb").wire(), "451-4.7.1 a\r\n451 4.7.1 b\r\n");
    }
}
