//! Attachments by what they truly are. Each is opened as far as the bounds of `limits` allow; what could not be opened is
//! said, never passed over. Nothing here judges: traits are facts, detectors weigh them.

mod archive;
mod code;
pub mod kind;
mod markup;
mod office;
mod passwords;
mod pdf;
mod rar;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
mod vba;

use crate::detectors::eicar;
use crate::limits::*;
use archive::Budget;
pub use kind::{FileKind, NameTrick};
use mail::{Kind, Part};

/// A fact about a file that somebody may care for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trait {
    /// The EICAR test file.
    TestFile,
    Encrypted,
    /// A password of the message's own text; whether it opens the file.
    PasswordInText {
        word: String,
        opens: bool,
    },
    /// Only its name is known: its archive is encrypted or of a kind that is not opened.
    NotOpened,
    /// Names in front of the octets and in the directory of an archive.
    HeadersDisagree(String),
    NameTrick(NameTrick),
    Macros,
    /// Compiled code whose source was taken out.
    MacrosWithoutSource,
    /// Runs when the document is opened; the name of the procedure or sheet.
    AutoRun(String),
    /// Words with which macros reach outside the document.
    RunsCommands(String),
    /// A relationship that makes Office fetch something when the document is opened.
    ExternalTemplate {
        kind: String,
        target: String,
    },
    /// A file carried in a document, by its name.
    EmbeddedObject(String),
    /// A field that starts a program (Dynamic Data Exchange).
    Dde(String),
    /// PDF: starts a program or opens a file.
    Launch(String),
    PdfScript {
        at_opening: bool,
        words: String,
    },
    /// A short PDF with little text and a link; how many letters it has.
    OneLink(usize),
    /// A page that runs something.
    Script,
    /// A page whose script makes another page out of packed text; by which functions.
    BuildsPage(String),
    /// A page whose script makes a file and hands it over as a download.
    Smuggling(String),
    /// Leads on to another address at once.
    Redirect(String),
    Form {
        password: bool,
        target: String,
    },
    /// An SVG that carries HTML or frames.
    ForeignObject,
    /// What a QR code in it says.
    Code(String),
    /// Commands or addresses that a shortcut holds.
    Shortcut(String),
}

/// One attachment, or a file inside one.
#[derive(Clone, Debug)]
pub struct File {
    /// Its own, without folders; empty where there is none.
    pub name: String,
    /// From the outside in, e.g. `invoice.zip → invoice.exe`.
    pub path: String,
    /// `type/subtype` that the part claims; empty inside archives.
    pub claimed: String,
    pub kind: FileKind,
    /// As it stands in the message or its archive; 0 where it could not be opened.
    pub octets: usize,
    /// 0 = an attachment, 1 = in one, …
    pub depth: usize,
    pub traits: Vec<Trait>,
    /// Addresses in it that a reader may follow.
    pub urls: Vec<String>,
    /// What a reader reads in it, as far as that is known.
    pub text: String,
}

impl File {
    pub fn has(&self, fact: &Trait) -> bool {
        self.traits.contains(fact)
    }
    pub fn finds<'a, T>(&'a self, of: impl Fn(&'a Trait) -> Option<T>) -> Option<T> {
        self.traits.iter().find_map(of)
    }
    /// As a finding names it.
    pub fn shown(&self) -> String {
        let path: String = self.path.chars().map(|c| if is_invisible(c) { '\u{fffd}' } else { c }).take(200).collect();
        if path.is_empty() { "an attachment without a name".into() } else { format!("\"{path}\"") }
    }
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Every attachment and every file inside one, and sentences about what could not be looked into.
pub fn gather(parts: &[Part<'_>]) -> (Vec<File>, Vec<String>) {
    let opener = opened(parts);
    (opener.files, opener.unscannable)
}

/// Shows the octets of every attachment and of every file inside one, within the same bounds, each with its path.
pub fn each_opened(parts: &[Part<'_>], look: &mut dyn FnMut(&str, &[u8])) {
    opened_before(parts, Some(Eyes(look)));
}

fn opened<'a>(parts: &'a [Part<'a>]) -> Opener<'a> {
    opened_before(parts, None)
}

fn opened_before<'a>(parts: &'a [Part<'a>], eyes: Option<Eyes<'a>>) -> Opener<'a> {
    let mut opener = Opener { parts, eyes, ..Opener::default() };
    for part in parts.iter().filter(|p| is_file(p)) {
        let name = part.file_name.unwrap_or_default();
        opener.file(name, name.to_owned(), &part.content_type, &part.decoded, 0);
    }
    opener
}

/// The bodies are shown by the reader's program; everything else can be saved and opened.
pub(crate) fn is_file(part: &Part<'_>) -> bool {
    match part.kind {
        Kind::Binary => true,
        Kind::Text | Kind::Html => part.is_attachment || part.file_name.is_some(),
        Kind::Message | Kind::Multipart => false,
    }
}

/// Opens files and notes what it sees.
#[derive(Debug, Default)]
struct Opener<'a> {
    parts: &'a [Part<'a>],
    files: Vec<File>,
    unscannable: Vec<String>,
    budget: Budget,
    codes: code::Allowance,
    /// Words of the text that may be passwords; looked for once one is needed.
    passwords: Option<Vec<String>>,
    eyes: Option<Eyes<'a>>,
}

/// Who else wants to see each file.
struct Eyes<'a>(&'a mut dyn FnMut(&str, &[u8]));

impl std::fmt::Debug for Eyes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Eyes")
    }
}

impl Opener<'_> {
    fn file(&mut self, name: &str, path: String, claimed: &str, octets: &[u8], depth: usize) {
        if let Some(eyes) = &mut self.eyes {
            (eyes.0)(&path, octets);
        }
        let kind = kind::kind_of(octets, name, claimed);
        let at = self.note(name, path, kind, depth);
        self.files[at].claimed = claimed.to_owned();
        self.files[at].octets = octets.len();
        if eicar::is_test_file(octets) {
            self.files[at].traits.push(Trait::TestFile);
        }
        let opens = kind.is_archive() || matches!(kind, FileKind::Compound | FileKind::OneNote);
        if opens && depth >= ARCHIVE_DEPTH_MAX {
            return self.cannot(at, &format!("archives nested deeper than {ARCHIVE_DEPTH_MAX}"));
        }
        match kind {
            FileKind::Zip => archive::open_zip(self, at, octets, depth),
            FileKind::SevenZip => archive::open_7z(self, at, octets, depth),
            FileKind::Gzip => archive::open_gzip(self, at, octets, depth),
            FileKind::Tar => archive::open_tar(self, at, octets, depth),
            FileKind::Rar => archive::list_rar(self, at, octets),
            FileKind::OtherArchive => self.files[at].traits.push(Trait::NotOpened),
            FileKind::Compound => office::open_compound(self, at, octets, depth),
            FileKind::OneNote => self.one_note(at, octets, depth),
            FileKind::Pdf => pdf::open(self, at, octets, depth),
            FileKind::Html => markup::open(self, at, octets, false),
            FileKind::Svg => markup::open(self, at, octets, true),
            FileKind::Rtf => self.rtf(at, octets),
            FileKind::Picture => code::search_picture(self, at, octets),
            FileKind::Shortcut | FileKind::InternetShortcut => self.shortcut(at, octets),
            FileKind::Calendar => self.calendar(at, octets),
            _ => {}
        }
    }

    fn note(&mut self, name: &str, path: String, kind: FileKind, depth: usize) -> usize {
        let name = name.rsplit(['/', '\\']).next().unwrap_or(name).to_owned();
        let traits = kind::name_trick(&name).map(Trait::NameTrick).into_iter().collect();
        let (claimed, urls, text) = (String::new(), Vec::new(), String::new());
        self.files.push(File { name, path, claimed, kind, octets: 0, depth, traits, urls, text });
        self.files.len() - 1
    }

    /// A file inside another one.
    fn inner(&mut self, outer: usize, name: &str, octets: &[u8], depth: usize) {
        let path = format!("{} → {name}", self.files[outer].path);
        self.file(name, path, "", octets, depth + 1);
    }

    /// A file inside another one of which only the name is known.
    fn closed(&mut self, outer: usize, name: &str) {
        let path = format!("{} → {name}", self.files[outer].path);
        let depth = self.files[outer].depth + 1;
        let at = self.note(name, path, kind::kind_by_name(name), depth);
        self.files[at].traits.push(Trait::NotOpened);
    }

    /// Says what could not be looked into.
    fn cannot(&mut self, file: usize, why: &str) {
        let sentence = format!("{}: {why}", self.files[file].shown());
        if self.unscannable.len() < UNSCANNABLE_MAX && !self.unscannable.contains(&sentence) {
            self.unscannable.push(sentence);
        }
    }

    fn passwords(&mut self) -> &[String] {
        let parts = self.parts;
        self.passwords.get_or_insert_with(|| passwords::candidates(parts))
    }

    /// For an encrypted file that is not opened here: the text may name its password all the same.
    fn password_beside(&mut self, file: usize) {
        if let Some(word) = self.passwords().first().cloned() {
            self.files[file].traits.push(Trait::PasswordInText { word, opens: false });
        }
    }

    /// MS-ONESTORE §2.6.13: files lie in it as they are, behind a fixed GUID and their length.
    fn one_note(&mut self, file: usize, octets: &[u8], depth: usize) {
        const FILE_DATA: &[u8] = b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac";
        for at in memchr::memmem::find_iter(octets, FILE_DATA).take(OFFICE_STREAMS_MAX) {
            let length = octets.get(at + 16..at + 24).and_then(|l| l.try_into().ok()).map(u64::from_le_bytes);
            let length = length.and_then(|l| usize::try_from(l).ok()).unwrap_or(usize::MAX);
            let start = at + 36;
            let data = octets.get(start..start.saturating_add(length).min(octets.len())).unwrap_or_default();
            self.budget.spend(data.len());
            if !self.budget.may_go_on() {
                return self.cannot(file, "a OneNote section with too much in it");
            }
            self.inner(file, "an embedded file", data, depth);
        }
    }

    /// Objects in RTF are hexadecimal; which program gets them stands in the clear.
    fn rtf(&mut self, file: usize, octets: &[u8]) {
        let has = |word: &[u8]| memchr::memmem::find(octets, word).is_some();
        if has(b"\\objupdate") || has(b"\\objautlink") {
            self.files[file].traits.push(Trait::EmbeddedObject("an object that is loaded at opening".into()));
        } else if has(b"\\objdata") {
            self.files[file].traits.push(Trait::EmbeddedObject("an object".into()));
        }
        let template = memchr::memmem::find(octets, b"\\*\\template").map(|at| &octets[at..octets.len().min(at + 300)]);
        if let Some(template) = template.filter(|t| memchr::memmem::find(t, b"http").is_some()) {
            let target =
                String::from_utf8_lossy(template).chars().skip(11).take_while(|c| *c != '}').collect::<String>();
            self.files[file]
                .traits
                .push(Trait::ExternalTemplate { kind: "attachedtemplate".into(), target: target.trim().to_owned() });
        }
    }

    /// Legible stretches of a shortcut, one and two octets a letter.
    fn shortcut(&mut self, file: usize, octets: &[u8]) {
        let octets = &octets[..octets.len().min(64 << 10)];
        let narrow = String::from_utf8_lossy(octets);
        let wide: String = octets.chunks_exact(2).map(|p| if p[1] == 0 { char::from(p[0]) } else { '\0' }).collect();
        let odd: String = octets
            .get(1..)
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|p| if p[1] == 0 { char::from(p[0]) } else { '\0' })
            .collect();
        let runs = |text: &str| -> Vec<String> {
            text.split(|c: char| !(' '..='~').contains(&c)).filter(|run| run.len() >= 6).map(str::to_owned).collect()
        };
        let all = [narrow.as_ref(), &wide, &odd].map(runs).concat();
        let file = &mut self.files[file];
        file.urls.extend(
            all.iter()
                .filter_map(|r| r.find("://").map(|_| r.trim_start_matches("URL=").to_owned()))
                .take(FILE_URLS_MAX),
        );
        file.traits.push(Trait::Shortcut(all.join(" ").chars().take(2_000).collect()));
    }

    fn calendar(&mut self, file: usize, octets: &[u8]) {
        // RFC 5545 §3.1: long lines are folded
        let text = String::from_utf8_lossy(&octets[..octets.len().min(MARKUP_OCTETS_MAX)])
            .replace("\r\n ", "")
            .replace("\n ", "");
        let words = text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | ';' | '\\'));
        let urls = words.filter_map(|w| w.find("http").map(|at| &w[at..])).filter(|u| u.contains("://"));
        let file = &mut self.files[file];
        file.urls = urls.take(FILE_URLS_MAX).map(str::to_owned).collect();
        file.text = text.chars().take(FILE_TEXT_CHARS_MAX).collect();
    }
}
