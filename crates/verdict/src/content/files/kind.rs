//! What a file truly is: by its octets, and by its name only where the octets of that kind say nothing (scripts).

use crate::limits::HEAD_OCTETS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    Executable,
    /// Run by a double click: JScript, VBScript, PowerShell, batch, HTA, Java, …
    Script,
    /// Shell link (MS-SHLLINK).
    Shortcut,
    /// `[InternetShortcut]`
    InternetShortcut,
    DiskImage,
    OneNote,
    Zip,
    SevenZip,
    Rar,
    Tar,
    Gzip,
    /// Packed in a way that is not opened here: CAB, ACE, ARJ, XZ, bzip2, …
    OtherArchive,
    /// Zip with the parts of a document: OOXML, OpenDocument.
    Document,
    /// Compound file (MS-CFB): the older Office, MSI, messages of Outlook.
    Compound,
    Rtf,
    Pdf,
    Html,
    Svg,
    Calendar,
    Picture,
    Text,
    Other,
}

impl FileKind {
    /// In words, behind "is".
    pub fn as_str(self) -> &'static str {
        match self {
            FileKind::Executable => "a program",
            FileKind::Script => "a script",
            FileKind::Shortcut => "a Windows shortcut",
            FileKind::InternetShortcut => "an internet shortcut",
            FileKind::DiskImage => "a disk image",
            FileKind::OneNote => "a OneNote section",
            FileKind::Zip => "a zip archive",
            FileKind::SevenZip => "a 7z archive",
            FileKind::Rar => "a RAR archive",
            FileKind::Tar => "a tar archive",
            FileKind::Gzip => "gzip-packed",
            FileKind::OtherArchive => "an archive of a rare format",
            FileKind::Document => "an Office document",
            FileKind::Compound => "an Office file of the older format",
            FileKind::Rtf => "an RTF document",
            FileKind::Pdf => "a PDF",
            FileKind::Html => "an HTML page",
            FileKind::Svg => "an SVG drawing",
            FileKind::Calendar => "a calendar entry",
            FileKind::Picture => "a picture",
            FileKind::Text => "text",
            FileKind::Other => "data",
        }
    }

    pub fn is_archive(self) -> bool {
        use FileKind::*;
        matches!(self, Zip | SevenZip | Rar | Tar | Gzip | OtherArchive)
    }

    /// True when more than its head has to be read to know what it does.
    pub fn is_read_whole(self) -> bool {
        use FileKind::*;
        !matches!(self, Executable | DiskImage | Picture | Text | Other | Rar | OtherArchive)
    }
}

/// What Windows runs by a double click and has no signature of its own.
const SCRIPTS: &[&str] = &[
    "js",
    "jse",
    "vbs",
    "vbe",
    "wsf",
    "wsh",
    "wsc",
    "sct",
    "hta",
    "ps1",
    "psm1",
    "bat",
    "cmd",
    "pif",
    "jar",
    "jnlp",
    "reg",
    "chm",
    "cpl",
    "msc",
    "xll",
    "iqy",
    "slk",
    "settingcontent-ms",
    "appref-ms",
    "application",
    "search-ms",
    "library-ms",
    "rdp",
    "inf",
    "scf",
    "appinstaller",
    "msix",
    "appx",
    "vbscript",
    "ppkg",
    "theme",
    "website",
];
const EXECUTABLES: &[&str] = &["exe", "scr", "com", "dll", "msi", "msp", "sys", "ocx", "cpl"];
const DISK_IMAGES: &[&str] = &["iso", "img", "vhd", "vhdx", "udf", "wim", "dmg"];
/// Those that a person takes for something to read.
const HARMLESS: &[&str] = &[
    "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "rtf", "txt", "csv", "jpg", "jpeg", "png", "gif", "bmp", "tif",
    "tiff", "mp3", "mp4", "wav", "avi", "html", "htm", "xml", "eml", "msg", "ics", "odt", "ods",
];
const PLAIN_TEXT: &[&str] = &["txt", "csv", "log", "md", "xml", "json", "ics", "vcf", "eml"];

/// Behind the last dot, in lower case; without the dots and blanks that Windows drops from an end.
pub fn extension(name: &str) -> String {
    let name = name.trim_end_matches(['.', ' ', '\u{a0}']);
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    name.rsplit_once('.').map(|(_, e)| e.to_lowercase()).unwrap_or_default()
}

/// True where a double click runs it, whatever its octets are.
pub fn runs_by_name(name: &str) -> bool {
    let ext = extension(name);
    let ext = ext.as_str();
    // a domain name at the end of a name ("report from example.com") runs only where its octets do
    (SCRIPTS.contains(&ext) || EXECUTABLES.contains(&ext) && ext != "com") || matches!(ext, "lnk" | "url" | "one")
}

/// Where nobody can look at the octets.
pub fn kind_by_name(name: &str) -> FileKind {
    let ext = extension(name);
    match ext.as_str() {
        "lnk" => FileKind::Shortcut,
        "url" => FileKind::InternetShortcut,
        "one" => FileKind::OneNote,
        e if EXECUTABLES.contains(&e) => FileKind::Executable,
        e if SCRIPTS.contains(&e) => FileKind::Script,
        e if DISK_IMAGES.contains(&e) => FileKind::DiskImage,
        "htm" | "html" | "shtml" | "xhtml" => FileKind::Html,
        "svg" => FileKind::Svg,
        _ => FileKind::Other,
    }
}

pub fn is_harmless_ending(ext: &str) -> bool {
    HARMLESS.contains(&ext)
}

pub fn is_disk_image_ending(ext: &str) -> bool {
    DISK_IMAGES.contains(&ext)
}

const SIGNATURES: &[(&[u8], FileKind)] = &[
    (b"\x4c\0\0\0\x01\x14\x02\0", FileKind::Shortcut),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", FileKind::OneNote),
    (b"PK\x03\x04", FileKind::Zip),
    (b"PK\x05\x06", FileKind::Zip),
    (b"PK00PK\x03\x04", FileKind::Zip),
    (b"7z\xbc\xaf\x27\x1c", FileKind::SevenZip),
    (b"Rar!\x1a\x07", FileKind::Rar),
    (b"\x1f\x8b\x08", FileKind::Gzip),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileKind::Compound),
    (b"{\\rt", FileKind::Rtf),
    (b"vhdxfile", FileKind::DiskImage),
    (b"conectix", FileKind::DiskImage),
    (b"MSWIM\0\0\0", FileKind::DiskImage),
    (b"ITSF", FileKind::Script),
    (b"MSCF", FileKind::OtherArchive),
    (b"BZh", FileKind::OtherArchive),
    (b"\xfd7zXZ\0", FileKind::OtherArchive),
    (b"\x28\xb5\x2f\xfd", FileKind::OtherArchive),
    (b"\x60\xea", FileKind::OtherArchive),
    (b"\x1f\x9d", FileKind::OtherArchive),
    (b"[InternetShortcut]", FileKind::InternetShortcut),
    (b"BEGIN:VCALENDAR", FileKind::Calendar),
];

/// The type by the head of the octets; `name` and `claimed` decide only between kinds that look alike.
pub fn kind_of(octets: &[u8], name: &str, claimed: &str) -> FileKind {
    let head = &octets[..octets.len().min(HEAD_OCTETS)];
    let ext = extension(name);
    let text = text_start(head);
    if let Some((_, kind)) = SIGNATURES.iter().find(|(sign, _)| head.starts_with(sign) || text.starts_with(sign)) {
        return *kind;
    }
    if head.get(7..14) == Some(b"**ACE**") || head.get(2..7).is_some_and(|h| h.starts_with(b"-lh") && h[4] == b'-') {
        return FileKind::OtherArchive;
    }
    if is_program(head) {
        return FileKind::Executable;
    }
    // ISO 9660 and UDF: their descriptors stand in the seventeenth sector
    if head
        .get(0x8001..0x8006)
        .is_some_and(|sign| [b"CD001", b"BEA01", b"NSR02", b"NSR03"].contains(&sign.try_into().unwrap_or(b"     ")))
    {
        return FileKind::DiskImage;
    }
    if head.get(257..262) == Some(b"ustar") {
        return FileKind::Tar;
    }
    if memchr::memmem::find(&head[..head.len().min(1024)], b"%PDF-").is_some() {
        return FileKind::Pdf;
    }
    if infer::is_image(head) {
        return FileKind::Picture;
    }
    if is_disk_image_ending(&ext) && octets.len() > 512 {
        return FileKind::DiskImage;
    }
    if SCRIPTS.contains(&ext.as_str()) {
        return FileKind::Script;
    }
    markup(text, &ext, claimed).unwrap_or_else(|| rest(head, &ext))
}

fn rest(head: &[u8], ext: &str) -> FileKind {
    match ext {
        _ if is_text(head) && (PLAIN_TEXT.contains(&ext) || ext.is_empty()) => FileKind::Text,
        _ => match infer::get(head).map(|t| t.matcher_type()) {
            Some(infer::MatcherType::Archive) => FileKind::OtherArchive,
            _ if is_text(head) => FileKind::Text,
            _ => FileKind::Other,
        },
    }
}

/// Its own short list: what the library counts as applications has certificates and signatures (DER) among it.
fn is_program(head: &[u8]) -> bool {
    // "MZ" begins many a text: the header that it names has to be there, or octets that no text has
    let dos = head.starts_with(b"MZ") && head.get(2..64).is_some_and(|h| h.contains(&0));
    dos || head.starts_with(b"\x7fELF") || (infer::app::is_mach(head) && head.len() > 32)
}

/// What is left of a text when its byte order mark and white space are gone.
fn text_start(head: &[u8]) -> &[u8] {
    head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start()
}

fn markup(text: &[u8], ext: &str, claimed: &str) -> Option<FileKind> {
    let start: Vec<u8> = text[..text.len().min(2048)].to_ascii_lowercase();
    let has = |what: &str| memchr::memmem::find(&start, what.as_bytes()).is_some();
    let is_tag = start.starts_with(b"<");
    if is_tag && has("<svg") && !has("<html") || (ext == "svg" || claimed == "image/svg+xml") && is_text(text) {
        return Some(FileKind::Svg);
    }
    let page = ["<!doctype html", "<html", "<head", "<body", "<script", "<meta ", "<form", "<table"];
    if page.iter().any(|tag| start.starts_with(tag.as_bytes())) || is_tag && has("<html") {
        return Some(FileKind::Html);
    }
    let named = matches!(ext, "html" | "htm" | "shtml" | "xhtml" | "xht" | "mht" | "mhtml") || claimed == "text/html";
    (named && (is_text(text) || is_utf_16(text))).then_some(FileKind::Html)
}

pub fn is_utf_16(octets: &[u8]) -> bool {
    octets.starts_with(b"\xff\xfe") || octets.starts_with(b"\xfe\xff")
}

fn is_text(head: &[u8]) -> bool {
    !head[..head.len().min(1024)].iter().any(|b| *b < 32 && !matches!(b, b'\t' | b'\r' | b'\n' | 0x0c | 0x1a | 0x1b))
}

/// How a name lies about its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameTrick {
    /// `invoice.pdf.exe`
    DoubleExtension,
    /// U+202E and its like: `invoice\u{202e}fdp.exe` is shown as `invoiceexe.pdf`.
    Reversed,
    /// The true ending stands far to the right, outside the window.
    Spaces,
}

/// Blanks in a row that nobody types.
const BLANKS_MIN: usize = 10;

pub fn name_trick(name: &str) -> Option<NameTrick> {
    if name.contains(['\u{202e}', '\u{202d}', '\u{2066}', '\u{2067}']) && name.contains('.') {
        return Some(NameTrick::Reversed);
    }
    let ends_dangerously = runs_by_name(name) || is_disk_image_ending(&extension(name)) || extension(name) == "com";
    if !ends_dangerously {
        return None;
    }
    let before = name.trim_end_matches(['.', ' ']).rsplit_once('.').map(|(before, _)| before).unwrap_or_default();
    let mut run = 0;
    for c in before.chars() {
        run = if c.is_whitespace() || matches!(c, '\u{a0}' | '\u{2800}' | '\u{3164}' | '_') { run + 1 } else { 0 };
        if run >= BLANKS_MIN {
            return Some(NameTrick::Spaces);
        }
    }
    // an .url or .one behind a page's or document's own name is how browsers and people save them
    (is_harmless_ending(&extension(before)) && !matches!(extension(name).as_str(), "url" | "one"))
        .then_some(NameTrick::DoubleExtension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_octets_decide_and_the_name_only_where_they_cannot() {
        let program = [b"MZ\x90\0".as_slice(), &[0; 80]].concat();
        let mut iso = vec![0; 0x8800];
        iso[0x8001..0x8006].copy_from_slice(b"CD001");
        let cases: &[(&[u8], &str, &str)] = &[
            (&program, "invoice.pdf", "application/pdf"),
            (b"MZ is how this letter begins", "a.txt", "text/plain"),
            (&iso, "scan.dat", "application/octet-stream"),
            (b"\xef\xbb\xbf  <!DOCTYPE html><p>x", "a.pdf", "application/pdf"),
            (b"<?xml version='1.0'?><svg xmlns='x'/>", "a.xml", "image/png"),
            (b"var a = new ActiveXObject('x')", "a.js", "text/plain"),
            (b"%PDF-1.7", "a", "x/y"),
            (b"\x89PNG\r\n\x1a\n0000", "a.pdf", "application/pdf"),
            (b"{\\rtf1", "a.doc", "application/msword"),
            (b"BEGIN:VCALENDAR", "a.ics", "text/calendar"),
            (b"a,b\r\n", "a.csv", "text/csv"),
            (b"\0\x01\x02", "a.bin", "application/octet-stream"),
            (
                b"\x30\x82\x14\x5a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0",
                "smime.p7s",
                "application/pkcs7-signature",
            ),
            (b"", "", ""),
        ];
        let seen: Vec<_> = cases.iter().map(|(o, n, c)| kind_of(o, n, c)).collect();
        use FileKind::*;
        let wanted =
            [Executable, Text, DiskImage, Html, Svg, Script, Pdf, Picture, Rtf, Calendar, Text, Other, Other, Text];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn names_that_hide_their_ending() {
        for (name, trick) in [
            ("invoice.pdf.exe", Some(NameTrick::DoubleExtension)),
            ("invoice.pdf.EXE. ", Some(NameTrick::DoubleExtension)),
            ("invoice.pdf                         .scr", Some(NameTrick::Spaces)),
            ("invoice\u{202e}fdp.exe", Some(NameTrick::Reversed)),
            ("setup.exe", None),
            ("photo.jpg.zip", None),
            ("report.final.pdf", None),
            ("notes for example.com", None),
            ("archive.tar.gz", None),
        ] {
            assert_eq!(name_trick(name), trick, "{name}");
        }
    }
}
