//! Mail that was made to keep a scanner busy, judged whole: each message ends within its bounds, and what nobody could look
//! into is said to be so.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write;
use std::time::{Duration, Instant};
use verdict::{Category, Ground, Saved, Verdict};

/// Generous: a debug build on a busy machine takes a second or two; without its bounds each of these takes minutes.
const PATIENCE: Duration = Duration::from_secs(60);

fn message(content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "From: A <a@outside.example>\r\nTo: b@contoso.example\r\nSubject: hello\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <1@outside.example>\r\nMIME-Version: 1.0\r\nContent-Type: {content_type}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn repeated(times: usize, one: impl Fn(usize) -> String) -> String {
    (0..times).fold(String::new(), |mut all, n| {
        all.push_str(&one(n));
        all
    })
}

/// What it came to, and that it came to it in time.
fn judged(name: &str, raw: Vec<u8>) -> (Verdict, Category) {
    let begun = Instant::now();
    let (_, decision) = Saved::read(raw).judge(&Ground::default(), 0);
    assert!(begun.elapsed() < PATIENCE, "{name} took {:?}", begun.elapsed());
    (decision.verdict, decision.category)
}

fn nested(levels: usize) -> Vec<u8> {
    let mut inner = "Content-Type: text/plain\r\n\r\nhello\r\n".to_owned();
    for n in 1..levels {
        inner = format!("Content-Type: multipart/mixed; boundary=x{n}\r\n\r\n--x{n}\r\n{inner}--x{n}--\r\n");
    }
    message("multipart/mixed; boundary=x", &format!("--x\r\n{inner}--x--\r\n"))
}

fn forwarded(levels: usize) -> Vec<u8> {
    let inner = repeated(levels, |n| format!("Subject: {n}\r\nContent-Type: message/rfc822\r\n\r\n"));
    message("message/rfc822", &format!("{inner}Subject: the last\r\n\r\nhello\r\n"))
}

#[test]
fn what_is_too_much_to_look_into_is_unscannable_and_held() {
    let parts = repeated(10_000, |n| format!("--b\r\nContent-Type: text/plain\r\n\r\npart {n}\r\n"));
    let link = |n| format!("<a href=\"https://h{n}.site{n}.example/p{n}\">x</a>\r\n");
    let address = |n| format!("https://h{n}.site{n}.example/{n}\r\n");
    let cases = [
        ("10,000 parts", message("multipart/mixed; boundary=b", &format!("{parts}--b--\r\n"))),
        ("5 MB of links", message("text/html", &repeated(90_000, link))),
        ("5 MB of addresses", message("text/plain", &repeated(120_000, address))),
        ("100 multiparts deep", nested(100)),
        ("5,000 multiparts deep", nested(5_000)),
        ("100 messages deep", forwarded(100)),
        ("5 MB of HTML", message("text/html", &"<p>hello</p>\r\n".repeat(400_000))),
    ];
    for (name, raw) in cases {
        assert_eq!(judged(name, raw), (Verdict::Hold, Category::Unscannable), "{name}");
    }
}

/// Long, odd and harmless: looked at as far as anybody reads, and let pass.
#[test]
fn what_wears_parsers_out_ends_all_the_same() {
    let long = |text: &str, octets: usize| text.repeat(octets / text.len());
    let html = |text: &str| message("text/html", &long(text, 2_000_000));
    let text = |text: &str| message("text/plain; charset=utf-8", &long(text, 2_000_000));
    let coded =
        |text: &str, octets| message("text/plain\r\nContent-Transfer-Encoding: quoted-printable", &long(text, octets));
    let field = |name: &str, value: String| message(&format!("text/plain\r\n{name}: {value}"), "hello");
    let rules = repeated(50_000, |n| format!(".c{n}{{display:none}}"));
    let cases = [
        ("open tags", html("<")),
        ("open elements", html("<div>")),
        ("ends that begin nothing", html("<b><i></p>")),
        ("one tag of attributes", html("<a b=c ")),
        ("style in elements", html(&format!("<p style=\"{}\">x</p>", "color:red;".repeat(40)))),
        (
            "style sheets",
            message("text/html", &format!("<style>{rules}</style>{}", "<p class=c1>x</p>".repeat(20_000))),
        ),
        ("one line", text("a")),
        ("nearly addresses", text("a@")),
        ("nearly numbers", text("+1 (888) 555-")),
        ("digits", text("4111 1111-1111 ")),
        ("nearly links", text("http://")),
        ("dots", text("a.")),
        ("invisible letters", text("p\u{200b}a\u{200b}y ")),
        ("letters of other styles", text("\u{1d400}\u{0430}")),
        ("accents on one letter", text("\u{301}")),
        ("quoted-printable", coded("=C3=A4", 2_000_000)),
        ("nearly boundaries", message("multipart/mixed; boundary=b", &long("--bx\r\n", 2_000_000))),
        ("encoded words", field("X-Long", "=?utf-8?q?a?= ".repeat(100_000))),
        ("header fields", field("X-A", repeated(50_000, |n| format!("{n}\r\nX-A{n}: ")))),
        ("results", field("Authentication-Results", "spf=pass ((( ".repeat(100_000))),
        ("receivers of answers", field("Reply-To", repeated(20_000, |n| format!("\"a{n}\" <a{n}@x.example>,")))),
    ];
    let mut told = String::new();
    for (name, raw) in cases {
        let (verdict, category) = judged(name, raw);
        writeln!(told, "{name}: {verdict:?}, {}", category.as_str()).unwrap();
    }
    insta::assert_snapshot!(told);
}
