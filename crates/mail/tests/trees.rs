//! Random trees of MIME parts: what is not text that is shown stays to the byte, whatever else is edited.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::{check_untouched, shown_texts};
use mail::{Banner, Edit, UrlMap, apply, apply_and_tell};
use proptest::prelude::*;

const WORDING: &str = "Achtung: Diese Nachricht kommt von außen. Öffnen Sie nur, was Sie erwarten.";

#[derive(Clone, Debug)]
enum Tree {
    Text { html: bool, charset: &'static str, transfer: &'static str, text: String, attached: bool },
    Octets(Vec<u8>),
    Message(Box<Tree>),
    Many(&'static str, Vec<Tree>),
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z]{1,12}",
        Just(" ".to_owned()),
        Just("\r\n".to_owned()),
        Just("  \r\n".to_owned()),
        Just("=".to_owned()),
        Just("=3D ".to_owned()),
        Just("<body class=\"a>b\">".to_owned()),
        Just("<!-- <body> -->".to_owned()),
        Just("<p>".to_owned()),
        Just("</div>".to_owned()),
        Just("<a href=\"https://a.example/?x=1&amp;y=2\">a</a>".to_owned()),
        Just(" https://b.example/x. ".to_owned()),
        Just("> ".to_owned()),
        Just("für ".to_owned()),
        Just("x".repeat(120)),
    ];
    proptest::collection::vec(piece, 0..25).prop_map(|pieces| pieces.concat())
}

fn tree() -> impl Strategy<Value = Tree> {
    let charset = prop_oneof![Just("us-ascii"), Just("utf-8"), Just("iso-8859-1"), Just("utf-16le"), Just("")];
    let transfer = prop_oneof![Just("7bit"), Just("8bit"), Just("quoted-printable"), Just("base64"), Just("")];
    let leaf = prop_oneof![
        6 => (any::<bool>(), charset, transfer, text(), proptest::bool::weighted(0.1))
            .prop_map(|(html, charset, transfer, text, attached)| Tree::Text { html, charset, transfer, text, attached }),
        1 => proptest::collection::vec(any::<u8>(), 0..120).prop_map(Tree::Octets),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let kind = prop_oneof![Just("mixed"), Just("alternative"), Just("related")];
        prop_oneof![
            4 => (kind, proptest::collection::vec(inner.clone(), 1..4)).prop_map(|(kind, all)| Tree::Many(kind, all)),
            1 => inner.prop_map(|one| Tree::Message(Box::new(one))),
        ]
    })
}

fn encoded(text: &str, charset: &str, transfer: &str) -> Vec<u8> {
    let ascii = |t: &str| t.replace(|c: char| !c.is_ascii(), "?");
    let octets: Vec<u8> = match charset {
        "utf-8" => text.as_bytes().to_vec(),
        "iso-8859-1" => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
        "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        _ => ascii(text).into_bytes(),
    };
    match transfer {
        "quoted-printable" => {
            let mut out = Vec::new();
            for (n, line) in octets.split(|b| *b == b'\n').enumerate() {
                if n > 0 {
                    out.extend_from_slice(b"\r\n");
                }
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                for chunk in line.chunks(20) {
                    chunk.iter().for_each(|b| match b {
                        33..=60 | 62..=126 => out.push(*b),
                        _ => out.extend_from_slice(format!("={b:02X}").as_bytes()),
                    });
                    if chunk.len() == 20 {
                        out.extend_from_slice(b"=\r\n");
                    }
                }
            }
            out
        }
        "base64" => {
            let letters = BASE64_STANDARD.encode(&octets);
            letters.as_bytes().chunks(64).collect::<Vec<_>>().join(b"\r\n".as_slice())
        }
        "8bit" => octets,
        _ => ascii(&String::from_utf8_lossy(&octets)).replace('\0', "?").into_bytes(),
    }
}

fn written(tree: &Tree, next: &mut u32, out: &mut Vec<u8>) {
    *next += 1;
    let boundary = format!("=_part_{next:04}_");
    match tree {
        Tree::Text { html, charset, transfer, text, attached } => {
            let kind = if *html { "html" } else { "plain" };
            let named = if charset.is_empty() { String::new() } else { format!("; charset={charset}") };
            out.extend_from_slice(format!("Content-Type: text/{kind}{named}\r\n").as_bytes());
            if !transfer.is_empty() {
                out.extend_from_slice(format!("Content-Transfer-Encoding: {transfer}\r\n").as_bytes());
            }
            if *attached {
                out.extend_from_slice(b"Content-Disposition: attachment\r\n");
            }
            out.extend_from_slice(b"\r\n");
            out.extend(encoded(text, charset, transfer));
        }
        Tree::Octets(octets) => {
            out.extend_from_slice(
                b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            );
            out.extend(BASE64_STANDARD.encode(octets).into_bytes());
        }
        Tree::Message(inner) => {
            out.extend_from_slice(b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n");
            written(inner, next, out);
        }
        Tree::Many(kind, all) => {
            out.extend_from_slice(
                format!("Content-Type: multipart/{kind}; boundary=\"{boundary}\"\r\n\r\n").as_bytes(),
            );
            for one in all {
                out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
                written(one, next, out);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        }
    }
}

fn message(tree: &Tree) -> bytes::Bytes {
    let mut raw = b"From: a@b.example\r\nSubject: Figures\r\nMIME-Version: 1.0\r\n".to_vec();
    written(tree, &mut 0, &mut raw);
    raw.into()
}

fn edits() -> Vec<Edit> {
    vec![
        Edit::add("X-Posthouse-Id", "1"),
        Edit::SubjectTag("[EXTERNAL]".into()),
        Edit::Banner(Banner::of(WORDING)),
        Edit::RewriteUrls(UrlMap::new(|url| Some(format!("https://click.example/?u={}", url.len())))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_edit_no_change(tree in tree()) {
        let raw = message(&tree);
        let out = apply(&raw, &[]);
        prop_assert_eq!(out.as_slice().len(), 1);
        prop_assert_eq!(out.joined(), raw);
    }

    #[test]
    fn what_is_not_shown_text_stays(tree in tree()) {
        let raw = message(&tree);
        let edited = apply_and_tell(&raw, &edits());
        check_untouched("tree", &raw, &edited.pieces.joined());
        // UTF-16 in seven or eight bits has line ends that are none
        let is_left = edited.left.iter().any(|why| why.starts_with("not edited: its form is not certain"));
        prop_assert!(edited.made.iter().any(|m| m.starts_with("tag")) != is_left, "{:?}", edited.left);
    }

    #[test]
    fn banner_in_and_out_is_the_same_text(tree in tree()) {
        let raw = message(&tree);
        let once = apply_and_tell(&raw, &[Edit::Banner(Banner::of(WORDING))]);
        let back = apply(&once.pieces.joined(), &[Edit::RemoveBanner { wordings: vec![WORDING.into()] }]).joined();
        prop_assert_eq!(shown_texts(&back), shown_texts(&raw), "{:?}", once);
    }

    #[test]
    fn a_banner_is_read_where_it_was_put(tree in tree()) {
        let raw = message(&tree);
        let edited = apply_and_tell(&raw, &[Edit::Banner(Banner::of(WORDING))]);
        let out = edited.pieces.joined();
        let said = shown_texts(&out).iter().filter(|t| t.contains("Achtung: Diese Nachricht")).count();
        prop_assert_eq!(said, edited.made.len(), "{:?}", edited);
    }

    #[test]
    fn any_octets_are_taken(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
        let raw: bytes::Bytes = raw.into();
        check_untouched("octets", &raw, &apply(&raw, &edits()[1..]).joined());
    }

    #[test]
    fn broken_trees_are_taken(tree in tree(), cuts in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6)) {
        let mut raw = message(&tree).to_vec();
        for (at, octet) in cuts {
            let n = usize::from(at) % raw.len();
            raw[n] = octet;
        }
        let raw: bytes::Bytes = raw.into();
        check_untouched("broken", &raw, &apply(&raw, &edits()[1..]).joined());
    }
}
