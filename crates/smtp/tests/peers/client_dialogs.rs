//! The dialogs of `tests/dialogs/client`: we are the client, and the file is the host. `MAIL …` and `RCPT …` are the envelope,
//! `message …` the octets, `send` hands it over.

use crate::authority::Authority;
use crate::dialog::{Dialog, Line, spoken};
use mail::Envelope;
use smtp::{Action, ClientError, ClientSession, Connection, Delivery, Event, Form, Reply, Session, Target, tls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// One message of a dialog.
#[derive(Clone, Default)]
struct Sent {
    envelope: Envelope,
    raw: Vec<u8>,
}

/// The messages of a dialog in turn.
fn messages(dialog: &Dialog) -> Vec<Sent> {
    let (mut all, mut now) = (Vec::new(), Sent::default());
    for (written, line) in &dialog.lines {
        let Line::Words(words) = line else { continue };
        match words[0].as_str() {
            "MAIL" => now.envelope = read(&[written.as_str()]).unwrap(),
            "RCPT" => {
                let (times, line) = match words[1].strip_prefix('*') {
                    Some(times) => (times.parse().unwrap(), format!("RCPT {}", words[2..].join(" "))),
                    None => (1, written.clone()),
                };
                for n in 0..times {
                    let line = line.replace("{n}", &n.to_string());
                    let whole = read(&["MAIL FROM:<a@b.example> SMTPUTF8", &line]).unwrap();
                    now.envelope.recipients.extend(whole.recipients);
                }
            }
            "message" => now.raw = unescaped(written.strip_prefix("message ").unwrap_or_default()),
            "plain" => {}
            "send" => all.push(now.clone()),
            _ => panic!("{}: {written:?}", dialog.file.display()),
        }
    }
    all
}

fn unescaped(text: &str) -> Vec<u8> {
    text.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0").into_bytes()
}

/// Our own server's understanding of envelope lines.
fn read(lines: &[&str]) -> Option<Envelope> {
    let mut session = Session::new("x", 1 << 20, true);
    session.feed(format!("EHLO x\r\n{}\r\nBDAT 0 LAST\r\n", lines.join("\r\n")).as_bytes());
    let mut kept = None;
    while let Some(event) = session.next_event() {
        match event {
            Event::Mail(envelope, _) => {
                kept = Some(envelope);
                session.answered(&Reply::plain(250, "ok"));
            }
            Event::Rcpt(_) => session.answered(&Reply::plain(250, "ok")),
            Event::Message(envelope, _) => return Some(envelope),
            _ => {}
        }
    }
    kept
}

fn outcome(sent: &Sent, delivery: &Result<Delivery, ClientError>) -> String {
    match delivery {
        Ok(delivery) => {
            let mut told: Vec<String> = Vec::new();
            for (n, recipient) in sent.envelope.recipients.iter().enumerate() {
                let line = format!("= {}\n", delivery.of(n));
                if sent.envelope.recipients.len() > 5 {
                    if told.last() != Some(&line) {
                        told.push(line);
                    }
                } else {
                    told.push(format!("= {}: {}\n", recipient.address, delivery.of(n)));
                }
            }
            told.concat()
        }
        Err(e) => format!("= {e}{}\n", if e.may_be_delivered() { " (it may be there)" } else { "" }),
    }
}

fn is_plain(dialog: &Dialog) -> bool {
    dialog.lines.iter().any(|(written, _)| written == "plain")
}

#[test]
fn without_a_socket() {
    for dialog in Dialog::all("client") {
        let mut session = ClientSession::new("mx.example", "gw.example", !is_plain(&dialog));
        let mut messages = messages(&dialog).into_iter();
        let mut now: Option<Sent> = None;
        let mut text = String::new();
        let mut lines = dialog.lines.iter().peekable();
        let mut over = false;
        while let Some((written, line)) = lines.next() {
            if matches!(line, Line::Client(_) | Line::Outcome(_)) {
                continue;
            }
            text += &format!("{written}\n");
            let go_on = match line {
                Line::Server(octets) => {
                    session.feed(octets);
                    // the host's turn ends where something else stands
                    !matches!(lines.peek(), Some((_, Line::Server(_))))
                }
                Line::Tls => {
                    session.secured();
                    true
                }
                Line::Words(words) if words[0] == "send" && !over => {
                    let sent = messages.next().unwrap();
                    let begun = session.begin(&sent.envelope, sent.raw.len(), || {
                        Form::of(&bytes::Bytes::copy_from_slice(&sent.raw).into())
                    });
                    if let Err(e) = begun {
                        text += &outcome(&sent, &Err(e));
                        over = true;
                        continue;
                    }
                    now = Some(sent);
                    true
                }
                Line::Closed => {
                    if !over && let Ok(Action::Hear { stage, .. }) = session.next_action() {
                        let closed = ClientError::Closed { server: "mx.example".into(), stage };
                        text += &outcome(&now.clone().unwrap_or_default(), &Err(closed));
                    }
                    false
                }
                _ => false,
            };
            if go_on && !over {
                text += &speak(&mut session, &mut now, &mut over);
            }
        }
        dialog.expect(&text);
    }
}

/// What we say until it is the host's turn.
fn speak(session: &mut ClientSession, now: &mut Option<Sent>, over: &mut bool) -> String {
    let mut wire = Vec::new();
    loop {
        match session.next_action() {
            Ok(Action::Write(lines)) => wire.extend(lines.into_bytes()),
            Ok(Action::WriteMessage { stuffed }) => {
                let raw = &now.as_ref().unwrap().raw;
                wire.extend(if stuffed { smtp::stuffed(raw) } else { raw.clone() });
            }
            Ok(Action::Hear { .. } | Action::Handshake | Action::Ready) => return spoken("C", &wire),
            Ok(Action::Done(delivery)) => return spoken("C", &wire) + &outcome(&now.take().unwrap(), &Ok(delivery)),
            Err(e) => {
                *over = true;
                return spoken("C", &wire) + &outcome(&now.take().unwrap_or_default(), &Err(e));
            }
        }
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// The host of a dialog: says its lines, and hears ours to the octet.
async fn host(lines: Vec<(String, Line)>, tcp: TcpStream, acceptor: TlsAcceptor) -> Result<(), String> {
    let mut wire: Box<dyn Wire> = Box::new(tcp);
    for (written, line) in lines {
        match line {
            Line::Server(octets) => {
                wire.write_all(&octets).await.map_err(|e| format!("{written}: {e}"))?;
                wire.flush().await.map_err(|e| format!("{written}: {e}"))?;
            }
            Line::Client(expected) => {
                let mut heard = vec![0; expected.len()];
                wire.read_exact(&mut heard).await.map_err(|e| format!("{written}: {e}"))?;
                if heard != expected {
                    return Err(format!("{written}: {:?}", String::from_utf8_lossy(&heard)));
                }
            }
            Line::Tls => wire = Box::new(acceptor.accept(wire).await.map_err(|e| format!("{written}: {e}"))?),
            Line::Closed => return Ok(()),
            _ => {}
        }
    }
    // until we are gone
    let mut rest = Vec::new();
    let _ = wire.read_to_end(&mut rest).await;
    if rest.is_empty() { Ok(()) } else { Err(format!("more: {:?}", String::from_utf8_lossy(&rest))) }
}

async fn hand_over<S: AsyncRead + AsyncWrite + Unpin>(
    opened: Result<Connection<S>, ClientError>,
    messages: Vec<Sent>,
) -> String {
    let mut text = String::new();
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(e) => return outcome(&Sent::default(), &Err(e)),
    };
    for sent in messages {
        let delivery = connection.send(&sent.envelope, &sent.raw).await;
        text += &outcome(&sent, &delivery);
        if delivery.is_err() {
            break;
        }
    }
    text
}

#[tokio::test]
async fn over_a_socket() {
    let authority = Authority::new();
    let (chain, key) = authority.issue("mx.example");
    let acceptor = TlsAcceptor::from(tls::server_config(&chain, &key).unwrap());
    for dialog in Dialog::all("client") {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            address: listener.local_addr().unwrap(),
            server_name: "mx.example".into(),
            helo: "gw.example".into(),
            source: None,
            tls: tls::client_config(authority.roots.clone(), None).unwrap(),
        };
        let (lines, acceptor) = (dialog.lines.clone(), acceptor.clone());
        let hosted = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            host(lines, tcp, acceptor).await
        });
        let text = if is_plain(&dialog) {
            hand_over(Connection::open_local(&target).await, messages(&dialog)).await
        } else {
            hand_over(Connection::open(&target).await, messages(&dialog)).await
        };
        let expected: String = dialog
            .lines
            .iter()
            .filter(|(_, line)| matches!(line, Line::Outcome(_)))
            .map(|(written, _)| format!("{written}\n"))
            .collect();
        assert_eq!((text, hosted.await.unwrap()), (expected, Ok(())), "{}", dialog.file.display());
    }
}
