//! Any octets are a message, and edits change what they name and nothing else.
#![allow(clippy::unwrap_used, clippy::panic)]

mod runner;

use bytes::Bytes;
use mail::{Edit, HeaderSection, Message};
use proptest::prelude::*;

/// Pieces of mail, whole and broken, and octets of all kinds between them.
fn mailish() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"From: a@b.example\r\n",
        b"From: =?utf-8?q?J=C3=BCrgen?= <j@a.example>,\r\n b@c\r\n",
        b"Subject: =?utf-8?b?w5xiZXI=?= =?x?q?=?=\r\n",
        b"Message-ID: <1@a.example>\r\n",
        b"X-Ours-A: 1\r\n",
        b"x-ours-b : 2\r\n folded\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"Content-Type: text/html; charset=utf-16\r\n\r\n",
        b"Content-Type: application/x; name*0*=utf-8''%e2; name*1=\"",
        b"Content-Transfer-Encoding: base64\r\n\r\nQUJD=\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=41=\r\n=4\r\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"begin 644 x\r\n#0V%T\r\n`\r\nend\r\n",
        b"((((\"<>",
        b"<p>text</p>",
    ];
    let piece = prop_oneof![
        6 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

#[test]
fn parse() {
    runner::run("parse", &mailish(), |raw| {
        let message = Message::parse(Bytes::from(raw.clone()));
        message.with_parts(|parts| parts.iter().map(|part| part.decoded.len()).sum::<usize>());
        let _ = (message.subject(), message.message_id(), message.from_address(), message.header_values("Received"));
        prop_assert_eq!(message.raw(), &raw);
        prop_assert!(message.headers().body_start() <= raw.len());
        Ok(())
    });
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let value = prop_oneof![Just("v".to_owned()), Just("a\r\nEvil: yes".to_owned()), ".{0,40}", Just("x".repeat(2000))];
    let edit = prop_oneof![
        value.prop_map(|value| Edit::add("Z-New", value)),
        Just(Edit::remove_prefix("X-Ours-")),
        Just(Edit::RemoveNamed { prefix: "X-".into(), except: vec!["x-ours-a".into()] }),
    ];
    proptest::collection::vec(edit, 0..4)
}

fn apply(raw: &[u8], edits: &[Edit]) -> Bytes {
    mail::apply(&Bytes::copy_from_slice(raw), edits).joined()
}

/// Fields that no edit names, in order and to the octet.
fn untouched(raw: &[u8]) -> Vec<&[u8]> {
    let named = |name: &str| ["x-", "z-"].iter().any(|p| name.to_ascii_lowercase().starts_with(p));
    HeaderSection::of(raw).fields().filter(|f| !named(f.name)).map(|f| &raw[f.range]).collect()
}

#[test]
fn edit() {
    runner::run("edit", &(mailish(), edits()), |(raw, edits)| {
        prop_assert_eq!(&apply(&raw, &[])[..], &raw[..], "no edit changes nothing");
        let out = apply(&raw, &edits);
        prop_assert_eq!(untouched(&out), untouched(&raw));
        prop_assert!(out.ends_with(&raw[HeaderSection::of(&raw).end()..]), "what follows the header stays");
        let removals: Vec<Edit> = edits.into_iter().filter(|e| matches!(e, Edit::RemoveNamed { .. })).collect();
        let once = apply(&raw, &removals);
        prop_assert_eq!(apply(&once, &removals), once, "removing twice is removing once");
        Ok(())
    });
}
