//! Command lines (RFC 5321 §4.1). Addresses are kept exactly as they stood between the angle brackets:
//! whoever re-quotes them changes them.

use crate::Reply;
use mail::{Body, Envelope, Recipient, Return};

/// One command, its parameters understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Ehlo(String),
    Helo(String),
    StartTls,
    /// The envelope without recipients, and SIZE= if stated.
    Mail(Envelope, usize),
    Rcpt(Recipient),
    Data,
    Bdat {
        octets: usize,
        last: bool,
    },
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
}

fn syntax(text: &str) -> Reply {
    Reply::new(501, (5, 5, 4), text)
}

/// Reads one line without its CRLF.
pub(crate) fn parse(line: &[u8]) -> Result<Command, Reply> {
    let line = std::str::from_utf8(line).map_err(|_| Reply::new(500, (5, 5, 2), "Command is not UTF-8"))?;
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err(Reply::new(500, (5, 5, 2), "Control character in command"));
    }
    let (verb, rest) = line.split_once(' ').map_or((line, ""), |(v, r)| (v, r.trim()));
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" if !rest.is_empty() => Ok(Command::Ehlo(rest.to_owned())),
        "HELO" if !rest.is_empty() => Ok(Command::Helo(rest.to_owned())),
        "EHLO" | "HELO" => Err(syntax("Say who you are")),
        "STARTTLS" | "DATA" | "RSET" | "QUIT" if !rest.is_empty() => Err(syntax("No parameters here")),
        "STARTTLS" => Ok(Command::StartTls),
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "DATA" => Ok(Command::Data),
        "BDAT" => bdat(rest),
        "RSET" => Ok(Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "QUIT" => Ok(Command::Quit),
        "VRFY" => Ok(Command::Vrfy),
        "HELP" => Ok(Command::Help),
        _ => Err(Reply::new(500, (5, 5, 1), "Command not known")),
    }
}

/// `FROM:<path>` or `TO:<path>`, then parameters; one space after the colon is tolerated, as everywhere.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let head = rest.get(..keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let inside = rest[keyword.len()..].trim_start().strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    for (n, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => {
                let after = &inside[n + 1..];
                let separated = after.is_empty() || after.starts_with(' ');
                return separated.then(|| (&inside[..n], after.trim()));
            }
            _ => {}
        }
    }
    None
}

/// A local part and a domain, no more is asked: Exchange Online has looked already.
fn is_address(address: &str) -> bool {
    address
        .rsplit_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains(' '))
        || address.eq_ignore_ascii_case("postmaster")
}

fn mail(rest: &str) -> Result<Command, Reply> {
    let (sender, parameters) = path(rest, "FROM:").ok_or_else(|| syntax("Expected MAIL FROM:<address>"))?;
    if !sender.is_empty() && !is_address(sender) {
        return Err(Reply::new(501, (5, 1, 7), "Sender address is not an address"));
    }
    let (mut envelope, mut size) = (Envelope { sender: sender.to_owned(), ..Envelope::default() }, 0);
    for parameter in parameters.split_whitespace() {
        let (name, value) = parameter.split_once('=').map_or((parameter, ""), |p| p);
        match (name.to_ascii_uppercase().as_str(), value.to_ascii_uppercase().as_str()) {
            ("SIZE", digits) => size = number(digits).ok_or_else(|| syntax("SIZE is not a number"))?,
            ("BODY", "7BIT") => envelope.body = Some(Body::SevenBit),
            ("BODY", "8BITMIME") => envelope.body = Some(Body::EightBitMime),
            ("BODY", "BINARYMIME") => envelope.body = Some(Body::BinaryMime),
            ("SMTPUTF8", "") => envelope.smtputf8 = true,
            ("RET", "FULL") => envelope.ret = Some(Return::Full),
            ("RET", "HDRS") => envelope.ret = Some(Return::Headers),
            ("ENVID", _) if !value.is_empty() => envelope.envid = Some(value.to_owned()),
            // RFC 4954 §5: a server without authentication may be told of it and does nothing with it
            ("AUTH", _) => {}
            _ => return Err(Reply::new(555, (5, 5, 4), "MAIL parameter not known")),
        }
    }
    Ok(Command::Mail(envelope, size))
}

fn rcpt(rest: &str) -> Result<Command, Reply> {
    let (address, parameters) = path(rest, "TO:").ok_or_else(|| syntax("Expected RCPT TO:<address>"))?;
    if !is_address(address) {
        return Err(Reply::new(501, (5, 1, 3), "Recipient address is not an address"));
    }
    let mut recipient = Recipient::new(address);
    for parameter in parameters.split_whitespace() {
        match parameter
            .split_once('=')
            .map_or((parameter.to_ascii_uppercase(), ""), |(n, v)| (n.to_ascii_uppercase(), v))
        {
            (name, value) if name == "NOTIFY" && is_notify(value) => recipient.notify = Some(value.to_owned()),
            (name, _) if name == "NOTIFY" => return Err(syntax("NOTIFY is NEVER or of SUCCESS, FAILURE, DELAY")),
            (name, value) if name == "ORCPT" && !value.is_empty() => recipient.orcpt = Some(value.to_owned()),
            _ => return Err(Reply::new(555, (5, 5, 4), "RCPT parameter not known")),
        }
    }
    Ok(Command::Rcpt(recipient))
}

/// Digits only: `+5` would be a number to Rust and nonsense to the next host.
fn number(digits: &str) -> Option<usize> {
    digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
}

/// RFC 3461 §4.1
fn is_notify(value: &str) -> bool {
    let known = |w: &str| ["SUCCESS", "FAILURE", "DELAY"].iter().any(|k| w.eq_ignore_ascii_case(k));
    value.eq_ignore_ascii_case("NEVER") || value.split(',').all(known)
}

fn bdat(rest: &str) -> Result<Command, Reply> {
    let mut words = rest.split_whitespace();
    let octets = words.next().and_then(number).ok_or_else(|| syntax("BDAT needs a number of octets"))?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(syntax("Expected BDAT octets [LAST]")),
    };
    Ok(Command::Bdat { octets, last })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn envelopes_are_kept_as_they_were_written() {
        let Command::Mail(envelope, size) =
            parse(b"MAIL FROM:<\"a > b\"@x.example> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=q+20x SMTPUTF8").unwrap()
        else {
            panic!()
        };
        assert_eq!(envelope.sender, "\"a > b\"@x.example");
        assert_eq!(
            (size, envelope.body, envelope.ret, envelope.envid.as_deref(), envelope.smtputf8),
            (10, Some(Body::EightBitMime), Some(Return::Headers), Some("q+20x"), true)
        );
        let Command::Rcpt(recipient) =
            parse("rcpt to: <jürgen@müller.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@c".as_bytes()).unwrap()
        else {
            panic!()
        };
        assert_eq!(
            recipient,
            Recipient {
                address: "jürgen@müller.example".into(),
                notify: Some("SUCCESS,FAILURE".into()),
                orcpt: Some("rfc822;a+2Bb@c".into())
            }
        );
        assert!(matches!(parse(b"MAIL FROM:<>"), Ok(Command::Mail(e, 0)) if e.is_null_sender()));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let cases = [
            "",
            "FROB",
            "EHLO",
            "MAIL FROM:a@b",
            "MAIL FROM:<a>",
            "MAIL FROM:<a@b>X=1",
            "MAIL FROM:<a@b> BODY=9BIT",
            "MAIL FROM:<a@b> SIZE=+5",
            "STARTTLS now",
            "MAIL FROM:<a@b> XOORG=x",
            "RCPT TO:<>",
            "RCPT TO:<a@b> FROB",
            "RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS",
            "BDAT x",
            "BDAT +1",
            "BDAT 99999999999999999999",
            "BDAT 1 FIRST",
            "NOOP \u{1}",
        ];
        let said: String = cases.iter().map(|c| format!("{c:?}: {}\n", parse(c.as_bytes()).unwrap_err())).collect();
        insta::assert_snapshot!(said);
    }
}
