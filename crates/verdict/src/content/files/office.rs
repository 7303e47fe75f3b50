//! Documents of Office: what they run, fetch or carry. OOXML is zip (ECMA-376), the older formats compound files (MS-CFB).

use super::kind::FileKind;
use super::{Opener, Trait, code, vba};
use crate::limits::*;
use std::io::{Cursor, Read};

/// A part of a document; broken ones are passed over, Office repairs or refuses them.
fn part<R: Read + std::io::Seek>(archive: &mut zip::ZipArchive<R>, index: usize, opener: &mut Opener<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    if let Ok(entry) = archive.by_index(index) {
        // what came before an error stays
        let _ = entry.take(OFFICE_STREAM_OCTETS_MAX as u64).read_to_end(&mut octets);
    }
    opener.budget.spend(octets.len());
    octets
}

pub(super) fn open_document(
    opener: &mut Opener<'_>,
    file: usize,
    archive: &mut zip::ZipArchive<Cursor<&[u8]>>,
    depth: usize,
) {
    let mut read = 0;
    for index in 0..archive.len() {
        let Some(Ok(name)) = archive.name_for_index(index).map(|n| n.map(|n| n.into_owned())) else { continue };
        let lower = name.to_ascii_lowercase().replace('\\', "/");
        let wanted = [".rels", "vbaproject.bin", "/document.xml", "/sharedstrings.xml", "content.xml"]
            .iter()
            .any(|e| lower.ends_with(e))
            || ["/media/", "/embeddings/", "/macrosheets/", "/externallinks/", "/slides/slide"]
                .iter()
                .any(|d| lower.contains(d));
        if !wanted {
            continue;
        }
        read += 1;
        if read > OFFICE_STREAMS_MAX {
            return opener.cannot(file, &format!("a document of more than {OFFICE_STREAMS_MAX} parts"));
        }
        if lower.ends_with(".rels") {
            let xml = part(archive, index, opener);
            relations(opener, file, &String::from_utf8_lossy(&xml));
        } else if lower.ends_with("vbaproject.bin") {
            let project = part(archive, index, opener);
            macros(opener, file, &project);
        } else if lower.contains("/macrosheets/") {
            let sheet = part(archive, index, opener);
            opener.files[file].traits.push(Trait::Macros);
            opener.files[file].traits.push(Trait::AutoRun("a sheet of Excel 4.0 macros".into()));
            commands(opener, file, &String::from_utf8_lossy(&sheet));
        } else if lower.contains("/embeddings/") {
            let embedded = part(archive, index, opener);
            opener.files[file].traits.push(Trait::EmbeddedObject(name.clone()));
            opener.inner(file, &name, &embedded, depth);
        } else if lower.contains("/media/") {
            let picture = part(archive, index, opener);
            code::search_picture(opener, file, &picture);
        } else {
            let xml = part(archive, index, opener);
            words_and_dde(opener, file, &String::from_utf8_lossy(&xml));
        }
    }
}

/// Relationships that lead outside (ECMA-376 part 2 §9.3).
fn relations(opener: &mut Opener<'_>, file: usize, xml: &str) {
    for element in xml.split("<Relationship ").skip(1) {
        let get = |name: &str| attribute(element, name);
        if !get("TargetMode").is_some_and(|m| m.eq_ignore_ascii_case("External")) {
            continue;
        }
        let (kind, target) = (get("Type").unwrap_or_default(), get("Target").unwrap_or_default());
        let kind = kind.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let file = &mut opener.files[file];
        match kind.as_str() {
            "attachedtemplate" | "oleobject" | "frame" | "subdocument" | "vbaproject" => {
                file.traits.push(Trait::ExternalTemplate { kind, target });
            }
            "hyperlink" if target.contains("://") && file.urls.len() < FILE_URLS_MAX => file.urls.push(target),
            _ => {}
        }
    }
}

fn attribute(element: &str, name: &str) -> Option<String> {
    let at = element.find(&format!("{name}="))? + name.len() + 1;
    let quote = element[at..].chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let value = element[at + 1..].split(quote).next()?;
    Some(value.replace("&amp;", "&").replace("&#x2F;", "/").replace("&quot;", "\""))
}

/// The text of a part, and fields that ask another program (DDE).
fn words_and_dde(opener: &mut Opener<'_>, file: usize, xml: &str) {
    let mut text = String::new();
    for piece in xml.split('<').skip(1) {
        let Some((tag, words)) = piece.split_once('>') else { continue };
        if matches!(tag, "/w:p" | "w:br/" | "w:tab/" | "/a:p" | "/si") {
            text.push(' ');
        }
        text.push_str(words);
        if text.len() > OFFICE_STREAM_OCTETS_MAX {
            break;
        }
    }
    // fields are often cut into runs, so they are looked for in the text without markup
    let upper = text.to_uppercase();
    let dde_link = xml.contains("<ddeLink");
    let field = ["DDEAUTO ", "DDE \"", "DDE C:", "DDEAUTO\t"].iter().find_map(|w| upper.find(w));
    let link = dde_link.then(|| attribute(xml.split("<ddeLink").nth(1).unwrap_or_default(), "ddeService")).flatten();
    let told = field.map(|at| upper[at..].chars().take(120).collect::<String>()).or(link);
    let file = &mut opener.files[file];
    if let Some(told) = told.filter(|t| runs_something(t)) {
        file.traits.push(Trait::Dde(told));
    }
    let room = FILE_TEXT_CHARS_MAX.saturating_sub(file.text.len());
    file.text.extend(text.chars().take(room));
}

fn runs_something(told: &str) -> bool {
    let told = told.to_ascii_lowercase();
    ["cmd", "powershell", "mshta", "rundll", "regsvr", "wscript", "cscript", "msiexec", ".exe"]
        .iter()
        .any(|w| told.contains(w))
}

pub(super) fn open_compound(opener: &mut Opener<'_>, file: usize, octets: &[u8], depth: usize) {
    let Ok(mut compound) = cfb::CompoundFile::open(Cursor::new(octets)) else {
        return opener.cannot(file, "a broken Office file of the older format");
    };
    // CLSID of an installer package: 000C1084-0000-0000-C000-000000000046, of a patch …1086…
    let clsid = compound.root_entry().clsid().to_string().to_lowercase();
    if clsid.starts_with("000c1084-") || clsid.starts_with("000c1086-") {
        opener.files[file].kind = FileKind::Executable;
        return;
    }
    let streams: Vec<(String, String, u64)> = compound
        .walk()
        .take(OFFICE_STREAMS_MAX + 1)
        .map(|e| (e.path().to_string_lossy().into_owned(), e.name().to_owned(), e.len()))
        .collect();
    if streams.len() > OFFICE_STREAMS_MAX {
        opener.cannot(file, &format!("an Office file of more than {OFFICE_STREAMS_MAX} streams"));
    }
    if streams.iter().any(|(_, name, _)| name.eq_ignore_ascii_case("EncryptedPackage")) {
        opener.files[file].traits.push(Trait::Encrypted);
        return opener.password_beside(file);
    }
    macros_of(opener, file, &mut compound, &streams);
    for (path, name, length) in streams.iter().filter(|(_, _, length)| *length > 0) {
        let wanted = ["workbook", "book", "worddocument", "\u{1}ole10native", "package", "contents"];
        let lower = name.to_lowercase();
        if !wanted.contains(&lower.as_str()) {
            continue;
        }
        let octets = read_stream(&mut compound, path, *length, opener);
        match lower.as_str() {
            "workbook" | "book" => workbook(opener, file, &octets),
            // MS-DOC §2.5.1: fEncrypted
            "worddocument" if octets.get(11).is_some_and(|flags| flags & 1 != 0) => {
                opener.files[file].traits.push(Trait::Encrypted);
                opener.password_beside(file);
            }
            "\u{1}ole10native" => {
                let (name, data) = native(&octets);
                opener.files[file].traits.push(Trait::EmbeddedObject(name.clone()));
                opener.inner(file, &name, data, depth);
            }
            "package" => opener.inner(file, "an embedded package", &octets, depth),
            _ => {}
        }
    }
}

type Compound<'a> = cfb::CompoundFile<Cursor<&'a [u8]>>;

fn read_stream(compound: &mut Compound<'_>, path: &str, length: u64, opener: &mut Opener<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    if let Ok(stream) = compound.open_stream(path) {
        let _ = stream.take(length.min(OFFICE_STREAM_OCTETS_MAX as u64)).read_to_end(&mut octets);
    }
    opener.budget.spend(octets.len());
    octets
}

/// A packaged file (OLE10Native): its label and path in front of its octets.
fn native(octets: &[u8]) -> (String, &[u8]) {
    let text_at = |at: usize| -> Option<(String, usize)> {
        let end = at + octets.get(at..)?.iter().take(1024).position(|b| *b == 0)?;
        Some((String::from_utf8_lossy(&octets[at..end]).into_owned(), end + 1))
    };
    let read = || {
        let (label, next) = text_at(6)?;
        let (_, next) = text_at(next)?;
        let length = |at: usize| Some(u32::from_le_bytes(octets.get(at..at + 4)?.try_into().ok()?) as usize);
        let path_at = next + 8;
        let data_at = path_at + length(next + 4)? + 4;
        let size = length(data_at - 4)?;
        Some((label, octets.get(data_at..data_at.checked_add(size)?.min(octets.len()))?))
    };
    read().unwrap_or_else(|| ("an embedded object".into(), octets))
}

/// BIFF records (MS-XLS §2.4): FilePass is encryption, BoundSheet8 names macro sheets.
fn workbook(opener: &mut Opener<'_>, file: usize, octets: &[u8]) {
    let mut at = 0;
    let word = |at: usize| octets.get(at..at + 2).map(|o| usize::from(u16::from_le_bytes([o[0], o[1]])));
    // the workbook globals come first and end with EOF (0x000a)
    while let (Some(record), Some(length)) = (word(at), word(at + 2)) {
        let body = octets.get(at + 4..(at + 4 + length).min(octets.len())).unwrap_or_default();
        match record {
            0x0a => return,
            0x2f => {
                opener.files[file].traits.push(Trait::Encrypted);
                return opener.password_beside(file);
            }
            0x85 if body.get(5) == Some(&1) => {
                opener.files[file].traits.push(Trait::Macros);
                let told = match body.get(4) {
                    Some(0) => "a sheet of Excel 4.0 macros",
                    _ => "a hidden sheet of Excel 4.0 macros",
                };
                opener.files[file].traits.push(Trait::AutoRun(told.into()));
            }
            _ => {}
        }
        at += 4 + length;
    }
}

/// A VBA project on its own, as OOXML carries it.
fn macros(opener: &mut Opener<'_>, file: usize, octets: &[u8]) {
    let Ok(mut compound) = cfb::CompoundFile::open(Cursor::new(octets)) else {
        opener.files[file].traits.push(Trait::Macros);
        return opener.cannot(file, "macros that are broken");
    };
    let walk = compound.walk().take(OFFICE_STREAMS_MAX);
    let streams: Vec<_> =
        walk.map(|e| (e.path().to_string_lossy().into_owned(), e.name().to_owned(), e.len())).collect();
    macros_of(opener, file, &mut compound, &streams);
}

fn macros_of(opener: &mut Opener<'_>, file: usize, compound: &mut Compound<'_>, streams: &[(String, String, u64)]) {
    let in_project = |path: &str| path.to_ascii_uppercase().contains("/VBA/");
    let modules = streams.iter().filter(|(path, name, length)| {
        let own = name.starts_with("_") || name.eq_ignore_ascii_case("dir");
        in_project(path) && !own && *length > 0
    });
    let (mut source, mut seen) = (String::new(), 0);
    for (path, _, length) in modules {
        seen += 1;
        let octets = read_stream(compound, path, *length, opener);
        match vba::source(&octets) {
            Some(text) => source.push_str(&text),
            None => opener.files[file].traits.push(Trait::MacrosWithoutSource),
        }
    }
    if seen == 0 {
        return;
    }
    opener.budget.spend(source.len());
    // a document's own empty modules are attributes alone
    if source.lines().all(|l| l.trim().is_empty() || l.starts_with("Attribute "))
        && !opener.files[file].traits.contains(&Trait::MacrosWithoutSource)
    {
        return;
    }
    opener.files[file].traits.push(Trait::Macros);
    if let Some(name) = vba::auto_run(&source) {
        opener.files[file].traits.push(Trait::AutoRun(name.into()));
    }
    commands(opener, file, &source);
}

fn commands(opener: &mut Opener<'_>, file: usize, source: &str) {
    let words = vba::commands(source);
    if !words.is_empty() {
        opener.files[file].traits.push(Trait::RunsCommands(words.join(", ")));
    }
}
