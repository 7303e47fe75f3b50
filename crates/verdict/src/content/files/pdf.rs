//! What a PDF does besides being read (ISO 32000-1 §12.6): its names are scanned in order, object streams unpacked.
//!
//! No object tree is built: harmful files are broken on purpose, readers mend them, and a tree of a hostile file has no
//! bound. So an action counts wherever it stands, reachable or not.

use super::code;
use super::{Opener, Trait};
use crate::content::files::kind;
use crate::limits::*;
use memchr::memmem;
use std::io::Read;

#[derive(Debug, Default)]
struct Facts {
    uris: Vec<String>,
    launches: Vec<String>,
    /// File specifications (§7.11.3).
    file_names: Vec<String>,
    scripts: Vec<String>,
    java_script: bool,
    launch: bool,
    opens_by_itself: bool,
    encrypted: bool,
    embedded: bool,
    pages: usize,
    pictures: usize,
    chars: usize,
    text: String,
    /// Strings read behind names: each may be long, and one may begin inside another.
    values: usize,
}

const VALUES_MAX: usize = 5_000;

/// Words of a script that a form's arithmetic has no use for.
const ATTACK_WORDS: [&str; 8] = [
    "eval(",
    "unescape(",
    "exportdataobject",
    "launchurl",
    "util.printf",
    "fromcharcode",
    "collectemailinfo",
    "submitform",
];

pub(super) fn open(opener: &mut Opener<'_>, file: usize, octets: &[u8], depth: usize) {
    let scanned = &octets[..octets.len().min(PDF_OCTETS_MAX)];
    let mut facts = Facts::default();
    let (mut at, mut streams, mut unpacked) = (0, 0, 0);
    for found in memmem::find_iter(scanned, b"stream") {
        if found < at || scanned[..found].ends_with(b"end") {
            continue;
        }
        names(&scanned[at..found], &mut facts);
        let dictionary = dictionary_before(&scanned[at..found]);
        let start = found + b"stream".len();
        let start = start + scanned[start..].iter().take(2).take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let end = memmem::find(&scanned[start..], b"endstream").map_or(scanned.len(), |n| start + n);
        streams += 1;
        if streams <= PDF_STREAMS_MAX && unpacked < PDF_UNPACKED_OCTETS_MAX {
            unpacked += stream(opener, file, dictionary, &scanned[start..end], depth, &mut facts);
        }
        at = end;
    }
    names(scanned.get(at..).unwrap_or_default(), &mut facts);
    if streams > PDF_STREAMS_MAX * 20 || octets.len() > scanned.len() {
        // what is not read of so large a document is pictures and pages; names in the clear were read
        facts.chars = PDF_TEXT_CHARS_MAX;
    }
    tell(opener, file, facts);
}

fn tell(opener: &mut Opener<'_>, file: usize, facts: Facts) {
    let bad_names: Vec<&String> = facts.file_names.iter().filter(|n| kind::runs_by_name(n)).collect();
    let mut traits = Vec::new();
    if facts.encrypted {
        traits.push(Trait::Encrypted);
    }
    if facts.launch {
        let what = facts.launches.first().or(facts.file_names.first()).cloned().unwrap_or_else(|| "a program".into());
        traits.push(Trait::Launch(what));
    }
    if facts.java_script {
        let scripts = facts.scripts.concat().to_lowercase();
        let words: Vec<&str> = ATTACK_WORDS.into_iter().filter(|w| scripts.contains(w)).collect();
        traits.push(Trait::PdfScript { at_opening: facts.opens_by_itself, words: words.join(", ") });
    }
    if facts.embedded && !bad_names.is_empty() {
        traits.push(Trait::EmbeddedObject(bad_names[0].clone()));
    }
    let short = facts.chars < PDF_SHORT_TEXT_CHARS && facts.pages <= 2;
    if short && !facts.uris.is_empty() && !facts.encrypted {
        traits.push(Trait::OneLink(facts.chars));
    }
    let file = &mut opener.files[file];
    file.traits.extend(traits);
    file.urls.extend(facts.uris);
    file.text.push_str(&facts.text);
}

/// A page to read has more letters; a lure has a picture, a sentence and a button.
const PDF_SHORT_TEXT_CHARS: usize = 500;

/// The last dictionary before a stream; the ones before it are of other objects.
fn dictionary_before(octets: &[u8]) -> &[u8] {
    let tail = &octets[octets.len().saturating_sub(4096)..];
    &tail[memmem::rfind(tail, b" obj").unwrap_or(0)..]
}

/// Looks into one stream; returns how many octets it gave.
fn stream(
    opener: &mut Opener<'_>,
    file: usize,
    dictionary: &[u8],
    data: &[u8],
    depth: usize,
    facts: &mut Facts,
) -> usize {
    let has = |name: &[u8]| memmem::find(dictionary, name).is_some();
    if has(b"/Subtype/Image") || has(b"/Subtype /Image") {
        facts.pictures += 1;
        if has(b"/DCTDecode") {
            code::search_picture(opener, file, data);
        } else if has(b"/FlateDecode") && !has(b"/Predictor") {
            raw_picture(opener, file, dictionary, data);
        }
        return 0;
    }
    if has(b"/XRef") || has(b"/FontFile") || has(b"/Length1") || has(b"/Metadata") {
        return 0;
    }
    let (objects, embedded) = (has(b"/ObjStm"), has(b"/EmbeddedFile"));
    if !objects && !embedded && facts.chars >= PDF_TEXT_CHARS_MAX {
        return 0;
    }
    let plain = match has(b"/FlateDecode") || has(b"/Fl ") {
        true => inflate(data, PDF_UNPACKED_OCTETS_MAX),
        false => data.to_vec(),
    };
    opener.budget.spend(plain.len());
    if objects {
        names(&plain, facts);
    } else if embedded {
        facts.embedded = true;
        let name = facts.file_names.last().cloned().unwrap_or_else(|| "an embedded file".into());
        opener.inner(file, &name, &plain, depth);
    } else if memmem::find(&plain, b"Tj").is_some() || memmem::find(&plain, b"TJ").is_some() {
        shown_text(&plain, facts);
    } else if !has(b"/Type") {
        facts.scripts.push(lossy(&plain[..plain.len().min(64 << 10)]));
    }
    plain.len()
}

/// Whatever comes out before the first error: readers show that much.
fn inflate(data: &[u8], octets_max: usize) -> Vec<u8> {
    let mut out = Vec::new();
    // an error ends it, what came out stays
    let _ = flate2::read::ZlibDecoder::new(data).take(octets_max as u64).read_to_end(&mut out);
    out
}

/// A picture without a format of its own: grey, RGB or black and white.
fn raw_picture(opener: &mut Opener<'_>, file: usize, dictionary: &[u8], data: &[u8]) {
    let number = |name: &[u8]| -> Option<u32> {
        let at = memmem::find(dictionary, name)? + name.len();
        lossy(&dictionary[at..dictionary.len().min(at + 12)])
            .split_whitespace()
            .next()?
            .split(['/', '>'])
            .next()?
            .parse()
            .ok()
    };
    let (Some(width), Some(height)) = (number(b"/Width"), number(b"/Height")) else { return };
    if !opener.codes.may_search(width, height) {
        return;
    }
    let bits = number(b"/BitsPerComponent").unwrap_or(1);
    let channels = if memmem::find(dictionary, b"/DeviceRGB").is_some() { 3 } else { 1 };
    let row = (width as usize * bits as usize * channels).div_ceil(8);
    let pixels = inflate(data, row * height as usize);
    if pixels.len() < row * height as usize || !matches!(bits, 1 | 8) {
        return;
    }
    let grey = |x: usize, y: usize| match bits {
        1 => (pixels[y * row + x / 8] >> (7 - x % 8) & 1) * 255,
        _ => pixels[y * row + x * channels],
    };
    code::search_grey(opener, file, width, height, grey);
}

/// Counts and keeps what the text operators show (§9.4.3); in the letters of fonts with their own codes it is not legible.
fn shown_text(content: &[u8], facts: &mut Facts) {
    let mut at = 0;
    while at < content.len() && facts.chars < PDF_TEXT_CHARS_MAX {
        match content[at] {
            b'(' => {
                let (text, next) = literal(content, at);
                facts.chars += text.chars().count();
                facts.text.push_str(&text);
                at = next;
            }
            b'<' if content.get(at + 1) != Some(&b'<') => {
                let end = memchr::memchr(b'>', &content[at..]).map_or(content.len(), |n| at + n);
                facts.chars += (end - at) / 4;
                at = end + 1;
            }
            b'T' if matches!(content.get(at + 1), Some(b'd' | b'D' | b'*' | b'm')) => {
                facts.text.push(' ');
                at += 2;
            }
            _ => at += 1,
        }
    }
}

/// Every name of a stretch of objects, and the strings behind those that matter.
fn names(octets: &[u8], facts: &mut Facts) {
    for slash in memchr::memchr_iter(b'/', octets) {
        let (name, end) = name_at(octets, slash + 1);
        let of_value = matches!(name.as_str(), "URI" | "JS" | "Win" | "P" | "F" | "UF") && facts.values < VALUES_MAX;
        facts.values += usize::from(of_value);
        let value = || of_value.then(|| value_at(octets, end)).flatten();
        match name.as_str() {
            "URI" => keep(&mut facts.uris, value().filter(|u| u.contains(':')), FILE_URLS_MAX),
            "JavaScript" => facts.java_script = true,
            "JS" => {
                facts.java_script = true;
                keep(&mut facts.scripts, value(), 20);
            }
            "Launch" => facts.launch = true,
            "Win" | "P" if facts.launch => keep(&mut facts.launches, value(), 5),
            "F" | "UF" => keep(&mut facts.file_names, value(), 50),
            "OpenAction" | "AA" => facts.opens_by_itself = true,
            "Encrypt" => facts.encrypted = true,
            "EmbeddedFile" | "EmbeddedFiles" => facts.embedded = true,
            "Page" => facts.pages += 1,
            _ => {}
        }
    }
}

fn keep(all: &mut Vec<String>, value: Option<String>, max: usize) {
    if let Some(value) = value.filter(|v| !v.trim().is_empty() && all.len() < max && !all.contains(v)) {
        all.push(value);
    }
}

/// §7.3.5: `#xx` stands for an octet.
fn name_at(octets: &[u8], from: usize) -> (String, usize) {
    const NAME_OCTETS_MAX: usize = 40;
    let (mut name, mut at) = (String::new(), from);
    while let Some(octet) = octets.get(at).filter(|o| o.is_ascii_alphanumeric() || **o == b'#') {
        let hex = octets
            .get(at + 1..at + 3)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match hex.filter(|_| *octet == b'#') {
            Some(code) => {
                name.push(code.into());
                at += 3;
            }
            None => {
                name.push((*octet).into());
                at += 1;
            }
        }
        if name.len() > NAME_OCTETS_MAX {
            break;
        }
    }
    (name, at)
}

/// The string behind a name, if one stands there directly.
fn value_at(octets: &[u8], from: usize) -> Option<String> {
    let blanks = octets.get(from..)?.iter().take(8).take_while(|b| b.is_ascii_whitespace()).count();
    let at = from + blanks;
    match octets.get(at)? {
        b'(' => Some(literal(octets, at).0),
        b'<' if octets.get(at + 1) != Some(&b'<') => {
            let end = octets[at..].iter().take(8192).position(|b| *b == b'>')? + at;
            let hex: Vec<u8> = octets[at + 1..end].iter().copied().filter(u8::is_ascii_hexdigit).collect();
            let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            Some(legible(&hex.chunks_exact(2).filter_map(octet).collect::<Vec<_>>()))
        }
        _ => None,
    }
}

/// §7.3.4.2: brackets may nest, a backslash escapes. Returns where it ends, too.
fn literal(octets: &[u8], open: usize) -> (String, usize) {
    const LITERAL_OCTETS_MAX: usize = 8192;
    let (mut text, mut deep, mut at) = (Vec::new(), 0, open);
    while at < octets.len() && text.len() < LITERAL_OCTETS_MAX {
        match octets[at] {
            b'(' => {
                deep += 1;
                if deep > 1 {
                    text.push(b'(');
                }
            }
            b')' => {
                deep -= 1;
                if deep == 0 {
                    return (legible(&text), at + 1);
                }
                text.push(b')');
            }
            b'\\' => {
                at += 1;
                let digits = octets[at..].iter().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
                match octets.get(at) {
                    Some(b'\n') => {}
                    Some(b'n' | b'r' | b't') => text.push(b' '),
                    _ if digits > 0 => {
                        let code = octets[at..at + digits].iter().fold(0_u32, |n, d| n * 8 + u32::from(d - b'0'));
                        text.push(code as u8);
                        at += digits - 1;
                    }
                    Some(other) => text.push(*other),
                    None => {}
                }
            }
            other => text.push(other),
        }
        at += 1;
    }
    (legible(&text), at)
}

/// §7.9.2.2: UTF-16 behind a mark, else nearly Latin-1.
fn legible(octets: &[u8]) -> String {
    match octets.strip_prefix(b"\xfe\xff") {
        Some(wide) => {
            let units: Vec<u16> = wide.chunks_exact(2).map(|p| u16::from_be_bytes([p[0], p[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        None => octets.iter().map(|b| char::from(*b)).collect(),
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
