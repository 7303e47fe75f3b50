//! Sessions of both roles against peers that say anything.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../mail/tests/fuzz/runner.rs"]
mod runner;

use mail::Envelope;
use proptest::prelude::*;
use smtp::{Action, ClientSession, Delivery, Event, Form, Reply, Session, limits, stuffed};

const OCTETS_MAX: usize = 2000;
/// The largest piece that is fed at once.
const PIECE_MAX: usize = 5000;

/// What the session says to these pieces, until it wants TLS or closes.
fn transcript(pieces: &[&[u8]]) -> (String, usize) {
    let mut session = Session::new("gw.example", OCTETS_MAX, true);
    let (mut said, mut most) = (String::new(), 0);
    for piece in pieces {
        session.feed(piece);
        most = most.max(session.octets_held());
        while let Some(event) = session.next_event() {
            let reply = match event {
                Event::Reply(reply) => reply,
                Event::Close(reply) => return (said + &reply.wire() + "(closed)", most),
                Event::StartTls => return (said + "(TLS)", most),
                Event::Mail(envelope, size) => answered(&mut session, format!("{envelope:?} {size}")),
                Event::Rcpt(recipient) => answered(&mut session, format!("{recipient:?}")),
                Event::Message(envelope, raw) => {
                    assert!(raw.len() <= OCTETS_MAX && !envelope.recipients.is_empty(), "{envelope:?}");
                    answered(&mut session, format!("{envelope:?} {raw:?}"))
                }
            };
            said += &reply.wire();
            most = most.max(session.octets_held());
        }
    }
    (said, most)
}

fn answered(session: &mut Session, text: String) -> Reply {
    // a refusal now and then, by what was asked
    let reply =
        if text.len().is_multiple_of(7) { Reply::new(450, (4, 0, 0), text) } else { Reply::new(250, (2, 0, 0), text) };
    session.answered(&reply);
    reply
}

/// Octets as a peer may send them: commands, parts of them, ends of data of all kinds, anything.
fn from_a_client() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"EHLO x\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<a@b.example> BODY=BINARYMIME SIZE=10\r\n",
        b"RCPT TO:<c@d.example>\r\n",
        b"RCPT TO:<e@f.example> NOTIFY=NEVER\r\n",
        b"DATA\r\n",
        b"BDAT 4\r\n",
        b"BDAT 3 LAST\r\n",
        b"BDAT 1900\r\n",
        b"BDAT 99999999999\r\n",
        b"BDAT x\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"STARTTLS\r\n",
        b"text",
        b".",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b".\r\n",
        b"\r\n.\r\n",
        b"\n.\n",
    ];
    let piece = prop_oneof![
        20 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => (any::<u8>(), 0..PIECE_MAX / 4).prop_map(|(b, n)| vec![b; n]),
    ];
    let opening = b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n".to_vec();
    let opening = prop_oneof![Just(Vec::new()), Just(opening)];
    (opening, proptest::collection::vec(piece, 0..60)).prop_map(|(first, rest)| [first, rest.concat()].concat())
}

/// Cuts octets into pieces; the sizes repeat.
fn cut<'a>(mut octets: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if octets.is_empty() {
            break;
        }
        let (piece, rest) = octets.split_at((*size).min(octets.len()));
        pieces.push(piece);
        octets = rest;
    }
    pieces
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![Just(1), 1..20usize, 1..PIECE_MAX], 1..8)
}

#[test]
fn server() {
    runner::run("server", &(from_a_client(), sizes(), sizes()), |(octets, one, other)| {
        let (said, most) = transcript(&cut(&octets, &one));
        prop_assert_eq!(&said, &transcript(&cut(&octets, &other)).0, "the pieces make no difference");
        prop_assert!(most <= OCTETS_MAX + limits::COMMAND_OCTETS_MAX + PIECE_MAX, "{} octets held", most);
        prop_assert!(said.matches("(closed)").count() <= 1);
        Ok(())
    });
}

/// Any message, by DATA where it can carry it, else in chunks.
#[test]
fn message() {
    let octet = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(0), any::<u8>()];
    let raw = proptest::collection::vec(octet, 0..300);
    runner::run("message", &(raw, sizes(), sizes(), any::<bool>()), |(raw, chunks, pieces, line_end)| {
        let raw = if line_end { [raw.as_slice(), b"\r\n"].concat() } else { raw };
        let mut wire = b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n".to_vec();
        if raw.is_empty() || raw.ends_with(b"\r\n") {
            wire.extend([b"DATA\r\n", stuffed(&raw).as_slice()].concat());
        } else {
            for chunk in cut(&raw, &chunks) {
                wire.extend([format!("BDAT {}\r\n", chunk.len()).as_bytes(), chunk].concat());
            }
            wire.extend(b"BDAT 0 LAST\r\n");
        }
        let mut session = Session::new("gw.example", OCTETS_MAX, false);
        let mut taken = Vec::new();
        for piece in cut(&wire, &pieces) {
            session.feed(piece);
            while let Some(event) = session.next_event() {
                if let Event::Message(_, raw) = &event {
                    taken.push(raw.clone());
                }
                if matches!(event, Event::Mail(..) | Event::Rcpt(_) | Event::Message(..)) {
                    session.answered(&Reply::plain(250, "ok"));
                }
            }
        }
        prop_assert_eq!(taken, vec![raw]);
        Ok(())
    });
}

/// What a host may say: replies that are in turn, some that are not, and anything.
fn from_a_host() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let known: Vec<&'static [u8]> = vec![
        b"250 ok\r\n",
        b"250 2.1.0 ok\r\n",
        b"250-one\r\n250 two\r\n",
        b"250-one\r\n550 two\r\n",
        b"550 5.1.1 no\r\n",
        b"450 later\r\n",
        b"421 bye\r\n",
        b"354 go\r\n",
        b"250\r\n",
        b"250 bare LF\n",
        b"2500 x\r\n",
        b"+50 x\r\n",
        b"250-",
        b"\r\n",
    ];
    let piece = prop_oneof![
        30 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => (any::<u8>(), 0..6000usize).prop_map(|(b, n)| vec![b; n]),
    ];
    let features: Vec<&'static [u8]> = vec![
        b"250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 CHUNKING\r\n",
        b"250-mx\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
        b"250-mx\r\n250 CHUNKING\r\n",
        b"250 mx\r\n",
    ];
    let turns = proptest::collection::vec(proptest::collection::vec(piece, 1..5).prop_map(|p| p.concat()), 0..12);
    (proptest::sample::select(features), turns).prop_map(|(features, turns)| {
        let opening = [b"220 mx\r\n".to_vec(), features.to_vec()];
        opening.into_iter().chain(turns).collect()
    })
}

/// Codes of the whole replies in what a host said: of each its lines' codes, which must agree.
fn codes(heard: &[u8]) -> Vec<Option<u16>> {
    let (mut all, mut lines): (Vec<Option<u16>>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    for line in heard.split_inclusive(|b| *b == b'\n').filter(|l| l.ends_with(b"\n")) {
        lines.push(line);
        if line.get(3) != Some(&b'-') {
            let code = |l: &[u8]| std::str::from_utf8(l.get(..3)?).ok()?.parse::<u16>().ok();
            let first = code(lines[0]);
            all.push(first.filter(|_| lines.iter().all(|l| code(l) == first)));
            lines.clear();
        }
    }
    all
}

#[test]
fn client() {
    let recipients = prop_oneof![1..4usize, 95..205usize];
    runner::run("client", &(from_a_host(), recipients), |(turns, recipients)| {
        let envelope = Envelope::new("a@b.example", (0..recipients).map(|n| format!("u{n}@d.example")));
        let raw = b"x\r\n";
        let mut session = ClientSession::new("mx.example", "gw.example", false);
        let (mut turns, mut heard, mut begun) = (turns.into_iter(), Vec::new(), false);
        let (mut asked_data, mut delivery): (bool, Option<Delivery>) = (false, None);
        while delivery.is_none() {
            match session.next_action() {
                Ok(Action::Hear { .. }) => {
                    let Some(turn) = turns.next() else { break };
                    heard.extend_from_slice(&turn);
                    session.feed(&turn);
                }
                Ok(Action::Ready) if begun => break,
                Ok(Action::Ready) => {
                    begun = true;
                    if session
                        .begin(&envelope, raw.len(), || Form::of(&bytes::Bytes::copy_from_slice(raw).into()))
                        .is_err()
                    {
                        break;
                    }
                }
                Ok(Action::Write(lines)) => asked_data |= lines == "DATA\r\n",
                Ok(Action::WriteMessage { .. }) => {}
                Ok(Action::Done(done)) => delivery = Some(done),
                Ok(Action::Handshake) | Err(_) => break,
            }
        }
        if let Some(delivery) = delivery {
            prop_assert_eq!(delivery.recipients.len(), recipients);
            let codes = codes(&heard);
            let yes = |n: usize| matches!(codes.get(n), Some(Some(code)) if code / 100 == 2);
            // the greeting, EHLO, MAIL, each RCPT, perhaps DATA, and the end of data
            let end = 3 + recipients + usize::from(asked_data);
            for n in (0..recipients).filter(|n| delivery.of(*n).is_success()) {
                prop_assert!(yes(2) && yes(3 + n) && yes(end), "recipient {} of {:?}", n, codes);
            }
        }
        Ok(())
    });
}
