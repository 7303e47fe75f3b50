//! Transcripts: files of lines, each with a mark for who speaks. What stands between two turns of the other side goes out
//! in one piece.
//!
//! `C:` and `S:` are lines, `C>` and `S>` octets without a line end (`\r`, `\n`, `\0`, `\\`, `\xNN` are octets), `C*1000:` many
//! lines with their number for `{n}`; `(TLS)` is a handshake, `(closed)` the end, `--` parts two pieces; `#` comments. What
//! we say is compared exactly; `UPDATE_EXPECT=1` writes it anew.

use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Comment(String),
    /// `set octets_max 1000` and the like: the words.
    Words(Vec<String>),
    Client(Vec<u8>),
    Server(Vec<u8>),
    /// A message that we took, or what became of a recipient.
    Outcome(String),
    Tls,
    Closed,
    Piece,
}

pub struct Dialog {
    pub file: PathBuf,
    text: String,
    pub lines: Vec<(String, Line)>,
}

impl Dialog {
    /// Every dialog of a role, by name.
    pub fn all(role: &str) -> Vec<Dialog> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs").join(role);
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(Dialog::read).collect()
    }

    fn read(file: PathBuf) -> Dialog {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| (line.to_owned(), read_line(line))).collect();
        Dialog { file, text, lines }
    }

    /// What the run of it gave must be what stands in the file.
    pub fn expect(&self, text: &str) {
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&self.file, text).unwrap();
        } else {
            assert_eq!(text, self.text, "{} (UPDATE_EXPECT=1 writes it anew)", self.file.display());
        }
    }
}

fn read_line(line: &str) -> Line {
    match line {
        "(TLS)" => return Line::Tls,
        "(closed)" => return Line::Closed,
        "--" => return Line::Piece,
        _ if line.is_empty() || line.starts_with('#') => return Line::Comment(line.into()),
        _ => {}
    }
    if let Some(rest) = line.strip_prefix("= ") {
        return Line::Outcome(rest.into());
    }
    let Some(end) = line.find([':', '>', ' ']).filter(|end| !line[*end..].starts_with(' ')) else {
        return Line::Words(line.split(' ').map(str::to_owned).collect());
    };
    let (who, rest) = line.split_at(end);
    let (text, line_end) = (rest[1..].strip_prefix(' ').unwrap_or(&rest[1..]), rest.starts_with(':'));
    let times = who.split_once('*').map_or(1, |(_, n)| n.parse().unwrap());
    let mut octets = Vec::new();
    for n in 0..times {
        octets.extend(unescape(&text.replace("{n}", &n.to_string())));
        octets.extend_from_slice(if line_end { b"\r\n" } else { b"" });
    }
    match who.split('*').next() {
        Some("C") => Line::Client(octets),
        Some("S") => Line::Server(octets),
        _ => panic!("who is {who:?}?"),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let (octet, taken) = match (*first, more.first()) {
            (b'\\', Some(b'r')) => (b'\r', 1),
            (b'\\', Some(b'n')) => (b'\n', 1),
            (b'\\', Some(b'0')) => (0, 1),
            (b'\\', Some(b'\\')) => (b'\\', 1),
            (b'\\', Some(b'x')) => (u8::from_str_radix(&text[text.len() - more.len() + 1..][..2], 16).unwrap(), 3),
            (octet, _) => (octet, 0),
        };
        out.push(octet);
        rest = &more[taken..];
    }
    out
}

pub fn escape(octets: &[u8]) -> String {
    let mut out = String::new();
    for piece in octets.utf8_chunks() {
        for c in piece.valid().chars() {
            match c {
                '\r' => out += "\\r",
                '\n' => out += "\\n",
                '\0' => out += "\\0",
                '\\' => out += "\\\\",
                c if c.is_control() => out += &format!("\\x{:02x}", u32::from(c)),
                c => out.push(c),
            }
        }
        piece.invalid().iter().for_each(|b| out += &format!("\\x{b:02x}"));
    }
    out
}

/// Lines of one side as they stand in a file; the same line many times is one.
pub fn spoken(who: &str, octets: &[u8]) -> String {
    let mut out = String::new();
    let mut lines: Vec<(&[u8], usize)> = Vec::new();
    for line in octets.split_inclusive(|b| *b == b'\n') {
        match lines.last_mut() {
            Some((before, times)) if *before == line => *times += 1,
            _ => lines.push((line, 1)),
        }
    }
    for (line, times) in lines {
        let many = if times > 3 { format!("{who}*{times}") } else { who.to_owned() };
        let shown = match line.strip_suffix(b"\r\n") {
            Some(line) => format!("{many}: {}\n", escape(line)),
            None => format!("{many}> {}\n", escape(line)),
        };
        out += &shown.repeat(if times > 3 { 1 } else { times });
    }
    out
}

/// Octets of a message, all of them or how many.
pub fn shown(raw: &[u8]) -> String {
    if raw.len() <= 300 { format!("\"{}\"", escape(raw)) } else { format!("{} octets", raw.len()) }
}
